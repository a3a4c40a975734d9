import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { readInto } from '@sendall/socketserver';
import { expect, onTestFinished, test } from 'vitest';
import { until } from '../../../../test/support/waits.js';
import { Link } from '../../dist/link/link.js';

/** Takes every write immediately, like a socket whose peer keeps up: no `drain` follows. */
class Hungry extends Duplex {
  readonly written: Buffer[] = [];
  override _read(): void {}
  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.written.push(Buffer.from(chunk));
    done();
  }
}

test('a link whose stream takes everything immediately keeps asking for more', async () => {
  const stream = new Hungry();
  const link = new Link(stream);
  const wanted = 40;
  let sent = 0;
  const finished = new Promise<void>((resolve) => {
    const fill = (): void => {
      while (sent < wanted && link.roomy) {
        const from = sent * 65_536;
        link.sendFilled(1, 1, from, 65_536, (room) => room.fill(sent).length);
        sent++;
      }
      link.flushData();
      if (sent === wanted) resolve();
    };
    link.start({ message: () => undefined, roomy: fill, closed: () => undefined });
    fill();
  });
  await finished;
  const frames: Buffer[] = [];
  for (let rest = Buffer.concat(stream.written); rest.length; rest = rest.subarray(4 + rest.readUInt32BE(0)))
    frames.push(rest.subarray(4, 4 + rest.readUInt32BE(0)));
  expect(frames.map((frame) => frame.at(-1))).toEqual(Array.from({ length: wanted }, (_, i) => i));
  link.destroy();
});

test('the memory of a written piece is reused only when the stream is done with it', async () => {
  const held: { chunk: Buffer; done: () => void }[] = [];
  class Slow extends Hungry {
    override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
      held.push({ chunk, done });
    }
  }
  const link = new Link(new Slow()).start({ message: () => undefined, closed: () => undefined });
  const send = (byte: number): void => {
    link.sendFilled(1, 1, 0, 1000, (room) => room.fill(byte).length);
    link.flushData();
  };
  send(1);
  send(2);
  expect(held[0]!.chunk.at(-1)).toBe(1);
  held[0]!.done();
  await new Promise((resolve) => setImmediate(resolve));
  send(3);
  expect(held[1]!.chunk.at(-1)).toBe(2);
  link.destroy();
});

test('a message too long for a frame ends its link and nothing else', async () => {
  const link = new Link(new Hungry());
  const closed = new Promise<Error | undefined>((resolve) => {
    link.start({ message: () => undefined, closed: resolve });
  });
  link.send({ type: 'LINK_ERROR', alias: 0, code: 'X', message: 'x'.repeat(2 * 1024 * 1024) });
  expect((await closed)?.message).toMatch(/above/);
});

test('a link whose next owner must wait at once reads no more until that goes on', async () => {
  const [theirs, ours] = [new Hungry(), new Hungry()];
  const caller = new Link(theirs).start({ message: () => undefined, closed: () => undefined });
  const host = new Link(ours);
  const seen: number[] = [];
  const first = new Promise<void>((resolve) => {
    host.start({
      message() {
        host.hold();
        resolve();
      },
      closed: () => undefined,
    });
  });
  for (const offset of [0, 1, 2]) caller.sendData(1, 0, 0, offset, Buffer.of(offset));
  caller.flushData();
  ours.push(Buffer.concat(theirs.written));
  await first;
  host.handOver({
    message(message) {
      if (message.type === 'DATA') seen.push(message.offset);
      host.pauseReading();
    },
    closed: () => undefined,
  });
  expect([seen, ours.isPaused()]).toEqual([[1], true]);
  host.continueReading();
  expect([seen, ours.isPaused()]).toEqual([[1, 2], true]);
  host.continueReading();
  expect(ours.isPaused()).toBe(false);
  for (const link of [caller, host]) link.destroy();
});

test('a link that must wait at its first large piece reads no other into the memory of what waits', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const connected = once(server, 'connection') as Promise<[Socket]>;
  const caller = new Link(connect((server.address() as AddressInfo).port, '127.0.0.1'));
  const [socket] = await connected;
  server.close();
  const host = new Link(socket, readInto);
  onTestFinished(() => {
    for (const link of [caller, host]) link.destroy();
  });
  host.trust();
  caller.start({ message: () => undefined, closed: () => undefined });

  const size = 40_000;
  const count = 64;
  const seen: (number | string)[] = [];
  host.start({
    message(message) {
      if (message.type !== 'DATA') return;
      const [value] = message.bytes;
      seen.push(message.bytes.every((byte) => byte === value) ? value! : `a mix from ${message.offset} on`);
      if (seen.length === 1) host.pauseReading();
    },
    closed: () => undefined,
  });
  const send = (i: number): void => caller.sendData(1, 0, 0, i * size, Buffer.alloc(size, i));
  send(0);
  await until(() => seen.length > 0, 'the first piece');
  // It reads into memory of its own from the next turn of the event loop on. Each later one reads what has come.
  await new Promise((resolve) => setImmediate(resolve));
  for (let i = 1; i < count; i++) send(i);
  for (let turns = 0; turns < 100; turns++) await new Promise((resolve) => setImmediate(resolve));
  host.continueReading();
  await until(() => seen.length >= count || host.closed, 'all pieces');
  expect(seen).toEqual(Array.from({ length: count }, (_, i) => i));
});
