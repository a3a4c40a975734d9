/** One peer on a stream: reading, writing, TLS and the end. */
import { createReadStream } from 'node:fs';
import type { Socket } from 'node:net';
import type { TLSSocket, TlsOptions } from 'node:tls';
import type { Framing } from '@sendall/framing';
import type { PeerAddress } from '../address.js';
import type { Clock } from './clock.js';
import { Deadlines, type Watched } from './deadlines.js';
import { ConnectionClosedError, isDisconnect, SocketServerError, type TimeoutError } from '../errors.js';
import type { CloseReason } from '../reasons.js';
import { wrongOption, type ResolvedOptions } from '../options.js';
import { Messages, type MessageEnds } from './messages.js';
import { rawSocketOf, withSharedBuffer } from '../node-internals.js';
import { PacketWriter } from './packet-writer.js';
import type { ProxyHeader } from './proxy-protocol.js';
import { Reader } from './reader.js';
import type { Hooks, Sink, Source } from './sink.js';
import { Waiters } from './waiters.js';
import { Writer } from './writer.js';

/** What a connection needs of its server. */
export interface ConnectionHost {
  readonly options: ResolvedOptions;
  readonly clock: Clock;
  /** Each write is one packet. */
  readonly packets: boolean;
  readonly framing: Framing | undefined;
  /** Turns the raw socket into a TLS one, within the handshake deadline. */
  upgrade(raw: Socket, options: TlsOptions | undefined): Promise<TLSSocket>;
  /** The connection is over; called exactly once. */
  connectionClosed(connection: Connection): void;
  /** One of the handler's calls threw. */
  report(connection: Connection, error: unknown): void;
  /** The connection does not count any longer. */
  placeFreed(connection: Connection): void;
  /** It has shown who it is; counted once when true. False: its source has as many such connections as it may. */
  connectionEstablished(connection: Connection): boolean;
}

/** What went over a connection so far. */
export interface ConnectionStats {
  bytesRead: number;
  bytesWritten: number;
  /** Milliseconds since it was accepted, until now or its end. */
  durationMs: number;
  /** Whole messages, when a framing is in use. */
  messagesRead: number;
}

const connectionOf = Symbol('connection');
type Owned = Socket & { [connectionOf]?: Connection };
const noError = (): void => {};
/** Chunks after which a connection counts as busy. */
const BUSY_AFTER = 8;

let lastId = 0;

/**
 * One peer on a stream: what a handler reads from and writes to.
 *
 * Reading starts with the first `read()` or iteration (or at once for push handlers), so a handler may use
 * `connection.socket` by itself as long as it never reads here. Writing is batched: what one tick writes leaves as
 * one write at its end.
 */
export class Connection implements AsyncIterable<Buffer>, AsyncDisposable, Watched, Source, MessageEnds {
  /** Unique within this process. */
  readonly id: number;
  /** The client's address; what a PROXY header said, where one is used. */
  peer: PeerAddress;
  /** What the PROXY header said, with its extensions; undefined where there was none. */
  proxyHeader: ProxyHeader | undefined;
  /** @internal The socket below. */
  wire: Socket;
  /** Why it ended, once it has; why it is going to, before. */
  reason: CloseReason | undefined;
  /** The error that ended it, where one did. */
  failure: Error | undefined;
  /** @internal */ readonly host: ConnectionHost;
  /** @internal */ readonly writer: Writer;
  /** @internal */ sink: Sink | undefined;
  /** @internal The handler's calls for what happens to the connection. */
  hooks: Hooks<Connection> | undefined;
  /** @internal */ messageCount = 0;
  #state: 'handshake' | 'open' | 'ending' | 'closed' = 'open';
  #local: PeerAddress | undefined;
  #started = performance.now();
  #ended: number | undefined;
  #abort: AbortController | undefined;
  #waiters: Waiters | undefined;
  readonly #deadlines = new Deadlines(this);
  #messages: Messages | undefined;
  #counted = true;
  #established = true;
  #goodbye: 'pending' | 'said' | undefined;
  #reading = false;
  /** Whether the connection may go on in a socket that reads into the loop's buffer; how many chunks came so far. */
  #mayRelay = true;
  #chunks = 0;
  #inputEnded = false;
  #outputEnded = false;
  #endedByHandler = false;
  #pausedByUser = false;
  #pausedBySink = false;

