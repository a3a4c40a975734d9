import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { lengthPrefixed } from '@sendall/framing/length-prefixed';
import { SharedReads } from '../../dist/link/shared-reads.js';

const KiB = 1024;
/** The byte of the stream at an offset, so that a misplaced one shows. */
const pattern = (from: number, length: number): Buffer => {
  const bytes = Buffer.allocUnsafe(length);
  for (let i = 0; i < length; i++) bytes[i] = ((from + i) * 31 + ((from + i) >> 8)) & 0xff;
  return bytes;
};

describe.each([
  { kind: 'lent', lends: true },
  { kind: 'own', lends: false },
])('reads into $kind memory', ({ lends }) => {
  test('of any sizes give every frame its bytes', () => {
    const frames = fc.array(
      fc.oneof(fc.integer({ min: 1, max: 100 }), fc.constant(64 * KiB - 5), fc.integer({ min: 1, max: 200 * KiB })),
      { minLength: 1, maxLength: 60 },
    );
    const reads = fc.array(fc.integer({ min: 1, max: 400 * KiB }), { minLength: 1, maxLength: 30 });
    fc.assert(
      fc.property(frames, reads, (lengths, sizes) => {
        const framing = lengthPrefixed({ maxFrameLength: 1024 * KiB });
        let from = 0;
        const wire = framing.encoder().encodeAll(
          lengths.map((length) => {
            from += length;
            return pattern(from - length, length);
          }),
        );
        const shared = new SharedReads(lends);
        const decoder = framing.decoder({ copy: 'never' });
        const seen: Buffer[] = [];
        let at = 0;
        let count = 0;
        shared.deliver((chunk) => {
          decoder.push(chunk, (frame) => {
            expect(frame.equals(pattern(at, frame.length))).toBe(true);
            at += frame.length;
            count++;
            if (!lends) seen.push(frame);
          });
          if (decoder.state === 'idle') shared.beginFrame();
          else shared.goOnWithFrame();
        });
        for (let sent = 0, i = 0; sent < wire.length; i++) {
          const buffer = shared.onread.buffer as () => Buffer;
          const room = buffer();
          expect(room.length).toBeGreaterThanOrEqual(16 * KiB);
          const length = wire.copy(room, 0, sent, Math.min(sent + sizes[i % sizes.length]!, wire.length));
          shared.onread.callback(length, room);
          sent += length;
        }
        expect(count).toBe(lengths.length);
        // What is not lent stays as it was.
        let behind = 0;
        for (const frame of seen) {
          expect(frame.equals(pattern(behind, frame.length))).toBe(true);
          behind += frame.length;
        }
      }),
      { numRuns: 60 },
    );
  });
});
