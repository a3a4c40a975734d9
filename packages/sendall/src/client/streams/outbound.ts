/** stdin going out: sent under credit, kept until the keeper has it, sent again from its offset after a resume. */
import { Writable } from 'node:stream';
import { ProtocolError } from '../../errors.js';
import { PIECE } from '../../link/link.js';
import { MAX_DATA } from '../../protocol/messages.js';

/** Bytes kept for a resume before the writer has to wait; more, while the host allows more. */
const KEPT = 1024 * 1024;
const MOST_KEPT = 16 * 1024 * 1024;
const SMALLEST_BLOCK = 4 * 1024;
const MOST_SPARE = 16;

/** Bytes that were written, in memory of our own: the writer may reuse its buffer. */
interface Block {
  /** Place of its first byte in the stream. */
  offset: number;
  readonly bytes: Buffer;
  used: number;
}

type Done = (error?: Error | null) => void;

export class Outbound extends Writable {
  /** The host takes bytes below this offset. */
  #limit = 0;
  /** The host has every byte below this offset. */
  #acked = 0;
  /** The next byte to send on the present link. */
  #sent = 0;
  /** Bytes sent ahead of what the host has, while a link may be too short-lived for more. */
  #burst = Infinity;
  /** Where the next written byte goes. */
  #next = 0;
  #blocks: Block[] = [];
  /** Memory of blocks that the host has. */
  #spare: Buffer[] = [];
  #waiting: Done | undefined;
  #final: number | undefined;
  #finalSent = false;
  #ended: Done | undefined;
  #deaf = false;
  #hasSource = false;
  /** Called when there is something to send. */
  wake: () => void = () => undefined;

  constructor() {
    super({ highWaterMark: 256 * 1024 });
  }

  /** Nothing can come of this stream any more. */
  get stopped(): boolean {
    return this.#deaf;
  }

  /** Some stream is led in here. It may have no end: when the reader has gone, this one closes, and the source learns it. */
  expectSource(): void {
    this.#hasSource = true;
    if (this.#deaf) this.destroy();
  }

  /** The next piece that credit allows, at most 64 KiB. */
  take(): { offset: number; bytes: Buffer } | undefined {
    const offset = this.#sent;
    const most = Math.min(this.#limit - offset, MAX_DATA, this.#acked + this.#burst - offset);
    if (most <= 0 || offset >= this.#next) return undefined;
    const block = this.#blocks.find((each) => each.offset + each.used > offset)!;
    const from = offset - block.offset;
    const bytes = block.bytes.subarray(from, Math.min(from + most, block.used));
    this.#sent += bytes.length;
    return { offset, bytes };
  }

  /** The end of the stream, once, when every byte before it was sent on the present link. */
  takeEnd(): number | undefined {
    if (this.#final === undefined || this.#finalSent || this.#sent < this.#final) return undefined;
    this.#finalSent = true;
    return this.#final;
  }

  allow(limit: number): void {
    if (limit <= this.#limit) return;
    this.#limit = limit;
    if (this.#roomy) this.#release();
    this.wake();
  }

  /** The host has every byte below `offset`, and the end when `ended`: they need not be kept. True when that is news. */
  acknowledge(offset: number, ended: boolean): boolean {
    const news = offset > this.#acked;
    if (news) {
      this.#acked = offset;
      this.#burst = this.#burst >= KEPT ? Infinity : this.#burst * 2;
      if (this.#burst !== Infinity) this.wake();
    }
    while (this.#blocks.length && this.#blocks[0]!.offset + this.#blocks[0]!.used <= this.#acked)
      this.#recycle(this.#blocks.shift()!.bytes);
    if (this.#roomy) this.#release();
    if (ended && this.#final !== undefined) this.#finished();
    return news;
  }

  /**
   * A new link: the host's next byte is `offset`. A stream that is written again from its start by another process may
   * not have come that far: what it writes below `offset` is known already. True when more has arrived than was known.
   */
  rewind(offset: number, ended: boolean): boolean {
    if (this.#deaf) return false;
    if (offset < this.#acked) throw new ProtocolError(`stdin: the host took ${this.#acked} bytes and wants ${offset}`);
    this.#sent = offset;
    this.#finalSent = false;
    if (this.#final !== undefined) this.#final = Math.max(this.#final, offset);
    const news = this.acknowledge(offset, ended);
    // Another caller has ended it.
    if (ended && this.#final === undefined) this.stop();
    else this.wake();
    return news;
  }

  /** The last link died before anything was acknowledged: sends so many bytes only, then twice as many, and so on. */
  restrain(burst: number): void {
    this.#burst = burst;
  }

  /** Joins a stream that others began: what is written here goes behind `offset`. */
  startAt(offset: number): void {
    for (const block of this.#blocks) block.offset += offset;
    this.#next += offset;
    if (this.#final !== undefined) this.#final += offset;
    this.#acked = offset;
    this.#sent = offset;
  }

  /** The reader has gone (the command closed its stdin or ended): the rest is swallowed, as a pipe's EPIPE would. */
  stop(): void {
    this.#deaf = true;
    this.#blocks = [];
    this.#spare = [];
    this.#sent = this.#next;
    this.#release();
    if (this.#hasSource && this.#final === undefined) this.destroy();
    else this.#finished();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: Done): void {
    if (this.#deaf || chunk.length === 0) {
      done();
      return;
    }
    const known = Math.min(Math.max(this.#acked - this.#next, 0), chunk.length);
    this.#next += known;
    if (known < chunk.length) this.#keep(chunk.subarray(known));
    if (this.#roomy) done();
    else this.#waiting = done;
    this.wake();
  }

  override _final(done: Done): void {
    if (this.#deaf) {
      done();
      return;
    }
    this.#final = Math.max(this.#next, this.#acked);
    this.#ended = done;
    this.wake();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#waiting = undefined;
    this.#ended = undefined;
    done(error);
  }

  /** Whether the writer may go on. */
  get #roomy(): boolean {
    return this.#next - this.#acked < Math.min(Math.max(KEPT, this.#limit - this.#acked), MOST_KEPT);
  }

  #keep(bytes: Buffer): void {
    for (let rest = bytes; rest.length;) {
      let block = this.#blocks.at(-1);
      if (!block || block.used === block.bytes.length || rest.length > MAX_DATA) {
        // Much at a time leaves in frames that fill records of TLS; a piece that fits into one frame stays whole.
        const size = rest.length > MAX_DATA ? PIECE : Math.max(rest.length, SMALLEST_BLOCK);
        const bytes = (size === PIECE ? this.#spare.pop() : undefined) ?? Buffer.allocUnsafeSlow(size);
        block = { offset: this.#next, bytes, used: 0 };
        this.#blocks.push(block);
      }
      const copied = rest.copy(block.bytes, block.used);
      block.used += copied;
      this.#next += copied;
      rest = rest.subarray(copied);
    }
  }

  /** What was sent is copied by then: the memory serves the next block. */
  #recycle(bytes: Buffer): void {
    if (bytes.length === PIECE && this.#spare.length < MOST_SPARE) this.#spare.push(bytes);
  }

  #release(): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.();
  }

  #finished(): void {
    const ended = this.#ended;
    this.#ended = undefined;
    ended?.();
  }
}
