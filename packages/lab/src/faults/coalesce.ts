/** The fault `coalesce`: joins the bytes of a period. */
import { text } from '../lang.js';
import { Buffered } from './buffered.js';
import type { Fault } from './fault.js';

const LARGEST = 1 << 16;

/**
 * Holds bytes back until `ms` have passed since the first of them (or 64 KiB have arrived), then writes them together.
 */
export function coalesce(ms: number): Fault {
  return {
    name: 'coalesce',
    description: text(`everything within ${ms} ms glued together`, `${ms} 毫秒之内的全部合在一起`),
    stage: () =>
      async function* (pieces) {
        const buffered = new Buffered(pieces);
        try {
          for (;;) {
            const first = await buffered.next();
            if (!first) return;
            const held = [first.bytes];
            let length = first.bytes.length;
            const until = first.arrivedAt + ms;
            while (length < LARGEST && !buffered.ended) {
              const left = until - performance.now();
              if (left <= 0) break;
              const more = await buffered.next(left);
              if (!more) continue;
              held.push(more.bytes);
              length += more.bytes.length;
            }
            yield Buffer.concat(held);
          }
        } finally {
          buffered.stop();
        }
      },
  };
}
