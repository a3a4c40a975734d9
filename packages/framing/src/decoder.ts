/** The driver of all decoders: carry-over between chunks, limits, skipping, stopping, errors and statistics. */
import { Buffer, constants } from 'node:buffer';
import {
  type ErrorPlace,
  FrameTimeoutError,
  FrameTooLargeError,
  type FramingError,
  MalformedFrameError,
  TruncatedFrameError,
} from './errors.js';
import { FrameClock } from './frame-clock.js';
import type { Bytes, Decoder, DecoderOptions, DecoderStats, OnFrame, OnSpan } from './framing.js';
import { hintFor } from './hints.js';
import { allocate, copyOf } from './memory.js';
import { checkOptions, checkValue, decoderRules, limitRules, type Policy } from './options.js';
import { Shelf } from './shelf.js';
import { asBuffer, View } from './view.js';

// The one driver that all framings share: carry-over between chunks, limits, skipping, stopping, errors, statistics.
// A framing is a subclass that only says where the next frame ends (`locate`). What follows is equivalent to
//
//   while (bytes are left) {
//     const next = locate(bytes, start, end);
//     if (next === MORE) { keep [start, end) and look again when more has come; break; }
//     if (next === FAULT) { throw, or drop the frame and go on; continue; }
//     deliver [from, to); start = next;
//   }
//
// and differs only in that a chunk is never copied as a whole: a frame inside a chunk is a view of it, and of a frame
// that straddles chunks exactly its own bytes are put together, in a buffer that a header alone never makes bigger than
// 64 KiB.

/** `locate` answers: not enough bytes to say. */
export const MORE = -1;
/** `locate` answers: these bytes are refused; see {@link FrameDecoder.refuse}. */
export const FAULT = -2;
/** A refused frame has no known end: it is dropped until `resync` finds one. */
export const RESYNC = -1;

/** Most bytes that are allocated for bytes that have only been announced. */
const PROMISED = 64 * 1024;

const nothing: Buffer = Buffer.alloc(0);

/**
 * The same number, as a small integer to the engine if it is one. A callback or loop that has once seen a
 * position as a double is compiled for doubles for good, and takes twice as long for a frame.
 */
export function compact(value: number): number {
  return value < 2 ** 30 ? value | 0 : value;
}

// What a call wants: spans, frames in a callback, or a list of frames.
const SPANS = 0;
const FRAMES = 1;
const LIST = 2;
type Mode = typeof SPANS | typeof FRAMES | typeof LIST;

type Sink = OnFrame | OnSpan | undefined;

interface Queued {
  readonly chunk: Buffer;
  mode: Mode;
  on: Sink;
}

interface Fault {
  readonly error: FramingError;
  /** Bytes to drop from the frame's first byte on when it is survived, or RESYNC. */
  readonly drop: number;
}

export abstract class FrameDecoder implements Decoder {
  // What a framing sees and sets. `from`, `to`: the payload's place, in `made` when the framing had to build it, else
  // in the buffer it was given. `from` = -1: bytes that are no frame, -2: idle bytes between frames. `need`: total bytes
  // of the frame before another look makes sense, and `sized` whether that is its whole length. `scanned`: bytes of it
  // that were looked at before. `limit`: maxFrameLength as it was when the frame began. `keep`: first byte that `resync`
  // wants to see again.
  protected from = 0;
  protected to = 0;
  protected made: Buffer | undefined;
  protected need = 0;
  protected sized = false;
  protected scanned = 0;
  protected limit: number;
  protected keep = 0;
  /** Nothing follows the bytes that `locate` sees. */
  protected atEnd = false;

  // The chunk being decoded: [at, till) is left of it.
  protected chunk: Buffer = nothing;
  protected at = 0;
  protected till = 0;
  protected on: Sink;
  protected list: Buffer[] = [];
  protected stopped = false;
  /** Set when a callback has changed what a hot loop took for granted: the rest of the chunk, or the limit. */
  protected interrupted = false;
  protected frames = 0;
  protected payloadBytes = 0;
  protected largestFrame = 0;
  protected max: number;
  /** Frames are plain views: the hot loops may make them themselves. */
  protected plainViews: boolean;

