/** Signals as callers name them. */
import { UsageError } from '../../errors.js';
import { HIGHEST_SIGNAL, signalNumber as numberOf } from '../../protocol/signals.js';

/**
 * The number of a signal given as "SIGTERM", "TERM", "term", "RTMIN+1" or a number.
 * @throws UsageError for an unknown signal.
 */
export function signalNumber(signal: string | number): number {
  const number = numberOf(String(signal));
  if (number === undefined)
    throw new UsageError(
      `there is no signal "${signal}": use a name such as TERM or RTMIN+1, or a number from 1 to ${HIGHEST_SIGNAL}`,
    );
  return number;
}
