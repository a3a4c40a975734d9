/** The request handlers: streams, messages and datagrams. */
import { parseFraming, type Framing } from '@sendall/framing';
import type { PeerAddress } from '../address.js';
import type { Connection } from '../connection/connection.js';
import type { Datagram } from '../datagram.js';
import { SocketServerError } from '../errors.js';
import { Messages, MessageWriter } from '../connection/messages.js';
import { ChunkPush, MessagePush } from './push-handlers.js';
import type { Push } from '../connection/push.js';
import { wrongOption } from '../options.js';
import type { Request, Server } from '../server-interface.js';
import type { Hooks } from '../connection/sink.js';

/** A class whose instances handle one request each: one connection, or one datagram. */
export interface HandlerClass {
  readonly prototype: BaseRequestHandler;
  new (request: never, clientAddress: PeerAddress, server: Server): BaseRequestHandler;
  /** `import.meta.url` of the module that exports this class under its own name; for threads and processes. */
  readonly module?: string;
  /** How a `MessageRequestHandler` finds messages. */
  readonly framing?: Framing | string;
}

/**
 * Handles one request: `setup()`, then `handle()`, then `finish()`, each awaited.
 *
 * `finish()` runs when `handle()` threw, and does not when `setup()` threw. When it is done, the request is shut down:
 * what was written is flushed and the connection closed.
 */
export class BaseRequestHandler<R extends Request = Request> {
  constructor(
    /** The connection, or for datagram servers `{ data, socket }`. */
    readonly request: R,
    readonly clientAddress: PeerAddress,
    readonly server: Server,
  ) {}

  /** The server's `handlerOptions`. */
  get options(): unknown {
    return this.server.options.handlerOptions;
  }

  setup(): unknown {
    return undefined;
  }

  handle(): unknown {
    return undefined;
  }

  finish(): unknown {
    return undefined;
  }
}

/** What stream and message handlers have in common: a connection, and calls for what happens to it. */
export abstract class ConnectionHandler extends BaseRequestHandler<Connection> implements Hooks<Connection> {
  /** A read timeout for these connections in milliseconds, instead of the server's. */
  declare timeout?: number;

  onEnd?(connection: Connection): unknown;
  onTimeout?(connection: Connection): unknown;
  onShutdown?(connection: Connection): unknown;
  onError?(error: Error, connection: Connection): unknown;
  onClose?(connection: Connection): unknown;

  get connection(): Connection {
    return this.request;
  }

  /** @internal What gives the bytes to the push side, where there is one. */
  abstract push(): Push | undefined;
}

/**
 * A handler over the bytes of a connection.
 *
 * Pull: define `handle()` and read from `this.rfile` or `this.connection`, write to `this.wfile`.
 * Push: define `onData()` instead; return `'close'` to end the connection, or a promise to get the next chunk only
 * when it is done.
 */
export class StreamRequestHandler extends ConnectionHandler {
  onData?(chunk: Buffer, connection: Connection): unknown;

  #rfile: ReadFile | undefined;
  #wfile: WriteFile | undefined;

