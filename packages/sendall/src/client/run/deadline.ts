/**
 * What a caller does about a run's deadline. The host ends the run by itself; the caller asks for it only if it hears
 * nothing, and does not wait without end for the answer.
 */
import { after } from '../../timer.js';

/** Milliseconds for the host to report that it ends the run; then the caller asks for it. */
const REPORT_WITHIN = 1000;
/** Milliseconds, beyond those and the command's grace, until the caller gives up. */
const ANSWER_WITHIN = 2000;
/** Milliseconds between TERM and KILL by default. */
const GRACE = 5000;

export interface Overdue {
  /** The result is due now. */
  passed(): void;
  /** The host has not reported an end. */
  unheard(): void;
  /** The end will stay unknown. */
  unknown(): void;
}

/** Calls back in turn. Returns the function that stops it. `at`: on the clock of `performance.now()`. */
export function watchDeadline(at: number, killGrace = GRACE, overdue: Overdue): () => void {
  let stopped = false;
  let stop: () => void;
  const then = (ms: number, act: () => void) => {
    if (!stopped) stop = after(Math.max(0, ms), act);
  };
  then(at - performance.now(), () => {
    overdue.passed();
    then(REPORT_WITHIN, () => {
      overdue.unheard();
      // An end that came in time is read first, even if this process stood still meanwhile.
      then(killGrace + ANSWER_WITHIN, () => setImmediate(() => !stopped && overdue.unknown()));
    });
  });
  return () => {
    stopped = true;
    stop();
  };
}
