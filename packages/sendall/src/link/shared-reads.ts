/**
 * Reads of a socket into memory that is handed on: Node otherwise makes a buffer for each read, which under TLS is one for
 * every 16 KiB, and putting frames together copies them once more. Reads that follow each other stand behind each
 * other in memory, so that a frame of several reads is still one stretch of it.
 */
import type { OnReadOpts } from 'node:net';

/** The longest record of TLS: a read gets no less room. */
const RECORD = 16 * 1024;
/** The longest frame that is common. */
const FRAME = 64 * 1024;
/** Memory that reads share. A frame is not so small a part of it that keeping the frame would be a waste. */
const SLAB = 4 * FRAME;
/** Smaller reads are copied, but those inside a frame: what is kept of them must not keep a slab alive. */
const SMALL = 4 * 1024;

/** Bytes that a process must have read before it is worth having its memory kept. */
const MUCH = 32 * 1024 * 1024;
const BIG_BLOCK = 24 * 1024 * 1024;
/** Numbers of 8 bytes in an array that V8 counts and never looks into. */
const BALLAST = 2 * 1024 * 1024;
let read = 0;
const ballast: number[][] = [];

/**
 * Chunks of output live for a moment, and two collectors make them dear once there are many.
 *
 * - glibc gives the memory of each lot that was collected back to the system, which has to clear it for the next. A big
 *   block that is never touched and at once let go of makes glibc keep twice its size (mallopt(3), the dynamic threshold).
 *   Elsewhere it does nothing.
 * - V8 collects young memory after 32 MiB of chunks, and all memory once chunks and objects together have grown by a
 *   factor. A process with few objects reaches the factor first, each time: 35 full collections a GiB instead of none, and
 *   a third more CPU. 16 MiB of numbers are objects enough. Memory that is lent makes no garbage and needs none of it.
 */
function keepMemory(length: number, lends: boolean): void {
  read += length;
  if (read < MUCH || read - length >= MUCH) return;
  Buffer.allocUnsafeSlow(BIG_BLOCK);
  // oxlint-disable-next-line unicorn/no-new-array -- one piece of memory of this length, and no array that grows to it
  if (!lends) ballast.push(new Array<number>(BALLAST).fill(0.5));
}

export class SharedReads {
  /** For the socket's options. */
  readonly onread: OnReadOpts;
  readonly #lends: boolean;
  /** Where reads go now, and what is left of it. */
  #slab: Buffer = Buffer.allocUnsafeSlow(SLAB);
  #room: Buffer = this.#slab;
  #insideFrame = false;
  #early: Buffer[] = [];
  #receive: ((chunk: Buffer) => void) | undefined;

  /**
   * `lends`: frames are used up when their reader returns, and the same memory serves the next ones. Otherwise it is
   * handed on with them.
   */
  constructor(lends = false) {
    this.#lends = lends;
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
    this.#slab = Buffer.allocUnsafeSlow(SLAB);
    return this.#slab;
  }

  /** The next read goes on with a frame. */
  goOnWithFrame(): void {
    this.#insideFrame = true;
  }

  /** The next read begins a frame: it gets memory that holds a whole one. */
  beginFrame(): void {
    this.#insideFrame = false;
    if (this.#lends) this.#room = this.#slab;
    else if (this.#room.length < FRAME) this.#room = this.#fresh();
  }

  /** From now on calls `receive` for each read. Unless they are lent, nothing is written to the bytes afterwards. */
  deliver(receive: (chunk: Buffer) => void): void {
    this.#receive = receive;
    for (const chunk of this.#early.splice(0)) receive(chunk);
  }
}
