import { afterBytes } from './after-bytes.js';
import type { Fault } from './fault.js';

/** Resets each connection (RST to both sides) when so many bytes have passed in one direction. */
export function resetAfter(bytes: number): Fault {
  return {
    name: 'reset-after',
    description: `each connection reset after ${bytes} bytes in one direction`,
    stage: ({ note, reset }) =>
      afterBytes(bytes, () => {
        note('reset', bytes);
        reset();
      }),
  };
}
