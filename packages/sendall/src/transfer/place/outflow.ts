/** A file's content on its way into a stream, such as our own output, instead of a file. */
import type { Writable } from 'node:stream';
import { Problem } from '../files/problem.js';

const zeros = Buffer.alloc(64 * 1024);

export class Outflow {
  readonly #stream: Writable;
  #at = 0;
  #failure: Error | undefined;

  constructor(stream: Writable) {
    this.#stream = stream;
    stream.on('error', this.#fail).on('close', this.#fail);
  }

  readonly #fail = (error?: Error): void => {
    this.#failure ??= new Problem(error ? `the output failed: ${error.message}` : 'the output was closed');
  };

  /** Writes a piece, and zeros for the hole before it. Resolves when there is room for more. */
  async write(bytes: Uint8Array, offset: number): Promise<void> {
    await this.fill(offset);
    this.#at += bytes.length;
    await this.#put(bytes);
  }

  /** Writes zeros up to `offset`. */
  async fill(offset: number): Promise<void> {
    while (this.#at < offset) {
      const part = zeros.subarray(0, Math.min(zeros.length, offset - this.#at));
      this.#at += part.length;
      await this.#put(part);
    }
  }

  async #put(bytes: Uint8Array): Promise<void> {
    if (this.#failure) throw this.#failure;
    await new Promise<void>((resolve) => this.#stream.write(bytes, () => resolve()));
    if (this.#failure) throw this.#failure;
  }

  /** Does not look at the stream any more, which stays open. */
  close(): void {
    this.#stream.off('error', this.#fail).off('close', this.#fail);
  }
}
