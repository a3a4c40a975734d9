/** The bytes of a file as they arrive, taken by the piece. */

/** A queue of bytes that knows its place in the file. Joins chunks only where a piece crosses their border. */
export class Chunks {
  #chunks: Buffer[] = [];
  #length = 0;
  #offset = 0;

  /** Bytes that wait. */
  get length(): number {
    return this.#length;
  }

  /** The place of the first waiting byte in the file. */
  get offset(): number {
    return this.#offset;
  }

  push(chunk: Uint8Array): void {
    if (chunk.length === 0) return;
    this.#chunks.push(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length));
    this.#length += chunk.length;
  }

  /** The next `size` bytes, which must be there; they stay. */
  peek(size: number): Buffer {
    const [first] = this.#chunks;
    if (first !== undefined && first.length < size) this.#chunks = [Buffer.concat(this.#chunks)];
    return this.#chunks[0]?.subarray(0, size) ?? Buffer.alloc(0);
  }

  /** The next `size` bytes, which must be there. */
  take(size: number): Buffer {
    const bytes = this.peek(size);
    this.#drop(size);
    return bytes;
  }

  /** Drops up to `size` bytes; returns how many. */
  skip(size: number): number {
    const skipped = Math.min(size, this.#length);
    for (let left = skipped; left > 0;) {
      const part = Math.min(left, this.#chunks[0]!.length);
      this.#drop(part);
      left -= part;
    }
    return skipped;
  }

  #drop(size: number): void {
    const [first] = this.#chunks;
    if (first === undefined || size === 0) return;
    if (first.length === size) this.#chunks.shift();
    else this.#chunks[0] = first.subarray(size);
    this.#length -= size;
    this.#offset += size;
  }
}
