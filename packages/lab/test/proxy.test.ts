/** The proxy, alone and with each fault. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { faults, startProxy, type FaultOptions, type ProxyEvent } from '@sendall/lab';
import { finished, portOf, Program, wirelab, soon } from './programs.js';

const loopback = { host: '127.0.0.1', port: 0 };

/** A server with a handler given by the test, and its port. */
async function listening(handle: (socket: Socket) => void): Promise<AsyncDisposable & { port: number }> {
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    handle(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

const echo = (socket: Socket) => void socket.pipe(socket);

/** A proxy in front of a server: its address, and its events. */
async function proxied(port: number, options: FaultOptions = {}, seed = 7) {
  const events: ProxyEvent[] = [];
  const proxy = await startProxy({
    listen: loopback,
    to: { host: '127.0.0.1', port },
    faults: faults(options),
    seed,
    onEvent: (event) => events.push(event),
  });
  return { port: (proxy.address as { port: number }).port, events, [Symbol.asyncDispose]: () => proxy.close() };
}

/** Sends everything, half-closes, and returns the answer and how it ended. */
async function through(port: number, bytes: Buffer): Promise<{ bytes: Buffer; error?: string }> {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  const parts: Buffer[] = [];
  let error: string | undefined;
  socket.on('data', (part: Buffer) => parts.push(part));
  socket.on('error', (caught: NodeJS.ErrnoException) => (error = caught.code));
  socket.on('end', () => socket.end());
  socket.end(bytes);
  await once(socket, 'close').catch(() => {});
  return { bytes: Buffer.concat(parts), ...(error !== undefined && { error }) };
}

describe('a proxy without faults', () => {
  it('has told the end of each connection when it is closed', async () => {
    await using server = await listening(echo);
    const proxy = await proxied(server.port);
    const clients = [1, 2].map(() => connect(proxy.port, '127.0.0.1').on('error', () => {}));
    for (const client of clients) {
      client.write('hello');
      await once(client, 'data');
    }
    await proxy[Symbol.asyncDispose]();
    const ends = proxy.events.flatMap((event) => (event.type === 'close' ? [event.connection] : []));
    expect(new Set(ends)).toEqual(new Set([1, 2]));
    for (const client of clients) client.destroy();
  });

  it('passes 4 MB both ways unaltered, with a half-close', async () => {
    await using server = await listening(echo);
    await using proxy = await proxied(server.port);
    const sent = randomBytes(4 << 20);
    expect((await through(proxy.port, sent)).bytes.equals(sent)).toBe(true);
  });

  it('holds back a sender whose receiver does not read', async () => {
    await using server = await listening((socket) => socket.pause());
    await using proxy = await proxied(server.port);
    const socket = connect(proxy.port, '127.0.0.1');
    await once(socket, 'connect');
    const total = 64 << 20;
    socket.write(Buffer.alloc(total));
    // Nothing drains it: the bytes taken stay bounded by the buffers on the way.
    for (let before = -1, still = 0; still < 5;) {
      const taken = proxy.events.reduce((sum, event) => sum + (event.type === 'read' ? event.bytes.length : 0), 0);
      still = taken === before ? still + 1 : 0;
      before = taken;
      await new Promise((resolve) => setTimeout(resolve, 30));
      expect(taken).toBeLessThan(total / 2);
    }
    socket.destroy();
  });

  it('passes a reset on as a reset', async () => {
    await using server = await listening((socket) => socket.once('data', () => socket.resetAndDestroy()));
    await using proxy = await proxied(server.port);
    expect((await through(proxy.port, Buffer.from('hello'))).error).toBe('ECONNRESET');
  });

  it.each<[string, FaultOptions, number, number]>([
    ['a reset after 10 bytes', { resetAfter: 10 }, 10, 0],
    ['a half-close behind the first piece', { halfClose: true, slice: 100 }, 1000, 1000],
    ['pieces that arrive whole', { slice: 100 }, 1000, 1000],
  ])('counts what it wrote: %s', async (_name, options, up, down) => {
    await using server = await listening(echo);
    await using proxy = await proxied(server.port, options);
    await through(proxy.port, Buffer.alloc(1000));
    await soon(() => proxy.events.at(-1)).toMatchObject({ type: 'close', up, down });
  });

  it('reports what it wrote, byte for byte, and each fault at its byte', async () => {
    await using server = await listening(echo);
    await using proxy = await proxied(server.port, { corrupt: 0.05, slice: 7 });
    const { bytes: back } = await through(proxy.port, Buffer.alloc(500));
    await soon(() => proxy.events.at(-1)).toMatchObject({ type: 'close' });
    for (const direction of ['up', 'down']) {
      const own = proxy.events.filter((event) => 'direction' in event && event.direction === direction);
      const bytesOf = (type: string) =>
        Buffer.concat(own.flatMap((event) => (event.type === type && 'bytes' in event ? [event.bytes] : [])));
      const [before, after] = [bytesOf('read'), bytesOf('write')];
      const flipped = own.flatMap((event) => (event.type === 'fault' ? [event.afterBytes] : []));
      expect(flipped.length).toBeGreaterThan(0);
      expect([...before.keys()].filter((at) => before[at] !== after[at])).toEqual(flipped);
      if (direction === 'down') expect(after).toEqual(back);
    }
    const lengths = proxy.events.flatMap((event) => (event.type === 'write' ? [event.bytes.length] : []));
    expect(Math.max(...lengths)).toBe(7);
  });

  it('reports an unreachable server', async () => {
    await using proxy = await proxied(1);
    await through(proxy.port, Buffer.from('hello'));
    await soon(() => proxy.events.at(-1)).toMatchObject({
      type: 'close',
      error: 'cannot reach 127.0.0.1:1: ECONNREFUSED',
    });
  });
});

describe('faults', () => {
  it('keep every byte in order, for any combination of harmless ones', async () => {
    await using server = await listening(echo);
    const options = fc.record({
      slice: fc.option(fc.integer({ min: 50, max: 5000 }), { nil: undefined }),
      coalesce: fc.option(fc.integer({ min: 1, max: 5 }), { nil: undefined }),
      latency: fc.option(fc.integer({ min: 1, max: 5 }), { nil: undefined }),
      jitter: fc.option(fc.integer({ min: 1, max: 5 }), { nil: undefined }),
      throttle: fc.option(fc.integer({ min: 2_000_000, max: 9_000_000 }), { nil: undefined }),
      stall: fc.option(fc.constant(1), { nil: undefined }),
    });
    await fc.assert(
      fc.asyncProperty(
        options,
        fc.uint8Array({ minLength: 1, maxLength: 40_000 }),
        fc.nat(),
        async (each, bytes, seed) => {
          await using proxy = await proxied(server.port, each, seed);
          const sent = Buffer.from(bytes);
          expect((await through(proxy.port, sent)).bytes.equals(sent)).toBe(true);
        },
      ),
      { numRuns: 25 },
    );
  });

  it('slice: a waiting receiver sees each slice alone', async () => {
    const seen: number[] = [];
    await using server = await listening((socket) => {
      socket.on('data', (chunk) => seen.push(chunk.length)).on('end', () => socket.end());
    });
    await using proxy = await proxied(server.port, { slice: 2 });
    await through(proxy.port, Buffer.from('hello'));
    expect(seen.length).toBeGreaterThan(1);
    expect(seen.reduce((sum, length) => sum + length, 0)).toBe(5);
  });

  it('coalesce: small writes arrive as one', async () => {
    const seen: string[] = [];
    await using server = await listening((socket) => {
      socket.on('data', (chunk) => seen.push(chunk.toString())).on('end', () => socket.end());
    });
    // Until the end of what is sent.
    await using proxy = await proxied(server.port, { coalesce: 3_600_000 });
    const socket = connect({ port: proxy.port, host: '127.0.0.1', noDelay: true });
    for (const word of ['a', 'b', 'c']) {
      socket.write(word);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    socket.end();
    socket.resume();
    await once(socket, 'close');
    expect(seen).toEqual(['abc']);
  });

  it('corrupt: the same seed flips the same bits, however the bytes are read; another seed flips others', async () => {
    await using server = await listening(echo);
    const sent = Buffer.alloc(20_000, 'a');
    const run = async (seed: number, slice?: number) => {
      await using proxy = await proxied(server.port, { corrupt: 0.001, slice }, seed);
      const { bytes } = await through(proxy.port, sent);
      return bytes;
    };
    const first = await run(1);
    expect(first).toHaveLength(sent.length);
    expect(first.equals(sent)).toBe(false);
    expect((await run(1, 777)).equals(first)).toBe(true);
    expect((await run(2)).equals(first)).toBe(false);
  });

  it('cut-every: exactly that many bytes, then the end, for each connection', async () => {
    await using server = await listening(echo);
    await using proxy = await proxied(server.port, { cutEvery: 1000 });
    for (let round = 0; round < 2; round++) {
      const got: number[] = [];
      await using counted = await listening((socket) => void socket.on('data', (chunk) => got.push(chunk.length)));
      await using cut = await proxied(counted.port, { cutEvery: 1000 });
      await through(cut.port, Buffer.alloc(5000));
      await soon(() => got.reduce((sum, length) => sum + length, 0)).toBe(1000);
      expect((await through(proxy.port, Buffer.alloc(5000, 'x'))).bytes.length).toBeLessThanOrEqual(1000);
    }
  });

  it('reset-after: a reset on both sides', async () => {
    // Python's recv distinguishes a reset from an end; Node reports a reset after a short read as an end.
    const script = `
import socket
server = socket.create_server(('127.0.0.1', 0))
print('listening', server.getsockname()[1], flush=True)
conn, _ = server.accept()
total = 0
try:
    while True:
        read = conn.recv(1024)
        if not read:
            print('end after', total)
            break
        total += len(read)
except ConnectionResetError:
    print('reset after', total)
`;
    await using server = new Program('python3', ['-c', script]);
    await using proxy = await proxied(Number(await portOf(server)), { resetAfter: 100 });
    expect((await through(proxy.port, Buffer.alloc(500))).error).toBe('ECONNRESET');
    await server.ended;
    expect(server.stdout).toContain('reset after 100');
  });

  it('half-close: the server sees the end after the first piece, and its answer still arrives', async () => {
    await using server = await listening((socket) => {
      const heard: Buffer[] = [];
      socket
        .on('data', (chunk) => heard.push(chunk))
        .on('end', () => socket.end(`heard ${Buffer.concat(heard).toString()}`));
    });
    await using proxy = await proxied(server.port, { halfClose: true });
    const socket = connect({ port: proxy.port, host: '127.0.0.1', allowHalfOpen: true });
    socket.write('first');
    const [answer] = (await once(socket, 'data')) as [Buffer];
    expect(answer.toString()).toBe('heard first');
    socket.destroy();
  });

  it('stall and latency: nothing is lost while they wait', async () => {
    await using server = await listening(echo);
    await using proxy = await proxied(server.port, { stall: 50, latency: 20 });
    expect((await through(proxy.port, Buffer.from('hello'))).bytes.toString()).toBe('hello');
    expect(proxy.events.filter((event) => event.type === 'fault').map((event) => event.afterBytes)).toEqual([1, 1]);
  });
});

describe('wirelab chaos', () => {
  it('works between the tutorial’s client and server, and prints its seed', async () => {
    await using server = wirelab('serve', 'struct-i');
    const to = `127.0.0.1:${await portOf(server)}`;
    await using chaos = wirelab(
      'chaos',
      '--listen',
      '127.0.0.1:0',
      '--to',
      to,
      '--latency',
      '5',
      '--jitter',
      '5',
      '--seed',
      '3',
    );
    const client = await finished(wirelab('call', 'struct-i', `127.0.0.1:${await portOf(chaos)}`, 'seq 1 1000'));
    expect(client.stdout.split('\n')).toHaveLength(1001);
    expect(chaos.stderr).toContain('seed 3');
    chaos.child.kill('SIGTERM');
    expect(await chaos.ended).toBe(0);
  });
});
