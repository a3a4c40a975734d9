/* oxlint-disable unicorn/consistent-function-scoping -- small functions stand beside their use */
import { Buffer } from 'node:buffer';
import {
  cobs,
  custom,
  delimited,
  fixed,
  type FramingError,
  lengthPrefixed,
  lines,
  netstring,
  slip,
  varint,
} from '@sendall/framing';
import { describe, expect, test } from 'vitest';

const text = (frames: readonly Buffer[]): string[] => frames.map(String);
const u8 = lengthPrefixed({ bytes: 1 });

describe('a callback', () => {
  test('that pushes gets those frames behind the rest of its own chunk', () => {
    const decoder = u8.decoder();
    const got: string[] = [];
    decoder.push(Buffer.from('\x01a\x01b'), function on(frame) {
      got.push(String(frame));
      if (got.length === 1) expect(decoder.push(Buffer.from('\x01c\x01d'), on)).toBe(true);
    });
    expect(got).toEqual(['a', 'b', 'c', 'd']);
  });

  test('that pushes a thousand times from inside itself does not grow the stack', () => {
    const decoder = lines().decoder();
    let count = 0;
    const on = (): void => {
      if (++count < 100_000) decoder.push(Buffer.from('x\n'), on);
    };
    decoder.push(Buffer.from('x\n'), on);
    expect(count).toBe(100_000);
  });

  test('that decodes gets the frames itself', () => {
    const decoder = u8.decoder();
    const got: string[] = [];
    decoder.push(Buffer.from('\x01a'), (frame) => {
      got.push(String(frame));
      if (got.length === 1) expect(decoder.decode(Buffer.from('\x01b'))).toEqual([]);
    });
    expect(got).toEqual(['a', 'b']);
  });

  test('that ends the stream ends it behind what is there', () => {
    const decoder = u8.decoder();
    const got: string[] = [];
    decoder.push(Buffer.from('\x01a\x01b'), (frame) => {
      got.push(String(frame));
      decoder.end();
    });
    expect(got).toEqual(['a', 'b']);
    expect(decoder.state).toBe('ended');
    expect(() => decoder.push(Buffer.from('\x01c'), () => {})).toThrow('has ended');
  });

  test('that throws has taken its frame; the rest is kept', () => {
    for (const framing of [u8, varint(), fixed(2)]) {
      const decoder = framing.decoder();
      const wire = framing.encoder().encodeAll(['ab', 'cd', 'ef']);
      const got: string[] = [];
      expect(() =>
        decoder.push(wire, (frame) => {
          got.push(String(frame));
          if (got.length === 2) throw new Error('no more');
        }),
      ).toThrow('no more');
      expect(decoder.state).toBe('stopped');
      expect(decoder.stats.frames).toBe(2);
      decoder.resume((frame) => void got.push(String(frame)));
      expect(got).toEqual(['ab', 'cd', 'ef']);
    }
  });

  test('that takes the rest gets all that was not decoded, and ends decoding of it', () => {
    for (const way of ['push', 'scan'] as const) {
      const decoder = u8.decoder();
      let rest: Buffer | undefined;
      let calls = 0;
      const on = (): void => {
        calls++;
        rest = decoder.takeRest();
      };
      decoder[way](Buffer.from('\x01aGET / HTTP'), on);
      expect([calls, String(rest), decoder.state]).toEqual([1, 'GET / HTTP', 'idle']);
      expect(text(decoder.decode(Buffer.from('\x01z')))).toEqual(['z']);
    }
  });

  test('that lowers the limit has it in force for the very next frame', () => {
    for (const framing of [u8, lengthPrefixed(), varint(), lines(), netstring(), cobs(), slip(), delimited(';')]) {
      const wire = framing.encoder().encodeAll(['aaaa', 'bbbb']);
      for (const way of ['push', 'scan'] as const) {
        const decoder = framing.decoder();
        let frames = 0;
        const on = (): void => {
          frames++;
          decoder.maxFrameLength = 3;
        };
        expect(() => decoder[way](wire, on)).toThrow(expect.objectContaining({ code: 'FRAME_TOO_LARGE', limit: 3 }));
        expect(frames).toBe(1);
      }
    }
  });

  test('that resets the decoder makes it as new, in the midst of a chunk', () => {
    const decoder = u8.decoder();
    decoder.push(Buffer.from('\x01a\x01b\x01c'), () => decoder.reset());
    expect(decoder.stats).toMatchObject({ bytes: 0, buffered: 0 });
    expect(decoder.state).toBe('idle');
    const small = lengthPrefixed({ bytes: 1, maxFrameLength: 1 }).decoder();
    small.push(Buffer.from('\x01a\x01b'), () => small.reset());
    expect(() => small.decode(Buffer.from('\x01x\x02yy'))).toThrow(expect.objectContaining({ offset: 2 }));
  });
});

