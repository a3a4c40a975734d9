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

/** The same message from a library. */
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
      // A lone surrogate has no UTF-8.
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

/**
 * The other implementation, without its leniences: it passes over numbers of any length, and drops bits above 64, and of
 * a length those above 32.
 */
class StrictReader extends BinaryReader {
  readonly #raw: Uint8Array;

  constructor(raw: Uint8Array) {
    super(raw);
    this.#raw = raw;
  }

  #number(): bigint {
    let value = 0n;
    for (let i = 0; i < 10; i++) {
      const byte = this.#raw[this.pos + i];
      if (byte === undefined) break;
      value |= BigInt(byte & 0x7f) << BigInt(7 * i);
      if (byte < 0x80 && value < 2n ** 64n) return value;
    }
    throw new Error('no number');
  }

  number(): number {
    const value = this.#number();
    if (BigInt(this.uint64()) !== value) return NaN;
    return Number(value);
  }

  piece(): Buffer {
    if (this.#number() >= 2n ** 32n) throw new Error('too long');
    return Buffer.from(this.bytes());
  }

  pass(wire: WireType): void {
    if (wire === WireType.StartGroup || wire === WireType.EndGroup) throw new Error('a group');
    if (wire === WireType.Varint) this.#number();
    else if (wire === WireType.LengthDelimited && this.#number() >= 2n ** 32n) throw new Error('too long');
    this.skip(wire);
  }
}

/** Readers refuse numbers above 2^53 - 1, so their values do not matter. */
const exact = (number: number): number | string => (number > Number.MAX_SAFE_INTEGER ? 'large' : number);

function theirs(raw: Uint8Array): unknown[] {
  const reader = new StrictReader(raw);
  const seen: unknown[] = [];
  while (reader.pos < reader.len) {
    const [no, wire] = reader.tag();
    if (no === 1 && wire === WireType.Varint) seen.push(exact(reader.number()));
    else if (no === 4 && wire === WireType.LengthDelimited) seen.push(reader.piece());
    else reader.pass(wire);
  }
  return seen;
}

function ours(raw: Uint8Array): unknown[] {
  const reader = new Reader(raw, 0);
  const seen: unknown[] = [];
  while (reader.at < reader.end) {
    const tag = reader.tag();
    if (tag === 8) seen.push(exact(reader.varint()));
    else if (tag === 34) seen.push(Buffer.from(reader.bytes()));
    else reader.skip(tag & 7);
  }
  return seen;
}

function outcome(read: (raw: Uint8Array) => unknown, raw: Uint8Array): unknown {
  try {
    return read(raw);
  } catch {
    return 'refused';
  }
}

/** A number, small or at the edges of 32, 53 and 64 bits, in as many bytes as it needs or more. */
const number = fc
  .record({
    value: fc.oneof(
      fc.bigInt(0n, 40n),
      fc
        .constantFrom(2n ** 31n, 2n ** 32n, 2n ** 35n, 2n ** 53n, 2n ** 63n, 2n ** 64n, 2n ** 70n)
        .chain((edge) => fc.bigInt(edge - 3n, edge + 3n)),
    ),
    longer: fc.oneof(fc.constant(0), fc.nat(11)),
  })
  .map(({ value, longer }) => {
    const bytes = [];
    let left = value;
    do {
      bytes.push(Number(left & 0x7fn));
      left >>= 7n;
    } while (left);
    bytes.push(...Array<number>(longer).fill(0));
    return bytes.map((byte, i) => (i < bytes.length - 1 ? byte | 0x80 : byte));
  });
const alike = fc.oneof(fc.constantFrom(8, 34, 0x80, 0xff, 1, 0, 5, 0x7f), fc.nat(255));
const junk = fc
  .array(
    fc.oneof(
      fc.array(alike, { maxLength: 12 }),
      number,
      fc.constantFrom([8], [34], [0x10], [0x22], [0x88, 0x80, 0x80, 0x80, 0]),
    ),
    { maxLength: 8 },
  )
  .map((pieces) => Uint8Array.from(pieces.flat()));

test('random bytes are accepted or refused as by another implementation', () => {
  fc.assert(
    fc.property(junk, (raw) => {
      expect(outcome(ours, raw)).toEqual(outcome(theirs, raw));
    }),
    { numRuns: 30_000 },
  );
});

const long = (count: number, last: number): number[] => [...Array<number>(count - 1).fill(0x80), last];

test.each([
  ['a tag in six bytes', [0x88, ...long(5, 0), 1]],
  ['a tag in ten bytes', [0x88, ...long(9, 0), 1]],
  ['a tag above 32 bits', [0x88, 0x80, 0x80, 0x80, 0x10, 1]],
  ['a length of 2^32 and one', [34, 0x81, 0x80, 0x80, 0x80, 0x10, 1]],
  ['a length of 2^63', [34, ...long(10, 1), 1]],
  ['a skipped length of 2^32', [0x12, 0x80, 0x80, 0x80, 0x80, 0x10]],
  ['a tenth byte above 1', [8, ...long(10, 2)]],
  ['eleven bytes', [8, ...long(11, 0)]],
  ['a skipped number of eleven bytes', [0x10, ...long(11, 0)]],
  ['a skipped number whose tenth byte is above 1', [0x10, ...long(10, 0x7f)]],
])('%s is refused', (_, raw) => {
  expect(outcome(ours, Uint8Array.from(raw))).toBe('refused');
});

test('the longest forms that count are taken', () => {
  expect(ours(Uint8Array.from([0x88, ...long(4, 0), ...long(10, 1)]))).toEqual(['large']);
});
