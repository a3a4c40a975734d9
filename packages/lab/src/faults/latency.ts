import { delay } from './delay.js';
import type { Fault } from './fault.js';

/** Every byte arrives `ms` later, in each direction: a round trip costs twice that. */
export function latency(ms: number): Fault {
  return { name: 'latency', description: `${ms} ms later in each direction`, stage: () => delay(() => ms) };
}
