/**
 * Frames that leave in one write, in reusable memory: allocating memory for each write costs more than filling it.
 */
import type { Writable } from 'node:stream';
import { DATA_HEADER, writeDataHeader } from '../protocol/codec.js';

/** Size of one batch in bytes. */
export const BATCH = 256 * 1024;
/** Bytes of length and header at the start of a DATA frame. */
export const DATA_ROOM = 4 + DATA_HEADER;

/** Written batches for reuse, shared by all links of the process. */
const spare: Buffer[] = [];
const MOST_SPARE = 16;

export class Batch {
  readonly #bytes = spare.pop() ?? Buffer.allocUnsafeSlow(BATCH);
  #used = 0;

  get length(): number {
    return this.#used;
  }

  /** Whether a DATA frame with this many bytes still fits. */
  holds(bytes: number): boolean {
    return this.#used + DATA_ROOM + bytes <= BATCH;
  }

  /**
   * Adds a DATA frame. `fill` writes its bytes: it gets room for `length` and returns how many it used; if it used
   * none, no frame is added.
   */
  add(
    alias: number,
    stream: number,
    gseq: number,
    offset: number,
    length: number,
    fill: (room: Buffer) => number,
  ): number {
    const bytes = this.#bytes;
    const start = this.#used;
    const body = start + DATA_ROOM;
    const used = fill(bytes.subarray(body, body + length));
    if (used === 0) return 0;
    bytes.writeUInt32BE(DATA_HEADER + used, start);
    writeDataHeader(bytes.subarray(start + 4, body), alias, stream, gseq, offset);
    this.#used = body + used;
    return used;
  }

  /** Adds a frame that lacks only its length. False when it does not fit. */
  addFrame(frame: Buffer): boolean {
    const start = this.#used;
    if (start + 4 + frame.length > BATCH) return false;
    this.#bytes.writeUInt32BE(frame.length, start);
    frame.copy(this.#bytes, start + 4);
    this.#used = start + 4 + frame.length;
    return true;
  }

  /** Sends the batch; add nothing afterwards. */
  writeTo(stream: Writable): void {
    const bytes = this.#bytes;
    stream.write(bytes.subarray(0, this.#used), (error) => {
      if (!error && spare.length < MOST_SPARE) spare.push(bytes);
    });
  }
}
