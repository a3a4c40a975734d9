import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { Duplex } from 'node:stream';
import { connect as connectTls } from 'node:tls';
import { lengthPrefixed } from '@sendall/framing';
import {
  BaseRequestHandler,
  MessageRequestHandler,
  StreamRequestHandler,
  TimeoutError,
  serve,
  type Connection,
  type HandlerClass,
  type ServerOptions,
} from '@sendall/socketserver';
import { describe, expect, test } from 'vitest';
import { certificate } from './support/certificate.js';
import { closing, dial, eventually, folder, start } from './support/rows.js';

const tcp = { transport: 'tcp' } as const;
const local = { host: '127.0.0.1', port: 0 };
const frame = (text: string) => lengthPrefixed().encoder().encode(text);

/** A server that runs a function over each connection. */
const serving = async (run: (connection: Connection) => unknown, options: ServerOptions = {}) =>
  closing(await serve(local, run, options));

const v2 = (body: Buffer, family: number, command = 1) => {
  const head = Buffer.from('0d0a0d0a000d0a515549540a2000000c', 'hex');
  head[12] = 0x20 | command;
  head[13] = family;
  head.writeUInt16BE(body.length, 14);
  return Buffer.concat([head, body]);
};

describe('setup, handle, finish', () => {
  test('finish() runs when handle() throws, and not when setup() throws', async () => {
    const steps: string[] = [];
    const handler = (failing: 'setup' | 'handle'): HandlerClass =>
      class extends BaseRequestHandler {
        override setup() {
          steps.push('setup');
          if (failing === 'setup') throw new Error('setup failed');
        }
        override handle() {
          steps.push('handle');
          throw new Error('handle failed');
        }
        override finish() {
          steps.push('finish');
        }
      };
    for (const failing of ['handle', 'setup'] as const) {
      const server = await start(tcp, handler(failing));
      const error = once(server, 'error');
      await dial(server).closed;
      expect((await error)[0]).toMatchObject({ message: `${failing} failed` });
    }
    expect(steps).toEqual(['setup', 'handle', 'finish', 'setup']);
  });

  test('state is private to each connection', async () => {
    class Counting extends StreamRequestHandler {
      #count = 0;
      override onData(_chunk: Buffer, connection: Connection) {
        connection.write(`${++this.#count}\n`);
      }
    }
    const server = await start(tcp, Counting);
    const [first, second] = [dial(server), dial(server)];
    expect([await first.ask('x'), await first.ask('x'), await second.ask('x')]).toEqual(['1', '2', '1']);
  });

  test("handleError() gets the request, the client's address and the error, once; one that throws harms nobody", async () => {
    const server = await start(
      tcp,
      class extends BaseRequestHandler {
        override handle() {
          throw new Error('broken');
        }
      },
    );
    const calls: unknown[][] = [];
    server.on('error', () => {});
    server.handleError = (...args) => {
      calls.push(args);
      throw new Error('and this too');
    };
    for (let i = 0; i < 2; i++) await dial(server).closed;
    await eventually(() => calls.length === 2);
    const [request, address, error] = calls[0] as [Connection, { host: string; port: number }, Error];
    expect(request.peer).toEqual(address);
    expect(address.host).toBe('127.0.0.1');
    expect(error.message).toBe('broken');
  });

  test('a handler nobody listens to the errors of is a warning of the process, not silence', async () => {
    const server = await start(
      tcp,
      class extends BaseRequestHandler {
        override handle() {
          throw new Error('seen as a warning');
        }
      },
    );
    const warning = once(process, 'warning');
    dial(server);
    expect((await warning)[0]).toMatchObject({ message: 'seen as a warning' });
  });
});

