/**
 * ours.js message|span|burn|count|span-count [inline|threads]: the same echo through the public message handler; count: receives.
 */
import { Burn, MessageCount, MessageEcho, SpanCount, SpanEcho } from './handlers.js';
import { TCPServer } from '@sendall/socketserver';

const handlers = {
  message: MessageEcho,
  span: SpanEcho,
  burn: Burn,
  count: MessageCount,
  'span-count': SpanCount,
};
const [kind = 'message', mode = 'inline'] = process.argv.slice(2);
const concurrency = mode === 'threads' ? ({ mode: 'threads', workers: 2 } as const) : 'inline';
const server = new TCPServer({ host: '127.0.0.1', port: 0 }, handlers[kind as keyof typeof handlers], {
  concurrency,
  requestQueueSize: 4096,
});
await server.listen();
void server.serveForever();
console.log(server.serverAddress.port);

// The benchmark triggers a collection before reading the memory, so that garbage does not count.
process.on('SIGUSR2', () => globalThis.gc?.());
