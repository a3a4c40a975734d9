/** Reads YAML with npm `yaml`, which is loaded with the first YAML text: it takes as long to load as all our own code. */
import { createRequire } from 'node:module';
import type { CST, Document, Node } from 'yaml';
import { MAX_DEPTH, mistake, type Tree, type TreeEntry } from './tree.js';

type Yaml = typeof import('yaml');

/**
 * The one document of a text; undefined if the text is empty. All plain words are text: `no`, `1` and `~` are not values
 * of other types. `plain`: anchors, aliases and tags are refused, so that all that counts stands where it is read.
 * @throws UsageError with file and line.
 */
export function readYaml(text: string, file: string, { plain = false } = {}): Tree | undefined {
  const yaml = createRequire(import.meta.url)('yaml') as Yaml;
  const lines = new yaml.LineCounter();
  const lineAt = (offset: number) => lines.linePos(offset).line;
  const tokens: CST.Token[] = [];
  for (const token of new yaml.Parser(lines.addNewLine).parse(text)) tokens.push(token);
  const deep = tooDeep(tokens);
  if (deep) throw mistake({ file, line: lineAt(deep.offset) }, `it is nested more than ${MAX_DEPTH} levels deep`);
  const composer = new yaml.Composer({ schema: 'failsafe', uniqueKeys: false, prettyErrors: false });
  const [document, second] = composer.compose(tokens);
  if (second) throw mistake({ file, line: lineAt(second.range[0]) }, 'a second document begins: a file holds one');
  if (!document) return undefined;
  const [error] = document.errors;
  if (error) {
    const quotes = error.code === 'BAD_SCALAR_START' ? ': put it in quotes' : '';
    const message = error.message.charAt(0).toLowerCase() + error.message.slice(1);
    throw mistake({ file, line: lineAt(error.pos[0]) }, `it is not YAML: ${message}${quotes}`, error);
  }
  if (!document.contents) return undefined;
  return new Trees(yaml, document as Document, { file, lineAt, plain, most: text.length }).tree(
    document.contents as Node,
    0,
  );
}

/** A token below too many others, found without recursion: the library recurses, and would end the process. */
function tooDeep(tokens: readonly CST.Token[]): CST.Token | undefined {
  const open: { token: CST.Token; depth: number }[] = tokens.map((token) => ({ token, depth: 0 }));
  for (let next = open.pop(); next; next = open.pop()) {
    const { token, depth } = next;
    if (depth > MAX_DEPTH) return token;
    if (token.type === 'document' && token.value) open.push({ token: token.value, depth });
    if (!('items' in token)) continue;
    for (const item of token.items)
      for (const part of [item.key, item.value]) if (part) open.push({ token: part, depth: depth + 1 });
  }
  return undefined;
}

/** The text of a word; the schema makes no other values. */
const wordOf = ({ value }: { readonly value: unknown }): string => (typeof value === 'string' ? value : '');

/** Turns the library's nodes into trees. */
class Trees {
  readonly #yaml: Yaml;
  readonly #document: Document;
  readonly #file: string;
  readonly #lineAt: (offset: number) => number;
  readonly #plain: boolean;
  /** How many more nodes there may be. Without aliases, a text has fewer nodes than characters. */
  #left: number;

  constructor(
    yaml: Yaml,
    document: Document,
    { file, lineAt, plain, most }: { file: string; lineAt: (offset: number) => number; plain: boolean; most: number },
  ) {
    this.#yaml = yaml;
    this.#document = document;
    this.#file = file;
    this.#lineAt = lineAt;
    this.#plain = plain;
    this.#left = 1000 + most;
  }

  tree(node: Node, depth: number, line = this.#lineOf(node)): Tree {
    const { isAlias, isMap, isScalar, isSeq } = this.#yaml;
    if (this.#plain) this.#mustBePlain(node, line);
    if (depth > MAX_DEPTH || --this.#left < 0) throw this.#wrong(line, 'its aliases (*name) make it too large');
    if (isScalar(node)) return { kind: 'text', text: wordOf(node), line };
    if (isSeq(node)) return { kind: 'list', items: node.items.map((item) => this.tree(item as Node, depth + 1)), line };
    if (isMap(node)) {
      const entries = node.items.map(({ key, value }): TreeEntry => {
        const at = this.#lineOf(key as Node);
        if (this.#plain) this.#mustBePlain(key as Node, at);
        if (!isScalar(key)) throw this.#wrong(at, 'a key is not text: put it in quotes');
        const empty: Tree = { kind: 'text', text: '', line: at };
        return { key: wordOf(key), line: at, value: value ? this.tree(value as Node, depth + 1) : empty };
      });
      return { kind: 'map', entries, line };
    }
    const meant = isAlias(node) ? node.resolve(this.#document) : undefined;
    if (!meant) throw this.#wrong(line, 'an alias (*name) stands for nothing');
    return this.tree(meant, depth + 1, line);
  }

  #mustBePlain(node: Node, line: number): void {
    if (this.#yaml.isAlias(node))
      throw this.#wrong(line, 'an alias (*name) has no place here: write out what it means');
    if (node.anchor !== undefined) throw this.#wrong(line, 'an anchor (&name) has no place here');
    if (node.tag !== undefined) throw this.#wrong(line, 'a tag (!name) has no place here');
  }

  #lineOf(node: Node | null): number {
    return this.#lineAt(node?.range?.[0] ?? 0);
  }

  #wrong(line: number, what: string) {
    return mistake({ file: this.#file, line }, what);
  }
}
