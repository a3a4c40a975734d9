/** Folds names into node set notation: names that differ only in numbers are written once. */
import { MOST_DIGITS, ranges, spans } from './ranges.js';

/** Marks the place of a number in a pattern. */
const GAP = '\0';
const [ZERO, NINE] = [0x30, 0x39];

/** Splits a name into its text, with a gap for each number, and the numbers with their zeros. */
function split(name: string): { pattern: string; numbers: readonly string[] } {
  // The numbers in an address do not count hosts.
  if (name.includes(':') && /^[a-z]+:/.test(name)) return { pattern: name, numbers: [] };
  const numbers: string[] = [];
  let pattern = '';
  let text = 0;
  for (let i = 0; i < name.length; i++) {
    if (!isDigit(name.charCodeAt(i))) continue;
    const first = i;
    while (isDigit(name.charCodeAt(i + 1))) i++;
    if (i - first >= MOST_DIGITS) continue;
    numbers.push(name.slice(first, i + 1));
    pattern += name.slice(text, first) + GAP;
    text = i + 1;
  }
  return { pattern: pattern + name.slice(text), numbers };
}

const isDigit = (code: number): boolean => code >= ZERO && code <= NINE;

/** Compares length first, so that 9 sorts before 10 and 3 before 01; then digits. */
function compareNumbers(a: string, b: string): number {
  return a.length - b.length || (a < b ? -1 : a > b ? 1 : 0);
}

function compareLists(a: readonly string[], b: readonly string[]): number {
  for (let i = 0; i < a.length; i++) {
    const order = compareNumbers(a[i]!, b[i]!);
    if (order) return order;
  }
  return 0;
}

/** The sort key of a pattern. */
function key(pattern: string): string {
  return pattern.replaceAll(GAP, '%');
}

/** Groups the names by pattern, and sorts each pattern's numbers. */
function grouped(names: Iterable<string>): [pattern: string, vectors: (readonly string[])[]][] {
  const groups = new Map<string, (readonly string[])[]>();
  for (const name of names) {
    const { pattern, numbers } = split(name);
    const group = groups.get(pattern);
    if (group) group.push(numbers);
    else groups.set(pattern, [numbers]);
  }
  return [...groups]
    .map(([pattern, vectors]): [string, (readonly string[])[]] => [pattern, vectors.sort(compareLists)])
    .sort(([a], [b]) => (key(a) < key(b) ? -1 : 1));
}

function join(pattern: string, parts: readonly string[]): string {
  let at = 0;
  return pattern.replaceAll(GAP, () => parts[at++]!);
}

/** The names in the order of their notation. */
export function inOrder(names: Iterable<string>): string[] {
  return grouped(names).flatMap(([pattern, vectors]) => vectors.map((numbers) => join(pattern, numbers)));
}

/** The names in node set notation. */
export function fold(names: Iterable<string>): string {
  return grouped(names)
    .flatMap(([pattern, vectors]) => merge(vectors).map((axes) => join(pattern, axes.map(ranges))))
    .join(',');
}

/**
 * A word such as `rack[1-4]n[1-8]`: the numbers of each bracket, and the texts before, between and after the brackets.
 */
export interface BracketWord {
  /** One more than the number of axes. */
  readonly texts: readonly string[];
  readonly axes: readonly (readonly string[])[];
}

/** Writes the names as words whose numbers have no gaps, in order: `web[1-3]` and `web[8-9]`. */
export function contiguous(names: Iterable<string>): BracketWord[] {
  return grouped(names).flatMap(([pattern, vectors]) =>
    merge(vectors).flatMap((block) => {
      let words: string[][][] = [[]];
      for (const axis of block.map(spans)) words = words.flatMap((axes) => axis.map((span) => [...axes, span]));
      return words.map((axes) => ({ texts: pattern.split(GAP), axes }));
    }),
  );
}

/** Equals `fold` of all names of a sorted word, without making them. */
export function foldWord({ texts, axes }: BracketWord): string {
  return texts.map((text, i) => text + (axes[i] ? ranges(axes[i]) : '')).join('');
}

/**
 * The same word with sorted numbers, so that its names are in order. Undefined if a number is partly text, as in
 * `n1[0-9]`.
 */
export function sortWord({ texts, axes }: BracketWord): BracketWord | undefined {
  const isPartly = axes.some((_, i) => {
    const [before, behind] = [texts[i]!, texts[i + 1]!];
    if (i > 0 && before === '') return true;
    return isDigit(before.charCodeAt(before.length - 1)) || isDigit(behind.charCodeAt(0));
  });
  if (isPartly) return undefined;
  return { texts, axes: axes.map((axis) => [...new Set(axis)].sort(compareNumbers)) };
}

/** Merges numbers into blocks, axis by axis, starting with the last: blocks that differ on one axis only become one. */
function merge(vectors: readonly (readonly string[])[]): string[][][] {
  const axes = vectors[0]!.length;
  let blocks = alongLastAxis(vectors);
  for (let axis = axes - 2; axis >= 0; axis--) {
    const byRest = new Map<string, string[][]>();
    for (const block of blocks) {
      const rest = block.map((numbers, i) => (i === axis ? '' : numbers.join())).join(';');
      const same = byRest.get(rest);
      if (same) for (const number of block[axis]!) same[axis]!.push(number);
      else byRest.set(rest, block);
    }
    blocks = [...byRest.values()];
  }
  return blocks;
}

/** Merges vectors that differ in the last number only: they are sorted, so they are adjacent. */
function alongLastAxis(vectors: readonly (readonly string[])[]): string[][][] {
  const last = vectors[0]!.length - 1;
  const blocks: string[][][] = [];
  for (const numbers of vectors) {
    const before = blocks.at(-1);
    // On each other axis a block has a single number.
    const isSame = before && numbers.every((number, axis) => axis === last || number === before[axis]![0]);
    if (isSame && last >= 0) before[last]!.push(numbers[last]!);
    else blocks.push(numbers.map((number) => [number]));
  }
  return blocks;
}
