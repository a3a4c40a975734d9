import type { PeerAddress } from './address.js';
import type { Connection } from './connection/connection.js';
import type { DrainReport } from './reasons.js';
import type { EventName } from './events.js';
import type { Request } from './server-interface.js';

/** The way from a server inside a worker to the server that started it. */
export interface Relay {
  wants(event: EventName): boolean;
  /** Hears what the main server has said so far; where connections come by another way than its words. */
  catchUp?(): void;
  event(event: EventName, info: object): void;
  /** A connection that was handed over is over; one does not count any longer. */
  closed(connection: Connection): void;
  uncounted(connection: Connection): void;
  /** One that was handed over has shown who it is. */
  established(connection: Connection): void;
  /** There is no place, and here nobody to send away; for threads that accept by themselves. */
  makeRoom?(): void;
  /** A datagram that was handed over is handled. */
  done(request: Request): void;
  error(error: unknown, request: Request | undefined): void;
  /** Present when the main server's `verifyRequest()` is overridden. */
  verify?(request: Request, clientAddress: PeerAddress): Promise<boolean>;
  shutdown(timeout: number | undefined): Promise<DrainReport>;
}
