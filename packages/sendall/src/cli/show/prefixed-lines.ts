/**
 * A host's output among that of others: whole lines, each with the host's name before it. A carriage return ends a line as
 * well, so that progress is seen when it is made: it is kept, and a newline is put behind it.
 */
import type { StreamName } from '../../index.js';
import type { Decoders } from './event-json.js';

/** Bytes of a line that are held back until its end comes; a longer one is printed in pieces. */
const LONGEST_LINE = 64 * 1024;
const LF = 0x0a;
const CR = 0x0d;
const NEWLINE = Buffer.of(LF);
const EMPTY_LINE = Buffer.of(CR, LF);

/** A stream between two pieces. */
interface Begun {
  /** The beginning of a line whose end has not come. */
  pieces: Buffer[];
  size: number;
  /** What came last: a carriage return that ended a line, or one that stands where a line begins. */
  returned: 'behind a line' | 'before a line' | undefined;
}

const begun = (): Begun => ({ pieces: [], size: 0, returned: undefined });

export class PrefixedLines {
  readonly #prefix: Buffer;
  readonly #decoders: Decoders | undefined;
  readonly #begun: Record<StreamName, Begun> = { stdout: begun(), stderr: begun() };

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
    const rest = this.#takeRest(this.#begun[stream]);
    return rest.length ? Buffer.concat([whole, this.#prefix, rest, NEWLINE]) : whole;
  }

  #decoded(stream: StreamName, bytes: Buffer, more: boolean): Buffer {
    const decoder = this.#decoders?.[stream];
    return decoder ? Buffer.from(decoder.decode(bytes, { stream: more })) : bytes;
  }

  #cut(stream: StreamName, bytes: Buffer): Buffer {
    const begun = this.#begun[stream];
    const parts: Buffer[] = [];
    let start = 0;
    let lf = bytes.indexOf(LF);
    let cr = bytes.indexOf(CR);
    while (start < bytes.length) {
      if (begun.returned !== undefined) {
        start = this.#pastReturn(begun, bytes, start, parts);
        continue;
      }
      if (lf >= 0 && lf < start) lf = bytes.indexOf(LF, start);
      if (cr >= 0 && cr < start) cr = bytes.indexOf(CR, start);
      const end = cr < 0 || (lf >= 0 && lf < cr) ? lf : cr;
      if (end < 0) break;
      if (end === cr && end === start && begun.size === 0) begun.returned = 'before a line';
      else {
        parts.push(this.#prefix, this.#takeRest(begun), bytes.subarray(start, end + 1));
        if (end === cr) {
          parts.push(NEWLINE);
          begun.returned = 'behind a line';
        }
      }
      start = end + 1;
    }
    if (start < bytes.length) {
      // A view would keep the whole chunk.
      begun.pieces.push(Buffer.from(bytes.subarray(start)));
      begun.size += bytes.length - start;
    }
    if (begun.size > LONGEST_LINE) {
      parts.push(this.#prefix, this.#takeRest(begun), NEWLINE);
    }
    return Buffer.concat(parts);
  }

  /** Looks at the byte behind a carriage return: a newline there is the end of that same line, which may be empty. */
  #pastReturn(begun: Begun, bytes: Buffer, at: number, parts: Buffer[]): number {
    const byte = bytes[at];
    if (byte === CR) return at + 1;
    if (byte === LF && begun.returned === 'before a line') parts.push(this.#prefix, EMPTY_LINE);
    begun.returned = undefined;
    return byte === LF ? at + 1 : at;
  }

  #takeRest(begun: Begun): Buffer {
    const rest = Buffer.concat(begun.pieces);
    begun.pieces = [];
    begun.size = 0;
    return rest;
  }
}
