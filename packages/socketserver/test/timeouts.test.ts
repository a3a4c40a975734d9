import { once } from 'node:events';
import { connect as connectTls } from 'node:tls';
import { StreamRequestHandler, type BaseServer, type Connection } from '@sendall/socketserver';
import { describe, expect, test } from 'vitest';
import { Echo, Obedient } from './dist/handlers.js';
import { Client, dial, eventually, start } from './support/rows.js';
import { patience } from '../../../test/support/waits.js';

const tcp = { transport: 'tcp' } as const;
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

test("only the client's bytes postpone the read timeout: a server that writes all the time does not", async () => {
  class Chatty extends StreamRequestHandler {
    override onData() {}
    override setup() {
      const timer = setInterval(() => this.connection.write('tick\n'), 10);
      this.connection.signal.addEventListener('abort', () => clearInterval(timer));
    }
    override onTimeout(connection: Connection) {
      connection.write('time is over');
    }
  }
  const server = await start(tcp, Chatty, { readTimeout: 100 });
  const closed = once(server, 'close');
  expect(await dial(server).closed).toMatch(/^(tick\n)+time is over$/);
  expect((await closed)[0]).toMatchObject({ reason: 'read-timeout' });
});

test('it runs from the last byte of the client, not the first', async () => {
  const step = patience(300);
  const server = await start(tcp, Echo, { readTimeout: 5 * step });
  const client = dial(server);
  await client.connected;
  for (let i = 0; i < 6; i++) {
    expect(await client.ask(`${i}`)).toBe(`${i}`);
    await pause(step);
  }
  expect(client.socket.destroyed).toBe(false);
  await client.closed;
});

test('time inside a call of the handler does not count', async () => {
  const readTimeout = patience(100);
  class Slow extends StreamRequestHandler {
    override async onData(chunk: Buffer, connection: Connection) {
      await pause(2 * readTimeout);
      connection.write(chunk);
    }
  }
  const server = await start(tcp, Slow, { readTimeout });
  const client = dial(server);
  expect(await client.ask('slow')).toBe('slow');
  await client.closed;
});

test('a handler that does not read is not timed out for it', async () => {
  const server = await start(
    tcp,
    class extends StreamRequestHandler {
      override async handle() {
        await pause(200);
        await this.wfile.write('done');
      }
    },
    { readTimeout: 30 },
  );
  expect(await dial(server).closed).toBe('done');
});

test.each<[string, (connection: Connection) => void, boolean]>([
  ['longer', (connection) => connection.setReadTimeout(10_000), false],
  ['off', (connection) => connection.setReadTimeout(0), false],
  ['once longer', (connection) => connection.setReadTimeout(10_000, true), true],
])('a connection of its own: %s', async (_name, set, endsAfterBytes) => {
  class Own extends StreamRequestHandler {
    override setup() {
      set(this.connection);
    }
    override onData(chunk: Buffer, connection: Connection) {
      connection.write(chunk);
    }
  }
  const server = await start(tcp, Own, { readTimeout: 60 });
  const client = dial(server);
  await client.connected;
  await pause(250);
  expect(await client.ask('alive')).toBe('alive');
  if (endsAfterBytes) await client.closed;
  else {
    await pause(250);
    expect(await client.ask('alive')).toBe('alive');
  }
});

test("a handler's own timeout is that of its connections", async () => {
  class Impatient extends Echo {
    override timeout = 40;
  }
  const server = await start(tcp, Impatient);
  const closed = once(server, 'close');
  dial(server);
  expect((await closed)[0]).toMatchObject({ reason: 'read-timeout' });
});

test('a shorter one may be set at any time', async () => {
  class Hurry extends StreamRequestHandler {
    override onData(chunk: Buffer, connection: Connection) {
      connection.setReadTimeout(20);
      connection.write(chunk);
    }
  }
  const server = await start(tcp, Hurry);
  const client = dial(server);
  expect(await client.ask('x')).toBe('x');
  await client.closed;
});

test('a stalled handshake is closed after handshakeTimeout, counted once, its place freed', async () => {
  const server = await start({ transport: 'tls' }, Obedient, { handshakeTimeout: 1_000, maxConnections: 1 });
  const closes: Record<string, unknown>[] = [];
  server.on('close', (info) => closes.push({ ...info }));
  const stalled = new Client(server);
  await stalled.closed;
  await eventually(() => closes.length === 1);
  expect(closes).toMatchObject([{ reason: 'handshake-timeout', error: { code: 'HANDSHAKE_TIMEOUT' } }]);
  expect(await dial(server).ask('free')).toBe('free');
});

test('a stalled handshake holds up nobody; garbage, a reset or a hang-up in it ends that connection alone', async () => {
  const server = await start({ transport: 'tls' }, Obedient);
  const errors: Error[] = [];
  const reasons: string[] = [];
  server.on('error', (error) => errors.push(error));
  server.on('close', ({ reason }) => reasons.push(reason));
  const stalled = new Client(server);
  await stalled.connected;
  expect(await dial(server).ask('me first')).toBe('me first');
  const garbage = new Client(server);
  garbage.socket.write('this is not TLS at all');
  await garbage.closed;
  const resetting = new Client(server);
  await resetting.connected;
  resetting.socket.write('\x16\x03');
  resetting.socket.resetAndDestroy();
  const leaving = new Client(server);
  await leaving.connected;
  leaving.socket.end();
  await eventually(() => reasons.filter((reason) => reason === 'handshake-error').length === 3);
  expect(await dial(server).ask('and me')).toBe('and me');
  expect(errors).toEqual([]);
  expect(stalled.socket.destroyed).toBe(false);
});

