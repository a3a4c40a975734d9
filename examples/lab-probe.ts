// A server that mistakes one read for one request, and the smallest cut that exposes it.
import { createServer, type AddressInfo } from 'node:net';
import { once } from 'node:events';
import { probe } from '@sendall/lab';

const server = createServer((socket) => {
  socket.on('data', (chunk) => socket.write(`${chunk.toString().trim().toUpperCase()}\n`)).on('error', () => {});
});
server.listen(0, '127.0.0.1');
await once(server, 'listening');
const { port } = server.address() as AddressInfo;

const report = await probe({
  address: { host: '127.0.0.1', port },
  framing: 'lines',
  requests: [Buffer.from('hello\n')],
  timeoutMs: 500,
});
const { minimal } = report;
console.log(minimal ? `a cut changes the answer: ${minimal.verdict}` : 'no cut changes the answer');
console.log(minimal?.sent.map((piece) => JSON.stringify(piece.toString())).join(' then '));

server.close();
