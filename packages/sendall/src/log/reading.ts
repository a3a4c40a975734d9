/** Lines of a log's folder: from an index on, the last ones, or those of a run. One segment is read at a time. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { firstOf, LONGEST_SEGMENT, segmentName } from './layout.js';
import { readPart } from './source.js';

/** Lines of a part of a log. */
export interface Lines {
  readonly lines: readonly string[];
  /** The record to go on with; undefined at the end of the log. */
  readonly next: number | undefined;
}

const NEWLINE = 0x0a;
/** Bytes of lines in one answer, about. */
const PAGE = 256 * 1024;

function firstsIn(folder: string): number[] {
  const firsts = readdirSync(folder).flatMap((name) => firstOf(name) ?? []);
  return firsts.sort((a, b) => a - b);
}

/** The segment that holds the record `index`, or the next one that is there, and the first record of the one behind it. */
function segmentAt(
  folder: string,
  index: number,
): { first: number; after: number | undefined; bytes: Buffer } | undefined {
  const firsts = firstsIn(folder);
  let at = firsts.findLastIndex((first) => first <= index);
  if (at < 0) at = 0;
  const first = firsts[at];
  if (first === undefined) return undefined;
  return { first, after: firsts[at + 1], bytes: readPart(join(folder, segmentName(first)), 0, LONGEST_SEGMENT) };
}

/** Calls `take` with each line from the record `from` on, until it returns false. Returns the index behind the last one taken. */
function eachLine(
  { first, bytes }: { first: number; bytes: Buffer },
  from: number,
  take: (start: number, end: number) => boolean,
): number {
  let index = first;
  for (let start = 0; start < bytes.length; index++) {
    const end = bytes.indexOf(NEWLINE, start);
    // The writer is in the middle of it.
    if (end < 0) break;
    if (index >= from && !take(start, end)) break;
    start = end + 1;
  }
  return index;
}

/** Lines from the record `from` on, or from the next whose line is still there; `size`: the log's records. */
export function linesFrom(folder: string, from: number, size: number): Lines {
  const segment = from < size ? segmentAt(folder, from) : undefined;
  if (!segment) return { lines: [], next: undefined };
  const lines: string[] = [];
  let length = 0;
  let left = size - Math.max(from, segment.first);
  const next = eachLine(segment, from, (start, end) => {
    if (length > PAGE || left-- <= 0) return false;
    length += end - start;
    lines.push(segment.bytes.toString('utf8', start, end));
    return true;
  });
  return { lines, next: next < size && (lines.length > 0 || segment.after !== undefined) ? next : undefined };
}

/** Lines of the run whose id begins with `run`, from the record `from` on, in the segment that holds it. */
export function linesOfRun(folder: string, run: string, from: number): Lines {
  const segment = segmentAt(folder, from);
  if (!segment) return { lines: [], next: undefined };
  const { bytes, after } = segment;
  const wanted = Buffer.from(`"run":"${run}`);
  const lines: string[] = [];
  let length = 0;
  // Most lines of a segment are not looked at.
  let begin = 0;
  eachLine(segment, from, (start) => {
    begin = start;
    return false;
  });
  for (let at = bytes.indexOf(wanted, begin); at >= 0;) {
    const start = bytes.lastIndexOf(NEWLINE, at) + 1;
    const end = bytes.indexOf(NEWLINE, at);
    if (end < 0) break;
    const line = bytes.toString('utf8', start, end);
    if (length > PAGE) return { lines, next: (JSON.parse(line) as { n: number }).n };
    lines.push(line);
    length += end - start;
    at = bytes.indexOf(wanted, end);
  }
  return { lines, next: after };
}
