import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect as connectTls } from 'node:tls';
import { lengthPrefixed } from '@sendall/framing';
import { MessageRequestHandler, StreamRequestHandler, TCPServer, type Connection } from '@sendall/socketserver';
import { expect, test } from 'vitest';
import { certificate } from './support/certificate.js';
import { dial, eventually, start, type Client } from './support/rows.js';
import { patience } from '../../../test/support/waits.js';

// Busy connections read into a buffer that all of their loop share. Nothing of that may show.

const tcp = { transport: 'tcp' } as const;
const encoder = lengthPrefixed().encoder();
const digest = (bytes: Buffer | Buffer[]) =>
  createHash('sha256')
    .update(Array.isArray(bytes) ? Buffer.concat(bytes) : bytes)
    .digest('hex');

/** Sends in pieces of many sizes, each by itself, so that the server reads often. */
async function sendCut(client: Client, bytes: Buffer): Promise<void> {
  await client.connected;
  for (let at = 0, cut = 1; at < bytes.length; at += cut, cut = (cut * 5) % 30_011) {
    client.socket.write(bytes.subarray(at, at + cut));
    await new Promise((resolve) => setImmediate(resolve));
  }
}

test('chunks that a handler keeps stay as they were, on many connections at a time', async () => {
  const kept = new Map<number, Buffer[]>();
  class Keeping extends StreamRequestHandler {
    override onData(chunk: Buffer, { id }: Connection) {
      kept.set(id, [...(kept.get(id) ?? []), chunk]);
    }
  }
  const server = await start(tcp, Keeping);
  const sent = Array.from({ length: 4 }, () => randomBytes(700_000));
  const clients = sent.map(() => dial(server));
  await Promise.all(clients.map((client, i) => sendCut(client, sent[i]!)));
  for (const { socket } of clients) socket.end();
  await server.waitForConnections('==', 0);
  expect(new Set([...kept.values()].map(digest))).toEqual(new Set(sent.map(digest)));
});

test.each(['at once', 'after a promise', 'paused now and then'])('messages that a handler keeps: %s', async (how) => {
  const kept: Buffer[] = [];
  class Keeping extends MessageRequestHandler {
    static override readonly framing = 'u32be';
    override onMessage(message: Buffer, connection: Connection) {
      kept.push(message);
      if (how === 'after a promise') return new Promise((resolve) => setImmediate(resolve));
      if (how === 'paused now and then' && kept.length % 7 === 0) {
        connection.pause();
        setTimeout(() => connection.resume(), 1);
      }
      return undefined;
    }
  }
  const server = await start(tcp, Keeping);
  const messages = [0, 1, 10, 100, 5_000, 70_000, 64, 64, 64, 200_000].flatMap((size) =>
    Array.from({ length: 5 }, () => randomBytes(size)),
  );
  const client = dial(server);
  await sendCut(client, encoder.encodeAll(messages));
  client.socket.end();
  await server.waitForConnections('==', 0);
  expect(kept.length).toBe(messages.length);
  expect(kept.every((message, i) => message.equals(messages[i]!))).toBe(true);
});

test.each(['at once', 'after a promise', 'paused now and then'])(
  'onSpan() is told of every message: %s',
  async (how) => {
    let count = 0;
    const hash = createHash('sha256');
    class Spans extends MessageRequestHandler {
      static override readonly framing = 'u32be';
      override onSpan(bytes: Buffer, from: number, to: number, connection: Connection) {
        hash.update(bytes.subarray(from, to));
        count++;
        if (how === 'after a promise') return new Promise((resolve) => setImmediate(resolve));
        if (how === 'paused now and then' && count % 7 === 0) {
          connection.pause();
          setTimeout(() => connection.resume(), 1);
        }
        return undefined;
      }
      override onEnd(connection: Connection) {
        connection.write(`${count} of ${connection.stats.messagesRead}`);
      }
    }
    const server = await start(tcp, Spans);
    const messages = [0, 1, 10, 100, 5_000, 70_000, 64, 64, 64, 200_000].flatMap((size) =>
      Array.from({ length: 5 }, () => randomBytes(size)),
    );
    const client = dial(server);
    await sendCut(client, encoder.encodeAll(messages));
    client.socket.end();
    expect(await client.closed).toBe(`${messages.length} of ${messages.length}`);
    expect(hash.digest('hex')).toBe(digest(messages));
  },
);

