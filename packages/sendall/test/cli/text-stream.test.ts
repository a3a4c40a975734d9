import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { TextStream } from '../../dist/cli/show/text-stream.js';

function cut(encoding: string, bytes: Uint8Array, places: number[]): string {
  const stream = new TextStream(encoding);
  const ends = [...new Set(places.map((place) => place % (bytes.length + 1)))].toSorted((a, b) => a - b);
  let text = '';
  [...ends, bytes.length].forEach((end, i) => {
    text += stream.decode(bytes.subarray(ends[i - 1] ?? 0, end), { stream: true });
  });
  return text + stream.decode();
}

/** Bytes that begin characters or switch character sets, and random ones. */
const nasty = fc.oneof(
  fc.constantFrom(0x81, 0x30, 0x1b, 0x24, 0x28, 0x42, 0x8f, 0x8e, 0xfe, 0xff, 0xa1, 0),
  fc.nat(255),
);

describe('text that comes in pieces', () => {
  test.each(['gbk', 'gb18030', 'big5', 'shift_jis', 'utf-8'])(
    'in %s is what it is in one piece, though it be no text',
    (encoding) => {
      fc.assert(
        fc.property(fc.array(nasty, { maxLength: 20 }), fc.array(fc.nat(), { maxLength: 20 }), (list, places) => {
          const bytes = Uint8Array.from(list);
          const whole = new TextDecoder(encoding, { ignoreBOM: true }).decode(bytes);
          expect(cut(encoding, bytes, places)).toBe(whole);
        }),
        { numRuns: 500 },
      );
    },
  );

  test.each([
    ['euc-jp', 'a5c6a5b9a5c8'],
    ['gb18030', '8130813095328238'],
    ['iso-2022-jp', '1b24422546253925481b2842'],
  ])('in %s waits for the rest of a character, byte by byte', (encoding, hex) => {
    const bytes = Buffer.from(hex, 'hex');
    const every = Array.from(bytes, (_, i) => i);
    expect(cut(encoding, bytes, every)).toBe(new TextDecoder(encoding).decode(bytes));
  });

  test.each(['euc-jp', 'iso-2022-jp'])('in %s no bytes end it', (encoding) => {
    fc.assert(
      fc.property(fc.array(nasty, { maxLength: 20 }), (list) => {
        cut(encoding, Uint8Array.from(list), [...list.keys()]);
      }),
      { numRuns: 500 },
    );
  });
});
