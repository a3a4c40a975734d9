/* oxlint-disable unicorn/consistent-function-scoping -- small functions stand beside their use */
import { custom, type Framing, lengthPrefixed, verifyFraming } from '@sendall/framing';
import { describe, expect, test } from 'vitest';

const wire = (text: string): Buffer => Buffer.from(text, 'latin1');
const pairs = custom('pairs', (_buf, start, end) => {
  return end - start < 2 ? { need: 2 } : { frame: [start, start + 2], consumed: 2 };
});

test('a framing that keeps the law passes', () => {
  verifyFraming(pairs, [
    { wire: wire('abcd'), frames: [wire('ab'), wire('cd')] },
    { wire: wire('abc'), frames: [wire('ab')], error: 'TRUNCATED_FRAME' },
    { wire: wire(''), frames: [] },
  ]);
  verifyFraming(lengthPrefixed({ bytes: 1, maxFrameLength: 2, onOversize: 'skip' }), [
    { wire: wire('\x01a\x03xyz\x01b'), frames: [wire('a'), wire('b')], error: 'FRAME_TOO_LARGE' },
  ]);
});

describe('a planted bug is found, with the cut', () => {
  const faults: [string, Framing, string, string[], RegExp][] = [
    [
      'a CR LF that is not seen across chunks',
      custom('crlf', (buf, start, end) => {
        // A CR at the end of what came is taken for the whole delimiter.
        const at = buf.indexOf('\r\n', start);
        if (at >= 0) return { frame: [start, at], consumed: at + 2 - start };
        return buf[end - 1] === 13 ? { frame: [start, end - 1], consumed: end - start } : { need: 0 };
      }),
      'ab\r\nc\r\n',
      ['ab', 'c'],
      /cut at 3, with push: frame 1 is 0a63, expected 63/,
    ],
    [
      'a frame that is whatever came',
      custom('reads', (_buf, start, end) => ({ frame: [start, end], consumed: end - start })),
      'abcdef',
      ['abcdef'],
      /cut at 1, with push: frame 0 is 61,/,
    ],
  ];
  test.each(faults)('%s', (_name, framing, bytes, frames, message) => {
    expect(() => verifyFraming(framing, [{ wire: wire(bytes), frames: frames.map(wire) }])).toThrow(message);
  });

  test('state that leaks from one frame into the next is found too', () => {
    let seen = 0;
    const leaky = custom('leaky', (_buf, start, end) => {
      seen = Math.max(seen, end - start);
      return end - start < 3 ? { need: 3 } : { frame: [start, start + (seen > 4 ? 3 : 2)], consumed: 3 };
    });
    expect(() => verifyFraming(leaky, [{ wire: wire('abcdef'), frames: [wire('abc'), wire('def')] }])).not.toThrow();
    seen = 0;
    const fresh = (): Framing =>
      custom('fresh', (_buf, start, end) => {
        if (end - start < 3) return { need: 3 };
        return { frame: [start, end - start > 4 ? start + 3 : start + 2], consumed: 3 };
      });
    expect(() => verifyFraming(fresh(), [{ wire: wire('abcdef'), frames: [wire('abc'), wire('de')] }])).toThrow(
      /cut at/,
    );
  });
});

test('a wrong expectation is told uncut', () => {
  expect(() => verifyFraming(pairs, [{ wire: wire('ab'), frames: [wire('ax')] }])).toThrow(
    'case 0, uncut: frame 0 is 6162, expected 6178',
  );
  expect(() => verifyFraming(pairs, [{ wire: wire('a'), frames: [] }])).toThrow('expected none');
});

test('the same seed makes the same cuts', () => {
  const seen: number[][] = [];
  const watched = (log: number[]): Framing =>
    custom('watched', (_buf, start, end) => {
      log.push(end - start);
      return end - start < 2 ? { need: 2 } : { frame: [start, start + 2], consumed: 2 };
    });
  for (let i = 0; i < 2; i++) {
    const log: number[] = [];
    verifyFraming(watched(log), [{ wire: wire('abcdefgh'), frames: ['ab', 'cd', 'ef', 'gh'].map(wire) }], {
      seed: 7,
      cuts: 50,
    });
    seen.push(log);
  }
  expect(seen[0]).toEqual(seen[1]);
});

test('options nobody knows are refused by name', () => {
  expect(() => verifyFraming(pairs, [], { sead: 1 } as object)).toThrow('sead');
});

describe('the state of a custom framing', () => {
  /** Records of parts: a count, then so many parts behind a length byte each. Every byte that is looked at is counted. */
  const parts = (looked: { bytes: number }): Framing =>
    custom<{ at: number; left: number }>(
      'parts',
      (buf, start, end, _ended, state) => {
        let { at, left } = state ?? { at: 4, left: -1 };
        if (end - start < 4) return { need: 4 };
        if (left < 0) left = buf.readUInt32BE(start);
        for (; left > 0; left--) {
          if (end - start <= at) return { need: at + 1, state: { at, left } };
          const next = at + 1 + (buf[start + at] as number);
          looked.bytes++;
          if (end - start < next) return { need: next, state: { at, left } };
          at = next;
        }
        return { frame: [start, start + at], consumed: at };
      },
      { maxFrameLength: 2 ** 26 },
    );
  const record = (count: number): Buffer => {
    const head = Buffer.alloc(4);
    head.writeUInt32BE(count);
    return Buffer.concat([head, Buffer.from('\x03abc'.repeat(count))]);
  };

  test('begins anew with each frame and comes back in every cut', () => {
    const frames = [record(3), record(0), record(1)];
    verifyFraming(parts({ bytes: 0 }), [
      { wire: Buffer.concat(frames), frames },
      { wire: Buffer.concat([record(2), record(5).subarray(0, 9)]), frames: [record(2)], error: 'TRUNCATED_FRAME' },
    ]);
  });

  test('a reset and taking the rest forget it', () => {
    const decoder = parts({ bytes: 0 }).decoder();
    decoder.decode(record(4).subarray(0, 10));
    decoder.reset();
    expect(decoder.decode(record(1))).toEqual([record(1)]);
    decoder.decode(record(4).subarray(0, 10));
    expect(decoder.takeRest()).toEqual(record(4).subarray(0, 10));
    expect(decoder.decode(record(1))).toEqual([record(1)]);
  });

  test.each([1, 7, 1460])('lets a frame of many parts cost no more than its size, in chunks of %i', (size) => {
    const cost = (count: number): { looked: number; copied: number } => {
      const looked = { bytes: 0 };
      const decoder = parts(looked).decoder();
      const bytes = record(count);
      const got: Buffer[] = [];
      for (let at = 0; at < bytes.length; at += size) got.push(...decoder.decode(bytes.subarray(at, at + size)));
      expect(got).toEqual([bytes]);
      return { looked: looked.bytes / count, copied: decoder.stats.copiedBytes / bytes.length };
    };
    for (const count of [1000, 20_000]) {
      const { looked, copied } = cost(count);
      expect(looked).toBeLessThanOrEqual(size === 1 ? 4 : 2);
      expect(copied).toBeLessThan(4);
    }
  });
});
