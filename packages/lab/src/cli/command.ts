import { parseArgs, type ParseArgsConfig } from 'node:util';

/** One command of `wirelab`. */
export interface Command {
  readonly summary: string;
  /** What `--help` shows, an example included. */
  readonly help: string;
  /** @returns the exit code */
  run(words: string[]): Promise<number>;
}

/** A command line that cannot be understood: one sentence, exit code 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** `parseArgs` whose complaints are usage errors. */
export function parse<T extends ParseArgsConfig>(config: T): ReturnType<typeof parseArgs<T>> {
  try {
    return parseArgs<T>(config);
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message.split('. ')[0]! : String(error));
  }
}

/** A number of an option, within its limits. */
export function number(name: string, value: string | undefined, least: number, most: number): number | undefined {
  if (value === undefined) return undefined;
  const parsed = Number(value);
  if (value.trim() === '' || !(parsed >= least && parsed <= most)) {
    throw new UsageError(`--${name} takes a number from ${least} to ${most}, not "${value}"`);
  }
  return parsed;
}

/** As `number`, without a fraction. */
export function integer(name: string, value: string | undefined, least: number, most: number): number | undefined {
  const parsed = number(name, value, least, most);
  if (parsed !== undefined && !Number.isInteger(parsed)) {
    throw new UsageError(`--${name} takes a whole number, not "${value}"`);
  }
  return parsed;
}

/** One of a few words. */
export function oneOf<T extends string>(name: string, value: string, allowed: readonly T[]): T {
  const found = allowed.find((each) => each === value);
  if (found === undefined) throw new UsageError(`${name} is one of ${allowed.join(', ')}, not "${value}"`);
  return found;
}

/** What a name on the command line must be: makes a usage error of what the reader of it throws. */
export function checked<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}
