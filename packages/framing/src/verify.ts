/** The test of a user's own framing against the one law. */
import { Buffer } from 'node:buffer';
import { FramingError, type FramingErrorCode } from './errors.js';
import type { Bytes, Framing } from './framing.js';
import { checkOptions, whole } from './options.js';
import { asBuffer } from './view.js';

/** Bytes on the wire, followed by the end of the stream, and what must come out. */
export interface FramingCase {
  wire: Bytes;
  frames: readonly Bytes[];
  /** The first error, survived or fatal; none when left out. */
  error?: FramingErrorCode;
}

/** How `verifyFraming` cuts. */
export interface VerifyOptions {
  /** Where the random cuts come from: the same seed, the same cuts. @default 1 */
  seed?: number;
  /** How many random cuts are tried for each case. @default 200 */
  cuts?: number;
}

/** Cases up to this many bytes are cut once at every byte; bigger ones at this many places, evenly spread. */
const MOST_SINGLE_CUTS = 2048;

const rules = { seed: whole(1, 0, 2 ** 32 - 1), cuts: whole(200, 0, Number.MAX_SAFE_INTEGER) };

interface Outcome {
  frames: Buffer[];
  /** Code, offset and frame index of each error. */
  errors: string[];
}

/**
 * Feeds a framing every case whole, cut once at each byte, byte by byte and cut at random, stopped behind each frame
 * and not, through `push`, `scan` and `decode`, and throws on the first way that changes a result: the one law that a
 * framing of your own must keep. Run it in your tests.
 * @throws Error that says which case, which cut and what came out
 */
export function verifyFraming(framing: Framing, cases: readonly FramingCase[], options?: VerifyOptions): void {
  const { seed, cuts } = checkOptions('verifyFraming', options, rules);
  const next = numbers(seed);
  cases.forEach((each, index) => {
    const wire = Buffer.from(asBuffer(each.wire));
    const where = `verifyFraming: ${framing.name}, case ${index}`;
    const want = each.frames.map((frame) => Buffer.from(asBuffer(frame)));
    const reference = run(framing, [wire], 'push');
    compare(where, 'uncut', reference, want, each.error);
    const check = (positions: number[]): void => {
      const chunks = cutAt(wire, positions);
      for (const way of ways) {
        const name = `${cutName(positions, wire.length)}, with ${way}`;
        const outcome = run(framing, chunks, way);
        compare(where, name, outcome, want, each.error);
        if (outcome.errors.join() !== reference.errors.join()) {
          throw new Error(`${where}, ${name}: errors are ${list(outcome.errors)}, uncut ${list(reference.errors)}`);
        }
      }
    };
    check([]);
    const step = Math.max(1, Math.ceil(wire.length / MOST_SINGLE_CUTS));
    for (let at = 1; at < wire.length; at += step) check([at]);
    check(Array.from({ length: Math.max(0, wire.length - 1) }, (_, i) => i + 1));
    for (let i = 0; i < cuts; i++) check(randomCuts(wire.length, next));
  });
}

const ways = ['push', 'scan', 'decode', 'push and resume'] as const;

function run(framing: Framing, chunks: readonly Buffer[], way: (typeof ways)[number]): Outcome {
  const frames: Buffer[] = [];
  const errors: string[] = [];
  const note = (error: FramingError): void => {
    errors.push(`${error.code} at byte ${error.offset} (frame ${error.frameIndex})`);
  };
  const keep = (frame: Buffer): void => {
    frames.push(Buffer.from(frame));
  };
  const keepAndStop = (frame: Buffer): false => {
    keep(frame);
    return false;
  };
  const decoder = framing.decoder({ onError: note });
  try {
    for (const chunk of chunks) {
      // A chunk of its own memory, as it would come from a socket.
      const bytes = Buffer.from(chunk);
      if (way === 'decode') decoder.decode(bytes).forEach(keep);
      else if (way === 'scan') {
        decoder.scan(bytes, (buf, start, end) => keep(buf.subarray(start, end)));
      } else if (way === 'push') decoder.push(bytes, keep);
      else {
        decoder.push(bytes, keepAndStop);
        while (decoder.state === 'stopped') decoder.resume(keepAndStop);
      }
    }
    decoder.end(keep);
  } catch (error) {
    if (!(error instanceof FramingError)) throw error;
    if (way === 'decode') error.frames?.forEach(keep);
    note(error);
  }
  return { frames, errors };
}

function compare(where: string, cut: string, got: Outcome, want: Buffer[], error: FramingErrorCode | undefined): void {
  const many = Math.max(got.frames.length, want.length);
  for (let i = 0; i < many; i++) {
    const [is, should] = [got.frames[i], want[i]];
    if (is === undefined || should === undefined || !is.equals(should)) {
      throw new Error(
        `${where}, ${cut}: frame ${i} is ${shown(is)}, expected ${shown(should)}; errors: ${list(got.errors)}`,
      );
    }
  }
  const first = got.errors[0]?.split(' ')[0];
  if (first !== error) {
    throw new Error(`${where}, ${cut}: the first error is ${got.errors[0] ?? 'none'}, expected ${error ?? 'none'}`);
  }
}

function shown(frame: Buffer | undefined): string {
  if (frame === undefined) return 'missing';
  if (frame.length === 0) return 'empty';
  return frame.length > 32 ? `${frame.toString('hex', 0, 32)}… (${frame.length} bytes)` : frame.toString('hex');
}

function list(errors: readonly string[]): string {
  return errors.length === 0 ? 'none' : errors.join(', ');
}

function cutName(positions: readonly number[], length: number): string {
  if (positions.length === 0) return 'uncut';
  if (positions.length === length - 1 && length > 2) return 'cut at every byte';
  return `cut at ${positions.join(', ')}`;
}

function cutAt(wire: Buffer, positions: readonly number[]): Buffer[] {
  const ends = [...positions, wire.length];
  return ends.map((end, i) => wire.subarray(i === 0 ? 0 : positions[i - 1], end));
}

function randomCuts(length: number, next: () => number): number[] {
  const few = next() < 0.5;
  const chance = few ? Math.min(1, 3 / length) : next();
  const positions: number[] = [];
  for (let at = 1; at < length; at++) if (next() < chance) positions.push(at);
  // An empty chunk now and then.
  if (positions[0] !== undefined && next() < 0.3) positions.unshift(positions[0]);
  return positions;
}

/** Numbers from 0 to 1 by xorshift. Source: G. Marsaglia, "Xorshift RNGs" (2003). */
function numbers(seed: number): () => number {
  let state = seed || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}
