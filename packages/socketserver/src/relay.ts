/** What the server in a worker tells the server that started it. */
import type { PeerAddress } from './address.js';
import type { Connection } from './connection/connection.js';
import type { DrainReport } from './reasons.js';
import type { EventName } from './events.js';
import type { Request } from './server-interface.js';

/** The way from a server inside a worker to the server that started it. */
export interface Relay {
  wants(event: EventName): boolean;
  /** Reads the messages of the main server that have arrived; where connections come by another way. */
  catchUp?(): void;
  event(event: EventName, info: object): void;
  /** A connection that was handed over has ended, or does not count any longer. */
  closed(connection: Connection): void;
  uncounted(connection: Connection): void;
  /** A connection that was handed over is established. */
  established(connection: Connection): void;
  /** The server is full, and this thread has no connection to displace; for threads that accept by themselves. */
  makeRoom?(): void;
  /** A datagram that was handed over is handled. */
  done(request: Request): void;
  error(error: unknown, request: Request | undefined): void;
  /** Present when the main server's `verifyRequest()` is overridden. */
  verify?(request: Request, clientAddress: PeerAddress): Promise<boolean>;
  shutdown(timeout: number | undefined): Promise<DrainReport>;
}
