/** Reads patterns for words: a text, or a map with `one-of`, `like`, `number` or `path`. */
import { kindOf, textOf, type Tree, type TreeEntry } from '../text/tree.js';
import { likeOf, wordOfText, type PathPattern, type Pattern, type Word } from './patterns.js';

/** Longest word of a policy, and most words in a list. */
const MAX_WORD = 4096;
const MAX_WORDS = 1000;
/** Most `*` in one pattern: each one may cost a walk over the word. */
const MAX_STARS = 8;

/** Something is wrong in one line of a policy. */
export class Mistake extends Error {
  readonly line: number;
  constructor(line: number | undefined, what: string) {
    super(what);
    this.line = line ?? 1;
  }
}

/** The text of a value that must not be empty. */
export function wordTextOf(value: Tree, what: string): string {
  if (value.kind !== 'text') throw new Mistake(value.line, `${what} is ${kindOf(value)}, not a word`);
  const text = textOf(value, what, '');
  if (text === '') throw new Mistake(value.line, `${what} is empty`);
  return text;
}

/** A word for a command: any text but one with a zero byte. */
function wordIn(value: Tree, what: string): Word {
  if (value.kind !== 'text') throw new Mistake(value.line, `${what} is ${kindOf(value)}, not a word`);
  const word = wordOfText(value.text);
  if (word.includes('\0')) throw new Mistake(value.line, `${what} holds a zero byte`);
  if (word.length > MAX_WORD) throw new Mistake(value.line, `${what} is longer than ${MAX_WORD} bytes`);
  return word;
}

export function listOf(value: Tree, what: string, most = MAX_WORDS): readonly Tree[] {
  if (value.kind !== 'list') throw new Mistake(value.line, `${what} is ${kindOf(value)}, not a list: write [a, b]`);
  if (value.items.length > most) throw new Mistake(value.line, `${what} has more than ${most} entries`);
  return value.items;
}

/** The entries of a map, each with one of these keys, and no two the same. */
export function mapOf(value: Tree, what: string, keys: readonly string[]): readonly TreeEntry[] {
  if (value.kind !== 'map') throw new Mistake(value.line, `${what} is ${kindOf(value)}, not a map`);
  const seen = new Set<string>();
  for (const { key, line } of value.entries) {
    if (!keys.includes(key))
      throw new Mistake(line, `${what} has no key ${JSON.stringify(key.slice(0, 80))}: it has ${keys.join(', ')}`);
    if (seen.has(key)) throw new Mistake(line, `${what} has the key "${key}" twice`);
    seen.add(key);
  }
  return value.entries;
}

/** Reads the pattern for one word. */
export function readPattern(value: Tree, what: string): Pattern {
  if (value.kind === 'text') return { kind: 'literal', word: wordIn(value, what) };
  const [entry, more] = mapOf(value, what, ['one-of', 'like', 'number', 'path']);
  if (!entry || more) throw new Mistake(value.line, `${what} has one of one-of, like, number and path`);
  switch (entry.key) {
    case 'one-of': {
      const words = listOf(entry.value, 'one-of').map((item) => wordIn(item, 'a word of one-of'));
      if (!words.length) throw new Mistake(entry.line, 'one-of has no word');
      return { kind: 'one-of', words: new Set(words) };
    }
    case 'like':
      return likeOf(wildcards(wordTextOf(entry.value, 'like'), entry));
    case 'number':
      return readNumbers(wordTextOf(entry.value, 'number'), entry);
    default:
      return readPath(wordTextOf(entry.value, 'path'), entry);
  }
}

/** A pattern of `*` and `?`. Signs that mean more in other tools are refused. */
function wildcards(text: string, { line, key }: Pick<TreeEntry, 'line' | 'key'>): Word {
  if (!/[*?]/.test(text) && key === 'like')
    throw new Mistake(line, `like "${text}" has no * and no ?: leave like out, and it is that word`);
  if (text.includes('**')) throw new Mistake(line, `${key} "${text}": ** can only be the last part of a path`);
  if (/[[\]{}\\]/.test(text)) throw new Mistake(line, `${key} "${text}": it knows * and ? only, not [ ] { } and \\`);
  if (text.split('*').length - 1 > MAX_STARS) throw new Mistake(line, `${key} has more than ${MAX_STARS} stars`);
  return wordIn({ kind: 'text', text, line }, key);
}

function readNumbers(text: string, { line }: TreeEntry): Pattern {
  const [, first, last] = /^(\d{1,16})\.\.(\d{1,16})$/.exec(text) ?? [];
  const [from, to] = [Number(first), Number(last)];
  if (first === undefined || !Number.isSafeInteger(to) || from > to)
    throw new Mistake(line, `number "${text}" is not a range such as 1..9`);
  return { kind: 'number', from, to };
}

/** A pattern for paths. */
export function readPath(text: string, entry: Pick<TreeEntry, 'line' | 'key'>): PathPattern {
  const deep = text.endsWith('/**');
  const parts = absolutePath(deep ? text.slice(0, -3) || '/' : text, 'path', entry.line);
  const names = parts === '/' ? [] : parts.slice(1).split('/');
  return { kind: 'path', parts: names.map((part) => wildcards(part, entry)), deep };
}

/** A path from / on that says one thing only. */
export function absolutePath(text: string, what: string, line: number | undefined): string {
  if (!text.startsWith('/')) throw new Mistake(line, `${what} "${text}" does not begin with /`);
  const parts = text.slice(1).split('/');
  if (text !== '/' && parts.some((part) => part === '' || part === '.' || part === '..'))
    throw new Mistake(line, `${what} "${text}" holds // or . or .., or ends with /`);
  if (text.includes('\0')) throw new Mistake(line, `${what} holds a zero byte`);
  if (text.length > MAX_WORD) throw new Mistake(line, `${what} is longer than ${MAX_WORD} bytes`);
  return text;
}
