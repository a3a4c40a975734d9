// @ts-check
// ours.js message|burn [inline|threads]: the same echo through the public message handler.
import { Burn, MessageEcho } from './handlers.js';
import { TCPServer } from '@sendall/socketserver';

const handlers = { message: MessageEcho, burn: Burn };
const [kind = 'message', mode = 'inline'] = process.argv.slice(2);
const concurrency = mode === 'threads' ? /** @type {const} */ ({ mode: 'threads', workers: 2 }) : 'inline';
const server = new TCPServer({ host: '127.0.0.1', port: 0 }, handlers[/** @type {keyof typeof handlers} */ (kind)], {
  concurrency,
  requestQueueSize: 4096,
});
await server.listen();
void server.serveForever();
console.log(/** @type {{ port: number }} */ (server.serverAddress).port);

// The benchmark asks for a collection before it reads the memory, so that garbage does not count.
process.on('SIGUSR2', () => globalThis.gc?.());
