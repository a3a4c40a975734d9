/** One output stream as its user sees it: collected until somebody reads it as a stream or as events. */
import { Readable } from 'node:stream';
import type { Inbound } from './inbound.js';

export interface OutputHooks {
  /** Bytes were used up: new credit may be due. */
  used(): void;
  /** More was collected than allowed. */
  overflowed(): void;
  /** The reader went away before the end. */
  stopped(): void;
}

export class Output {
  readonly inbound: Inbound;
  readonly #maxBuffer: number;
  readonly #hooks: OutputHooks;
  #chunks: Buffer[] = [];
  #size = 0;
  #readable: Readable | undefined;
  #flush: () => void = () => undefined;
  #ended = false;

  constructor(inbound: Inbound, maxBuffer: number, hooks: OutputHooks) {
    this.inbound = inbound;
    this.#maxBuffer = maxBuffer;
    this.#hooks = hooks;
    inbound.deliver = (bytes) => this.#collect(bytes);
  }

  /** What was collected; empty once somebody reads the stream. */
  collected(): Buffer {
    return Buffer.concat(this.#chunks);
  }

  /** The stream as a Readable, what was collected so far first. Credit follows the reader. */
  readable(): Readable {
    if (this.#readable) return this.#readable;
    const { inbound } = this;
    let held = this.#takeBacklog();
    // The backlog was credited when it was collected.
    let credited = held.reduce((sum, chunk) => sum + chunk.length, 0);
    let wanted = false;
    const readable = new Readable({
      highWaterMark: 256 * 1024,
      read: () => {
        wanted = true;
        this.#flush();
      },
      destroy: (error, done) => {
        held = [];
        this.discard();
        if (!this.#ended) this.#hooks.stopped();
        done(error);
      },
    });
    this.#flush = () => {
      let used = 0;
      while (wanted && held.length) {
        const chunk = held.shift()!;
        const fresh = Math.max(0, chunk.length - credited);
        credited -= chunk.length - fresh;
        used += fresh;
        wanted = readable.push(chunk);
      }
      inbound.consumed(used);
      if (used) this.#hooks.used();
      if (this.#ended && !held.length && !readable.readableEnded) readable.push(null);
    };
    inbound.deliver = (bytes) => {
      held.push(bytes);
      this.#flush();
    };
    this.#readable = readable;
    if (this.#ended) this.#flush();
    return readable;
  }

  /** Hands each piece to `sink`, what was collected so far first. The sink's owner says when bytes are used up. */
  redirect(sink: (bytes: Buffer, offset: number) => void): void {
    const backlog = this.#takeBacklog();
    const size = backlog.reduce((sum, chunk) => sum + chunk.length, 0);
    let offset = this.inbound.next - size;
    this.inbound.consumed(-size);
    for (const chunk of backlog) {
      sink(chunk, offset);
      offset += chunk.length;
    }
    this.inbound.deliver = sink;
  }

  /** Takes the bytes and drops them. */
  discard(): void {
    this.#chunks = [];
    this.inbound.deliver = (bytes) => this.inbound.consumed(bytes.length);
  }

  /** Nothing more will come. */
  finish(): void {
    this.#ended = true;
    this.#flush();
  }

  #takeBacklog(): Buffer[] {
    const backlog = this.#chunks;
    this.#chunks = [];
    return backlog;
  }

  #collect(bytes: Buffer): void {
    this.inbound.consumed(bytes.length);
    this.#size += bytes.length;
    if (this.#size > this.#maxBuffer) {
      this.discard();
      this.#hooks.overflowed();
      return;
    }
    // A small piece would pin the whole chunk that it was cut from.
    this.#chunks.push(bytes.length * 4 < bytes.buffer.byteLength ? Buffer.from(bytes) : bytes);
  }
}
