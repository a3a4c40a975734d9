import { setTimeout } from 'node:timers/promises';
import { Buffered } from './buffered.js';
import type { Stage } from './fault.js';

/** Each piece comes out so many milliseconds after it went in, never before the one ahead of it. */
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
