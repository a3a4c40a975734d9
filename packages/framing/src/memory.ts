/** Memory for frames that are kept. */
import { Buffer } from 'node:buffer';
import { View } from './view.js';

// Kept frames must lie in small pieces of memory. Buffer's own pool will not do: it has 64 KiB since Node 24, and a frame of
// ten bytes would hold all of it alive.

/** Copies share memory of this size, so that one kept frame holds no more alive. */
export const SLAB_BYTES = 8 * 1024;

let slab: ArrayBufferLike = new ArrayBuffer(0);
let used = 0;

/** Uninitialized memory: a part of a slab of 8 KiB, or a buffer of its own when it is more than half of that. */
export function allocate(size: number): Buffer {
  if (size > SLAB_BYTES / 2) return Buffer.allocUnsafeSlow(size);
  if (size > slab.byteLength - used) {
    slab = Buffer.allocUnsafeSlow(SLAB_BYTES).buffer;
    used = 0;
  }
  const made = new View(slab, used, size);
  used += size;
  return made;
}

/** A copy of [from, to). */
export function copyOf(bytes: Buffer, from = 0, to = bytes.length): Buffer {
  const copy = allocate(to - from);
  bytes.copy(copy, 0, from, to);
  return copy;
}
