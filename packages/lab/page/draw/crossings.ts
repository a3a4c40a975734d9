/** How bytes went from write to read: by segments that a capture saw, or as far as writes and reads tell. */
import { captured, type Span, type TraceData } from './spans.js';

export interface Crossing {
  readonly span: Span;
  readonly isSeen: boolean;
  /** It was sent before. */
  readonly isAgain: boolean;
}

export function crossings(trace: TraceData): Crossing[] {
  let end = 0;
  const seen = captured(trace);
  if (seen.length > 0)
    return seen.map((span) => {
      const isAgain = span.offset < end;
      end = Math.max(end, span.offset + span.length);
      return { span, isSeen: true, isAgain };
    });
  return trace.writes
    .filter((write) => trace.reads.some((read) => overlaps(read, write)))
    .map((span) => ({ span, isSeen: false, isAgain: false }));
}

const overlaps = (read: Span, write: Span): boolean =>
  read.offset < write.offset + Math.max(write.length, 1) && write.offset < read.offset + Math.max(read.length, 1);

const holdsLastOf = (span: Span, { offset, length, atMs }: Span): boolean =>
  span.offset <= offset + length - 1 && span.offset + span.length > offset + length - 1 && span.atMs >= atMs;

/** The segment that took the last byte of a write. */
export const departureOf = (write: Span, all: readonly Crossing[]): Span | undefined =>
  all.find(({ span, isSeen }) => isSeen && holdsLastOf(span, write))?.span;

/** The read that took the last byte of a segment. */
export const lastReadOf = (segment: Span, reads: readonly Span[]): Span | undefined =>
  reads.find((read) => holdsLastOf(read, segment));

/** The first read that has bytes of it. */
export const firstReadOf = ({ offset, atMs }: Span, reads: readonly Span[]): Span | undefined =>
  reads.find((read) => read.offset + read.length > offset && read.atMs >= atMs);

/** A message belongs to the read that brought its last byte. */
export function messagesOf(read: Span, { messages, reads }: TraceData): Span[] {
  const bringer = (message: Span): Span | undefined =>
    reads.filter((each) => each.atMs <= message.atMs).at(-1) ?? reads[0];
  return messages.filter((message) => bringer(message) === read);
}

/** The longest that bytes waited in a system, in milliseconds: before a segment took them, and before a read did. */
export function longestWaits(trace: TraceData): { readonly held: number; readonly kept: number } {
  const all = crossings(trace);
  const longest = (pairs: readonly (readonly [Span, Span | undefined])[]): number =>
    Math.max(0, ...pairs.map(([from, to]) => (to ? to.atMs - from.atMs : 0)));
  return {
    held: longest(trace.writes.map((write) => [write, departureOf(write, all)])),
    kept: longest(captured(trace).map((segment) => [segment, lastReadOf(segment, trace.reads)])),
  };
}
