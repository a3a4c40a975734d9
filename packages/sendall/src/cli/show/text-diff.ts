/** The lines that differ between two texts, in the format of diff -u0. */

export interface Bounds {
  /** Milliseconds for one comparison. @default 2000 */
  readonly timeout?: number;
  /** Common lines that would have to move to turn one text into the other. @default 20000 */
  readonly maxEdits?: number;
}

const TIMEOUT = 2000;
const MAX_EDITS = 20_000;
const GIVEN_UP = 'the lines are in too different an order to compare: all lines between the equal ends follow';

/** A line common to both texts, by its number in each. */
type Pair = readonly [left: number, right: number];

/**
 * `-` marks lines only in `left`, `+` lines only in `right`, and `@@ line N @@` their place in `left`. If the bounds
 * are exceeded it says so, and shows the lines between the equal ends without comparing them.
 */
export async function differences(left: string, right: string, bounds: Bounds = {}): Promise<string[]> {
  const [a, b] = [left.split('\n'), right.split('\n')];
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start++;
  let end = 0;
  while (end < Math.min(a.length, b.length) - start && a.at(-1 - end) === b.at(-1 - end)) end++;
  const [middleA, middleB] = [a.slice(start, a.length - end), b.slice(start, b.length - end)];
  const pairs = await commonLines(middleA, middleB, bounds);
  const shown = pairs ? [] : [`@@ ${GIVEN_UP} @@`];
  let [i, j] = [0, 0];
  for (const [nextI, nextJ] of [...(pairs ?? []), [middleA.length, middleB.length] as const]) {
    if (i < nextI || j < nextJ) shown.push(`@@ line ${start + i + 1} @@`);
    for (; i < nextI; i++) shown.push(`-${middleA[i]}`);
    for (; j < nextJ; j++) shown.push(`+${middleB[j]}`);
    i = nextI + 1;
    j = nextJ + 1;
  }
  return shown;
}

/** A longest common subsequence; undefined when it would exceed the bounds. */
async function commonLines(a: readonly string[], b: readonly string[], bounds: Bounds): Promise<Pair[] | undefined> {
  // Lines in only one of the texts cannot be part of a pair, and most differences are such lines.
  const [inA, inB] = [new Set(a), new Set(b)];
  const [left, right] = [numbersOf(a, inB), numbersOf(b, inA)];
  if (!left.length) return [];
  const { diffArrays } = await import('diff');
  const linesOf = (lines: readonly string[], numbers: readonly number[]) => numbers.map((i) => lines[i]!);
  const changes = diffArrays(linesOf(a, left), linesOf(b, right), {
    timeout: bounds.timeout ?? TIMEOUT,
    maxEditLength: bounds.maxEdits ?? MAX_EDITS,
  });
  if (!changes) return undefined;
  const pairs: Pair[] = [];
  let [i, j] = [0, 0];
  for (const { added, removed, count } of changes) {
    if (!added && !removed) for (let k = 0; k < count; k++) pairs.push([left[i + k]!, right[j + k]!]);
    if (!added) i += count;
    if (!removed) j += count;
  }
  return pairs;
}

/** The numbers of the lines that the other text has too. */
function numbersOf(lines: readonly string[], others: ReadonlySet<string>): number[] {
  return lines.flatMap((line, i) => (others.has(line) ? [i] : []));
}
