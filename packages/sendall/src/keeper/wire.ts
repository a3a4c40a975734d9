/** Frames over the Unix socket between an agent and the keeper: both ends use this. */
import type { Socket } from 'node:net';
import { lengthPrefixed } from '@sendall/framing';
import { aliasOf, decode, encodeData, encodeFor, isForCallers } from '../protocol/codec.js';
import { MAX_FRAME, type Control, type Message } from '../protocol/messages.js';

// More than a caller may send, as agents add a few fields to what they pass on.
const framing = lengthPrefixed({ maxFrameLength: MAX_FRAME + 64 * 1024 });

/** What the owner of a Wire hears. `message` is called once a frame, synchronously for all frames of a chunk. */
export interface WireEvents {
  /** Called instead of `message` for frames that are callers' business alone, when it is there. */
  relay?(alias: number, frame: Buffer): void;
  message(message: Message): void;
  /** What was waiting has gone out, after `congested` was true. */
  drained(): void;
  /** What was sent is about to leave this process. */
  leaving?(): void;
  /** Called once. `error` is there when the peer broke the protocol or the socket failed. */
  closed(error: Error | undefined): void;
}

/** One peer. Frames sent in one tick go out in one write. */
export class Wire {
  readonly #socket: Socket;
  readonly #backlog: number;
  readonly #leaving: (() => void) | undefined;
  readonly #encoder = framing.encoder();
  #frames: Buffer[] = [];
  #scheduled = false;
  #error: Error | undefined;

  constructor(socket: Socket, events: WireEvents, backlog = 1024 * 1024) {
    this.#socket = socket;
    this.#backlog = backlog;
    this.#leaving = events.leaving?.bind(events);
    const decoder = framing.decoder();
    const onFrame = (frame: Buffer): void => {
      const alias = aliasOf(frame);
      if (alias && events.relay && isForCallers(frame)) events.relay(alias, frame);
      else events.message(decode(frame));
    };
    socket.on('data', (chunk) => {
      try {
        decoder.push(chunk, onFrame);
      } catch (error) {
        this.fail(error as Error);
      }
    });
    socket.on('drain', () => events.drained());
    socket.on('error', (error) => (this.#error ??= error));
    socket.on('end', () => {
      try {
        decoder.end();
      } catch (error) {
        this.#error ??= error as Error;
      }
      socket.end();
    });
    socket.on('close', () => events.closed(this.#error));
  }

  /** More waits for this peer than it should: send less until `drained`. */
  get congested(): boolean {
    return this.#socket.writableLength > this.#backlog;
  }

  send(message: Control, alias = message.alias): void {
    this.#frames.push(encodeFor(alias, message));
    this.#flushSoon();
  }

  sendData(alias: number, stream: number, gseq: number, offset: number, bytes: Uint8Array): void {
    this.#frames.push(encodeData(alias, stream, gseq, offset, bytes));
    this.#flushSoon();
  }

  #flushSoon(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => this.flush());
  }

  flush(): void {
    this.#scheduled = false;
    if (this.#frames.length === 0) return;
    this.#leaving?.();
    const frames = this.#frames;
    this.#frames = [];
    try {
      const batch = this.#encoder.encodeAll(frames);
      if (!this.#socket.destroyed) this.#socket.write(batch);
    } catch (error) {
      // A message too long for a frame: the peer connects anew and hears where everything stands.
      this.#error ??= error as Error;
      this.#socket.destroy();
    }
  }

  /** Says why, then closes. */
  fail(error: Error): void {
    this.#error ??= error;
    this.send({ type: 'LINK_ERROR', alias: 0, code: 'PROTOCOL', message: error.message });
    this.close();
  }

  /** Sends what waits, then closes. */
  close(): void {
    this.flush();
    this.#socket.destroySoon();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  ref(): void {
    this.#socket.ref();
  }

  unref(): void {
    this.#socket.unref();
  }
}
