/**
 * One stream coming in: offsets, checksum, credit. Bytes are taken at `next` and nowhere else: what came before is
 * dropped as overlap, what comes after a hole is a protocol error of that link.
 */
import { createHash, type Hash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { ProtocolError } from '../errors.js';
import { MAX_DATA } from '../protocol/messages.js';

const FIRST_WINDOW = 1024 * 1024;
const LARGEST_WINDOW = 64 * 1024 * 1024;

export class Inbound {
  stream: number;
  /** Offset of the next byte wanted. */
  next = 0;
  /** First byte of this attachment. */
  start = 0;
  /** The host may send bytes below this offset. */
  limit = 0;
  /** Where the stream ended; undefined while it may grow. */
  final: number | undefined;
  /** Nobody reads it any more: what is missing is not waited for. */
  abandoned = false;
  /** Takes the bytes; calls `consumed` when it is done with them. */
  deliver: (bytes: Buffer, offset: number) => void = () => undefined;
  #consumed = 0;
  #window = FIRST_WINDOW;
  #crc = 0;
  #gapped = false;
  #hash: Hash | undefined;
  #crcAt: { offset: number; crc: number } | undefined;

  constructor(stream: number, sha256: boolean | undefined) {
    this.stream = stream;
    this.limit = this.#window;
    if (sha256) this.#hash = createHash('sha256');
  }

  /** Starts at another offset than 0: checksums of the whole stream cannot be compared then. */
  startAt(offset: number): void {
    this.start = offset;
    this.next = offset;
    this.#consumed = offset;
    this.limit = offset + this.#window;
  }

  /** Applies a piece at `offset`. Throws ProtocolError when it leaves a hole or exceeds the credit. */
  receive(offset: number, bytes: Buffer): void {
    if (offset > this.next)
      throw new ProtocolError(`stream ${this.stream}: bytes from ${offset} came where ${this.next} is next`);
    const end = offset + bytes.length;
    if (end <= this.next) return;
    if (end > this.limit) throw new ProtocolError(`stream ${this.stream}: ${end - this.limit} bytes beyond the credit`);
    if (this.final !== undefined && end > this.final)
      throw new ProtocolError(`stream ${this.stream}: bytes after its end at ${this.final}`);
    const fresh = offset === this.next ? bytes : bytes.subarray(this.next - offset);
    const at = this.next;
    this.#sum(fresh, at);
    this.next = end;
    this.deliver(fresh, at);
  }

  /** The host dropped bytes up to `to`; they will never come. */
  skip(to: number): void {
    if (to <= this.next) return;
    this.#gapped = true;
    this.next = to;
    this.consumed(0);
    this.#consumed = Math.max(this.#consumed, to);
  }

  /** Says that `n` delivered bytes were used up. */
  consumed(n: number): void {
    this.#consumed += n;
  }

  /**
   * The new absolute limit to announce, or undefined when it is too early. The window doubles when it, and not the
   * reader, was what held the sender up.
   */
  grant(): number | undefined {
    const unread = this.next - this.#consumed;
    if (this.limit - this.next > this.#window / 2) return undefined;
    if (this.limit - this.next < this.#window / 4 && unread < this.#window / 8 && this.#window < LARGEST_WINDOW)
      this.#window *= 2;
    const limit = this.#consumed + this.#window;
    if (limit - this.limit < MAX_DATA && limit - this.limit < this.#window / 4) return undefined;
    this.limit = limit;
    return limit;
  }

  /** Remembers the checksum at the offset that EXIT names, which may lie behind bytes that come later. */
  markAt(offset: number): void {
    if (offset === this.next) this.#crcAt = { offset, crc: this.#crc };
    else if (offset > this.next) this.#crcAt = { offset, crc: -1 };
  }

  /** True when every byte up to `offset` is here. */
  has(offset: number): boolean {
    return this.abandoned || this.next >= offset;
  }

  /** CRC-32 of bytes 0 to the marked offset; undefined when they were not all seen by this attachment. */
  get crcAtMark(): number | undefined {
    if (this.start !== 0 || this.#gapped || !this.#crcAt || this.#crcAt.crc < 0) return undefined;
    return this.#crcAt.crc;
  }

  get sha256(): string | undefined {
    return this.#hash && this.start === 0 && !this.#gapped ? this.#hash.copy().digest('hex') : undefined;
  }

  #sum(bytes: Buffer, at: number): void {
    this.#hash?.update(bytes);
    if (this.start !== 0) return;
    const mark = this.#crcAt;
    if (mark && mark.crc < 0 && mark.offset > at && mark.offset <= at + bytes.length) {
      const cut = mark.offset - at;
      this.#crc = crc32(bytes.subarray(0, cut), this.#crc);
      this.#crcAt = { offset: mark.offset, crc: this.#crc };
      this.#crc = crc32(bytes.subarray(cut), this.#crc);
    } else this.#crc = crc32(bytes, this.#crc);
  }
}
