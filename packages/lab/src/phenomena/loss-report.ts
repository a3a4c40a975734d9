/** The report of the program inside the namespace to the phenomenon `loss`. */
import type { Trace } from '../wire/trace.js';

/** The percentage of packets dropped. */
export const LOSS_PERCENT = 20;
export const TCP_MESSAGES = 60;
export const UDP_MESSAGES = 60;

/**
 * The findings of the process in the namespace. In transit, traces lose their methods, and their bytes become Buffer's
 * JSON.
 */
export interface LossReport {
  readonly tcp: {
    readonly trace: Trace;
    readonly dropped: number;
    readonly retransmitted: number;
    readonly whole: boolean;
  };
  readonly udp: { readonly trace: Trace; readonly dropped: number };
}
