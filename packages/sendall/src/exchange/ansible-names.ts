/** Ansible's patterns for host names: `www[01:50:2].example.com`, `db-[a:f]`, `HOST:PORT`. */
import { isIPv6 } from 'node:net';
import { mistake, type Place } from '../text/tree.js';

const LETTERS = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ';

/** The pattern without a port, which is ssh's. */
export function withoutPort(pattern: string): string {
  const literal = /^\[([^\]]*)\](?::\d+)?$/.exec(pattern)?.[1];
  if (literal !== undefined && isIPv6(literal)) return literal;
  return isIPv6(pattern) ? pattern : pattern.replace(/(?<=[^:[]):\d+$/, '');
}

/**
 * The names of a pattern with any number of ranges. `checkRoom` gets their number before they are made.
 * @throws UsageError that names the range.
 */
export function expandRanges(pattern: string, at: Place, checkRoom: (count: number) => void): string[] {
  let names = [''];
  let end = 0;
  for (const { 0: bracket, 1: range, index } of pattern.matchAll(/\[([^\][]*)\]/g)) {
    const head = pattern.slice(end, index);
    const parts = partsOf(range!, at);
    checkRoom(names.length * parts.length);
    names = names.flatMap((name) => parts.map((part) => name + head + part));
    end = index + bracket.length;
  }
  const tail = pattern.slice(end);
  return end ? names.map((name) => name + tail) : [pattern];
}

/** BEGIN:END or BEGIN:END:STEP, both ends included: numbers with their zeros, or letters. */
function partsOf(range: string, at: Place): string[] {
  const wrong = (what: string) => mistake(at, `the range [${range.slice(0, 80)}] ${what}`);
  const [from = '', to = '', stepText = '1', ...more] = range.split(':');
  const step = Number(stepText);
  if (!range.includes(':') || more.length) throw wrong('is not BEGIN:END or BEGIN:END:STEP');
  if (!/^\d{1,9}$/.test(stepText) || step < 1) throw wrong(`has a step that is not a number of 1 or more`);
  if (/^[A-Za-z]$/.test(from) && /^[A-Za-z]$/.test(to)) {
    const [first, last] = [LETTERS.indexOf(from), LETTERS.indexOf(to)];
    if (first > last) throw wrong('runs backwards');
    return LETTERS.slice(first, last + 1)
      .split('')
      .filter((_, i) => i % step === 0);
  }
  if (!/^\d{0,15}$/.test(from) || !/^\d{1,15}$/.test(to)) throw wrong('has ends that are neither numbers nor letters');
  const width = from.length > 1 && from.startsWith('0') ? from.length : 0;
  if (width && width !== to.length) throw wrong('has ends of different widths');
  const [first, last] = [Number(from), Number(to)];
  if (first > last) throw wrong('runs backwards');
  const count = Math.floor((last - first) / step) + 1;
  if (count > 1_000_000) throw wrong(`stands for ${count} names, more than a million`);
  return Array.from({ length: count }, (_, i) => String(first + i * step).padStart(width, '0'));
}