describe('a loop that stood still is charged to no client', () => {
  /** Blocks the loop, the server's and the clients' alike, for longer than any deadline here. */
  const block = (ms = 400): void => {
    for (const until = performance.now() + ms; performance.now() < until;);
  };
  const timeout = 150;

  async function closeAfterBlock(server: BaseServer, client: Client): Promise<{ reason: string; durationMs: number }> {
    const closed = once(server, 'close');
    await client.connected;
    return (await closed)[0] as { reason: string; durationMs: number };
  }

  test('one that was accepted behind it has its whole read timeout', async () => {
    const server = await start(tcp, Obedient, { readTimeout: timeout });
    for (let i = 0; i < 3; i++) {
      const client = dial(server);
      block();
      const { reason, durationMs } = await closeAfterBlock(server, client);
      expect(reason).toBe('read-timeout');
      expect(durationMs).toBeGreaterThanOrEqual(timeout);
    }
  });

  test('and its whole handshake timeout, for TLS and a PROXY header alike', async () => {
    for (const [transport, options] of [
      ['tls', {}],
      ['tcp', { proxyProtocol: true }],
    ] as const) {
      const server = await start({ transport }, Obedient, { handshakeTimeout: timeout, ...options });
      const client = new Client(server);
      block();
      const { reason, durationMs } = await closeAfterBlock(server, client);
      expect(reason).toBe('handshake-timeout');
      expect(durationMs).toBeGreaterThanOrEqual(timeout);
    }
  });

  test('nor is one in the middle of its handshake, whose turn comes only behind it', async () => {
    const handshakeTimeout = patience(400);
    const server = await start({ transport: 'tls' }, Obedient, { handshakeTimeout });
    const slow = new Client(server);
    // The deadline has begun to count.
    await eventually(() => [...server.connections].some(({ stats }) => stats.durationMs > handshakeTimeout / 4));
    const secure = connectTls({ socket: slow.socket, rejectUnauthorized: false });
    secure.write('in time\n');
    const answer = once(secure, 'data');
    block(1.5 * handshakeTimeout);
    expect(String((await answer)[0])).toBe('in time\n');
    secure.destroy();
  });

  test('one that waits for a place waits its whole pending timeout', async () => {
    const server = await start(tcp, Obedient, { maxConnections: 1, pendingTimeout: timeout });
    const holder = dial(server);
    expect(await holder.ask('here')).toBe('here');
    const dropped = once(server, 'drop');
    dial(server);
    block();
    const began = performance.now();
    expect((await dropped)[0]).toMatchObject({ reason: 'pending-timeout' });
    expect(performance.now() - began).toBeGreaterThanOrEqual(timeout - 20);
  });

  test('what a client had sent before is read first', async () => {
    const server = await start(tcp, Obedient, { readTimeout: timeout });
    const client = dial(server);
    for (let i = 0; i < 5; i++) {
      expect(await client.ask(`${i}`)).toBe(`${i}`);
      client.text = '';
      client.socket.write('sent in time\n');
      block();
      expect(await client.until('\n')).toBe('sent in time\n');
    }
  });

  test('what takes our last words has its whole linger time, however much it still sends', async () => {
    class Last extends StreamRequestHandler {
      override onData(): string {
        this.connection.write('bye');
        return 'close';
      }
    }
    const server = await start(tcp, Last, { lingerTimeout: timeout });
    const client = dial(server, { allowHalfOpen: true });
    const closed = once(server, 'close');
    client.socket.write('x');
    await once(client.socket, 'end');
    const began = performance.now();
    block();
    const dripping = setInterval(() => client.socket.write('more'), 5);
    const [{ durationMs }] = (await closed) as [{ durationMs: number }];
    clearInterval(dripping);
    expect(durationMs).toBeGreaterThanOrEqual(timeout);
    expect(performance.now() - began).toBeGreaterThanOrEqual(timeout);
  });
});

test('a PROXY header and the TLS handshake behind it have one deadline together', async () => {
  const handshakeTimeout = patience(600);
  const server = await start({ transport: 'tls' }, Obedient, { handshakeTimeout, proxyProtocol: true });
  const closes: number[] = [];
  server.on('close', ({ id }) => closes.push(id));
  const first = new Client(server);
  await eventually(() => [...server.connections].some(({ stats }) => stats.durationMs > 0.4 * handshakeTimeout));
  const second = new Client(server);
  await eventually(() => server.connections.size === 2);
  const ids = [...server.connections].map(({ id }) => id);
  first.socket.write('PROXY TCP4 192.0.2.7 192.0.2.8 1 2\r\n');
  await second.closed;
  await eventually(() => closes.length === 2);
  expect(closes).toEqual(ids);
});

test('flush and drain reject when the client resets, and never resolve', async () => {
  const outcomes: string[] = [];
  class Torrent extends StreamRequestHandler {
    override async handle() {
      const { connection } = this;
      for (let i = 0; i < 12; i++) connection.write(Buffer.alloc(1 << 20));
      const waits = { flush: connection.flush(), drain: connection.drain(), end: connection.end() };
      for (const [name, wait] of Object.entries(waits))
        outcomes.push(
          await wait.then(
            () => `${name} resolved`,
            () => name,
          ),
        );
    }
  }
  const server = await start(tcp, Torrent);
  for (let i = 0; i < 20; i++) {
    const client = dial(server);
    await client.connected;
    if (i % 2 === 0) client.socket.pause();
    client.socket.resetAndDestroy();
  }
  await eventually(() => outcomes.length === 60);
  expect(new Set(outcomes)).toEqual(new Set(['flush', 'drain', 'end']));
});
