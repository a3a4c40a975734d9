/** Records of wirelab inspect, and their replay. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ProxyEvent } from '@sendall/lab';
import { replayTo } from '../dist/proxy/replay.js';
import { finished, portOf, Program, wirelab } from './programs.js';

const bin = fileURLToPath(new URL('../bin/wirelab.js', import.meta.url));
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'wirelab-record-'));
});
afterAll(() => rm(folder, { recursive: true }));

async function listening(handle: (socket: Socket) => void) {
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket.on('error', () => {}));
    handle(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

/** A record of one client that sends this many bytes, and ends if `ends`. */
async function recordOf(bytes: number, ends = true): Promise<string> {
  const read = Buffer.alloc(65_536, 97).toString('base64');
  const events: object[] = [
    { wirelab: 1, framing: 'raw', begunAt: '2026-01-01T00:00:00Z' },
    { atMs: 0, event: 'open', connection: 1, client: 'x' },
  ];
  for (let at = 0; at < bytes; at += 65_536) {
    events.push({ atMs: 1, event: 'read', connection: 1, direction: 'up', base64: read });
  }
  if (ends) events.push({ atMs: 2, event: 'end', connection: 1, direction: 'up' });
  const file = join(folder, `${bytes}-${ends}.jsonl`);
  await writeFile(file, events.map((event) => `${JSON.stringify(event)}\n`).join(''));
  return file;
}

const size = 16 << 20;

describe('wirelab replay --to', () => {
  it.each([
    ['that ends its clients', true],
    ['whose clients never ended', false],
  ])('brings every byte to a server that is slow to read, of a record %s', async (_name, ends) => {
    let got = 0;
    let ended = false;
    // Longer than it waits for answers after the last byte; then it reads and ends.
    await using server = await listening((socket) => {
      socket.pause();
      setTimeout(() => socket.resume(), 2500);
      socket
        .on('data', (bytes) => (got += bytes.length))
        .on('end', () => {
          ended = true;
          socket.end('thank you');
        });
    });
    const to = `127.0.0.1:${server.port}`;
    const replay = wirelab('replay', await recordOf(size, ends), '--to', to, '--patience', '60');
    const { code, stdout, stderr } = await finished(replay);
    expect({ code, stderr, got, ended }).toEqual({ code: 0, stderr: '', got: size, ended: true });
    expect(stdout).toContain(`closed after ${size} bytes there and 9 back`);
  });

  /** As much as the system takes at once. */
  const little = 65_536;
  it.each<[string, (socket: Socket) => void, number, string, RegExp]>([
    ['reads nothing', (socket) => socket.pause(), size, '0.3', /the server took nothing more for 0.3 s/],
    ['resets', (socket) => void socket.once('data', () => socket.resetAndDestroy()), size, '60', /ECONNRESET|EPIPE/],
    ['does not end', (socket) => void socket.resume(), little, '0.3', /1: 65536 of 65536 .* did not end for 0.3 s/],
  ])(
    'gives up on a server that %s, reports the bytes taken and exits with 1',
    async (_name, handle, bytes, patience, why) => {
      await using server = await listening(handle);
      const words = ['--to', `127.0.0.1:${server.port}`, '--patience', patience];
      const { code, stderr } = await finished(wirelab('replay', await recordOf(bytes), ...words));
      expect(stderr).toMatch(new RegExp(`^wirelab: connection 1: \\d+ of ${bytes} bytes were taken: `));
      expect(stderr).toMatch(why);
      expect(code).toBe(1);
    },
  );
});

