/** The record log of `capture: 'exact'` and `'ordered'`: each write of the command, labelled. */
import { lengthPrefixed } from '@sendall/framing/length-prefixed';
import { ProtocolError } from '../../errors.js';
import { Fifo } from './fifo.js';
import type { Inbound } from './inbound.js';
import type { StreamName } from './output.js';

/** One write of the command. */
export interface OutputRecord {
  readonly stream: StreamName;
  /** Place of the first byte in its own stream. */
  readonly offset: number;
  /** Microseconds since the command's start. */
  readonly timeUs: number;
  /**
   * What one write wrote. With `capture: 'exact'` a write of more than 4,096 bytes is several records, and writes of a
   * program that opens /dev/stdout anew may come together.
   */
  readonly bytes: Buffer;
  /**
   * What the order of records of different streams says: "written", the true order (`capture: 'ordered'`), or "read",
   * the order in which the host read them (`'exact'`). Within one stream it is always the true one.
   */
  readonly order: 'read' | 'written';
}

/** stream:u8 and time:u48be before the bytes of a record. */
const HEADER = 7;
/** In the stream's byte: the order between the streams is that of reading. */
const AS_READ = 0x80;

export class ExactRecords {
  /** The log itself, as the host sends it. */
  readonly log: Inbound;
  readonly #stdout: Inbound;
  readonly #stderr: Inbound;
  readonly #decoder = lengthPrefixed({ maxFrameLength: 16 * 1024 * 1024 }).decoder();
  #queue: Fifo<OutputRecord> | undefined;
  #queued = 0;
  #wake: (() => void) | undefined;
  #ended = false;
  #order: OutputRecord['order'] = 'written';

  /** Feeds what the log says into the two streams. */
  constructor(log: Inbound, stdout: Inbound, stderr: Inbound) {
    this.log = log;
    this.#stdout = stdout;
    this.#stderr = stderr;
    log.deliver = (bytes) => this.#push(bytes);
    // The log's credit holds for what is in it.
    for (const inbound of [stdout, stderr]) inbound.limit = Number.MAX_SAFE_INTEGER;
  }

  /** The log is read as far as everything that came of it was. Call it when bytes of a stream were used up. */
  settle(): void {
    this.log.unread = Math.min(this.log.next, this.#stdout.unread + this.#stderr.unread + this.#queued);
  }

  /** Some of the log is missing: where a record begins behind that cannot be told, so the rest is taken and dropped. */
  lose(): void {
    this.log.deliver = (bytes) => this.log.consumed(bytes.length);
  }

  /** What is the same for all records. */
  get mark(): Pick<OutputRecord, 'order'> {
    return { order: this.#order };
  }

  /** Nothing more will come. */
  end(): void {
    this.#ended = true;
    this.#signal();
  }

  /** Each record as it comes; it counts as read when the next one is asked for. `used` is called then. */
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

  /** Takes a piece of the log; cuts may lie anywhere. */
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
    if (this.#queue) {
      const timeUs = frame.readUIntBE(1, 6);
      this.#queue.push({ stream, offset: inbound.next, timeUs, bytes: Buffer.from(bytes), order: this.#order });
      this.#queued += bytes.length;
    }
    inbound.receive(inbound.next, bytes);
  }

  #signal(): void {
    this.#wake?.();
    this.#wake = undefined;
  }
}
