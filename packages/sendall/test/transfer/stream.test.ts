import * as fc from 'fast-check';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { expect, test } from 'vitest';
import { lengthPrefixed } from '@sendall/framing';
import { SendallError } from '../../dist/errors.js';
import { receiveFiles } from '../../dist/transfer/receiving.js';
import { sendFiles } from '../../dist/transfer/sending.js';
import { Channel } from '../../dist/transfer/stream/channel.js';
import { limitsOf } from '../../dist/transfer/stream/limits.js';
import {
  decodeMessage,
  encodeEntry,
  encodeMessage,
  writeDataHeader,
  DATA_HEADER,
  type TransferMessage,
} from '../../dist/transfer/stream/messages.js';
import { within } from '../../../../test/support/waits.js';
import { drawSeed } from '../../../../test/support/seed.js';
import { folder, streamPair } from './both-ends.js';

const bytes = (maxLength: number, minLength = 0) =>
  fc.uint8Array({ maxLength, minLength }).map((array) => Buffer.from(array));
const whole = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });
const file = fc.integer({ min: 0, max: 0xffff_ffff });
const hash = bytes(32, 32);
const optional = <T>(of: fc.Arbitrary<T>) => fc.option(of, { nil: undefined });
const text = fc.string({ maxLength: 20, unit: 'grapheme' });

const settings = fc.record({
  delete: optional(fc.boolean()),
  exclude: fc.array(bytes(10), { maxLength: 3 }),
  checksum: optional(fc.boolean()),
  fsync: whole,
  dryRun: optional(fc.boolean()),
  mode: optional(whole),
  inPlace: optional(fc.boolean()),
  fresh: optional(fc.boolean()),
  into: optional(fc.boolean()),
});
const leftOut = fc.array(fc.record({ what: text, count: whole }), { maxLength: 3 });
const entry = fc.record({
  name: bytes(255, 1),
  kind: whole,
  mode: whole,
  seconds: whole,
  nanoseconds: whole,
  size: optional(whole),
  uid: optional(whole),
  gid: optional(whole),
  target: optional(bytes(40)),
  holes: optional(whole),
  carried: optional(fc.boolean()),
  sha256: optional(hash),
  nameless: optional(fc.boolean()),
});

type Encoded = [name: string, frame: Buffer];
const plain = (name: string, body: fc.Arbitrary<unknown>): fc.Arbitrary<Encoded> =>
  body.map((value) => [name, encodeMessage(name as 'want', value as never)]);
const message: fc.Arbitrary<Encoded> = fc.oneof(
  plain(
    'begin',
    fc.record({
      version: whole,
      settings: optional(settings),
      sources: optional(whole),
      name: optional(bytes(10)),
      into: optional(fc.boolean()),
    }),
  ),
  plain('done', fc.record({ entries: whole, leftOut })),
  plain('fatal', fc.record({ reason: text, errno: optional(text) })),
  plain('problem', fc.record({ file: optional(file), path: optional(bytes(20)), reason: text, errno: optional(text) })),
  plain('leave', fc.record({ complete: optional(fc.boolean()) })),
  plain('end', fc.record({ file, size: whole, sum: hash })),
  plain('afresh', fc.record({ file })),
  plain('skipped', fc.record({ path: bytes(20), reason: text })),
  plain('want', fc.record({ file })),
  plain('have', fc.record({ file, offset: whole, sha256: hash })),
  plain('same', fc.record({ file })),
  plain('placed', fc.record({ file })),
  plain('deleted', fc.record({ path: bytes(20), kind: whole })),
  fc
    .tuple(entry, bytes(300))
    .map(([fields, content]): Encoded => ['entry', Buffer.concat([encodeEntry(fields), content])]),
  fc.tuple(file, whole, bytes(300, 1)).map(([number, offset, content]): Encoded => {
    const frame = Buffer.concat([Buffer.alloc(DATA_HEADER), content]);
    writeDataHeader(frame, 0, number, offset);
    return ['data', frame];
  }),
);

const again = (decoded: TransferMessage): Buffer => {
  if (decoded.type === 'data') {
    const frame = Buffer.concat([Buffer.alloc(DATA_HEADER), decoded.bytes]);
    writeDataHeader(frame, 0, decoded.file, decoded.offset);
    return frame;
  }
  if (decoded.type === 'entry') return Buffer.concat([encodeEntry(decoded), decoded.content]);
  return encodeMessage(decoded.type as 'want', decoded as never);
};

test('each message comes back as it was sent', () => {
  fc.assert(
    fc.property(message, ([name, frame]) => {
      const decoded = decodeMessage(frame);
      expect(decoded.type).toBe(name);
      expect(again(decoded)).toEqual(frame);
    }),
    { numRuns: 500 },
  );
});

/** Messages as frames; pieces of a file that follow each other are one, as a piece may come in parts. */
function joined(messages: readonly TransferMessage[]): Buffer[] {
  const all: TransferMessage[] = [];
  for (const next of messages) {
    const last = all.at(-1);
    const goesOn = next.type === 'data' && last?.type === 'data' && next.file === last.file;
    if (goesOn && next.offset === last.offset + last.bytes.length)
      all[all.length - 1] = { ...last, bytes: Buffer.concat([last.bytes, next.bytes]) };
    else all.push(next);
  }
  return all.map(again);
}

const framing = lengthPrefixed();

