/** Run ids: UUIDv7, made by the caller. Source: RFC 9562 section 5.7. */
import { randomFillSync } from 'node:crypto';
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { UsageError } from '../errors.js';

// Asking the system for a few bytes takes as long as for many.
const pool = Buffer.allocUnsafeSlow(4096);
let drawn = pool.length;
let isFirst = true;
/** Major 1 and minor 9, which only this device has on Linux. */
const URANDOM = 0x109;

/**
 * Fills the pool. The first time the kernel's own device is read, as a short command needs nothing else of node:crypto,
 * which takes longer to load than all that the command does with it.
 */
function fill(): void {
  if (!isFirst || !readUrandom()) randomFillSync(pool);
  isFirst = false;
  drawn = 0;
}

/** False where there is no such device. */
function readUrandom(): boolean {
  let fd: number | undefined;
  try {
    fd = openSync('/dev/urandom', 'r');
    const info = fstatSync(fd);
    return info.isCharacterDevice() && info.rdev === URANDOM && readSync(fd, pool) === pool.length;
  } catch {
    return false;
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

/** Random bytes, each handed out once; at most 4096. */
export function randomPiece(length: number): Buffer {
  if (drawn + length > pool.length) fill();
  const piece = Buffer.from(pool.subarray(drawn, drawn + length));
  drawn += length;
  return piece;
}

/** A new run id: 16 bytes, the first six the time in milliseconds, so ids sort by age. */
export function newRunId(now = Date.now()): Buffer {
  const id = randomPiece(16);
  id.writeUIntBE(now, 0, 6);
  id[6] = (id[6]! & 0x0f) | 0x70;
  id[8] = (id[8]! & 0x3f) | 0x80;
  return id;
}

/** The usual text form, 8-4-4-4-12 hexadecimal digits. */
export function formatRunId(id: Uint8Array): string {
  const hex = Buffer.from(id.buffer, id.byteOffset, id.byteLength).toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

export const isRunId = (text: string): boolean => /^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$/i.test(text);

/**
 * Parses the text form.
 * @throws UsageError when it is not a UUID.
 */
export function parseRunId(text: string): Buffer {
  if (!isRunId(text))
    throw new UsageError(`"${text}" is not a run id: it looks like 0192f0c1-7d3a-7cc1-98ab-001122334455`);
  return Buffer.from(text.replaceAll('-', ''), 'hex');
}
