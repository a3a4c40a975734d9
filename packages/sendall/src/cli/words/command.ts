/** A command and its options, described once for parsing, help, suggestions and completion. */
import { UsageError } from '../../errors.js';
import { closest } from './closest.js';

export interface Option {
  /** The value's name in the help; absent: a switch. */
  readonly value?: string;
  /** The value may be left out: --stdin or --stdin=FILE. */
  readonly optionalValue?: boolean;
  readonly short?: string;
  readonly help: string;
  /** What the shell should offer for the value. Given a list, only its members are allowed. */
  readonly complete?:
    | readonly string[]
    | 'file'
    | 'folder'
    | 'host'
    | 'destination'
    | 'identity'
    | 'run'
    | 'selection'
    | 'signal'
    | 'limit'
    | 'agent-limit'
    | 'principal';
  /** Its heading in the help and the manual. @default 'Options' */
  readonly group?: string;
}

/** An option as it is typed: "--json"; one without a longer name than its letter: "-v". */
export const flagOf = (name: string): string => (name.length === 1 ? `-${name}` : `--${name}`);

/** Puts options under a heading of the help and the manual. */
export function under(group: string, options: Readonly<Record<string, Option>>): Record<string, Option> {
  return Object.fromEntries(Object.entries(options).map(([name, option]) => [name, { ...option, group }]));
}

export interface Command {
  readonly name: string;
  /** The part after the options, for the help: "TARGETS -- ARGV…"; several for several forms. */
  readonly usage: string | readonly string[];
  readonly summary: string;
  /** Whole command lines, as users type them. */
  readonly examples: readonly string[];
  readonly options: Readonly<Record<string, Option>>;
  /** Further tables of the help and the manual, by heading: values of options, and what each means. */
  readonly tables?: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** Subcommand names, for completion and suggestions. */
  readonly subcommands?: readonly string[];
  readonly complete?: 'host' | 'destination' | 'run' | 'file' | 'place';
  /** The same for the words after these subcommands. */
  readonly completeAfter?: Readonly<Record<string, Option['complete']>>;
  /** It parses its words itself: they are all in `rest`. */
  readonly parsesItself?: boolean;
  /** The same by place: for the first word after these subcommands, the second, and so on; nothing behind the last. */
  readonly completePlaces?: Readonly<Record<string, readonly Option['complete'][]>>;
  /** How many words it takes before `--`; further ones were meant for another program. */
  readonly most?: number;
  /** Resolves to the process's exit code. */
  run(args: Arguments): Promise<number>;
}

type Values = ReadonlyMap<string, readonly (Uint8Array | undefined)[]>;

/** A command's parsed words. */
export class Arguments {
  /** Words that are neither options nor their values. */
  readonly words: readonly string[];
  /** The same as bytes: a path need not be UTF-8. */
  readonly wordBytes: readonly Uint8Array[];
  /** The words after the first `--`, as bytes; undefined without one. */
  readonly rest: readonly Uint8Array[] | undefined;
  readonly #values: Values;

  constructor(values: Values, words: readonly Uint8Array[], rest: readonly Uint8Array[] | undefined) {
    this.#values = values;
    this.words = words.map(textOf);
    this.wordBytes = words;
    this.rest = rest;
  }

  on(name: string): boolean {
    return this.#values.has(name);
  }

  /** How often the option was given: `-ll` counts as two. */
  times(name: string): number {
    return this.#values.get(name)?.length ?? 0;
  }

  /** The option's last value. */
  text(name: string): string | undefined {
    const value = this.#values.get(name)?.at(-1);
    return value && textOf(value);
  }

  /** All values of the option, as bytes, as they may not be UTF-8. */
  bytes(name: string): readonly Uint8Array[] {
    return (this.#values.get(name) ?? []).filter((value) => value !== undefined);
  }

  texts(name: string): readonly string[] {
    return this.bytes(name).map(textOf);
  }
}

export function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString();
}

const HELP: Option = { short: 'h', help: 'show this help' };

