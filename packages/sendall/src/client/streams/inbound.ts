/**
 * One incoming stream: offsets, checksum, credit. It accepts bytes only at `next`: earlier bytes are dropped as
 * overlap, bytes after a hole are a protocol error of that link.
 */
import { createHash, type Hash } from 'node:crypto';
import type { CreditPool } from '../../protocol/flow.js';
import { crc32 } from '../../protocol/crc32.js';
import { ProtocolError } from '../../errors.js';
import type { Exit } from '../../protocol/messages.js';

/** The credit of every stream. */
export const FIRST_WINDOW = 1024 * 1024;
const LARGEST_WINDOW = 64 * 1024 * 1024;
/** The credit of a terminal. Small, since bytes in flight when a user presses Ctrl-C appear before its effect. */
export const TERMINAL_WINDOW = 256 * 1024;
/** Bytes received between acknowledgements: the host frees its spool in whole segments of 16 MiB. */
const ACK_EVERY = 4 * 1024 * 1024;
/** A window read in fewer milliseconds is widened: each grant wakes the host, and wider windows need fewer. */
const QUICK = 10;

export class Inbound {
  stream: number;
  /** Offset of the next byte wanted. */
  next = 0;
  /** First byte of this attachment. */
  start = 0;
  /** The host may send bytes below this offset. */
  limit = FIRST_WINDOW;
  /** Where the stream ended; undefined while it may grow. */
  final: number | undefined;
  /** No longer read, so missing bytes do not matter. */
  abandoned = false;
  /** Takes the bytes; calls `consumed` when it has used them. */
  deliver: (bytes: Buffer, offset: number) => void = () => undefined;
  /** Sees the bytes before they are delivered. */
  tap: ((bytes: Buffer) => void) | undefined;
  /** The pool for larger windows; without it the window stays as it is. */
  pool: CreditPool | undefined;
  #consumed = 0;
  #window = FIRST_WINDOW;
  #largest = LARGEST_WINDOW;
  #grantedAt = performance.now();
  /** Bytes requested on a new link, while links may be too short-lived for more. */
  #burst = Infinity;
  /** Further credit waits for `letGo`. */
  #held = false;
  #acked = 0;
  #ackEvery = ACK_EVERY;
  #crc = 0;
  #whole = true;
  #hash: Hash | undefined;
  #mark: { offset: number; crc?: number; sha256?: Buffer } | undefined;

  constructor(stream: number, sha256 = false) {
    this.stream = stream;
    if (sha256) this.#hash = createHash('sha256');
  }

  /** Its end and every byte before it have arrived. */
  get isComplete(): boolean {
    return this.final !== undefined && this.next >= this.final;
  }

  /** Asks for the first bytes only, until `letGo`. Before the stream is opened. */
  hold(bytes: number): void {
    this.#held = true;
    this.limit = this.next + bytes;
  }

  /** From now on `grant` asks for the rest. */
  letGo(): void {
    this.#held = false;
  }

  /** Treats the stream as a terminal's: few bytes in flight, quick acknowledgements. */
  becomeTerminal(): void {
    this.#window = this.#largest = TERMINAL_WINDOW;
    this.limit = this.next + TERMINAL_WINDOW;
    this.#ackEvery = TERMINAL_WINDOW / 4;
  }

  /** At most so many bytes are under way or unread. */
  narrow(bytes: number): void {
    this.#window = Math.min(this.#window, bytes);
    this.#largest = Math.min(this.#largest, bytes);
  }

  /** The most unacknowledged bytes the host may keep: acknowledge in time. */
  set spoolMax(bytes: number) {
    this.#ackEvery = Math.max(1, Math.min(this.#ackEvery, Math.floor(bytes / 4)));
  }

  /** Starts at an offset other than 0: checksums of the whole stream cannot be compared then. */
  startAt(offset: number): void {
    this.start = offset;
    this.next = offset;
    this.limit = offset + this.#window;
    this.#consumed = offset;
    this.#acked = offset;
    this.#whole = offset === 0;
  }