describe('the limit', () => {
  test('is the old one for a frame in progress, the new one from the next on', () => {
    const decoder = u8.decoder();
    decoder.decode(Buffer.from('\x04aa'));
    decoder.maxFrameLength = 2;
    expect(text(decoder.decode(Buffer.from('aa\x02bb')))).toEqual(['aaaa', 'bb']);
    expect(() => decoder.decode(Buffer.from('\x03ccc'))).toThrow('limit of 2');
  });

  test('can be raised up to 2^53-1, and a header of that size buys 64 KiB at most', () => {
    const framing = lengthPrefixed({ bytes: 8, maxFrameLength: Number.MAX_SAFE_INTEGER });
    const decoder = framing.decoder();
    const before = process.memoryUsage().arrayBuffers;
    expect(decoder.decode(Buffer.from('001fffffffffffff', 'hex'))).toEqual([]);
    expect(decoder.missing).toBe(Number.MAX_SAFE_INTEGER);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThanOrEqual(128 * 1024);
    expect(() => framing.decoder().decode(Buffer.from('0020000000000000', 'hex'))).toThrow(
      expect.objectContaining({ code: 'FRAME_TOO_LARGE', size: 2n ** 53n, fatal: true }),
    );
  });

  test('above 2^53-1 is fatal even where frames are skipped', () => {
    const decoder = lengthPrefixed({ bytes: 8, onOversize: 'skip' }).decoder();
    expect(() => decoder.decode(Buffer.alloc(8, 0xff))).toThrow(
      expect.objectContaining({ size: 2n ** 64n - 1n, fatal: true }),
    );
  });

  test('is 1 MiB unless told otherwise, for every framing', () => {
    const mib = 1024 * 1024;
    for (const framing of [lengthPrefixed(), varint(), netstring(), lines(), delimited('\0'), cobs(), slip()]) {
      expect(framing.decoder().maxFrameLength).toBe(mib);
      const { code } = ((): FramingError => {
        try {
          framing.encoder().encode(Buffer.alloc(mib + 1, 65));
        } catch (error) {
          return error as FramingError;
        }
        throw new Error('encoded');
      })();
      expect(code).toBe('PAYLOAD_TOO_LARGE');
    }
  });

  test('must be a whole number', () => {
    const decoder = u8.decoder();
    for (const bad of [-1, 1.5, Number.NaN, Infinity, 2 ** 53, '5', undefined]) {
      expect(() => Object.assign(decoder, { maxFrameLength: bad })).toThrow('maxFrameLength');
    }
    expect(decoder.maxFrameLength).toBe(1024 * 1024);
  });
});

describe('memory', () => {
  test.each([
    ['one byte at a time', 1],
    ['in packets', 1460],
    ['in big chunks', 65_536],
  ])('of a 512 KiB frame that comes %s is the frame plus at most 64 KiB', (_name, size) => {
    for (const framing of [lengthPrefixed(), lines(), cobs()]) {
      const payload = Buffer.alloc(512 * 1024, 65);
      const wire = framing.encoder().encode(payload);
      const decoder = framing.decoder();
      const got: Buffer[] = [];
      let most = 0;
      for (let at = 0; at < wire.length; at += size) {
        got.push(...decoder.decode(wire.subarray(at, at + size)));
        most = Math.max(most, decoder.stats.buffered);
      }
      expect(most).toBeLessThanOrEqual(wire.length);
      // Not toEqual, which takes seconds for so many bytes.
      expect(got.map((frame) => frame.equals(payload))).toEqual([true]);
      // Put together once: 64 KiB first, then all. Without a length ahead, by doubling.
      expect(decoder.stats.copiedBytes).toBeLessThan((framing.name === 'u32be' ? 1.4 : 2.5) * wire.length);
    }
  });

  test('frames inside a chunk are views of it, frames across chunks are not', () => {
    const chunk = Buffer.from('\x01a\x03bc');
    const decoder = u8.decoder();
    const [view] = decoder.decode(chunk);
    chunk[1] = 'z'.charCodeAt(0);
    expect(String(view)).toBe('z');
    const [whole] = decoder.decode(Buffer.from('d'));
    chunk.fill(0);
    expect(String(whole)).toBe('bcd');
  });

  test('a frame is a Buffer, whatever kind of bytes was pushed', () => {
    const [frame] = u8.decoder().decode(new Uint8Array([2, 104, 105]));
    expect(Buffer.isBuffer(frame)).toBe(true);
    expect(Object.getPrototypeOf(frame)).toBe(Buffer.prototype);
    expect(() => u8.decoder().decode('text' as unknown as Buffer)).toThrow('expected bytes');
  });
});

