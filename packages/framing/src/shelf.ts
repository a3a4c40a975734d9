/** Decides for frames that are kept whether they are views or copies. */
import { Buffer } from 'node:buffer';
import { copyOf, SLAB_BYTES } from './memory.js';
import { View } from './view.js';

/** Frames smaller than a quarter of the memory they lie in are copied. */
const KEPT_SHARE = 4;
const nothing: Buffer = Buffer.alloc(0);

/**
 * Makes frames that are kept: views of the chunk where they are a good part of its memory, copies where they are not.
 * One copy of a stretch of the chunk serves all small frames in it.
 */
export class Shelf {
  #copy = nothing;
  #of: Buffer = nothing;
  #from = 0;
  #to = 0;

  /** The frame at [from, to) of a chunk of which [from, till) is left. */
  cut(chunk: Buffer, from: number, to: number, till: number): Buffer {
    const size = to - from;
    if (size * KEPT_SHARE >= chunk.buffer.byteLength || size > SLAB_BYTES / 2) {
      return new View(chunk.buffer, chunk.byteOffset + from, size);
    }
    if (this.#of !== chunk || from < this.#from || to > this.#to) {
      this.#of = chunk;
      this.#from = from;
      this.#to = Math.min(till, from + SLAB_BYTES);
      this.#copy = copyOf(chunk, from, this.#to);
    }
    return new View(this.#copy.buffer, this.#copy.byteOffset + from - this.#from, size);
  }

  /** Lets go of the chunk. The frames keep their own memory. */
  clear(): void {
    this.#of = this.#copy = nothing;
  }
}
