/** Checks options by name before anything starts. Callers without TypeScript rely on it. */
import { UsageError } from '../../errors.js';
import { DURATION, readDuration } from '../../text/duration.js';

/** The values an option allows. */
export interface Rule {
  /** Completes "… is not". */
  readonly allowed: string;
  readonly fits: (value: unknown) => boolean;
  /** No message shows the value, not even a wrong one. */
  readonly hidden?: boolean;
}
export type Rules<T> = { readonly [K in keyof Required<T>]: Rule };

const LONGEST_SHOWN = 60;
const MOST_SHOWN = 5;

/**
 * Checks options by name. `what`: "run", "connect" and so on. An undefined option counts as absent.
 * @throws UsageError for an unknown option or a wrong value. It names the option, the value and the allowed values.
 */
export function checkOptions<T>(what: string, options: unknown, rules: Rules<T>): void {
  if (!isRecord(options)) throw new UsageError(`${what} options: ${shown(options)} is not an object`);
  for (const [name, value] of Object.entries(options)) {
    if (!Object.hasOwn(rules, name)) throw new UsageError(`there is no ${what} option "${name}"`);
    check(name, value, rules[name as keyof T]);
  }
}

/** The same for a single value; undefined always passes. */
export function check(name: string, value: unknown, { fits, allowed, hidden }: Rule): void {
  if (value !== undefined && !fits(value))
    throw new UsageError(`${name}: ${hidden ? 'what was given' : shown(value)} is not ${allowed}`);
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/**
 * A value for a message: short, on one line. Objects show only their names and numbers, as other values may be secret.
 */
function shown(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.slice(0, LONGEST_SHOWN));
  if (typeof value === 'function') return 'a function';
  if (typeof value !== 'object' || value === null) return String(value);
  if (Array.isArray(value)) return 'an array';
  const kind = (value as object).constructor?.name ?? 'Object';
  if (kind !== 'Object') return `an object (${kind})`;
  const entries = Object.entries(value)
    .slice(0, MOST_SHOWN)
    .map(([key, item]) => (['number', 'boolean'].includes(typeof item) ? `${key}: ${String(item)}` : key));
  return entries.length ? `{ ${entries.join(', ')} }` : '{}';
}

// -- what options are made of

export { readDuration, type Duration } from '../../text/duration.js';

export const flag: Rule = { allowed: 'true or false', fits: (value) => typeof value === 'boolean' };

export const text: Rule = { allowed: 'text', fits: (value) => typeof value === 'string' };

/** A non-empty name. */
export const name: Rule = {
  allowed: 'text of at least one character',
  fits: (value) => typeof value === 'string' && value !== '' && !value.includes('\0'),
};

export const word: Rule = {
  allowed: 'text or bytes (a Uint8Array)',
  fits: (value) => typeof value === 'string' || value instanceof Uint8Array,
};

/** A time: milliseconds, or "30s". */
export const duration: Rule = { allowed: DURATION, fits: (value) => readDuration(value) !== undefined };

/** A count of something. */
export const whole = (what: string, least = 0, most = Number.MAX_SAFE_INTEGER): Rule => ({
  allowed: `a whole number of ${what} from ${least} to ${most}`,
  fits: (value) => Number.isInteger(value) && (value as number) >= least && (value as number) <= most,
});

export const oneOf = (...choices: readonly string[]): Rule => ({
  allowed: `one of ${choices.join(', ')}`,
  fits: (value) => choices.includes(value as string),
});

export const listOf = ({ allowed, fits }: Rule): Rule => ({
  allowed: `an array of which each is ${allowed}`,
  fits: (value) => Array.isArray(value) && value.every((item) => fits(item)),
});

export const either = (...rules: readonly Rule[]): Rule => ({
  allowed: rules.map(({ allowed }) => allowed).join(', or '),
  fits: (value) => rules.some((rule) => rule.fits(value)),
});

/** An object with these options and no others. */
export const objectOf = (rules: Readonly<Record<string, Rule>>, ...required: readonly string[]): Rule => ({
  allowed: `{ ${Object.entries(rules)
    .map(([key, { allowed }]) => `${key}: ${allowed}`)
    .join('; ')} }`,
  fits: (value) =>
    isRecord(value) &&
    required.every((key) => value[key] !== undefined) &&
    Object.entries(value).every(
      ([key, item]) => Object.hasOwn(rules, key) && (item === undefined || rules[key]!.fits(item)),
    ),
});

/** An object with these methods. */
export const having = (allowed: string, ...methods: readonly PropertyKey[]): Rule => ({
  allowed,
  fits: (value) =>
    typeof value === 'object' &&
    value !== null &&
    methods.every((method) => typeof (value as Record<PropertyKey, unknown>)[method] === 'function'),
});

export const abortSignal: Rule = {
  allowed: 'an AbortSignal',
  fits: (value) => having('', 'addEventListener').fits(value) && typeof (value as AbortSignal).aborted === 'boolean',
};

export const callback: Rule = { allowed: 'a function', fits: (value) => typeof value === 'function' };
