/** How many hosts have reached which stage. */
import type { HostStates, StateCounts } from './states.js';

/** How many hosts have reached which stage. */
export interface Progress {
  readonly total: number;
  /** Hosts whose turn has come. */
  readonly started: number;
  /** Of these, the hosts that have not come to an end. */
  readonly running: number;
  readonly ok: number;
  /** Ended in any other way, including unreachable and refused hosts. */
  readonly failed: number;
  /** Hosts in each state that has any. */
  readonly states: StateCounts;
}

/** The progress of this many hosts. */
export function progressOf(states: HostStates, total: number): Progress {
  const skipped = states.count('waiting', 'neverStarted');
  const running = states.count('connecting', 'queued', 'running');
  const failed = total - skipped - running - states.ok;
  return { total, started: total - skipped, running, ok: states.ok, failed, states: states.counts };
}
