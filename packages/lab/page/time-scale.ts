/** From times to heights: in proportion, but a wait much longer than all the rest becomes a break of fixed height. */

/** Height of a break. */
const BREAK = 60;
const MOST_BREAKS = 4;
/** A gap is broken that is so many times as long as all others together. */
const LONG = 4;
/** Heights for each event, and of all of them together. */
const EACH = 34;
const LEAST = 120;
const MOST = 900;

export interface Break {
  readonly fromMs: number;
  readonly toMs: number;
  readonly top: number;
  readonly bottom: number;
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

export function timeScale(times: readonly number[]): TimeScale {
  const sorted = [...new Set(times)].sort((a, b) => a - b);
  const gaps = sorted.slice(1).map((to, i): Gap => ({ from: sorted[i]!, to }));
  const broken = new Set<Gap>();
  let rest = gaps.reduce((sum, gap) => sum + lengthOf(gap), 0);
  for (const gap of gaps.toSorted((a, b) => lengthOf(b) - lengthOf(a)).slice(0, MOST_BREAKS)) {
    if (gaps.length < 2 || lengthOf(gap) < LONG * (rest - lengthOf(gap))) break;
    broken.add(gap);
    rest -= lengthOf(gap);
  }
  const height = Math.min(MOST, Math.max(LEAST, times.length * EACH));
  const perMs = rest > 0 ? height / rest : 0;
  const breaks: Break[] = [];
  const knots: { readonly ms: number; readonly y: number }[] = [{ ms: sorted[0] ?? 0, y: 0 }];
  for (const gap of gaps) {
    const { y } = knots.at(-1)!;
    const bottom = y + (broken.has(gap) ? BREAK : lengthOf(gap) * perMs);
    if (broken.has(gap)) breaks.push({ fromMs: gap.from, toMs: gap.to, top: y, bottom });
    knots.push({ ms: gap.to, y: bottom });
  }
  return {
    height: knots.at(-1)!.y,
    breaks,
    at(ms) {
      const after = knots.findIndex((knot) => knot.ms >= ms);
      if (after === -1) return knots.at(-1)!.y;
      const [from, to] = [knots[Math.max(0, after - 1)]!, knots[after]!];
      return to.ms === from.ms ? to.y : from.y + ((ms - from.ms) / (to.ms - from.ms)) * (to.y - from.y);
    },
  };
}
