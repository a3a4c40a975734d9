/** Names to the notation of node sets: what differs in numbers alone is written once. */

/** A name taken apart: its text with `%` for each number, and the numbers, zeros and all. */
interface Split {
  readonly pattern: string;
  readonly numbers: readonly string[];
}

/** Numbers of more digits are text: arithmetic on them would not be exact. */
const NUMBER = /(?<!\d)\d{1,15}(?!\d)/g;

function split(name: string): Split {
  // An address has numbers that do not count hosts.
  if (/^[a-z]+:/.test(name)) return { pattern: name, numbers: [] };
  const numbers: string[] = [];
  const pattern = name.replace(NUMBER, (digits) => {
    numbers.push(digits);
    return '\0';
  });
  return { pattern, numbers };
}

/** Shorter first, so that 9 stands before 10 and 3 before 01; then by digits. */
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

/** What patterns are ordered by. */
function key(pattern: string): string {
  return pattern.replaceAll('\0', '%');
}

/** The names by pattern, each pattern's numbers in order. */
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
  return pattern.replaceAll('\0', () => parts[at++]!);
}

/** The names in the order that their notation has. */
export function inOrder(names: Iterable<string>): string[] {
  return grouped(names).flatMap(([pattern, vectors]) => vectors.map((numbers) => join(pattern, numbers)));
}

/** The names as node set notation. */
export function fold(names: Iterable<string>): string {
  return grouped(names)
    .flatMap(([pattern, vectors]) => merge(vectors).map((axes) => join(pattern, axes.map(ranges))))
    .join(',');
}

/** Blocks of numbers, axis by axis: blocks that are equal but for one axis become one. The last axis goes first. */
function merge(vectors: readonly (readonly string[])[]): string[][][] {
  let blocks = vectors.map((numbers) => numbers.map((number) => [number]));
  for (let axis = (vectors[0]?.length ?? 0) - 1; axis >= 0; axis--) {
    const byRest = new Map<string, string[][]>();
    for (const block of blocks) {
      const rest = block.map((numbers, i) => (i === axis ? '' : numbers.join())).join(';');
      const same = byRest.get(rest);
      if (same) same[axis] = [...same[axis]!, ...block[axis]!];
      else byRest.set(rest, [...block]);
    }
    blocks = [...byRest.values()];
  }
  return blocks;
}

/** `1-3,10` in brackets, or the number alone. */
function ranges(numbers: readonly string[]): string {
  if (numbers.length === 1) return numbers[0]!;
  const parts: string[] = [];
  for (let i = 0; i < numbers.length;) {
    const first = numbers[i]!;
    let last = i;
    while (last + 1 < numbers.length && follows(numbers[last]!, numbers[last + 1]!)) last++;
    parts.push(last === i ? first : `${first}-${numbers[last]!}`);
    i = last + 1;
  }
  return `[${parts.join()}]`;
}

/** 9 is followed by 10 and 09 by 10, but 9 not by 010. */
function follows(number: string, next: string): boolean {
  return next === String(Number(number) + 1).padStart(number.length, '0');
}
