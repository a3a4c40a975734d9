/** What all encoders share: strings and bytes, batches, pieces for a writer that gathers, and errors. */
import { Buffer } from 'node:buffer';
import { type ErrorPlace, InvalidLengthError, MalformedFrameError, PayloadTooLargeError } from './errors.js';
import type { Bytes, Encoder, EncoderOptions } from './framing.js';
import { checkOptions, encoderRules, type Policy } from './options.js';
import { asBuffer } from './view.js';

const nothing: Buffer = Buffer.alloc(0);

/** What all encoders share; a framing says how long a frame is and how it is written. */
export abstract class FrameEncoder implements Encoder {
  /** Which payload of `encodeAll` is being encoded, for the error. */
  #index = 0;

  constructor(
    readonly framing: string,
    protected readonly policy: Policy,
    options?: EncoderOptions,
  ) {
    checkOptions(`${framing} encoder`, options, encoderRules);
  }

  /** Bytes on the wire; throws what is too big. */
  protected abstract measure(payload: Buffer): number;

  /** Throws what the framing cannot carry for its content; called before `fill`. */
  protected verify(_payload: Buffer): void {}

  /** Writes the frame, for which there is room. */
  protected abstract fill(payload: Buffer, target: Buffer, at: number): void;

  header(_length: number): Buffer {
    return nothing;
  }

  size(payload: Bytes | string): number {
    return this.measure(bytesOf(payload));
  }

  encode(payload: Bytes | string): Buffer {
    const bytes = bytesOf(payload);
    const size = this.measure(bytes);
    this.verify(bytes);
    const frame = Buffer.allocUnsafe(size);
    this.fill(bytes, frame, 0);
    return frame;
  }

  /** The frame in pieces, a big payload among them as it is, for a writer that gathers. */
  pieces(payload: Buffer): Buffer[] {
    return [this.encode(payload)];
  }

  encodeInto(payload: Bytes | string, target: Bytes, at: number): number {
    const bytes = bytesOf(payload);
    const room = asBuffer(target);
    const size = this.measure(bytes);
    this.verify(bytes);
    if (!Number.isSafeInteger(at) || at < 0 || at + size > room.length) {
      throw new RangeError(`${this.framing}: ${size} bytes at ${at} do not fit in a target of ${room.length}`);
    }
    this.fill(bytes, room, at);
    return size;
  }

  /** For a writer that gathers: writes the frame into [at, till) and returns its size, or -1 when there is no room. */
  tryWrite(payload: Buffer, target: Buffer, at: number, till: number): number {
    const size = this.measure(payload);
    if (size > till - at) return -1;
    this.verify(payload);
    this.fill(payload, target, at);
    return size;
  }

  encodeAll(payloads: Iterable<Bytes | string>): Buffer {
    const all: Buffer[] = [];
    const sizes: number[] = [];
    let total = 0;
    try {
      for (const each of payloads) {
        const bytes = bytesOf(each);
        const size = this.measure(bytes);
        this.verify(bytes);
        all.push(bytes);
        sizes.push(size);
        total += size;
        this.#index++;
      }
    } finally {
      this.#index = 0;
    }
    const frames = Buffer.allocUnsafe(total);
    let at = 0;
    all.forEach((bytes, i) => {
      this.fill(bytes, frames, at);
      at += sizes[i] as number;
    });
    return frames;
  }

  protected place(payload: Buffer): ErrorPlace {
    const head = Buffer.from(payload.subarray(0, 64));
    return { framing: this.framing, offset: 0, frameIndex: this.#index, fatal: false, head };
  }

  /** Throws when a payload of `size` bytes is above the limit. */
  protected checkLimit(payload: Buffer, size: number): void {
    if (size > this.policy.maxFrameLength) this.tooLarge(payload, size, this.policy.maxFrameLength, 'the limit');
  }

  protected tooLarge(payload: Buffer, size: number, limit: number, why: string): never {
    throw new PayloadTooLargeError(size, limit, why, this.place(payload));
  }

  protected malformed(payload: Buffer, why: string): never {
    throw new MalformedFrameError(why, this.place(payload));
  }

  protected invalidLength(payload: Buffer, value: number, why: string): never {
    throw new InvalidLengthError(value, why, this.place(payload));
  }
}

/** A payload as bytes. */
export function bytesOf(payload: Bytes | string): Buffer {
  return typeof payload === 'string' ? Buffer.from(payload) : asBuffer(payload);
}

/** Copies a payload. `Buffer#copy` costs more than the copying of a few bytes. */
export function copyBytes(payload: Buffer, target: Buffer, at: number): void {
  const { length } = payload;
  if (length > 16) target.set(payload, at);
  else for (let i = 0; i < length; i++) target[at + i] = payload[i] as number;
}
