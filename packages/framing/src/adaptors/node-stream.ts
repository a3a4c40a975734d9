/** Decoding and encoding as Transform streams of Node. */
import type { Buffer } from 'node:buffer';
import { Transform, type TransformCallback } from 'node:stream';
import { FrameDecoder } from '../decoder.js';
import type { Bytes, Decoder, DecoderOptions, Encoder, EncoderOptions, Framing, OnFrame } from '../framing.js';

/**
 * A Node stream that takes bytes and gives frames, one object each: object mode on that side, as a byte stream would run
 * small frames together and swallow empty ones. It stops decoding inside a chunk while its reader is slow. A fatal error
 * destroys it behind the frames before it.
 * @throws OptionError for an option that is not known or does not fit
 */
export function decodeStream(framing: Framing, options?: DecoderOptions): Transform {
  return new DecodeTransform(framing, options);
}

/**
 * A Node stream that takes payloads (object mode: bytes or strings) and gives their frames as bytes. Payloads that wait
 * are encoded into one buffer. A payload that the framing cannot carry destroys it.
 * @throws OptionError for an option that is not known or does not fit
 */
export function encodeStream(framing: Framing, options?: EncoderOptions): Transform {
  return new EncodeTransform(framing.encoder(options));
}

class DecodeTransform extends Transform {
  readonly #decoder: Decoder;
  /** Called when the chunk in work is done; set while it is not. */
  #done: TransformCallback | undefined;
  /** Whether the reader asked for more while a frame was handed to it. */
  #wanted = false;
  #failure: Error | undefined;
  readonly #on: OnFrame = (frame) => (this.push(frame) ? undefined : false);

  constructor(framing: Framing, options?: DecoderOptions) {
    super({ readableObjectMode: true });
    this.#decoder = framing.decoder({
      ...options,
      onError: (error) => {
        options?.onError?.(error);
        if (error.fatal) this.#fail(error);
      },
    });
    if (this.#decoder instanceof FrameDecoder) this.#decoder.keepFrames(true);
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    this.#done = done;
    this.#work(() => this.#decoder.push(chunk, this.#on));
  }

  override _flush(done: TransformCallback): void {
    this.#done = done;
    this.#work(() => {
      this.#decoder.end(this.#on);
      return this.#decoder.state !== 'stopped';
    });
  }

  /** The reader wants more: go on where it was too slow. */
  override _read(size: number): void {
    this.#wanted = true;
    if (this.#done !== undefined && this.#decoder.state === 'stopped') {
      this.#work(() => this.#decoder.resume(this.#on));
    }
    // Transform itself may hold back a chunk that is done until more is wanted: which is now.
    // oxlint-disable-next-line no-underscore-dangle -- Node's name
    super._read(size);
  }

  override read(size?: number): unknown {
    const frame: unknown = super.read(size);
    if (this.#failure !== undefined && this.readableLength === 0) this.#giveUp(this.#failure);
    return frame;
  }

  #work(step: () => boolean): void {
    this.#wanted = false;
    try {
      let finished = step();
      while (!finished && this.#wanted) {
        this.#wanted = false;
        finished = this.#decoder.resume(this.#on);
      }
      if (!finished) return;
    } catch (error) {
      this.#fail(error as Error);
      return;
    }
    const done = this.#done;
    this.#done = undefined;
    done?.();
  }

  /** Destroying the stream drops what its reader has not read yet: that comes first. */
  #fail(error: Error): void {
    this.#failure = error;
    if (this.readableLength === 0) this.#giveUp(error);
  }

  #giveUp(error: Error): void {
    // Behind the frame that is just being read.
    process.nextTick(() => this.destroy(error));
  }
}

class EncodeTransform extends Transform {
  readonly #encoder: Encoder;
  #done: ((error?: Error | null) => void) | undefined;
  /** Whether the reader asked for more while bytes were handed to it. */
  #wanted = false;

  constructor(encoder: Encoder) {
    super({ writableObjectMode: true });
    this.#encoder = encoder;
  }

  override _transform(payload: Bytes | string, _encoding: BufferEncoding, done: TransformCallback): void {
    try {
      done(null, this.#encoder.encode(payload));
    } catch (error) {
      done(error as Error);
    }
  }

  override _writev(items: { chunk: Bytes | string }[], done: (error?: Error | null) => void): void {
    let room = true;
    this.#wanted = false;
    try {
      room = this.push(this.#encoder.encodeAll(items.map((item) => item.chunk)));
    } catch {
      // One of them is refused: those before it are still sent.
      try {
        for (const { chunk } of items) room = this.push(this.#encoder.encode(chunk));
      } catch (error) {
        done(error as Error);
        return;
      }
    }
    if (room || this.#wanted) done();
    else this.#done = done;
  }

  override _read(size: number): void {
    this.#wanted = true;
    const done = this.#done;
    this.#done = undefined;
    done?.();
    // oxlint-disable-next-line no-underscore-dangle -- Node's name
    super._read(size);
  }
}