/**
 * Parses a command's words. Options stand before or after the other words; the first `--` ends them. A value stands in
 * the same word (`--cwd=DIR`, `-cTEXT`) or in the next one, which may be any word except one of the command's own
 * options.
 * @throws UsageError that names the word and, for a slip, the option meant.
 */
export function parseArguments(command: Command, words: readonly Uint8Array[]): Arguments {
  const options: Readonly<Record<string, Option>> = { ...command.options, help: HELP };
  const values = new Map<string, (Uint8Array | undefined)[]>();
  const positionals: Uint8Array[] = [];
  const see = `see "sendall ${command.name} --help"`;
  /** After an unknown option. Behind other words it may be an option of the program. */
  const next = () =>
    positionals.length && [command.usage].flat().some((usage) => usage.includes('-- PROGRAM'))
      ? 'the program and its options come after "--"'
      : see;
  const note = (name: string, value: Uint8Array | undefined) => {
    const allowed = options[name]?.complete;
    if (value && Array.isArray(allowed) && !allowed.includes(textOf(value)))
      throw new UsageError(`--${name}: "${textOf(value)}" is not one of ${allowed.join(', ')}`);
    const list = values.get(name);
    if (list) list.push(value);
    else values.set(name, [value]);
  };
  const named = (name: string, word: string): Option => {
    const option = Object.hasOwn(options, name) ? options[name] : undefined;
    if (option) return option;
    const near = closest(name, Object.keys(options));
    throw new UsageError(`${command.name} has no option ${word}: ${near ? `did you mean --${near}?` : next()}`);
  };
  const lettered = (letter: string): [string, Option] => {
    const found = Object.entries(options).find(([, { short }]) => short === letter);
    if (found) return found;
    // kill(1) accepts this.
    const signal = /^\d$/.test(letter) && command.options.signal ? `send a signal with -s ${letter}` : next();
    throw new UsageError(`${command.name} has no option -${letter}: ${signal}`);
  };
  const isOwnOption = (word: string) =>
    word === '--' ||
    (word.startsWith('--')
      ? Object.hasOwn(options, word.slice(2).split('=', 1)[0]!)
      : word.length === 2 && word[0] === '-' && Object.values(options).some(({ short }) => short === word[1]));

  let at = 0;
  const nextValue = (name: string, { value }: Option) => {
    const next = words[at + 1];
    if (!next || isOwnOption(textOf(next)))
      throw new UsageError(`--${name} needs a value (--${name}=${value}): ${see}`);
    at++;
    return next;
  };
  for (; at < words.length; at++) {
    const word = words[at]!;
    const text = textOf(word);
    if (text === '--') return new Arguments(values, positionals, words.slice(at + 1));
    if (text.length < 2 || text[0] !== '-') {
      positionals.push(word);
      if (positionals.length > (command.most ?? Infinity))
        return new Arguments(values, [...positionals, ...words.slice(at + 1)], undefined);
    } else if (text[1] === '-') {
      const equals = word.indexOf(0x3d);
      const name = equals < 0 ? text.slice(2) : textOf(word.subarray(2, equals));
      const option = named(name, `--${name}`);
      if (equals >= 0) {
        if (option.value === undefined) throw new UsageError(`--${name} takes no value: ${see}`);
        note(name, word.subarray(equals + 1));
      } else if (option.value === undefined || option.optionalValue) note(name, undefined);
      else note(name, nextValue(name, option));
    } else {
      // `-dn` is `-d -n`; the first letter that takes a value takes the rest of the word.
      for (let i = 1; i < word.length; i++) {
        const [name, option] = lettered(String.fromCodePoint(word[i]!));
        if (option.value === undefined) note(name, undefined);
        else {
          note(name, i + 1 < word.length ? word.subarray(i + 1) : nextValue(name, option));
          break;
        }
      }
    }
  }
  return new Arguments(values, positionals, undefined);
}

/** The error for a word that is no subcommand: suggests a similar one, or lists all. */
export function notAVerb(command: string, word: string, verbs: readonly string[]): UsageError {
  const near = closest(word, verbs);
  return new UsageError(
    `${command} has no verb "${word}": ${near ? `did you mean "${near}"?` : `it has ${verbs.join(', ')}`}`,
  );
}
