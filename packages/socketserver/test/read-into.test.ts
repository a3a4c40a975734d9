import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { readInto, serve, type Connection } from '@sendall/socketserver';
import { afterEach, expect, test } from 'vitest';
import { certificate } from './support/certificate.js';
import { until, within } from '../../../test/support/waits.js';

// A program that takes a connection's socket over may have it read into memory of its own.

const closings: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closings.splice(0)) await close();
});

function deferred(): { promise: Promise<void>; resolve: () => void } {
  let resolve = (): void => undefined;
  const promise = new Promise<void>((done) => (resolve = done));
  return { promise, resolve };
}

async function served(secure: boolean, take: (connection: Connection) => Promise<void>): Promise<Socket> {
  const server = await serve({ host: '127.0.0.1', port: 0 }, take, secure ? { tls: certificate } : {});
  const { port } = server.serverAddress;
  const socket = secure
    ? connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false })
    : connect(port, '127.0.0.1');
  closings.push(async () => {
    socket.destroy();
    await server.shutdown({ timeout: 0 });
  });
  return socket;
}

test.each([
  ['plain', false],
  ['TLS', true],
] as const)('a %s socket reads into memory of the caller’s, in order and to the end', async (_name, secure) => {
  const sent = randomBytes(3_000_001);
  const got: Buffer[] = [];
  let before = 0;
  let switched: boolean | undefined;
  const memory = Buffer.alloc(20_000);
  const finished = deferred();
  const client = await served(secure, async ({ socket }) => {
    socket.on('data', (chunk: Buffer) => {
      got.push(chunk);
      before += chunk.length;
      if (before > 100_000 && switched === undefined)
        setImmediate(
          () =>
            (switched ??= readInto(socket, {
              buffer: memory,
              callback: (length) => {
                got.push(Buffer.from(memory.subarray(0, length)));
                return true;
              },
            })),
        );
    });
    // It may have been handed over paused.
    socket.resume();
    await once(socket, 'end');
    socket.end();
    finished.resolve();
  });
  client.end(sent);
  client.resume();
  await within(finished.promise, 'the end of what was sent');
  expect(switched).toBe(true);
  expect(before).toBeLessThan(sent.length);
  expect(Buffer.concat(got).equals(sent)).toBe(true);
});

test('a socket that reads so already, or has gone, says that it cannot', async () => {
  const answers: boolean[] = [];
  const finished = deferred();
  const onread = { buffer: Buffer.alloc(1000), callback: () => true };
  const client = await served(false, async ({ socket }) => {
    answers.push(readInto(socket, onread), readInto(socket, onread));
    socket.destroy();
    answers.push(readInto(socket, onread));
    finished.resolve();
  });
  client.on('error', () => undefined);
  await within(finished.promise, 'the answers');
  expect(answers).toEqual([true, false, false]);
});

test.each([
  ['plain', false],
  ['TLS', true],
] as const)('a %s socket that was paused before reads nothing until it is resumed', async (_name, secure) => {
  const sent = randomBytes(100_000);
  const got: Buffer[] = [];
  const memory = Buffer.alloc(20_000);
  const switched: Socket[] = [];
  const finished = deferred();
  const client = await served(secure, async ({ socket }) => {
    socket.resume();
    await once(socket, 'data');
    socket.pause();
    const callback = (length: number) => got.push(Buffer.from(memory.subarray(0, length))) > 0;
    if (readInto(socket, { buffer: memory, callback })) switched.push(socket);
    await once(socket, 'end');
    socket.end();
    finished.resolve();
  });
  client.resume();
  client.write('first');
  await until(() => switched.length > 0, 'the switch');
  await new Promise((resolve) => client.write(sent, resolve));
  // Each turn of the event loop reads what has come.
  for (let turns = 0; turns < 20; turns++) await new Promise((resolve) => setImmediate(resolve));
  expect(got).toEqual([]);
  switched[0]!.resume();
  client.end();
  await within(finished.promise, 'the end of what was sent');
  expect(Buffer.concat(got).equals(sent)).toBe(true);
});
