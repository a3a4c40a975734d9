/** The fault `jitter`: a random delay. */
import { text } from '../lang.js';
import { delay } from './delay.js';
import type { Fault } from './fault.js';

/** Each piece arrives up to `ms` later, at random; the order is kept, as with TCP. */
export function jitter(ms: number): Fault {
  return {
    name: 'jitter',
    description: text(`up to ${ms} ms later, by chance`, `随机晚到，最多 ${ms} 毫秒`),
    stage: ({ random, wait }) => delay(() => random() * ms, wait),
  };
}
