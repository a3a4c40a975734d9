/** How soon a worker that ended is replaced: at once, and more and more slowly in a crash loop. */

/** More unwanted ends than this within the window, in milliseconds, are a crash loop. */
const CRASH_LIMIT = 5;
const CRASH_WINDOW = 5_000;
const FIRST_PAUSE = 1_000;
const LONGEST_PAUSE = 30_000;

export class Respawn {
  #ends: number[] = [];
  readonly #timers = new Set<NodeJS.Timeout>();

  /** A worker ended that should not have: `replace` is called at once, or after a pause. */
  after(replace: () => void): void {
    const now = performance.now();
    this.#ends = this.#ends.filter((at) => now - at < CRASH_WINDOW);
    this.#ends.push(now);
    const over = this.#ends.length - CRASH_LIMIT;
    const pause = over <= 0 ? 0 : Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** Math.min(over - 1, 5));
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      replace();
    }, pause);
    this.#timers.add(timer);
  }

  /** What to say when a crash loop begins with this end; undefined for all others. */
  get loopBegins(): string | undefined {
    if (this.#ends.length !== CRASH_LIMIT + 1) return undefined;
    return `${this.#ends.length} workers ended within ${CRASH_WINDOW / 1000} s`;
  }

  stop(): void {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
  }
}
