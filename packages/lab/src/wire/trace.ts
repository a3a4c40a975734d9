/** The writes, segments, reads and messages on a pair of sockets, and their times. */
import { isUtf8 } from 'node:buffer';

/**
 * Some bytes of one stream, seen at one place at one time. `offset` is their place in the stream (for datagrams: the
 * number of bytes before), so that writes, segments, reads and messages can be compared.
 */
export interface Span {
  readonly atMs: number;
  readonly offset: number;
  readonly length: number;
  readonly bytes: Buffer;
}

/** The receiver's kernel has told the sender's that all bytes before `offset` have arrived. */
export interface Acknowledgement {
  readonly atMs: number;
  readonly offset: number;
}

/**
 * The segments TCP really sent, and their source: a capture shows each segment, the kernel's counters only how
 * many.
 */
export type Segments =
  | {
      readonly source: 'capture';
      readonly count: number;
      readonly spans: readonly Span[];
      readonly repeated: number;
      /** Those that say something new. */
      readonly acknowledgements: readonly Acknowledgement[];
    }
  | { readonly source: 'kernel counters'; readonly count: number }
  | { readonly source: 'not seen'; readonly reason: string };

/**
 * The events on one pair of sockets, in order: `writes` are calls of send, `reads` the results of reads, `messages`
 * what the receiver took for a message. Times are milliseconds since the trace began.
 */
export class Trace {
  readonly writes: Span[] = [];
  readonly reads: Span[] = [];
  readonly messages: Span[] = [];
  segments: Segments | undefined;
  /** The moment the trace began, on the clock of `performance.now()`. */
  startedAt = performance.now();

  /** Starts again, without earlier events (connecting, warming up). */
  restart(): void {
    this.startedAt = performance.now();
    for (const list of [this.writes, this.reads, this.messages]) list.length = 0;
  }

  write(bytes: Uint8Array): void {
    this.#add(this.writes, bytes);
  }

  read(bytes: Uint8Array): void {
    this.#add(this.reads, bytes);
  }

  /** @param offset the place of its payload in the stream, if the framing's own bytes surround it */
  message(bytes: Uint8Array, offset?: number): void {
    this.#add(this.messages, bytes, offset);
  }

  #add(list: Span[], bytes: Uint8Array, offset?: number): void {
    const last = list.at(-1);
    list.push({
      atMs: milliseconds(performance.now() - this.startedAt),
      offset: offset ?? (last ? last.offset + last.length : 0),
      length: bytes.length,
      bytes: Buffer.from(bytes),
    });
  }
}

/** Rounds to microseconds, the real precision of the clock. */
export function milliseconds(value: number): number {
  return Math.round(value * 1000) / 1000;
}

/** Bytes for JSON. */
export type Content = { readonly text: string; readonly cut?: true } | { readonly hex: string; readonly cut?: true };

export type SpanJson = Omit<Span, 'bytes'> & Content;

/** A span in the JSON outputs: text when the bytes are whole UTF-8, else hex. */
export function spanJson(span: Span): SpanJson {
  const { atMs, offset, length } = span;
  return { atMs, offset, length, ...content(span.bytes) };
}

/** Bytes for JSON: `text` when they are whole UTF-8 (`cut` if only the first `limit` bytes are given), else `hex`. */
export function content(bytes: Buffer, limit = 256): Content {
  const shown = bytes.subarray(0, limit);
  const cut = shown.length < bytes.length ? ({ cut: true } as const) : {};
  return isUtf8(shown) ? { text: shown.toString(), ...cut } : { hex: shown.toString('hex'), ...cut };
}
