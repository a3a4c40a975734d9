/** The fault `throttle`: limits the bytes per second. */
import { text } from '../lang.js';
import type { Fault } from './fault.js';

/** Twenty pieces a second: smooth enough to look like a slow line, with few timers. */
const PER_SECOND = 20;

/** Limits a direction to this many bytes a second. */
export function throttle(bytesPerSecond: number): Fault {
  const most = Math.max(1, Math.floor(bytesPerSecond / PER_SECOND));
  return {
    name: 'throttle',
    description: text(`at most ${bytesPerSecond} bytes a second`, `每秒最多 ${bytesPerSecond} 字节`),
    stage: ({ wait }) =>
      async function* (pieces) {
        let free = 0;
        for await (const piece of pieces) {
          for (let at = 0; at < piece.length; at += most) {
            const part = piece.subarray(at, at + most);
            const now = performance.now();
            if (free > now) await wait(free - now);
            free = Math.max(free, now) + (part.length / bytesPerSecond) * 1000;
            yield part;
          }
        }
      },
  };
}
