import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { MessageRequestHandler, StreamRequestHandler, type Connection } from '@sendall/socketserver';
import { expect, onTestFinished, test, vi } from 'vitest';
import { Echo, LateAnswer, Obedient } from './dist/handlers.js';
import { dial, eventually, start } from './support/rows.js';

const tcp = { transport: 'tcp' } as const;

test('connections in the accept queue when shutdown begins are served, not reset', async () => {
  const server = await start(tcp, Echo);
  const clients = Array.from({ length: 100 }, () => dial(server, { allowHalfOpen: true }));
  for (const { socket } of clients) socket.end('served');
  // Node calls connect(2) only then.
  await new Promise<void>((resolve) => process.nextTick(resolve));
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

test('a client that gets its place while the server shuts down hears of that, too', async () => {
  const server = await start(tcp, LateAnswer, { maxConnections: 1, pendingConnections: 1 });
  const first = dial(server);
  first.socket.write('one\n');
  await first.until('begun\n');
  const second = dial(server);
  second.socket.write('two\n');
  await eventually(() => server.info().pending === 1);
  const down = server.shutdown({ timeout: Infinity });
  expect(await first.until('one\n')).toBe('begun\none\n');
  first.socket.end();
  expect(await second.until('two\n')).toBe('begun\ntwo\n');
  second.socket.end();
  expect(await down).toMatchObject({ destroyed: 0 });
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

test('the rest of a message that has begun to come is waited for, and its answer arrives', async () => {
  class Answering extends MessageRequestHandler {
    static override readonly framing = 'lines';
    override onMessage(message: Buffer, connection: Connection) {
      connection.write(`${String(message)} done\n`);
    }
  }
  const server = await start(tcp, Answering);
  const [client, idle] = [dial(server), dial(server)];
  for (const each of [client, idle]) expect(await each.ask('first')).toBe('first done');
  client.text = '';
  client.socket.write('sec');
  await eventually(() => [...server.connections].some(({ stats }) => stats.bytesRead === 'first\nsec'.length));
  const down = server.shutdown({ timeout: Infinity });
  // The look at all connections that ends this one sees the other one, too.
  await idle.closed;
  client.socket.write('ond\n');
  expect(await client.closed).toBe('second done\n');
  expect(await down).toMatchObject({ open: 2, idle: 2, destroyed: 0 });
});

test('an idle server shuts down without waiting for a poll', async () => {
  // Whatever waited for a timer would wait for ever.
  vi.useFakeTimers({ toFake: ['setTimeout', 'setInterval'] });
  onTestFinished(() => void vi.useRealTimers());
  const server = await start(tcp, Obedient);
  expect(await server.shutdown()).toMatchObject({ open: 0, destroyed: 0 });
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

test('a connection on which a request arrives while the loop stands still is not closed as idle', async () => {
  const step = new Int32Array(new SharedArrayBuffer(4));
  let finish!: () => void;
  const held = new Promise<void>((resolve) => (finish = resolve));
  let begin!: () => void;
  const draining = new Promise<void>((resolve) => (begin = resolve));
  let first = false;
  class Standing extends MessageRequestHandler {
    static override readonly framing = 'lines';
    override async onMessage(message: Buffer, connection: Connection) {
      if (String(message) === 'hold') await held;
      if (String(message) === 'first') {
        first = true;
        await draining;
        // The loop stands still until the second request is in the kernel, and for longer than two looks for idleness.
        Atomics.store(step, 0, 1);
        Atomics.notify(step, 0);
        Atomics.wait(step, 0, 1, 60_000);
        const until = performance.now() + 50;
        while (performance.now() < until);
      }
      connection.write(`${String(message)} done\n`);
    }
  }
  const server = await start(tcp, Standing);
  const holder = dial(server);
  holder.socket.write('hold\n');
  await server.waitForConnections('==', 1);
  const client = new Worker(CLIENT, { eval: true, workerData: { step, port: server.serverAddress.port } });
  const heard = once(client, 'message') as Promise<[string]>;
  await eventually(() => first);
  const down = server.shutdown({ timeout: Infinity });
  await eventually(() => server.status === 'draining');
  begin();
  expect((await heard)[0]).toBe('first done\nsecond done\n');
  finish();
  expect(await down).toMatchObject({ open: 2, destroyed: 0 });
});

/** Sends its second request while the server's loop stands still, and says what it got once its connection is closed. */
const CLIENT = `
  const { connect } = require('node:net');
  const { parentPort, workerData: { step, port } } = require('node:worker_threads');
  let got = '';
  const socket = connect(port, '127.0.0.1', () => socket.write('first\\n', () => {
    Atomics.wait(step, 0, 0);
    socket.write('second\\n', () => {
      Atomics.store(step, 0, 2);
      Atomics.notify(step, 0);
    });
  }));
  socket.on('data', (bytes) => (got += bytes)).on('error', () => {}).on('close', () => parentPort.postMessage(got));
`;
