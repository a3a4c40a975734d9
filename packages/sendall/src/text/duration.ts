/** Times as people write them: a number of milliseconds, or text such as "30s". Shared by the API and the CLI. */
import { UsageError } from '../errors.js';

/** Milliseconds, or a number with its unit: "500ms", "30s", "1.5m", "2h", "1d". */
export type Duration = number | `${number}${'ms' | 's' | 'm' | 'h' | 'd'}`;

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** The allowed times, for messages. */
export const DURATION = `a number of milliseconds from 0 to ${Number.MAX_SAFE_INTEGER} or text such as "500ms", "30s", "10m", "2h", "1d"`;

/**
 * A time in milliseconds, rounded up to whole ones. Undefined for anything else: text without a unit, negative numbers,
 * numbers above 2^53 - 1.
 */
export function readDuration(value: unknown): number | undefined {
  let time = value;
  if (typeof value === 'string') {
    const [, digits, unit] = /^(\d{1,16}(?:\.\d{1,16})?)(ms|s|m|h|d)$/.exec(value) ?? [];
    if (digits === undefined) return undefined;
    // Decimal fractions are inexact in binary: without this "1.1s" would be 1101 ms.
    time = Number((Number(digits) * UNITS[unit!]!).toFixed(6));
  }
  if (typeof time !== 'number' || !(time >= 0 && time <= Number.MAX_SAFE_INTEGER)) return undefined;
  return Math.ceil(time);
}

/**
 * The option `name` in milliseconds.
 * @throws UsageError when it is not a time.
 */
export function durationOption(name: string, value: Duration | undefined): number | undefined {
  if (value === undefined) return undefined;
  const time = readDuration(value);
  if (time === undefined) throw new UsageError(`${name}: ${JSON.stringify(value)} is not ${DURATION}`);
  return time;
}