describe('reading and writing', () => {
  test('readline(), read(n) and the rest: bytes however they were cut, null at the end', async () => {
    const seen: unknown[] = [];
    const text = (bytes: Buffer | null) => seen.push(bytes === null ? null : String(bytes));
    class Reading extends StreamRequestHandler {
      override async handle() {
        text(await this.rfile.readline());
        text(await this.rfile.read(4));
        text(await this.rfile.readline(3));
        text(await this.rfile.readline());
        text(await this.rfile.read());
        text(await this.rfile.readline());
        text(await this.rfile.read(1));
      }
    }
    const server = await start(tcp, Reading);
    const client = dial(server);
    await client.connected;
    for (const byte of 'line one\n1234long line\nthe rest') {
      client.socket.write(byte);
      await new Promise((resolve) => setImmediate(resolve));
    }
    client.socket.end();
    await client.closed;
    expect(seen).toEqual(['line one\n', '1234', 'lon', 'g line\n', 'the rest', null, null]);
  });

  test('a line without an end is an error at its limit, not memory without one', async () => {
    class Lines extends StreamRequestHandler {
      override async handle() {
        await this.rfile.readline();
      }
    }
    const server = await start(tcp, Lines);
    const error = once(server, 'error');
    dial(server).socket.write(Buffer.alloc(200_000, 'x'));
    expect((await error)[0]).toMatchObject({ code: 'LINE_TOO_LONG', limit: 65536 });
  });

  test('16 MiB written to a slow reader arrive whole, without a flush', async () => {
    const bytes = randomBytes(16 << 20);
    const server = await serving(async (connection) => {
      connection.write(bytes);
    });
    const client = dial(server, { allowHalfOpen: true });
    client.socket.removeAllListeners('data');
    client.socket.setEncoding('latin1');
    const hash = createHash('sha256');
    let length = 0;
    client.socket.on('data', (text: string) => {
      hash.update(text, 'latin1');
      length += text.length;
      client.socket.pause();
      setImmediate(() => client.socket.resume());
    });
    await once(client.socket, 'end');
    expect(length).toBe(bytes.length);
    expect(hash.digest('hex')).toBe(createHash('sha256').update(bytes).digest('hex'));
  });

  test('many small writes of a tick, texts and bytes mixed, keep their order', async () => {
    const parts = Array.from({ length: 2_000 }, (_, i) => `${i},${'ö'.repeat(i % 50)};`);
    const server = await serving(async (connection) => {
      parts.forEach((part, i) => connection.write(i % 3 === 0 ? Buffer.from(part) : part));
      connection.write(Buffer.alloc(100_000, 'z'));
      await connection.flush();
      connection.write('after');
    });
    const text = await dial(server).closed;
    expect(Buffer.from(text, 'latin1').toString()).toBe(`${parts.join('')}${'z'.repeat(100_000)}after`);
  });

  test('writes to many connections in one tick do not mix', async () => {
    const connections = new Set<Connection>();
    const server = await serving(async (connection) => {
      connections.add(connection);
      for await (const _ of connection);
    });
    const clients = Array.from({ length: 20 }, () => dial(server));
    await eventually(() => connections.size === 20);
    for (let i = 0; i < 100; i++) [...connections].forEach((connection) => connection.write(`<${connection.id}:${i}>`));
    for (const [at, connection] of [...connections].entries()) {
      const expected = Array.from({ length: 100 }, (_, i) => `<${connection.id}:${i}>`).join('');
      const client = clients.find(({ socket }) => socket.localPort === (connection.peer as { port: number }).port)!;
      expect(await client.until(`:99>`), String(at)).toBe(expected);
    }
  });

  test("returning 'close' sends what was written, then closes; onClose comes once", async () => {
    let closes = 0;
    class Once extends StreamRequestHandler {
      override onData(chunk: Buffer, connection: Connection) {
        connection.write(`you said ${String(chunk)}, bye`);
        return 'close';
      }
      override onClose() {
        closes++;
      }
    }
    const server = await start(tcp, Once);
    const client = dial(server);
    client.socket.write('hi');
    expect(await client.closed).toBe('you said hi, bye');
    await server.waitForConnections('==', 0);
    expect(closes).toBe(1);
  });

  test('an answer after the end of the client arrives: connections are half-open', async () => {
    const server = await serving(async (connection) => {
      let size = 0;
      for await (const chunk of connection) size += chunk.length;
      await new Promise((resolve) => setTimeout(resolve, 20));
      connection.write(`${size} bytes`);
    });
    const client = dial(server);
    client.socket.end('four');
    expect(await client.closed).toBe('4 bytes');
  });

  test('a handler that does not read everything still gets its answer through', async () => {
    const server = await serving((connection) => connection.write('enough'));
    const client = dial(server);
    client.socket.write(Buffer.alloc(1 << 20));
    expect(await client.closed).toBe('enough');
    expect(client.failure).toBeUndefined();
  });

  test('write() after end() is an error; after the client has gone it is not', async () => {
    const results: unknown[] = [];
    const server = await serving(async (connection) => {
      for await (const _ of connection);
      await connection.end('last');
      try {
        connection.write('more');
      } catch (error) {
        results.push((error as { code: string }).code);
      }
      connection.destroy();
      await eventually(() => connection.closed);
      results.push(connection.write('into the void'));
      await connection.drain().catch((error: { code: string }) => results.push(error.code));
    });
    const client = dial(server);
    client.socket.end();
    expect(await client.closed).toBe('last');
    await eventually(() => results.length === 3);
    expect(results).toEqual(['WRITE_AFTER_END', false, 'CONNECTION_CLOSED']);
  });

  test('sendFile() sends a file or a piece of it', async () => {
    const path = `${folder()}/file`;
    const bytes = randomBytes(1 << 20);
    writeFileSync(path, bytes);
    const server = await serving(async (connection) => {
      expect(await connection.sendFile(path)).toBe(bytes.length);
      await connection.sendFile(path, { start: 10, end: 19 });
    });
    const text = await dial(server).closed;
    expect(Buffer.from(text, 'latin1').equals(Buffer.concat([bytes, bytes.subarray(10, 20)]))).toBe(true);
  });

  test.each(['tcp', 'tls'] as const)(
    'reset() ends with a reset, and signal is aborted at the end: %s',
    async (transport) => {
      const aborted: Promise<unknown>[] = [];
      class Resetting extends StreamRequestHandler {
        override async handle() {
          aborted.push(once(this.connection.signal, 'abort'));
          await this.rfile.read(1);
          this.connection.reset();
        }
      }
      const server = await start({ transport }, Resetting);
      const client = dial(server);
      client.socket.write('x');
      await client.closed;
      expect(client.failure?.code).toBe('ECONNRESET');
      await Promise.all(aborted);
    },
  );

  test('what a timer writes after the server began to close goes nowhere, and is no error', async () => {
    const results = new Set<unknown>();
    class Chatty extends StreamRequestHandler {
      override setup() {
        const timer = setInterval(() => results.add(this.connection.write('tick')), 1);
        this.connection.signal.addEventListener('abort', () => setTimeout(() => clearInterval(timer), 20));
      }
      override onData() {}
    }
    const server = await start(tcp, Chatty, { readTimeout: 40 });
    const client = dial(server, { allowHalfOpen: true });
    await once(client.socket, 'end');
    await new Promise((resolve) => setTimeout(resolve, 20));
    client.socket.end();
    await client.closed;
    expect(results).toEqual(new Set([true, false]));
  });
});