describe('a replay whose process stands still', () => {
  it('sees the end of a server that came meanwhile', async () => {
    const patienceMs = 200;
    const step = new Int32Array(new SharedArrayBuffer(4));
    const server = new Worker(SERVER, { eval: true, workerData: step });
    const [port] = (await once(server, 'message')) as [number];
    const events = async function* () {
      const at = { atMs: 0, connection: 1 } as const;
      yield { atMs: 0, event: { type: 'open', client: 'x', ...at } as ProxyEvent };
      yield { atMs: 0, event: { type: 'read', direction: 'up', bytes: Buffer.from('x'), ...at } as ProxyEvent };
      yield { atMs: 0, event: { type: 'end', direction: 'up', ...at } as ProxyEvent };
    };
    const stand = () => {
      Atomics.store(step, 0, 1);
      Atomics.notify(step, 0);
      // Until the server has ended, and then for longer than it may be silent.
      Atomics.wait(step, 0, 1);
      Atomics.wait(step, 0, 2, 2 * patienceMs);
    };
    const troubles = await replayTo({ host: '127.0.0.1', port }, events(), {
      patienceMs,
      onEvent: ({ type }) => type === 'end' && setImmediate(stand),
    });
    await server.terminate();
    expect(troubles).toEqual([]);
  });
});

/** Ends each connection while the loop of its client stands still. */
const SERVER = `
  const { createServer } = require('node:net');
  const { parentPort, workerData: step } = require('node:worker_threads');
  const server = createServer({ allowHalfOpen: true }, (socket) => socket.on('error', () => {}).once('data', () => {
    Atomics.wait(step, 0, 0);
    socket.end('bye', () => {
      Atomics.store(step, 0, 2);
      Atomics.notify(step, 0);
    });
  }).resume());
  server.listen(0, '127.0.0.1', () => parentPort.postMessage(server.address().port));
`;

describe('wirelab inspect --record, when the file is full', () => {
  const total = 3_000_000;

  /** Three megabytes through an inspector, which is run by this shell text with the file as $1. */
  async function passed(shell: string, file: string): Promise<{ got: number; stderr: string }> {
    await using server = await listening((socket) => void socket.end(Buffer.alloc(total, 'x')));
    const words = [
      'inspect',
      '--listen',
      '0',
      '--to',
      `127.0.0.1:${server.port}`,
      '--framing',
      'raw',
      '--record',
      file,
    ];
    await using inspect = new Program('/bin/sh', ['-c', shell, 'sh', file, process.execPath, bin, ...words]);
    const socket = connect(Number(await portOf(inspect)), '127.0.0.1');
    let got = 0;
    socket.on('data', (bytes) => (got += bytes.length));
    await once(socket, 'close');
    await inspect.says(/closed after/);
    inspect.child.kill('SIGINT');
    expect(await inspect.ended).toBe(0);
    return { got, stderr: inspect.stderr };
  }

  it('goes on at the file size limit, and the record can be replayed', async () => {
    const file = join(folder, 'limited.jsonl');
    // dash counts in blocks of 512 bytes.
    const { got, stderr } = await passed('ulimit -f 800; shift; exec "$@"', file);
    expect(got).toBe(total);
    expect(stderr).toBe(`wirelab: recording into ${file} has stopped: EFBIG; the traffic goes on\n`);
    expect((await readFile(file, 'utf8')).endsWith('}\n')).toBe(true);
    expect((await finished(wirelab('replay', file))).code).toBe(0);
  });

  it('goes on when the reader of a pipe has closed it', async () => {
    const file = join(folder, 'pipe');
    const { got, stderr } = await passed('mkfifo "$1"; head -c 5000 "$1" > /dev/null & shift; exec "$@"', file);
    expect(got).toBe(total);
    expect(stderr).toBe(`wirelab: recording into ${file} has stopped: EPIPE; the traffic goes on\n`);
  });

  it('does not start when the file accepts nothing at all', async () => {
    const words = ['inspect', '--listen', '0', '--to', '127.0.0.1:1', '--framing', 'raw', '--record', '/dev/full'];
    const { code, stderr } = await finished(wirelab(...words));
    expect({ code, stderr }).toEqual({ code: 1, stderr: 'wirelab: cannot record into /dev/full: ENOSPC\n' });
  });
});
