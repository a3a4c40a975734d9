/**
 * send.js HOW: sends 64-byte messages over loopback, 100 a tick, to a process that only reads; prints the processor
 * time for each.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { framed, lengthPrefixed } from '@sendall/framing';

const [how = '', port] = process.argv.slice(2);
const perTick = 100;

if (how === 'read') {
  const socket = connect(Number(port), '127.0.0.1');
  socket.on('error', () => process.exit()).on('close', () => process.exit());
  socket.resume();
} else {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address() as AddressInfo;
  const reader = fork(fileURLToPath(import.meta.url), ['read', String(address.port)]);
  const [socket] = (await once(server, 'connection')) as [Socket];
  socket.setNoDelay(true);
  const payload = Buffer.alloc(64, 65);
  const head = Buffer.from([0, 0, 0, 64]);
  const link = how === 'framed' ? framed(socket, lengthPrefixed()) : undefined;
  const tick = () => {
    if (link !== undefined) for (let i = 0; i < perTick; i++) link.send(payload);
    else {
      for (let i = 0; i < perTick; i++) {
        socket.write(head);
        socket.write(payload);
      }
    }
  };
  const run = async (seconds: number) => {
    const began = performance.now();
    const before = process.cpuUsage();
    let sent = 0;
    while (performance.now() - began < seconds * 1000) {
      tick();
      sent += perTick;
      if (link !== undefined) await link.drained();
      else if (socket.writableNeedDrain) await once(socket, 'drain');
      // The next tick.
      await new Promise((resolve) => void setImmediate(resolve));
    }
    const { user, system } = process.cpuUsage(before);
    return ((user + system) * 1000) / sent;
  };
  await run(0.4);
  console.log(JSON.stringify({ nanoseconds: await run(0.7) }));
  reader.kill('SIGKILL');
  process.exit(0);
}
