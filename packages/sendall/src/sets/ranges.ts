/** Parses and writes the numbers of a bracket, `01-20,33` or `0-10/2`, with their zeros. */
import type { UsageError } from '../errors.js';

/** Longer numbers count as text: arithmetic on them would not be exact. */
export const MOST_DIGITS = 15;

/** The numbers `from`, `from + step` and so on, up to and including `to`. */
export interface NumberRange {
  readonly from: number;
  readonly to: number;
  readonly step: number;
  /** Fewest digits of each number; shorter ones get leading zeros. */
  readonly width: number;
}

/** Makes the error for a mistake at an index of the text. */
export type Wrong = (what: string, at: number) => UsageError;

/**
 * Parses `0-10/2, 33`. Blanks around numbers are ignored.
 * @throws UsageError made by `wrong`.
 */
export function* readRanges(text: string, wrong: Wrong): Generator<NumberRange> {
  let at = 0;
  for (const part of text.split(',')) {
    const range = part.trim();
    const start = at + part.length - part.trimStart().length;
    yield readRange(range, (what) => wrong(what, start));
    at += part.length + 1;
  }
}

function readRange(range: string, wrong: (what: string) => UsageError): NumberRange {
  const [, low, high = low, step = '1'] = /^(\d+)(?:\s*-\s*(\d+)(?:\s*\/\s*(\d+))?)?$/.exec(range) ?? [];
  if (low === undefined || high === undefined) {
    if (range === '') throw wrong('a number is missing: write 3, 1-20, 01-20 or 0-10/2');
    throw wrong(`"${range}" is not a number or a range: write 3, 1-20, 01-20 or 0-10/2`);
  }
  if (Math.max(low.length, high.length, step.length) > MOST_DIGITS)
    throw wrong(`"${range}" has a number of more than ${MOST_DIGITS} digits: write such names one by one`);
  const [from, to, by] = [Number(low), Number(high), Number(step)];
  if (from > to) throw wrong(`the range ${range} runs backwards: write ${high}-${low}`);
  if (by === 0) throw wrong(`the range ${range} has a step of 0: write 1 or more`);
  if ((isPadded(low) || isPadded(high)) && low.length !== high.length) {
    const width = Math.max(low.length, high.length);
    const meant = `${low.padStart(width, '0')}-${high.padStart(width, '0')}`;
    throw wrong(`the ends of ${range} have different lengths: write as many zeros at both, as in ${meant}`);
  }
  return { from, to, step: by, width: isPadded(low) ? low.length : 0 };
}

/** How many numbers a range has. */
export function countOf({ from, to, step }: NumberRange): number {
  return Math.floor((to - from) / step) + 1;
}

/** `[1-3,10]` for sorted numbers, or a single number alone. */
export function ranges(numbers: readonly string[]): string {
  if (numbers.length === 1) return numbers[0]!;
  const parts: string[] = [];
  for (let start = 0, end: number; start < numbers.length; start = end) {
    end = spanEnd(numbers, start);
    parts.push(end === start + 1 ? numbers[start]! : `${numbers[start]!}-${numbers[end - 1]!}`);
  }
  return `[${parts.join()}]`;
}

/** Splits sorted numbers at their gaps. */
export function spans(numbers: readonly string[]): string[][] {
  const found: string[][] = [];
  for (let start = 0, end: number; start < numbers.length; start = end) {
    end = spanEnd(numbers, start);
    found.push(numbers.slice(start, end));
  }
  return found;
}

/** The index after the last number of a range from `start`. */
function spanEnd(numbers: readonly string[], start: number): number {
  const padded = isPadded(numbers[start]!);
  let end = start + 1;
  while (end < numbers.length && follows(numbers[end - 1]!, numbers[end]!, padded)) end++;
  return end;
}

/** 9 and 09 are both followed by 10, but 9 is not followed by 010, nor 99 by 100 in a padded range. */
function follows(number: string, next: string, padded: boolean): boolean {
  if (Number(next) - Number(number) !== 1) return false;
  return next.length === number.length || (!padded && next.length > number.length && next[0] !== '0');
}

function isPadded(number: string): boolean {
  return number.length > 1 && number.startsWith('0');
}
