/** Frames over the Unix socket between an agent and the keeper: both ends use this. */
import type { Socket } from 'node:net';
import { lengthPrefixed } from '@sendall/framing';
import { Batch } from '../../link/batch.js';
import { aliasOf, decode, encodeData, encodeFor, isForCallers } from '../../protocol/codec.js';
import { MAX_DATA, MAX_FRAME, type Control, type Message } from '../../protocol/messages.js';

/** More than a caller may send, as agents add a few fields to what they pass on. */
const LONGEST = MAX_FRAME + 64 * 1024;
const FRAMING = lengthPrefixed({ maxFrameLength: LONGEST });
/** Pieces from this size on are put together in memory that is used again. */
const LARGE = 8 * 1024;
const NOTHING = Buffer.alloc(0);

/** What the owner of a Wire hears. `message` is called once a frame, synchronously for all frames of a chunk. */
export interface WireEvents {
  /** Called instead of `message` for frames that are callers' business alone, when it is there. */
  forward?(alias: number, frame: Buffer): void;
  message(message: Message): void;
  /** What was waiting has gone out, after `congested` was true. */
  roomy(): void;
  /**
   * Nothing is read while `congested`: what is asked has answers, and those wait already. For one of the two ends only,
   * or each would wait for the other.
   */
  readonly paced?: boolean;
  /** What was sent is about to leave this process. */
  leaving?(): void;
  /** Called once. `error` is there when the peer broke the protocol or the socket failed. */
  closed(error: Error | undefined): void;
}

/** One peer. Frames sent in one tick go out in one write. */
export class Wire {
  readonly #socket: Socket;
  /** Bytes that may wait before it counts as congested. */
  backlog: number;
  readonly #leaving: (() => void) | undefined;
  /** What waited has gone out. */
  readonly #drained: () => void;
  readonly #encoder = FRAMING.encoder();
  #frames: Buffer[] = [];
  /** Bytes in `#frames`. */
  #gathered = 0;
  /** Large pieces, which leave before `#frames`. */
  #batch: Batch | undefined;
  #held = false;
  #scheduled = false;
  /** It will be flushed in a moment. */
  #isDue = false;
  #error: Error | undefined;

  constructor(socket: Socket, events: WireEvents, backlog = 1024 * 1024) {
    this.#socket = socket;
    this.backlog = backlog;
    this.#leaving = events.leaving?.bind(events);
    const decoder = FRAMING.decoder();
    const onFrame = (frame: Buffer): false | undefined => {
      const alias = aliasOf(frame);
      if (alias && events.forward && isForCallers(frame)) events.forward(alias, frame);
      else events.message(decode(frame, 'agent'));
      return events.paced && this.congested ? this.#hold() : undefined;
    };
    const decoding = (step: () => void): void => {
      try {
        step();
      } catch (error) {
        this.fail(error as Error);
      }
    };
    socket.on('data', (chunk) => decoding(() => decoder.push(chunk, onFrame)));
    this.#drained = () => {
      events.roomy();
      if (!this.#held || this.congested) return;
      this.#held = false;
      decoding(() => decoder.resume(onFrame));
      if (!this.#held) socket.resume();
    };
    socket.on('drain', this.#drained);
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

  /** More waits for this peer than it should: send less until `roomy`. */
  get congested(): boolean {
    return this.#socket.writableLength + this.#gathered + (this.#batch?.length ?? 0) > this.backlog;
  }

  /** False when the message is too long for a frame: nothing was sent then. */
  send(message: Control, alias = message.alias): boolean {
    const frame = encodeFor(alias, message);
    if (frame.length > LONGEST) return false;
    this.#gather(frame);
    return true;
  }

  /** As `send`, for what is not urgent: it leaves with the next message, at the latest after a millisecond. */
  sendLater(message: Control, alias = message.alias): void {
    const frame = encodeFor(alias, message);
    this.#frames.push(frame);
    this.#gathered += frame.length;
    if (this.#scheduled || this.#isDue) return;
    this.#isDue = true;
    setTimeout(() => {
      this.#isDue = false;
      this.flush();
    }, 1);
  }

  /** Sends a piece of a stream; the bytes are copied. */
  sendData(alias: number, stream: number, gseq: number, offset: number, bytes: Uint8Array): void {
    if (bytes.length < LARGE || bytes.length > MAX_DATA) {
      this.#gather(encodeData(alias, stream, gseq, offset, bytes));
      return;
    }
    if (this.#frames.length || !this.#batch?.holds(bytes.length)) this.flush();
    this.#batch ??= new Batch();
    this.#batch.add(alias, stream, gseq, offset, bytes.length, (room) => {
      room.set(bytes);
      return bytes.length;
    });
    this.#flushSoon();
  }

  #gather(frame: Buffer): void {
    this.#frames.push(frame);
    this.#gathered += frame.length;
    this.#flushSoon();
  }

  /** Stops at this frame; what was answered so far leaves at once, and its `drain` brings the next one. */
  #hold(): false {
    this.#held = true;
    this.#socket.pause();
    this.flush();
    return false;
  }

  #flushSoon(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => this.flush());
  }

  flush(): void {
    this.#scheduled = false;
    const batch = this.#batch;
    if (!batch && this.#frames.length === 0) return;
    this.#leaving?.();
    const waited = this.congested;
    if (batch) {
      this.#batch = undefined;
      if (!this.#socket.destroyed) batch.writeTo(this.#socket);
    }
    if (this.#frames.length > 0) {
      const bytes = this.#encoder.encodeAll(this.#frames);
      this.#frames = [];
      this.#gathered = 0;
      if (!this.#socket.destroyed) this.#socket.write(bytes);
    }
    if (waited || this.congested) this.#awaitDrain();
  }

  /** A socket tells of a drain only behind more than it holds by itself, and a backlog may be smaller. */
  #awaitDrain(): void {
    const { writable, writableNeedDrain } = this.#socket;
    if (writable && !writableNeedDrain) this.#socket.write(NOTHING, (error) => void (error ?? this.#drained()));
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