  #mode: Mode = SPANS;
  /** Stream position of the chunk's first byte, and of the byte at index 0 of what `locate` looks at. */
  #origin = 0;
  #base = 0;
  /** The first `held` bytes of `carry` are a frame in progress that began at stream position `carryOffset`. */
  #carry = nothing;
  #held = 0;
  #carryOffset = 0;
  /** The frame in progress had the length it asked for and asked again: what it asks for is not its whole length. */
  #asksAgain = false;
  /** The carry is a view of the caller's chunks, which follow each other in memory; nothing is written to it. */
  #borrowed = false;
  /** A carry whose frame was only lent to a callback: the next frame can have it. */
  #spare = nothing;
  /** Bytes of a refused frame still to drop, or RESYNC. */
  #skipLeft = 0;
  /** Bytes that the stream begins with before its first frame, and how many of them are still to come. */
  #preface = 0;
  #prefaceDue = 0;
  #fault: Fault | undefined;
  #due: FramingError | undefined;
  #late: FramingError | undefined;
  #failure: FramingError | undefined;
  #queue: Queued[] = [];
  #busy = false;
  #ending = false;
  #ended = false;
  #restGiven = false;
  readonly #auto: boolean;
  readonly #always: boolean;
  readonly #never: boolean;
  #shelf: Shelf | undefined;

  #bytes = 0;
  #dropped = 0;
  #skippedFrames = 0;
  #skippedBytes = 0;
  #straddled = 0;
  #copiedBytes = 0;
  #errors = 0;

  readonly #onError: (error: FramingError) => void;
  readonly #clock: FrameClock | undefined;

  constructor(
    readonly framing: string,
    protected readonly policy: Policy,
    options: DecoderOptions = {},
  ) {
    const where = `${framing} decoder`;
    const { copy, frameTimeout } = checkOptions(where, options, decoderRules);
    this.#auto = copy === 'auto';
    this.#always = copy === 'always';
    this.#never = copy === 'never';
    this.plainViews = !this.#always;
    if (frameTimeout > 0) this.#clock = new FrameClock(frameTimeout, () => this.#timedOut(frameTimeout));
    this.#onError = (error) => options.onError?.(error);
    this.max = policy.maxFrameLength;
    this.limit = this.max;
  }

  // --- What a framing says.

  /**
   * Looks at [start, end) of `buf`, which begins with the first byte of a frame and ends with the buffer, and returns
   * where the next frame begins, MORE or FAULT. Its answer for some bytes must hold for every longer run that begins with
   * them: that alone makes the result independent of the cuts.
   */
  protected abstract locate(buf: Buffer, start: number, end: number): number;

  /** Looks for the end of a refused frame: where the next begins, or MORE with `keep` set. */
  protected resync(_buf: Buffer, _start: number, end: number): number {
    this.keep = end;
    return MORE;
  }

  /** Makes a frame of what is left at the end of the stream, if it can be one: sets `from` and `to`. */
  protected finish(_buf: Buffer, _start: number, _end: number): boolean {
    return false;
  }

  /** Whether the end of the stream itself is the end of an empty frame. */
  protected get endsWithFrame(): boolean {
    return false;
  }

  /**
   * A hot loop, for framings that have one: delivers whole, faultless frames of the chunk and leaves `at` where something
   * else begins, which is then left to `locate`. Each framing writes its own, as a loop that calls a framing for each
   * frame takes three times as long. Frames go as spans to `on`, or as views to `list` or `on`; `at` moves on before
   * each, and `interrupted` is looked at behind each.
   */
  protected hurry(_spans: boolean, _list: Buffer[] | undefined): void {}

  /** For hot loops: what they delivered. */
  protected tally(frames: number, bytes: number, largest: number): void {
    this.frames += frames;
    this.payloadBytes += bytes;
    if (largest > this.largestFrame) this.largestFrame = largest;
  }

  /** For `locate`: the frame has `need` bytes in all, or at least that many if `sized` is false. */
  protected more(need: number, sized: boolean): typeof MORE {
    this.need = compact(need);
    this.sized = sized;
    return MORE;
  }

