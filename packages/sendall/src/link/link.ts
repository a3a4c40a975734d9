/**
 * The narrow waist: messages over any byte stream. Agent, client and keeper use a Link; no code above sees a socket.
 *
 * Control messages of one tick leave in one write. DATA is pulled from its sources only while little is queued
 * (`roomy`), so a control message never waits behind more than `HIGH_WATER` bytes of output.
 */
import type { OnReadOpts, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { lengthPrefixed, type Decoder, type Encoder } from '@sendall/framing/length-prefixed';
import { ProtocolError, SendallError, UnreachableError } from '../errors.js';
import {
  aliasOf,
  DATA_HEADER,
  decode,
  encode,
  isData,
  encodeFor,
  readdress,
  writeDataHeader,
} from '../protocol/codec.js';
import { Batch, DATA_ROOM } from './batch.js';
import { SharedReads } from './shared-reads.js';
import { MAX_FRAME, MAX_FRAME_BEFORE_AUTH, type Control, type Message } from '../protocol/messages.js';

/** Bytes of queued output above which no more DATA is requested. */
const HIGH_WATER = 256 * 1024;
/** Bytes of queued replies above which we stop reading: the peer sends requests but does not read replies. */
const FLOOD_WATER = 4 * 1024 * 1024;
/** Milliseconds for the farewell messages. */
const FAREWELL = 1000;
/** Frames of at least this size are not copied into a batch. */
const LARGE = 8 * 1024;
/** Stream bytes in a frame that exactly fills four TLS records: readers get it contiguously in memory. */
export const PIECE = 64 * 1024 - DATA_ROOM;

/** A frame this long indicates a stream. */
const STREAMING = 16 * 1024;

/** Makes a socket read into memory of the caller's. False when that is not possible. */
export type ReadInto = (socket: Socket, onread: OnReadOpts) => boolean;

export interface LinkHandlers {
  /**
   * Called first, with each undecoded frame of a run (alias above 0). Returns true when it has handled the frame. For
   * its memory, the rule of `message` holds.
   */
  forward?(alias: number, frame: Buffer): boolean;
  /**
   * Called for each message, synchronously, in order. Throwing ends the link with LINK_ERROR. On an accepted link, the
   * bytes of DATA are valid only during the call.
   */
  message(message: Message): void;
  /** There is room for DATA again. */
  roomy?(): void;
  /** Called once. `error` gives the reason if the end was not orderly. */
  closed(error?: Error): void;
}

/** One framed connection. */
export class Link {
  readonly stream: Duplex;
  /** Round-trip time of the last PING in milliseconds; undefined before the first. */
  rttMs: number | undefined;
  /** The peer was the first to end it. */
  endedByPeer = false;
  #reads: SharedReads | undefined;
  #readInto: ReadInto | undefined;
  /** The memory of reads is reused when the handlers return. */
  #lent = false;
  #decoder: Decoder;
  #encoder: Encoder;
  #handlers: LinkHandlers | undefined;
  #pending: Buffer[] = [];
  #batch: Batch | undefined;
  #flushing = false;
  #held = false;
  #paused = false;
  #trusted = false;
  #closed = false;
  #error: Error | undefined;
  #heardAt = performance.now();
  #pinged: { token: number; at: number } | undefined;
  #pings: NodeJS.Timeout | undefined;
  #token = 0;
  readonly #frame = (frame: Buffer): false | undefined => {
    if (this.#closed || this.#error) return false;
    if (frame.length >= STREAMING && this.#readInto) this.#shareReads(this.#readInto);
    // Handlers may keep frames, except large pieces of a stream.
    const own = this.#lent && !(frame.length >= LARGE && isData(frame)) ? Buffer.from(frame) : frame;
    const alias = aliasOf(own);
    if (!alias || !this.#handlers?.forward?.(alias, own)) this.#message(decode(own));
    return this.#held || this.#paused ? false : undefined;
  };

  /**
   * Refuses frames above 4 KiB until `trust()`. `reads`: the shared reads the stream was made with, or a function that
   * switches a socket to them once large frames arrive.
   */
  constructor(stream: Duplex, reads?: SharedReads | ReadInto) {
    this.stream = stream;
    if (typeof reads === 'function') this.#readInto = reads;
    else this.#reads = reads;
    const framing = lengthPrefixed({ maxFrameLength: MAX_FRAME });
    // The memory of a read is never written to again.
    this.#decoder = framing.decoder({ copy: 'never' });
    this.#decoder.maxFrameLength = MAX_FRAME_BEFORE_AUTH;
    this.#encoder = framing.encoder();
  }

  /** Starts reading. Delivers bytes that arrived earlier too. */
  start(handlers: LinkHandlers): this {
    this.#handlers = handlers;
    const { stream } = this;
    const receive = (chunk: Buffer): void => this.#receive(chunk);
    if (this.#reads) this.#reads.deliver(receive);
    else stream.on('data', receive);
    stream.on('drain', () => {
      if (stream.isPaused()) this.#read();
      this.#handlers?.roomy?.();
    });
    stream.on('error', (error: NodeJS.ErrnoException) => {
      this.#error ??= error;
      if (error.code === 'ECONNRESET' || error.code === 'EPIPE') this.endedByPeer = true;
    });
    stream.on('end', () => this.#end());
    stream.on('close', () => this.#close());
    // A server may pass on paused sockets.
    this.#read();
    return this;
  }

  /** Stops delivering until `handOver`: the present owner is done. */
  hold(): void {
    this.#held = true;
    this.stream.pause();
  }

  /** Passes the link to its next owner, for example from the handshake to the session. */
  handOver(handlers: LinkHandlers): void {
    this.#handlers = handlers;
    if (this.#closed) queueMicrotask(() => handlers.closed(this.#error));
    else if (this.#held) {
      this.#held = false;
      this.#decode(() => this.#decoder.resume(this.#frame));
      this.#read();
    }
  }

  /** Stops delivering after the present frame until `continueReading`: this peer's requests must wait. */
  pauseReading(): void {
    if (this.#paused) return;
    this.#paused = true;
    this.stream.pause();
  }

  continueReading(): void {
    if (!this.#paused || this.#closed) return;
    this.#paused = false;
    if (this.#held) return;
    this.#decode(() => this.#decoder.resume(this.#frame));
    this.#read();
  }

  /** Reads on, unless an owner has paused the link or too much waits to be written. */
  #read(): void {
    if (!this.#paused && !this.#held && this.stream.writableLength < FLOOD_WATER) this.stream.resume();
  }

  /** The peer is authenticated: accept frames up to 1 MiB, and answer its PINGs. */
  trust(): void {
    this.#trusted = true;
    this.#decoder.maxFrameLength = MAX_FRAME;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** True while DATA may be sent. After false, wait for `roomy`. */
  get roomy(): boolean {
    return !this.#closed && this.stream.writableLength + (this.#batch?.length ?? 0) < HIGH_WATER;
  }

  /** Sends a message under its own alias or another. */
  send(message: Control, alias = message.alias): void {
    if (!this.#closed) this.#sendFrame(encodeFor(alias, message));
  }

  /**
   * Sends a frame of another link under an alias of this one. The link takes over its memory, unless it is lent: then a
   * large piece of a stream is copied.
   */
  forward(alias: number, frame: Buffer, memory: 'own' | 'lent' = 'own'): void {
    if (this.#closed) return;
    readdress(frame, alias);
    if (frame.length < LARGE) this.#sendFrame(frame);
    else if (memory === 'lent' && isData(frame)) this.#forwardPiece(frame);
    else this.#sendLarge(frame);
  }

  #forwardPiece(frame: Buffer): void {
    if (this.#pending.length) this.#flush();
    if (!this.#batch?.addFrame(frame)) {
      this.flushData();
      this.#batch = new Batch();
      if (!this.#batch.addFrame(frame)) throw new ProtocolError(`a piece of a stream of ${frame.length} bytes`);
    }
    this.#flushSoon();
  }

  /** Sends without another copy. Frames of one tick leave together. */
  #sendLarge(frame: Buffer): void {
    if (this.#pending.length) this.#flush();
    this.flushData();
    const { stream } = this;
    if (stream.writableCorked === 0) {
      stream.cork();
      process.nextTick(() => stream.uncork());
    }
    const length = Buffer.allocUnsafe(4);
    length.writeUInt32BE(frame.length, 0);
    this.#write(length);
    this.#write(frame);
  }

  #sendFrame(frame: Buffer): void {
    this.#pending.push(frame);
    this.#flushSoon();
  }

  #flushSoon(): void {
    if (this.#flushing) return;
    this.#flushing = true;
    process.nextTick(() => this.#flush());
  }

  /**
   * Sends a message that is not urgent along with the next one, at the latest after this turn of the event loop. A
   * message about a finished run then needs no write and wakes no process if another run begins at once.
   */
  sendLater(message: Control): void {
    if (this.#closed) return;
    this.#pending.push(encode(message));
    if (this.#pending.length === 1) setImmediate(() => this.#flush());
  }

  /**
   * Sends a piece of a stream that `fill` writes straight into the link's memory: it gets room for `length` bytes (at
   * most PIECE) and returns how many it used, 0 for none. Nothing leaves before `flushData`.
   */
  sendFilled(alias: number, stream: number, offset: number, length: number, fill: (room: Buffer) => number): number {
    if (this.#closed) return 0;
    if (this.#pending.length) this.#flush();
    if (!this.#batch?.holds(length)) this.flushData();
    this.#batch ??= new Batch();
    return this.#batch.add(alias, stream, 0, offset, length, fill);
  }

  /** Sends the pieces collected by `sendFilled`. */
  flushData(): void {
    const batch = this.#batch;
    if (!batch) return;
    this.#batch = undefined;
    const { stream } = this;
    if (stream.writable) batch.writeTo(stream);
    this.#holdBack();
    // No drain event follows a write that completed immediately.
    if (!this.stream.writableNeedDrain) setImmediate(() => this.#handlers?.roomy?.());
  }

  /** Sends a piece of a stream, at most MAX_DATA; the bytes are copied. */
  sendData(alias: number, stream: number, gseq: number, offset: number, bytes: Uint8Array): void {
    if (this.#closed) return;
    if (bytes.length >= LARGE) {
      this.sendFilled(alias, stream, offset, bytes.length, (room) => {
        room.set(bytes);
        return bytes.length;
      });
      this.#flushSoon();
      return;
    }
    if (this.#pending.length) this.#flush();
    this.flushData();
    const buffer = Buffer.allocUnsafe(DATA_ROOM + bytes.length);
    buffer.writeUInt32BE(DATA_HEADER + bytes.length, 0);
    writeDataHeader(buffer.subarray(4), alias, stream, gseq, offset);
    buffer.set(bytes, DATA_ROOM);
    this.#write(buffer);
  }

  /** Pings the peer after `intervalMs` of silence; ends the link after `deadlineMs` without a message. */
  keepAlive(intervalMs: number, deadlineMs: number): void {
    clearInterval(this.#pings);
    if (!intervalMs) return;
    // Its owner may have had to wait before it could read.
    this.#heardAt = performance.now();
    const tick = Math.max(10, Math.min(intervalMs, deadlineMs) / 2);
    let lastTick = performance.now();
    this.#pings = setInterval(() => {
      const now = performance.now();
      // This process was stopped or asleep, so it may have missed messages from the peer.
      if (now - lastTick > tick + deadlineMs / 2) this.#heardAt = now - intervalMs;
      lastTick = now;
      const silent = now - this.#heardAt;
      if (silent > deadlineMs)
        this.destroy(new UnreachableError(`the link has been silent for ${Math.round(silent)} ms`));
      else if (silent > intervalMs / 2) this.ping();
    }, tick);
    this.#pings.unref();
  }

  ping(): void {
    this.#token += 1;
    this.#pinged ??= { token: this.#token, at: performance.now() };
    this.send({ type: 'PING', alias: 0, token: this.#token });
  }

  /** Sends queued messages, then ends the stream. */
  close(): void {
    if (this.#closed) return;
    this.#flush();
    this.stream.end();
    this.#destroySoon();
  }

  /** Tells the peer the reason, then ends the link. */
  fail(error: SendallError): void {
    if (this.#closed || this.#error) return;
    this.#error = error;
    this.send({ type: 'LINK_ERROR', alias: 0, code: error.code, message: error.message });
    this.#flush();
    this.#reads?.deliver(() => undefined);
    this.stream.removeAllListeners('data');
    this.stream.resume();
    this.stream.end();
    this.#destroySoon();
  }

  destroy(error?: Error): void {
    this.#error ??= error;
    this.stream.destroy();
  }

  /** A peer that does not read must not keep the link open: allow one second for the farewell. */
  #destroySoon(): void {
    const timer = setTimeout(() => this.stream.destroy(), FAREWELL);
    timer.unref();
    this.stream.once('close', () => clearTimeout(timer));
  }

  #flush(): void {
    this.#flushing = false;
    if (this.#closed) return;
    this.flushData();
    if (!this.#pending.length) return;
    const frames = this.#pending;
    this.#pending = [];
    try {
      this.#write(this.#encoder.encodeAll(frames));
    } catch (error) {
      // A message too long for a frame ends this link, not the process.
      this.destroy(error as Error);
    }
  }

  #write(bytes: Buffer): void {
    if (this.stream.writable) this.stream.write(bytes);
    this.#holdBack();
  }

  /** The peer sends requests but does not read replies, so its requests wait. */
  #holdBack(): void {
    const { stream } = this;
    if (stream.writableLength > FLOOD_WATER && !stream.isPaused()) stream.pause();
  }

  #receive(chunk: Buffer): void {
    this.#heardAt = performance.now();
    this.#decode(() => this.#decoder.push(chunk, this.#frame));
    if (this.#decoder.state === 'idle') this.#reads?.beginFrame();
    else this.#reads?.goOnWithFrame();
  }

  /** Not during a read, which would continue in its old memory. */
  #shareReads(readInto: ReadInto): void {
    this.#readInto = undefined;
    setImmediate(() => {
      const { stream } = this;
      if (stream.destroyed || stream.readableLength > 0) return;
      const reads = new SharedReads(true);
      if (!readInto(stream as Socket, reads.onread)) return;
      reads.deliver((chunk) => this.#receive(chunk));
      this.#reads = reads;
      this.#lent = true;
    });
  }

  #decode(step: () => void): void {
    try {
      step();
    } catch (error) {
      const known = error instanceof SendallError;
      this.fail(known ? error : new ProtocolError((error as Error).message, { cause: error }));
    }
  }

  #message(message: Message): void {
    if (message.type === 'PING' && this.#trusted) this.send({ type: 'PONG', alias: 0, token: message.token });
    else if (message.type === 'PONG') {
      if (this.#pinged && message.token >= this.#pinged.token) {
        this.rttMs = performance.now() - this.#pinged.at;
        this.#pinged = undefined;
      }
    } else this.#handlers?.message(message);
  }

  #end(): void {
    if (!this.stream.writableEnded) this.endedByPeer = true;
    if (this.#decoder.state === 'partial') this.#error ??= new UnreachableError('the link was cut inside a frame');
    this.stream.end();
  }

  #close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#pings);
    this.#handlers?.closed(this.#error);
  }
}
