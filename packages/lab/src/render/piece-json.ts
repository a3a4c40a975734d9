/** Bytes that a proxy read or wrote, as JSON. */
import { milliseconds, spanJson, type SpanJson } from '../wire/trace.js';

/** @param offset their place in the stream */
export const pieceJson = (atMs: number, offset: number, bytes: Buffer): SpanJson =>
  spanJson({ atMs: milliseconds(atMs), offset, length: bytes.length, bytes });
