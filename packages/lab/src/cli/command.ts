/**
 * A command and its options, described once for parsing, help, suggestions and completion. The same shape as sendall's,
 * which the lab may not import.
 */
import { closest } from './closest.js';

export interface Option {
  /** The value's name in the help; absent: a switch. */
  readonly value?: string;
  readonly help: string;
  /** What the shell should offer for the value. */
  readonly complete?: readonly string[] | 'file';
  /** Its heading in the help and the manual. @default 'Options' */
  readonly group?: string;
}

/** Puts options under a heading of the help and the manual. */
export function under(group: string, options: Readonly<Record<string, Option>>): Record<string, Option> {
  return Object.fromEntries(Object.entries(options).map(([name, option]) => [name, { ...option, group }]));
}

export interface Command {
  readonly name: string;
  /** The part after the name, for the help; one line for each form. */
  readonly usage: readonly [string, ...string[]];
  readonly summary: string;
  /** Further explanation, line by line. */
  readonly about: readonly string[];
  /** Whole command lines, as users type them. */
  readonly examples: readonly string[];
  readonly options: Readonly<Record<string, Option>>;
  /** What the shell should offer for the first word. */
  readonly complete?: readonly string[] | 'file';
  /** Resolves to the process's exit code. */
  run(args: Arguments): Promise<number>;
}

/** An invalid command line, explained in one sentence. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** A command's parsed words. */
export class Arguments {
  /** Words that are neither options nor their values. */
  readonly words: readonly string[];
  readonly #values: ReadonlyMap<string, readonly string[]>;

  constructor(values: ReadonlyMap<string, readonly string[]>, words: readonly string[]) {
    this.#values = values;
    this.words = words;
  }

  on(name: string): boolean {
    return this.#values.has(name);
  }

  /** The option's last value. */
  text(name: string): string | undefined {
    return this.#values.get(name)?.at(-1);
  }

  /** All values of the option. */
  texts(name: string): readonly string[] {
    return this.#values.get(name) ?? [];
  }

  /** A number in plain decimal digits, within limits. */
  number(name: string, least: number, most: number): number | undefined {
    return this.#digits(name, least, most, /^\d+(?:\.\d+)?$/, 'a number');
  }

  /** Like `number`, without a fraction. */
  integer(name: string, least: number, most: number): number | undefined {
    return this.#digits(name, least, most, /^\d+$/, 'a whole number');
  }

  #digits(name: string, least: number, most: number, pattern: RegExp, what: string): number | undefined {
    const value = this.text(name);
    if (value === undefined) return undefined;
    const number = Number(value);
    if (!pattern.test(value) || number < least || number > most)
      throw new UsageError(`--${name} takes ${what} from ${least} to ${most}, not "${value}"`);
    return number;
  }

  /** One of a few allowed words. */
  oneOf<T extends string>(name: string, allowed: readonly T[]): T | undefined {
    const value = this.text(name);
    return value === undefined ? undefined : oneOf(`--${name}`, value, allowed);
  }
}

export const helpOption: Option = { help: 'show this help' };

/**
 * Parses a command's words. Options stand before or after the other words; the first `--` ends them. A value stands in
 * the same word (`--port=0`) or in the next one, which may be any word except one of the command's own options.
 * @throws UsageError that names the word and, for a slip, the option meant
 */
export function parseArguments(command: Command, words: readonly string[]): Arguments {
  const options: Readonly<Record<string, Option>> = { ...command.options, help: helpOption };
  const values = new Map<string, string[]>();
  const positionals: string[] = [];
  const see = `see "wirelab ${command.name} --help"`;
  const note = (name: string, value: string) => {
    const list = values.get(name);
    if (list) list.push(value);
    else values.set(name, [value]);
  };
  const isOwnOption = (word: string) =>
    word === '--' ||
    word === '-h' ||
    (word.startsWith('--') && Object.hasOwn(options, word.slice(2).split('=', 1)[0]!));

  for (let at = 0; at < words.length; at++) {
    const word = words[at]!;
    if (word === '--') return new Arguments(values, [...positionals, ...words.slice(at + 1)]);
    if (word === '-h') {
      note('help', '');
      continue;
    }
    if (!word.startsWith('-') || word === '-') {
      positionals.push(word);
      continue;
    }
    const [name, assigned] = split(word);
    const option = Object.hasOwn(options, name) ? options[name] : undefined;
    if (!option || !word.startsWith('--')) {
      const near = closest(name, Object.keys(options));
      throw new UsageError(
        `${command.name} has no option ${word.split('=', 1)[0]}: ${near ? `did you mean --${near}?` : see}`,
      );
    }
    if (option.value === undefined) {
      if (assigned !== undefined) throw new UsageError(`--${name} takes no value: ${see}`);
      note(name, '');
    } else if (assigned !== undefined) note(name, assigned);
    else {
      const next = words[++at];
      if (next === undefined || isOwnOption(next))
        throw new UsageError(`--${name} needs a value (--${name}=${option.value}): ${see}`);
      note(name, next);
    }
  }
  return new Arguments(values, positionals);
}

/** `--port=0` as "port" and "0"; `-port` as "port". */
function split(word: string): [name: string, value: string | undefined] {
  const bare = word.replace(/^--?/, '');
  const equals = bare.indexOf('=');
  return equals < 0 ? [bare, undefined] : [bare.slice(0, equals), bare.slice(equals + 1)];
}

/** One of a few allowed words; the error suggests a similar one. */
export function oneOf<T extends string>(name: string, value: string, allowed: readonly T[]): T {
  const found = allowed.find((each) => each === value);
  if (found !== undefined) return found;
  const near = closest(value, allowed);
  throw new UsageError(
    `${name} is one of ${allowed.join(', ')}, not "${value}"${near === undefined ? '' : `: did you mean "${near}"?`}`,
  );
}

/** Reads a value from the command line and turns the reader's error into a usage error. */
export function checked<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}
