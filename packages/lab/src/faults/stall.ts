/** The fault `stall`: pauses now and then. */
import { text } from '../lang.js';
import type { Fault } from './fault.js';

/** Average number of bytes between two stalls. */
const BETWEEN = 4096;

/** Pauses for `ms` after the first byte of each direction, and again at seeded places about 4 KiB apart. */
export function stall(ms: number): Fault {
  return {
    name: 'stall',
    description: text(
      `a pause of ${ms} ms after the first byte and every ${BETWEEN} bytes or so`,
      `第一个字节之后停 ${ms} 毫秒，此后大约每 ${BETWEEN} 字节一次`,
    ),
    stage: ({ random, note, wait }) =>
      async function* (pieces) {
        let passed = 0;
        let next = 1;
        for await (const piece of pieces) {
          let at = 0;
          while (next <= passed + piece.length) {
            yield piece.subarray(at, next - passed);
            at = next - passed;
            note(`stalled for ${ms} ms`, next);
            await wait(ms);
            next += 1 + Math.floor(random() * 2 * BETWEEN);
          }
          passed += piece.length;
          if (at < piece.length) yield piece.subarray(at);
        }
      },
  };
}
