/** Waiting for the counts of a server. */
import type { Comparison } from '../server-interface.js';

/** A condition variable over the server's counts: wakes a waiting call when its test holds. */
export class Condition {
  #waiters: { test: () => boolean; resolve: () => void }[] = [];

  /** Resolves when the test holds, at once if it does already. */
  until(test: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      if (test()) resolve();
      else this.#waiters.push({ test, resolve });
    });
  }

  /** A count has changed. */
  changed(): void {
    if (this.#waiters.length === 0) return;
    const met = this.#waiters.filter((waiter) => waiter.test());
    if (met.length === 0) return;
    this.#waiters = this.#waiters.filter((waiter) => !met.includes(waiter));
    for (const { resolve } of met) resolve();
  }

  /** Other threads change the count without a message: polls while a call waits. */
  look(): void {
    const timer = setInterval(() => {
      this.changed();
      if (this.#waiters.length === 0) clearInterval(timer);
    }, 10);
  }
}

export const comparisons: Record<Comparison, (a: number, b: number) => boolean> = {
  '<': (a, b) => a < b,
  '<=': (a, b) => a <= b,
  '==': (a, b) => a === b,
  '>=': (a, b) => a >= b,
  '>': (a, b) => a > b,
};
