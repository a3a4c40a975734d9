/** Failures by source: a bounded table in which all is forgotten after a while. */

/** Failures that count at most, and how long (in milliseconds) they do. */
const MOST_FAILURES = 1_000;
const FORGIVEN_AFTER = 60_000;

export class Failures {
  readonly #bySource = new Map<string, { count: number; last: number }>();
  readonly #most: () => number;

  /** `most`: how many sources are remembered. */
  constructor(most: () => number) {
    this.#most = most;
  }

  /** How many count against this source now. */
  of(source: string): number {
    const known = this.#bySource.get(source);
    if (known === undefined) return 0;
    if (performance.now() - known.last < FORGIVEN_AFTER) return known.count;
    this.#bySource.delete(source);
    return 0;
  }

  add(source: string): void {
    const count = Math.min(this.of(source) + 1, MOST_FAILURES);
    // The latest goes last, so the first is the one to forget.
    this.#bySource.delete(source);
    this.#bySource.set(source, { count, last: performance.now() });
    for (const oldest of this.#bySource.keys()) {
      if (this.#bySource.size <= this.#most()) return;
      this.#bySource.delete(oldest);
    }
  }
}
