/** What the program inside the namespace reports to the phenomenon `loss`. */
import type { Trace } from '../wire/trace.js';

/** The share of packets that are dropped, in percent. */
export const LOSS_PERCENT = 20;
export const TCP_MESSAGES = 60;
export const UDP_MESSAGES = 60;

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
