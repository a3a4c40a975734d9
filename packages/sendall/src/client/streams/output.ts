/** One output stream as its user sees it: collected, unless read as a stream or as events. */
import { Readable } from 'node:stream';
import { SendallError } from '../../errors.js';
import type { SharedOutput } from '../result/shared-output.js';
import { Fifo } from './fifo.js';
import type { Inbound } from './inbound.js';

/** The name of a command's output stream. */
export type StreamName = 'stdout' | 'stderr';

export interface OutputHooks {
  /** Bytes were consumed: new credit may be due. */
  used(): void;
  /** More bytes were collected than allowed. */
  overflowed(): void;
  /** The reader stopped before the end. */
  stopped(): void;
}

/** Bytes of a shared output that a sink gets at once. */
const PIECE = 64 * 1024;

interface Chunk {
  readonly bytes: Buffer;
  readonly offset: number;
}

export class Output {
  readonly inbound: Inbound;
  readonly #maxBuffer: number;
  readonly #hooks: OutputHooks;
  #chunks: Chunk[] = [];
  #size = 0;
  #readable: Readable | undefined;
  #flush: () => void = () => undefined;
  #ended = false;
  #isCut = false;
  #collects = true;
  #shared: SharedOutput | undefined;
  #isElsewhere = false;

  constructor(inbound: Inbound, maxBuffer: number, hooks: OutputHooks) {
    this.inbound = inbound;
    this.#maxBuffer = maxBuffer;
    this.#hooks = hooks;
    inbound.deliver = (bytes, offset) => this.#collect(bytes, offset);
  }

  /** Collected output reached its limit; the rest was dropped. */
  get isCut(): boolean {
    return this.#shared?.isCut ?? this.#isCut;
  }

  /** What stands for the collected bytes, as results of other runs have it too. */
  get shared(): SharedOutput | undefined {
    return this.#shared;
  }

  /** The host whose equal output was received instead of this one. */
  get from(): string | undefined {
    return this.#isElsewhere ? this.#shared?.host : undefined;
  }

  /** The digest of all bytes, if it was asked for. */
  get sha256(): string | undefined {
    return this.#shared?.sha256 ?? this.inbound.sha256;
  }

  /** No reader has taken any of it, so all output is collected. */
  get collects(): boolean {
    return this.#collects;
  }

  /** The collected bytes; empty once the stream is read. */
  collected(): Buffer {
    if (this.#shared) return this.#shared.bytes;
    return Buffer.concat(this.#chunks.map(({ bytes }) => bytes));
  }

  /** This output stands for the collected bytes from now on; `isElsewhere` if they did not all arrive here. */
  adopt(shared: SharedOutput, isElsewhere = false): void {
    this.#shared = shared;
    this.#isElsewhere = isElsewhere;
    this.#chunks = [];
  }

  /** The stream as a Readable, collected bytes first. Credit follows the reader. */
  readable(): Readable {
    this.#readable ??= this.#makeReadable();
    return this.#readable;
  }

  /** Passes each piece to `sink`, collected bytes first. The sink's owner reports when bytes are consumed. */
  redirect(sink: (bytes: Buffer, offset: number) => void): void {
    const { shared } = this;
    if (shared && !this.#isElsewhere)
      for (let at = 0; at < shared.bytes.length; at += PIECE) sink(shared.bytes.subarray(at, at + PIECE), at);
    for (const { bytes, offset } of this.#takeBacklog()) sink(bytes, offset);
    if (!this.#isCut) this.inbound.deliver = sink;
  }

  /** Reads the bytes and drops them. */
  discard(): void {
    this.#takeBacklog();
    this.inbound.unread = 0;
    this.inbound.deliver = (bytes) => this.inbound.consumed(bytes.length);
  }

  /** No more output will arrive. */
  finish(): void {
    this.#ended = true;
    this.#flush();
  }

  #makeReadable(): Readable {
    const { inbound } = this;
    const held = new Fifo<Buffer>();
    for (const { bytes } of this.#takeBacklog()) held.push(bytes);
    let wanted = false;
    const readable = new Readable({
      highWaterMark: 256 * 1024,
      read: () => {
        wanted = true;
        this.#flush();
      },
      destroy: (error, done) => {
        held.clear();
        this.#flush = () => undefined;
        this.discard();
        if (!this.#ended) this.#hooks.stopped();
        done(error);
      },
    });
    // The stream may be piped to any number of sinks.
    readable.setMaxListeners(0);
    this.#flush = () => {
      let used = 0;
      while (wanted) {
        const chunk = held.shift();
        if (!chunk) break;
        used += chunk.length;
        wanted = readable.push(chunk);
      }
      if (this.#ended && !held.size) {
        this.#flush = () => undefined;
        if (this.#isCut) readable.destroy(new SendallError('TRUNCATED', 'more came than maxBuffer before it was read'));
        else readable.push(null);
      }
      inbound.consumed(used);
      if (used) this.#hooks.used();
    };
    if (!this.#isCut)
      inbound.deliver = (bytes) => {
        held.push(bytes);
        this.#flush();
      };
    if (this.#ended) this.#flush();
    return readable;
  }

  /** The collected pieces, which no longer count as consumed. */
  #takeBacklog(): Chunk[] {
    this.#collects = false;
    const backlog = this.#chunks;
    this.#chunks = [];
    for (const { bytes } of backlog) this.inbound.consumed(-bytes.length);
    return backlog;
  }

  #collect(bytes: Buffer, offset: number): void {
    this.inbound.consumed(bytes.length);
    const fits = bytes.subarray(0, this.#maxBuffer - this.#size);
    this.#size += fits.length;
    // A small piece would pin the whole chunk it was cut from.
    if (fits.length > 0)
      this.#chunks.push({ bytes: fits.length * 4 < fits.buffer.byteLength ? Buffer.from(fits) : fits, offset });
    if (fits.length === bytes.length) return;
    this.#isCut = true;
    this.inbound.deliver = (more) => this.inbound.consumed(more.length);
    this.#hooks.overflowed();
  }
}
