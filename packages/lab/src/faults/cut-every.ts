/** The fault `cut-every`: ends connections after a number of bytes. */
import { text } from '../lang.js';
import { afterBytes } from './after-bytes.js';
import type { Fault } from './fault.js';

/** Cuts each connection after this many bytes in one direction: both sides see the end of the stream. */
export function cutEvery(bytes: number): Fault {
  return {
    name: 'cut-every',
    description: text(
      `each connection cut after ${bytes} bytes in one direction`,
      `一个方向通过 ${bytes} 字节后切断连接`,
    ),
    stage: ({ note, cut }) =>
      afterBytes(bytes, () => {
        note('cut', bytes);
        cut();
      }),
  };
}
