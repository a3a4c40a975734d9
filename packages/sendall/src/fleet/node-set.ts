/**
 * Sets of host names in the notation people use for many hosts: `web[01-20,33]`, `a,b`, `rack[1-4]n[1-8]`, with `!` for
 * difference, `&` for intersection and `^` for symmetric difference. Expressions are evaluated from left to right, and
 * all operators have the same precedence; `all,!web3` removes web3, as `all!web3` does.
 *
 * A number keeps its zeros: web1 and web01 are different names, and `[08-12]` is 08, 09, 10, 11, 12.
 *
 * Source for the notation: ClusterShell's node sets (https://clustershell.readthedocs.io).
 */
import { UsageError } from '../errors.js';
import { fold, foldWord, inOrder, type BracketWord } from './fold.js';

/** The limits of a set of host names, and the meaning of its words. */
export interface NodeSetOptions {
  /**
   * Most names in one set; an expression for more is refused.
   * @default 100_000
   */
  maxSize?: number;
  /** The names for a word (`@tag`, `k=v`, `all`); undefined: the word is a name itself. */
  lookUp?: (word: string) => Iterable<string> | undefined;
}

type Like = NodeSet | string | Iterable<string>;
type Operator = ',' | '!' | '&' | '^';

const OPTION_NAMES: Record<keyof NodeSetOptions, true> = { maxSize: true, lookUp: true };
const MAX_SIZE = 100_000;

/** A set of host names, written and read as `web[01-20]`. */
export class NodeSet implements Iterable<string> {
  readonly #options: NodeSetOptions;
  /** A set made from one word prints that word without making its names. */
  readonly #word: BracketWord | undefined;
  #set: ReadonlySet<string> | undefined;
  #ordered: readonly string[] | undefined;

