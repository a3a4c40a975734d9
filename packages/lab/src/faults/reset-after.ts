/** The fault `reset-after`: resets connections after a number of bytes. */
import { text } from '../lang.js';
import { afterBytes } from './after-bytes.js';
import type { Fault } from './fault.js';

/** Resets each connection (RST to both sides) after this many bytes in one direction. */
export function resetAfter(bytes: number): Fault {
  return {
    name: 'reset-after',
    description: text(
      `each connection reset after ${bytes} bytes in one direction`,
      `一个方向通过 ${bytes} 字节后重置连接`,
    ),
    stage: ({ note, reset }) =>
      afterBytes(bytes, () => {
        note('reset', bytes);
        reset();
      }),
  };
}
