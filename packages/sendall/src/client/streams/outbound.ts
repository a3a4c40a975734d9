/**
 * stdin on its way to the host: sent under credit, kept until the keeper has it, sent again from its offset after a
 * resume.
 */
import { Writable } from 'node:stream';
import { ProtocolError } from '../../errors.js';
import { PIECE } from '../../link/link.js';
import { MAX_DATA } from '../../protocol/messages.js';

/** Bytes kept for a resume before the writer must wait; more, if the host allows more and the link would run dry. */
const KEPT = 1024 * 1024;
const MOST_KEPT = 16 * 1024 * 1024;
const SMALLEST_BLOCK = 4 * 1024;
const MOST_SPARE = 16;

/** Written bytes, in memory of our own: the writer may reuse its buffer. */
interface Block {
  /** Offset of its first byte in the stream. */
  offset: number;
  readonly bytes: Buffer;
  used: number;
}

type Done = (error?: Error | null) => void;

export class Outbound extends Writable {
  /** The host accepts bytes below this offset. */
  #limit = 0;
  /** The host has every byte below this offset. */
  #acked = 0;
  /** Offset of the next byte to send on the present link. */
  #sent = 0;
  /** Bytes sent ahead of the host's acknowledgement, while links may be too short-lived for more. */
  #burst = Infinity;
  /** Offset of the next byte to be written. */
  #next = 0;
  /** Bytes kept at most while the writer need not wait. */
  #most = KEPT;
  #blocks: Block[] = [];
  /** Memory of acknowledged blocks, for reuse. */
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

  /** The stream is over: further bytes are dropped. */
  get stopped(): boolean {
    return this.#deaf;
  }

  /**
   * A stream is piped in here. It may be endless, so when the reader has gone this one closes, which stops the source.
   */
  expectSource(): void {
    this.#hasSource = true;
    if (this.#deaf) this.destroy();
  }

  /** The next piece within the credit, at most 64 KiB. */
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

  /** The end of the stream, once, when all earlier bytes were sent on the present link. */
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

  /**
   * The host has every byte below `offset`, and the end when `ended`; they need not be kept. True when that is news.
   */
  acknowledge(offset: number, ended: boolean): boolean {
    const news = offset > this.#acked;
    if (news) {
      // All was sent, and the writer waited for the host to say so: more has to be on its way at once.
      if (this.#waiting && this.#sent === this.#next) this.#most = Math.min(this.#most * 2, MOST_KEPT);
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
   * A new link: the host's next byte is `offset`. Another process that writes the stream again from its start may not
   * have come that far; bytes it writes below `offset` are known already. True when the host has more than we knew.
   */
  rewind(offset: number, ended: boolean): boolean {
    if (this.#deaf) return false;
    if (offset < this.#acked) throw new ProtocolError(`stdin: the host took ${this.#acked} bytes and wants ${offset}`);
    this.#sent = offset;
    this.#finalSent = false;
    if (this.#final !== undefined) this.#final = Math.max(this.#final, offset);
    const news = this.acknowledge(offset, ended);
    // Another caller has ended the stream.
    if (ended && this.#final === undefined) this.stop();
    else this.wake();
    return news;
  }

  /** The last link died before an acknowledgement: sends this many bytes only, then twice as many, and so on. */
  restrain(burst: number): void {
    this.#burst = burst;
  }

  /** Joins a stream that others began: bytes written here follow `offset`. */
  startAt(offset: number): void {
    for (const block of this.#blocks) block.offset += offset;
    this.#next += offset;
    if (this.#final !== undefined) this.#final += offset;
    this.#acked = offset;
    this.#sent = offset;
  }

  /** The reader has gone (the command closed its stdin or ended): drops the rest, as a pipe's EPIPE would. */
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
    return this.#next - this.#acked < Math.min(Math.max(KEPT, this.#limit - this.#acked), this.#most);
  }

  #keep(bytes: Buffer): void {
    for (let rest = bytes; rest.length;) {
      let block = this.#blocks.at(-1);
      if (!block || block.used === block.bytes.length || rest.length > MAX_DATA) {
        // Large pieces travel in frames that fill TLS records; a piece that fits into one frame stays whole.
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

  /** The sent bytes are copied by now, so the memory serves the next block. */
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
