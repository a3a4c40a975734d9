/** Bytes as they come from anywhere: a Buffer is one, and so is every other Uint8Array. */
export type Bytes = Uint8Array;

/**
 * Takes one frame. Returning `false` stops the decoder right behind this frame: the rest of the chunk is kept until
 * `resume`.
 */
export type OnFrame = (frame: Buffer) => void | false;

/**
 * Takes one frame as a stretch of a buffer, `start` to `end` (exclusive), so that nothing is allocated for it. The
 * buffer belongs to the decoder: it is valid inside the call only. Returning `false` stops, as for {@link OnFrame}.
 */
export type OnSpan = (buf: Buffer, start: number, end: number) => void | false;

/** Options of every framing: what to do with frames that are too big, cut off or empty. */
export interface Limits {
  /**
   * Most payload bytes of one frame: what stands behind the length field or before the delimiter, never the prefix,
   * the delimiter or a trailer. The same rule holds for decoder and encoder. Always on; from 0 to 2^53-1.
   * @default 1048576 (1 MiB)
   */
  maxFrameLength?: number;
  /**
   * `fail`: a bigger frame ends decoding with {@link FrameTooLargeError}. `skip`: it is reported once, dropped to its
   * last byte, and decoding goes on inside the same chunk.
   * @default 'fail'
   */
  onOversize?: 'fail' | 'skip';
  /**
   * When a skipped frame is reported: `early`, as soon as it is known to be too big, or `late`, when its last byte has
   * passed.
   * @default 'early'
   */
  report?: 'early' | 'late';
  /**
   * What an unfinished frame at the end of the stream is: an `error` ({@link TruncatedFrameError}), a frame to
   * `deliver` as it is (an error still when not even its header is whole), or bytes to `discard`.
   * @default 'error'
   */
  onEnd?: 'error' | 'deliver' | 'discard';
  /**
   * Whether frames without a payload are delivered or silently dropped.
   * @default 'deliver' (SLIP: 'drop', as its idle line is made of empty frames)
   */
  emptyFrames?: 'deliver' | 'drop';
}

/** A checksum that stands behind the payload, outside the length. */
export interface Checksum {
  /** How many bytes it takes on the wire, 1 to 8. */
  bytes: number;
  /** Its byte order. @default 'be' */
  endian?: 'be' | 'le';
  /** Computes it over the payload (the bytes behind the length field); negative 32-bit results are fine. */
  compute(payload: Bytes): number;
}

/** How a decoder is used; the framing says what it decodes. */
export interface DecoderOptions {
  /**
   * Whether frames are views of the bytes they came in or copies. `auto`: `push` and `decode` give views of the chunk;
   * the adaptors that keep frames copy small ones out of big chunks, so that no small frame holds a big chunk alive.
   * `always`: nothing of a chunk is referred to once the call returned (for a read buffer that is used again).
   * `never`: views everywhere. A chunk that stands in memory right behind the one before it continues it: a frame of
   * known length across both is a view too, and holds its chunks in memory until it is whole.
   * @default 'auto'
   */
  copy?: 'auto' | 'always' | 'never';
  /**
   * Milliseconds from a frame's first byte to its last; 0 switches it off. Idle time between frames does not count.
   * When it is over the decoder fails with {@link FrameTimeoutError}: `onError` is called, every further call throws.
   * @default 0
   */
  frameTimeout?: number;
  /** Called for each error that decoding survives, and for a {@link FrameTimeoutError}. */
  onError?(error: FramingError): void;
}

/** What a decoder has seen since it was made or reset. */
export interface DecoderStats {
  /** Bytes pushed. */
  bytes: number;
  /** Frames delivered. */
  frames: number;
  /** Payload bytes delivered. */
  payloadBytes: number;
  /** Frames dropped because they were too big or malformed. */
  skippedFrames: number;
  /** Bytes dropped: skipped frames, noise before a sync marker, a discarded rest. */
  skippedBytes: number;
  /** Payload bytes of the largest frame delivered. */
  largestFrame: number;
  /** Frames that began in one chunk and ended in another. */
  straddled: number;
  /** Bytes copied to put such frames together. */
  copiedBytes: number;
  /** Bytes held right now: the unfinished frame, and what is kept while stopped. */
  buffered: number;
  /** Errors, survived or fatal. */
  errors: number;
}

