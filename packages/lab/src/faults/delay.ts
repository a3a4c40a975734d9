/** The common part of the faults that delay pieces. */
import { Buffered } from './buffered.js';
import type { FaultContext, Stage } from './fault.js';

/** Delays each piece by a number of milliseconds and keeps the order of the pieces. */
export function delay(milliseconds: () => number, wait: FaultContext['wait']): Stage {
  return async function* (pieces) {
    const buffered = new Buffered(pieces);
    try {
      let free = 0;
      for (;;) {
        const item = await buffered.next();
        if (!item) return;
        free = Math.max(free, item.arrivedAt + milliseconds());
        const left = free - performance.now();
        if (left > 0) await wait(left);
        yield item.bytes;
      }
    } finally {
      buffered.stop();
    }
  };
}
