/** The deadlines of a connection: for the handshake, the client's next bytes, what it takes, and its end. */
import type { Socket } from 'node:net';
import { TimeoutError } from '../errors.js';
import { unsentBytes } from '../node-internals.js';
import { checkNumber, type ResolvedOptions } from '../options.js';
import type { CloseReason } from '../reasons.js';
import { UNSEEN, waitedOn, type Clock, type Timed } from './clock.js';
import type { Writer } from './writer.js';

/** A connection, as its deadlines see it. */
export interface Watched {
  readonly state: 'handshake' | 'open' | 'ending' | 'closed';
  readonly wire: Socket;
  readonly writer: Writer;
  readonly host: { readonly options: ResolvedOptions; readonly clock: Clock };
  /** Whether it is the client's turn: its bytes are waited for, and would be taken. */
  readonly awaitsBytes: boolean;
  fail(error: Error, reason: CloseReason): void;
  readTimedOut(error: TimeoutError): void;
}

export class Deadlines implements Timed {
  readonly #connection: Watched;
  #readTimeout: number | undefined;
  #readTimeoutOnce: number | undefined;
  /** How long the client has been silent. */
  #idle = UNSEEN;
  /** How long the client has taken nothing, and by what that was seen: bytes of whole writes, and of the one under way. */
  #stalled = 0;
  #taken = -1;
  #unsent = 0;

  constructor(connection: Watched) {
    this.#connection = connection;
  }

  /** Another wait begins. */
  restart(): void {
    this.#idle = UNSEEN;
  }

  /** The client sent bytes. */
  heard(): void {
    this.#idle = UNSEEN;
    this.#readTimeoutOnce = undefined;
  }

  setReadTimeout(ms: number, once: boolean): void {
    checkNumber('readTimeout', ms, 0, 'a read timeout is 0 or more');
    if (once) this.#readTimeoutOnce = ms;
    else this.#readTimeout = ms;
    this.#idle = UNSEEN;
    this.#connection.host.clock.sharpen(ms);
  }

  tick(elapsed: number): void {
    const connection = this.#connection;
    const { options } = connection.host;
    this.#idle = waitedOn(this.#idle, elapsed);
    if (connection.state === 'handshake') {
      const { handshakeTimeout } = options;
      if (handshakeTimeout > 0 && this.#idle >= handshakeTimeout) {
        const why = `the handshake took longer than ${handshakeTimeout} ms`;
        connection.fail(new TimeoutError('HANDSHAKE_TIMEOUT', why), 'handshake-timeout');
      }
      return;
    }
    if (connection.state === 'ending' && connection.wire.writableFinished) {
      if (this.#idle >= options.lingerTimeout) connection.wire.destroy();
      return;
    }
    if (connection.writer.pending > 0 && this.#stalls(elapsed)) return;
    if (connection.state !== 'open' || !connection.awaitsBytes) {
      this.#idle = UNSEEN;
      return;
    }
    const readTimeout = this.#readTimeoutOnce ?? this.#readTimeout ?? options.readTimeout;
    if (readTimeout === 0 || this.#idle < readTimeout) return;
    this.heard();
    connection.readTimedOut(new TimeoutError('READ_TIMEOUT', `the client sent nothing for ${readTimeout} ms`));
  }

  /** Looks whether the client took any of what waits; ends the connection when it did not for too long. */
  #stalls(elapsed: number): boolean {
    const { wire, host } = this.#connection;
    const taken = wire.bytesWritten - wire.writableLength;
    const unsent = unsentBytes(wire);
    if (taken === this.#taken && unsent === this.#unsent) this.#stalled += elapsed;
    else this.#stalled = 0;
    this.#taken = taken;
    this.#unsent = unsent;
    const { writeTimeout } = host.options;
    if (writeTimeout === 0 || this.#stalled < writeTimeout) return false;
    const error = new TimeoutError('WRITE_TIMEOUT', `the client took nothing for ${writeTimeout} ms`);
    this.#connection.fail(error, 'write-timeout');
    return true;
  }
}
