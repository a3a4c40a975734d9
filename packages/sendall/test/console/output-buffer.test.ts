/** The rows of a run's output on the console's page: from bytes in any pieces, in any order of streams, within limits. */
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { ENCODINGS, newlineOf, spansOf, textOf } from '../../page/views/run/decoding.js';
import { MOST_BYTES, MOST_ROWS, OutputBuffer, STREAMS, type Stream } from '../../page/views/run/output-buffer.js';
import { readWanted } from '../../page/views/run/place-in-output.js';
import { partsOf } from '../../page/parts/printable.js';
import '../../../../test/support/seed.js';

const BYTES: { newline: 'byte'; streams: readonly Stream[] } = { newline: 'byte', streams: STREAMS };
const utf8 = (text: string) => new TextEncoder().encode(text);
const rowsOf = (buffer: OutputBuffer, encoding: (typeof ENCODINGS)[number] = 'utf-8') =>
  Array.from({ length: buffer.rows }, (_, row) =>
    textOf(buffer.row(row), encoding)
      .map(({ text }) => text)
      .join(''),
  );

/** The bytes in pieces, cut at these places. */
function fill(buffer: OutputBuffer, bytes: Uint8Array, cuts: readonly number[], stream: Stream = 'stdout'): void {
  const places = [...new Set([0, ...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length])].sort((a, b) => a - b);
  for (const [i, from] of places.slice(0, -1).entries())
    buffer.append({ stream, offset: from, timeMs: undefined, bytes: bytes.slice(from, places[i + 1]) });
}

test('however the bytes are cut, the rows are the lines', () => {
  fc.assert(
    fc.property(
      fc.array(fc.string({ unit: 'grapheme', maxLength: 40 }), { maxLength: 30 }),
      fc.array(fc.nat(2000), { maxLength: 40 }),
      (words, cuts) => {
        const lines = words.map((word) => word.replaceAll(/[\r\n]/g, ''));
        const buffer = new OutputBuffer(BYTES);
        fill(buffer, utf8(lines.map((line) => `${line}\n`).join('')), cuts);
        expect(rowsOf(buffer)).toEqual(lines);
      },
    ),
  );
});

test('lines of UTF-16 end at their own line end, not at a byte of another character', () => {
  fc.assert(
    fc.property(
      fc.array(fc.string({ unit: fc.constantFrom('a', '\u0a00', '\u000b', '\u0a0a', '好'), maxLength: 20 }), {
        maxLength: 20,
      }),
      fc.array(fc.nat(500), { maxLength: 20 }),
      fc.boolean(),
      (lines, cuts, isBig) => {
        const bytes = Buffer.from(lines.map((line) => `${line}\n`).join(''), 'utf16le');
        if (isBig) bytes.swap16();
        const encoding = isBig ? 'utf-16be' : 'utf-16le';
        const buffer = new OutputBuffer({ newline: newlineOf(encoding), streams: STREAMS });
        fill(buffer, bytes, cuts);
        expect(rowsOf(buffer, encoding)).toEqual(lines);
      },
    ),
  );
});

test('a character that another stream comes in between stays whole', () => {
  const buffer = new OutputBuffer(BYTES);
  const [first, second] = [utf8('好').slice(0, 1), utf8('好').slice(1)];
  buffer.append({ stream: 'stdout', offset: 0, timeMs: 1, bytes: first });
  buffer.append({ stream: 'stderr', offset: 0, timeMs: 2, bytes: utf8('err') });
  buffer.append({ stream: 'stdout', offset: 1, timeMs: 3, bytes: second });
  expect(textOf(buffer.row(0), 'utf-8')).toEqual([
    { kind: 'stdout', text: '' },
    { kind: 'stderr', text: 'err' },
    { kind: 'stdout', text: '好' },
  ]);
});

test('bytes that are here already are taken once, and a skip is reported', () => {
  const buffer = new OutputBuffer(BYTES);
  const piece = (offset: number, text: string) => ({
    stream: 'stdout' as const,
    offset,
    timeMs: undefined,
    bytes: utf8(text),
  });
  expect(buffer.append(piece(0, 'one\ntwo\n'))).toBe(0);
  expect(buffer.append(piece(4, 'two\nthree\n'))).toBe(0);
  expect(rowsOf(buffer)).toEqual(['one', 'two', 'three']);
  expect(buffer.append(piece(20, 'late\n'))).toBe(6);
});

test('output that comes before the answer says where it begins is kept', () => {
  const buffer = new OutputBuffer(BYTES);
  buffer.clear({ stdout: 8, stderr: 0 });
  fill(buffer, utf8('one\ntwo\nthree\n'), [4, 8]);
  expect(rowsOf(buffer)).toEqual(['one', 'two', 'three']);
  expect(buffer.begin.stdout).toBe(0);
});

