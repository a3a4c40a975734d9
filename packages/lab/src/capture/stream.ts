/** Puts the bytes of one direction of a TCP connection into order by their sequence numbers. Source: RFC 9293, 3.4. */

/** What a direction reports. Offsets count from the first byte of the stream. */
export interface StreamSink {
  bytes(bytes: Buffer): void;
  /** Bytes that the capture does not have. */
  gap(offset: number, length: number, why: GapReason): void;
  /** Bytes that had been seen before. */
  repeated(offset: number, length: number): void;
  /** Bytes that wait for those before them. */
  early(offset: number, length: number): void;
  end(): void;
}

export type GapReason = 'cut by the capture' | 'not in the capture';

/** Segments and bytes that wait in all streams of a capture. */
export interface Held {
  bytes: number;
  readonly mostBytes: number;
  readonly mostSegments: number;
}

interface Waiting {
  readonly offset: number;
  /** Bytes on the wire. */
  readonly length: number;
  readonly payload: Buffer;
}

/** The largest window that TCP can offer: nothing honest lies farther ahead. Source: RFC 7323, section 2.3. */
const LARGEST_WINDOW = 2 ** 30;
/**
 * A capture may have packets in another order than the machine. Bytes that their receiver has acknowledged count as
 * missing only after this many more packets of the connection.
 */
const LATE_PACKETS = 32;
/** What a waiting segment takes besides its bytes. */
const OVERHEAD = 128;

export class Stream {
  readonly #sink: StreamSink;
  readonly #held: Held;
  /** The sequence number of offset 0. */
  #base: number | undefined;
  /** Offset of the next byte in order. */
  #next = 0;
  #waiting: Waiting[] = [];
  /** Offset of the end, once a FIN has said it. */
  #end: number | undefined;
  #ended = false;
  /** Up to where the receiver has acknowledged. */
  #acknowledged = 0;
  #packetsSince = 0;

  constructor(sink: StreamSink, held: Held) {
    this.#sink = sink;
    this.#held = held;
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** Its receiver has acknowledged its end: what is missing will not come. */
  get over(): boolean {
    return this.#ended || (this.#end !== undefined && this.#acknowledged > this.#end);
  }

  /** The sequence number of its SYN; `undefined` if none was seen. */
  begunWith: number | undefined;

  /** A SYN, which counts as one byte before the first. */
  begin(sequence: number): void {
    this.begunWith = sequence;
    this.#base ??= (sequence + 1) >>> 0;
  }

  /** A segment; returns false if it lies outside of any window. */
  segment(sequence: number, payload: Buffer, length: number, fin: boolean): boolean {
    this.#base ??= sequence;
    const offset = this.#next + this.#ahead(sequence);
    if (offset - this.#next > LARGEST_WINDOW || this.#next - offset > LARGEST_WINDOW) return false;
    if (fin) this.#end ??= Math.max(this.#next, offset + length);
    if (length > 0 && !this.#ended) this.#place({ offset, length, payload });
    this.#finishEnd();
    return true;
  }

  /** The receiver expects the byte with this number. */
  acknowledge(sequence: number): void {
    this.#base ??= sequence;
    const offset = this.#next + this.#ahead(sequence);
    if (offset > this.#acknowledged && offset - this.#next <= LARGEST_WINDOW) this.#acknowledged = offset;
  }

  /** A packet of the connection has passed: acknowledged bytes that still do not come are missing. */
  passed(): void {
    const missing = this.#acknowledged > this.#next && this.#waiting.length > 0;
    this.#packetsSince = missing ? this.#packetsSince + 1 : 0;
    if (this.#packetsSince > LATE_PACKETS) {
      this.#packetsSince = 0;
      this.#skip();
      this.#finishEnd();
    }
  }

  /** The capture has no more of it: what waits follows behind gaps. */
  finish(): void {
    while (this.#waiting.length > 0) this.#skip();
    // A FIN that is not in the capture counts as one acknowledged byte.
    const last = this.#end ?? (this.#acknowledged > this.#next + 1 ? this.#acknowledged : this.#next);
    if (last > this.#next) this.#gap(last - this.#next, 'not in the capture');
    this.#finishEnd();
  }

  /** How far a sequence number lies ahead of the next byte; negative if it lies behind. Numbers wrap at 2^32. */
  #ahead(sequence: number): number {
    return (sequence - ((this.#base! + this.#next) >>> 0)) | 0;
  }

  #place(segment: Waiting): void {
    const { offset, length } = segment;
    const end = offset + length;
    if (end <= this.#next) {
      const keepAlive = length === 1 && end === this.#next;
      if (!keepAlive) this.#sink.repeated(offset, length);
    } else if (offset > this.#next) this.#hold(segment);
    else {
      if (offset < this.#next) this.#sink.repeated(offset, this.#next - offset);
      this.#deliver(segment);
      this.#drain();
    }
  }

  #hold(segment: Waiting): void {
    const waiting = this.#waiting;
    let low = 0;
    for (let high = waiting.length; low < high;) {
      const middle = (low + high) >> 1;
      if (waiting[middle]!.offset < segment.offset) low = middle + 1;
      else high = middle;
    }
    const same = waiting[low];
    if (same && same.offset === segment.offset && same.length >= segment.length) {
      this.#sink.repeated(segment.offset, segment.length);
      return;
    }
    this.#sink.early(segment.offset, segment.length);
    waiting.splice(low, 0, { ...segment, payload: Buffer.from(segment.payload) });
    this.#held.bytes += segment.payload.length + OVERHEAD;
    while (
      this.#waiting.length > 0 &&
      (this.#waiting.length > this.#held.mostSegments || this.#held.bytes > this.#held.mostBytes)
    )
      this.#skip();
  }

  /** Passes on what is new of a segment that has come into its turn. */
  #deliver({ offset, length, payload }: Waiting): void {
    const known = this.#next - offset;
    const bytes = payload.subarray(known);
    if (bytes.length > 0) {
      this.#next += bytes.length;
      this.#sink.bytes(bytes);
    }
    const cut = offset + length - this.#next;
    if (cut > 0) this.#gap(cut, 'cut by the capture');
  }

  #drain(): void {
    const waiting = this.#waiting;
    let done = 0;
    for (let first = waiting[done]; first && first.offset <= this.#next; first = waiting[++done]) {
      this.#held.bytes -= first.payload.length + OVERHEAD;
      if (first.offset + first.length > this.#next) this.#deliver(first);
    }
    if (done > 0) waiting.splice(0, done);
  }

  /** Gives up the bytes before the first segment that waits. */
  #skip(): void {
    this.#gap(this.#waiting[0]!.offset - this.#next, 'not in the capture');
    this.#drain();
  }

  #gap(length: number, why: GapReason): void {
    const offset = this.#next;
    this.#next += length;
    this.#sink.gap(offset, length, why);
  }

  #finishEnd(): void {
    if (this.#ended || this.#end === undefined || this.#next < this.#end) return;
    this.#ended = true;
    this.#sink.end();
  }
}
