/** The interfaces between a connection and what takes its bytes. */
import type { TimeoutError } from '../errors.js';

/** What takes the bytes of a connection: a pull reader, or the push side of a handler. */
export interface Sink {
  /** Whether it is the client's turn: only then does the read timeout run. */
  readonly waiting: boolean;
  /** Whether the connection could be closed with nothing of the handler's lost. */
  readonly idle: boolean;
  /**
   * Absent: the bytes have to stay as they are. Else the connection may read into shared memory once it is busy; true:
   * the sink takes chunks that are `lent` for the time of the call, and copies what it keeps.
   */
  readonly lends?: boolean;
  chunk(chunk: Buffer, lent?: boolean): void;
  /** The client sent its end. */
  end(): void;
  timeout(error: TimeoutError): void;
  resumed(): void;
  /** The connection is over. */
  closed(error: Error | undefined): void;
}

/** What a pull reader needs of its connection. */
export interface Source {
  /** The error that ended it, where one did. */
  failure: Error | undefined;
  readonly highWaterMark: number;
  /** The sink holds enough for now (true), or wants more (false). */
  hold(full: boolean): void;
}

/** What a handler may have besides its main method, pull style or push; each is called with the connection last. */
export interface Hooks<C> {
  /** The client sent its end. What is still written reaches it; then the connection is closed. (Push style.) */
  onEnd?(connection: C): unknown;
  /** The client sent nothing for the read timeout. What is written reaches it; then it is closed. (Push style.) */
  onTimeout?(connection: C): unknown;
  /** The server shuts down: the time to say goodbye. */
  onShutdown?(connection: C): unknown;
  /** The connection broke, or the client's bytes were no messages. (Push style.) */
  onError?(error: Error, connection: C): unknown;
  /** It is over. Called exactly once. */
  onClose?(connection: C): unknown;
}
