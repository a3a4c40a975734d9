/** One stdin for many hosts: each reads all of it, at its own pace, however late it begins. */
import { UsageError } from '../errors.js';

type Source = AsyncIterable<Uint8Array | string>;

/** Bytes of a shared stream that are kept for hosts that begin later. */
export const MAX_SHARED_STDIN = 64 * 1024 * 1024;

export class Broadcast {
  readonly #source: AsyncIterator<Uint8Array | string>;
  readonly #limit: number;
  #chunks: (Uint8Array | string)[] = [];
  #size = 0;
  #done = false;
  /** Why not all of it can be read: for every host, since a source that has failed seems to end. */
  #failure: { readonly error: unknown } | undefined;
  #reading: Promise<void> | undefined;

  /** `limit`: bytes kept for hosts that begin later. */
  constructor(source: Source, limit: number) {
    this.#source = source[Symbol.asyncIterator]();
    this.#limit = limit;
  }

  /** Everything from the beginning. The source is read only as fast as the fastest reader asks. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
    for (let at = 0; ; at++) {
      while (at >= this.#chunks.length && !this.#done && !this.#failure) await (this.#reading ??= this.#read());
      const chunk = this.#chunks[at];
      if (chunk === undefined && this.#failure) throw this.#failure.error;
      if (chunk === undefined) return;
      yield typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
    }
  }

  async #read(): Promise<void> {
    try {
      const { value, done } = await this.#source.next();
      if (done) {
        this.#done = true;
        return;
      }
      this.#size += value.length;
      if (this.#size > this.#limit)
        throw new UsageError(
          `stdin for several hosts is kept in memory, and it exceeds ${this.#limit} bytes: use a file, --stdin=FILE`,
        );
      this.#chunks.push(value);
    } catch (error) {
      this.#failure = { error };
    } finally {
      this.#reading = undefined;
    }
  }
}
