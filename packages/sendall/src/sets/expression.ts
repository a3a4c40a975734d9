/**
 * Evaluates node set expressions from left to right; all operators have the same precedence. A group counts as its own
 * expression in parentheses.
 */
import { UsageError } from '../errors.js';
import type { BracketWord } from './fold.js';
import { countOf, readRanges } from './ranges.js';

/** The limits of a set of host names, and the meaning of its words. */
export interface NodeSetOptions {
  /**
   * Most names in one set; an expression for more is refused.
   * @default 100_000
   */
  maxSize?: number;
  /**
   * Most levels of groups in groups.
   * @default 100
   */
  maxDepth?: number;
  /**
   * The names for a word (`@group`, `k=v`, `all`, `web*`), or an expression for them as a string; undefined: the word is
   * a name itself. Groups in brackets, `@rack[1-3]`, are looked up one by one.
   */
  lookUp?: (word: string) => Iterable<string> | undefined;
}

export type Operator = ',' | '!' | '&' | '^';
/** The names, or a single word that describes them all. */
export type Names = ReadonlySet<string> | BracketWord;

const MAX_SIZE = 100_000;
const MAX_DEPTH = 100;
/** Most characters of an expression in a message. */
const SHOWN = 200;
const ADDRESS = /^(?:tls|udp|unix|nats):/;
/** A word that needs a list of hosts. */
const GROUP = /^@|[=*?]/;

/**
 * Evaluates an expression.
 * @throws UsageError that shows the mistake and its place.
 */
export function evaluate(text: string, options: NodeSetOptions): Names {
  return new Reader(options).read(text);
}

/** @throws UsageError if a set has too many names. */
export function checkSize(size: number, options: NodeSetOptions): void {
  const most = options.maxSize ?? MAX_SIZE;
  if (size > most)
    throw new UsageError(`a set of hosts may hold ${most} names at most: name fewer, or raise the limit (maxSize)`);
}

/** Changes `left` in time proportional to `right`: an expression may have as many words as names. */
export function apply(operator: Operator, left: Set<string>, right: ReadonlySet<string>): Set<string> {
  if (operator === '&') return new Set([...right].filter((name) => left.has(name)));
  for (const name of right) {
    const taken = operator !== ',' && left.delete(name);
    if (!taken && operator !== '!') left.add(name);
  }
  return left;
}

/** All names of a word with brackets. */
export function expand({ texts, axes }: BracketWord): Set<string> {
  let names = new Set([texts[0]!]);
  for (const [i, axis] of axes.entries()) {
    const longer = new Set<string>();
    const text = texts[i + 1]!;
    for (const name of names) for (const number of axis) longer.add(name + number + text);
    names = longer;
  }
  return names;
}

const namesIn = (names: Names): ReadonlySet<string> => ('texts' in names ? expand(names) : names);

const ownNames = (names: Names): Set<string> => ('texts' in names ? expand(names) : new Set(names));

interface Token {
  readonly kind: 'word' | 'operator';
  readonly text: string;
  readonly at: number;
}

/** Evaluates an expression and its groups, each group once. */
class Reader {
  readonly #options: NodeSetOptions;
  /** The groups in evaluation, outermost first. */
  readonly #open: string[] = [];
  readonly #groups = new Map<string, ReadonlySet<string>>();

  constructor(options: NodeSetOptions) {
    this.#options = options;
  }

