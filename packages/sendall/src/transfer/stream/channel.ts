/** The messages of a transfer over a pair of byte streams, pulled one by one, with back-pressure both ways. */
import { Socket } from 'node:net';
import type { Readable, Writable } from 'node:stream';
import { lengthPrefixed, type Decoder, type Encoder } from '@sendall/framing/length-prefixed';
import { ProtocolError, SendallError } from '../../errors.js';
import {
  DATA_HEADER,
  decodeMessage,
  isData,
  writeDataHeader,
  type DataMessage,
  type TransferMessage,
} from './messages.js';
import { PipeInput } from './pipe-input.js';

/** Where a transfer travels: a duplex stream, or one for each direction. */
export type Streams =
  | (Readable & Writable)
  | {
      readonly input: Readable;
      readonly output: Writable;
      /** Whether the output needs what it was given no more once a write is over. A socket of our own does not. */
      readonly copies?: boolean;
    };

/** Bytes read and not looked at above which reading pauses. */
const HIGH_INPUT = 1024 * 1024;
/** Bytes not yet written above which a sender waits, and below which it goes on. */
const HIGH_OUTPUT = 1024 * 1024;
const LOW_OUTPUT = 512 * 1024;
/** Small frames gather up to this size for one write. */
const GATHERED = 64 * 1024;
/** Frames of at least this size are written without a copy. */
const LARGE = 8 * 1024;
/** Milliseconds that the reasons of a peer that takes no bytes any more may take to arrive. */
const LAST_WORDS = 1000;

const LENGTH = 4;
/** Bytes before a piece of a file in its frame. */
export const DATA_ROOM = LENGTH + DATA_HEADER;

/** The transfer's stream ended early, or failed. */
const brokenStream = (cause?: Error): SendallError =>
  new SendallError(
    'ENDED',
    cause ? `the transfer's stream failed: ${cause.message}` : 'the stream ended before the transfer did',
    cause && { cause },
  );

export class Channel {
  readonly #input: Readable;
  readonly #output: Writable;
  readonly #decoder: Decoder;
  readonly #encoder: Encoder;
  readonly #pipe: PipeInput | undefined;
  /**
   * Whether memory is free once it was written. Another stream may pass on what it was given, or keep it for a resumed
   * link.
   */
  readonly returnsMemory: boolean;

  #chunks: Buffer[] = [];
  #held = 0;
  /** Frames, and parts of pieces of files, which are passed on as they come: no piece is put together first. */
  #frames: (Buffer | DataMessage)[] = [];
  #nextFrame = 0;
  /** What is missing of a piece of a file whose first part has come. */
  #piece: { readonly file: number; offset: number; left: number } | undefined;
  /** The frames stand in memory of the pipe, which reads no more until they were used. */
  #lent = false;
  #ended = false;
  #failure: Error | undefined;
  #wakes: (() => void)[] = [];

  #gathered: Buffer[] = [];
  #gatheredBytes = 0;
  #flushing = false;
  #unwritten = 0;
  #deaf: Error | undefined;
  #roomWaiters: (() => void)[] = [];

