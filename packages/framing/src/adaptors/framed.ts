/** Frames in both directions over a duplex stream. */
import { Buffer } from 'node:buffer';
import type { Duplex } from 'node:stream';
import { clearTimeout, setImmediate, setTimeout } from 'node:timers';
import { FrameDecoder } from '../decoder.js';
import type { FramingError } from '../errors.js';
import type { Bytes, Decoder, DecoderOptions, DecoderStats, EncoderOptions, Framing, OnFrame } from '../framing.js';
import { checkOptions, decoderRules, encoderRules, MAX_DELAY, whole } from '../options.js';
import { SendBatch } from './send-batch.js';

/** Options of {@link framed}. */
export interface FramedOptions extends DecoderOptions, EncoderOptions {
  /** Bytes that may wait undecoded for a slow reader before the stream is paused. @default 65536 */
  highWaterMark?: number;
  /** Milliseconds that `close` waits for the other side before it destroys the stream. @default 5000 */
  closeTimeout?: number;
}

/**
 * A duplex stream that carries frames.
 *
 * Reading is by pulling, one frame at a time (`next`, `for await`) or all that are there (`batches`), or by being
 * called (`onFrame`). Nothing is decoded before it is asked for, so that a frame can change the framing of the bytes
 * right behind it. Leaving a loop over the frames leaves the stream open: go on with another loop, `detach`, or `close`.
 */
export interface Framed extends AsyncIterable<Buffer>, AsyncDisposable {
  /** The stream underneath. */
  readonly socket: Duplex;
  /** What the decoder has seen since the framing was set. */
  readonly stats: DecoderStats;
  /**
   * Sends one frame. The frames of a tick leave in one write. Payloads up to `copyBelow` are copied, bigger ones must
   * not be changed until `drained`.
   * @returns false when the stream's buffer is full: await `drained` before sending more. Also when the stream is gone
   * @throws FramingError when the framing cannot carry the payload; nothing is sent then
   */
  send(payload: Bytes | string): boolean;
  /** Sends several; see `send`. */
  sendAll(payloads: Iterable<Bytes | string>): boolean;
  /** Writes what waits, and resolves when the stream has room again. Rejects when the stream fails or closes first. */
  drained(): Promise<void>;
  /**
   * The next frame; undefined at the end of the stream. Aborting loses no frame: the next call gets it.
   * @throws FramingError, the stream's error, or the signal's reason
   */
  next(options?: { signal?: AbortSignal }): Promise<Buffer | undefined>;
  /** All frames that are there, a list at a time (at most 1024 in one), as soon as there is one. */
  batches(): AsyncIterable<Buffer[]>;
  /**
   * Calls `on` for each frame from now on, without a promise in between; frames are views of the chunk they came in.
   * `false` stops reading until `resume`. `done` is called once, when no frame will come any more: with the error if it
   * was one, else at the end of the stream or after `close`. An exception in `on` destroys the stream and goes to `done`.
   */
  onFrame(on: OnFrame, done?: (error?: Error) => void): void;
  /** Goes on after `on` of `onFrame` returned false. */
  resume(): void;
  /** Changes the framing of both directions, right behind the last frame that was taken and the last that was sent. */
  setFraming(framing: Framing): void;
  /** Gives the stream back, paused and without our listeners, and the bytes that came and were not taken. */
  detach(): { socket: Duplex; rest: Buffer };
  /** Sends what waits and ends our side; the other side may still send. */
  end(): void;
  /** Sends what waits, ends our side, waits for the other (at most `closeTimeout`). Frames that still come are dropped. */
  close(): Promise<void>;
  /** Destroys the stream at once. */
  destroy(error?: Error): void;
}

const rules = {
  ...decoderRules,
  ...encoderRules,
  highWaterMark: whole(64 * 1024, 1, Number.MAX_SAFE_INTEGER),
  closeTimeout: whole(5000, 0, MAX_DELAY),
};
const MOST_IN_BATCH = 1024;

/**
 * Sends and receives frames over a duplex stream: a socket, a TLS connection, a pair of pipes. See {@link Framed}.
 *
 * A fatal framing error, `frameTimeout` included, ends the stream: readers get the error, what was sent until the end of
 * that tick is still written (so that a peer can be told why), then the stream is destroyed with it.
 * @throws OptionError for an option that is not known or does not fit
 */
export function framed(duplex: Duplex, framing: Framing, options: FramedOptions = {}): Framed {
  return new FramedStream(duplex, framing, options);
}

interface Waiter {
  take(): boolean;
  fail(error: Error): void;
  end(): void;
}

class FramedStream implements Framed {
  readonly socket: Duplex;
  readonly #options: DecoderOptions;
  readonly #encoderOptions: Required<EncoderOptions>;
  readonly #highWaterMark: number;
  readonly #closeTimeout: number;
  readonly #batch: SendBatch;
  #decoder: Decoder;

