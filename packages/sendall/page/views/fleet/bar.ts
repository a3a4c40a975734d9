/** The widths of a bar's parts: in proportion to their counts, but no part that is there is too narrow to be seen. */

/** The smallest share of the bar, in hundredths. */
const NARROWEST = 1.5;

/** Hundredths of the bar for each count; together 100, or 0 for a bar of nothing. */
export function partWidths(counts: readonly number[]): number[] {
  const total = counts.reduce((sum, count) => sum + count, 0);
  if (total === 0) return counts.map(() => 0);
  const exact = counts.map((count) => (100 * count) / total);
  const isNarrow = (share: number) => share > 0 && share < NARROWEST;
  const narrow = exact.filter(isNarrow).length;
  // What the narrow parts get beyond their share, the others give in proportion.
  const wide = exact.filter((share) => !isNarrow(share)).reduce((sum, share) => sum + share, 0);
  const shrink = (100 - narrow * NARROWEST) / wide;
  return exact.map((share) => (isNarrow(share) ? NARROWEST : share * shrink));
}
