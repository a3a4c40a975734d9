/** A parsed text as maps, lists and words, each with its line, whether it was YAML or JSON. */
import { UsageError } from '../errors.js';

/** A value: a word, a list or a map. JSON has no lines. */
export type Tree = { readonly line?: number | undefined } & (
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'list'; readonly items: readonly Tree[] }
  | { readonly kind: 'map'; readonly entries: readonly TreeEntry[] }
);

/** A key and its value. The line is the key's. */
export interface TreeEntry {
  readonly key: string;
  readonly line?: number | undefined;
  readonly value: Tree;
}

/** Where something is stated: a file with a line, or a program. */
export interface Place {
  readonly file: string;
  readonly line?: number | undefined;
}

/** Deepest nesting of a text. */
export const MAX_DEPTH = 100;

export const placeText = ({ file, line }: Place): string => (line === undefined ? file : `${file}, line ${line}`);

/** The error for a mistake in a text. */
export function mistake(at: Place, what: string, cause?: unknown): UsageError {
  return new UsageError(`${placeText(at)}: ${what}`, { cause });
}

/** What a value is, for messages. */
export function kindOf(tree: Tree): string {
  if (tree.kind === 'text') return tree.text === '' ? 'empty' : `the text ${JSON.stringify(tree.text.slice(0, 80))}`;
  return tree.kind === 'map' ? 'a map' : 'a list';
}

/** The entries of a map; none if it is left empty. */
export function entriesOf(tree: Tree, what: string, file: string): readonly TreeEntry[] {
  if (tree.kind === 'map') return tree.entries;
  if (tree.kind === 'text' && /^(?:|~|null)$/.test(tree.text)) return [];
  throw mistake({ file, line: tree.line }, `${what} is ${kindOf(tree)}, not a map`);
}

/** The text of a word. */
export function textOf(tree: Tree, what: string, file: string): string {
  if (tree.kind === 'text') return tree.text;
  throw mistake({ file, line: tree.line }, `${what} is ${kindOf(tree)}, not text: put it in quotes`);
}

/** A parsed JSON value as a tree. */
export function treeOfJson(value: unknown, file: string, depth = 0): Tree {
  if (depth > MAX_DEPTH) throw mistake({ file }, `it is nested more than ${MAX_DEPTH} levels deep`);
  if (Array.isArray(value)) return { kind: 'list', items: value.map((item) => treeOfJson(item, file, depth + 1)) };
  if (typeof value === 'string') return { kind: 'text', text: value };
  if (value === null) return { kind: 'text', text: '' };
  if (typeof value !== 'object') return { kind: 'text', text: JSON.stringify(value) };
  const entries = Object.entries(value).map(([key, item]) => ({ key, value: treeOfJson(item, file, depth + 1) }));
  return { kind: 'map', entries };
}
