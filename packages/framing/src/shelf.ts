import { Buffer } from 'node:buffer';
import { copyOf, slabBytes } from './memory.js';
import { View } from './view.js';

/** Frames smaller than a quarter of the memory they lie in are copied. */
const keptShare = 4;
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
    if (size * keptShare >= chunk.buffer.byteLength || size > slabBytes / 2) {
      return new View(chunk.buffer, chunk.byteOffset + from, size);
    }
    if (this.#of !== chunk || from < this.#from || to > this.#to) {
      this.#of = chunk;
      this.#from = from;
      this.#to = Math.min(till, from + slabBytes);
      this.#copy = copyOf(chunk, from, this.#to);
    }
    return new View(this.#copy.buffer, this.#copy.byteOffset + from - this.#from, size);
  }

  /** Lets go of the chunk; the frames keep what they need. */
  clear(): void {
    this.#of = this.#copy = nothing;
  }
}
