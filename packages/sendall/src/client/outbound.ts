/** stdin going out: sent under credit, kept until the keeper has it, sent again from its offset after a resume. */
import { Writable } from 'node:stream';
import { MAX_DATA } from '../protocol/messages.js';

/** Bytes kept for a resume before the writer has to wait. */
const KEPT = 1024 * 1024;

interface Piece {
  readonly offset: number;
  readonly bytes: Buffer;
}

export class Outbound extends Writable {
  /** The host takes bytes below this offset. */
  #limit = 0;
  #next = 0;
  #sent = 0;
  #pieces: Piece[] = [];
  #waiting: ((error?: Error | null) => void) | undefined;
  #final: number | undefined;
  #ended: ((error?: Error | null) => void) | undefined;
  #deaf = false;
  /** Called when there is something to send. */
  wake: () => void = () => undefined;

  constructor() {
    super({ highWaterMark: 256 * 1024 });
  }

  /** Where the stream ends, once its end was written. */
  get final(): number | undefined {
    return this.#final;
  }

  /** All bytes were sent on the present link. */
  get drained(): boolean {
    return this.#sent === this.#next;
  }

  /** The next piece that credit allows, at most 64 KiB. */
  take(): { offset: number; bytes: Buffer } | undefined {
    const room = Math.min(this.#limit - this.#sent, MAX_DATA);
    if (room <= 0 || this.#sent === this.#next) return undefined;
    const piece = this.#pieces.find((each) => each.offset + each.bytes.length > this.#sent)!;
    const from = this.#sent - piece.offset;
    const bytes = piece.bytes.subarray(from, from + room);
    const offset = this.#sent;
    this.#sent += bytes.length;
    return { offset, bytes };
  }

  allow(limit: number): void {
    if (limit > this.#limit) {
      this.#limit = limit;
      this.wake();
    }
  }

  /** The keeper has every byte below `offset`; they need not be kept. */
  acknowledge(offset: number): void {
    while (this.#pieces.length && this.#pieces[0]!.offset + this.#pieces[0]!.bytes.length <= offset)
      this.#pieces.shift();
    if (this.#next - offset < KEPT) this.#release();
    if (this.#final !== undefined && offset >= this.#final) this.#finished();
  }

  /** A new link: the keeper's next byte is `offset`. */
  rewind(offset: number): void {
    this.acknowledge(offset);
    this.#sent = Math.max(offset, this.#pieces[0]?.offset ?? this.#next);
    if (this.#sent > offset) this.#sent = offset;
    this.wake();
  }

  /** Nobody reads any more (the command closed its stdin or ended): the rest is swallowed, as a pipe's EPIPE would. */
  stop(): void {
    this.#deaf = true;
    this.#pieces = [];
    this.#release();
    this.#sent = this.#next;
    this.#finished();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    if (this.#deaf || chunk.length === 0) {
      done();
      return;
    }
    // Kept until acknowledged, which may be long after the writer was told that it may reuse its buffer.
    this.#pieces.push({ offset: this.#next, bytes: Buffer.from(chunk) });
    this.#next += chunk.length;
    const kept = this.#next - this.#pieces[0]!.offset;
    this.wake();
    if (kept < KEPT) done();
    else this.#waiting = done;
  }

  override _final(done: (error?: Error | null) => void): void {
    if (this.#deaf) {
      done();
      return;
    }
    this.#final = this.#next;
    this.#ended = done;
    this.wake();
  }

  #release(): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.();
  }

  #finished(): void {
    this.#ended?.();
    this.#ended = undefined;
  }
}
