/**
 * The filter language of inspect: which events are shown. It runs in a browser too, so it imports nothing of Node.
 *
 * ```text
 *   filter  = both ("or" both)*            both = one (["and"] one)*
 *   one     = "not" one | "(" filter ")" | term
 *   term    = "from" ("client" | "server") | "to" ("client" | "server")
 *           | "connection" N ("-" N)? ("," …)*
 *           | ("size" | "time" | "took") (">" | ">=" | "<" | "<=" | "=" | "!=") NUMBER
 *           | "text" STRING | "hex" DIGITS | "is" EVENT
 *           | "glued" | "split" | "partial" | "whole" | "unanswered"
 * ```
 */

/** What a filter looks at. A term about something that an event lacks does not hold. */
export interface Filterable {
  readonly event: string;
  readonly atMs: number;
  readonly connection?: number | undefined;
  readonly direction?: 'up' | 'down' | undefined;
  /** Bytes of the read. */
  readonly size?: number | undefined;
  /** Milliseconds from a request to its answer. */
  readonly tookMs?: number | undefined;
  /** Where text and hex are looked for. */
  readonly contents: readonly Uint8Array[];
  readonly glued?: boolean | undefined;
  readonly split?: boolean | undefined;
  readonly partial?: boolean | undefined;
}

/** Whether an event fits. */
export type Filter = (event: Filterable) => boolean;

/** A filter that cannot be understood. */
export class FilterError extends Error {
  override readonly name = 'FilterError';
  readonly code = 'BAD_FILTER';
  /** The place of the wrong word, in characters from 0. */
  readonly position: number;

  constructor(problem: string, position: number) {
    super(`the filter is wrong at character ${position + 1}: ${problem}`);
    this.position = position;
  }
}

/** Most characters of a filter. */
export const LONGEST_FILTER = 4096;
const MOST_NESTED = 100;

/** The kinds of events that `is` names, by their names in the JSON. */
const KINDS = ['open', 'read', 'wire', 'misfit', 'guess', 'end', 'close', 'refused', 'pair', 'unanswered', 'unasked'];
const TERMS =
  'from, to, connection, size, time, took, text, hex, is, glued, split, partial, whole, unanswered, not or "("';

interface Token {
  readonly kind: 'word' | 'string' | 'sign' | 'end';
  readonly text: string;
  readonly at: number;
}

/**
 * Reads a filter, such as `from client and size > 100 and text "HELLO"`.
 * @throws FilterError with the place of the wrong word
 */
export function parseFilter(source: string): Filter {
  if (source.length > LONGEST_FILTER) {
    throw new FilterError(`it has more than ${LONGEST_FILTER} characters`, LONGEST_FILTER);
  }
  return new Parser(tokens(source)).whole();
}

class Parser {
  readonly #tokens: readonly Token[];
  #at = 0;
  #depth = 0;

  constructor(found: readonly Token[]) {
    this.#tokens = found;
  }

  whole(): Filter {
    const filter = this.#either();
    const { kind, text, at } = this.#peek();
    if (kind !== 'end') throw new FilterError(`"${text}" stands where "and", "or" or the end is expected`, at);
    return filter;
  }

