import { readFileSync } from 'node:fs';
import { FramingError } from '@sendall/framing';
import { describe, expect, test } from 'vitest';
import { cutEvery, cutRandomly, random } from './dist/cutting.js';
import { framingOf, type Vector } from './vector-framing.js';

// Those of other libraries, and our own for what they do not have.
const vectors = ['framing', 'more'].flatMap(
  (name) => JSON.parse(readFileSync(new URL(`vectors/${name}.json`, import.meta.url), 'utf8')) as Vector[],
);
const bytes = (hex: string): Buffer => Buffer.from(hex, 'hex');

const classes: Record<string, string> = {
  FRAME_TOO_LARGE: 'FrameTooLarge',
  INVALID_LENGTH: 'InvalidLength',
  MALFORMED_FRAME: 'MalformedFrame',
  TRUNCATED_FRAME: 'TruncatedFrame',
  CHECKSUM_MISMATCH: 'ChecksumMismatch',
  PAYLOAD_TOO_LARGE: 'PayloadTooLarge',
};

interface Seen {
  events: string[];
  errorAtChunk: number[];
  last?: FramingError;
}

function decode(vector: Vector, chunks: Buffer[], way: 'push' | 'scan'): Seen {
  const seen: Seen = { events: [], errorAtChunk: [] };
  let at = 0;
  const failed = (error: unknown): void => {
    if (!(error instanceof FramingError)) throw error;
    seen.events.push(`E:${classes[error.code]}`);
    seen.errorAtChunk.push(at);
    seen.last = error;
  };
  const decoder = framingOf(vector).decoder({ onError: failed });
  const frame = (each: Buffer): void => void seen.events.push(`F:${each.toString('hex')}`);
  try {
    for (; at < chunks.length; at++) {
      const chunk = chunks[at] as Buffer;
      if (way === 'push') decoder.push(chunk, frame);
      else decoder.scan(chunk, (buf, start, end) => frame(buf.subarray(start, end)));
    }
    if (vector.options.end !== false) decoder.end(frame);
  } catch (error) {
    failed(error);
  }
  return seen;
}

describe.each(vectors.filter((each) => each.direction !== 'encode'))('$id', (vector) => {
  const wanted = vector.events ?? [
    ...vector.frames.map((frame) => `F:${frame}`),
    ...(vector.error === undefined ? [] : [`E:${vector.error}`]),
  ];
  const wire = Buffer.concat(vector.chunks.map(bytes));

  test.each(['push', 'scan'] as const)('in the chunks of its source, with %s', (way) => {
    const seen = decode(vector, vector.chunks.map(bytes), way);
    expect(seen.events).toEqual(wanted);
    if (vector.errorAtChunk !== undefined) expect(seen.errorAtChunk).toEqual(vector.errorAtChunk);
    const { have, bytes: rest } = vector.truncated ?? {};
    if (have !== undefined) expect(seen.last).toHaveProperty('have', have);
    if (rest !== undefined) expect(seen.last).toHaveProperty('rest', bytes(rest));
  });

  test.each(['push', 'scan'] as const)('whole, byte by byte and in random cuts, with %s', (way) => {
    const next = random(1);
    const cuts = [[wire], cutEvery(wire, 1), ...Array.from({ length: 25 }, () => cutRandomly(wire, next))];
    for (const chunks of cuts) expect(decode(vector, chunks, way).events).toEqual(wanted);
  });
});

test.each(vectors.filter((each) => each.direction === 'encode'))('encodes $id', (vector) => {
  const encoder = framingOf(vector).encoder();
  const encode = (): Buffer => encoder.encodeAll(vector.frames.map(bytes));
  if (vector.error === undefined) expect(encode()).toEqual(Buffer.concat(vector.chunks.map(bytes)));
  else {
    const code = Object.keys(classes).find((each) => classes[each] === vector.error);
    expect(encode).toThrow(expect.objectContaining({ code }));
  }
});
