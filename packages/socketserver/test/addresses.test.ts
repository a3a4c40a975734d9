import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { existsSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import {
  DatagramRequestHandler,
  UDPServer,
  UnixDatagramServer,
  UnixSeqpacketServer,
  UnixStreamServer,
  type Connection,
  StreamRequestHandler,
} from '@sendall/socketserver';
import { describe, expect, test } from 'vitest';
import { Echo, Obedient, ObedientDatagram } from './dist/handlers.js';
import { askPython, closing, dial, eventually, folder, rows, start } from './support/rows.js';

const hex = (text: string | Buffer) => Buffer.from(text).toString('hex');
const tcp = { transport: 'tcp' } as const;

async function serving<S extends UnixStreamServer>(server: S): Promise<S> {
  closing(server);
  await server.listen();
  void server.serveForever();
  return server;
}

const kinds = [
  ['stream', UnixStreamServer, Obedient],
  ['datagram', UnixDatagramServer, ObedientDatagram],
  ['seqpacket', UnixSeqpacketServer, Obedient],
] as const;

describe.each(kinds)('a Unix %s path', (_kind, Server, Handler) => {
  test.each([0o600, 0o660, 0o666])('has its mode from its creation on, and is gone after close: %o', async (mode) => {
    const path = `${folder()}/socket`;
    const server = await serving(new Server({ path, mode }, Handler));
    expect(statSync(path).mode & 0o777).toBe(mode);
    await server.shutdown();
    expect(existsSync(path)).toBe(false);
  });

  test('a file nobody answers on is replaced, unless told not to; a live one or no socket at all is EADDRINUSE', async () => {
    const path = `${folder()}/socket`;
    const first = await serving(new Server({ path }, Handler));
    const inUse = { code: 'EADDRINUSE' };
    await expect(new Server({ path }, Handler).listen()).rejects.toMatchObject(inUse);
    // A second name keeps the file when its server removes it: what a killed server leaves behind.
    const { linkSync } = await import('node:fs');
    linkSync(path, `${path}.left`);
    await first.shutdown();
    renameSync(`${path}.left`, path);
    await expect(new Server({ path, stale: 'fail' }, Handler).listen()).rejects.toMatchObject(inUse);
    await serving(new Server({ path }, Handler));
    const plain = `${folder()}/plain`;
    writeFileSync(plain, 'precious');
    await expect(new Server({ path: plain }, Handler).listen()).rejects.toMatchObject(inUse);
    expect(readFileSync(plain, 'utf8')).toBe('precious');
  });

  test('more than 107 bytes are ENAMETOOLONG before anything is bound', async () => {
    const dir = folder();
    const fits = `${dir}/${'x'.repeat(107 - dir.length - 1)}`;
    await serving(new Server({ path: fits }, Handler));
    expect(existsSync(fits)).toBe(true);
    const long = `${dir}/${'x'.repeat(108 - dir.length - 1)}`;
    await expect(new Server({ path: long }, Handler).listen()).rejects.toMatchObject({ code: 'ENAMETOOLONG' });
    const wide = `${dir}/${'ö'.repeat(60)}`;
    await expect(new Server({ path: wide }, Handler).listen()).rejects.toMatchObject({ code: 'ENAMETOOLONG' });
  });

  test('a folder that is not there is an error with advice', async () => {
    const server = new Server({ path: `${folder()}/no/such/socket` }, Handler);
    await expect(server.listen()).rejects.toThrow(/make it first|permission|EACCES/);
  });
});

test('the path of a server that took over is not removed by the one before', async () => {
  const path = `${folder()}/socket`;
  const old = await serving(new UnixStreamServer({ path }, Obedient));
  const next = await serving(new UnixStreamServer({ path: `${path}.next` }, Obedient));
  renameSync(`${path}.next`, path);
  await old.shutdown();
  expect(existsSync(path)).toBe(true);
  const client = dial({ serverAddress: { path } });
  expect(await client.ask('who')).toContain(`${process.pid}/`);
  client.socket.end();
  await next.shutdown();
});

test('abstract names are byte-exact for other programs', async () => {
  const name = `socketserver-test-${process.pid}`;
  await serving(new UnixDatagramServer({ path: `\0${name}` }, ObedientDatagram));
  expect(readFileSync('/proc/net/unix', 'latin1')).toMatch(new RegExp(`@${name}\\n`));
  const answers = await askPython('datagram', `@${name}`, [`@${name}-client`], [hex('abstract')]);
  expect(answers).toEqual([hex('abstract')]);
});

test('SEQPACKET keeps the boundaries of packets, both ways', async () => {
  class Sizes extends StreamRequestHandler {
    override onData(chunk: Buffer, connection: Connection) {
      connection.write(chunk);
      connection.write(`${chunk.length}`);
    }
  }
  const path = `${folder()}/socket`;
  await serving(new UnixSeqpacketServer({ path }, Sizes));
  const packets = ['abc', 'x'.repeat(1000), 'y'.repeat(60_000)].map(hex);
  const answers = await askPython('seqpacket', path, [], packets);
  // For each packet sent one is read: the echo, then the size that is still waiting, and so on.
  expect(answers[0]).toBe(hex('abc'));
  expect(answers[1]).toBe(hex('3'));
  expect(answers[2]).toBe(packets[1]);
});

test('a Unix datagram sender without a name: no address, the answer is a typed error, the server lives', async () => {
  const path = `${folder()}/socket`;
  const server = await serving(new UnixDatagramServer({ path }, ObedientDatagram));
  const error = once(server, 'error');
  expect(await askPython('datagram', path, [], [hex('hello')])).toEqual(['sent']);
  const [failure, context] = (await error) as [Error, { clientAddress: unknown }];
  expect(failure).toMatchObject({ code: 'NO_RETURN_ADDRESS' });
  expect(context.clientAddress).toEqual({ path: '' });
  expect(await askPython('datagram', path, [`${path}.client`], [hex('named')])).toEqual([hex('named')]);
});

test('Unix datagrams: more than maxPacketSize is truncated and said to be; EMSGSIZE and an absent peer are errors', async () => {
  const seen: unknown[] = [];
  class Watching extends DatagramRequestHandler {
    override async handle() {
      seen.push([this.packet.length, this.truncated]);
      if (String(this.packet) !== 'answer') return;
      await this.reply(Buffer.alloc(1 << 20)).catch((error: { code: string }) => seen.push(error.code));
      const gone = { path: '/no/such/socket' };
      await this.socket.send(Buffer.from('x'), gone).catch((error: { code: string }) => seen.push(error.code));
      await this.reply('done');
    }
  }
  const path = `${folder()}/socket`;
  await serving(new UnixDatagramServer({ path }, Watching, { maxPacketSize: 1000 }));
  await askPython('datagram', path, [], [hex('x'.repeat(1000)), hex('x'.repeat(1001))]);
  expect(await askPython('datagram', path, [`${path}.client`], [hex('answer')])).toEqual([hex('done')]);
  expect(seen).toEqual([[1000, false], [1000, true], [6, false], 'EMSGSIZE', 'ENOENT']);
});

test('a client whose queue is full gets its answers once it reads', async () => {
  class Many extends DatagramRequestHandler {
    override async handle() {
      await Promise.all(Array.from({ length: 900 }, (_, i) => this.reply(`${i}`)));
    }
  }
  const path = `${folder()}/socket`;
  const server = await serving(new UnixDatagramServer({ path }, Many));
  const errors: Error[] = [];
  server.on('error', (error) => errors.push(error));
  expect(await askPython('datagram', path, [`${path}.client`], [hex('go'), '=899'])).toEqual([hex('0'), '899']);
  expect(errors).toEqual([]);
});

test('UDP: one packet is one request; truncated ones are said to be; an empty answer sends nothing', async () => {
  class Files extends DatagramRequestHandler {
    override handle() {
      if (String(this.packet) === 'silent') return;
      this.wfile.write(`${String(this.rfile.read())}|`);
      this.wfile.write(`${this.truncated}`);
    }
  }
  const server = closing(new UDPServer({ host: '127.0.0.1', port: 0 }, Files, { maxPacketSize: 8 }));
  await server.listen();
  void server.serveForever();
  const { port } = server.serverAddress;
  const client = createSocket('udp4');
  const answers: string[] = [];
  client.on('message', (message, from) => answers.push(`${String(message)} from ${from.port === port}`));
  for (const text of ['12345678', 'silent', '123456789']) client.send(text, port, '127.0.0.1');
  await eventually(() => answers.length === 2);
  expect(answers.toSorted()).toEqual(['12345678|false from true', '12345678|true from true']);
  client.close();
});

test.each(['threads', 'processes'] as const)(
  'UDP in %s: answers carry the port of the server, and all workers get work',
  async (mode) => {
    const server = await start({ transport: 'udp' }, ObedientDatagram, { concurrency: { mode, workers: 2 } });
    const { port } = server.serverAddress;
    const client = createSocket('udp4');
    const who = new Set<string>();
    for (let i = 0; i < 6; i++) {
      client.send('who', port, '127.0.0.1');
      const [message, from] = (await once(client, 'message')) as [Buffer, { port: number }];
      expect(from.port).toBe(port);
      who.add(String(message));
    }
    expect(who.size).toBe(2);
    client.close();
  },
);

describe('events', () => {
  test('the channels of node:diagnostics_channel carry the same, with the server', async () => {
    const seen: Record<string, unknown>[] = [];
    const hear = (message: unknown, name: string | symbol) => seen.push({ name, ...(message as object) });
    const names = ['listening', 'connection', 'close', 'drain'].map((event) => `socketserver:${event}`);
    for (const name of names) subscribe(name, hear);
    try {
      const server = await start(tcp, Echo);
      const client = dial(server);
      client.socket.end('x');
      await client.closed;
      await server.waitForConnections('==', 0);
      await server.shutdown();
      const mine = seen.filter((message) => message['server'] === server);
      expect(mine.map(({ name }) => name)).toEqual([
        'socketserver:listening',
        'socketserver:connection',
        'socketserver:close',
        'socketserver:drain',
        'socketserver:drain',
      ]);
      expect(mine[2]).toMatchObject({ bytesRead: 1, bytesWritten: 1, reason: 'end' });
    } finally {
      for (const name of names) unsubscribe(name, hear);
    }
  });

  test('a listener that throws is reported and disturbs nobody', async () => {
    const server = await start(tcp, Obedient);
    const errors: string[] = [];
    server.on('error', (error) => errors.push(error.message));
    server.on('connection', () => {
      throw new Error('a bad listener');
    });
    expect(await dial(server).ask('fine')).toBe('fine');
    expect(errors).toEqual(['a bad listener']);
  });

  test.each(rows.filter(({ transport, mode }) => transport === 'tcp' && mode === 'inline'))(
    'noDelay and keepAlive are set on connections, as the kernel sees them: $name',
    async (row) => {
      const koffi = (await import('koffi')).default;
      const getsockopt = koffi.load(null).func('int getsockopt(int, int, int, void *, void *)');
      const optionOf = (fd: number, level: number, name: number) => {
        const value = new Int32Array(1);
        expect(getsockopt(fd, level, name, value, new Uint32Array([4]))).toBe(0);
        return value[0];
      };
      const [IPPROTO_TCP, TCP_NODELAY, TCP_KEEPIDLE, SOL_SOCKET, SO_KEEPALIVE] = [6, 1, 4, 1, 9];
      for (const [options, expected] of [
        [{}, [1, 0]],
        [{ noDelay: false, keepAlive: 7_000 }, [0, 1]],
      ] as const) {
        const server = await start(row, Echo, options);
        const client = dial(server);
        await client.ask('x');
        const [connection] = server.connections;
        expect(connection!.peer).toEqual({ host: '127.0.0.1', port: client.socket.localPort });
        expect(connection!.local).toEqual(server.serverAddress);
        expect(connection!.stats).toMatchObject({ bytesRead: 2, bytesWritten: 2 });
        const { fd } = Reflect.get(connection!.socket, '_handle') as { fd: number };
        expect([optionOf(fd, IPPROTO_TCP, TCP_NODELAY), optionOf(fd, SOL_SOCKET, SO_KEEPALIVE)]).toEqual(expected);
        if ('keepAlive' in options) expect(optionOf(fd, IPPROTO_TCP, TCP_KEEPIDLE)).toBe(7);
      }
    },
  );
});
