/** The SHA-256 of a file's content as it passes by, with its holes. */
import { createHash, type Hash } from 'node:crypto';

/** Bytes of holes that are hashed as zeros; what a file has beyond them would take longer than its transfer. */
const HASHED_HOLES = 1024 * 1024 * 1024;
const zeros = Buffer.alloc(1024 * 1024);

/**
 * The sum that both sides compare. It is the SHA-256 of the content, unless the file has more than 1 GiB of holes: each
 * further hole then counts by its length only.
 */
export class ContentSum {
  #hash: Hash = createHash('sha256');
  #holes = 0;
  /** Whether `digest` is the SHA-256 of the content. */
  exact = true;

  update(bytes: Uint8Array): void {
    this.#hash.update(bytes);
  }

  hole(length: number): void {
    this.#holes += length;
    if (this.#holes > HASHED_HOLES) {
      this.exact = false;
      this.#hash.update(`hole ${length}\n`);
      return;
    }
    for (let left = length; left > 0; left -= zeros.length)
      this.#hash.update(left < zeros.length ? zeros.subarray(0, left) : zeros);
  }

  /** Of all that came so far; more may follow. */
  soFar(): Buffer {
    return this.#hash.copy().digest();
  }

  digest(): Buffer {
    return this.#hash.digest();
  }
}

/** Whether files with so many bytes of holes can be resumed: their first bytes are compared by their hash. */
export const hashesHoles = (bytes: number): boolean => bytes <= HASHED_HOLES;
