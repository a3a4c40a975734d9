/** The fault `latency`: a constant delay. */
import { text } from '../lang.js';
import { delay } from './delay.js';
import type { Fault } from './fault.js';

/** Every byte arrives `ms` later, in each direction: a round trip costs twice that. */
export function latency(ms: number): Fault {
  return {
    name: 'latency',
    description: text(`${ms} ms later in each direction`, `每个方向晚 ${ms} 毫秒`),
    stage: () => delay(() => ms),
  };
}