test('however the bytes are cut, the messages are the same', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(message, { maxLength: 12 }),
      fc.array(fc.nat(), { maxLength: 30 }),
      async (messages, cuts) => {
        const frames = messages.map(([, frame]) => frame);
        const all = framing.encoder().encodeAll(frames);
        const input = new PassThrough({ highWaterMark: 1 << 20 });
        const channel = new Channel({ input, output: new PassThrough() }, limitsOf().maxFrame);
        const places = [0, ...cuts.map((cut) => cut % (all.length + 1)), all.length].toSorted((a, b) => a - b);
        for (let i = 1; i < places.length; i++) input.write(all.subarray(places[i - 1], places[i]));
        input.end();
        const got: TransferMessage[] = [];
        for (;;) {
          const next = channel.take();
          if (next) got.push(next);
          else if (!(await channel.arrival())) break;
        }
        expect(joined(got)).toEqual(joined(frames.map(decodeMessage)));
      },
    ),
    { numRuns: 300 },
  );
});

test('random bytes are a message or a ProtocolError, and nothing else', () => {
  fc.assert(
    fc.property(bytes(100), fc.integer({ min: 0, max: 0x26 }), (array, type) => {
      const frame = Buffer.concat([Buffer.of(type), array]);
      try {
        decodeMessage(frame);
      } catch (error) {
        expect(error).toMatchObject({ code: 'PROTOCOL' });
      }
    }),
    { numRuns: 3000 },
  );
});

/** What a sender writes for a small tree with something of each kind. */
async function recordedStream(): Promise<Buffer[]> {
  const top = `${folder()}/top`;
  mkdirSync(`${top}/inner`, { recursive: true });
  writeFileSync(`${top}/small`, 'small');
  writeFileSync(`${top}/large`, Buffer.alloc(200_000, 7));
  writeFileSync(`${top}/inner/other`, 'other');
  symlinkSync('small', `${top}/link`);
  const [near, far] = streamPair();
  const parts: Buffer[] = [];
  near.output.on('data', (part: Buffer) => parts.push(part));
  const sending = sendFiles([top], near, { settings: { fsync: 'none' } });
  await Promise.all([sending.result, receiveFiles(`${folder()}/copy`, far).result]);
  return framing.decoder().decode(Buffer.concat(parts));
}

/** One change of a stream of frames, chosen by numbers. */
function damaged(frames: readonly Buffer[], [how, where, what]: readonly [number, number, number]): Buffer[] {
  const copy = frames.map((frame) => Buffer.from(frame));
  const at = where % copy.length;
  const frame = copy[at]!;
  switch (how % 6) {
    case 0: // another byte, mostly near the start, where the fields are
      frame[what % Math.min(frame.length, 80)]! ^= 1 << (where % 8);
      return copy;
    case 1: // a frame is missing
      return copy.toSpliced(at, 1);
    case 2: // a frame comes twice
      return copy.toSpliced(at, 0, frame);
    case 3: // two frames change places
      return copy.with(at, copy[what % copy.length]!).with(what % copy.length, frame);
    case 4: // a frame is cut off
      return copy.with(at, frame.subarray(0, what % (frame.length + 1)));
    default: // the stream ends early
      return copy.slice(0, at);
  }
}

test('a damaged stream ends the receiver with an error or changes one file; nothing is written elsewhere', async () => {
  const frames = await recordedStream();
  const seed = drawSeed();
  await fc.assert(
    fc.asyncProperty(fc.tuple(fc.nat(), fc.nat(), fc.nat()), async (change) => {
      const place = mkdtempSync(join(tmpdir(), 'sendall-damaged-'));
      try {
        const input = new PassThrough({ highWaterMark: 1 << 20 });
        const output = new PassThrough();
        output.resume();
        const { result } = receiveFiles(`${place}/copy`, { input, output });
        input.end(framing.encoder().encodeAll(damaged(frames, change)));
        const outcome = await within(result, 'the end').catch((error: unknown) => error);
        if (outcome instanceof Error) expect(outcome).toBeInstanceOf(SendallError);
        expect(readdirSync(place).filter((name) => name !== 'copy')).toEqual([]);
      } finally {
        rmSync(place, { recursive: true, force: true });
      }
    }),
    { numRuns: 150, seed },
  );
});

test('garbage ends a receiver and a sender with an error', async () => {
  const source = `${folder()}/file`;
  writeFileSync(source, 'content');
  await fc.assert(
    fc.asyncProperty(bytes(200, 1), fc.boolean(), async (garbage, framed) => {
      for (const start of [
        (pair: { input: PassThrough; output: PassThrough }) => receiveFiles('/nowhere/at/all', pair),
        (pair: { input: PassThrough; output: PassThrough }) => sendFiles([source], pair, { settings: {} }),
      ]) {
        const pair = { input: new PassThrough(), output: new PassThrough() };
        pair.output.resume();
        const { result } = start(pair);
        pair.input.end(framed ? framing.encoder().encode(garbage) : garbage);
        await expect(within(result, 'the end')).rejects.toBeInstanceOf(SendallError);
      }
    }),
    { numRuns: 50 },
  );
});

test('a stream that ends before its end was said fails on both sides', async () => {
  const frames = await recordedStream();
  const withoutDone = frames.slice(0, -1);
  const input = new PassThrough({ highWaterMark: 1 << 20 });
  const output = new PassThrough();
  output.resume();
  const { result } = receiveFiles(`${folder()}/copy`, { input, output });
  input.end(framing.encoder().encodeAll(withoutDone));
  await expect(within(result, 'the end')).rejects.toMatchObject({ code: 'ENDED' });
});
