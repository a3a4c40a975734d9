/** Finds text in the rows that are here, a slice at a time, so that no key waits for it. */
import { holds, type Encoding } from './decoding.js';
import type { OutputBuffer } from './output-buffer.js';

/** Milliseconds of one slice, and the most matches that are counted. */
const SLICE_MS = 8;
const MOST_MATCHES = 10_000;

/** The rows with the text, in order. Another search, or `signal`, ends it: then the answer is undefined. */
export async function findRows(
  buffer: OutputBuffer,
  encoding: Encoding,
  search: string,
  signal: AbortSignal,
): Promise<readonly number[] | undefined> {
  const rows: number[] = [];
  let until = performance.now() + SLICE_MS;
  for (let row = 0; row < buffer.rows && rows.length < MOST_MATCHES; row++) {
    if (holds(buffer.row(row), encoding, search)) rows.push(row);
    if (row % 64 || performance.now() < until) continue;
    await new Promise((resolve) => setTimeout(resolve));
    if (signal.aborted) return undefined;
    until = performance.now() + SLICE_MS;
  }
  return rows;
}
