import { type Decoder, type FramingError, type Limits, preface, TruncatedFrameError } from '@sendall/framing';
import { assert, integer, property } from 'fast-check';
import { describe, expect, test, vi } from 'vitest';
import { cutEvery, cutRandomly, outcome, random, ways } from './dist/cutting.js';
import { type Subject, subjects } from './dist/subjects.js';

// The laws that every framing keeps, tried on each of them.

const seeds = integer({ min: 1, max: 2 ** 32 - 1 });
// npm run soak -- framing makes many more.
const runs = { numRuns: 15 };
const hex = (frames: readonly Buffer[]): string[] => frames.map((frame) => `F:${frame.toString('hex')}`);

function payloads(subject: Subject, seed: number, most = 40): Buffer[] {
  const next = random(seed);
  return Array.from({ length: 1 + Math.floor(next() * 5) }, () => subject.payload(Math.floor(next() * most), next));
}

function damaged(wire: Buffer, seed: number): Buffer {
  const next = random(seed);
  if (next() < 0.3) return wire.subarray(0, Math.floor(next() * wire.length));
  const bytes = Buffer.from(wire);
  for (let i = 0; i < 3 && bytes.length > 0; i++) bytes[Math.floor(next() * bytes.length)] = next() * 256;
  return bytes;
}

function limitsFor(subject: Subject, seed: number): Limits {
  const next = random(seed + 17);
  const limits: Limits = {};
  if (!subject.fixedSize && next() < 0.7) limits.maxFrameLength = Math.floor(next() * 30);
  if (subject.skips && next() < 0.6) limits.onOversize = 'skip';
  if (subject.skips && next() < 0.5) limits.report = 'late';
  if (next() < 0.5) limits.onEnd = next() < 0.5 ? 'deliver' : 'discard';
  return limits;
}

/** For laws that say nothing about a framing. */
function noTest(_name: string, _law: () => void): void {}

/** Runs a step and gives the error it throws. */
function thrownBy(step: () => unknown): FramingError {
  try {
    step();
  } catch (error) {
    return error as FramingError;
  }
  throw new Error('nothing was thrown');
}