  /** @internal */
  constructor(host: ConnectionHost, socket: Socket, serverPath?: string, id = ++lastId) {
    this.id = id;
    this.host = host;
    this.wire = socket;
    this.writer = host.packets ? new PacketWriter(socket, () => this.drained()) : new Writer(socket);
    const { remoteAddress, remotePort } = socket;
    this.peer =
      remoteAddress === undefined || remotePort === undefined
        ? serverPath === undefined
          ? { host: '', port: 0 }
          : { path: '' }
        : { host: remoteAddress, port: remotePort };
    if (serverPath !== undefined) this.#local = { path: serverPath };
    this.#adopt(socket);
    host.clock.add(this.#deadlines);
  }

  #adopt(socket: Socket): void {
    (socket as Owned)[connectionOf] = this;
    socket.on('error', onError);
    socket.on('close', onClose);
  }

  /**
   * The socket below: a `net.Socket`, or a `tls.TLSSocket` once the handshake is done. It stays the same one from the
   * first use of this property on.
   */
  get socket(): Socket {
    this.#mayRelay = false;
    return this.wire;
  }

  /** Our own end. */
  get local(): PeerAddress {
    if (this.#local === undefined) {
      const { localAddress, localPort } = this.wire;
      const local = { host: localAddress ?? '', port: localPort ?? 0 };
      if (localAddress === undefined) return local;
      this.#local = local;
    }
    return this.#local;
  }

  set local(address: PeerAddress) {
    this.#local = address;
  }

  get state(): 'handshake' | 'open' | 'ending' | 'closed' {
    return this.#state;
  }

  /** @internal */
  get highWaterMark(): number {
    return this.host.options.highWaterMark;
  }

  /** Whether `write()` still sends anything. */
  get writable(): boolean {
    return this.#state === 'open' && !this.#outputEnded;
  }

  get closed(): boolean {
    return this.#state === 'closed';
  }

