/** Streams that begin with some bytes of another kind. */
import { Buffer } from 'node:buffer';
import { FrameDecoder } from '../decoder.js';
import { bytesOf, copyBytes, FrameEncoder } from '../encoder.js';
import type { Bytes, DecoderOptions, EncoderOptions, Framing } from '../framing.js';
import { checkValue, limitsOf, whole, wrongOption } from '../options.js';

/** Most bytes of a preface: no more than is set aside for what has only been announced. */
const MOST_BYTES = 64 * 1024;

/**
 * A framing for streams that begin with `size` bytes of another kind, once: the protocol header of AMQP (8 bytes), the
 * connection preface of HTTP/2 (24). They come out as the first frame, and are the first payload that an encoder is
 * given. `maxFrameLength` does not count for them, and `reset()` has a decoder wait for them again.
 *
 * ```ts
 * preface(8, lengthPrefixed({ offset: 3, adjust: 1, strip: 0 }))    // AMQP 0-9-1, as a server reads it
 * ```
 * @param size 1 to 65536 bytes
 * @param framing what follows, one of this package's
 * @throws OptionError for a size or a framing that does not fit
 */
export function preface<F extends Framing>(size: number, framing: F): F {
  const bytes = checkValue('preface', 'size', size, whole(0, 1, MOST_BYTES));
  const foreign = () => wrongOption('preface', 'framing', `${framing.name} is not a framing of this package`);
  return Object.freeze({
    ...framing,
    decoder(options?: DecoderOptions) {
      const decoder = framing.decoder(options);
      if (!(decoder instanceof FrameDecoder)) throw foreign();
      decoder.beginWith(bytes);
      return decoder;
    },
    encoder(options?: EncoderOptions) {
      const encoder = framing.encoder(options);
      if (!(encoder instanceof FrameEncoder)) throw foreign();
      return new PrefaceEncoder(bytes, encoder, options);
    },
  });
}

/** Writes the first payload as it is and leaves the others to the framing. */
class PrefaceEncoder extends FrameEncoder {
  readonly #bytes: number;
  readonly #next: FrameEncoder;
  #written = false;

  constructor(bytes: number, next: FrameEncoder, options?: EncoderOptions) {
    super(next.framing, limitsOf(next.framing, undefined), options);
    this.#bytes = bytes;
    this.#next = next;
  }

  /** Of a frame behind the preface, which has none. */
  override header(length: number): Buffer {
    return this.#next.header(length);
  }

  override size(payload: Bytes | string): number {
    return this.#written ? this.#next.size(payload) : this.measure(bytesOf(payload));
  }

  override encode(payload: Bytes | string): Buffer {
    if (this.#written) return this.#next.encode(payload);
    const first = super.encode(payload);
    this.#written = true;
    return first;
  }

  override pieces(payload: Buffer): Buffer[] {
    return this.#written ? this.#next.pieces(payload) : [this.encode(payload)];
  }

  override encodeInto(payload: Bytes | string, target: Bytes, at: number): number {
    if (this.#written) return this.#next.encodeInto(payload, target, at);
    const size = super.encodeInto(payload, target, at);
    this.#written = true;
    return size;
  }

  override tryWrite(payload: Buffer, target: Buffer, at: number, till: number): number {
    if (this.#written) return this.#next.tryWrite(payload, target, at, till);
    const size = super.tryWrite(payload, target, at, till);
    this.#written = size >= 0;
    return size;
  }

  /** All or, when one cannot be written, none: the preface is then still to come. */
  override encodeAll(payloads: Iterable<Bytes | string>): Buffer {
    if (this.#written) return this.#next.encodeAll(payloads);
    const [first, ...rest] = payloads;
    if (first === undefined) return Buffer.alloc(0);
    const frames = this.#next.encodeAll(rest);
    return Buffer.concat([this.encode(first), frames]);
  }

  protected override measure(payload: Buffer): number {
    const { length } = payload;
    if (length > this.#bytes) this.tooLarge(payload, length, this.#bytes, 'the size of the preface');
    if (length < this.#bytes) {
      this.invalidLength(payload, length, `a preface of ${length} bytes is not ${this.#bytes}`);
    }
    return length;
  }

  protected override fill(payload: Buffer, target: Buffer, at: number): void {
    copyBytes(payload, target, at);
  }
}