/**
 * Turns chunks into frames, whatever the cuts. Synchronous; knows no transport.
 *
 * `push`, `scan`, `decode` and `end` throw a fatal error after they have delivered the frames before it. An error that
 * decoding survives goes to `onError` and the statistics instead. After a fatal error every further call throws the
 * same error object.
 */
export interface Decoder {
  /**
   * Decodes a chunk and returns its frames (views of the chunk, see {@link DecoderOptions.copy}). When it throws, the
   * frames before the error are on the error's `frames`. Called from inside a callback of this decoder it returns
   * nothing: the frames go to that callback.
   * @throws FramingError
   */
  decode(chunk: Bytes): Buffer[];
  /**
   * Decodes a chunk and calls `on` for each frame.
   * @returns false when `on` stopped it (the rest is kept, as are further pushes, until `resume`)
   * @throws FramingError
   */
  push(chunk: Bytes, on: OnFrame): boolean;
  /**
   * As `push`, without making an object for a frame: the fastest way.
   * @throws FramingError
   */
  scan(chunk: Bytes, on: OnSpan): boolean;
  /**
   * Goes on after a stop with the bytes that were kept.
   * @throws FramingError
   */
  resume(on: OnFrame): boolean;
  /**
   * The stream has ended. `on` takes frames that only the end completes (`onEnd: 'deliver'`). While stopped, the end
   * is remembered until `resume` has delivered what is kept.
   * @throws TruncatedFrameError when a frame is unfinished and `onEnd` is 'error'
   */
  end(on?: OnFrame): void;
  /** Hands over all bytes that are held, as they were on the wire: for a change of protocol. The decoder is idle then. */
  takeRest(): Buffer;
  /** Starts again: drops what is held, forgets errors and statistics. The limit stays as it was set last. */
  reset(): void;
  /** {@link Limits.maxFrameLength}; a new value is in force from the next frame's first byte on. */
  maxFrameLength: number;
  /** `partial`: inside a frame. `skipping`: inside one that is dropped. `stopped`: by a callback. */
  readonly state: 'idle' | 'partial' | 'skipping' | 'stopped' | 'failed' | 'ended';
  /** Bytes until the frame in progress is whole; undefined between frames and while its length is not known. */
  readonly missing: number | undefined;
  /** A snapshot. */
  readonly stats: DecoderStats;
}

/** How encoded frames are gathered where an adaptor writes them. */
export interface EncoderOptions {
  /** Bytes after which a batch is written without waiting for the end of the tick. @default 65536 */
  batchBytes?: number;
  /** Payloads up to this size are copied into the batch, bigger ones are written by reference. @default 4096 */
  copyBelow?: number;
}

/**
 * Turns payloads into frames. A string is UTF-8.
 *
 * Every method throws what the framing cannot carry: {@link PayloadTooLargeError}, {@link InvalidLengthError}, or
 * {@link MalformedFrameError} for a payload that holds its own delimiter.
 */
export interface Encoder {
  /** One frame, in a Buffer of its own. */
  encode(payload: Bytes | string): Buffer;
  /** All frames, one after the other, in one Buffer. */
  encodeAll(payloads: Iterable<Bytes | string>): Buffer;
  /**
   * Writes one frame into `target` at `at`.
   * @returns the number of bytes written, which is `size(payload)`
   * @throws RangeError when it does not fit; nothing is written then
   */
  encodeInto(payload: Bytes | string, target: Bytes, at: number): number;
  /** The bytes that stand before a payload of that many bytes; empty where nothing does. */
  header(length: number): Buffer;
  /** How many bytes the frame of this payload takes on the wire. */
  size(payload: Bytes | string): number;
}

/** Where messages end in a stream of bytes: an immutable description that makes decoders and encoders. */
export interface Framing {
  /** What errors call it, for example `u32be`. */
  readonly name: string;
  decoder(options?: DecoderOptions): Decoder;
  encoder(options?: EncoderOptions): Encoder;
}

import type { FramingError } from './errors.js';
