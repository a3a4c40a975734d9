/** The fault `latency`: a constant delay. */
import { text } from '../lang.js';
import { delay } from './delay.js';
import type { Fault } from './fault.js';

/** Every byte arrives `ms` later: a round trip costs twice that, if both directions have it. */
export function latency(ms: number): Fault {
  return {
    name: 'latency',
    description: text(`everything ${ms} ms later`, `一切晚 ${ms} 毫秒`),
    stage: ({ wait }) => delay(() => ms, wait),
  };
}