  /**
   * Applies a piece at `offset`. True when it held new bytes.
   * @throws ProtocolError when it leaves a hole, exceeds the credit or lies after the end.
   */
  receive(offset: number, bytes: Buffer): boolean {
    if (offset > this.next)
      throw new ProtocolError(`stream ${this.stream}: bytes from ${offset} came where ${this.next} is next`);
    const end = offset + bytes.length;
    if (end <= this.next) return false;
    if (end > this.limit) throw new ProtocolError(`stream ${this.stream}: ${end - this.limit} bytes beyond the credit`);
    if (this.final !== undefined && end > this.final)
      throw new ProtocolError(`stream ${this.stream}: bytes after its end at ${this.final}`);
    const fresh = offset === this.next ? bytes : bytes.subarray(this.next - offset);
    const at = this.next;
    if (this.#whole) this.#sum(fresh, at);
    this.next = end;
    this.tap?.(fresh);
    this.deliver(fresh, at);
    return true;
  }

  /**
   * The stream ends at `final`.
   * @throws ProtocolError when that contradicts the bytes received.
   */
  endAt(final: number): void {
    if (this.final !== undefined && this.final !== final)
      throw new ProtocolError(`stream ${this.stream} ended at ${this.final} and again at ${final}`);
    // A reader that began after the end has nothing to read.
    if (final < this.next && this.next === this.start) this.startAt(final);
    if (final < this.next)
      throw new ProtocolError(`stream ${this.stream} ends at ${final}, but ${this.next} bytes have come`);
    this.final = final;
  }

  /** The host dropped bytes up to `to` for good. Returns the missing range, if any. */
  skip(from: number, to: number): { from: number; to: number } | undefined {
    if (to <= this.next) return undefined;
    if (from > this.next)
      throw new ProtocolError(`stream ${this.stream}: a gap from ${from} came where ${this.next} is next`);
    const gap = { from: this.next, to };
    this.#whole = false;
    this.#consumed += to - this.next;
    this.next = to;
    this.limit = Math.max(this.limit, to);
    return gap;
  }

  /** The bytes up to `to` are known from elsewhere, and need not come. */
  forgo(to: number): void {
    this.#whole = false;
    this.#consumed += to - this.next;
    this.next = to;
    this.limit = Math.max(this.limit, to);
  }

  /** Reports `n` delivered bytes as consumed. */
  consumed(n: number): void {
    this.#consumed += n;
  }

  /** Bytes delivered but not consumed. */
  get unread(): number {
    return this.next - this.#consumed;
  }

  set unread(bytes: number) {
    this.#consumed = this.next - bytes;
  }

  /**
   * The new absolute limit to announce, or undefined when it is too early: a grant is due for each half of the window.
   * If halves are read faster than the host can hear of it (`rttMs`), the host had to wait for credit, and the window
   * doubles. Source: the same rule in QUIC stacks (RFC 9000 section 4.2 leaves it to them). The window also doubles
   * while it is read quickly.
   */
  grant(rttMs = 0): number | undefined {
    if (this.abandoned || this.#held) return undefined;
    if (this.#burst !== Infinity) return this.#grantBurst();
    const limit = this.#consumed + this.#window;
    const step = limit - this.limit;
    if (step < this.#window / 2) return undefined;
    const now = performance.now();
    const hurried = now - this.#grantedAt < Math.max(4 * rttMs, QUICK) * (step / this.#window);
    this.#grantedAt = now;
    const wider = hurried && this.#window < this.#largest && this.pool?.take(this.#window);
    if (wider) this.#window *= 2;
    this.limit = this.#consumed + this.#window;
    return this.limit;
  }

  /**
   * The last link died before any byte arrived. Requests this many bytes only, then twice as many, and so on: a link
   * that lives for a few kilobytes carries less than a full frame, and would never get anywhere.
   */
  restrain(burst: number): void {
    this.#burst = burst;
    this.limit = Math.min(this.limit, this.next + burst);
  }

  #grantBurst(): number | undefined {
    if (this.limit > this.next) return undefined;
    this.#burst *= 2;
    const limit = Math.min(this.#consumed + this.#window, this.next + this.#burst);
    if (this.#burst >= this.#window) this.#burst = Infinity;
    if (limit <= this.limit) return undefined;
    this.limit = limit;
    return limit;
  }

  /** The offset to acknowledge, when an acknowledgement is due. */
  acknowledge(): number | undefined {
    return this.next - this.#acked < this.#ackEvery ? undefined : this.acknowledgeAll();
  }

  get unacknowledged(): number {
    return this.next - this.#acked;
  }

  acknowledgeAll(): number {
    this.#acked = this.next;
    return this.next;
  }

  /** Returns its window to the pool. */
  release(): void {
    this.pool?.give(Math.max(0, this.#window - FIRST_WINDOW));
    this.pool = undefined;
  }

  /** Saves the checksums at the offset that EXIT names; nothing is missing before it yet. */
  markAt(offset: number): void {
    this.#mark = { offset };
    if (offset === this.next) this.#atMark();
  }

  /** True when every byte up to `offset` is here. */
  has(offset: number): boolean {
    return this.abandoned || this.next >= offset;
  }

  /**
   * Whether the bytes up to the mark are those the host read from the pipe. True also when that is unknown, because
   * some bytes were not requested or are a declared gap.
   */
  matches({ crc32: crc, sha256 }: Exit['upto'][number]): boolean {
    const mark = this.#mark;
    if (!this.#whole || mark?.crc === undefined) return true;
    if (sha256 && mark.sha256 && !mark.sha256.equals(sha256)) return false;
    return mark.crc === crc;
  }

  /** Nothing is missing: the checksums are those of all bytes so far. */
  get isWhole(): boolean {
    return this.#whole;
  }

  /** The CRC-32 of all bytes so far. */
  get crc(): number {
    return this.#crc;
  }

  /** The digest of all bytes so far; undefined when some were not seen. */
  get sha256(): string | undefined {
    return this.#hash && this.#whole ? this.#hash.copy().digest('hex') : undefined;
  }

  #atMark(): void {
    const mark = this.#mark!;
    mark.crc = this.#crc;
    if (this.#hash) mark.sha256 = this.#hash.copy().digest();
  }

  #sum(bytes: Buffer, at: number): void {
    const mark = this.#mark;
    const cut = mark && mark.crc === undefined ? mark.offset - at : 0;
    if (cut > 0 && cut <= bytes.length) {
      this.#add(bytes.subarray(0, cut));
      this.#atMark();
      this.#add(bytes.subarray(cut));
    } else this.#add(bytes);
  }

  #add(bytes: Buffer): void {
    this.#hash?.update(bytes);
    this.#crc = crc32(bytes, this.#crc);
  }
}
