/**
 * When callers hear where stdin stands: once a tick when they may wait for room or for its end, a little later when it is
 * only a few bytes, so that a key's echo does not wait behind that.
 */
import type { InputWindow } from './input-window.js';
import type { Input } from './input.js';

/** Milliseconds after which callers hear that a few bytes have come. */
const PATIENCE = 20;

export class InputReports {
  readonly #input: Input;
  readonly #window: InputWindow;
  readonly #tell: () => void;
  #scheduled = false;
  #later: NodeJS.Timeout | undefined;
  /** Where stdin stood, taken and allowed, when callers were last told. */
  #next = 0;
  #limit = 0;

  constructor(input: Input, window: InputWindow, tell: () => void) {
    this.#input = input;
    this.#window = window;
    this.#tell = tell;
  }

  /** Bytes were accepted or written. */
  moved(): void {
    if (this.#scheduled) return;
    const { next, limit, final } = this.#input;
    const step = this.#window.size / 8;
    if (final === undefined && next - this.#next < step && limit - this.#limit < step) {
      this.#later ??= setTimeout(() => this.#report(), PATIENCE);
      return;
    }
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      this.#report();
    });
  }

  #report(): void {
    this.stop();
    this.#next = this.#input.next;
    this.#limit = this.#input.limit;
    this.#tell();
  }

  /** Drops a report that waits. */
  stop(): void {
    clearTimeout(this.#later);
    this.#later = undefined;
  }
}
