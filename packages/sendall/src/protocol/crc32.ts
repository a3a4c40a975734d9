/**
 * CRC-32 (RFC 1952, section 8) of a stream. Node's own takes as long as encrypting the same bytes. Once there are many, an
 * optional library goes on that uses the processor's instruction for carry-less multiplication.
 */
import { createRequire } from 'node:module';
import { crc32 as portable } from 'node:zlib';

/** Bytes in this process after which loading the library pays. */
const MANY = 4 * 1024 * 1024;

let summed = 0;
let sum: (bytes: Uint8Array, value: number) => number = (bytes, value) => {
  summed += bytes.length;
  if (summed > MANY && summed - bytes.length <= MANY) load();
  return portable(bytes, value);
};

function load(): void {
  try {
    // Not import(): a bundle that was compiled beforehand cannot.
    sum = (createRequire(import.meta.url)('@node-rs/crc32') as typeof import('@node-rs/crc32')).crc32;
  } catch {
    // Not installed, or not for this system: it goes on as it began.
  }
}

/** The sum of what `value` is the sum of, followed by `bytes`. Start with 0. */
export function crc32(bytes: Uint8Array, value: number): number {
  // Node's own takes an empty array for the wish to start anew.
  return bytes.length === 0 ? value : sum(bytes, value);
}
