/** Which files a log is made of, and the names of segments: the parts in which its lines stand. */
import { join } from 'node:path';
import type { Home } from '../home.js';

export const logFolder = ({ state }: Home): string => join(state, 'log');

/** The hashes of all records; see `stored-hashes.ts`. */
export const HASHES = 'hashes';
/** The newest head that was signed, the private key that signs, and the identity's word for it. */
export const CHECKPOINT = 'checkpoint';
export const LOG_KEY = 'key.pem';
export const CERTIFICATE = 'certificate.json';

/** Bytes of a segment that are read: it is full before. */
export const LONGEST_SEGMENT = 16 * 1024 * 1024;

const DIGITS = 16;
const SEGMENT = /^(\d{16})\.jsonl$/;

/** The name of the segment whose first record is `first`. */
export const segmentName = (first: number): string => `${String(first).padStart(DIGITS, '0')}.jsonl`;

/** The first record of a segment, from its name; undefined for other files. */
export function firstOf(name: string): number | undefined {
  const digits = SEGMENT.exec(name)?.[1];
  return digits === undefined ? undefined : Number(digits);
}
