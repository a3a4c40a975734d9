/** How options are checked: by a table of rules for each place that takes some, with one kind of error. */
import { type FramingError, OptionError } from './errors.js';
import type { DecoderOptions, EncoderOptions, Limits } from './framing.js';

/** What an option may be. */
export interface Rule<T> {
  /** Its value where it is not given. */
  readonly fallback: T;
  /** Behind "must be" in the message of the error. */
  readonly must: string;
  fits(value: unknown): boolean;
}

/** The options that one place knows, by name. */
export type Rules = Readonly<Record<string, Rule<unknown>>>;

/** Options behind the door: complete and checked. */
export type Checked<R extends Rules> = { readonly [Name in keyof R]: R[Name] extends Rule<infer T> ? T : never };

/** A whole number within bounds. */
export function whole<const T extends number | undefined>(fallback: T, min: number, max: number): Rule<number | T> {
  const fits = (value: unknown): boolean =>
    Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max;
  return { fallback, must: `a whole number from ${min} to ${max}`, fits };
}

/** One of a few words; the first is the default. */
export function word<const T extends string>(...words: readonly [T, ...T[]]): Rule<T> {
  return {
    fallback: words[0],
    must: words.join(' or '),
    fits: (value) => (words as readonly unknown[]).includes(value),
  };
}

/** Yes or no. */
export const flag: Rule<boolean> = {
  fallback: false,
  must: 'true or false',
  fits: (value) => typeof value === 'boolean',
};

/** Something to call. */
export function callback<T extends (...args: never[]) => unknown>(): Rule<T | undefined> {
  return { fallback: undefined, must: 'a function', fits: (value) => typeof value === 'function' };
}

/** What its own code takes apart and checks. */
export function other<T>(): Rule<T | undefined> {
  return { fallback: undefined, must: 'given', fits: () => true };
}

/**
 * Options as their users give them, complete.
 * @throws OptionError for an option that the rules do not know, or whose value does not fit
 */
export function checkOptions<R extends Rules>(where: string, options: unknown, rules: R): Checked<R> {
  if (options !== undefined && (typeof options !== 'object' || options === null || Array.isArray(options))) {
    throw new OptionError('INVALID_OPTION', 'options', `${where}: the options must be an object`);
  }
  const given = options as Readonly<Record<string, unknown>> | undefined;
  for (const name of Object.keys(given ?? {})) {
    if (Object.hasOwn(rules, name)) continue;
    const known = Object.keys(rules).join(', ');
    throw new OptionError('UNKNOWN_OPTION', name, `${where}: unknown option "${name}", known are ${known}`);
  }
  const complete: Record<string, unknown> = {};
  for (const name of Object.keys(rules))
    complete[name] = checkOption(where, name, given?.[name], rules[name] as Rule<unknown>);
  return complete as Checked<R>;
}

/**
 * One option, or its default where it is not given.
 * @throws OptionError where it does not fit
 */
export function checkOption<T>(where: string, name: string, value: unknown, rule: Rule<T>): T {
  return value === undefined ? rule.fallback : checkValue(where, name, value, rule);
}

/**
 * A value that has to be there.
 * @throws OptionError where it does not fit
 */
export function checkValue<T>(where: string, name: string, value: unknown, rule: Rule<T>): T {
  if (rule.fits(value)) return value as T;
  throw wrongOption(where, name, `${name} must be ${rule.must}, not ${shown(value)}`);
}

/** For what no single rule can say. */
export function wrongOption(where: string, name: string, why: string): OptionError {
  return new OptionError('INVALID_OPTION', name, `${where}: ${why}`);
}

/** The longest that a timer waits. */
export const MAX_DELAY = 2 ** 31 - 1;

/** How many bytes there may be of anything. */
export const anyLength = whole(0, 0, Number.MAX_SAFE_INTEGER);

/** {@link Limits}, which all framings have. */
export const limitRules = {
  maxFrameLength: whole(1024 * 1024, 0, Number.MAX_SAFE_INTEGER),
  onOversize: word('fail', 'skip'),
  report: word('early', 'late'),
  onEnd: word('error', 'deliver', 'discard'),
  emptyFrames: word('deliver', 'drop'),
} satisfies Record<keyof Limits, Rule<unknown>>;

/** {@link Limits} as decoders and encoders use them. */
export interface Policy {
  readonly maxFrameLength: number;
  readonly skip: boolean;
  readonly late: boolean;
  readonly onEnd: 'error' | 'deliver' | 'discard';
  readonly dropEmpty: boolean;
}

export function policyOf(limits: Checked<typeof limitRules>): Policy {
  return {
    maxFrameLength: limits.maxFrameLength,
    skip: limits.onOversize === 'skip',
    late: limits.report === 'late',
    onEnd: limits.onEnd,
    dropEmpty: limits.emptyFrames === 'drop',
  };
}

/** For framings without options of their own. */
export function limitsOf(where: string, limits: Limits | undefined): Policy {
  return policyOf(checkOptions(where, limits, limitRules));
}

/** {@link DecoderOptions}. */
export const decoderRules = {
  copy: word('auto', 'always', 'never'),
  frameTimeout: whole(0, 0, MAX_DELAY),
  onError: callback<(error: FramingError) => void>(),
} satisfies Record<keyof DecoderOptions, Rule<unknown>>;

/** {@link EncoderOptions}. */
export const encoderRules = {
  batchBytes: whole(64 * 1024, 1, 2 ** 30),
  copyBelow: whole(4 * 1024, 0, 2 ** 30),
} satisfies Record<keyof EncoderOptions, Rule<unknown>>;

function shown(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value);
  return typeof value === 'object' && value !== null ? 'an object' : String(value);
}