describe('what a decoder tells of itself', () => {
  test('state and missing, step by step', () => {
    const decoder = lengthPrefixed({ bytes: 2, maxFrameLength: 9, onOversize: 'skip' }).decoder();
    const told = (hex: string): unknown[] => {
      decoder.decode(Buffer.from(hex, 'hex'));
      return [decoder.state, decoder.missing];
    };
    expect([decoder.state, decoder.missing]).toEqual(['idle', undefined]);
    expect(told('00')).toEqual(['partial', undefined]);
    expect(told('05')).toEqual(['partial', 5]);
    expect(told('aabb')).toEqual(['partial', 3]);
    expect(told('ccddee')).toEqual(['idle', undefined]);
    expect(told('000aff')).toEqual(['skipping', 9]);
    expect(told('ffffffffffffffffff')).toEqual(['idle', undefined]);
    decoder.push(Buffer.from('0000', 'hex'), () => false);
    expect(decoder.state).toBe('stopped');
    decoder.resume(() => {});
    decoder.end();
    expect(decoder.state).toBe('ended');
  });

  test('statistics', () => {
    const decoder = lengthPrefixed({ bytes: 1, maxFrameLength: 5, onOversize: 'skip' }).decoder();
    decoder.decode(Buffer.from('\x01a\x03bcd\x06......\x02e'));
    decoder.decode(Buffer.from('f\x05x'));
    expect(decoder.stats).toEqual({
      bytes: 18,
      frames: 3,
      payloadBytes: 6,
      skippedFrames: 1,
      skippedBytes: 7,
      largestFrame: 3,
      straddled: 2,
      copiedBytes: 5,
      buffered: 2,
      errors: 1,
    });
    decoder.reset();
    expect(decoder.stats).toMatchObject({ bytes: 0, frames: 0, buffered: 0, errors: 0 });
  });

  test('a failed decoder can be reset and used again', () => {
    const decoder = lengthPrefixed({ bytes: 1, maxFrameLength: 1 }).decoder();
    expect(() => decoder.decode(Buffer.from('\x02xx'))).toThrow('limit of 1');
    expect(String(decoder.takeRest())).toBe('\x02xx');
    decoder.reset();
    expect(text(decoder.decode(Buffer.from('\x01a')))).toEqual(['a']);
  });
});

describe('the end of the stream', () => {
  test('delivers the rest where asked to, and drops it where asked to', () => {
    const rest = (framing: { decoder(): ReturnType<typeof u8.decoder> }, wire: string): string[] => {
      const decoder = framing.decoder();
      const got: string[] = [];
      decoder.push(Buffer.from(wire, 'latin1'), (frame) => void got.push(String(frame)));
      decoder.end((frame) => void got.push(String(frame)));
      return got;
    };
    expect(rest(lines({ onEnd: 'deliver' }), 'a\nbc')).toEqual(['a', 'bc']);
    expect(rest(lines({ onEnd: 'discard' }), 'a\nbc')).toEqual(['a']);
    expect(rest(lengthPrefixed({ bytes: 1, onEnd: 'deliver' }), '\x01a\x05bc')).toEqual(['a', 'bc']);
    expect(() => rest(lengthPrefixed({ bytes: 2, onEnd: 'deliver' }), '\0')).toThrow('ended inside a frame');
    expect(rest(fixed(3, { onEnd: 'deliver' }), 'abcd')).toEqual(['abc', 'd']);
    expect(rest(delimited(',', { separator: true }), 'a,b')).toEqual(['a', 'b']);
    expect(rest(delimited(',', { separator: true }), 'a,')).toEqual(['a', '']);
    expect(rest(delimited(['\r', '\r\n']), 'a\rb\r')).toEqual(['a', 'b']);
  });

  test('waits for a stopped reader', () => {
    const decoder = lines({ onEnd: 'deliver' }).decoder();
    const got: string[] = [];
    const one = (frame: Buffer): false => {
      got.push(String(frame));
      return false;
    };
    decoder.push(Buffer.from('a\nb\nc'), one);
    decoder.end();
    expect(decoder.state).toBe('stopped');
    while (decoder.state === 'stopped') decoder.resume(one);
    expect([got, decoder.state]).toEqual([['a', 'b', 'c'], 'ended']);
    decoder.end();
  });

  test('after a skipped frame has been reported is no second error', () => {
    for (const report of ['early', 'late'] as const) {
      const errors: string[] = [];
      const framing = lengthPrefixed({ bytes: 1, maxFrameLength: 2, onOversize: 'skip', report });
      const decoder = framing.decoder({ onError: (error) => errors.push(error.code) });
      decoder.decode(Buffer.from('\x05abc'));
      decoder.end();
      expect(errors).toEqual(['FRAME_TOO_LARGE']);
    }
  });
});