describe.each(subjects)('$name', (subject) => {
  const varies = !subject.fixedSize;

  test('encode, then decode, is the identity, in every cut and every way', () => {
    assert(
      property(seeds, (seed) => {
        const sent = payloads(subject, seed);
        const framing = subject.make();
        const wire = framing.encoder().encodeAll(sent);
        for (const way of ways) {
          for (const chunks of [[wire], cutEvery(wire, 1), cutRandomly(wire, random(seed))]) {
            expect(outcome(framing, chunks, way)).toEqual(hex(sent));
          }
        }
      }),
      runs,
    );
  });

  test('however damaged bytes are cut, the same frames and errors come in the same order', () => {
    assert(
      property(seeds, (seed) => {
        const wire = damaged(subject.make().encoder().encodeAll(payloads(subject, seed)), seed);
        const framing = subject.make(limitsFor(subject, seed));
        const errorsApart = true;
        for (const way of ways) {
          const apart = way === 'decode';
          const whole = outcome(framing, [wire], 'push', { errorsApart: apart && errorsApart });
          for (const chunks of [cutEvery(wire, 1), cutEvery(wire, 3), cutRandomly(wire, random(seed))]) {
            expect(outcome(framing, chunks, way, { errorsApart: apart })).toEqual(whole);
          }
        }
      }),
      runs,
    );
  });

  test('behind a preface the same frames and errors come, so many bytes and one frame later', () => {
    assert(
      property(seeds, (seed) => {
        const next = random(seed);
        const first = Buffer.from(Array.from({ length: 1 + Math.floor(next() * 12) }, () => Math.floor(next() * 256)));
        const sent = payloads(subject, seed);
        const prefaced = preface(first.length, subject.make());
        const wire = prefaced.encoder().encodeAll([first, ...sent]);
        expect(wire).toEqual(Buffer.concat([first, subject.make().encoder().encodeAll(sent)]));

        const bytes = damaged(wire.subarray(first.length), seed);
        const framing = subject.make(limitsFor(subject, seed));
        const later = outcome(framing, [bytes]).map((event) =>
          event.replace(/@(\d+)#(\d+)/, (_, offset, index) => `@${Number(offset) + first.length}#${Number(index) + 1}`),
        );
        const whole = Buffer.concat([first, bytes]);
        for (const way of ways.filter((each) => each !== 'decode')) {
          for (const chunks of [[whole], cutEvery(whole, 1), cutRandomly(whole, next)]) {
            expect(outcome(preface(first.length, framing), chunks, way)).toEqual([...hex([first]), ...later]);
          }
        }
      }),
      runs,
    );
  });

  test('the end of the stream at any byte inside a frame is TRUNCATED_FRAME', () => {
    const sent = payloads(subject, 99);
    const framing = subject.make();
    const frames = sent.map((each) => framing.encoder().encode(each));
    const whole = framing.encoder().encodeAll(sent);
    const ends = new Set<number>([0]);
    let end = 0;
    for (const frame of frames) ends.add((end += frame.length));
    for (let length = 0; length <= whole.length; length++) {
      const events = outcome(framing, [whole.subarray(0, length)]);
      const error = events.find((event) => event.startsWith('E:'));
      if (ends.has(length)) expect(error).toBeUndefined();
      // An end byte before a SLIP frame, and zeros between COBS frames, belong to no frame.
      else if (subject.name.includes('leading ends') && ends.has(length - 1)) expect(error).toBeUndefined();
      // Where CR and CR LF are both delimiters, CR alone ends a frame, but only the end can tell.
      else if (!(subject.endsEarly && ends.has(length + 1))) {
        expect(error, `cut after ${length} of ${whole.length}`).toMatch(/^E:TRUNCATED_FRAME/);
      }
    }
  });

  test('a frame at the limit passes and one above is refused, by encoder and decoder alike', () => {
    const next = random(5);
    const exact = subject.payload(20, next);
    const limit = exact.length - subject.counts;
    const same = subject.make({ maxFrameLength: limit });
    expect(outcome(same, [same.encoder().encode(exact)])).toEqual(hex([exact]));
    if (subject.fixedSize) return;
    const tooBig = subject.make().encoder().encode(exact);
    const smaller = subject.make({ maxFrameLength: limit - 1 });
    expect(thrownBy(() => smaller.encoder().encode(exact)).code).toBe('PAYLOAD_TOO_LARGE');
    expect(thrownBy(() => smaller.decoder().decode(tooBig)).code).toBe('FRAME_TOO_LARGE');
  });

  (varies ? test : noTest)('frames before an error come first, and the error is the same object ever after', () => {
    const next = random(6);
    const good = subject.payload(3, next);
    const bad = subject.payload(90, next);
    const framing = subject.make({ maxFrameLength: 50 });
    const wire = Buffer.concat([good, bad, good].map((each) => subject.make().encoder().encode(each)));
    const decoder = framing.decoder();
    const error = thrownBy(() => decoder.decode(wire));
    expect(error).toMatchObject({ code: 'FRAME_TOO_LARGE', fatal: true, frameIndex: 1, frames: [good] });
    expect(decoder.state).toBe('failed');
    const again: ((one: Decoder) => unknown)[] = [
      (one) => one.push(wire, () => {}),
      (one) => one.scan(wire, () => {}),
      (one) => one.decode(Buffer.alloc(0)),
      (one) => one.resume(() => {}),
      (one) => one.end(),
    ];
    for (const call of again) expect(thrownBy(() => call(decoder))).toBe(error);
  });

  (varies && subject.skips ? test : noTest)(
    'skip drops exactly the bad frame, with one error, inside the same chunk',
    () => {
      const next = random(7);
      const [good, bad, last] = [subject.payload(3, next), subject.payload(90, next), subject.payload(5, next)];
      const wire = [good, bad, bad, last].map((each) => subject.make().encoder().encode(each));
      for (const report of ['early', 'late'] as const) {
        const framing = subject.make({ maxFrameLength: 50, onOversize: 'skip', report });
        const errors: FramingError[] = [];
        const decoder = framing.decoder({ onError: (error) => errors.push(error) });
        expect(decoder.decode(Buffer.concat(wire))).toEqual([good, last]);
        expect(errors.map((error) => [error.code, error.fatal, error.frameIndex])).toEqual([
          ['FRAME_TOO_LARGE', false, 1],
          ['FRAME_TOO_LARGE', false, 2],
        ]);
        expect(decoder.stats).toMatchObject({ frames: 2, skippedFrames: 2, errors: 2 });
        // With leading end bytes, noise before the frame is not part of it.
        const dropped = (wire[1]?.length ?? 0) + (wire[2]?.length ?? 0);
        expect(Math.abs(decoder.stats.skippedBytes - dropped)).toBeLessThanOrEqual(2);
        expect(decoder.state).toBe('idle');
      }
    },
  );

  test('stopped behind each frame, what is left is what is left', () => {
    const sent = payloads(subject, 8);
    const framing = subject.make();
    const wire = framing.encoder().encodeAll(sent);
    const decoder = framing.decoder();
    const got: Buffer[] = [];
    const one = (frame: Buffer): false => {
      got.push(frame);
      return false;
    };
    expect(decoder.push(wire, one)).toBe(false);
    expect(got).toEqual(sent.slice(0, 1));
    expect(decoder.push(wire, one)).toBe(false);
    expect(got).toHaveLength(1);
    while (decoder.state === 'stopped') decoder.resume(one);
    expect(got).toEqual([...sent, ...sent]);
    decoder.end();
  });

  test('the bytes that are held are handed over as they were on the wire', () => {
    const next = random(9);
    const framing = subject.make();
    const wire = framing.encoder().encodeAll([subject.payload(8, next), subject.payload(8, next)]);
    for (let cut = 0; cut <= wire.length; cut++) {
      const decoder = framing.decoder();
      let taken = 0;
      const first = wire.subarray(0, cut);
      decoder.push(first, () => void taken++);
      const rest = decoder.takeRest();
      expect(wire.subarray(cut - rest.length, cut)).toEqual(rest);
      expect(decoder.state).toBe('idle');
      expect(decoder.stats.buffered).toBe(0);
      const again = framing.decoder();
      expect(again.decode(Buffer.concat([rest, wire.subarray(cut)]))).toHaveLength(2 - taken);
    }
  });

  test('copy: never says the same of chunks that follow each other in memory and of chunks that do not', () => {
    assert(
      property(seeds, (seed) => {
        const wire = damaged(
          subject
            .make()
            .encoder()
            .encodeAll(payloads(subject, seed, 200)),
          seed,
        );
        const framing = subject.make(limitsFor(subject, seed));
        const before = Buffer.from(wire);
        const next = random(seed + 1);
        for (const way of ways) {
          const whole = outcome(framing, [wire], way);
          for (let i = 0; i < 4; i++) {
            const views = cutRandomly(wire, next);
            const some = views.map((chunk) => (next() < 0.3 ? Buffer.from(chunk) : chunk));
            for (const chunks of [views, some, cutEvery(wire, 1)])
              expect(outcome(framing, chunks, way, { copy: 'never', errorsApart: way === 'decode' })).toEqual(
                way === 'decode' ? outcome(framing, chunks, way, { errorsApart: true }) : whole,
              );
          }
        }
        expect(wire).toEqual(before);
      }),
      { numRuns: 6 },
    );
  });

  test('copy: always keeps nothing of a chunk that the caller uses again', () => {
    const sent = payloads(subject, 10, 200);
    const framing = subject.make();
    const wire = framing.encoder().encodeAll(sent);
    const decoder = framing.decoder({ copy: 'always' });
    const got: Buffer[] = [];
    const readBuffer = Buffer.alloc(32);
    for (const chunk of cutRandomly(wire, random(11)).flatMap((each) => cutEvery(each, 32))) {
      chunk.copy(readBuffer);
      let open = decoder.push(readBuffer.subarray(0, chunk.length), (frame) => {
        got.push(frame);
        return false;
      });
      readBuffer.fill(0xee);
      while (!open) {
        open = decoder.resume((frame) => {
          got.push(frame);
          return false;
        });
      }
    }
    decoder.end();
    expect(got).toEqual(sent);
  });

  test('a truncated stream hands over what came', () => {
    const next = random(12);
    const framing = subject.make();
    const wire = framing.encoder().encode(subject.payload(9, next));
    const half = wire.subarray(0, wire.length - 2);
    const decoder = framing.decoder();
    for (const chunk of cutEvery(half, 2)) decoder.push(chunk, () => {});
    const error = thrownBy(() => decoder.end());
    expect(error).toBeInstanceOf(TruncatedFrameError);
    const { rest, have } = error as TruncatedFrameError;
    expect(have).toBe(rest.length);
    expect(half.subarray(half.length - have)).toEqual(rest);
  });

  test('a header alone never buys more than 64 KiB', () => {
    // Frames of 128 KiB, where the framing can say so; u8 and the like cannot, and ask for less.
    const framing = subject.make({ maxFrameLength: 1 << 24 });
    const wire = ((): Buffer => {
      for (let size = 1 << 17; ; size >>= 1) {
        try {
          return framing.encoder().encode(subject.payload(size, () => 0.7));
        } catch (error) {
          if (size === 0) throw error;
        }
      }
    })();
    const allocate = vi.spyOn(Buffer, 'allocUnsafe');
    const decoder = framing.decoder();
    for (const chunk of cutEvery(wire.subarray(0, 40), 1)) decoder.push(chunk, () => {});
    const most = Math.max(0, ...allocate.mock.calls.map(([size]) => size));
    allocate.mockRestore();
    expect(most).toBeLessThanOrEqual(64 * 1024);
  });

  test('unknown options are refused by name', () => {
    expect(() => subject.make({ maxframelength: 5 } as Limits)).toThrow('maxframelength');
    expect(() => subject.make({ maxFrameLength: -1 })).toThrow('maxFrameLength');
    expect(() => subject.make({ maxFrameLength: 1.5 })).toThrow('maxFrameLength');
    expect(() => subject.make().decoder({ kopie: 1 } as object)).toThrow('kopie');
    expect(() => subject.make().encoder({ batch: 1 } as object)).toThrow('batch');
  });
});
