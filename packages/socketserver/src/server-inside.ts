/** A server as its own parts see it. */
import type { PeerAddress } from './address.js';
import type { Clock } from './connection/clock.js';
import type { HandlerClass } from './handler/handler.js';
import type { Relay } from './relay.js';
import type { Request, Server } from './server-interface.js';
import type { AnyTransport } from './transports/transport.js';

/** The steps of a request's way through a server, which its class may override. `BaseServer` describes each. */
export interface Steps {
  getRequest(): Promise<[Request, PeerAddress]>;
  verifyRequest(request: Request, clientAddress: PeerAddress): boolean | Promise<boolean>;
  processRequest(request: Request, clientAddress: PeerAddress): Promise<void>;
  finishRequest(request: Request, clientAddress: PeerAddress): Promise<void>;
  shutdownRequest(request: Request): Promise<void>;
  closeRequest(request: Request): void | Promise<void>;
  handleError(request: Request, clientAddress: PeerAddress, error: unknown): void;
  handleTimeout(): void | Promise<void>;
}

/** A server, as the parts that it is made of see it. */
export interface ServerInside extends Server, Steps {
  socket: unknown;
  readonly RequestHandlerClass: HandlerClass;
  readonly requestQueueSize: number;
  readonly allowReuseAddress: boolean;
  readonly clock: Clock;
  readonly transport: AnyTransport;
  readonly relay: Relay | undefined;
}
