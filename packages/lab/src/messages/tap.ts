/** Lays the reads of a stream over the messages in it. */
import { FramingError, parseFraming, type Decoder, type Encoder } from '@sendall/framing';

/** One message of a stream, and where its frame stands in it: from its first byte (header included) to behind its last. */
export interface TapMessage {
  readonly index: number;
  readonly start: number;
  readonly end: number;
  readonly payload: Buffer;
  /** Where the payload begins in the stream (the frame's start where it is escaped on the wire). */
  readonly payloadAt: number;
}

/** What one read carried. */
export interface TapRead {
  readonly offset: number;
  readonly length: number;
  /** The messages that ended in this read; those whose `start` is before `offset` began in an earlier one. */
  readonly messages: readonly TapMessage[];
  /** The message that begins or goes on behind them: how much of it has come, and how much is missing where known. */
  readonly partial?: { readonly have: number; readonly missing?: number };
  /** The framing cannot be right from here on: why. Later reads carry no messages. */
  readonly error?: FramingError;
}

/** @throws Error when the spec names no framing */
export function checkFraming(spec: string): void {
  if (spec !== 'raw') parseFraming(spec);
}

const EMPTY = Buffer.alloc(0);

/** Follows one direction of a connection: lays each read over the messages that the framing finds. Alters nothing. */
export class Tap {
  readonly #decoder: Decoder | undefined;
  readonly #encoder: Encoder | undefined;
  #total = 0;
  #frameEnd = 0;
  #index = 0;
  #failed = false;

  /** @param framing a spec of `parseFraming`, or `raw` for none */
  constructor(framing: string) {
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
    // Stopping at each frame tells where it ended: what the decoder still holds is what stands behind it.
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
    // In front (a length), behind (a delimiter), or both (netstring): the encoder's header tells how many are in front.
    const front = around <= 0 ? 0 : Math.min(around, this.#headerLength(payload.length));
    return { index, start, end, payload, payloadAt: start + front };
  }

  #headerLength(length: number): number {
    try {
      return this.#encoder?.header(length).length ?? 0;
    } catch {
      return 0; // a framing whose header cannot be told from the length alone
    }
  }

  /** Ends the direction. Returns the error when it ended inside a message. */
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
