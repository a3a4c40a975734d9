/**
 * npm run bench -- lab [ROUNDS]: the cost of looking for messages in wirelab inspect: small requests and answers, one
 * after the other on one connection, through a real inspect in a process of its own, with a framing and without (raw).
 * Compares with limits, not peers: the ratio is wall time to that of raw.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo } from 'node:net';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const rounds = Number(process.argv[2] ?? 5);
const limit = 2;
const wirelab = fileURLToPath(new URL('../../packages/lab/bin/wirelab.js', import.meta.url));
const ping = Buffer.from('*1\r\n$4\r\nPING\r\n');
const pong = Buffer.from('+PONG\r\n');

const median = (values: number[]) => values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;

const server = createServer({ noDelay: true }, (socket) => void socket.on('data', () => socket.write(pong)));
server.listen(0, '127.0.0.1');
await once(server, 'listening');
const { port } = server.address() as AddressInfo;

/** Milliseconds for this many pings. */
async function pings(framing: string, count: number) {
  const args = [wirelab, 'inspect', '--listen', '0', '--to', `127.0.0.1:${port}`, '--framing', framing];
  const inspect = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const [said] = await once(createInterface({ input: inspect.stdout }), 'line');
  const client = connect({ port: Number(String(said).split(':').pop()), host: '127.0.0.1', noDelay: true });
  await once(client, 'connect');
  let left = count;
  const begun = performance.now();
  await new Promise((resolve) => {
    client.on('data', () => (--left > 0 ? client.write(ping) : resolve(undefined)));
    client.write(ping);
  });
  const took = performance.now() - begun;
  client.destroy();
  inspect.kill();
  await once(inspect, 'exit');
  return took;
}

for (const count of [1000, 8000]) {
  for (const framing of ['crlf', 'guess']) {
    const ratios: number[] = [];
    const times: number[] = [];
    for (let round = 0; round < rounds; round++) {
      const raw = await pings('raw', count);
      const took = await pings(framing, count);
      times.push(took);
      ratios.push(took / raw);
    }
    const ratio = median(ratios);
    const name = `inspect ${framing} / raw, ${count} pings`;
    console.log(
      `${name.padEnd(36)} ${median(times).toFixed(0).padStart(6)} ms, ${ratio.toFixed(2)} of raw, limit ${limit}`,
    );
    console.log(`result: ${JSON.stringify({ name, ratio: Number(ratio.toFixed(3)), limit, ok: ratio <= limit })}`);
  }
}
server.close();
