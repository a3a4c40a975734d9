/** The push sides of stream and message handlers. */
import type { Decoder, Framing } from '@sendall/framing';
import type { Connection } from '../connection/connection.js';
import { CLOSE, Push } from '../connection/push.js';
import type { Hooks } from '../connection/sink.js';

interface ChunkHandler extends Hooks<Connection> {
  onData?(chunk: Buffer, connection: Connection): unknown;
}

interface MessageHandler extends Hooks<Connection> {
  onMessage?(message: Buffer, connection: Connection): unknown;
  onSpan?(bytes: Buffer, start: number, end: number, connection: Connection): unknown;
}

/** Chunks as the network cut them. */
export class ChunkPush extends Push {
  readonly #handler: ChunkHandler;

  constructor(connection: Connection, handler: ChunkHandler) {
    super(connection, handler);
    this.#handler = handler;
  }

  /** A handler may keep its chunk. */
  get lends(): boolean {
    return false;
  }

  protected override deliver(chunk: Buffer | undefined): unknown {
    return chunk === undefined ? undefined : this.#handler.onData!(chunk, this.connection);
  }
}

/** Whole messages, or where they lie. */
export class MessagePush extends Push {
  readonly #handler: MessageHandler;
  readonly #decoder: Decoder;
  readonly #take: (bytes: Buffer, start: number, end: number) => void | false;
  #result: unknown;
  #threw = false;
  #thrown: unknown;

  constructor(connection: Connection, handler: MessageHandler, framing: Framing) {
    super(connection, handler);
    this.#handler = handler;
    this.#decoder = framing.decoder(handler.onSpan === undefined ? undefined : { copy: 'always' });
    // The only function that is made for each connection, and all that runs for each message.
    this.#take =
      handler.onSpan === undefined
        ? (message) => {
            connection.messageCount++;
            try {
              const result = handler.onMessage!(message, connection);
              if (result !== undefined) return this.#look(result);
            } catch (error) {
              return this.#fails(error);
            }
            return connection.paused || connection.state !== 'open' ? false : undefined;
          }
        : (bytes, start, end) => {
            connection.messageCount++;
            try {
              const result = handler.onSpan!(bytes, start, end, connection);
              if (result !== undefined) return this.#look(result);
            } catch (error) {
              return this.#fails(error);
            }
            return connection.paused || connection.state !== 'open' ? false : undefined;
          };
  }

  get lends(): boolean {
    return this.#handler.onSpan !== undefined;
  }

  /** The rest of a message that has begun to come is on its way. */
  override get idle(): boolean {
    return super.idle && this.#decoder.state !== 'partial';
  }

  /** The handler returned something. False: it shall get no more for now. */
  #look(result: unknown): false | undefined {
    if (result === CLOSE || typeof (result as PromiseLike<unknown> | null)?.then === 'function') {
      this.#result = result;
      return false;
    }
    return this.connection.paused || this.connection.state !== 'open' ? false : undefined;
  }

  #fails(error: unknown): false {
    this.#threw = true;
    this.#thrown = error;
    return false;
  }

  protected override deliver(chunk: Buffer | undefined): unknown {
    this.#result = undefined;
    this.#threw = false;
    const decoder = this.#decoder;
    try {
      if (chunk === undefined) {
        if (decoder.state === 'stopped') decoder.resume(this.#takeWhole);
      } else if (this.#handler.onSpan === undefined)
        decoder.push(chunk, this.#take as (message: Buffer) => void | false);
      else decoder.scan(chunk, this.#take);
    } catch (error) {
      this.broken(error as Error);
      return undefined;
    }
    if (this.#threw) throw this.#thrown;
    return this.#result;
  }

  /** A message that the decoder had kept. */
  get #takeWhole(): (message: Buffer) => void | false {
    return (message) => this.#take(message, 0, message.length);
  }

  protected override atInputEnd(): void {
    this.#decoder.end(this.#takeWhole);
  }
}
