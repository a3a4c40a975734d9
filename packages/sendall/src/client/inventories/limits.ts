/** The limits of inventories: options of the API, and environment variables for the command line. */
import { UsageError } from '../../errors.js';
import { DURATION, readDuration, type Duration } from '../../text/duration.js';

/** Limits of the files and programs in hosts.d. */
export interface InventoryOptions {
  /**
   * Milliseconds until a program must have ended. 0: no limit.
   * @default SENDALL_INVENTORY_TIMEOUT, or 10_000
   */
  timeout?: Duration;
  /**
   * Most bytes of a file, or of a program's output.
   * @default SENDALL_INVENTORY_MAX_BYTES, or 4_194_304
   */
  maxBytes?: number;
  /**
   * Most hosts of all files and programs together.
   * @default SENDALL_INVENTORY_MAX_HOSTS, or 100_000
   */
  maxHosts?: number;
}

/** The limits in force; times in milliseconds. */
export interface InventoryLimits {
  readonly timeout: number;
  readonly maxBytes: number;
  readonly maxHosts: number;
}

const VARIABLES = {
  timeout: 'SENDALL_INVENTORY_TIMEOUT',
  maxBytes: 'SENDALL_INVENTORY_MAX_BYTES',
  maxHosts: 'SENDALL_INVENTORY_MAX_HOSTS',
} as const;

/** How a message names each limit. */
export const LIMIT_NAMES = {
  timeout: `timeout, ${VARIABLES.timeout}`,
  maxBytes: `maxBytes, ${VARIABLES.maxBytes}`,
  maxHosts: `maxHosts, ${VARIABLES.maxHosts}`,
} as const;

/** @throws UsageError for an unknown option and for a value that is no limit. */
export function inventoryLimits(options: InventoryOptions, env: NodeJS.ProcessEnv): InventoryLimits {
  for (const name of Object.keys(options))
    if (!(name in VARIABLES)) throw new UsageError(`there is no inventory option "${name}"`);
  const number = (name: 'maxBytes' | 'maxHosts', usual: number) => {
    const value: unknown = options[name] ?? (env[VARIABLES[name]] || usual);
    const count = typeof value === 'string' && /^\d{1,15}$/.test(value) ? Number(value) : value;
    if (Number.isSafeInteger(count) && (count as number) >= 1) return count as number;
    throw wrong(name, value, 'a whole number of 1 or more');
  };
  const time: unknown = options.timeout ?? (env[VARIABLES.timeout] || 10_000);
  const timeout = readDuration(time);
  if (timeout === undefined) throw wrong('timeout', time, DURATION);
  return { timeout, maxBytes: number('maxBytes', 4 * 1024 * 1024), maxHosts: number('maxHosts', 100_000) };
}

function wrong(name: keyof typeof VARIABLES, value: unknown, allowed: string): UsageError {
  return new UsageError(`${LIMIT_NAMES[name]}: ${JSON.stringify(value)} is not ${allowed}`);
}