  /** For `locate`: refuses the frame that begins at `start`. `drop` says how it can be survived; undefined: not. */
  protected refuse(
    buf: Buffer,
    start: number,
    end: number,
    drop: number | undefined,
    make: (place: ErrorPlace) => FramingError,
    hint?: string,
  ): typeof FAULT {
    const head = copyOf(buf, start, Math.min(end, start + 64));
    const error = make({
      framing: this.framing,
      offset: this.#base + start,
      frameIndex: this.#index(),
      fatal: drop === undefined,
      head,
      hint: hintFor(head) ?? hint,
    });
    this.#fault = { error, drop: drop ?? 0 };
    return FAULT;
  }

  /** For `locate`: refuses a frame of `size` payload bytes, which ends `total` bytes behind `start` (or RESYNC). */
  protected tooLarge(
    buf: Buffer,
    start: number,
    end: number,
    size: number | bigint,
    total: number,
    hint?: string,
  ): typeof FAULT {
    const survive = this.policy.skip && typeof size === 'number' && Number.isSafeInteger(total);
    const { limit } = this;
    return this.refuse(
      buf,
      start,
      end,
      survive ? total : undefined,
      (place) => new FrameTooLargeError(size, limit, place),
      hint,
    );
  }

  protected malformed(buf: Buffer, start: number, end: number, why: string, drop?: number): typeof FAULT {
    return this.refuse(buf, start, end, drop, (place) => new MalformedFrameError(why, place));
  }

  // --- What a user calls.

