/** From times to heights: in proportion, but a wait much longer than all the rest becomes a break of fixed height. */

/** Height of a break. */
const BREAK = 92;
const MOST_BREAKS = 4;
/** A gap is broken that is so many times as long as all others together. */
const LONG = 4;
/** Gaps that stay in proportion. */
const LEAST_LEFT = 2;
/** Heights for each event, and of all of them together at least. */
const EACH = 34;
const LEAST = 120;
/** Pictures side by side have one scale if none takes so many times as long as another. */
const ALIKE = 4;

export interface Break {
  readonly fromMs: number;
  readonly toMs: number;
}

export interface TimeScale {
  readonly height: number;
  readonly breaks: readonly Break[];
  at(ms: number): number;
}

interface Gap {
  readonly from: number;
  readonly to: number;
}
const lengthOf = ({ from, to }: Gap): number => to - from;

/** The gaps between times, those that are broken, and the milliseconds of all others. */
function gapsOf(times: readonly number[]) {
  const sorted = [...new Set(times)].sort((a, b) => a - b);
  const gaps = sorted.slice(1).map((to, i): Gap => ({ from: sorted[i]!, to }));
  const broken = new Set<Gap>();
  let rest = gaps.reduce((sum, gap) => sum + lengthOf(gap), 0);
  for (const gap of gaps.toSorted((a, b) => lengthOf(b) - lengthOf(a)).slice(0, MOST_BREAKS)) {
    const others = gaps.length - broken.size - 1;
    if (others < LEAST_LEFT || lengthOf(gap) < LONG * (rest - lengthOf(gap))) break;
    broken.add(gap);
    rest -= lengthOf(gap);
  }
  return { first: sorted[0] ?? 0, gaps, broken, rest };
}

/** Pixels for a millisecond, for a picture on its own that is at most `most` high. */
function ownPerMs(times: readonly number[], rest: number, most: number): number {
  return rest > 0 ? Math.min(most, Math.max(LEAST, times.length * EACH)) / rest : 0;
}

/** One number of pixels for a millisecond in several pictures, if their times are comparable. */
export function commonPerMs(pictures: readonly (readonly number[])[], most: number): number | undefined {
  const rests = pictures.map((times) => gapsOf(times).rest);
  if (pictures.length < 2 || Math.max(...rests) > ALIKE * Math.min(...rests)) return undefined;
  return Math.min(...pictures.map((times, i) => ownPerMs(times, rests[i]!, most)));
}

/** Where a time before a break is. */
export type Place = (ms: number) => number;

/** @param more what a break that begins at `fromMs` needs besides its own height */
export function timeScale(
  times: readonly number[],
  most: number,
  perMs?: number,
  more: (fromMs: number, at: Place) => number = () => 0,
): TimeScale {
  const { first, gaps, broken, rest } = gapsOf(times);
  const pixels = perMs ?? ownPerMs(times, rest, most);
  const breaks: Break[] = [];
  const knots: { readonly ms: number; readonly y: number }[] = [{ ms: first, y: 0 }];
  const at = (ms: number): number => {
    const after = knots.findIndex((knot) => knot.ms >= ms);
    if (after === -1) return knots.at(-1)!.y;
    const [from, to] = [knots[Math.max(0, after - 1)]!, knots[after]!];
    return to.ms === from.ms ? to.y : from.y + ((ms - from.ms) / (to.ms - from.ms)) * (to.y - from.y);
  };
  for (const gap of gaps) {
    const { y } = knots.at(-1)!;
    if (broken.has(gap)) breaks.push({ fromMs: gap.from, toMs: gap.to });
    const height = broken.has(gap) ? BREAK + Math.max(0, more(gap.from, at)) : lengthOf(gap) * pixels;
    knots.push({ ms: gap.to, y: y + height });
  }
  return { height: knots.at(-1)!.y, breaks, at };
}
