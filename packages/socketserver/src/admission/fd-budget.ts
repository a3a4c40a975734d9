/** How many file descriptors the process may still open. */
import { readdirSync, readFileSync } from 'node:fs';

/** How stale the count of open descriptors may be, in milliseconds. */
const COUNT_EVERY = 250;

/**
 * The file descriptors this process may still open.
 *
 * When they run out, libuv accepts with one it keeps back and closes at once, silently. So the server looks beforehand:
 * when only the reserve is left it takes no more clients, and says so.
 */
export class FdBudget {
  #reserve: number;
  readonly #limit: number;
  #open = 0;
  #ours = 0;
  #countedAt = -Infinity;
  #saidAt = -Infinity;

  constructor(reserve: number) {
    this.#reserve = reserve;
    this.#limit = softLimit();
  }

  set reserve(reserve: number) {
    this.#reserve = reserve;
  }

  /** At most a quarter of the limit: a reserve above it would leave nothing to serve with. */
  get reserve(): number {
    return Math.min(this.#reserve, Math.floor(this.#limit / 4));
  }

  /** Whether one more connection may be kept, where the server holds `ours` already. */
  allows(ours: number): boolean {
    if (this.#limit === Infinity) return true;
    // Far from the limit nothing needs to be counted: assume that others hold no more than we and a few hundred.
    if (ours * 2 + 512 < this.#limit) return true;
    const now = performance.now();
    if (now - this.#countedAt > COUNT_EVERY) {
      this.#countedAt = now;
      this.#open = openDescriptors();
      this.#ours = ours;
    }
    return this.#open + (ours - this.#ours) < this.#limit - this.reserve;
  }

  /** True when it should be said that descriptors ran out: once a second. */
  exhausted(): boolean {
    const now = performance.now();
    if (now - this.#saidAt < 1_000) return false;
    this.#saidAt = now;
    return true;
  }

  state(): { open: number; limit: number; reserve: number } {
    return { open: this.#open, limit: this.#limit, reserve: this.reserve };
  }
}

/** The soft limit of open files (getrlimit), from Linux' /proc; without it there is no budget to watch. */
function softLimit(): number {
  try {
    const line = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'latin1'));
    return line === null ? Infinity : Number(line[1]);
  } catch {
    return Infinity;
  }
}

function openDescriptors(): number {
  try {
    return readdirSync('/proc/self/fd').length;
  } catch {
    return 0;
  }
}
