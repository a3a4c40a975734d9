/** The record log of `capture: 'exact'`: each write of the command, labelled, in true order. */
import { lengthPrefixed } from '@sendall/framing';
import { ProtocolError } from '../errors.js';
import { Fifo } from './fifo.js';
import type { Inbound } from './inbound.js';
import type { StreamName } from './output.js';

export interface OutputRecord {
  readonly stream: StreamName;
  /** Place of the first byte in its own stream. */
  readonly offset: number;
  /** Microseconds since the command's start. */
  readonly timeUs: number;
  /** Exactly what one write wrote. */
  readonly bytes: Buffer;
}

/** stream:u8 and time:u48be before the bytes of a record. */
const HEADER = 7;

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
    const stream = frame[0] === 2 ? 'stderr' : 'stdout';
    const inbound = stream === 'stderr' ? this.#stderr : this.#stdout;
    const bytes = frame.subarray(HEADER);
    if (this.#queue) {
      this.#queue.push({ stream, offset: inbound.next, timeUs: frame.readUIntBE(1, 6), bytes: Buffer.from(bytes) });
      this.#queued += bytes.length;
    }
    inbound.receive(inbound.next, bytes);
  }

  #signal(): void {
    this.#wake?.();
    this.#wake = undefined;
  }
}
