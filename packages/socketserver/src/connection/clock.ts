/** A wait that the clock has not looked at yet: its first look is where the wait begins. */
export const UNSEEN = -1;

/** How long something has waited at this look, where the last one left it at `waited`. */
export function waitedOn(waited: number, elapsed: number): number {
  return waited === UNSEEN ? 0 : waited + elapsed;
}

/** Something whose deadlines the clock looks at. `elapsed` is the time since the last look, in milliseconds. */
export interface Timed {
  tick(elapsed: number): void;
}

/**
 * One coarse timer for all the deadlines of a server.
 *
 * A timer per connection costs memory and a list operation for every chunk. Here a connection only counts how long
 * it has waited and sets that count to `UNSEEN` when something happens; the clock comes by a few times a second. A
 * deadline is never early: a wait counts from the first look at it, so it is late by up to two intervals. Time in which
 * the loop stood still is not a client's silence: the clock looks after the loop has read what had arrived, and however
 * long the last look is ago, it counts for two intervals at most. So a client whose turn it was behind that has its time.
 */
export class Clock {
  #timer: NodeJS.Timeout | undefined;
  #last = 0;
  #interval: number;
  readonly #timed = new Set<Timed>();

  constructor(shortest: number) {
    this.#interval = intervalFor(shortest);
  }

  /** Milliseconds between two looks. */
  get interval(): number {
    return this.#interval;
  }

  add(timed: Timed): void {
    this.#timed.add(timed);
    if (this.#timer === undefined) this.#start();
  }

  delete(timed: Timed): void {
    this.#timed.delete(timed);
    if (this.#timed.size === 0) this.#stop();
  }

  /** Makes the clock look often enough for a deadline of `timeout` milliseconds. */
  sharpen(timeout: number): void {
    if (timeout <= 0 || intervalFor(timeout) >= this.#interval) return;
    this.#interval = intervalFor(timeout);
    if (this.#timer === undefined) return;
    this.#stop();
    this.#start();
  }

  #start(): void {
    this.#last = performance.now();
    this.#timer = setInterval(this.#lookSoon, this.#interval).unref();
  }

  #stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** Behind the loop's reading, which comes between its timers and its immediates. */
  readonly #lookSoon = (): void => void setImmediate(() => this.#look());

  #look(): void {
    if (this.#timer === undefined) return;
    const now = performance.now();
    const elapsed = Math.min(now - this.#last, 2 * this.#interval);
    this.#last = now;
    for (const timed of this.#timed) timed.tick(elapsed);
  }
}

/** An eighth of the shortest deadline, between 5 and 250 ms. */
function intervalFor(shortest: number): number {
  return Math.min(250, Math.max(5, Math.floor(shortest / 8)));
}
