/**
 * One TCP stream: `serve HOST` prints its port and answers each caller's end with its own; `send HOST PORT FILE` sends a
 * file and waits for that answer.
 */
import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { connect, createServer, type AddressInfo } from 'node:net';
import { pipeline } from 'node:stream/promises';

const [what, host, port, file] = process.argv.slice(2);
if (what === 'serve') {
  const server = createServer((socket) => socket.on('error', () => undefined).resume());
  server.listen(0, host, () => console.log((server.address() as AddressInfo).port));
} else {
  const socket = connect(Number(port), host!);
  await once(socket, 'connect');
  socket.resume();
  const answered = once(socket, 'close');
  await pipeline(createReadStream(file!, { highWaterMark: 256 * 1024 }), socket);
  await answered;
}
