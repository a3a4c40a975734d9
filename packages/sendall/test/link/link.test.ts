import { Duplex } from 'node:stream';
import { expect, test } from 'vitest';
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
