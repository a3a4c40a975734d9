/**
 * A host's output among that of others: whole lines, each prefixed with the host's name. A carriage return ends a line
 * too, so that progress shows while it is made; it is kept and followed by a newline.
 */
import type { StreamName } from '../../index.js';
import type { Decoders } from './event-json.js';
import { inItsColour } from './fleet/host-colour.js';

/** Bytes of an unfinished line that are held back; a longer line is printed in pieces. */
const LONGEST_LINE = 64 * 1024;
const LF = 0x0a;
const CR = 0x0d;
const NEWLINE = Buffer.of(LF);
const EMPTY_LINE = Buffer.of(CR, LF);

/** A stream's state between two pieces. */
interface Begun {
  /** The beginning of an unfinished line. */
  pieces: Buffer[];
  size: number;
  /** The last byte: a carriage return after a line, or one where a line begins. */
  returned: 'behind a line' | 'before a line' | undefined;
}

const begun = (): Begun => ({ pieces: [], size: 0, returned: undefined });

export class PrefixedLines {
  readonly #prefix: Readonly<Record<StreamName, Buffer>>;
  readonly #decoders: Decoders | undefined;
  readonly #begun: Record<StreamName, Begun> = { stdout: begun(), stderr: begun() };

  /** `coloured`: whether the host's name is in its colour, by stream. */
  constructor(host: string, decoders: Decoders | undefined, coloured?: Readonly<Record<StreamName, boolean>>) {
    const prefix = (stream: StreamName) =>
      Buffer.from(`${coloured?.[stream] ? inItsColour(host, `${host}:`) : `${host}:`} `);
    this.#prefix = { stdout: prefix('stdout'), stderr: prefix('stderr') };
    this.#decoders = decoders;
  }

  /** The lines completed by a piece, ready for printing. */
  push(stream: StreamName, bytes: Buffer): Buffer {
    return this.#cut(stream, this.#decoded(stream, bytes, true));
  }

  /** The rest, once no more output will arrive. */
  end(stream: StreamName): Buffer {
    const whole = this.#cut(stream, this.#decoded(stream, Buffer.alloc(0), false));
    const rest = this.#takeRest(this.#begun[stream]);
    return rest.length ? Buffer.concat([whole, this.#prefix[stream], rest, NEWLINE]) : whole;
  }

  #decoded(stream: StreamName, bytes: Buffer, more: boolean): Buffer {
    const decoder = this.#decoders?.[stream];
    return decoder ? Buffer.from(decoder.decode(bytes, { stream: more })) : bytes;
  }

  #cut(stream: StreamName, bytes: Buffer): Buffer {
    const begun = this.#begun[stream];
    const prefix = this.#prefix[stream];
    const parts: Buffer[] = [];
    let start = 0;
    let lf = bytes.indexOf(LF);
    let cr = bytes.indexOf(CR);
    while (start < bytes.length) {
      if (begun.returned !== undefined) {
        start = this.#pastReturn(begun, bytes, start, parts, prefix);
        continue;
      }
      if (lf >= 0 && lf < start) lf = bytes.indexOf(LF, start);
      if (cr >= 0 && cr < start) cr = bytes.indexOf(CR, start);
      const end = cr < 0 || (lf >= 0 && lf < cr) ? lf : cr;
      if (end < 0) break;
      if (end === cr && end === start && begun.size === 0) begun.returned = 'before a line';
      else {
        parts.push(prefix, this.#takeRest(begun), bytes.subarray(start, end + 1));
        if (end === cr) {
          parts.push(NEWLINE);
          begun.returned = 'behind a line';
        }
      }
      start = end + 1;
    }
    if (start < bytes.length) {
      // A view would keep the whole chunk alive.
      begun.pieces.push(Buffer.from(bytes.subarray(start)));
      begun.size += bytes.length - start;
    }
    if (begun.size > LONGEST_LINE) {
      parts.push(prefix, this.#takeRest(begun), NEWLINE);
    }
    return Buffer.concat(parts);
  }

  /** Examines the byte after a carriage return: a newline there ends the same line, which may be empty. */
  #pastReturn(begun: Begun, bytes: Buffer, at: number, parts: Buffer[], prefix: Buffer): number {
    const byte = bytes[at];
    if (byte === CR) return at + 1;
    if (byte === LF && begun.returned === 'before a line') parts.push(prefix, EMPTY_LINE);
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
