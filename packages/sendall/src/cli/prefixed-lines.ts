/** A host's output among that of others: whole lines, each with the host's name before it. */
import type { StreamName } from '../index.js';
import type { Decoders } from './event-json.js';

/** Bytes of a line that are held back until its end comes; a longer one is printed in pieces. */
const LONGEST_LINE = 64 * 1024;
const LF = 0x0a;

export class PrefixedLines {
  readonly #prefix: Buffer;
  readonly #decoders: Decoders | undefined;
  readonly #rest: Record<StreamName, Buffer> = { stdout: Buffer.alloc(0), stderr: Buffer.alloc(0) };

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
    const rest = this.#rest[stream];
    return rest.length ? Buffer.concat([whole, this.#prefix, rest, Buffer.from('\n')]) : whole;
  }

  #decoded(stream: StreamName, bytes: Buffer, more: boolean): Buffer {
    const decoder = this.#decoders?.[stream];
    return decoder ? Buffer.from(decoder.decode(bytes, { stream: more })) : bytes;
  }

  #cut(stream: StreamName, bytes: Buffer): Buffer {
    const all = this.#rest[stream].length ? Buffer.concat([this.#rest[stream], bytes]) : bytes;
    const parts: Buffer[] = [];
    let start = 0;
    for (let end = all.indexOf(LF); end >= 0; end = all.indexOf(LF, start)) {
      parts.push(this.#prefix, all.subarray(start, end + 1));
      start = end + 1;
    }
    let rest = all.subarray(start);
    if (rest.length > LONGEST_LINE) {
      parts.push(this.#prefix, rest, Buffer.from('\n'));
      rest = Buffer.alloc(0);
    }
    // A view would keep the whole chunk.
    this.#rest[stream] = Buffer.from(rest);
    return Buffer.concat(parts);
  }
}