describe('push style', () => {
  test('while a promise of onData is pending, the next chunk waits, and order is kept', async () => {
    const events: string[] = [];
    class Slow extends StreamRequestHandler {
      override async onData(chunk: Buffer, connection: Connection) {
        events.push(`begin ${String(chunk)}`);
        await new Promise((resolve) => setTimeout(resolve, 10));
        events.push(`end ${String(chunk)}`);
        connection.write(chunk);
      }
      override onEnd() {
        events.push('onEnd');
      }
      override onClose() {
        events.push('onClose');
      }
    }
    const server = await start(tcp, Slow);
    const client = dial(server);
    await client.connected;
    client.socket.write('a');
    await eventually(() => events.length === 1);
    client.socket.end('b');
    expect(await client.closed).toBe('ab');
    await eventually(() => events.length === 6);
    expect(events).toEqual(['begin a', 'end a', 'begin b', 'end b', 'onEnd', 'onClose']);
  });

  test('messages are found however they are cut, and answered in order', async () => {
    class Upper extends MessageRequestHandler {
      static override readonly framing = lengthPrefixed();
      override async onMessage(message: Buffer) {
        if (message.length % 2 === 0) await new Promise((resolve) => setImmediate(resolve));
        this.send(String(message).toUpperCase());
      }
    }
    const server = await start(tcp, Upper);
    const words = Array.from({ length: 50 }, (_, i) => `word ${'x'.repeat(i)}`);
    const bytes = Buffer.concat(words.map(frame));
    const client = dial(server);
    await client.connected;
    for (let at = 0; at < bytes.length; at += 7) {
      client.socket.write(bytes.subarray(at, at + 7));
      if (at % 5 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    client.socket.end();
    expect(await client.closed).toBe(Buffer.concat(words.map((word) => frame(word.toUpperCase()))).toString('latin1'));
  });

  test('messages may be pulled, and the framing may be an option of the server', async () => {
    class Summing extends MessageRequestHandler {
      override async handle() {
        let sum = 0;
        for await (const message of this.messages) sum += Number(message);
        this.send(`sum ${sum}`);
      }
    }
    const server = await start(tcp, Summing, { framing: 'u32be' });
    const client = dial(server);
    client.socket.end(Buffer.concat(['1', '20', '300'].map(frame)));
    expect(await client.closed).toBe(frame('sum 321').toString('latin1'));
  });

  test('bytes that are no message end the connection with a reason, tell onError, and are no error of the server', async () => {
    class Strict extends MessageRequestHandler {
      static override readonly framing = lengthPrefixed({ maxFrameLength: 100 });
      override onMessage(message: Buffer) {
        this.send(message);
      }
      override onError(error: Error) {
        this.send(`refused: ${error.name}`);
      }
    }
    const server = await start(tcp, Strict);
    const errors: Error[] = [];
    server.on('error', (error) => errors.push(error));
    const closed = once(server, 'close');
    const client = dial(server);
    client.socket.write(Buffer.concat([frame('good'), Buffer.from('GET / HTTP/1.1\r\n\r\n')]));
    expect(await client.closed).toBe(
      Buffer.concat([frame('good'), frame('refused: FrameTooLargeError')]).toString('latin1'),
    );
    expect((await closed)[0]).toMatchObject({ reason: 'framing', error: { name: 'FrameTooLargeError' } });
    expect(errors).toEqual([]);
  });

  test('pause() holds back messages of a chunk that was read already; resume() goes on', async () => {
    const seen: string[] = [];
    let paused: Connection | undefined;
    class Pausing extends MessageRequestHandler {
      static override readonly framing = 'u32be';
      override onMessage(message: Buffer, connection: Connection) {
        seen.push(String(message));
        if (seen.length === 2) (paused = connection).pause();
      }
    }
    const server = await start(tcp, Pausing);
    dial(server).socket.write(Buffer.concat(['1', '2', '3', '4'].map(frame)));
    await eventually(() => paused !== undefined);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(seen).toEqual(['1', '2']);
    paused!.resume();
    await eventually(() => seen.length === 4);
  });
});

describe('STARTTLS and PROXY', () => {
  test('upgradeTls() in a live connection; what was read ahead goes to TLS, never to the handler', async () => {
    const server = await serving(
      async (connection) => {
        for (let line; (line = await connection.reader.readLine()) !== null;) {
          if (String(line) === 'STARTTLS\r\n') {
            connection.write('go ahead\r\n');
            await connection.upgradeTls();
          } else connection.write(`${'encrypted' in connection.socket ? 'secret' : 'plain'} ${String(line)}`);
        }
      },
      { tls: undefined },
    );
    server.setOptions({ tls: certificate });
    const client = dial(server);
    expect(await client.ask('hello')).toBe('plain hello');
    expect(await client.ask('STARTTLS\r')).toContain('go ahead');
    client.socket.removeAllListeners('data');
    const secure = connectTls({ socket: client.socket, rejectUnauthorized: false });
    secure.write('hidden\n');
    expect(String((await once(secure, 'data'))[0])).toBe('secret hidden\n');
    secure.end();
  });

  test('upgradeTls() takes for TLS what comes while the client takes the last plain bytes', async () => {
    const plain = Buffer.alloc(8 * 1024 * 1024, 'plain');
    let upgrading!: () => void;
    const began = new Promise<void>((resolve) => (upgrading = resolve));
    const server = await serving(async (connection) => {
      await connection.reader.readLine();
      connection.write(plain);
      const upgraded = connection.upgradeTls(certificate);
      upgrading();
      await upgraded;
      connection.write(`secret ${String(await connection.reader.readLine())}`);
    });
    const { socket } = dial(server);
    socket.removeAllListeners('data').pause();
    // TLS is told nothing of the plain bytes before its own.
    let left = plain.length;
    const under = new Duplex({
      read: () => undefined,
      write: (chunk: Buffer, _encoding, done) => void socket.write(chunk, done),
    });
    socket.write('STARTTLS\n');
    await began;
    const secure = connectTls({ socket: under, rejectUnauthorized: false });
    await new Promise((sent) => socket.write('', sent));
    socket.on('data', (text: string) => {
      const bytes = Buffer.from(text, 'latin1');
      const rest = bytes.subarray(Math.min(left, bytes.length));
      left -= bytes.length - rest.length;
      if (rest.length > 0) under.push(rest);
    });
    socket.resume();
    secure.write('hidden\n');
    expect(String((await once(secure, 'data'))[0])).toBe('secret hidden\n');
    secure.destroy();
  });

  test('a failing upgrade closes the connection with its reason', async () => {
    const server = await serving(async (connection) => connection.upgradeTls(certificate), { handshakeTimeout: 1_000 });
    const closed = once(server, 'close');
    const client = dial(server);
    client.socket.write('this is no ClientHello, though it is long enough to be one');
    await client.closed;
    expect((await closed)[0]).toMatchObject({ reason: 'handshake-error' });
  });

  const ipv4 = Buffer.from([192, 0, 2, 1, 198, 51, 100, 2, 0x10, 0x00, 0x01, 0xbb]);

  test.each<[string, Buffer, string]>([
    ['v1, IPv4', Buffer.from('PROXY TCP4 192.0.2.1 198.51.100.2 4096 443\r\n'), '192.0.2.1:4096 198.51.100.2:443'],
    ['v1, IPv6', Buffer.from('PROXY TCP6 2001:db8::1 ::2 1 2\r\n'), '2001:db8::1:1 ::2:2'],
    ['v1, unknown', Buffer.from('PROXY UNKNOWN\r\n'), 'own'],
    ['v2, IPv4', v2(ipv4, 0x11), '192.0.2.1:4096 198.51.100.2:443'],
    [
      'v2, IPv4 and an extension',
      v2(Buffer.concat([ipv4, Buffer.from('0400021234', 'hex')]), 0x11),
      '192.0.2.1:4096 198.51.100.2:443',
    ],
    ['v2, local', v2(Buffer.alloc(0), 0, 0), 'own'],
  ])(
    'PROXY header %s: peer and local are its addresses, bytes behind it are not lost',
    async (_name, header, expected) => {
      const server = await serving(
        async (connection) => {
          const [peer, mine] = [connection.peer, connection.local].map(
            (a) => `${'host' in a && a.host}:${'port' in a && a.port}`,
          );
          connection.write(`${peer} ${mine}|${String(await connection.read())}`);
        },
        { proxyProtocol: true },
      );
      for (const cut of [header.length, 5, 1]) {
        const client = dial(server);
        await client.connected;
        for (let at = 0; at < header.length; at += cut) {
          client.socket.write(header.subarray(at, at + cut));
          await new Promise((resolve) => setImmediate(resolve));
        }
        client.socket.write('first line\n');
        const text = await client.closed;
        const own = `127.0.0.1:${client.socket.localPort}`;
        expect(text).toMatch(/\|first line\n$/);
        if (expected !== 'own') expect(text.split('|')[0]).toBe(expected);
        else expect(text.startsWith('127.0.0.1:') && own.length > 0).toBe(true);
      }
    },
  );

  test.each([
    ['no header', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
    ['a line without an end', Buffer.from(`PROXY TCP4 ${'1'.repeat(200)}`)],
    ['a line that says nothing', Buffer.from('PROXY TCP4 300.1 x y z\r\n')],
    ['a version nobody knows', Buffer.concat([v2(ipv4, 0x11).subarray(0, 12), Buffer.from([0x31, 0x11, 0, 0])])],
    ['addresses that are not there', v2(Buffer.alloc(4), 0x11)],
  ])('a PROXY header that is none closes the connection: %s', async (_name, bytes) => {
    const server = await serving(() => {}, { proxyProtocol: true });
    const closed = once(server, 'close');
    const client = dial(server);
    client.socket.write(bytes);
    await client.closed;
    expect((await closed)[0]).toMatchObject({ reason: 'handshake-error', error: { code: 'PROXY_HEADER' } });
  });

  test('an optional PROXY header may be missing', async () => {
    const server = await serving(
      async (connection) => {
        for await (const chunk of connection) connection.write(chunk);
      },
      { proxyProtocol: 'optional' },
    );
    expect(await dial(server).ask('just a line')).toBe('just a line');
  });

  test('a PROXY header before TLS', async () => {
    const server = await serving((connection) => connection.write(`${(connection.peer as { host: string }).host}\n`), {
      proxyProtocol: 'v1',
      tls: certificate,
    });
    const plain = dial({ serverAddress: server.serverAddress });
    plain.socket.write('PROXY TCP4 192.0.2.7 192.0.2.8 1 2\r\n');
    const secure = connectTls({ socket: plain.socket, rejectUnauthorized: false });
    expect(String((await once(secure, 'data'))[0])).toBe('192.0.2.7\n');
  });
});

test('a pull handler sees the read timeout as an error it may answer', async () => {
  const server = await serving(
    async (connection) => {
      try {
        await connection.read();
      } catch (error) {
        expect(error).toBeInstanceOf(TimeoutError);
        connection.write('too late');
      }
    },
    { readTimeout: 30 },
  );
  expect(await dial(server).closed).toBe('too late');
});