  /** Chunks that were read and not decoded yet, and how many bytes they are. */
  #chunks: Buffer[] = [];
  #unread = 0;
  #reading = false;
  #pumping = false;
  #waiters: Waiter[] = [];
  #on: OnFrame | undefined;
  #done: ((error?: Error) => void) | undefined;
  #held = false;
  #got: Buffer | undefined;
  readonly #one: OnFrame = (frame) => {
    this.#got = frame;
    return false;
  };

  #state: 'open' | 'closing' | 'over' | 'detached' = 'open';
  #inputEnded = false;
  #failure: Error | undefined;
  #closed: Promise<void> | undefined;

  constructor(duplex: Duplex, framing: Framing, options: FramedOptions) {
    const { copy, frameTimeout, batchBytes, copyBelow, highWaterMark, closeTimeout } = checkOptions(
      'framed',
      options,
      rules,
    );
    this.#encoderOptions = { batchBytes, copyBelow };
    this.#highWaterMark = highWaterMark;
    this.#closeTimeout = closeTimeout;
    this.socket = duplex;
    this.#options = {
      copy,
      frameTimeout,
      onError: (error) => {
        options.onError?.(error);
        if (error.fatal) this.#fail(error);
      },
    };
    this.#decoder = this.#newDecoder(framing);
    this.#batch = new SendBatch(duplex, framing.encoder(this.#encoderOptions), this.#encoderOptions);
    duplex.pause();
    duplex.on('data', this.#onData);
    duplex.on('end', this.#onEnd);
    duplex.on('error', this.#onError);
    duplex.on('close', this.#onClose);
    if (duplex.readableEnded) this.#onEnd();
    else if (duplex.destroyed) this.#onClose();
  }

  get stats(): DecoderStats {
    return this.#decoder.stats;
  }

  // --- Sending.

  send(payload: Bytes | string): boolean {
    if (!this.#maySend()) return false;
    this.#batch.add(payload);
    return this.#hasRoom();
  }

  sendAll(payloads: Iterable<Bytes | string>): boolean {
    if (!this.#maySend()) return false;
    for (const payload of payloads) this.#batch.add(payload);
    return this.#hasRoom();
  }

  #maySend(): boolean {
    if (this.#state === 'detached') throw new Error('framed: the stream was detached');
    if (this.#state === 'closing' || (this.socket.writableEnded && !this.socket.destroyed)) {
      throw new Error('framed: cannot send after end() or close()');
    }
    return this.socket.writable;
  }

  #hasRoom(): boolean {
    const { socket } = this;
    return !socket.writableNeedDrain && socket.writableLength + this.#batch.waiting < socket.writableHighWaterMark;
  }

  async drained(): Promise<void> {
    const { socket } = this;
    if (this.#state === 'detached') throw new Error('framed: the stream was detached');
    this.#batch.flush();
    if (this.#failure !== undefined) throw this.#failure;
    // A failed write sets `errored` first; `drain` may come before `error` and `close`, and means nothing then.
    if (socket.errored) throw socket.errored;
    if (socket.destroyed) throw closedEarly();
    if (!socket.writableNeedDrain) return;
    await new Promise<void>((resolve, reject) => {
      const settle = (error?: Error): void => {
        socket.off('drain', settle).off('close', gone).off('error', settle);
        const failure = error ?? socket.errored;
        if (failure) reject(failure);
        else resolve();
      };
      const gone = (): void => settle(this.#failure ?? closedEarly());
      socket.on('drain', settle).on('close', gone).on('error', settle);
    });
  }

  // --- Receiving.

  next(options?: { signal?: AbortSignal }): Promise<Buffer | undefined> {
    return this.#pull(() => this.#takeOne(), options?.signal);
  }

  [Symbol.asyncIterator](): AsyncIterator<Buffer> {
    return this.#iterator(() => this.#takeOne());
  }

  batches(): AsyncIterable<Buffer[]> {
    return { [Symbol.asyncIterator]: () => this.#iterator(() => this.#takeMany()) };
  }

  #iterator<T>(take: () => T | undefined): AsyncIterator<T> {
    return {
      next: async () => {
        const value = await this.#pull(take);
        return value === undefined ? { done: true, value: undefined } : { done: false, value };
      },
    };
  }

  /** What `take` gives, now or when more has come; undefined at the end. */
  #pull<T>(take: () => T | undefined, signal?: AbortSignal): Promise<T | undefined> {
    if (this.#on !== undefined) return Promise.reject(new Error('framed: onFrame takes the frames'));
    if (signal?.aborted) return Promise.reject(signal.reason as Error);
    if (this.#waiters.length === 0) {
      try {
        const value = take();
        if (value !== undefined) return Promise.resolve(value);
      } catch (error) {
        this.#fail(error as Error);
      }
      if (this.#failure !== undefined) return Promise.reject(this.#failure);
      if (this.#state !== 'open') return Promise.resolve(undefined);
    }
    return new Promise<T | undefined>((resolve, reject) => {
      const drop = (): void => signal?.removeEventListener('abort', onAbort);
      const waiter: Waiter = {
        take() {
          const value = take();
          if (value === undefined) return false;
          drop();
          resolve(value);
          return true;
        },
        fail(error) {
          drop();
          reject(error);
        },
        end() {
          drop();
          resolve(undefined);
        },
      };
      const onAbort = (): void => {
        this.#waiters = this.#waiters.filter((each) => each !== waiter);
        reject(signal?.reason as Error);
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#waiters.push(waiter);
      this.#read();
    });
  }

  /** Decodes as far as the next frame. */
  #takeOne(): Buffer | undefined {
    this.#got = undefined;
    this.#decodeWith(this.#one, () => this.#got !== undefined);
    return this.#got;
  }

  #takeMany(): Buffer[] | undefined {
    const frames: Buffer[] = [];
    this.#decodeWith(
      (frame) => {
        frames.push(frame);
        return frames.length === MOST_IN_BATCH ? false : undefined;
      },
      () => frames.length > 0,
    );
    return frames.length > 0 ? frames : undefined;
  }

  /** Feeds the decoder with what is there until `enough`, or until there is nothing left. */
  #decodeWith(on: OnFrame, enough: () => boolean): void {
    for (;;) {
      if (this.#decoder.state === 'stopped') this.#decoder.resume(on);
      else {
        const chunk = this.#chunks.shift();
        if (chunk !== undefined) {
          this.#unread -= chunk.length;
          this.#decoder.push(chunk, on);
        } else {
          if (this.#inputEnded && this.#decoder.state !== 'ended') this.#decoder.end(on);
          if (this.#inputEnded && this.#decoder.state === 'ended' && this.#state === 'open') this.#state = 'over';
          if (!this.#inputEnded || this.#decoder.state === 'ended') return;
        }
      }
      if (enough()) return;
    }
  }

  onFrame(on: OnFrame, done?: (error?: Error) => void): void {
    if (typeof on !== 'function') throw new TypeError('framed: onFrame expects a function');
    if (this.#waiters.length > 0) throw new Error('framed: a call of next() is still waiting');
    if (this.#state === 'detached') throw new Error('framed: the stream was detached');
    this.#on = on;
    this.#done = done;
    this.#held = false;
    if (this.#decoder instanceof FrameDecoder) this.#decoder.keepFrames(false);
    // Not before the caller has had time to store what we return.
    process.nextTick(() => this.#pump());
  }

  resume(): void {
    this.#held = false;
    this.#pump();
  }

  /** Gives what has come to the calls that wait, or to the callback. */
  #pump(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    try {
      if (this.#on === undefined) this.#serveWaiters();
      else this.#callOn(this.#on);
    } catch (error) {
      this.#fail(error as Error);
    } finally {
      this.#pumping = false;
    }
    if ((this.#failure !== undefined && !this.#held) || this.#state !== 'open') this.#tellEnd();
    this.#flow();
  }

  #serveWaiters(): void {
    let waiter = this.#waiters[0];
    while (waiter?.take()) {
      this.#waiters.shift();
      waiter = this.#waiters[0];
    }
  }

  #callOn(on: OnFrame): void {
    while (!this.#held && this.#state === 'open' && this.#on !== undefined) {
      const { state } = this.#decoder;
      const chunk = state === 'stopped' ? undefined : this.#chunks.shift();
      let goOn = true;
      if (state === 'stopped') goOn = this.#decoder.resume(on);
      else if (chunk !== undefined) {
        this.#unread -= chunk.length;
        goOn = this.#decoder.push(chunk, on);
      } else if (this.#inputEnded) {
        this.#decoder.end(on);
        goOn = this.#decoder.state !== 'stopped';
        if (goOn) this.#state = 'over';
      } else return;
      if (!goOn) this.#held = true;
    }
  }

  /** No frame will come any more: settles all waiting calls. */
  #tellEnd(): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) {
      if (this.#failure === undefined) waiter.end();
      else waiter.fail(this.#failure);
    }
    if (this.#on === undefined) return;
    const done = this.#done;
    this.#done = undefined;
    this.#on = undefined;
    done?.(this.#failure);
  }

  readonly #onData = (chunk: Buffer): void => {
    if (this.#state !== 'open') return;
    this.#chunks.push(chunk);
    this.#unread += chunk.length;
    this.#pump();
  };

  readonly #onEnd = (): void => {
    this.#inputEnded = true;
    this.#pump();
  };

  readonly #onError = (error: Error): void => {
    this.#failure ??= error;
    this.#pump();
  };

  readonly #onClose = (): void => {
    if (!this.#inputEnded && this.#state === 'open') this.#failure ??= closedEarly();
    if (this.#state === 'open' && this.#failure === undefined) return this.#pump();
    if (this.#state === 'closing') this.#state = 'over';
    this.#pump();
  };

  #read(): void {
    if (this.#reading || this.#state !== 'open') return;
    this.#reading = true;
    if (this.#decoder instanceof FrameDecoder) this.#decoder.resumeTimeout();
    this.socket.resume();
  }

  /** Reads on while frames are wanted or a little may wait, else pauses the stream. */
  #flow(): void {
    if (this.#state !== 'open') return;
    const wanted = this.#on === undefined ? this.#waiters.length > 0 : !this.#held;
    if (wanted) this.#read();
    else if (this.#reading && (this.#held || this.#unread + this.#decoder.stats.buffered >= this.#highWaterMark)) {
      this.#reading = false;
      this.socket.pause();
      if (this.#decoder instanceof FrameDecoder) this.#decoder.pauseTimeout();
    }
  }

  // --- Changing and ending.

  setFraming(framing: Framing): void {
    if (this.#state === 'detached') throw new Error('framed: the stream was detached');
    const decoder = this.#newDecoder(framing);
    const encoder = framing.encoder(this.#encoderOptions);
    const rest = this.#decoder.takeRest();
    this.#decoder = decoder;
    this.#batch.encoder = encoder;
    if (rest.length > 0) {
      this.#chunks.unshift(rest);
      this.#unread += rest.length;
    }
  }

  #newDecoder(framing: Framing): Decoder {
    const decoder = framing.decoder(this.#options);
    if (decoder instanceof FrameDecoder) {
      decoder.keepFrames(this.#on === undefined);
      if (!this.#reading) decoder.pauseTimeout();
    }
    return decoder;
  }

  detach(): { socket: Duplex; rest: Buffer } {
    if (this.#state === 'detached') throw new Error('framed: the stream was detached before');
    this.#batch.flush();
    const rest = Buffer.concat([this.#decoder.takeRest(), ...this.#chunks]);
    this.#chunks = [];
    this.#unread = 0;
    this.#state = 'detached';
    this.socket.pause();
    this.#leave();
    this.#tellEnd();
    return { socket: this.socket, rest };
  }

  #leave(): void {
    this.socket
      .off('data', this.#onData)
      .off('end', this.#onEnd)
      .off('error', this.#onError)
      .off('close', this.#onClose);
  }

  end(): void {
    this.#batch.flush();
    this.socket.end();
  }

  close(): Promise<void> {
    if (this.#state === 'detached') return Promise.resolve();
    this.#closed ??= this.#closeGently();
    return this.#closed;
  }

  async #closeGently(): Promise<void> {
    const { socket } = this;
    this.#batch.flush();
    if (this.#state === 'open') this.#state = 'closing';
    this.#tellEnd();
    if (socket.destroyed && socket.closed) return;
    await new Promise<void>((resolve) => {
      const deadline = setTimeout(() => socket.destroy(), this.#closeTimeout);
      socket.once('close', () => {
        clearTimeout(deadline);
        resolve();
      });
      // What still comes is dropped, but has to be read for the end to be seen.
      socket.resume();
      socket.end();
      // A stream that does not close by itself when both sides have ended.
      const bothEnded = (): void => {
        if (socket.readableEnded && socket.writableFinished) socket.destroy();
      };
      socket.once('end', bothEnded).once('finish', bothEnded);
      bothEnded();
    });
    this.#state = 'over';
  }

  destroy(error?: Error): void {
    if (this.#state === 'detached') return;
    if (this.#state === 'open') this.#state = 'closing';
    if (error !== undefined) this.#failure ??= error;
    this.#tellEnd();
    this.socket.destroy(error);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Decoding is over. What was sent is still written, and the reader has the rest of the tick to tell its peer why. */
  #fail(error: FramingError | Error): void {
    if (this.#failure !== undefined || this.#state === 'detached') return;
    this.#failure = error;
    this.#reading = false;
    this.socket.pause();
    this.#tellEnd();
    setImmediate(() => this.#endAfter(error));
  }

  #endAfter(error: Error): void {
    const { socket } = this;
    this.#batch.flush();
    if (socket.destroyed || this.#state === 'detached') return;
    const destroy = (): void => void socket.destroy(error);
    if (socket.writableFinished) return destroy();
    const deadline = setTimeout(destroy, this.#closeTimeout).unref();
    socket.once('close', () => clearTimeout(deadline)).once('finish', destroy);
    socket.end();
  }
}

function closedEarly(): Error {
  return Object.assign(new Error('framed: the stream was closed before its end'), {
    code: 'ERR_STREAM_PREMATURE_CLOSE',
  });
}
