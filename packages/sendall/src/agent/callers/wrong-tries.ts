/** Counting failures by where they come from, so that guessing is slow and costs others nothing. */
export { sourceOf } from '@sendall/socketserver';

/** Names that are remembered; beyond that the one that failed longest ago is forgotten. */
const MAX_NAMES = 10_000;

/** Counts wrong tries by some name; after a number of them the name must pause. */
export class WrongTries {
  readonly #pauseMs: number;
  readonly #now: () => number;
  readonly #byName = new Map<string, { count: number; last: number; pausedUntil: number }>();

  /** `pauseMs`: how long a pause is. `now`: milliseconds since the epoch. */
  constructor(pauseMs: number, now: () => number) {
    this.#pauseMs = pauseMs;
    this.#now = now;
  }

  /** Milliseconds the name must wait. */
  pauseOf(name: string): number {
    return Math.max(0, (this.#byName.get(name)?.pausedUntil ?? 0) - this.#now());
  }

  /** Counts one; every `limit`-th starts a pause. Tries of more than ten pauses ago are forgiven. */
  count(name: string, limit: number): void {
    const now = this.#now();
    const known = this.#byName.get(name);
    const count = (known && now - known.last < 10 * this.#pauseMs ? known.count : 0) + 1;
    const pause = count >= limit;
    // The newest goes last, so the first is the one to forget.
    this.#byName.delete(name);
    this.#byName.set(name, { count: pause ? 0 : count, last: now, pausedUntil: pause ? now + this.#pauseMs : 0 });
    if (this.#byName.size > MAX_NAMES) {
      const [oldest] = this.#byName.keys();
      this.#byName.delete(oldest!);
    }
  }
}
