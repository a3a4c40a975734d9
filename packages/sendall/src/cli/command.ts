/** What a command is: its options, described once for parsing, help, suggestions and completion. */
import { parseArgs } from 'node:util';
import { UsageError } from '../index.js';
import { closest } from './closest.js';

export interface Option {
  /** What its value is called in the help; absent: a switch. */
  readonly value?: string;
  /** The value may be left out: --stdin or --stdin=FILE. */
  readonly optionalValue?: boolean;
  readonly short?: string;
  readonly many?: boolean;
  readonly help: string;
  /** What the shell should offer for the value. */
  readonly complete?: readonly string[] | 'file' | 'folder' | 'host' | 'run';
}

export interface Command {
  readonly name: string;
  /** What stands after the options, for the help: "TARGETS -- ARGV…". */
  readonly usage: string;
  readonly summary: string;
  readonly example: string;
  readonly options: Readonly<Record<string, Option>>;
  /** Subcommand names, for completion and suggestions. */
  readonly subcommands?: readonly string[];
  readonly complete?: 'host' | 'run' | 'file';
  run(args: Arguments): Promise<number>;
}

/** A command's words, taken apart. */
export class Arguments {
  /** What is neither an option nor its value. */
  readonly words: readonly string[];
  /** The words after the first `--`, as bytes; undefined without one. */
  readonly rest: readonly Uint8Array[] | undefined;
  readonly #values: ReadonlyMap<string, readonly (Uint8Array | undefined)[]>;

  constructor(
    values: ReadonlyMap<string, readonly (Uint8Array | undefined)[]>,
    words: readonly string[],
    rest: readonly Uint8Array[] | undefined,
  ) {
    this.#values = values;
    this.words = words;
    this.rest = rest;
  }

  on(name: string): boolean {
    return this.#values.has(name);
  }

  /** The option's last value. */
  text(name: string): string | undefined {
    const value = this.#values.get(name)?.at(-1);
    return value && Buffer.from(value).toString();
  }

  /** All values of the option, as bytes: they need not be UTF-8. */
  bytes(name: string): readonly Uint8Array[] {
    return (this.#values.get(name) ?? []).filter((value) => value !== undefined);
  }

  texts(name: string): readonly string[] {
    return this.bytes(name).map((value) => Buffer.from(value).toString());
  }
}

/**
 * Parses a command's words. Options stand before or after the other words; the first `--` ends them.
 * Throws UsageError that names the word and, for a slip, the option meant.
 */
export function parseArguments(command: Command, words: readonly Uint8Array[]): Arguments {
  const texts = words.map((word) => Buffer.from(word).toString());
  const end = texts.indexOf('--');
  const own = end < 0 ? texts : texts.slice(0, end);
  const options: Record<string, { type: 'string' | 'boolean'; short?: string; multiple: true }> = {
    help: { type: 'boolean', multiple: true },
  };
  for (const [name, option] of Object.entries(command.options))
    options[name] = {
      // `--stdin` takes no value and `--stdin=FILE` does: told apart below.
      type:
        option.value && !(option.optionalValue && !own.some((word) => word.startsWith(`--${name}=`)))
          ? 'string'
          : 'boolean',
      ...(option.short ? { short: option.short } : {}),
      multiple: true,
    };
  try {
    const { tokens } = parseArgs({ args: [...own], options, allowPositionals: true, tokens: true, strict: true });
    const values = new Map<string, (Uint8Array | undefined)[]>();
    const positionals: string[] = [];
    for (const token of tokens) {
      if (token.kind === 'positional') positionals.push(token.value);
      if (token.kind !== 'option') continue;
      const value =
        token.value === undefined ? undefined : rawValue(words, token.index, token.value, token.inlineValue);
      values.set(token.name, [...(values.get(token.name) ?? []), value]);
    }
    return new Arguments(values, positionals, end < 0 ? undefined : words.slice(end + 1));
  } catch (error) {
    throw new UsageError(explain(command, error as NodeJS.ErrnoException, Object.keys(options)));
  }
}

/** An option's value as the bytes that were given. */
function rawValue(words: readonly Uint8Array[], index: number, text: string, inline: boolean): Uint8Array {
  if (!text.includes('\ufffd')) return Buffer.from(text);
  if (!inline) return words[index + 1]!;
  const word = words[index]!;
  return word.subarray(word.indexOf(0x3d) + 1);
}

function explain(command: Command, error: NodeJS.ErrnoException, names: readonly string[]): string {
  const see = `see "sendall ${command.name} --help"`;
  const unknown = /Unknown option '([^']*)'/.exec(error.message)?.[1];
  if (unknown !== undefined) {
    const near = closest(unknown.replace(/^-+/, ''), names);
    return `${command.name} has no option ${unknown}${near ? `: did you mean --${near}?` : `: ${see}`}`;
  }
  const needy = /Option '(?:-\w, )?--([a-z0-9-]+) <value>' argument (?:missing|is ambiguous)/.exec(error.message)?.[1];
  if (needy !== undefined)
    return `--${needy} needs a value (--${needy}=${command.options[needy]?.value ?? 'VALUE'}): ${see}`;
  return `${error.message.split('\n')[0]!.replace(/\.$/, '')}: ${see}`;
}