  /**
   * Parses an expression, or takes names unchanged.
   * @throws UsageError that shows the mistake.
   */
  constructor(from: Like = '', options: NodeSetOptions = {}) {
    for (const name of Object.keys(options))
      if (!(name in OPTION_NAMES)) throw new UsageError(`there is no node set option "${name}"`);
    this.#options = options;
    const read = typeof from === 'string' ? evaluate(from, options) : new Set(from);
    if (read instanceof Set) this.#set = read;
    else this.#word = read;
    if (this.#set && this.#set.size > (options.maxSize ?? MAX_SIZE)) throw tooMany(options);
  }

  get #names(): ReadonlySet<string> {
    return (this.#set ??= expand(this.#word!));
  }

  get size(): number {
    return this.#names.size;
  }

  has(name: string): boolean {
    return this.#names.has(name);
  }

  /** The names, ordered by text and then by number: web2 before web10. */
  [Symbol.iterator](): Iterator<string> {
    this.#ordered ??= inOrder(this.#names);
    return this.#ordered[Symbol.iterator]();
  }

  union(other: Like): NodeSet {
    return this.#combine(',', other);
  }

  intersect(other: Like): NodeSet {
    return this.#combine('&', other);
  }

  except(other: Like): NodeSet {
    return this.#combine('!', other);
  }

  /** The names in one of the two sets but not both. */
  xor(other: Like): NodeSet {
    return this.#combine('^', other);
  }

  /** Splits it into at most `parts` non-empty sets, in order, whose sizes differ by at most one. */
  split(parts: number): NodeSet[] {
    if (!Number.isInteger(parts) || parts < 1)
      throw new UsageError(`a set is split into 1 or more parts, not ${parts}`);
    const names = [...this];
    const count = Math.min(parts, names.length);
    return Array.from(
      { length: count },
      (_, i) =>
        new NodeSet(
          names.slice(Math.round((i * names.length) / count), Math.round(((i + 1) * names.length) / count)),
          this.#options,
        ),
    );
  }

  /** The shortest notation we know: `web[1-3,10],web[01-02]`. */
  toString(): string {
    return (this.#word && foldWord(this.#word)) ?? fold(this.#names);
  }

  #combine(operator: Operator, other: Like): NodeSet {
    const set = other instanceof NodeSet ? other : new NodeSet(other, this.#options);
    return new NodeSet(apply(operator, new Set(this.#names), set.#names), this.#options);
  }
}

/** Changes `left` in time proportional to `right`: an expression may have as many words as names. */
function apply(operator: Operator, left: Set<string>, right: ReadonlySet<string>): Set<string> {
  if (operator === '&') return new Set([...right].filter((name) => left.has(name)));
  for (const name of right) {
    const taken = operator !== ',' && left.delete(name);
    if (!taken && operator !== '!') left.add(name);
  }
  return left;
}

/** The names, or a single word that describes them all. */
function evaluate(text: string, options: NodeSetOptions): Set<string> | BracketWord {
  let result: Set<string> | BracketWord | undefined;
  let operator: Operator = ',';
  let dangling: string | undefined;
  for (const token of tokens(text)) {
    if (token.kind === 'word') {
      const names = namesOf(token.text, options);
      result = result ? apply(operator, namesIn(result), namesIn(names)) : names;
      if (result instanceof Set && result.size > (options.maxSize ?? MAX_SIZE)) throw tooMany(options);
      operator = ',';
      dangling = undefined;
    } else {
      if (!result) throw wrong(text, `a name is missing before "${token.text}"`);
      // "a,!b" is "a!b": only a comma may stand before another operator.
      if (dangling !== undefined && !(dangling === ',' && token.text !== ','))
        throw wrong(text, `a name is missing between "${dangling}" and "${token.text}"`);
      operator = token.text as Operator;
      dangling = token.text;
    }
  }
  if (dangling !== undefined) throw wrong(text, `a name is missing after "${dangling}"`);
  return result ?? new Set();
}

/** Words and operators. An address contains colons and brackets of its own, and ends at an operator. */
function* tokens(text: string): Generator<{ kind: 'word' | 'operator'; text: string }> {
  const pattern = /\s+|([,!&^])|((?:tls|udp|unix|nats):[^\s,!&^]+|(?:\[[^\][]*\]|[^\s,!&^[\]])+)|(.)/gsuy;
  for (const [, operator, word, other] of text.matchAll(pattern)) {
    if (operator) yield { kind: 'operator', text: operator };
    else if (word) yield { kind: 'word', text: word };
    else if (other === '[') throw wrong(text, 'a "[" is not closed, or contains another one');
    else if (other) throw wrong(text, `"${other}" stands alone`);
  }
}

const namesIn = (names: Set<string> | BracketWord): Set<string> => (names instanceof Set ? names : expand(names));

function namesOf(word: string, options: NodeSetOptions): Set<string> | BracketWord {
  const found = options.lookUp?.(word);
  if (found) return new Set(found);
  if (word.startsWith('@') || word.includes('='))
    throw new UsageError(`"${word}" names a group of hosts, and there is no list of hosts to look it up in`);
  if (/^[a-z]+:/.test(word)) return new Set([word]);
  return readWord(word, options);
}

function readWord(word: string, options: NodeSetOptions): BracketWord {
  const parts = word.split(/\[([^\]]*)\]/);
  const texts = parts.filter((_, i) => i % 2 === 0);
  const axes = parts.filter((_, i) => i % 2 === 1).map((part) => numbersOf(part, word, options));
  if (axes.reduce((size, axis) => size * axis.length, 1) > (options.maxSize ?? MAX_SIZE)) throw tooMany(options);
  return { texts, axes };
}

/** All names of a word with brackets. */
function expand({ texts, axes }: BracketWord): Set<string> {
  let names = new Set([texts[0]!]);
  for (const [i, axis] of axes.entries()) {
    const longer = new Set<string>();
    const text = texts[i + 1]!;
    for (const name of names) for (const number of axis) longer.add(name + number + text);
    names = longer;
  }
  return names;
}

/** `01-20,33` or `0-10/2` as numbers with their zeros. */
function numbersOf(ranges: string, word: string, options: NodeSetOptions): string[] {
  const numbers: string[] = [];
  for (const range of ranges.split(',')) {
    const [, low, high = low, step = '1'] = /^(\d{1,15})(?:-(\d{1,15})(?:\/(\d{1,15}))?)?$/.exec(range) ?? [];
    if (low === undefined || high === undefined)
      throw wrong(word, `"${range}" is not a number or a range such as 1-20, 01-20 or 0-10/2`);
    const [from, to, by] = [Number(low), Number(high), Number(step)];
    if (from > to) throw wrong(word, `the range ${range} runs backwards`);
    if (by === 0) throw wrong(word, `the range ${range} has a step of 0`);
    const padded = low.length > 1 && low[0] === '0';
    if ((padded || (high.length > 1 && high[0] === '0')) && low.length !== high.length)
      throw wrong(word, `the ends of ${range} have different lengths: write as many zeros at both`);
    if ((to - from) / by + numbers.length >= (options.maxSize ?? MAX_SIZE)) throw tooMany(options);
    for (let number = from; number <= to; number += by)
      numbers.push(padded ? String(number).padStart(low.length, '0') : String(number));
  }
  return numbers;
}

function wrong(text: string, what: string): UsageError {
  return new UsageError(`the set ${JSON.stringify(text.slice(0, 200))} is wrong: ${what}`);
}

function tooMany(options: NodeSetOptions): UsageError {
  return new UsageError(`a set of hosts may hold ${options.maxSize ?? MAX_SIZE} names at most (maxSize)`);
}
