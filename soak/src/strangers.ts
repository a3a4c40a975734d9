/**
 * npm run soak -- strangers [--of packages/sendall] [--connections 2000] [--rounds 20]: how long a known caller needs to
 * come in and run a command while strangers hold half-open connections, and while another known caller holds as many
 * links as it gets. `--of`: the package in another checkout, to compare with. Prints one line a situation.
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect as dial, createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { fileURLToPath, pathToFileURL } from 'node:url';

const { values } = parseArgs({
  options: {
    of: { type: 'string', default: fileURLToPath(new URL('../../packages/sendall', import.meta.url)) },
    connections: { type: 'string', default: '2000' },
    rounds: { type: 'string', default: '20' },
  },
});
const FLOOD = fileURLToPath(new URL('../../packages/sendall/test/dist/flood.js', import.meta.url));
const { connect, pair, resolveHome } = (await import(
  pathToFileURL(join(values.of, 'dist/index.js')).href
)) as typeof import('sendall');

const folder = mkdtempSync(join(tmpdir(), 'sendall-strangers-'));
const host = resolveHome({ SENDALL_HOME: join(folder, 'host') });
const children: ChildProcess[] = [];

const program = join(values.of, 'bin/sendall.js');
/** An older package does not know all limits. */
const known = spawnSync(process.execPath, [program, 'agent', '--help'], { encoding: 'utf8' }).stdout;
const limits = ['connections=1024', 'connectionsPerSource=512'].filter((limit) => known.includes(limit.split('=')[0]!));

/** The agent, with a small table so that a flood fills it. */
const agent = spawn(
  process.execPath,
  [program, 'agent', '--listen', 'tls://127.0.0.1:0', ...limits.flatMap((limit) => ['--limit', limit])],
  { env: { ...process.env, SENDALL_HOME: host.state }, stdio: ['ignore', 'ignore', 'pipe'] },
);
let url = '';
for await (const line of createInterface(agent.stderr!)) {
  url = /tls:\S+/.exec(line)?.[0] ?? '';
  if (url) break;
}
agent.stderr!.resume();
const port = Number(new URL(url).port);
await using local = await connect('local', { home: host });

/** A home that is paired with the agent at an address. */
async function callerAt(address: string, name: string) {
  const home = resolveHome({ SENDALL_HOME: join(folder, name) });
  const { code } = await local.ask<{ code: string }>('pair-new', {});
  await pair(home, address, { code, name: 'host' });
  return home;
}

/** Passes connections on to the agent from another address of loopback. */
async function through(localAddress: string): Promise<string> {
  const server = createServer((caller) => {
    const onward = dial({ port, host: '127.0.0.1', localAddress });
    for (const [from, into] of [
      [caller, onward],
      [onward, caller],
    ] as const)
      // prettier-ignore
      from.on('error', () => into.destroy()).pipe(into);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return `tls://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function flood(from: string, count: number): Promise<void> {
  const child = spawn(process.execPath, [FLOOD, String(port), from, String(count), 'half'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  children.push(child);
  await once(createInterface(child.stdout!), 'line');
}

async function calm(): Promise<void> {
  for (const child of children.splice(0)) {
    child.kill('SIGKILL');
    await once(child, 'close');
  }
}

const home = await callerAt(url, 'caller');

async function measure(what: string): Promise<void> {
  const times: number[] = [];
  let failed = 0;
  let reason = '';
  for (let round = 0; round < Number(values.rounds); round++) {
    const before = performance.now();
    try {
      await using host = await connect('host', { home, timeout: 30_000 });
      await host.run(['true']);
      times.push(performance.now() - before);
    } catch (error) {
      failed++;
      reason = (error as Error).message;
    }
  }
  times.sort((a, b) => a - b);
  const at = (share: number) => times[Math.min(times.length - 1, Math.floor(times.length * share))]?.toFixed(0) ?? '-';
  console.log(
    `${what.padEnd(44)} median ${at(0.5)} ms, worst ${at(1)} ms${failed ? `, ${failed} failed: ${reason}` : ''}`,
  );
}

const connections = Number(values.connections);
try {
  await measure('no strangers');
  await flood('127.0.0.1', connections);
  await measure(`${connections} half-open from its own address`);
  await calm();
  await flood('127.0.0.9', connections);
  await measure(`${connections} half-open from another address`);
  await calm();
  for (let i = 0; i < 8; i++) await flood(`127.0.1.${i + 1}`, Math.ceil(connections / 8));
  await measure(`${connections} half-open from 8 addresses`);
  await calm();
  const other = await callerAt(await through('127.0.0.9'), 'other');
  const links: { close(): Promise<void> }[] = [];
  while (links.length < 1100) {
    const link = await connect('host', { home: other, timeout: 10_000 }).catch(() => undefined);
    if (!link) break;
    links.push(link);
  }
  await measure(`${links.length} links of another known caller`);
  await Promise.all(links.map((link) => link.close()));
} finally {
  await calm();
  await local.ask('stop', { runs: true });
  await once(agent, 'close');
  rmSync(folder, { recursive: true, force: true });
}
process.exit(0);
