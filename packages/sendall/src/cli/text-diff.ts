/** The lines in which two texts differ, as diff -u0 shows them. */

/** Lines of one text times lines of the other above which they are called altogether different. */
const MOST_WORK = 4_000_000;

interface Edit {
  readonly kind: ' ' | '-' | '+';
  readonly text: string;
}

/** `-` lines that only `left` has, `+` lines that only `right` has, and `@@ line N @@` of `left` before each place. */
export function differences(left: string, right: string): string[] {
  const [a, b] = [left.split('\n'), right.split('\n')];
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start++;
  let end = 0;
  while (end < Math.min(a.length, b.length) - start && a.at(-1 - end) === b.at(-1 - end)) end++;
  const shown: string[] = [];
  let line = start;
  let inPlace = false;
  for (const { kind, text } of edits(a.slice(start, a.length - end), b.slice(start, b.length - end))) {
    if (kind !== ' ') {
      if (!inPlace) shown.push(`@@ line ${line + 1} @@`);
      shown.push(kind + text);
    }
    inPlace = kind !== ' ';
    if (kind !== '+') line++;
  }
  return shown;
}

/** Keeps a longest common subsequence. */
function edits(a: readonly string[], b: readonly string[]): Edit[] {
  const removed = (texts: readonly string[]) => texts.map((text): Edit => ({ kind: '-', text }));
  const added = (texts: readonly string[]) => texts.map((text): Edit => ({ kind: '+', text }));
  const width = b.length + 1;
  if ((a.length + 1) * width > MOST_WORK) return [...removed(a), ...added(b)];
  // common[i * width + j]: length of the longest common subsequence of a from i and b from j.
  const common = new Uint32Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i--)
    for (let j = b.length - 1; j >= 0; j--)
      common[i * width + j] =
        a[i] === b[j]
          ? common[(i + 1) * width + j + 1]! + 1
          : Math.max(common[(i + 1) * width + j]!, common[i * width + j + 1]!);
  const list: Edit[] = [];
  let [i, j] = [0, 0];
  while (i < a.length && j < b.length) {
    if (a[i] === b[j]) {
      list.push({ kind: ' ', text: a[i++]! });
      j++;
    } else if (common[(i + 1) * width + j]! >= common[i * width + j + 1]!) list.push({ kind: '-', text: a[i++]! });
    else list.push({ kind: '+', text: b[j++]! });
  }
  return [...list, ...removed(a.slice(i)), ...added(b.slice(j))];
}
