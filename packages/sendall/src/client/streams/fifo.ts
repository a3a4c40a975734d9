/** A queue that stays fast when it is long. */

/**
 * First in, first out. `Array.prototype.shift` moves all remaining items once there are some ten thousand; here each
 * item is moved once.
 */
export class Fifo<T> {
  #in: T[] = [];
  #out: T[] = [];
  #at = 0;

  get size(): number {
    return this.#out.length - this.#at + this.#in.length;
  }

  push(value: T): void {
    this.#in.push(value);
  }

  shift(): T | undefined {
    if (this.#at === this.#out.length) {
      this.#out = this.#in;
      this.#in = [];
      this.#at = 0;
      if (!this.#out.length) return undefined;
    }
    const value = this.#out[this.#at]!;
    // Drop the reference, so that a slow reader does not keep items it has read.
    this.#out[this.#at++] = undefined as T;
    return value;
  }

  clear(): void {
    this.#in = [];
    this.#out = [];
    this.#at = 0;
  }
}
