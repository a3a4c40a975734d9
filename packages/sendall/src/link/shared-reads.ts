/**
 * Reads of a socket into memory that is passed on. Node otherwise allocates a buffer for each read, under TLS one for
 * every 16 KiB, and assembling frames copies them once more. Here, consecutive reads are adjacent in memory, so a frame
 * of several reads is still contiguous.
 */
import type { OnReadOpts } from 'node:net';

/** The longest TLS record: no read gets less room. */
const RECORD = 16 * 1024;
/** The longest common frame. */
const FRAME = 64 * 1024;
/** Memory shared by reads. A frame is a large enough part of it that keeping the frame wastes little. */
const SLAB = 4 * FRAME;
/** Memory of lent reads. A frame across its end is put together in memory of its own: the more room, the fewer are. */
const LENT = 8 * FRAME;
/** Smaller reads are copied unless they are inside a frame: keeping a few bytes must not keep a slab alive. */
const SMALL = 4 * 1024;

/** Bytes a process must have read before keeping its memory pays off. */
const MUCH = 32 * 1024 * 1024;
const BIG_BLOCK = 24 * 1024 * 1024;
/** Count of 8-byte numbers in an array that V8 counts but never scans. */
const BALLAST = 2 * 1024 * 1024;
let read = 0;
const ballast: number[][] = [];

/**
 * Chunks of output live only briefly, and two memory managers make many of them expensive.
 *
 * - glibc returns the memory of each collected batch to the system, which must clear it for the next. Allocating and
 *   freeing a big block without touching it makes glibc keep twice its size (mallopt(3), the dynamic threshold). With
 *   other C libraries this has no effect.
 * - V8 collects young memory after 32 MiB of chunks, and all memory once chunks and objects together have grown by a
 *   factor. A process with few objects reaches the factor first, every time, and runs dozens of full collections a GiB.
 *   16 MiB of numbers are objects enough. Lent memory makes no garbage and needs none of this.
 */
function keepMemory(length: number, lends: boolean): void {
  read += length;
  if (read < MUCH || read - length >= MUCH) return;
  Buffer.allocUnsafeSlow(BIG_BLOCK);
  // oxlint-disable-next-line unicorn/no-new-array -- one allocation of this length, not an array that grows to it
  if (!lends) ballast.push(new Array<number>(BALLAST).fill(0.5));
}

/** This process lives long and is to stay small: from now on it keeps no memory for the speed of its reads. */
export function keepNoMemory(): void {
  read = MUCH;
}

export class SharedReads {
  /** For the socket's options. */
  readonly onread: OnReadOpts;
  readonly #lends: boolean;
  /** The memory for the next reads, and how much of it is left. */
  #slab: Buffer;
  #room: Buffer;
  /** Lent memory for reads behind the slab's end, where a frame may have begun that is not used up. */
  #other: Buffer | undefined;
  #insideFrame = false;
  #early: Buffer[] = [];
  #receive: ((chunk: Buffer) => void) | undefined;

  /**
   * `lends`: frames are used up when their reader returns, and the same memory serves the next ones. Otherwise the
   * frames take the memory with them.
   */
  constructor(lends = false) {
    this.#lends = lends;
    this.#slab = this.#room = Buffer.allocUnsafeSlow(lends ? LENT : SLAB);
    this.onread = {
      buffer: () => this.#room,
      callback: (length) => {
        const chunk = this.#take(length);
        if (this.#receive) this.#receive(chunk);
        else this.#early.push(chunk);
        return true;
      },
    };
  }

  #take(length: number): Buffer {
    keepMemory(length, this.#lends);
    const chunk = this.#room.subarray(0, length);
    if (length < SMALL && !this.#insideFrame && !this.#lends) return Buffer.from(chunk);
    const left = this.#room.subarray(length);
    this.#room = left.length < RECORD ? this.#fresh() : left;
    return chunk;
  }

  #fresh(): Buffer {
    if (!this.#lends) return (this.#slab = Buffer.allocUnsafeSlow(SLAB));
    // What the decoder holds of the slab it copies at the next read, which goes elsewhere.
    const next = this.#other ?? Buffer.allocUnsafeSlow(LENT);
    this.#other = this.#slab;
    return (this.#slab = next);
  }

  /** The next read continues a frame. */
  goOnWithFrame(): void {
    this.#insideFrame = true;
  }

  /** The next read begins a frame, so it gets memory for a whole one. */
  beginFrame(): void {
    this.#insideFrame = false;
    if (this.#lends) this.#room = this.#slab;
    else if (this.#room.length < FRAME) this.#room = this.#fresh();
  }

  /** Calls `receive` for each read from now on. Unless lent, the bytes are never overwritten. */
  deliver(receive: (chunk: Buffer) => void): void {
    this.#receive = receive;
    for (const chunk of this.#early.splice(0)) receive(chunk);
  }
}
