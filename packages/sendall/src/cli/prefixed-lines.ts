/** A host's output among that of others: whole lines, each with the host's name before it. */
import type { StreamName } from '../index.js';
import type { Decoders } from './event-json.js';

/** Bytes of a line that are held back until its end comes; a longer one is printed in pieces. */
const LONGEST_LINE = 64 * 1024;
const LF = 0x0a;
const NEWLINE = Buffer.of(LF);

export class PrefixedLines {
  readonly #prefix: Buffer;
  readonly #decoders: Decoders | undefined;
  /** The beginning of a line whose end has not come, piece by piece. */
  readonly #rest: Record<StreamName, { pieces: Buffer[]; size: number }> = {
    stdout: { pieces: [], size: 0 },
    stderr: { pieces: [], size: 0 },
  };

  constructor(host: string, decoders: Decoders | undefined) {
    this.#prefix = Buffer.from(`${host}: `);
    this.#decoders = decoders;
  }

  /** The lines that a piece completes, ready to be written. */
  push(stream: StreamName, bytes: Buffer): Buffer {
    return this.#cut(stream, this.#decoded(stream, bytes, true));
  }

  /** What is left when nothing more comes. */
  end(stream: StreamName): Buffer {
    const whole = this.#cut(stream, this.#decoded(stream, Buffer.alloc(0), false));
    const rest = this.#takeRest(stream);
    return rest.length ? Buffer.concat([whole, this.#prefix, rest, NEWLINE]) : whole;
  }

  #decoded(stream: StreamName, bytes: Buffer, more: boolean): Buffer {
    const decoder = this.#decoders?.[stream];
    return decoder ? Buffer.from(decoder.decode(bytes, { stream: more })) : bytes;
  }

  #cut(stream: StreamName, bytes: Buffer): Buffer {
    const parts: Buffer[] = [];
    let start = 0;
    for (let end = bytes.indexOf(LF); end >= 0; end = bytes.indexOf(LF, start)) {
      parts.push(this.#prefix, this.#takeRest(stream), bytes.subarray(start, end + 1));
      start = end + 1;
    }
    if (start < bytes.length) {
      // A view would keep the whole chunk.
      this.#rest[stream].pieces.push(Buffer.from(bytes.subarray(start)));
      this.#rest[stream].size += bytes.length - start;
    }
    if (this.#rest[stream].size > LONGEST_LINE) {
      parts.push(this.#prefix, this.#takeRest(stream), NEWLINE);
    }
    return Buffer.concat(parts);
  }

  #takeRest(stream: StreamName): Buffer {
    const rest = Buffer.concat(this.#rest[stream].pieces);
    this.#rest[stream] = { pieces: [], size: 0 };
    return rest;
  }
}
