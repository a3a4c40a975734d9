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
