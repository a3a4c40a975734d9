/** The pull side of a connection: bytes, lines, all to the end. */
import { ConnectionClosedError, LineTooLongError, SocketServerError } from '../errors.js';
import { checkNumber } from '../options.js';
import type { Sink, Source } from './sink.js';

const NEWLINE = 0x0a;
const DEFAULT_LINE_LIMIT = 65_536;

interface Waiter {
  /** Looks at what is there; undefined: not enough yet. */
  take(): Buffer | null | undefined;
  resolve(bytes: Buffer | null): void;
  reject(error: Error): void;
}

/**
 * The pull side of a connection: bytes come in chunks as the network cut them and are asked for as the handler
 * needs them. Holds at most about `highWaterMark` bytes; then the socket is paused and the client waits.
 */
export class Reader implements Sink {
  readonly #source: Source;
  #chunks: Buffer[] = [];
  #size = 0;
  #waiter: Waiter | undefined;
  #ended = false;
  #failure: Error | undefined;

  constructor(source: Source) {
    this.#source = source;
  }

  get waiting(): boolean {
    return this.#waiter !== undefined;
  }

  /** A handler that reads is in the middle of its `handle()`. */
  get idle(): boolean {
    return false;
  }

  /** What has come, at most `max` bytes of it; else what comes next; null at the end. */
  read(max = Infinity): Promise<Buffer | null> {
    checkNumber('max', max, 1, 'read() takes a number above 0');
    if (this.#waiter === undefined && this.#size > 0) return Promise.resolve(this.#takeChunk(max));
    return this.#wait(() => (this.#size > 0 ? this.#takeChunk(max) : this.#atEnd(null)));
  }

  /** Exactly `n` bytes; fewer only where the stream ends before; null when it ended already. */
  readExactly(n: number): Promise<Buffer | null> {
    checkNumber('n', n, 0, 'read() takes a number of bytes');
    return this.#wait(() => {
      if (n === 0) return Buffer.alloc(0);
      if (this.#size >= n) return this.#takeBytes(n);
      return this.#atEnd(this.#size > 0 ? this.#size : null);
    });
  }

  /** All bytes to the end of the stream, at most `limit` of them. */
  readToEnd(limit = Infinity): Promise<Buffer | null> {
    return this.#wait(() => {
      if (this.#size > limit) return this.#takeBytes(limit);
      return this.#atEnd(this.#size > 0 ? this.#size : null);
    });
  }

  /**
   * One line with its newline; the last one may have none; null at the end. With a `limit` of its own a longer line
   * comes in pieces of that size, as in Python; without one it is an error at 64 KiB.
   * @throws LineTooLongError
   */
  readLine(limit?: number): Promise<Buffer | null> {
    let seen = 0;
    let chunk = 0;
    return this.#wait(() => {
      for (; chunk < this.#chunks.length; chunk++) {
        const at = this.#chunks[chunk]!.indexOf(NEWLINE);
        const length = seen + (at < 0 ? this.#chunks[chunk]!.length : at + 1);
        if (length > (limit ?? DEFAULT_LINE_LIMIT)) {
          if (limit !== undefined) return this.#takeBytes(limit);
          throw new LineTooLongError(DEFAULT_LINE_LIMIT);
        }
        if (at >= 0) return this.#takeBytes(length);
        seen = length;
      }
      return this.#atEnd(this.#size > 0 ? this.#size : null);
    });
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer, void, void> {
    for (;;) {
      const chunk = await this.read();
      if (chunk === null) return;
      yield chunk;
    }
  }

  /** Everything that was read ahead, for a change of protocol. */
  takeAll(): Buffer {
    return this.#size === 0 ? Buffer.alloc(0) : this.#takeBytes(this.#size);
  }

  #atEnd(rest: number | null): Buffer | null | undefined {
    if (this.#failure !== undefined) throw this.#failure;
    if (!this.#ended) return undefined;
    return rest === null ? null : this.#takeBytes(rest);
  }

  #wait(take: () => Buffer | null | undefined): Promise<Buffer | null> {
    return new Promise((resolve, reject) => {
      if (this.#waiter !== undefined) {
        reject(new SocketServerError('READ_IN_PROGRESS', 'another read of this connection is not answered yet'));
        return;
      }
      this.#waiter = { take, resolve, reject };
      this.#serve();
    });
  }

  #serve(): void {
    const waiter = this.#waiter;
    if (waiter === undefined) return;
    let bytes: Buffer | null | undefined;
    try {
      bytes = waiter.take();
    } catch (error) {
      this.#waiter = undefined;
      waiter.reject(error as Error);
      return;
    }
    if (bytes === undefined) {
      // What is held is not enough, however much that is: the waiter's own limit counts now.
      this.#source.hold(false);
      return;
    }
    this.#waiter = undefined;
    waiter.resolve(bytes);
  }

  #takeChunk(max: number): Buffer {
    const first = this.#chunks[0]!;
    if (first.length > max) {
      this.#chunks[0] = first.subarray(max);
      return this.#took(first.subarray(0, max));
    }
    this.#chunks.shift();
    return this.#took(first);
  }

  #takeBytes(n: number): Buffer {
    const first = this.#chunks[0]!;
    if (first.length >= n) return this.#takeChunk(n);
    const parts: Buffer[] = [];
    for (let left = n; left > 0;) {
      const chunk = this.#chunks[0]!;
      if (chunk.length > left) {
        parts.push(chunk.subarray(0, left));
        this.#chunks[0] = chunk.subarray(left);
        break;
      }
      parts.push(this.#chunks.shift()!);
      left -= chunk.length;
    }
    return this.#took(Buffer.concat(parts, n));
  }

  #took(bytes: Buffer): Buffer {
    this.#size -= bytes.length;
    if (this.#size < this.#source.highWaterMark) this.#source.hold(false);
    return bytes;
  }

  chunk(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#size += chunk.length;
    this.#serve();
    if (this.#size >= this.#source.highWaterMark && this.#waiter === undefined) this.#source.hold(true);
  }

  end(): void {
    this.#ended = true;
    this.#serve();
  }

  timeout(error: Error): void {
    const waiter = this.#waiter;
    this.#waiter = undefined;
    waiter?.reject(error);
  }

  resumed(): void {}

  closed(error: Error | undefined): void {
    if (error !== undefined) this.#failure = error;
    else if (!this.#ended) this.#failure = this.#source.failure ??= new ConnectionClosedError();
    this.#serve();
  }
}
