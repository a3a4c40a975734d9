/** Matches the reads of a stream with its messages. */
import { FramingError, parseFraming, type Decoder, type Encoder } from '@sendall/framing';

/** One message of a stream, and its frame's place: from its first byte (header included) to just after its last. */
export interface TapMessage {
  readonly index: number;
  readonly start: number;
  readonly end: number;
  readonly payload: Buffer;
  /** Offset of the payload in the stream (of the frame, if the payload is escaped on the wire). */
  readonly payloadAt: number;
}

/** The contents of one read. */
export interface TapRead {
  readonly offset: number;
  readonly length: number;
  /** The messages that ended in this read; those whose `start` is before `offset` began in an earlier one. */
  readonly messages: readonly TapMessage[];
  /** The incomplete message after them: how many bytes have arrived and, if known, how many are missing. */
  readonly partial?: { readonly have: number; readonly missing?: number };
  /** Why the framing cannot be right from here on. Later reads carry no messages. */
  readonly error?: FramingError;
}

/** @throws Error when the spec names no framing */
export function checkFraming(spec: string): void {
  if (spec !== 'raw') parseFraming(spec);
}

const EMPTY = Buffer.alloc(0);

/** Follows one direction of a connection and matches each read with the messages of the framing. Alters nothing. */
export class Tap {
  readonly #decoder: Decoder | undefined;
  readonly #encoder: Encoder | undefined;
  #total: number;
  #frameEnd: number;
  #index: number;
  #failed = false;

  /**
   * @param framing a spec of `parseFraming`, or `raw` for none
   * @param from where the first byte lies in the stream, if not at its beginning, and the number of the first message
   */
  constructor(framing: string, from: { readonly offset: number; readonly index: number } = { offset: 0, index: 0 }) {
    this.#total = this.#frameEnd = from.offset;
    this.#index = from.index;
    if (framing === 'raw') return;
    const parsed = parseFraming(framing);
    this.#decoder = parsed.decoder();
    this.#encoder = parsed.encoder();
  }

  read(chunk: Uint8Array): TapRead {
    const offset = this.#total;
    this.#total += chunk.length;
    const decoder = this.#decoder;
    const messages: TapMessage[] = [];
    if (!decoder || this.#failed) return { offset, length: chunk.length, messages };
    // Stopping at each frame shows where it ended: the decoder still holds exactly the bytes after it.
    let payload = EMPTY;
    const take = (frame: Buffer) => {
      payload = Buffer.from(frame);
      return false as const;
    };
    try {
      let going = decoder.push(chunk, take);
      while (!going) {
        const end = this.#total - decoder.stats.buffered;
        messages.push(this.#message(end, payload));
        going = decoder.resume(take);
      }
    } catch (error) {
      if (!(error instanceof FramingError)) throw error;
      this.#failed = true;
      return { offset, length: chunk.length, messages, error };
    }
    const have = this.#total - this.#frameEnd;
    const { missing } = decoder;
    const partial = have > 0 ? { have, ...(missing !== undefined && { missing }) } : undefined;
    return { offset, length: chunk.length, messages, ...(partial && { partial }) };
  }

  #message(end: number, payload: Buffer): TapMessage {
    const start = this.#frameEnd;
    this.#frameEnd = end;
    const index = this.#index++;
    const around = end - start - payload.length; // the framing's own bytes
    // Before the payload (a length), after it (a delimiter), or both (netstring): the encoder's header tells how many
    // are before.
    const front = around <= 0 ? 0 : Math.min(around, this.#headerLength(payload.length));
    return { index, start, end, payload, payloadAt: start + front };
  }

  #headerLength(length: number): number {
    try {
      return this.#encoder?.header(length).length ?? 0;
    } catch {
      return 0; // a framing whose header does not follow from the length alone
    }
  }

  /** The number of the next message. */
  get index(): number {
    return this.#index;
  }

  /** Ends the direction. Returns the error if it ended inside a message. */
  end(): FramingError | undefined {
    if (!this.#decoder || this.#failed) return undefined;
    try {
      this.#decoder.end();
      return undefined;
    } catch (error) {
      if (!(error instanceof FramingError)) throw error;
      this.#failed = true;
      return error;
    }
  }
}
