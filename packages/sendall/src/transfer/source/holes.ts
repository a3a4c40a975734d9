/** Where a file has data, and where holes. */
import type { Calls } from '../files/calls.js';

/** A stretch of data. */
export interface Segment {
  readonly at: number;
  readonly length: number;
}

/**
 * The data of a file from one position to another, in pieces of at most `piece` bytes, without the holes that the file
 * system tells.
 */
export function* segments(
  fd: number,
  from: number,
  to: number,
  calls: Pick<Calls, 'nextData' | 'nextHole'>,
  piece: number,
): Generator<Segment, undefined> {
  const { nextData, nextHole } = calls;
  for (let at = from; at < to;) {
    const start = nextData ? nextData(fd, at) : at;
    if (start === undefined || start >= to) return undefined;
    const end = Math.min(to, nextHole && nextData ? nextHole(fd, start) : to);
    // A file that shrank may answer with less than was asked for: what is missing is seen when it is read.
    for (at = start; at < end;) {
      const length = Math.min(piece, end - at);
      yield { at, length };
      at += length;
    }
    if (end <= start) return undefined;
  }
  return undefined;
}