  decode(chunk: Bytes): Buffer[] {
    if (this.#busy || this.stopped) {
      this.#feed(chunk, LIST, undefined);
      return [];
    }
    const list: Buffer[] = [];
    this.list = list;
    try {
      this.#feed(chunk, LIST, undefined);
    } catch (error) {
      if (this.#failure !== undefined && error === this.#failure) this.#failure.frames ??= list;
      throw error;
    } finally {
      this.list = [];
    }
    return list;
  }

  push(chunk: Bytes, on: OnFrame): boolean {
    return this.#feed(chunk, FRAMES, on);
  }

  scan(chunk: Bytes, on: OnSpan): boolean {
    return this.#feed(chunk, SPANS, on);
  }

  resume(on: OnFrame): boolean {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#busy || !this.stopped) return true;
    for (const each of this.#queue) each.on = undefined;
    this.stopped = false;
    return this.#run(FRAMES, on);
  }

  end(on?: OnFrame): void {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#ended) return;
    this.#ending = true;
    if (this.#busy) return;
    if (this.stopped) {
      if (on === undefined) return;
      this.resume(on);
      return;
    }
    this.#run(FRAMES, on);
  }

  takeRest(): Buffer {
    const parts = [this.#carry.subarray(0, this.#held), this.chunk.subarray(this.at, this.till)];
    for (const each of this.#queue) parts.push(each.chunk);
    const left = parts.filter((part) => part.length > 0);
    const rest = left.length === 1 && left[0] !== undefined && !this.#always ? left[0] : Buffer.concat(left);
    this.#letGo();
    return rest;
  }

  reset(): void {
    this.#letGo();
    this.#failure = undefined;
    this.#ending = this.#ended = this.#restGiven = this.atEnd = false;
    this.frames = this.payloadBytes = this.largestFrame = 0;
    this.#bytes = this.#origin = this.#dropped = this.#skippedFrames = this.#skippedBytes = 0;
    this.#straddled = this.#copiedBytes = this.#errors = 0;
    // Behind what was dropped begins a new stream.
    this.#origin = 0 - this.till;
    this.#prefaceDue = this.#preface;
  }

  /** Has the first `size` bytes of the stream taken as one frame. */
  beginWith(size: number): void {
    this.#preface = this.#prefaceDue = size;
  }

  get maxFrameLength(): number {
    return this.max;
  }

  set maxFrameLength(value: number) {
    this.max = checkValue(this.framing, 'maxFrameLength', value, limitRules.maxFrameLength);
    this.interrupted = true;
  }

  get state(): Decoder['state'] {
    if (this.#failure !== undefined) return 'failed';
    if (this.stopped) return 'stopped';
    if (this.#ended) return 'ended';
    if (this.#skipLeft !== 0) return 'skipping';
    return this.#held > 0 ? 'partial' : 'idle';
  }

  get missing(): number | undefined {
    if (this.#skipLeft > 0) return this.#skipLeft;
    // A header of some bytes and 2^53-1 more are beyond what a number can say exactly.
    return this.#held > 0 && this.sized ? Math.min(this.need - this.#held, Number.MAX_SAFE_INTEGER) : undefined;
  }

  get stats(): DecoderStats {
    let queued = 0;
    for (const each of this.#queue) queued += each.chunk.length;
    return {
      bytes: this.#bytes,
      frames: this.frames,
      payloadBytes: this.payloadBytes,
      skippedFrames: this.#skippedFrames,
      skippedBytes: this.#skippedBytes,
      largestFrame: this.largestFrame,
      straddled: this.#straddled,
      copiedBytes: this.#copiedBytes,
      buffered: this.#held + (this.till - this.at) + queued,
      errors: this.#errors,
    };
  }

  /** For adaptors: whether frames are kept, so that small ones are copied out of big chunks (`copy: 'auto'`). */
  keepFrames(kept: boolean): void {
    if (!this.#auto) return;
    this.#shelf = kept ? new Shelf() : undefined;
    this.plainViews = !kept;
  }

  /** For adaptors that stop reading: a sender is not slow while its bytes are not read. */
  pauseTimeout(): void {
    this.#clock?.pause();
  }

  /** The adaptor reads again: the clock of the frame in progress goes on. */
  resumeTimeout(): void {
    this.#clock?.resume();
  }

  // --- The driver.

  #feed(chunk: Bytes, mode: Mode, on: Sink): boolean {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#ended || this.#ending) throw new Error(`${this.framing}: the decoder has ended; reset() makes it as new`);
    if (mode !== LIST && typeof on !== 'function') throw new TypeError(`${this.framing}: expected a callback`);
    let buf = asBuffer(chunk);
    this.#bytes += buf.length;
    if (this.#busy || this.stopped) {
      if (buf.length === 0) return !this.stopped;
      if (this.#always) buf = copyOf(buf);
      this.#queue.push({ chunk: buf, mode, on: this.#busy ? on : undefined });
      return !this.stopped;
    }
    this.#origin += this.chunk.length;
    this.chunk = buf;
    this.at = 0;
    this.till = buf.length;
    return this.#run(mode, on);
  }

  #run(mode: Mode, on: Sink): boolean {
    this.#busy = true;
    this.#mode = mode;
    this.on = on;
    try {
      this.#loop();
    } catch (error) {
      // A callback threw: its frame counts as delivered, what is behind it is kept.
      if (error !== this.#failure) this.stopped = this.at < this.till || this.#queue.length > 0 || this.#ending;
      throw error;
    } finally {
      this.#busy = false;
      this.on = undefined;
      if (this.#always && this.at < this.till) this.#ownChunk();
      this.#shelf?.clear();
      if (this.#held === 0) this.#spare = nothing;
      if (this.#clock !== undefined) this.#watchFrame(this.#clock);
    }
    return !this.stopped;
  }

  #loop(): void {
    for (;;) {
      if (this.at >= this.till) {
        if (this.stopped) return;
        if (!this.#nextChunk() && !this.#lastChunk()) return;
        continue;
      }
      if (this.#held > 0) this.#extend();
      else if (this.#skipLeft > 0) this.#drop();
      else this.#step();
      if (this.stopped && this.at < this.till) return;
    }
  }

  /** Takes the next chunk that was pushed from inside a callback or while stopped. */
  #nextChunk(): boolean {
    const next = this.#queue.shift();
    this.#origin += this.chunk.length;
    this.chunk = next?.chunk ?? nothing;
    this.at = 0;
    this.till = this.chunk.length;
    if (next === undefined) return false;
    if (next.on !== undefined) {
      this.#mode = next.mode;
      this.on = next.on;
    }
    return true;
  }

  /** At the end of the stream: what is held is looked at once more, now that nothing follows it. */
  #lastChunk(): boolean {
    if (!this.#ending || this.#ended) return false;
    this.atEnd = true;
    if (this.#held > 0) {
      this.chunk = this.#carry.subarray(0, this.#held);
      this.#origin = this.#carryOffset;
      this.at = 0;
      this.till = this.#held;
      this.#clearCarry();
      return true;
    }
    if (this.#skipLeft === 0 && this.endsWithFrame && !this.#restGiven && this.#prefaceDue === 0) {
      this.#restGiven = true;
      this.from = this.to = 0;
      this.#deliver(nothing);
      if (this.stopped) return true;
    }
    this.#finished();
    return false;
  }

  #finished(): void {
    this.#ended = true;
    this.#ending = false;
    this.atEnd = false;
    this.#skipLeft = 0;
    const late = this.#late;
    this.#late = undefined;
    if (late !== undefined) this.#report(late);
  }

  /** One look at the chunk where no frame is in progress. */
  #step(): void {
    if (this.#skipLeft === 0) {
      this.interrupted = false;
      const mode = this.#mode;
      if (this.#prefaceDue === 0 && (mode === SPANS || this.plainViews))
        this.hurry(mode === SPANS, mode === LIST ? this.list : undefined);
      if (this.stopped || this.at >= this.till) return;
      if (!this.atEnd) this.limit = this.max;
      this.scanned = 0;
      this.need = 0;
      this.sized = false;
    }
    const start = this.at;
    this.#base = this.#origin;
    const next = compact(this.#look(this.chunk, start, this.till));
    if (next >= 0) {
      this.#advance(next);
      this.#found(this.chunk, next - start);
    } else if (next === FAULT) {
      this.#fail();
    } else if (this.atEnd) {
      this.#rest();
    } else {
      this.#hold(this.#skipLeft === RESYNC ? this.keep : start);
    }
    if (this.#due !== undefined) this.#reportDue();
  }

  /** Moves on in the chunk; a frame that is dropped may end behind it. */
  #advance(next: number): void {
    if (next > this.till) {
      this.#skipLeft = next - this.till;
      this.at = this.till;
    } else {
      this.at = next;
    }
  }

  /** `locate`, or `resync` inside a refused frame; a fault that can be survived becomes one. */
  #look(buf: Buffer, start: number, end: number): number {
    if (this.#skipLeft === 0) {
      const next = this.#prefaceDue === 0 ? this.locate(buf, start, end) : this.#takePreface(start, end);
      if (next !== FAULT) return next;
      const fault = this.#fault as Fault;
      if (fault.error.fatal) return FAULT;
      this.#skippedFrames++;
      if (this.policy.late) this.#late = fault.error;
      else this.#due = fault.error;
      if (fault.drop !== RESYNC) {
        this.from = -1;
        return start + fault.drop;
      }
      this.#skipLeft = RESYNC;
    }
    const next = this.resync(buf, start, end);
    if (next >= 0) {
      this.#skipLeft = 0;
      this.from = -1;
    }
    return next;
  }

  /** As `locate`, for the preface. */
  #takePreface(start: number, end: number): number {
    const size = this.#prefaceDue;
    if (end - start < size) return this.more(size, true);
    this.#prefaceDue = 0;
    this.from = start;
    this.to = start + size;
    return this.to;
  }

  #fail(): void {
    const { error } = this.#fault as Fault;
    this.#failure = error;
    this.#errors++;
    throw error;
  }

  #found(buf: Buffer, length: number): void {
    if (this.from >= 0) {
      this.#deliver(buf);
      return;
    }
    if (this.from === -1) this.#skippedBytes += length - this.#skipLeft;
    if (this.#late !== undefined && this.#skipLeft === 0) {
      this.#due = this.#late;
      this.#late = undefined;
    }
  }

  /** Keeps [from, till) of the chunk: the beginning of a frame whose end has not come. */
  #hold(from: number): void {
    if (this.#skipLeft === RESYNC) this.#skippedBytes += from - this.at;
    this.at = this.till;
    const length = this.till - from;
    if (length === 0) return;
    this.#carryOffset = this.#origin + from;
    this.#straddled++;
    if (this.#never && this.sized) {
      this.#carry = this.chunk.subarray(from, this.till);
      this.#borrowed = true;
      this.#held = length;
      return;
    }
    this.#reserve(length, length);
    this.chunk.copy(this.#carry, 0, from, this.till);
    this.#held = length;
    this.#copiedBytes += length;
  }

  /** Adds bytes of the chunk to the frame in progress: all it needs, or twice as much as there was. */
  #extend(): void {
    const before = this.#held;
    const began = this.at;
    const left = this.till - began;
    const want = this.need > before ? this.need - before : Math.max(64, before);
    const take = want < left ? want : left;
    if (this.#borrowed && this.#follows(began)) {
      this.#carry = new View(this.#carry.buffer, this.#carry.byteOffset, before + take);
    } else {
      this.#reserve(before + take, before + left);
      this.chunk.copy(this.#carry, before, began, began + take);
      this.#copiedBytes += take;
    }
    this.#held = before + take;
    this.at = began + take;
    if (this.#held < this.need) return;

    const carry = this.#carry;
    this.#base = this.#carryOffset;
    // Only what is there, or a search would run into memory that was never written.
    const seen = new View(carry.buffer, carry.byteOffset, this.#held);
    const asked = this.sized;
    const next = compact(this.#look(seen, 0, this.#held));
    if (next >= 0) {
      this.#settle(next, before, began);
      this.#found(carry, next);
    } else if (next === FAULT) {
      this.#fail();
    } else if (this.#skipLeft === RESYNC) {
      const { keep } = this;
      this.#skippedBytes += keep;
      this.#carry = copyOf(carry, keep, this.#held);
      this.#borrowed = false;
      this.#held -= keep;
      this.#carryOffset += keep;
      this.need = 0;
    } else if (asked) {
      this.#asksAgain = true;
    }
    if (this.#due !== undefined) this.#reportDue();
  }

  /**
   * The first `next` bytes of the carry are done with. What was added to it from the chunk, behind them, goes back to
   * the chunk; of what was there `before`, the rest is carried on.
   */
  #settle(next: number, before: number, began: number): void {
    const carry = this.#carry;
    const held = this.#held;
    this.#clearCarry();
    if (next > held) {
      this.#skipLeft = next - held;
    } else if (next >= before) {
      this.at = began + (next - before);
    } else {
      this.at = began;
      this.#carryOffset += next;
      // Whether it was borrowed counts until the frame is delivered: its memory must not be used again then.
      this.#carry = copyOf(carry, next, before);
      this.#held = before - next;
      this.limit = this.max;
    }
  }

  #clearCarry(): void {
    this.#carry = nothing;
    this.#held = 0;
    this.need = 0;
    this.sized = false;
    this.scanned = 0;
    this.#asksAgain = false;
  }

  /**
   * Room for `size` bytes in the carry, `arrived` of which are here. A frame of known length gets it all at once when
   * at most 64 KiB of that are a mere promise or more than 64 KiB have come, else 64 KiB first. Where more may be asked
   * for, room at least doubles, so that not every chunk copies all bytes before it again.
   */
  #reserve(size: number, arrived: number): void {
    if (this.#carry.length >= size) return;
    let room: number;
    if (this.sized) {
      room = this.need <= arrived + PROMISED || arrived > PROMISED ? this.need : PROMISED;
      if (this.#asksAgain) room = Math.max(room, Math.min(2 * this.#carry.length, this.limit + PROMISED));
      if (room > constants.MAX_LENGTH) {
        this.refuse(this.#carry, 0, this.#held, undefined, (place) => {
          return new FrameTooLargeError(this.need, constants.MAX_LENGTH, place, 'memory for a frame');
        });
        this.#fail();
      }
    } else {
      room = Math.max(this.need, size, Math.min(2 * size, this.limit + PROMISED), 64);
    }
    const spare = this.#spare;
    this.#spare = nothing;
    const bigger = spare.length >= room ? spare : allocate(room);
    if (this.#held > 0) {
      this.#carry.copy(bigger, 0, 0, this.#held);
      this.#copiedBytes += this.#held;
    }
    this.#carry = bigger;
    this.#borrowed = false;
  }

  /** Whether the chunk from `at` stands in memory right behind what is held. */
  #follows(at: number): boolean {
    const { buffer, byteOffset } = this.#carry;
    return this.chunk.buffer === buffer && this.chunk.byteOffset + at === byteOffset + this.#held;
  }

  /** Drops bytes of a refused frame of known length. */
  #drop(): void {
    const count = Math.min(this.#skipLeft, this.till - this.at);
    this.at += count;
    this.#skippedBytes += count;
    this.#skipLeft -= count;
    if (this.#skipLeft === 0 && this.#late !== undefined) {
      this.#due = this.#late;
      this.#late = undefined;
      this.#reportDue();
    }
  }

  /** The stream has ended and [at, till) of the chunk is no whole frame. */
  #rest(): void {
    const { chunk, at: start, till } = this;
    if (this.#skipLeft === RESYNC || this.policy.onEnd === 'discard') {
      this.#skippedBytes += till - start;
      this.at = till;
      return;
    }
    if (this.policy.onEnd === 'deliver' && this.#prefaceDue === 0 && this.finish(chunk, start, till)) {
      const size = this.to - this.from;
      if (this.sized || size <= this.limit) {
        this.at = till;
        this.#restGiven = true;
        this.#deliver(chunk);
        return;
      }
      this.tooLarge(chunk, start, till, size, till - start);
      const { error } = this.#fault as Fault;
      if (error.fatal) this.#fail();
      this.#skippedFrames++;
      this.#skippedBytes += till - start;
      this.at = till;
      this.#report(error);
      return;
    }
    const rest = copyOf(chunk, start, till);
    const need = this.sized ? this.need : undefined;
    this.refuse(chunk, start, till, undefined, (place) => new TruncatedFrameError(rest, need, place));
    this.#fail();
  }

  #deliver(buf: Buffer): void {
    const { made } = this;
    const from = compact(this.from);
    const to = compact(this.to);
    const size = to - from;
    if (size === 0 && this.policy.dropEmpty) {
      this.#dropped++;
      return;
    }
    this.frames++;
    this.payloadBytes += size;
    if (size > this.largestFrame) this.largestFrame = size;
    let source = buf;
    if (made !== undefined) {
      source = made;
      this.made = undefined;
    }
    if (this.#mode === SPANS) {
      if ((this.on as OnSpan)(source, from, to) === false) this.stopped = true;
      if (source !== this.chunk && !this.#borrowed && source.length <= 2 * PROMISED) this.#spare = source;
    } else {
      this.give(this.cut(source, from, to));
    }
  }

  /** Hands a frame to the callback or the list. */
  protected give(frame: Buffer): void {
    if (this.#mode === LIST) this.list.push(frame);
    else if (this.on === undefined) {
      throw new TypeError(`${this.framing}: end() completes a frame: give it a callback to take it`);
    } else if ((this.on as OnFrame)(frame) === false) this.stopped = true;
  }

  /** Makes a frame of a stretch of bytes, as `copy` has it. */
  protected cut(buf: Buffer, from: number, to: number): Buffer {
    // What is not the chunk was put together for this frame alone.
    if (buf === this.chunk) {
      if (this.#always) return copyOf(buf, from, to);
      if (this.#shelf !== undefined) return this.#shelf.cut(buf, from, to, this.till);
    }
    return new View(buf.buffer, buf.byteOffset + from, to - from);
  }

  /** With `copy: 'always'` nothing of the caller's chunk outlives the call. */
  #ownChunk(): void {
    this.#origin += this.at;
    this.chunk = copyOf(this.chunk, this.at, this.till);
    this.till -= this.at;
    this.at = 0;
  }

  #letGo(): void {
    this.interrupted = true;
    this.#clearCarry();
    this.#queue = [];
    this.at = this.till;
    this.#skipLeft = 0;
    this.#late = this.#due = undefined;
    this.stopped = false;
    this.made = undefined;
    this.#clock?.watch(-1);
    if (!this.#busy) {
      this.#origin += this.chunk.length;
      this.chunk = nothing;
      this.at = this.till = 0;
    }
  }

  #index(): number {
    return this.frames + this.#dropped + this.#skippedFrames;
  }

  #reportDue(): void {
    const due = this.#due as FramingError;
    this.#due = undefined;
    this.#report(due);
  }

  #report(error: FramingError): void {
    this.#errors++;
    this.#onError(error);
  }

  #watchFrame(clock: FrameClock): void {
    const inFrame = (this.#held > 0 || this.#skipLeft !== 0) && !this.stopped;
    clock.watch(inFrame && this.#failure === undefined && !this.#ended ? this.#index() : -1);
  }

  #timedOut(ms: number): void {
    this.#base = this.#carryOffset;
    this.refuse(this.#carry, 0, this.#held, undefined, (place) => new FrameTimeoutError(ms, place));
    const { error } = this.#fault as Fault;
    this.#failure = error;
    this.#report(error);
  }
}