  constructor(streams: Streams, maxFrame: number) {
    const { input, output, copies = false } = 'input' in streams ? streams : { input: streams, output: streams };
    this.#input = input;
    this.#output = output;
    this.#pipe = input instanceof PipeInput ? input : undefined;
    this.returnsMemory = copies || output instanceof Socket;
    const framing = lengthPrefixed({ maxFrameLength: maxFrame });
    // What was read is never written to again, so frames may be views of it.
    this.#decoder = framing.decoder({ copy: 'never' });
    this.#encoder = framing.encoder();
    if (this.#pipe) this.#pipe.deliver(this.#onRead);
    else input.on('data', this.#onData);
    input.on('end', this.#onEnd).on('error', this.#onError).on('close', this.#onClose);
    output.on('error', this.#onWriteError).on('close', this.#onOutputClose);
    if (input.readableEnded) this.#onEnd();
    else if (input.destroyed) this.#onClose();
  }

  // --- Receiving.

  /**
   * Whether the bytes of a message are there only until the next one is taken: the memory of reads is used again. Only a
   * pipe of our own does that.
   */
  get lendsMemory(): boolean {
    return this.#pipe !== undefined;
  }

  /** The next message if it is there already. @throws ProtocolError for one that is none. */
  take(): TransferMessage | undefined {
    while (this.#nextFrame === this.#frames.length) {
      const chunk = this.#chunks.shift();
      if (!chunk) {
        this.#goOn();
        return undefined;
      }
      this.#held -= chunk.length;
      if (this.#input.isPaused() && this.#held < HIGH_INPUT / 2) this.#input.resume();
      this.#frames = this.#decode(chunk);
      this.#nextFrame = 0;
    }
    const frame = this.#frames[this.#nextFrame++]!;
    return 'type' in frame ? frame : decodeMessage(frame);
  }

  /**
   * Waits until `take` has something to say.
   * @returns false at the end of the stream
   * @throws SendallError (ENDED) when the stream failed.
   */
  async arrival(): Promise<boolean> {
    for (;;) {
      if (this.#nextFrame < this.#frames.length || this.#chunks.length) return true;
      if (this.#failure) throw this.#failure;
      if (this.#ended) return false;
      this.#goOn();
      await new Promise<void>((resolve) => this.#wakes.push(resolve));
    }
  }

  /** All of the last read was used. */
  #goOn(): void {
    if (!this.#lent) return;
    this.#lent = false;
    this.#pipe!.goOn();
  }

  /** @throws SendallError when the stream failed. */
  check(): void {
    if (this.#failure) throw this.#failure;
  }

  /** @throws SendallError when nothing will come any more. */
  mustGoOn(): void {
    this.check();
    if (this.#ended && this.#chunks.length === 0 && this.#nextFrame === this.#frames.length) throw brokenStream();
  }

  /** Makes the next wait fail. */
  fail(error: Error): void {
    this.#failure ??= error;
    this.#awake();
  }

  #decode(chunk: Buffer): (Buffer | DataMessage)[] {
    const frames: (Buffer | DataMessage)[] = [];
    const rest = this.#piece ? this.#goOnWithPiece(this.#piece, chunk, frames) : chunk;
    if (rest.length === 0 && chunk.length > 0) return frames;
    for (const frame of this.#decodeFrames(rest)) frames.push(frame);
    const { state, missing } = this.#decoder;
    if (state === 'partial' && missing !== undefined) this.#beginPiece(frames);
    return frames;
  }

  /** What has come of a frame, if it is a piece of a file. */
  #beginPiece(frames: (Buffer | DataMessage)[]): void {
    const frame = this.#decoder.takeRest();
    if (frame.length <= DATA_ROOM || !isData(frame.subarray(LENGTH))) {
      this.#decoder.push(frame, () => {});
      return;
    }
    const part = decodeMessage(frame.subarray(LENGTH)) as DataMessage;
    frames.push(part);
    const { file, offset, bytes } = part;
    this.#piece = { file, offset: offset + bytes.length, left: LENGTH + frame.readUInt32BE(0) - frame.length };
  }

  /** Returns what stands behind the piece. */
  #goOnWithPiece(
    piece: { readonly file: number; offset: number; left: number },
    chunk: Buffer,
    frames: (Buffer | DataMessage)[],
  ): Buffer {
    const bytes = chunk.subarray(0, piece.left);
    if (bytes.length > 0) frames.push({ type: 'data', file: piece.file, offset: piece.offset, bytes });
    piece.offset += bytes.length;
    piece.left -= bytes.length;
    if (piece.left === 0) this.#piece = undefined;
    return chunk.subarray(bytes.length);
  }

  #decodeFrames(chunk: Buffer): Buffer[] {
    try {
      return this.#decoder.decode(chunk);
    } catch (cause) {
      // The frames before the fault come first; the next chunk throws the same error.
      const { frames = [], message } = cause as Error & { frames?: Buffer[] };
      if (frames.length === 0) throw new ProtocolError(`not a transfer's stream: ${message}`, { cause });
      this.#chunks.unshift(chunk.subarray(chunk.length));
      return frames;
    }
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#chunks.push(chunk);
    this.#held += chunk.length;
    if (this.#held >= HIGH_INPUT) this.#input.pause();
    this.#awake();
  };

  /** The frames of a read, which stay as they are until all of them were taken. */
  readonly #onRead = (chunk: Buffer): boolean => {
    try {
      this.#frames = this.#decode(chunk);
    } catch (error) {
      this.#frames = [];
      this.#failure ??= error as Error;
    }
    this.#nextFrame = 0;
    this.#lent = true;
    this.#awake();
    return this.#decoder.state === 'partial';
  };

  readonly #onEnd = (): void => {
    if (this.#ended) return;
    this.#ended = true;
    const isInside = this.#piece !== undefined || this.#decoder.missing !== undefined;
    if (isInside && this.#chunks.length === 0) this.#failure ??= brokenStream();
    this.#awake();
  };

  readonly #onError = (error: Error): void => {
    this.#failure ??= error instanceof SendallError ? error : brokenStream(error);
    this.#awake();
  };

  readonly #onClose = (): void => {
    if (!this.#ended) this.#failure ??= brokenStream();
    this.#awake();
  };

  #awake(): void {
    // Who hears nothing more has no reason to wait until more can be said.
    if (this.#ended || this.#failure) this.#makeRoom();
    for (const wake of this.#wakes.splice(0)) wake();
  }

  // --- Sending.

  /** Sends a message, with bytes that follow it in the same frame. */
  send(message: Buffer, more?: Uint8Array): void {
    if (this.#deaf) return;
    const length = message.length + (more?.length ?? 0);
    this.#gathered.push(this.#encoder.header(length), message);
    if (more) this.#gathered.push(more as Buffer);
    this.#gatheredBytes += LENGTH + length;
    if (this.#gatheredBytes >= GATHERED) this.flush();
    else if (!this.#flushing) {
      this.#flushing = true;
      setImmediate(() => {
        this.#flushing = false;
        this.flush();
      });
    }
  }

  /**
   * Sends a piece of a file: `length` bytes behind the first DATA_ROOM bytes of `frame`, which belong to the header.
   * `written` is called when it was written.
   */
  sendData(frame: Buffer, length: number, file: number, offset: number, written: () => void): void {
    frame.writeUInt32BE(DATA_HEADER + length, 0);
    writeDataHeader(frame, LENGTH, file, offset);
    this.flush();
    this.#write(frame.subarray(0, DATA_ROOM + length), written);
  }

  /** Writes what was gathered. */
  flush(): void {
    if (this.#gathered.length === 0) return;
    const parts = this.#gathered;
    const bytes = this.#gatheredBytes;
    this.#gathered = [];
    this.#gatheredBytes = 0;
    if (parts.length > 3 || bytes < LARGE) return this.#write(Buffer.concat(parts, bytes));
    this.#output.cork();
    for (const part of parts) this.#write(part);
    this.#output.uncork();
  }

  #write(bytes: Buffer, written?: () => void): void {
    if (this.#deaf) return written?.();
    this.#unwritten += bytes.length;
    this.#output.write(bytes, () => {
      this.#unwritten -= bytes.length;
      written?.();
      if (this.#unwritten <= LOW_OUTPUT) this.#makeRoom();
    });
  }

  /** Resolves when there is room for more; undefined when there is room now. Also when nothing is read any more. */
  room(): Promise<void> | undefined {
    if (this.#unwritten + this.#gatheredBytes < HIGH_OUTPUT || this.#deaf || this.#ended || this.#failure)
      return undefined;
    this.flush();
    return new Promise((resolve) => this.#roomWaiters.push(resolve));
  }

  /** Sends what waits and ends our direction. */
  end(): void {
    this.flush();
    if (!this.#deaf) this.#output.end();
  }

  /** Sends a last message, gives it a moment to leave, and ends both directions. */
  async farewell(message: Buffer): Promise<void> {
    this.send(message);
    this.end();
    if (!this.#deaf && !this.#output.writableFinished)
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, LAST_WORDS);
        const over = (): void => {
          clearTimeout(timer);
          resolve();
        };
        this.#output.once('finish', over).once('close', over);
      });
    this.destroy();
  }

  /** Ends both directions at once. */
  destroy(): void {
    this.#failure ??= brokenStream();
    this.#deaf ??= this.#failure;
    for (const stream of new Set([this.#input, this.#output])) {
      // The error is known.
      stream.on('error', () => {});
      stream.destroy();
    }
    this.#awake();
    this.#makeRoom();
  }

  #makeRoom(): void {
    for (const resolve of this.#roomWaiters.splice(0)) resolve();
  }

  readonly #onWriteError = (error: Error): void => this.#beDeaf(error);
  readonly #onOutputClose = (): void => {
    if (!this.#output.writableFinished) this.#beDeaf(brokenStream());
  };

  /** The peer takes no more. Why, it may have said before: so reading goes on for a moment. */
  #beDeaf(error: Error): void {
    if (this.#deaf) return;
    this.#deaf = error;
    this.#makeRoom();
    setTimeout(() => {
      this.#failure ??= error instanceof SendallError ? error : brokenStream(error);
      this.#awake();
    }, LAST_WORDS).unref();
  }
}
