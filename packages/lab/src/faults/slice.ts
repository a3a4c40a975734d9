/** The fault `slice`: cuts pieces into smaller ones. */
import { text } from '../lang.js';
import { setImmediate, setTimeout } from 'node:timers/promises';
import type { Fault } from './fault.js';

/** The first slices of a direction are a millisecond apart, so that a waiting receiver reads them one by one. */
const SPACED_SLICES = 200;

/** Writes at most `size` bytes at a time. After the first 200, slices follow as fast as the event loop turns. */
export function slice(size: number): Fault {
  return {
    name: 'slice',
    description: text(`pieces of at most ${size} bytes`, `每块最多 ${size} 字节`),
    stage: () =>
      async function* (pieces) {
        let count = 0;
        for await (const piece of pieces) {
          for (let at = 0; at < piece.length; at += size) {
            if (count > 0) await (count < SPACED_SLICES ? setTimeout(1) : setImmediate());
            count++;
            yield piece.subarray(at, at + size);
          }
        }
      },
  };
}
