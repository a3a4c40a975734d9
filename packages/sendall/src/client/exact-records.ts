/** The record log of `capture: 'exact'`: each write of the command, labelled, in true order. */
import { lengthPrefixed } from '@sendall/framing';
import { ProtocolError } from '../errors.js';
import type { Inbound } from './inbound.js';

export interface OutputRecord {
  readonly stream: 'stdout' | 'stderr';
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
  readonly #decoder = lengthPrefixed({ maxFrameLength: 16 * 1024 * 1024 }).decoder();
  readonly #onBytes: (stream: number, bytes: Buffer) => void;
  #queue: OutputRecord[] | undefined;
  #wake: (() => void) | undefined;
  #ended = false;
  #offsets = { stdout: 0, stderr: 0 };
  #used = 0;

  constructor(onBytes: (stream: number, bytes: Buffer) => void) {
    this.#onBytes = onBytes;
  }

  /** Takes a piece of the log; cuts may lie anywhere. */
  push(chunk: Buffer, log: Inbound): void {
    const before = this.#queue?.length ?? 0;
    this.#decoder.push(chunk, (frame) => {
      if (frame.length < HEADER) throw new ProtocolError('a record shorter than its header');
      const number = frame[0]!;
      const bytes = frame.subarray(HEADER);
      const stream = number === 2 ? 'stderr' : 'stdout';
      this.#queue?.push({
        stream,
        offset: this.#offsets[stream],
        timeUs: frame.readUIntBE(1, 6),
        bytes: Buffer.from(bytes),
      });
      this.#offsets[stream] += bytes.length;
      this.#onBytes(number, bytes);
    });
    if (!this.#queue) log.consumed(chunk.length);
    else this.#used += chunk.length;
    if ((this.#queue?.length ?? 0) > before) this.#signal();
  }

  end(): void {
    this.#ended = true;
    this.#signal();
  }

  async *iterate(log: Inbound, grant: () => void): AsyncGenerator<OutputRecord, void, undefined> {
    this.#queue ??= [];
    for (;;) {
      const record = this.#queue.shift();
      if (record) {
        yield record;
        continue;
      }
      log.consumed(this.#used);
      this.#used = 0;
      grant();
      if (this.#ended) return;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  #signal(): void {
    this.#wake?.();
    this.#wake = undefined;
  }
}
