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
import { apply, checkSize, evaluate, expand, type NodeSetOptions, type Operator } from './expression.js';
import { contiguous, fold, foldWord, inOrder, sortWord, type BracketWord } from './fold.js';
import { readRanges } from './ranges.js';

export type { NodeSetOptions } from './expression.js';

type Like = NodeSet | string | Iterable<string>;

const OPTION_NAMES: Record<keyof NodeSetOptions, true> = { maxSize: true, maxDepth: true, lookUp: true };

/** A set of host names, written and read as `web[01-20]`. */
export class NodeSet implements Iterable<string> {
  readonly #options: NodeSetOptions;
  /** A set made from one word prints that word without making its names. */
  readonly #word: BracketWord | undefined;
  /** Whether the names of the word are in order. */
  readonly #isSorted: boolean;
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
    const sorted = 'texts' in read ? sortWord(read) : undefined;
    this.#isSorted = sorted !== undefined;
    if ('texts' in read) this.#word = sorted ?? read;
    else this.#set = read;
    if (this.#set) checkSize(this.#set.size, options);
  }

  get #names(): ReadonlySet<string> {
    return (this.#set ??= expand(this.#word!));
  }

  get #inOrder(): readonly string[] {
    return (this.#ordered ??= this.#isSorted ? [...this.#names] : inOrder(this.#names));
  }

  get size(): number {
    return this.#names.size;
  }

  has(name: string): boolean {
    return this.#names.has(name);
  }

  /** The names, ordered by text and then by number: web2 before web10. */
  [Symbol.iterator](): Iterator<string> {
    return this.#inOrder[Symbol.iterator]();
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

  /** Splits it into at most `parts` non-empty sets, in order, whose sizes differ by at most one, the larger first. */
  split(parts: number): NodeSet[] {
    if (!Number.isInteger(parts) || parts < 1)
      throw new UsageError(`a set is split into 1 or more parts, not ${parts}`);
    const names = this.#inOrder;
    const count = Math.min(parts, names.length);
    const [least, larger] = [Math.floor(names.length / count), names.length % count];
    const start = (i: number) => i * least + Math.min(i, larger);
    return Array.from({ length: count }, (_, i) => this.#of(names.slice(start(i), start(i + 1))));
  }

  /** Splits it into sets, in order, whose numbers have no gaps: `web[1-3]` and `web[8-9]`. */
  contiguous(): NodeSet[] {
    return contiguous(this.#names).map((word) => this.#of(expand(word)));
  }

  /**
   * Selects names by their places in the order, counted from 0: `0`, `1-9/2,16`. Places after the end are ignored.
   * @throws UsageError for wrong places.
   */
  slice(places: string): NodeSet {
    const wrong = (what: string, at: number) =>
      new UsageError(`the places ${JSON.stringify(places.slice(0, 200))} are wrong at character ${at + 1}: ${what}`);
    const names = this.#inOrder;
    const taken = new Set<string>();
    for (const { from, to, step } of readRanges(places, wrong))
      for (let i = from; i <= to && i < names.length; i += step) taken.add(names[i]!);
    return this.#of(taken);
  }

  /** The shortest notation we know: `web[1-3,10],web[01-02]`. */
  toString(): string {
    return this.#word && this.#isSorted ? foldWord(this.#word) : fold(this.#names);
  }

  #combine(operator: Operator, other: Like): NodeSet {
    const set = other instanceof NodeSet ? other : new NodeSet(other, this.#options);
    return this.#of(apply(operator, new Set(this.#names), set.#names));
  }

  #of(names: Iterable<string>): NodeSet {
    return new NodeSet(names, this.#options);
  }
}
