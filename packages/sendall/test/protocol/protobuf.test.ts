import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { decodeFields, encodeFields, list, message, opt, text, uint, bool, bytes } from '../../src/protocol/fields.js';
import { Reader, Writer } from '../../src/protocol/protobuf.js';

/** Numbers of every length. */
const whole = fc.oneof(
  fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }),
  fc.nat(53).map((power) => 2 ** power - 1),
  fc.nat(52).map((power) => 2 ** power),
);
const string = fc.oneof(fc.string({ unit: 'binary', maxLength: 200 }), fc.string({ maxLength: 60 }));
const piece = fc.uint8Array({ maxLength: 400 }).map((array) => Buffer.from(array));

const inner = { count: uint(1), name: opt(text(20)) };
const table = {
  number: uint(1),
  flag: bool(2),
  word: text(3),
  data: bytes(4),
  inner: message(5, inner),
  more: list(message(16, inner)),
  words: list(text(300)),
};
const innerValue = fc.record({ count: whole, name: string });
const value = fc.record({
  number: whole,
  flag: fc.boolean(),
  word: string,
  data: piece,
  inner: innerValue,
  more: fc.array(innerValue, { maxLength: 4 }),
  words: fc.array(string, { maxLength: 4 }),
});
type Value = typeof value extends fc.Arbitrary<infer T> ? T : never;

function writeInner(writer: BinaryWriter, { count, name }: Value['inner']): void {
  writer.tag(1, WireType.Varint).uint64(count).tag(20, WireType.LengthDelimited).string(name);
}

/** The same message by a library. */
function reference({ number, flag, word, data, inner: one, more, words }: Value): Uint8Array {
  const writer = new BinaryWriter();
  writer.tag(1, WireType.Varint).uint64(number).tag(2, WireType.Varint).bool(flag);
  writer.tag(3, WireType.LengthDelimited).string(word).tag(4, WireType.LengthDelimited).bytes(data);
  writeInner(writer.tag(5, WireType.LengthDelimited).fork(), one);
  writer.join();
  for (const each of more) {
    writeInner(writer.tag(16, WireType.LengthDelimited).fork(), each);
    writer.join();
  }
  for (const each of words) writer.tag(300, WireType.LengthDelimited).string(each);
  return writer.finish();
}

test('a message is byte for byte what another implementation writes, and is read from it', () => {
  fc.assert(
    fc.property(value, (sent) => {
      // Half of a surrogate pair has no UTF-8.
      fc.pre([sent.word, ...sent.words, sent.inner.name, ...sent.more.map(({ name }) => name)].every(isWhole));
      const ours = encodeFields(table, sent, 3);
      expect(ours.subarray(3)).toEqual(Buffer.from(reference(sent)));
      expect(decodeFields(table, ours, 'it', 3)).toEqual(sent);
    }),
    { numRuns: 1000 },
  );
});

const isWhole = (word: string): boolean => Buffer.from(word).toString() === word;

test('a message that is bigger than the memory kept for it comes out whole, and the next one too', () => {
  for (const size of [127, 128, 16_383, 16_384, 300_000, 3]) {
    const sent = { count: size, name: 'é'.repeat(size) };
    expect(decodeFields(inner, encodeFields(inner, sent), 'it')).toEqual(sent);
  }
});

test('numbers are those of another implementation, and others are refused', () => {
  const writer = new Writer();
  fc.assert(
    fc.property(whole, (number) => {
      writer.begin(0);
      writer.varint(number);
      const written = writer.take();
      expect(written).toEqual(Buffer.from(new BinaryWriter().uint64(number).finish()));
      expect(new Reader(written, 0).varint()).toBe(number);
    }),
    { numRuns: 2000 },
  );
  for (const wrong of [-1, 0.5, NaN, Infinity, 2 ** 53]) expect(() => writer.varint(wrong)).toThrow(RangeError);
});

test('random bytes are taken or refused as another implementation does', () => {
  const theirs = (raw: Uint8Array): unknown => {
    const reader = new BinaryReader(raw);
    const seen: unknown[] = [];
    while (reader.pos < reader.len) {
      const [no, wire] = reader.tag();
      if (wire === WireType.StartGroup || wire === WireType.EndGroup) throw new Error('a group');
      if (no === 1 && wire === WireType.Varint) seen.push(Number(reader.uint64()) <= Number.MAX_SAFE_INTEGER);
      else if (no === 4 && wire === WireType.LengthDelimited) seen.push(Buffer.from(reader.bytes()));
      else reader.skip(wire);
    }
    return seen;
  };
  const ours = (raw: Uint8Array): unknown => {
    const reader = new Reader(raw, 0);
    const seen: unknown[] = [];
    while (reader.at < reader.end) {
      const tag = reader.varint();
      if (tag < 8 || tag > 0xffff_ffff) throw new Error('no tag');
      if (tag === 8) seen.push(reader.varint() <= Number.MAX_SAFE_INTEGER);
      else if (tag === 34) seen.push(Buffer.from(reader.bytes()));
      else reader.skip(tag & 7);
    }
    return seen;
  };
  const outcome = (read: (raw: Uint8Array) => unknown, raw: Uint8Array): unknown => {
    try {
      return read(raw);
    } catch {
      return 'refused';
    }
  };
  const alike = fc.oneof(fc.constantFrom(8, 34, 0x80, 0xff, 1, 0, 5, 0x7f), fc.nat(255));
  fc.assert(
    fc.property(fc.array(alike, { maxLength: 30 }), (array) => {
      const raw = Uint8Array.from(array);
      expect(outcome(ours, raw)).toEqual(outcome(theirs, raw));
    }),
    { numRuns: 20_000 },
  );
});
