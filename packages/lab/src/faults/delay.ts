/** The common part of the faults that delay pieces. */
import { setTimeout } from 'node:timers/promises';
import { Buffered } from './buffered.js';
import type { Stage } from './fault.js';

/** Delays each piece by a number of milliseconds and keeps the order of the pieces. */
export function delay(milliseconds: () => number): Stage {
  return async function* (pieces) {
    const buffered = new Buffered(pieces);
    try {
      let free = 0;
      for (;;) {
        const item = await buffered.next();
        if (!item) return;
        free = Math.max(free, item.arrivedAt + milliseconds());
        const wait = free - performance.now();
        if (wait > 0) await setTimeout(wait);
        yield item.bytes;
      }
    } finally {
      buffered.stop();
    }
  };
}
