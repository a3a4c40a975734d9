import type { Trace } from '../trace.js';

/** Of a hundred packets, so many are dropped. */
export const lossPercent = 20;
export const tcpMessages = 60;
export const udpMessages = 60;

/** What the namespace's process found. Traces lose their methods on the way, and their bytes become Buffer's JSON. */
export interface LossReport {
  readonly tcp: {
    readonly trace: Trace;
    readonly dropped: number;
    readonly retransmitted: number;
    readonly whole: boolean;
  };
  readonly udp: { readonly trace: Trace; readonly dropped: number };
}
