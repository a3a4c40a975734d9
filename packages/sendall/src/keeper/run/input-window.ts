/**
 * How many bytes of stdin the keeper takes ahead of a command: a first window for each run, and more, from a share of all
 * runs, for a command that keeps up with a fast caller. Only a command that stops reading makes the keeper hold them.
 */
import type { CreditPool } from '../../protocol/flow.js';

/**
 * A window that is used up in fewer milliseconds is doubled while the command keeps up. On a link of this round-trip time
 * a caller that sends all it may uses up a window in just that time. Source: receive window tuning in QUIC stacks, which
 * compare with the round trip (RFC 9000, section 4.2, leaves it to them); the keeper does not know the caller's.
 */
const QUICK = 250;

export class InputWindow {
  readonly #first: number;
  readonly #largest: number;
  readonly #share: CreditPool;
  #size: number;
  /** Where the window began that is being used up, and when. */
  #from = 0;
  #since = performance.now();

  /** Sizes in bytes. */
  constructor(first: number, largest: number, share: CreditPool) {
    this.#first = this.#size = first;
    this.#largest = largest;
    this.#share = share;
  }

  get size(): number {
    return this.#size;
  }

  /** The command has taken all bytes below `written`, and no others wait for it. */
  keptUp(written: number): void {
    if (written - this.#from < this.#size) return;
    const now = performance.now();
    const quick = now - this.#since < QUICK;
    this.#from = written;
    this.#since = now;
    if (quick && this.#size * 2 <= this.#largest && this.#share.take(this.#size)) this.#size *= 2;
  }

  /** No more input will come: the share gets its bytes back. */
  release(): void {
    this.#share.give(this.#size - this.#first);
    this.#size = this.#first;
  }
}
