/** Finds the heaviest of many: a set for each weight, since weights are small whole numbers. */

/** What lies on a scale; only the scale sets its weight. */
export interface Weighed {
  weight: number;
}

export class Scale<T extends Weighed> {
  /** By weight; in each the first that came to weigh so much goes first. */
  readonly #sets: (Set<T> | undefined)[] = [];
  /** The highest weight that there may be. */
  #top = 0;

  /** Puts it on the scale, or weighs it again; 0 takes it away. */
  put(item: T, weight: number): void {
    if (weight === item.weight) return;
    this.#sets[item.weight]?.delete(item);
    item.weight = weight;
    if (weight === 0) return;
    (this.#sets[weight] ??= new Set()).add(item);
    this.#top = Math.max(this.#top, weight);
  }

  /** The heaviest. `weigh`: its weight now, which may be less than when it was put here. */
  heaviest(weigh: (item: T) => number): T | undefined {
    for (; this.#top > 0; this.#top--) {
      for (const item of this.#sets[this.#top] ?? []) {
        const weight = weigh(item);
        if (weight === this.#top) return item;
        this.put(item, weight);
      }
    }
    return undefined;
  }
}
