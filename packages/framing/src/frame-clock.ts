/** The timer behind the option `frameTimeout`. */
import { setImmediate, setTimeout } from 'node:timers';

/**
 * Measures how long a frame takes from its first byte to its last. One timer serves all frames: when it fires it looks
 * how much time the current frame has left, behind the loop's reading: what came while the loop stood still came in time.
 */
export class FrameClock {
  readonly #ms: number;
  readonly #expired: () => void;
  #timer: NodeJS.Timeout | undefined;
  /** Which frame it runs for (-1: none), since when, and how long it had run when it was paused. */
  #frame = -1;
  #since = 0;
  #spent = 0;
  #paused = false;

  constructor(ms: number, expired: () => void) {
    this.#ms = ms;
    this.#expired = expired;
  }

  /** Says which frame is in progress, -1 for none. */
  watch(frame: number): void {
    if (frame === this.#frame) return;
    this.#frame = frame;
    this.#spent = 0;
    if (frame === -1 || this.#paused) return;
    this.#since = performance.now();
    if (this.#timer === undefined) this.#start(this.#ms);
  }

  pause(): void {
    if (this.#paused) return;
    this.#paused = true;
    if (this.#frame !== -1) this.#spent = performance.now() - this.#since;
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    if (this.#frame === -1) return;
    this.#since = performance.now() - this.#spent;
    if (this.#timer === undefined) this.#start(this.#ms - this.#spent);
  }

  #start(ms: number): void {
    this.#timer = setTimeout(() => void setImmediate(this.#look), Math.max(1, Math.ceil(ms))).unref();
  }

  readonly #look = (): void => {
    this.#timer = undefined;
    if (this.#frame === -1 || this.#paused) return;
    const left = this.#ms - (performance.now() - this.#since);
    if (left > 0) this.#start(left);
    else this.#expired();
  };
}
