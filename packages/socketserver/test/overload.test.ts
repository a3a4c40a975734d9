import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Server as NetServer, Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { ServerOptions } from '@sendall/socketserver';
import { StreamRequestHandler, type BaseServer } from '@sendall/socketserver';
import { expect, onTestFinished, test } from 'vitest';
import { Echo, Obedient } from './dist/handlers.js';
import { dial, eventually, start, type Client } from './support/rows.js';
import { patience } from '../../../test/support/waits.js';

const tcp = { transport: 'tcp' } as const;
const obedient = (options: ServerOptions) => start(tcp, Obedient, options);

function heard(
  server: BaseServer,
  event: 'drop' | 'overload' | 'alarm' | 'accept-error' | 'emfile',
): Record<string, unknown>[] {
  const infos: Record<string, unknown>[] = [];
  server.on(event, (info: object) => infos.push(info as Record<string, unknown>));
  return infos;
}

async function inUse(server: BaseServer): Promise<Client> {
  const client = dial(server);
  await client.ask('in use');
  return client;
}

test('the pending queue is full: refused at once, one overload event each, nothing piles up', async () => {
  const server = await obedient({ maxConnections: 1, pendingConnections: 1 });
  const overloads = heard(server, 'overload');
  await inUse(server);
  const waiting = dial(server);
  await eventually(() => server.info().pending === 1);
  for (let i = 0; i < 20; i++) await dial(server).closed;
  expect(overloads).toHaveLength(20);
  expect(overloads[0]).toMatchObject({ connections: 1, pending: 1, limit: 1 });
  expect(server.info()).toMatchObject({ pending: 1, connections: 1, dropped: 20 });
  expect(waiting.socket.destroyed).toBe(false);
});

test.each(['ECONNABORTED', 'EPROTO', 'ENETDOWN', 'EHOSTUNREACH', 'ENOBUFS', 'EBADF'])(
  'accept(2) that fails with %s is an event, and the server goes on',
  async (code) => {
    const server = await obedient({});
    const failures = heard(server, 'accept-error');
    for (let i = 0; i < 5; i++)
      (server.socket as NetServer).emit('error', Object.assign(new Error(`accept ${code}`), { code }));
    expect(failures).toHaveLength(5);
    expect(failures[0]).toMatchObject({ code, transient: code !== 'EBADF' });
    expect(await dial(server).ask('on')).toBe('on');
  },
);

test('a client that resets while it waits in the backlog leaves quietly', async () => {
  const server = await obedient({});
  const errors: Error[] = [];
  server.on('error', (error) => errors.push(error));
  for (let i = 0; i < 30; i++)
    dial(server).socket.once('connect', function reset(this: Socket) {
      this.resetAndDestroy();
    });
  await eventually(() => server.info().accepted === 30);
  await server.waitForConnections('==', 0);
  expect(await dial(server).ask('next')).toBe('next');
  expect(errors).toEqual([]);
});

test('a reader that reads nothing: memory is bounded by the high-water mark, writeTimeout ends it', async () => {
  let written = 0;
  class Flood extends StreamRequestHandler {
    override async handle() {
      for (;;) {
        written += await this.wfile.write(Buffer.alloc(65_536));
      }
    }
  }
  const server = await start(tcp, Flood, { writeTimeout: 300, highWaterMark: 131_072 });
  const closed = once(server, 'close');
  const client = dial(server);
  client.socket.pause();
  await client.connected;
  let most = 0;
  const watch = setInterval(() => {
    for (const { writer } of server.connections) most = Math.max(most, writer.pending);
  }, 5);
  const [info] = await closed;
  clearInterval(watch);
  expect(info).toMatchObject({ reason: 'write-timeout', error: { code: 'WRITE_TIMEOUT' } });
  expect(most).toBeLessThanOrEqual(131_072 + 65_536);
  expect(written).toBeLessThan(32 << 20);
});

test('a reader that is slow but reads is not ended by writeTimeout', async () => {
  class Big extends StreamRequestHandler {
    override handle() {
      this.wfile.write(Buffer.alloc(24 << 20)).catch(() => {});
    }
  }
  // It takes longer for all of it than the timeout, and for no piece of it anything near that.
  const writeTimeout = patience(1_000);
  const server = await start(tcp, Big, { writeTimeout });
  const client = dial(server);
  client.socket.removeAllListeners('data');
  let length = 0;
  client.socket.on('data', (text: string) => {
    length += text.length;
    client.socket.pause();
    setTimeout(() => client.socket.resume(), writeTimeout / 350);
  });
  await client.closed;
  expect(length).toBe(24 << 20);
});

test('a handler that never reads makes the client wait instead of filling memory', async () => {
  const server = await start(
    tcp,
    class extends StreamRequestHandler {
      override async handle() {
        await this.rfile.read(1);
        await new Promise(() => {});
      }
    },
    { highWaterMark: 65_536 },
  );
  const client = dial(server);
  await client.connected;
  for (let i = 0; i < 64; i++) client.socket.write(Buffer.alloc(1 << 20));
  await eventually(() => [...server.connections].some((connection) => connection.stats.bytesRead > 65_536));
  await new Promise((resolve) => setTimeout(resolve, 50));
  const [connection] = server.connections;
  expect(connection!.stats.bytesRead).toBeLessThan(1 << 20);
});

test('a flood of connects does not starve a connection in use', async () => {
  const server = await start(tcp, Echo);
  const used = await inUse(server);
  const flood = Array.from({ length: 300 }, () => dial(server));
  for (let i = 0; i < 20; i++) expect(await used.ask(`turn ${i}`)).toBe(`turn ${i}`);
  await Promise.all(flood.map(({ connected }) => connected));
});

test('10,000 requests later nothing is kept of them', async () => {
  const server = await start(tcp, Echo);
  const one = async () => {
    const client = dial(server);
    client.socket.end('x');
    await client.closed;
  };
  for (let i = 0; i < 100; i++) await Promise.all(Array.from({ length: 100 }, one));
  await server.waitForConnections('==', 0);
  expect(server.connections.size).toBe(0);
  expect(server.info()).toMatchObject({ connections: 0, pending: 0, accepted: 10_000, dropped: 0 });
});

test('descriptors run out: an emfile event, the surplus is closed, those in use go on, it recovers', async () => {
  const program = fileURLToPath(new URL('dist/few-descriptors.js', import.meta.url));
  const child = spawn('sh', ['-c', `ulimit -n 64 && exec "${process.execPath}" "${program}"`], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  onTestFinished(() => void child.kill());
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async () => JSON.parse(String((await lines.next()).value)) as Record<string, unknown>;
  const { port } = await next();
  const address = { serverAddress: { host: '127.0.0.1', port: port as number } };
  const clients = Array.from({ length: 60 }, () => dial(address));
  const first = clients[0]!;
  expect(await first.ask('early')).toBe('early');
  expect(await next()).toMatchObject({ emfile: { limit: 64, reserve: 16 } });
  await Promise.all(clients.map(({ connected }) => connected));
  expect(await first.ask('still')).toBe('still');
  for (const { socket } of clients.slice(1)) socket.destroy();
  await eventually(async () => true);
  let answer = '';
  while (answer === '') answer = await dial(address).ask('again');
  expect(answer).toBe('again');
  child.stdin.end();
});
