/** The common part of the faults that act after a number of bytes. */
import type { Stage } from './fault.js';

/** Passes exactly `limit` bytes, waits until they are written, then calls `then` and passes nothing more. */
export function afterBytes(limit: number, then: () => void): Stage {
  return async function* (pieces) {
    let passed = 0;
    for await (const piece of pieces) {
      const rest = limit - passed;
      if (piece.length >= rest) {
        yield piece.subarray(0, rest); // the consumer asks for more when it has written this
        then();
        return;
      }
      passed += piece.length;
      yield piece;
    }
  };
}
