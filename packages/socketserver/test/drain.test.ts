import { once } from 'node:events';
import { MessageRequestHandler, StreamRequestHandler, type Connection } from '@sendall/socketserver';
import { expect, test } from 'vitest';
import { Echo, Obedient } from './dist/handlers.js';
import { dial, eventually, start } from './support/rows.js';

const tcp = { transport: 'tcp' } as const;

test('connections in the accept queue when shutdown begins are served, not reset', async () => {
  const server = await start(tcp, Echo);
  const clients = Array.from({ length: 100 }, () => dial(server, { allowHalfOpen: true }));
  for (const { socket } of clients) socket.end('served');
  // The kernel completes these connects while this thread does nothing else: none is accepted yet.
  const until = performance.now() + 200;
  while (performance.now() < until);
  const report = await server.shutdown();
  const answers = await Promise.all(clients.map(({ closed }) => closed));
  expect(answers.filter((answer) => answer.startsWith('served')).length).toBe(100);
  expect(report.destroyed).toBe(0);
});

test('idle connections are closed at once; their handlers say goodbye first', async () => {
  const server = await start(tcp, Echo);
  const clients = [dial(server), dial(server)];
  for (const client of clients) await client.ask('hello');
  for (const client of clients) client.text = '';
  const report = await server.shutdown({ timeout: Infinity });
  expect(report).toMatchObject({ open: 2, idle: 2, destroyed: 0 });
  for (const client of clients) expect(await client.closed).toBe('goodbye\n');
});

test('a pending call of the handler is busy: it is waited for, and its answer arrives', async () => {
  let finish!: () => void;
  class Busy extends MessageRequestHandler {
    static override readonly framing = 'lines';
    override async onMessage(message: Buffer, connection: Connection) {
      await new Promise<void>((resolve) => (finish = resolve));
      connection.write(`${String(message)} done\n`);
    }
  }
  const server = await start(tcp, Busy);
  const client = dial(server);
  client.socket.write('work\n');
  await eventually(() => finish !== undefined);
  const down = server.shutdown();
  await eventually(() => server.status === 'draining');
  finish();
  expect(await client.closed).toBe('work done\n');
  expect(await down).toMatchObject({ open: 1, finished: 0, idle: 1, destroyed: 0 });
});

test('an idle server shuts down without waiting for a poll', async () => {
  const server = await start(tcp, Obedient);
  const report = await server.shutdown();
  expect(report.durationMs).toBeLessThan(1_000);
});

test('a handler that hangs is given up when the timeout is over', async () => {
  const server = await start(tcp, Obedient);
  const client = dial(server);
  client.socket.write('hold\n');
  await server.waitForConnections('==', 1);
  expect((await server.shutdown({ timeout: 30 })).destroyed).toBe(1);
  await client.closed;
});

test('what is written before shutdown() from a handler arrives', async () => {
  class Last extends StreamRequestHandler {
    override onData(_chunk: Buffer, connection: Connection) {
      connection.write('the last words');
      void this.server.shutdown();
    }
  }
  const server = await start(tcp, Last);
  const client = dial(server);
  const ended = once(server, 'drain');
  client.socket.write('x');
  expect(await client.closed).toBe('the last words');
  await ended;
});
