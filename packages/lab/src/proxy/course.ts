/** The faults that the bytes of a proxy pass through at the moment, and the change to others. */
import type { DirectedFaults } from '../faults/index.js';

/** The current faults. Those who wait learn at once that others have taken over. */
export class Course {
  faults: DirectedFaults;
  /** Counts the changes. */
  version = 0;
  readonly #waiting = new Set<() => void>();
  #ended = false;

  constructor(faults: DirectedFaults) {
    this.faults = faults;
  }

  change(faults: DirectedFaults): void {
    this.faults = faults;
    this.version++;
    this.wake();
  }

  /** The proxy closes: ends all waits, also those to come. */
  end(): void {
    this.#ended = true;
    this.wake();
  }

  /** Ends all waits. */
  wake(): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const wake of waiting) wake();
  }

  /** Resolves after this many milliseconds, or at once when the faults of that version are replaced. */
  wait(ms: number, version: number): Promise<void> {
    if (this.#ended || version !== this.version) return Promise.resolve();
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.#waiting.delete(done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      this.#waiting.add(done);
    });
  }

  /** The result of a promise; undefined if the faults of that version are replaced before. */
  unlessChanged<T>(promise: Promise<T>, version: number): Promise<T | undefined> {
    if (version !== this.version) return Promise.resolve(undefined);
    return new Promise((resolve, reject) => {
      const changed = () => resolve(undefined);
      this.#waiting.add(changed);
      promise.then(
        (value) => {
          this.#waiting.delete(changed);
          resolve(value);
        },
        (error: unknown) => {
          this.#waiting.delete(changed);
          reject(error instanceof Error ? error : new Error(String(error)));
        },
      );
    });
  }
}

/** Pieces of one direction, given to one set of faults after the other. */
export class Turns {
  readonly #pieces: AsyncIterator<Buffer>;
  readonly #course: Course;
  #pending: Promise<IteratorResult<Buffer>> | undefined;
  /** The last turn ended because others take over. */
  changed = false;

  constructor(pieces: AsyncIterator<Buffer>, course: Course) {
    this.#pieces = pieces;
    this.#course = course;
  }

  /** The pieces until the source ends or the faults are replaced. */
  async *turn(version: number): AsyncGenerator<Buffer, void, void> {
    this.changed = false;
    for (;;) {
      this.#pending ??= this.#pieces.next();
      const next = await this.#course.unlessChanged(this.#pending, version);
      if (next === undefined && version === this.#course.version) continue; // woken without a change: the proxy closes
      if (next === undefined) {
        this.changed = true;
        return;
      }
      this.#pending = undefined;
      if (next.done) return;
      yield next.value;
    }
  }

  /** Nothing more is read. */
  stop(): void {
    void this.#pieces.return?.();
  }
}