  get rfile(): ReadFile {
    return (this.#rfile ??= new ReadFile(this.request));
  }

  get wfile(): WriteFile {
    return (this.#wfile ??= new WriteFile(this.request));
  }

  /** Unless overridden: gives every chunk to `onData()` until the connection ends. */
  override handle(): unknown {
    return this.push()?.run();
  }

  override push(): Push | undefined {
    return this.onData === undefined ? undefined : new ChunkPush(this.request, this);
  }
}

/**
 * A handler over messages. How they are found is the class' `static framing`, or the server's option `framing`.
 *
 * Push: define `onMessage()`; return `'close'` to end the connection, or a promise to get the next message only when
 * it is done. Pull: define `handle()` and iterate `this.messages`.
 *
 * `onSpan()` instead of `onMessage()` is the fastest: it gets each message's place in a buffer, without an object for it.
 * The bytes are lent until it returns, so it copies what it keeps.
 */
export class MessageRequestHandler extends ConnectionHandler {
  static readonly framing?: Framing | string;

  onMessage?(message: Buffer, connection: Connection): unknown;
  /** The message is `bytes` from `start` to `end`, until this returns. */
  onSpan?(bytes: Buffer, start: number, end: number, connection: Connection): unknown;

  #framing: Framing | undefined;
  #messages: Messages | undefined;
  #writer: MessageWriter | undefined;

  /** The framing in use. */
  get framing(): Framing {
    this.#framing ??= this.server.framing ?? framingOfClass(this.constructor as HandlerClass);
    if (this.#framing === undefined)
      throw new SocketServerError(
        'INVALID_HANDLER',
        `${this.constructor.name} has no framing: give it "static framing"`,
      );
    return this.#framing;
  }

  get messages(): AsyncIterable<Buffer> {
    return (this.#messages ??= new Messages(this.request, this.framing));
  }

  /** Writes one message. False: more than `highWaterMark` is waiting, so `await this.connection.drain()`. */
  send(payload: Uint8Array | string): boolean {
    this.#writer ??= new MessageWriter(this.request, this.framing);
    return this.#writer.send(payload);
  }

  /** Unless overridden: gives every message to `onMessage()` until the connection ends. */
  override handle(): unknown {
    return this.push()?.run();
  }

  override push(): Push | undefined {
    if (this.onMessage === undefined && this.onSpan === undefined) return undefined;
    return new MessagePush(this.request, this, this.framing);
  }
}

const framings = new WeakMap<HandlerClass, Framing>();

/** The framing of a class, made once. */
function framingOfClass(handlerClass: HandlerClass): Framing | undefined {
  let framing = framings.get(handlerClass);
  if (framing === undefined) {
    framing = framingOf(handlerClass.framing);
    if (framing !== undefined) framings.set(handlerClass, framing);
  }
  return framing;
}

/**
 * A framing from an option: itself, or made from its spec.
 * @throws OptionError for a spec that makes no framing
 */
export function framingOf(framing: Framing | string | undefined): Framing | undefined {
  if (typeof framing !== 'string') return framing;
  try {
    return parseFraming(framing);
  } catch (error) {
    throw wrongOption('framing', (error as Error).message);
  }
}

/** What a handler reads: bytes and lines of its connection. */
export class ReadFile implements AsyncIterable<Buffer> {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /**
   * One line with its newline (the last may have none), or null at the end. With a limit a longer line comes in
   * pieces; without one it is an error at 64 KiB.
   */
  readline(limit?: number): Promise<Buffer | null> {
    return this.#connection.reader.readLine(limit);
  }

  /** Exactly `n` bytes, fewer only at the end; without `n` all to the end. Null when nothing is left. */
  read(n?: number): Promise<Buffer | null> {
    return n === undefined ? this.#connection.reader.readToEnd() : this.#connection.reader.readExactly(n);
  }

  /** What has come, at most `max` bytes, without waiting for more than one byte. */
  read1(max?: number): Promise<Buffer | null> {
    return this.#connection.reader.read(max);
  }

  [Symbol.asyncIterator](): AsyncIterator<Buffer> {
    return this.#connection[Symbol.asyncIterator]();
  }
}

/** What a handler writes to: sent at the end of the tick at the latest, without a flush. */
export class WriteFile {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /**
   * Writes all of `data`; resolves with its length when less than `highWaterMark` is waiting to be sent.
   * It need not be awaited: order is kept either way.
   */
  write(data: Uint8Array | string): Promise<number> {
    const length = typeof data === 'string' ? Buffer.byteLength(data) : data.length;
    const connection = this.#connection;
    if (!connection.closed && connection.write(data)) return Promise.resolve(length);
    const written = connection.drain().then(() => length);
    written.catch(() => {});
    return written;
  }

  flush(): Promise<void> {
    return this.#connection.flush();
  }
}

/**
 * A handler of one datagram: `this.packet` holds it, `reply()` answers its sender. As in Python it also has an `rfile`
 * over the packet and a `wfile` whose content goes out as one datagram in `finish()`, when it is not empty.
 */
export class DatagramRequestHandler extends BaseRequestHandler<Datagram> {
  #rfile: PacketReader | undefined;
  #wfile: PacketWriter | undefined;

  get packet(): Buffer {
    return this.request.data;
  }

  /** The datagram was longer than `maxPacketSize`, and `packet` is its beginning. */
  get truncated(): boolean {
    return this.request.truncated;
  }

  /** The socket that it came in on. */
  get socket(): Datagram['socket'] {
    return this.request.socket;
  }

  get rfile(): PacketReader {
    return (this.#rfile ??= new PacketReader(this.packet));
  }

  get wfile(): PacketWriter {
    return (this.#wfile ??= new PacketWriter());
  }

  /**
   * Sends one datagram to the sender. Resolves when it has left.
   * @throws the system's error
   */
  reply(data: Uint8Array | string): Promise<void> {
    return this.request.reply(data);
  }

  override finish(): unknown {
    const answer = this.#wfile?.bytes();
    return answer !== undefined && answer.length > 0 ? this.reply(answer) : undefined;
  }
}

/** Reads a packet as a file. */
export class PacketReader {
  readonly #packet: Buffer;
  #position = 0;

  constructor(packet: Buffer) {
    this.#packet = packet;
  }

  read(n = Infinity): Buffer {
    const bytes = this.#packet.subarray(this.#position, this.#position + n);
    this.#position += bytes.length;
    return bytes;
  }

  readline(): Buffer {
    const at = this.#packet.indexOf(0x0a, this.#position);
    return this.read(at < 0 ? Infinity : at + 1 - this.#position);
  }
}

/** Gathers one answer. */
export class PacketWriter {
  readonly #parts: Uint8Array[] = [];

  write(data: Uint8Array | string): number {
    const bytes = typeof data === 'string' ? Buffer.from(data) : data;
    this.#parts.push(bytes);
    return bytes.length;
  }

  /** @internal */
  bytes(): Buffer {
    return Buffer.concat(this.#parts);
  }
}

/** Runs a handler over its request. */
export async function runHandler(handler: BaseRequestHandler): Promise<void> {
  await handler.setup();
  try {
    await handler.handle();
  } finally {
    await handler.finish();
  }
}

function bad(why: string): never {
  throw new SocketServerError('INVALID_HANDLER', why);
}

/**
 * Whether a handler of this class only pushes, so that nothing has to be awaited for it. Such handlers run without a
 * promise each.
 */
export function onlyPushes({ prototype }: HandlerClass): boolean {
  const is = (base: { prototype: BaseRequestHandler }, step: 'setup' | 'handle' | 'finish'): boolean =>
    prototype[step] === base.prototype[step];
  const pushes = is(StreamRequestHandler, 'handle') || is(MessageRequestHandler, 'handle');
  return pushes && is(BaseRequestHandler, 'setup') && is(BaseRequestHandler, 'finish');
}

const pushNames = ['onData', 'onMessage', 'onSpan'] as const;

/** Refuses classes that cannot work, when the server is made. */
export function checkHandlerClass(handlerClass: unknown): asserts handlerClass is HandlerClass {
  if (typeof handlerClass !== 'function') return bad(`the request handler is ${String(handlerClass)}, not a class`);
  if (!(handlerClass.prototype instanceof BaseRequestHandler) && handlerClass !== BaseRequestHandler)
    return bad(`${handlerClass.name || 'the request handler'} does not extend BaseRequestHandler`);
  const prototype = handlerClass.prototype as Record<string, unknown>;
  const pulls = ![BaseRequestHandler, StreamRequestHandler, MessageRequestHandler].some(
    (base) => base.prototype.handle === prototype['handle'],
  );
  const pushes = pushNames.find((name) => typeof prototype[name] === 'function');
  if (pulls && pushes !== undefined)
    return bad(`${handlerClass.name} has both handle() and ${pushes}(): pull or push, not both`);
  if (typeof prototype['onMessage'] === 'function' && typeof prototype['onSpan'] === 'function')
    return bad(`${handlerClass.name} has both onMessage() and onSpan(): it gets each message once, in one of them`);
  const framing = (handlerClass as HandlerClass).framing;
  try {
    framingOf(framing);
  } catch (error) {
    throw wrongOption('framing', `${handlerClass.name}.framing: ${(error as Error).message}`);
  }
}