  read(text: string): Names {
    let result: Names | undefined;
    let mine: Set<string> | undefined;
    let operator: Operator = ',';
    let dangling: Token | undefined;
    for (const token of this.#tokens(text)) {
      if (token.kind === 'word') {
        const names = this.#namesOf(token, text);
        if (result) result = mine = apply(operator, mine ?? ownNames(result), namesIn(names));
        else result = names;
        if (mine) checkSize(mine.size, this.#options);
        operator = ',';
        dangling = undefined;
      } else {
        if (!result) throw this.#wrong(text, token.at, `a name is missing before "${token.text}"`);
        // "a,!b" is "a!b": only a comma may stand before another operator.
        if (dangling && !(dangling.text === ',' && token.text !== ','))
          throw this.#wrong(text, token.at, `a name is missing between "${dangling.text}" and "${token.text}"`);
        operator = token.text as Operator;
        dangling = token;
      }
    }
    if (dangling) throw this.#wrong(text, dangling.at, `a name is missing after "${dangling.text}"`);
    return result ?? new Set();
  }

  /** Words and operators. An address contains colons and brackets of its own, and ends at an operator. */
  *#tokens(text: string): Generator<Token> {
    const pattern = /\s+|([,!&^])|((?:tls|udp|unix|nats):[^\s,!&^]+|(?:\[[^\][]*\]|[^\s,!&^[\]])+)|(.)/gsuy;
    let isAfterWord = false;
    for (const { 1: operator, 2: word, 3: other, index: at } of text.matchAll(pattern)) {
      if (word?.startsWith('[') && isAfterWord)
        throw this.#wrong(text, at, 'a blank is before this "[": remove it or write a comma');
      if (operator || word) isAfterWord = word !== undefined;
      if (operator) yield { kind: 'operator', text: operator, at };
      else if (word) yield { kind: 'word', text: word, at };
      else if (other === ']') throw this.#wrong(text, at, 'this "]" closes no bracket: remove it');
      else if (other && /^\[[^\]]*\[/.test(text.slice(at)))
        throw this.#wrong(text, at, 'this bracket contains another "[": close it first');
      else if (other) throw this.#wrong(text, at, 'this "[" is not closed: write "]" after its numbers');
    }
  }

  #namesOf(token: Token, text: string): Names {
    const word = token.text;
    if (ADDRESS.test(word)) return new Set([word]);
    const isGroup = GROUP.test(word);
    if (isGroup && word.includes('[')) {
      const groups = expand(this.#bracketWord(token, text));
      const all = new Set<string>();
      for (const group of groups) {
        apply(',', all, this.#group(group, true)!);
        checkSize(all.size, this.#options);
      }
      return all;
    }
    const found = this.#group(word, isGroup);
    if (found) return found;
    if (/^[a-z]+:/.test(word)) return new Set([word]);
    return this.#bracketWord(token, text);
  }

  /** The names of a group or another word with names; undefined if the word is a name. */
  #group(word: string, isGroup: boolean): ReadonlySet<string> | undefined {
    const known = this.#groups.get(word);
    if (known) return known;
    const found = this.#options.lookUp?.(word);
    if (found === undefined && !isGroup) return undefined;
    if (found === undefined)
      throw new UsageError(`"${word}" names a group of hosts, but no list of hosts was given to look it up in`);
    const names = typeof found === 'string' ? this.#inside(word, found) : new Set(found);
    this.#groups.set(word, names);
    return names;
  }

  /** Evaluates the expression of a group. */
  #inside(group: string, text: string): ReadonlySet<string> {
    const first = this.#open.indexOf(group);
    if (first >= 0) {
      const way = [...this.#open.slice(first), group].join(' in ');
      throw new UsageError(`the group ${group} holds itself (${way}): remove it from one of them`);
    }
    const most = this.#options.maxDepth ?? MAX_DEPTH;
    if (this.#open.length >= most)
      throw new UsageError(`the group ${group} is nested more than ${most} levels deep (maxDepth)`);
    this.#open.push(group);
    const names = namesIn(this.read(text));
    this.#open.pop();
    return names;
  }

  #bracketWord({ text: word, at: start }: Token, text: string): BracketWord {
    if (!word.includes('[')) return { texts: [word], axes: [] };
    const texts: string[] = [];
    const axes: string[][] = [];
    let end = 0;
    let size = 1;
    for (const { 0: bracket, 1: numbers, index } of word.matchAll(/\[([^\]]*)\]/g)) {
      texts.push(word.slice(end, index));
      end = index + bracket.length;
      const axis = this.#numbersOf(numbers!, text, start + index + 1);
      axes.push(axis);
      size *= axis.length;
      checkSize(size, this.#options);
    }
    texts.push(word.slice(end));
    return { texts, axes };
  }

  /** `01-20,33` or `0-10/2` as numbers with their zeros. */
  #numbersOf(text: string, whole: string, start: number): string[] {
    const numbers: string[] = [];
    for (const range of readRanges(text, (what, at) => this.#wrong(whole, start + at, what))) {
      checkSize(numbers.length + countOf(range), this.#options);
      const { from, to, step, width } = range;
      for (let number = from; number <= to; number += step) numbers.push(String(number).padStart(width, '0'));
    }
    return numbers;
  }

  #wrong(text: string, at: number, what: string): UsageError {
    const from = text.length <= SHOWN ? 0 : Math.max(0, Math.min(at - SHOWN / 2, text.length - SHOWN));
    const part = text.slice(from, from + SHOWN);
    const shown = `${from > 0 ? '…' : ''}${part}${from + SHOWN < text.length ? '…' : ''}`;
    const group = this.#open.at(-1);
    const whose = group === undefined ? '' : ` of the group ${group}`;
    return new UsageError(`the set ${JSON.stringify(shown)}${whose} is wrong at character ${at + 1}: ${what}`);
  }
}