describe('frameTimeout', () => {
  const failed = (framing = u8): Promise<FramingError> & { push(bytes: string): void } => {
    let push = (_bytes: string): void => {};
    const promise = new Promise<FramingError>((resolve) => {
      const decoder = framing.decoder({ frameTimeout: 30, onError: resolve });
      push = (bytes) => void decoder.decode(Buffer.from(bytes));
    });
    return Object.assign(promise, { push: (bytes: string) => push(bytes) });
  };

  test('ends a frame that dribbles, and every further call throws the same', async () => {
    const errors: FramingError[] = [];
    let told = (): void => {};
    const over = new Promise<void>((resolve) => {
      told = resolve;
    });
    const decoder = u8.decoder({
      frameTimeout: 40,
      onError(error) {
        errors.push(error);
        told();
      },
    });
    decoder.decode(Buffer.from('\x01a\x64'));
    const dribble = setInterval(() => {
      if (decoder.state === 'partial') decoder.decode(Buffer.from('.'));
    }, 5);
    await over;
    clearInterval(dribble);
    expect(errors).toEqual([expect.objectContaining({ code: 'FRAME_TIMEOUT', ms: 40, offset: 2, frameIndex: 1 })]);
    expect(decoder.state).toBe('failed');
    expect(() => decoder.decode(Buffer.from('x'))).toThrow(errors[0]);
  });

  test('counts a skipped frame and half a header too', async () => {
    const half = failed(lengthPrefixed());
    half.push('\0\0');
    expect((await half).code).toBe('FRAME_TIMEOUT');
    const line = failed(lines());
    line.push('no end');
    expect((await line).code).toBe('FRAME_TIMEOUT');
  });

  test('does not count the time between frames', async () => {
    const decoder = u8.decoder({ frameTimeout: 20 });
    const late = failed();
    decoder.decode(Buffer.from('\x01a'));
    late.push('\x05x');
    await late;
    expect(text(decoder.decode(Buffer.from('\x01b')))).toEqual(['b']);
  });
});

describe('copy: never', () => {
  const wire = lengthPrefixed({ bytes: 4 })
    .encoder()
    .encodeAll([Buffer.alloc(300, 'a'), Buffer.alloc(200, 'b')]);

  test('makes views of frames that are cut, when the chunks follow each other in memory', () => {
    const decoder = lengthPrefixed({ bytes: 4 }).decoder({ copy: 'never' });
    const got: Buffer[] = [];
    for (let at = 0; at < wire.length; at += 70)
      decoder.push(wire.subarray(at, at + 70), (frame) => void got.push(frame));
    expect(got.map((frame) => frame.byteOffset - wire.byteOffset)).toEqual([4, 308]);
    expect(got.every((frame) => frame.buffer === wire.buffer)).toBe(true);
    expect(decoder.stats).toMatchObject({ copiedBytes: 0, straddled: 2 });
  });

  test('puts a frame together when they do not', () => {
    const decoder = lengthPrefixed({ bytes: 4 }).decoder({ copy: 'never' });
    const got: Buffer[] = [];
    const halves = [wire.subarray(0, 100), Buffer.from(wire.subarray(100, 250)), wire.subarray(250)];
    for (const chunk of halves) decoder.push(chunk, (frame) => void got.push(frame));
    expect(got.map(String)).toEqual(['a'.repeat(300), 'b'.repeat(200)]);
    expect(String(wire.subarray(4, 304))).toBe('a'.repeat(300));
  });

  test('never writes into the chunks, whatever a framing of your own makes of them', () => {
    const pairs = custom('pairs', (_buf, start, end) =>
      end - start < 200 ? { need: 200 } : { frame: [start, start + 2], consumed: 2 },
    );
    const chunks = Buffer.from(Array.from({ length: 403 }, (_, i) => i & 255));
    const before = Buffer.from(chunks);
    const decoder = pairs.decoder({ copy: 'never' });
    const got: Buffer[] = [];
    const take = (buf: Buffer, from: number, to: number): void => void got.push(Buffer.from(buf.subarray(from, to)));
    decoder.scan(chunks.subarray(0, 3), take);
    decoder.scan(chunks.subarray(3), take);
    expect(chunks).toEqual(before);
    expect(Buffer.concat(got)).toEqual(before.subarray(0, 2 * got.length));
  });
});
