/** Gathers the frames of a tick, so that they leave in one write. */
import { Buffer } from 'node:buffer';
import type { Duplex } from 'node:stream';
import { bytesOf, FrameEncoder } from '../encoder.js';
import type { Bytes, Encoder, EncoderOptions } from '../framing.js';

// Small frames are encoded one behind the other into shared memory, so that a tick's frames leave in one write of one
// buffer: two writes a message cost twenty times as much. Memory that was handed to the stream is never written again,
// as the stream may hold on to it.
const SLAB_BYTES = 64 * 1024;
const SMALLEST_REGION = 512;
let slab: Buffer = Buffer.alloc(0);
let top = 0;

/** Gathers encoded frames and writes them at the end of the tick. */
export class SendBatch {
  readonly #stream: Duplex;
  readonly #limits: Required<EncoderOptions>;
  encoder: Encoder;
  /** Whole pieces that wait for the flush, then the region being filled: [start, used) of `memory`, up to `till`. */
  #pieces: Buffer[] = [];
  #memory: Buffer = slab;
  #start = 0;
  #used = 0;
  #till = 0;
  /** How big a region to begin with: about what the last ticks needed. */
  #guess = SMALLEST_REGION;
  /** Bytes that wait for the flush. */
  waiting = 0;
  #scheduled = false;
  readonly #flushSoon: () => void;
  readonly #flushNow: () => void;

  constructor(stream: Duplex, encoder: Encoder, limits: Required<EncoderOptions>) {
    this.#stream = stream;
    this.encoder = encoder;
    this.#limits = limits;
    this.#flushNow = () => {
      this.#scheduled = false;
      this.flush();
    };
    // Behind all that the tick still has to do: promise callbacks first, the ones they cause included.
    this.#flushSoon = () => process.nextTick(this.#flushNow);
  }

  add(payload: Bytes | string): void {
    const bytes = bytesOf(payload);
    const { encoder } = this;
    if (bytes.length > this.#limits.copyBelow) this.#addPieces(bytes);
    else {
      const size = this.#write(encoder, bytes);
      this.#used += size;
      this.waiting += size;
    }
    if (this.waiting >= this.#limits.batchBytes) this.flush();
    else if (!this.#scheduled) {
      this.#scheduled = true;
      queueMicrotask(this.#flushSoon);
    }
  }

  /** Encodes a small payload into the region, or into a new one. */
  #write(encoder: Encoder, bytes: Buffer): number {
    if (encoder instanceof FrameEncoder) {
      const size = encoder.tryWrite(bytes, this.#memory, this.#used, this.#till);
      if (size >= 0) return size;
    }
    const size = encoder.size(bytes);
    if (this.#till - this.#used < size) this.#claim(size);
    return encoder.encodeInto(bytes, this.#memory, this.#used);
  }

  /** Writes what waits; returns false when the stream asks for a pause. */
  flush(): boolean {
    const stream = this.#stream;
    const region = this.#closeRegion();
    const bytes = this.waiting;
    this.waiting = 0;
    if (bytes === 0) return !stream.writableNeedDrain;
    this.#guess = Math.min(SLAB_BYTES, Math.max(SMALLEST_REGION, 2 * bytes));
    if (stream.destroyed || stream.writableEnded) {
      this.#pieces = [];
      return false;
    }
    if (this.#pieces.length === 0 && region !== undefined) return stream.write(region);
    const pieces = this.#pieces;
    this.#pieces = [];
    if (region !== undefined) pieces.push(region);
    stream.cork();
    let room = true;
    for (const piece of pieces) room = stream.write(piece);
    stream.uncork();
    return room;
  }

  /** A big payload goes by reference; the few bytes around it join the batch. */
  #addPieces(payload: Buffer): void {
    const pieces = this.encoder instanceof FrameEncoder ? this.encoder.pieces(payload) : [this.encoder.encode(payload)];
    for (const piece of pieces) {
      if (piece.length <= this.#limits.copyBelow) {
        if (this.#till - this.#used < piece.length) this.#claim(piece.length);
        this.#memory.set(piece, this.#used);
        this.#used += piece.length;
      } else {
        const region = this.#closeRegion();
        if (region !== undefined) this.#pieces.push(region);
        this.#pieces.push(piece);
      }
      this.waiting += piece.length;
    }
  }

  #claim(size: number): void {
    const region = this.#closeRegion();
    if (region !== undefined) {
      this.#pieces.push(region);
      this.#guess = Math.min(SLAB_BYTES, 4 * this.#guess);
    }
    const room = Math.max(size, this.#guess);
    if (slab.length - top < room) {
      slab = Buffer.allocUnsafeSlow(Math.max(SLAB_BYTES, room));
      top = 0;
    }
    this.#memory = slab;
    this.#start = this.#used = top;
    this.#till = top += room;
  }

  /** Ends the region being filled; memory it did not need goes back if no later region has been claimed. */
  #closeRegion(): Buffer | undefined {
    if (this.#memory === slab && this.#till === top) top = this.#used;
    const region = this.#used > this.#start ? this.#memory.subarray(this.#start, this.#used) : undefined;
    this.#start = this.#till = this.#used;
    return region;
  }
}
