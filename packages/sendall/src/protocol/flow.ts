/** Where an attachment begins: the one rule that caller and agent both follow. */
import type { From, StreamState } from './messages.js';

/** The first offset that `wanted` asks for on a stream in this state. */
export function startOffset(wanted: From | undefined, { first, next, final }: StreamState): number {
  if (wanted?.tail !== undefined) return Math.max(first, next - wanted.tail);
  // Nothing lies behind the end of a stream that has ended.
  return Math.min(wanted?.offset ?? 0, final ?? Infinity);
}

/** The first credit: an absolute offset, but for a tail, whose offset the caller does not know, from its beginning on. */
export function startLimit(wanted: From | undefined, state: StreamState): number {
  const limit = wanted?.limit ?? 0;
  return wanted?.tail === undefined ? limit : startOffset(wanted, state) + limit;
}

/** Bytes that several streams may have under way together, beyond the first window of each. */
export class CreditPool {
  #total: number;
  #left: number;

  constructor(total: number) {
    this.#total = this.#left = total;
  }

  /** Changes the number of bytes. What is taken stays taken. */
  resize(total: number): void {
    this.#left += total - this.#total;
    this.#total = total;
  }

  take(bytes: number): boolean {
    if (bytes > this.#left) return false;
    this.#left -= bytes;
    return true;
  }

  give(bytes: number): void {
    this.#left += bytes;
  }
}
