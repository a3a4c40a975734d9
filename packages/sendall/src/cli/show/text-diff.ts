/** The lines in which two texts differ, as diff -u0 shows them. */

export interface Bounds {
  /** Milliseconds for one comparison. @default 2000 */
  readonly timeout?: number;
  /** Lines that are in both texts and had to be moved for one to become the other. @default 20000 */
  readonly maxEdits?: number;
}

const TIMEOUT = 2000;
const MAX_EDITS = 20_000;
const GIVEN_UP = 'too much is in another order to be compared: what follows is all that is not equal at both ends';

/** A line that both texts have, by its number in each. */
type Pair = readonly [left: number, right: number];

/**
 * `-` lines that only `left` has, `+` lines that only `right` has, and `@@ line N @@` of `left` before each place. Where
 * the bounds do not suffice it says so, and shows the lines between the equal ends without comparing them.
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

/** A longest common subsequence; undefined when the bounds do not suffice. */
async function commonLines(a: readonly string[], b: readonly string[], bounds: Bounds): Promise<Pair[] | undefined> {
  // A line that only one text has can be in no pair: most texts that differ much differ in such lines.
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