test('it stays within its limits, from either end, and knows where it begins and ends', () => {
  const buffer = new OutputBuffer(BYTES);
  const block = utf8('0123456789abcde\n'.repeat(4096));
  let [offset, gone] = [0, 0];
  for (let i = 0; i < 300; i++) {
    buffer.append({ stream: 'stdout', offset, timeMs: undefined, bytes: block });
    offset += block.length;
    if (buffer.isFull) gone += buffer.trimStart();
  }
  expect(buffer.bytes).toBeLessThanOrEqual(MOST_BYTES);
  expect(buffer.rows).toBeLessThanOrEqual(MOST_ROWS + 4096);
  expect(gone + buffer.rows).toBe(300 * 4096);
  expect(buffer.end.stdout - buffer.begin.stdout).toBe(buffer.bytes);
  const some = [0, 1, 4095, buffer.rows >> 1, buffer.rows - 1].map((row) => textOf(buffer.row(row), 'utf-8')[0]?.text);
  expect(new Set(some)).toEqual(new Set(['0123456789abcde']));
  const { begin } = buffer;
  const before = begin.stdout;
  const inFront = buffer.prepend([
    { stream: 'stdout', offset: before - block.length, timeMs: undefined, bytes: block },
  ]);
  expect(inFront).toBe(4096);
  expect(begin.stdout).toBe(before - block.length);
  buffer.trimEnd();
  expect(buffer.end.stdout - buffer.begin.stdout).toBe(buffer.bytes);
});

test('another look finds the rows of one stream, and offsets lead to their rows', () => {
  const buffer = new OutputBuffer(BYTES);
  buffer.append({ stream: 'stdout', offset: 0, timeMs: 0, bytes: utf8('a\nb\n') });
  buffer.append({ stream: 'stderr', offset: 0, timeMs: 5, bytes: utf8('oh\n') });
  buffer.append({ stream: 'stdout', offset: 4, timeMs: 9, bytes: utf8('c\n') });
  expect(rowsOf(buffer)).toEqual(['a', 'b', 'oh', 'c']);
  expect([0, 1, 2, 4, 5].map((offset) => buffer.rowOf('stdout', offset))).toEqual([0, 0, 1, 3, 3]);
  expect(buffer.rowAtTime(4)).toBe(2);
  buffer.show({ newline: 'byte', streams: ['stderr'] });
  expect(rowsOf(buffer)).toEqual(['oh']);
});

test('a line without an end is cut into rows, and not inside a character', () => {
  const buffer = new OutputBuffer(BYTES);
  const text = '好'.repeat(5000);
  fill(buffer, utf8(text), []);
  expect(buffer.rows).toBeGreaterThan(5);
  expect(rowsOf(buffer).join('')).toBe(text);
});

test('sequences, control characters and direction marks are shown or left out, never obeyed', () => {
  const parts = [
    {
      stream: 'stdout' as const,
      offset: 0,
      timeMs: undefined,
      bytes: utf8('\u001b[31mred\u001b[0m\u202e\u0007\tend\r\n'),
    },
  ];
  expect(spansOf(parts, 'utf-8', true, '')).toEqual([
    { kind: 'code', text: '^[[31m' },
    { kind: 'stdout', text: 'red' },
    { kind: 'code', text: '^[[0m' },
    { kind: 'hidden', text: '\\u{202e}^G' },
    { kind: 'stdout', text: '\t' },
    { kind: 'stdout', text: 'end' },
  ]);
  expect(
    spansOf(parts, 'utf-8', false, 'e')
      .map(({ text, isMatch }) => (isMatch ? `<${text}>` : text))
      .join(''),
  ).toBe('r<e>d\\u{202e}^G\t<e>nd');
});

test('no hidden character is left in what is shown', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 20 }), (text) => {
      expect(partsOf(text).join('')).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
    }),
  );
});

test('a place is a byte, a share or a time', () => {
  expect(readWanted('4096')).toEqual({ byte: 4096 });
  expect(readWanted('1.5 MiB'.replace(' ', ''))).toEqual({ byte: 1_572_864 });
  expect(readWanted('50%')).toEqual({ share: 0.5 });
  expect(readWanted('+12.5s')).toEqual({ timeMs: 12_500 });
  expect(readWanted('+1:02:03')).toEqual({ timeMs: 3_723_000 });
  for (const wrong of ['', 'x', '-1', '12.5s', '+', '%']) expect(readWanted(wrong)).toBeUndefined();
});
