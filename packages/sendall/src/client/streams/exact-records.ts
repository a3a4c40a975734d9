/** The record log of `capture: 'exact'` and `'ordered'`: each write of the command, labelled. */
import { lengthPrefixed } from '@sendall/framing/length-prefixed';
import { ProtocolError } from '../../errors.js';
import { Fifo } from './fifo.js';
import type { Inbound } from './inbound.js';
import type { StreamName } from './output.js';

/** One write of the command. */
export interface OutputRecord {
  readonly stream: StreamName;
  /** Offset of the first byte in its own stream. */
  readonly offset: number;
  /** Microseconds since the command's start. */
  readonly timeUs: number;
  /**
   * The bytes of the write. With `capture: 'exact'` a write of more than 4,096 bytes becomes several records, and
   * writes of a program that reopens /dev/stdout may be merged.
   */
  readonly bytes: Buffer;
  /**
   * The meaning of the order between streams: "written", the true order (`capture: 'ordered'`), or "read", the order in
   * which the host read them (`'exact'`). Within one stream the order is always true.
   */
  readonly order: 'read' | 'written';
}

/** stream:u8 and time:u48be precede the bytes of a record. */
const HEADER = 7;
/** Flag in the stream's byte: the order between streams is the order of reading. */
const AS_READ = 0x80;

export class ExactRecords {
  /** The log itself, as sent by the host. */
  readonly log: Inbound;
  readonly #stdout: Inbound;
  readonly #stderr: Inbound;
  readonly #decoder = lengthPrefixed({ maxFrameLength: 16 * 1024 * 1024 }).decoder();
  #queue: Fifo<OutputRecord> | undefined;
  #queued = 0;
  #wake: (() => void) | undefined;
  #ended = false;
  #order: OutputRecord['order'] = 'written';
  /** The time of the record that is being delivered. */
  #timeUs: number | undefined;

  /** Feeds the records of the log into the two streams. */
  constructor(log: Inbound, stdout: Inbound, stderr: Inbound) {
    this.log = log;
    this.#stdout = stdout;
    this.#stderr = stderr;
    log.deliver = (bytes) => this.#push(bytes);
    // The log's credit covers its contents.
    for (const inbound of [stdout, stderr]) inbound.limit = Number.MAX_SAFE_INTEGER;
  }

  /**
   * Counts the log as read up to the last record whose bytes were all consumed. Call it after bytes of a stream were
   * consumed.
   */
  settle(): void {
    this.log.unread = Math.min(this.log.next, this.#stdout.unread + this.#stderr.unread + this.#queued);
  }

  /** Part of the log is missing: the next record's start is unknown, so the rest is dropped. */
  lose(): void {
    this.log.deliver = (bytes) => this.log.consumed(bytes.length);
  }

  /** The fields of the record that is being delivered; its time is unknown when none is. */
  get mark(): { readonly order: OutputRecord['order']; readonly timeUs: number | undefined } {
    return { order: this.#order, timeUs: this.#timeUs };
  }

  /** No more records will arrive. */
  end(): void {
    this.#ended = true;
    this.#signal();
  }

  /** Each record in turn; it counts as read when the next one is requested. `used` is called then. */
  async *iterate(used: () => void): AsyncGenerator<OutputRecord, void, undefined> {
    const queue = (this.#queue ??= new Fifo());
    for (;;) {
      const record = queue.shift();
      if (record) {
        yield record;
        this.#queued -= record.bytes.length;
        used();
      } else if (this.#ended) return;
      else await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  /** Parses a piece of the log; it may be cut anywhere. */
  #push(chunk: Buffer): void {
    this.#decoder.push(chunk, (frame) => this.#record(frame));
    this.settle();
    this.#signal();
  }

  #record(frame: Buffer): void {
    if (frame.length < HEADER) throw new ProtocolError('a record shorter than its header');
    const stream = (frame[0]! & ~AS_READ) === 2 ? 'stderr' : 'stdout';
    this.#order = frame[0]! & AS_READ ? 'read' : 'written';
    const inbound = stream === 'stderr' ? this.#stderr : this.#stdout;
    const bytes = frame.subarray(HEADER);
    const timeUs = frame.readUIntBE(1, 6);
    if (this.#queue) {
      this.#queue.push({ stream, offset: inbound.next, timeUs, bytes: Buffer.from(bytes), order: this.#order });
      this.#queued += bytes.length;
    }
    this.#timeUs = timeUs;
    inbound.receive(inbound.next, bytes);
    this.#timeUs = undefined;
  }

  #signal(): void {
    this.#wake?.();
    this.#wake = undefined;
  }
}
