/**
 * Node-set words over the hosts that the page knows: `web[01-20]!web07`, `@group`, `role=db`, `web*`. It is evaluated
 * here, so that a filter of ten thousand hosts answers each key; what a group means is asked of the console once.
 */
import { evaluate, expand } from '../../dist/sets/expression.js';
import { matches } from '../../dist/sets/wildcard.js';
import { feed } from '../frame/feed.js';
import type { Value } from '../../dist/console/messages.js';

export type HostRow = Value<'hosts'>['hosts'][number];

/** What a filter selects. `problem`: it is not a set (yet); then nothing is left out. */
export interface Selection {
  readonly names: Pick<ReadonlySet<string>, 'has'> | undefined;
  readonly problem?: string;
}

/** Most suggestions at once. */
const MOST_SUGGESTED = 8;
const OPERATORS = /[,!&^\s]/;

export class HostIndex {
  readonly rows: readonly HostRow[];
  /** The `@` words of groups and tags. */
  readonly words: readonly string[];
  readonly #names: readonly string[];
  readonly #known: ReadonlySet<string>;
  #byTag: ReadonlyMap<string, readonly string[]> | undefined;
  readonly #groups = new Map<string, readonly string[] | undefined>();
  readonly #changed: () => void;

  /** `changed`: what a group means has come. */
  constructor(rows: readonly HostRow[], words: readonly string[], changed: () => void = () => {}) {
    this.rows = rows;
    this.words = words;
    this.#names = rows.map(({ name }) => name);
    this.#known = new Set(this.#names);
    this.#changed = changed;
  }

  has(name: string): boolean {
    return this.#known.has(name);
  }

  /** The hosts that the text selects. A word that names no host counts as a part of names, so that typing narrows. */
  select(text: string): Selection {
    const wanted = text.trim();
    if (wanted === '') return { names: undefined };
    try {
      const names = evaluate(wanted, { lookUp: this.#lookUp });
      return { names: 'texts' in names ? expand(names) : names };
    } catch (error) {
      return { names: undefined, problem: error instanceof Error ? error.message : String(error) };
    }
  }

  /** Words that could stand where the reader types, and the text with each of them. */
  suggest(text: string, caret = text.length): { word: string; text: string; caret: number }[] {
    let start = caret;
    while (start > 0 && !OPERATORS.test(text[start - 1]!)) start -= 1;
    const begun = text.slice(start, caret);
    if (begun === '' || begun.includes('[')) return [];
    const found: string[] = [];
    const all = begun.startsWith('@') ? this.words : begun.includes('=') ? [...this.#tags.keys()] : this.#names;
    for (const word of all) {
      if (word.startsWith(begun) && word !== begun) found.push(word);
      if (found.length === MOST_SUGGESTED) break;
    }
    return found.map((word) => ({
      word,
      text: text.slice(0, start) + word + text.slice(caret),
      caret: start + word.length,
    }));
  }

  readonly #lookUp = (word: string): Iterable<string> | undefined => {
    if (word === 'all' || word === '@*') return this.#names;
    if (word.startsWith('@')) return this.#group(word);
    if (word.includes('=')) return this.#tags.get(word) ?? [];
    if (/[*?]/.test(word)) return this.#names.filter((name) => matches(word, name));
    if (word.includes('[') || this.#known.has(word)) return undefined;
    return this.#names.filter((name) => name.includes(word));
  };

  /** What a group means. A tag of that name stands in for it until the console has answered. */
  #group(word: string): readonly string[] {
    const known = this.#groups.get(word);
    if (known) return known;
    const tagged = this.#tags.get(word) ?? [];
    if (!this.#groups.has(word) && this.words.includes(word)) {
      this.#groups.set(word, undefined);
      feed.ask('resolve', { targets: word }).then(
        ({ names }) => {
          this.#groups.set(word, names);
          this.#changed();
        },
        () => this.#groups.delete(word),
      );
    }
    return tagged;
  }

  get #tags(): ReadonlyMap<string, readonly string[]> {
    if (this.#byTag) return this.#byTag;
    const byTag = new Map<string, string[]>();
    for (const { name, tags } of this.rows)
      for (const [key, value] of Object.entries(tags))
        for (const word of [`@${key}`, `@${value}`, `${key}=${value}`]) {
          const names = byTag.get(word);
          if (names) names.push(name);
          else byTag.set(word, [name]);
        }
    this.#byTag = byTag;
    return byTag;
  }
}
