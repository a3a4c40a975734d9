import { afterBytes } from './after-bytes.js';
import type { Fault } from './fault.js';

/** Cuts each connection when so many bytes have passed in one direction: both sides see the end of the stream. */
export function cutEvery(bytes: number): Fault {
  return {
    name: 'cut-every',
    description: `each connection cut after ${bytes} bytes in one direction`,
    stage: ({ note, cut }) =>
      afterBytes(bytes, () => {
        note('cut', bytes);
        cut();
      }),
  };
}
