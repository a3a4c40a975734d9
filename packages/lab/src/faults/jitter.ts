import { delay } from './delay.js';
import type { Fault } from './fault.js';

/** Each piece arrives up to `ms` later, by chance; the order is kept, as TCP keeps it. */
export function jitter(ms: number): Fault {
  return {
    name: 'jitter',
    description: `up to ${ms} ms later, by chance`,
    stage: ({ random }) => delay(() => random() * ms),
  };
}