  get stats(): ConnectionStats {
    return {
      bytesRead: this.wire.bytesRead,
      bytesWritten: this.wire.bytesWritten,
      durationMs: (this.#ended ?? performance.now()) - this.#started,
      messagesRead: this.messageCount,
    };
  }

  /** Aborted when the connection is over. (The client's end is noticed only while the connection is read.) */
  get signal(): AbortSignal {
    if (this.#abort === undefined) {
      this.#abort = new AbortController();
      if (this.closed) this.#abort.abort(this.failure ?? new ConnectionClosedError());
    }
    return this.#abort.signal;
  }

  /**
   * Whether the server must keep it when it is full: at once, or behind the TLS handshake and the PROXY header; with
   * the option `establishedBy: 'handler'` from `establish()` on. Others are sent away for newcomers then, the oldest of
   * the source that has most of them first.
   */
  get established(): boolean {
    return this.#established;
  }

  /**
   * The client has shown who it is. For servers whose option `establishedBy` is `'handler'`.
   * @returns false when its source has `maxConnectionsPerSource` established connections already, and when it is closed:
   *   it is not established then
   */
  establish(): boolean {
    if (this.closed) return false;
    this.#established ||= this.host.connectionEstablished(this);
    return this.#established;
  }

  /** @internal */
  beginUnestablished(): void {
    this.#established = false;
  }

  /** @internal Makes room for another: its place and its descriptor are free when this returns. */
  displace(): void {
    this.reason ??= 'displaced';
    this.uncount();
    this.destroy('displaced');
  }

  /** Takes this connection out of the server's count, once: for long-lived ones that must not use up the limit. */
  uncount(): void {
    if (!this.#counted) return;
    this.#counted = false;
    this.host.placeFreed(this);
  }

  // ---- reading

  /**
   * The next bytes, at most `max` of them: what has come, or what comes next. `null` at the client's end.
   * @throws TimeoutError after `readTimeout` without a byte; the socket's error when it broke
   */
  read(max = Infinity): Promise<Buffer | null> {
    return this.reader.read(max);
  }

  /** @internal The pull side, made when first used. */
  get reader(): Reader {
    if (this.sink instanceof Reader) return this.sink;
    const reader = new Reader(this);
    this.flowTo(reader);
    return reader;
  }

  [Symbol.asyncIterator](): AsyncIterator<Buffer> {
    return this.reader[Symbol.asyncIterator]();
  }

  /**
   * Whole messages by the server's `framing`: iterate it.
   * @throws OptionError where the server has no framing
   */
  get messages(): AsyncIterable<Buffer> {
    return this.#framed();
  }

  /**
   * Writes one message by the server's `framing`.
   * @returns false over the high-water mark
   * @throws OptionError where the server has no framing; FramingError for a payload that it cannot carry
   */
  send(payload: Uint8Array | string): boolean {
    return this.#framed().send(payload);
  }

  #framed(): Messages {
    if (this.#messages === undefined) {
      const { framing } = this.host;
      if (framing === undefined) throw wrongOption('framing', 'no framing: give the server the option "framing"');
      this.#messages = new Messages(this, framing);
    }
    return this.#messages;
  }

  /** Stops the flow of bytes to the handler; the kernel's buffers fill, then the client waits. */
  pause(): void {
    this.#pausedByUser = true;
    this.#applyFlow();
  }

  resume(): void {
    if (!this.#pausedByUser) return;
    this.#pausedByUser = false;
    this.#applyFlow();
    if (!this.#pausedBySink) this.sink?.resumed();
  }

  get paused(): boolean {
    return this.#pausedByUser;
  }

  /** @internal Sends the bytes to a sink from now on. */
  flowTo(sink: Sink): void {
    if (this.sink !== undefined)
      throw new SocketServerError('READ_IN_PROGRESS', 'the bytes of this connection go to its push handler already');
    this.sink = sink;
    this.#deadlines.restart();
    if (this.closed) {
      sink.closed(this.failure);
      return;
    }
    if (!this.#reading) {
      this.#reading = true;
      this.wire.on('data', onData);
      this.wire.on('end', onEnd);
    }
    this.#applyFlow();
  }

  /** @internal The sink holds enough for now (true), or wants more (false). */
  hold(full: boolean): void {
    if (this.#pausedBySink === full) return;
    this.#pausedBySink = full;
    this.#applyFlow();
  }

  #applyFlow(): void {
    if (!this.#reading || this.closed) return;
    if (this.#pausedByUser || this.#pausedBySink) this.wire.pause();
    else if (this.wire.readableFlowing !== true) this.wire.resume();
  }

  /** @internal */
  received(chunk: Buffer): void {
    // What comes behind our end is thrown away, and buys no time.
    if (this.#state === 'ending') return;
    this.#deadlines.heard();
    if (this.sink === undefined) return;
    if (++this.#chunks === BUSY_AFTER && this.sink.lends !== undefined) process.nextTick(() => this.#readShared());
    this.sink.chunk(chunk);
  }

  /** @internal Bytes in the loop's read buffer: they are others' when this call returns. */
  receivedShared(lent: Buffer): void {
    if (this.#state === 'ending') return;
    this.#deadlines.heard();
    if (this.sink === undefined) return;
    if (this.sink.lends) this.sink.chunk(lent, true);
    else this.sink.chunk(Buffer.from(lent));
  }

  /**
   * A connection that turns out to be busy goes on in a socket that reads into one buffer for the whole loop: no
   * memory is allocated for a chunk that is not kept, and Node does less work for each.
   */
  #readShared(): void {
    const { wire } = this;
    if (!this.#mayRelay || this.#state !== 'open' || !this.#reading || this.host.packets) return;
    if (this.#pausedByUser || this.#pausedBySink || this.#inputEnded || this.#outputEnded) return;
    const socket = withSharedBuffer(wire, sharedReads);
    if (socket === undefined) return;
    wire.off('data', onData).off('end', onEnd).off('close', onClose).off('error', onError);
    delete (wire as Owned)[connectionOf];
    this.wire = socket;
    this.writer.socket = socket;
    this.#adopt(socket);
    socket.on('end', onEnd).resume();
  }

  /** @internal */
  inputEnded(): void {
    if (this.#inputEnded) return;
    this.#inputEnded = true;
    if (this.#state === 'ending') {
      this.#destroyWhenFlushed();
      return;
    }
    if (!this.host.options.allowHalfOpen) this.beginClose('end');
    this.sink?.end();
  }

  /**
   * How long the client may send nothing, for this connection alone; 0: for ever. With `once` it holds until the
   * client's next bytes, then the former value again.
   * @throws OptionError for a negative number
   */
  setReadTimeout(ms: number, once = false): void {
    this.#deadlines.setReadTimeout(ms, once);
  }

  // ---- writing

  /**
   * Queues bytes. When the connection is over, or the server is closing it (a deadline, a shutdown), they are dropped.
   * @returns false when more than `highWaterMark` is waiting, so `await drain()` first, and when they are dropped
   * @throws SocketServerError `WRITE_AFTER_END` after `end()`
   */
  write(data: Uint8Array | string, encoding?: BufferEncoding): boolean {
    if (this.#endedByHandler && this.#state !== 'closed')
      throw new SocketServerError('WRITE_AFTER_END', 'write() after end(): this side of the connection is closed');
    if (this.#outputEnded || this.wire.destroyed) return false;
    this.writer.write(data, encoding);
    return this.writer.pending < this.highWaterMark;
  }

  /**
   * Sends what this tick has queued now; resolves when the kernel has taken all of it.
   * @throws ConnectionClosedError when the connection ends before
   */
  flush(): Promise<void> {
    if (this.closed) return this.writer.pending === 0 ? Promise.resolve() : this.#gone();
    if (this.#broken) return this.#wait('flush');
    this.writer.flush();
    return this.writer.pending === 0 ? Promise.resolve() : this.#wait('flush');
  }

  /**
   * Resolves when less than `highWaterMark` is waiting to be sent.
   * @throws ConnectionClosedError when the connection ends before
   */
  drain(): Promise<void> {
    if (this.closed || (this.#outputEnded && !this.#endedByHandler)) return this.#gone();
    if (this.#broken) return this.#wait('drain');
    if (this.writer.pending < this.highWaterMark) return Promise.resolve();
    this.writer.flush();
    return this.writer.pending < this.highWaterMark ? Promise.resolve() : this.#wait('drain');
  }

  /** Sends the last bytes and our end; the client may go on sending. Resolves when the kernel has all of it. */
  end(data?: Uint8Array | string): Promise<void> {
    if (this.#state === 'closed') return Promise.resolve();
    if (!this.#outputEnded) {
      if (data !== undefined) this.write(data);
      this.#endedByHandler = true;
      this.sendEnd();
    }
    return this.#sentEnd();
  }

  /** @internal Our end, behind everything written. */
  sendEnd(): void {
    if (this.#outputEnded) return;
    this.#outputEnded = true;
    this.writer.end();
  }

  #sentEnd(): Promise<void> {
    return this.wire.writableFinished ? Promise.resolve() : this.#wait('flush');
  }

  /** Nothing more is sent. A failed write shows here first; the `error` and `close` events come a moment later. */
  get #broken(): boolean {
    return this.wire.destroyed || (this.wire.errored ?? null) !== null;
  }

  #gone(): Promise<never> {
    const gone = Promise.reject((this.failure ??= new ConnectionClosedError()));
    gone.catch(noError);
    return gone;
  }

  #wait(want: 'drain' | 'flush' | 'close'): Promise<void> {
    const waiting = (this.#waiters ??= new Waiters()).add(want);
    // On a broken socket nothing is sent any more; its end, which is near, settles what waits.
    if (want !== 'close' && !this.#broken) this.writer.whenSent(() => this.drained());
    return waiting;
  }

  /** @internal The socket sent something. */
  drained(): void {
    if (!this.#broken) this.#waiters?.sent(this.writer.pending, this.highWaterMark);
  }

  /**
   * Sends a file, or bytes `start` to `end` (inclusive) of it, no faster than the client takes it.
   * @returns the number of bytes sent
   * @throws ConnectionClosedError when the connection ends before; the system's error where the file cannot be read
   */
  async sendFile(path: string, range: { start?: number; end?: number } = {}): Promise<number> {
    let sent = 0;
    for await (const chunk of createReadStream(path, range) as AsyncIterable<Buffer>) {
      if (this.#state !== 'open') await this.#gone();
      sent += chunk.length;
      if (!this.write(chunk)) await this.drain();
    }
    return sent;
  }

  // ---- TLS

  /**
   * Turns this connection into a TLS one (STARTTLS): what was written goes out first, everything from now on is
   * encrypted. Bytes that the client sent ahead go to the TLS layer, never to the handler.
   * @param options of node:tls; without them the server's `tls` counts
   * @throws SocketServerError `HANDSHAKE_FAILED`, or the error of node:tls; the connection is closed then
   */
  async upgradeTls(options?: TlsOptions): Promise<void> {
    const { wire: socket, sink } = this;
    if (this.#state !== 'open') await this.#gone();
    // Before the flush: what comes while the client takes the last plain bytes is for the TLS layer, too.
    this.#stopReading();
    const ahead = sink instanceof Reader ? sink.takeAll() : undefined;
    if (ahead !== undefined && ahead.length > 0) socket.unshift(ahead);
    await this.flush();
    if (this.#state !== 'open') await this.#gone();
    this.#deadlines.restart();
    try {
      await this.handshake(options);
    } catch (error) {
      this.fail(error as Error, 'handshake-error');
      throw error;
    }
    if (sink === undefined) return;
    this.sink = undefined;
    this.flowTo(sink);
  }

  /**
   * @internal The handshake by itself: also what the server does before there is a handler. Behind a PROXY header the
   * time that this one took counts: the deadline is for both.
   */
  async handshake(options?: TlsOptions): Promise<void> {
    this.#state = 'handshake';
    const secure = await this.host.upgrade(this.wire, options);
    if ((this.state as string) === 'closed') {
      secure.destroy();
      throw this.failure ?? new ConnectionClosedError();
    }
    this.#replaceSocket(secure);
  }

  /** @internal What comes first has a deadline of its own. */
  awaitHandshake(): void {
    this.#state = 'handshake';
    this.#deadlines.restart();
  }

  /** @internal */
  handshakeDone(): void {
    if (this.#state === 'handshake') this.#state = 'open';
  }

  #stopReading(): void {
    this.wire.off('data', onData).off('end', onEnd).pause();
    this.#reading = false;
  }

  #replaceSocket(socket: Socket): void {
    const { wire: raw } = this;
    raw.off('close', onClose).off('error', onError);
    raw.on('error', noError);
    delete (raw as Owned)[connectionOf];
    this.wire = socket;
    this.writer.socket = socket;
    this.#adopt(socket);
    this.#state = 'open';
    this.#deadlines.restart();
    if (socket.destroyed) onClose.call(socket);
  }

  // ---- the end

  /** Flushes, sends our end, throws away what the client still sends for at most `lingerTimeout`, then closes. */
  close(reason: CloseReason = 'server'): Promise<void> {
    this.beginClose(reason);
    return this.closed ? Promise.resolve() : this.#wait('close');
  }

  /** @internal As `close()`, without anything to wait for. */
  beginClose(reason: CloseReason): void {
    this.reason ??= reason === 'server' && this.#inputEnded ? 'end' : reason;
    if (this.#state === 'closed') return;
    if (this.#state === 'handshake') {
      this.destroy(reason);
      return;
    }
    this.#state = 'ending';
    this.#deadlines.restart();
    this.sendEnd();
    if (this.#inputEnded) {
      this.#destroyWhenFlushed();
      return;
    }
    // A close with unread bytes would reset the connection and take our last words with it: read on, into nothing.
    if (!this.#reading) {
      this.#reading = true;
      this.wire.on('data', onData);
      this.wire.on('end', onEnd);
    }
    this.#pausedBySink = this.#pausedByUser = false;
    this.#applyFlow();
  }

  #destroyWhenFlushed(): void {
    if (this.wire.writableFinished) this.wire.destroy();
    else this.wire.once('finish', () => this.wire.destroy());
  }

  /** Closes at once; what is not sent yet is lost. */
  destroy(reason: CloseReason = 'server'): void {
    this.reason ??= reason;
    this.wire.destroy();
  }

  /** Closes at once with a reset (RST), where the transport has one. */
  reset(): void {
    this.reason ??= 'server';
    const raw = 'encrypted' in this.wire ? rawSocketOf(this.wire as TLSSocket) : this.wire;
    if (raw?.remoteAddress !== undefined) raw.resetAndDestroy();
    this.wire.destroy();
  }

  /** @internal An error ends it. */
  fail(error: Error, reason: CloseReason): void {
    this.failure ??= error;
    this.reason ??= reason;
    this.wire.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** @internal The one place where a connection ends and says so. */
  ended(): void {
    if (this.#state === 'closed') return;
    if (this.#state === 'handshake') {
      this.reason ??= 'handshake-error';
      this.failure ??= new SocketServerError('HANDSHAKE_FAILED', 'the client left during the handshake');
    }
    this.#state = 'closed';
    this.#ended = performance.now();
    this.host.clock.delete(this.#deadlines);
    if (this.failure !== undefined) this.reason ??= isDisconnect(this.failure) ? 'reset' : 'error';
    this.reason ??= this.#inputEnded ? 'end' : 'server';
    const { failure } = this;
    this.#waiters?.end(() => (this.failure ??= new ConnectionClosedError()));
    this.#abort?.abort(failure ?? new ConnectionClosedError());
    this.sink?.closed(failure);
    this.host.connectionClosed(this);
    this.uncount();
    if (this.hooks?.onClose !== undefined) void this.#callHook(() => this.hooks!.onClose!(this));
  }

  /** @internal The server shuts down: the handler may say goodbye, once, before an idle connection is closed. */
  sayGoodbye(): void {
    if (this.#goodbye !== undefined || this.hooks?.onShutdown === undefined || this.#state !== 'open') return;
    this.#goodbye = 'pending';
    void this.#callHook(() => this.hooks!.onShutdown!(this)).finally(() => (this.#goodbye = 'said'));
  }

  /** @internal Whether it could be closed with nothing of the handler's lost: no call of it is pending. */
  get idle(): boolean {
    return this.#state === 'open' && this.#goodbye !== 'pending' && this.sink?.idle === true;
  }

  async #callHook(call: () => unknown): Promise<void> {
    this.writer.hold();
    try {
      const result = call();
      this.writer.letGo();
      await result;
    } catch (error) {
      this.writer.letGo();
      this.host.report(this, error);
    }
  }

  /** @internal */
  get awaitsBytes(): boolean {
    return this.sink?.waiting === true && !this.#pausedByUser && !this.#inputEnded;
  }

  /** @internal */
  readTimedOut(error: TimeoutError): void {
    this.failure ??= error;
    this.sink?.timeout(error);
  }
}

// Listeners are shared: a closure for each of many thousand connections would cost more than the connection object.
function onData(this: Owned, chunk: Buffer): void {
  this[connectionOf]?.received(chunk);
}
/** One read buffer for all connections of this loop that are busy. */
const sharedReads = {
  buffer: Buffer.allocUnsafeSlow(65_536),
  callback(this: Owned, size: number, bytes: Buffer): boolean {
    this[connectionOf]?.receivedShared(bytes.subarray(0, size));
    return true;
  },
};
function onEnd(this: Owned): void {
  this[connectionOf]?.inputEnded();
}
function onError(this: Owned, error: Error): void {
  const connection = this[connectionOf];
  if (connection !== undefined) connection.failure ??= error;
}
function onClose(this: Owned): void {
  this[connectionOf]?.ended();
}
