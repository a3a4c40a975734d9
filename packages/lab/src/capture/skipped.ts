/** What a capture has besides the connections that are shown: counted by name, so that nothing is left out in silence. */

/** Most different names; the rest counts as "others". */
const MOST_NAMES = 100;

export class Skipped {
  readonly #skipped = new Map<string, number>();
  readonly #noted = new Map<string, number>();

  /** One of these was left out. */
  count(name: string): void {
    increase(this.#skipped, name);
  }

  /** One of these was read, but a reader should know of it. */
  note(name: string): void {
    increase(this.#noted, name);
  }

  /** What was left out, by name. */
  get skipped(): ReadonlyMap<string, number> {
    return this.#skipped;
  }

  get noted(): ReadonlyMap<string, number> {
    return this.#noted;
  }
}

function increase(counts: Map<string, number>, name: string): void {
  const key = counts.has(name) || counts.size < MOST_NAMES ? name : 'others';
  counts.set(key, (counts.get(key) ?? 0) + 1);
}
