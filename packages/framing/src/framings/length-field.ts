/** Reading and writing of length fields and checksums, as a length-prefixed frame lays them out. */
import type { Buffer } from 'node:buffer';
import type { Checksum } from '../framing.js';
import type { Markers } from './markers.js';

/** How a length-prefixed frame is laid out: the options, complete and checked. */
export interface Layout {
  readonly name: string;
  readonly bytes: number;
  readonly little: boolean;
  readonly offset: number;
  readonly header: number;
  readonly adjust: number;
  readonly strip: number;
  readonly signed: boolean;
  readonly mask: number | undefined;
  readonly sync: Markers | undefined;
  readonly checksum: (Required<Omit<Checksum, 'compute'>> & Pick<Checksum, 'compute'>) | undefined;
  readonly skipMalformed: boolean;
}

/** The checksum of a payload, as the number that stands on the wire. */
export function checksumValue(checksum: NonNullable<Layout['checksum']>, payload: Buffer): number {
  const value = checksum.compute(payload);
  if (!Number.isSafeInteger(value)) throw new TypeError(`checksum.compute must return a whole number, not ${value}`);
  const modulus = 2 ** (8 * checksum.bytes);
  return value < 0 || value >= modulus ? value - Math.floor(value / modulus) * modulus : value;
}

/** The length field; above 2^53-1 only near the truth, which is enough to refuse it. */
export function readLength(
  buf: Buffer,
  at: number,
  layout: Pick<Layout, 'bytes' | 'little' | 'signed' | 'mask'>,
): number {
  const { bytes, little, mask } = layout;
  if (bytes <= 4 && mask === undefined && !layout.signed) return readUnsigned(buf, at, bytes, little);
  const low = Math.min(bytes, 4);
  const high = bytes - low;
  let lo = readUnsigned(buf, little ? at : at + high, low, little);
  let hi = high === 0 ? 0 : readUnsigned(buf, little ? at + low : at, high, little);
  if (mask !== undefined) {
    lo = (lo & (mask >>> 0)) >>> 0;
    hi = (hi & Math.floor(mask / 2 ** 32)) >>> 0;
  }
  if (layout.signed) {
    if (high === 0) {
      if (lo >= 2 ** (8 * low - 1)) lo -= 2 ** (8 * low);
    } else if (hi >= 2 ** (8 * high - 1)) hi -= 2 ** (8 * high);
  }
  return hi * 2 ** 32 + lo;
}

/** `value & mask`, for more than 32 bits. */
export function masked(value: number, mask: number): number {
  const hi = (Math.floor(value / 2 ** 32) & Math.floor(mask / 2 ** 32)) >>> 0;
  return hi * 2 ** 32 + ((value & (mask >>> 0)) >>> 0);
}

/** The exact value of a field that no number can hold. */
export function readBig(buf: Buffer, at: number, layout: Layout): bigint {
  let value = 0n;
  for (let i = 0; i < layout.bytes; i++) {
    value = (value << 8n) | BigInt(buf[layout.little ? at + layout.bytes - 1 - i : at + i] as number);
  }
  return value;
}

/** Reads a whole number of up to 8 bytes. */
export function readUnsigned(buf: Buffer, at: number, bytes: number, little: boolean): number {
  let value = 0;
  if (little) for (let i = bytes - 1; i >= 0; i--) value = value * 256 + (buf[at + i] as number);
  else for (let i = 0; i < bytes; i++) value = value * 256 + (buf[at + i] as number);
  return value;
}

/** Writes a whole number of up to 8 bytes. */
export function writeUnsigned(target: Buffer, at: number, value: number, bytes: number, little: boolean): void {
  if (bytes === 4 && !little) {
    // The commonest by far.
    target[at] = value >>> 24;
    target[at + 1] = value >>> 16;
    target[at + 2] = value >>> 8;
    target[at + 3] = value;
    return;
  }
  let left = value;
  for (let i = 0; i < bytes; i++) {
    target[little ? at + i : at + bytes - 1 - i] = left % 256;
    left = Math.floor(left / 256);
  }
}
