import { constants } from 'node:os';
import { UsageError } from '../errors.js';

/** The number of a signal given as "SIGTERM", "TERM", "term" or a number. Throws UsageError when there is none. */
export function signalNumber(signal: string | number): number {
  const table = constants.signals as Record<string, number>;
  const text = String(signal).toUpperCase();
  const number = table[text] ?? table[`SIG${text}`] ?? Number(signal);
  if (!Number.isInteger(number) || number < 0 || number > 64)
    throw new UsageError(`there is no signal "${signal}": use a name such as TERM or a number from 0 to 64`);
  return number;
}