  #either(): Filter {
    const parts = [this.#both()];
    while (this.#accepts('or')) parts.push(this.#both());
    return parts.length === 1 ? parts[0]! : (event) => parts.some((part) => part(event));
  }

  #both(): Filter {
    const parts = [this.#one()];
    for (;;) {
      const { kind, text } = this.#peek();
      if (kind === 'end' || text === ')' || text === 'or') break;
      this.#accepts('and');
      parts.push(this.#one());
    }
    return parts.length === 1 ? parts[0]! : (event) => parts.every((part) => part(event));
  }

  #one(): Filter {
    const { at } = this.#peek();
    if (++this.#depth > MOST_NESTED) throw new FilterError(`more than ${MOST_NESTED} levels`, at);
    try {
      if (this.#accepts('not')) {
        const inner = this.#one();
        return (event) => !inner(event);
      }
      if (this.#accepts('(')) {
        const inner = this.#either();
        const { kind, text, at: place } = this.#peek();
        if (!this.#accepts(')')) throw new FilterError(`")" is expected, not ${shown(kind, text)}`, place);
        return inner;
      }
      return this.#term();
    } finally {
      this.#depth--;
    }
  }

  #term(): Filter {
    const { kind, text, at } = this.#next();
    if (kind !== 'word') throw new FilterError(`${shown(kind, text)} stands where one of ${TERMS} is expected`, at);
    switch (text) {
      case 'from':
      case 'to': {
        const side = this.#oneOf(['client', 'server'], `behind "${text}"`);
        const direction = (side === 'client') === (text === 'from') ? 'up' : 'down';
        return (event) => event.direction === direction;
      }
      case 'connection':
        return this.#connections();
      case 'size':
        return this.#compared(text, ({ size }) => size);
      case 'time':
        return this.#compared(text, ({ atMs }) => atMs);
      case 'took':
        return this.#compared(text, ({ tookMs }) => tookMs);
      case 'text':
        return contains(new TextEncoder().encode(this.#string()));
      case 'hex':
        return contains(this.#hex());
      case 'is': {
        const name = this.#oneOf(KINDS, 'behind "is"');
        return (event) => event.event === name;
      }
      case 'glued':
      case 'split':
      case 'partial':
        return (event) => event[text] === true;
      case 'whole':
        return ({ event, glued, split, partial }) => event === 'read' && !glued && !split && !partial;
      case 'unanswered':
        return ({ event }) => event === 'unanswered';
      default:
        throw new FilterError(`"${text}" is none of ${TERMS}`, at);
    }
  }

  #connections(): Filter {
    const ranges: [from: number, to: number][] = [];
    for (;;) {
      const { kind, text, at } = this.#next();
      const match = kind === 'word' ? /^(\d{1,15})(?:-(\d{1,15}))?$/.exec(text) : null;
      if (!match)
        throw new FilterError(`a number of a connection is expected, or two with "-", not ${shown(kind, text)}`, at);
      ranges.push([Number(match[1]), Number(match[2] ?? match[1])]);
      if (!this.#accepts(',')) break;
    }
    return ({ connection }) =>
      connection !== undefined && ranges.some(([from, to]) => from <= connection && connection <= to);
  }

  #compared(name: string, value: (event: Filterable) => number | undefined): Filter {
    const operator = this.#next();
    const compare = comparisons[operator.text];
    if (operator.kind !== 'sign' || !compare) {
      const found = shown(operator.kind, operator.text);
      throw new FilterError(
        `one of ${Object.keys(comparisons).join(' ')} is expected behind "${name}", not ${found}`,
        operator.at,
      );
    }
    const { kind, text, at } = this.#next();
    if (kind !== 'word' || !/^\d{1,15}(?:\.\d{1,9})?$/.test(text)) {
      throw new FilterError(`a number is expected behind "${name} ${operator.text}", not ${shown(kind, text)}`, at);
    }
    const number = Number(text);
    return (event) => {
      const found = value(event);
      return found !== undefined && compare(found, number);
    };
  }

  #string(): string {
    const { kind, text, at } = this.#next();
    if (kind === 'string' || (kind === 'word' && text !== 'and' && text !== 'or')) return text;
    throw new FilterError(`a text in quotes is expected behind "text", not ${shown(kind, text)}`, at);
  }

  #hex(): Uint8Array {
    const { kind, text, at } = this.#next();
    const digits = text.replaceAll(' ', '');
    if ((kind === 'word' || kind === 'string') && /^(?:[0-9a-f]{2})+$/i.test(digits)) {
      return Uint8Array.from(digits.match(/../g)!, (pair) => parseInt(pair, 16));
    }
    throw new FilterError(`pairs of hexadecimal digits are expected behind "hex", not ${shown(kind, text)}`, at);
  }

  #oneOf(words: readonly string[], where: string): string {
    const { kind, text, at } = this.#next();
    if (kind === 'word' && words.includes(text)) return text;
    throw new FilterError(`one of ${words.join(', ')} is expected ${where}, not ${shown(kind, text)}`, at);
  }

  #peek(): Token {
    return this.#tokens[this.#at]!;
  }

  #next(): Token {
    const token = this.#peek();
    if (token.kind !== 'end') this.#at++;
    return token;
  }

  #accepts(text: string): boolean {
    const token = this.#peek();
    if (token.kind === 'string' || token.text !== text || token.kind === 'end') return false;
    this.#at++;
    return true;
  }
}

const comparisons: Readonly<Record<string, (left: number, right: number) => boolean>> = {
  '>': (left, right) => left > right,
  '>=': (left, right) => left >= right,
  '<': (left, right) => left < right,
  '<=': (left, right) => left <= right,
  '=': (left, right) => left === right,
  '!=': (left, right) => left !== right,
};

function shown(kind: Token['kind'], text: string): string {
  return kind === 'end' ? 'the end' : `"${text}"`;
}

/** A word, a sign, or a string; the sticky flag makes each match begin where the one before ended. */
const TOKEN = /\s*(?:([A-Za-z0-9_.-]+)|(>=|<=|!=|[()<>=,])|"((?:[^"\\]|\\.)*)"|'([^']*)')/uy;

function tokens(source: string): Token[] {
  const found: Token[] = [];
  TOKEN.lastIndex = 0;
  for (;;) {
    const from = TOKEN.lastIndex;
    const rest = source.slice(from);
    if (rest.trim() === '') break;
    const at = from + rest.length - rest.trimStart().length;
    const match = TOKEN.exec(source);
    if (!match) {
      const character = source[at]!;
      const problem =
        character === '"' || character === "'" ? 'this text has no end' : `"${character}" means nothing here`;
      throw new FilterError(problem, at);
    }
    const [, word, sign, quoted, plain] = match;
    if (word !== undefined) found.push({ kind: 'word', text: word, at });
    else if (sign !== undefined) found.push({ kind: 'sign', text: sign, at });
    else found.push({ kind: 'string', text: plain ?? unescaped(quoted!, at + 1), at });
  }
  return [...found, { kind: 'end', text: '', at: source.length }];
}

const escapes: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t', 0: '\0', '"': '"', '\\': '\\' };

function unescaped(text: string, at: number): string {
  return text.replaceAll(/\\(.)/gsu, (whole, character: string, place: number) => {
    const meant = escapes[character];
    if (meant === undefined)
      throw new FilterError(`"${whole}" is no escape: there are \\n \\r \\t \\0 \\" \\\\`, at + place);
    return meant;
  });
}

function contains(wanted: Uint8Array): Filter {
  return ({ contents }) => contents.some((bytes) => includes(bytes, wanted));
}

function includes(bytes: Uint8Array, wanted: Uint8Array): boolean {
  if (wanted.length === 0) return true;
  const first = wanted[0]!;
  for (let at = bytes.indexOf(first); at !== -1; at = bytes.indexOf(first, at + 1)) {
    let same = 1;
    while (same < wanted.length && bytes[at + same] === wanted[same]) same++;
    if (same === wanted.length) return true;
  }
  return false;
}
