/**
 * What a rule says about one word of a command. A word is compared as bytes: here it is a string with one character for
 * each byte (latin1), which loses nothing and compares faster than a buffer.
 */
import { printable } from '../text/printable.js';

/** A word's bytes, one character each. */
export type Word = string;

/** An absolute path; `deep`: it lies anywhere below. `parts` are patterns as those of `like`. */
export interface PathPattern {
  readonly kind: 'path';
  readonly parts: readonly Word[];
  readonly deep: boolean;
}

export type Pattern =
  /** This word and no other. */
  | { readonly kind: 'literal'; readonly word: Word }
  | { readonly kind: 'one-of'; readonly words: ReadonlySet<Word> }
  /** `*` and `?` stand for harmless characters only. */
  | { readonly kind: 'like'; readonly pattern: Word; /** What stands before the first of them. */ readonly start: Word }
  /** A decimal number without sign and leading zeros. */
  | { readonly kind: 'number'; readonly from: number; readonly to: number }
  | PathPattern;

/** Longest word that a pattern with wildcards matches. Source: PATH_MAX. */
const MAX_MATCHED = 4096;

/** The word for some bytes. */
export const wordOf = (bytes: Uint8Array): Word =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
/** The word for a text of the policy: its bytes in UTF-8. */
export const wordOfText = (text: string): Word => Buffer.from(text, 'utf8').toString('latin1');
export const bytesOfWord = (word: Word): Buffer => Buffer.from(word, 'latin1');
/** A word as people read it, in quotes. */
export const quoted = (word: Word): string => `"${printable(bytesOfWord(word).toString(), 80)}"`;

export const likeOf = (pattern: Word): Pattern => ({ kind: 'like', pattern, start: pattern.split(/[*?]/, 1)[0]! });

/** What wildcards stand for, by byte: letters, digits and . _ @ : + = , - */
const harmless = new Uint8Array(256);
for (const char of 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._@:+=,-')
  harmless[char.charCodeAt(0)] = 1;

const STAR = 0x2a;
const ANY = 0x3f;

export function matches(pattern: Pattern, word: Word): boolean {
  switch (pattern.kind) {
    case 'literal':
      return word === pattern.word;
    case 'one-of':
      return pattern.words.has(word);
    case 'like':
      // A word that begins with a dash is an option for most programs.
      if (!word.startsWith(pattern.start) || word === '' || (word[0] === '-' && pattern.start === '')) return false;
      return isLike(pattern.pattern, word);
    case 'number':
      return /^(?:0|[1-9]\d{0,15})$/.test(word) && Number(word) >= pattern.from && Number(word) <= pattern.to;
    default:
      return isPath(pattern.parts, pattern.deep, word);
  }
}

/**
 * Whether `*` (any number) and `?` (one) of harmless characters make `pattern` the word. It goes back to the last `*`
 * only: an earlier one could take more only what the last one could take as well.
 */
function isLike(pattern: Word, word: Word): boolean {
  if (word.length > MAX_MATCHED) return false;
  let at = 0;
  let star = -1;
  let taken = 0;
  for (let i = 0; i < word.length;) {
    const wanted = at < pattern.length ? pattern.charCodeAt(at) : -1;
    const found = word.charCodeAt(i);
    if (wanted === STAR) {
      star = at++;
      taken = i;
    } else if (wanted === ANY ? harmless[found] === 1 : wanted === found) {
      at++;
      i++;
    } else {
      if (star < 0 || harmless[word.charCodeAt(taken)] !== 1) return false;
      at = star + 1;
      i = ++taken;
    }
  }
  while (at < pattern.length && pattern.charCodeAt(at) === STAR) at++;
  return at === pattern.length;
}

function isPath(parts: readonly Word[], deep: boolean, word: Word): boolean {
  if (word[0] !== '/' || word.length > MAX_MATCHED) return false;
  const found = word.slice(1).split('/');
  if (deep ? found.length <= parts.length : found.length !== parts.length) return false;
  return found.every((part, i) => {
    // An empty part is "//", or a slash at the end.
    if (part === '' || part === '.' || part === '..') return false;
    return isLike(i < parts.length ? parts[i]! : '*', part);
  });
}

/** What a pattern allows, to stand behind "is not". */
export function describe(pattern: Pattern): string {
  switch (pattern.kind) {
    case 'literal':
      return quoted(pattern.word);
    case 'one-of':
      return `one of ${[...pattern.words].map((word) => printable(bytesOfWord(word).toString(), 80)).join(', ')}`;
    case 'like':
      return `like ${printable(bytesOfWord(pattern.pattern).toString(), 80)}`;
    case 'number':
      return `a number from ${pattern.from} to ${pattern.to}`;
    default:
      return `a path ${printable(bytesOfWord(pathText(pattern)).toString(), 200)}`;
  }
}

/** The folder that all paths of a pattern lie below, as far as its names are certain. */
export function folderOf({ parts, deep }: PathPattern): Word {
  const open = parts.findIndex((part) => /[*?]/.test(part));
  return `/${parts.slice(0, open >= 0 ? open : deep ? parts.length : -1).join('/')}`;
}

export const pathText = ({ parts, deep }: { readonly parts: readonly Word[]; readonly deep: boolean }): Word =>
  `/${[...parts, ...(deep ? ['**'] : [])].join('/')}`;