test("onSpan() that says 'close', that throws, or whose bytes are no messages", async () => {
  class Spans extends MessageRequestHandler {
    static override readonly framing = 'lines';
    override onSpan(bytes: Buffer, from: number, to: number, connection: Connection) {
      const line = bytes.toString('latin1', from, to);
      if (line === 'throw') throw new Error('as asked');
      connection.write(`${line}\n`);
      return line === 'close' ? 'close' : undefined;
    }
  }
  const server = await start(tcp, Spans);
  const errors: string[] = [];
  server.on('error', (error) => errors.push(error.message));
  const closing = dial(server);
  for (let i = 0; i < 20; i++) expect(await closing.ask(`line ${i}`)).toBe(`line ${i}`);
  closing.text = '';
  closing.socket.write('one\nclose\ntwo\n');
  expect(await closing.closed).toBe('one\nclose\n');
  const throwing = dial(server);
  throwing.socket.write('throw\n');
  await throwing.closed;
  await eventually(() => errors.length === 1);
  expect(errors).toEqual(['as asked']);
  await server.waitForConnections('==', 0);
  const endless = dial(server);
  const closed = once(server, 'close');
  endless.socket.write(Buffer.alloc(3 << 20, 'x'));
  await endless.closed;
  expect((await closed)[0]).toMatchObject({ reason: 'framing' });
});

test('a class with both onMessage() and onSpan() is refused', () => {
  class Both extends MessageRequestHandler {
    static override readonly framing = 'lines';
    override onMessage() {}
    override onSpan() {}
  }
  expect(() => new TCPServer({ port: 0 }, Both)).toThrow(/onSpan/);
});

/** Echoes each chunk; busy after a few. */
class Echo extends StreamRequestHandler {
  override onData(chunk: Buffer, connection: Connection): unknown {
    connection.write(chunk);
    return undefined;
  }
}

async function makeBusy(client: Client): Promise<void> {
  for (let i = 0; i < 30; i++) expect(await client.ask(`turn ${i}`)).toBe(`turn ${i}`);
}

test('a busy connection still counts its bytes, drains, closes, and is counted once', async () => {
  const server = await start(tcp, Echo);
  const closes: Record<string, unknown>[] = [];
  server.on('close', (info) => closes.push({ ...info }));
  const [ending, resetting, slow] = [dial(server), dial(server), dial(server)];
  for (const client of [ending, resetting, slow]) await makeBusy(client);
  const [connection] = server.connections;
  expect(connection!.stats.bytesRead).toBe(connection!.stats.bytesWritten);
  expect(connection!.stats.bytesRead).toBeGreaterThan(200);
  ending.socket.end('bye');
  expect(await ending.closed).toMatch(/bye$/);
  resetting.socket.resetAndDestroy();
  await eventually(() => closes.length === 2);
  expect(new Set(closes.map(({ reason }) => reason))).toEqual(new Set(['end', 'reset']));
  const bytes = randomBytes(8 << 20);
  slow.text = '';
  slow.socket.pause();
  slow.socket.end(bytes);
  await new Promise((resolve) => setTimeout(resolve, 100));
  slow.socket.resume();
  expect(digest(Buffer.from(await slow.closed, 'latin1'))).toBe(digest(bytes));
  expect(await server.shutdown()).toMatchObject({ open: 0, destroyed: 0 });
  expect(server.connections.size).toBe(0);
});

test('read timeout, shutdown and pause() hold for a busy connection', async () => {
  const server = await start(tcp, Echo, { readTimeout: patience(150) });
  const closed = once(server, 'close');
  await makeBusy(dial(server));
  expect((await closed)[0]).toMatchObject({ reason: 'read-timeout' });
  server.setOptions({ readTimeout: 0 });
  const client = dial(server);
  await makeBusy(client);
  const [connection] = server.connections;
  connection!.pause();
  client.text = '';
  client.socket.write('later\n');
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(client.text).toBe('');
  connection!.resume();
  expect(await client.until('\n')).toBe('later\n');
  expect(await server.shutdown()).toMatchObject({ idle: 1, destroyed: 0 });
});

test('who has asked for the socket of a connection finds the same one later', async () => {
  const seen = new Set<unknown>();
  class Asking extends Echo {
    override onData(chunk: Buffer, connection: Connection) {
      seen.add(connection.socket);
      return super.onData(chunk, connection);
    }
  }
  const server = await start(tcp, Asking);
  await makeBusy(dial(server));
  expect(seen.size).toBe(1);
});

test('STARTTLS on a busy connection', async () => {
  class Upgrading extends Echo {
    override async onData(chunk: Buffer, connection: Connection) {
      if (String(chunk) !== 'STARTTLS\n') return void super.onData(chunk, connection);
      connection.write('go ahead\n');
      return connection.upgradeTls(certificate);
    }
  }
  const server = await start(tcp, Upgrading);
  const client = dial(server);
  await makeBusy(client);
  expect(await client.ask('STARTTLS')).toBe('go ahead');
  client.socket.removeAllListeners('data');
  const secure = connectTls({ socket: client.socket, rejectUnauthorized: false });
  for (let i = 0; i < 20; i++) {
    secure.write(`hidden ${i}\n`);
    expect(String((await once(secure, 'data'))[0])).toBe(`hidden ${i}\n`);
  }
  secure.end();
});
