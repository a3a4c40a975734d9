import type { Limits } from './framing.js';

/** Refuses what is not an options object, and options nobody knows, by name. */
export function checkNames(where: string, options: unknown, known: readonly string[]): void {
  if (options === undefined) return;
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw new TypeError(`${where}: the options must be an object`);
  }
  for (const name of Object.keys(options)) {
    if (!known.includes(name)) throw new TypeError(`${where}: unknown option "${name}", known are ${known.join(', ')}`);
  }
}

/** A whole number within bounds, or the default. */
export function whole(where: string, name: string, value: unknown, fallback: number, min: number, max: number): number {
  if (value === undefined) return fallback;
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < min || value > max) {
    throw new RangeError(`${where}: ${name} must be a whole number from ${min} to ${max}, not ${shown(value)}`);
  }
  return value;
}

/** One of a few words, or the default. */
export function word<const T extends string>(
  where: string,
  name: string,
  value: unknown,
  words: readonly [T, ...T[]],
): T {
  if (value === undefined) return words[0];
  const found = words.find((each) => each === value);
  if (found === undefined) throw new TypeError(`${where}: ${name} must be ${words.join(' or ')}, not ${shown(value)}`);
  return found;
}

/** Yes or no, or the default. */
export function flag(where: string, name: string, value: unknown, fallback = false): boolean {
  if (value === undefined) return fallback;
  if (typeof value !== 'boolean') throw new TypeError(`${where}: ${name} must be true or false, not ${shown(value)}`);
  return value;
}

/** The options of {@link Limits}, by name. */
export const limitNames = ['maxFrameLength', 'onOversize', 'report', 'onEnd', 'emptyFrames'] as const;

/** {@link Limits} after the door: complete and checked. */
export interface Policy {
  readonly maxFrameLength: number;
  readonly skip: boolean;
  readonly late: boolean;
  readonly onEnd: 'error' | 'deliver' | 'discard';
  readonly dropEmpty: boolean;
}

export const defaultMaxFrameLength = 1024 * 1024;

/** Checks all option names of a framing (its own and the limits), and completes the limits. */
export function policyOf(where: string, options: Limits | undefined, own: readonly string[] = []): Policy {
  checkNames(where, options, [...own, ...limitNames]);
  const o: Limits = options ?? {};
  return {
    maxFrameLength: whole(where, 'maxFrameLength', o.maxFrameLength, defaultMaxFrameLength, 0, Number.MAX_SAFE_INTEGER),
    skip: word(where, 'onOversize', o.onOversize, ['fail', 'skip']) === 'skip',
    late: word(where, 'report', o.report, ['early', 'late']) === 'late',
    onEnd: word(where, 'onEnd', o.onEnd, ['error', 'deliver', 'discard']),
    dropEmpty: word(where, 'emptyFrames', o.emptyFrames, ['deliver', 'drop']) === 'drop',
  };
}

function shown(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value);
  return typeof value === 'object' && value !== null ? 'an object' : String(value as number);
}
