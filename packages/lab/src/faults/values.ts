/** The values that faults take, as words: on command lines, in files and over the control socket. */
import type { FaultOptions } from './index.js';

const MOST_MS = 3_600_000;
const MOST_BYTES = Number.MAX_SAFE_INTEGER;

interface Rule {
  readonly key: keyof FaultOptions;
  /** Absent: a switch. */
  readonly least?: number;
  readonly most?: number;
  readonly whole?: boolean;
}

/** The faults by the names that they have on the command line. */
export const FAULT_VALUES = {
  slice: { key: 'slice', least: 1, most: MOST_BYTES, whole: true },
  coalesce: { key: 'coalesce', least: 0, most: MOST_MS },
  latency: { key: 'latency', least: 0, most: MOST_MS },
  jitter: { key: 'jitter', least: 0, most: MOST_MS },
  throttle: { key: 'throttle', least: 1, most: MOST_BYTES, whole: true },
  corrupt: { key: 'corrupt', least: 0, most: 1 },
  stall: { key: 'stall', least: 0, most: MOST_MS },
  'cut-every': { key: 'cutEvery', least: 1, most: MOST_BYTES, whole: true },
  'reset-after': { key: 'resetAfter', least: 1, most: MOST_BYTES, whole: true },
  'half-close': { key: 'halfClose' },
} as const satisfies Record<string, Rule>;

export type FaultName = keyof typeof FAULT_VALUES;

export const isFaultName = (name: string): name is FaultName => Object.hasOwn(FAULT_VALUES, name);

/**
 * The option for a fault with a value; a switch takes none. The word `off` takes a fault of both directions away.
 * @throws Error that says what the fault takes
 */
export function faultOption(name: string, value: string | undefined): FaultOptions {
  if (!isFaultName(name))
    throw new Error(`there is no fault "${name}": there are ${Object.keys(FAULT_VALUES).join(', ')}`);
  const { key, least, most, whole }: Rule = FAULT_VALUES[name];
  if (value === 'off') return { [key]: undefined };
  if (least === undefined || most === undefined) {
    if (value !== undefined) throw new Error(`${name} takes no value`);
    return { [key]: true };
  }
  const number = Number(value);
  const pattern = whole ? /^\d+$/ : /^\d+(?:\.\d+)?$/;
  if (value === undefined || !pattern.test(value) || number < least || number > most) {
    const kind = whole ? 'a whole number' : 'a number';
    throw new Error(`${name} takes ${kind} from ${least} to ${most}, not "${value ?? ''}"`);
  }
  return { [key]: number };
}

/**
 * Reads `latency=20,slice=3,half-close`.
 * @param oneWay the words are of the direction to the client, which half-close has nothing to do in
 * @throws Error that says which word is wrong
 */
export function readFaults(words: string, oneWay: 'up' | 'down' | 'both'): FaultOptions {
  const options: FaultOptions = {};
  for (const word of words.split(',')) {
    const [name = '', value] = word.split('=', 2);
    if (name === 'half-close' && oneWay === 'down') throw new Error('half-close ends what goes to the server');
    Object.assign(options, faultOption(name, value));
  }
  return options;
}
