/** Counts what a transfer does and reports each file, on either side. */
import type { FileEvent, LeftOut, Progress, TransferResult } from './events.js';

/** Called for each file; a promise that it returns is awaited before the next. */
export type OnFile = (event: FileEvent) => void | Promise<void>;

/** Bytes, and milliseconds in which they have to travel. On a slower link the processor does not count. */
const MUCH = 8 * 1024 * 1024;
const QUICK = 1000;

export class Tally {
  readonly progress: Progress = { settled: 0, entries: 0, expected: 0, bytes: 0, sent: 0, complete: false };
  readonly #leftOut: Record<string, number> = {};
  readonly #counts = { placed: 0, same: 0, failed: 0, skipped: 0, deleted: 0 };
  readonly #onFile: OnFile | undefined;
  #onMuch: (() => void) | undefined;
  #movingSince: number | undefined;
  #bytes = 0;

  constructor(onFile: OnFile | undefined, onMuch?: () => void) {
    this.#onFile = onFile;
    this.#onMuch = onMuch;
  }

  announced(size: number): void {
    this.progress.entries++;
    this.progress.expected += size;
  }

  /** Bytes of content that travelled. */
  moved(bytes: number): void {
    this.progress.sent += bytes;
    this.progress.bytes += bytes;
    if (!this.#onMuch) return;
    const now = performance.now();
    this.#movingSince ??= now;
    if (this.progress.sent < MUCH) return;
    if (now - this.#movingSince < QUICK) this.#onMuch();
    this.#onMuch = undefined;
  }

  /** To be awaited before more is done: a caller that is slow to take events holds the transfer. */
  pending: Promise<void> | undefined;

  report(event: FileEvent): void {
    this.#counts[event.state]++;
    if (event.state === 'placed' || event.state === 'same') this.#bytes += event.bytes;
    if (event.state !== 'skipped' && event.state !== 'deleted') this.progress.settled++;
    const { pending } = this;
    const call = (): void | Promise<void> => this.#onFile?.(event);
    const taken = pending ? pending.then(call) : call();
    if (!taken) return;
    const over = taken.then(() => {
      if (this.pending === over) this.pending = undefined;
    });
    // Its failure is seen by who awaits it.
    over.catch(() => {});
    this.pending = over;
  }

  leaveOut(what: string, count = 1): void {
    this.#leftOut[what] = (this.#leftOut[what] ?? 0) + count;
  }

  get leftOut(): [string, number][] {
    return Object.entries(this.#leftOut);
  }

  get failed(): number {
    return this.#counts.failed;
  }

  result(): TransferResult {
    return { ...this.#counts, bytes: this.#bytes, sent: this.progress.sent, leftOut: this.#leftOut as LeftOut };
  }
}
