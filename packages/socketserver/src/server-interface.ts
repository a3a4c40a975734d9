/** A server as its handlers and callers see it. */
import type { EventEmitter } from 'node:events';
import type { Framing } from '@sendall/framing';
import type { BoundAddress } from './address.js';
import type { Connection } from './connection/connection.js';
import type { Datagram } from './datagram.js';
import type { DrainReport } from './reasons.js';
import type { EventMap } from './events.js';
import type { ResolvedOptions, ServerOptions } from './options.js';

/** What one handler handles: a connection, or one datagram. */
export type Request = Connection | Datagram;

/**
 * `listening`: bound, but not serving yet. `suspended`: by `suspend()`. `draining`: `shutdown()` is under way.
 */
export type ServerStatus = 'new' | 'listening' | 'running' | 'suspended' | 'draining' | 'closed';

/** How `waitForConnections` compares the number of connections. */
export type Comparison = '<' | '<=' | '==' | '>=' | '>';

/** The state of a server at this moment. */
export interface ServerInfo {
  status: ServerStatus;
  address: BoundAddress;
  /** Being served now. */
  connections: number;
  /** Of these: not established yet (see the option `establishedBy`). */
  unestablished: number;
  /** Accepted, waiting for a place. */
  pending: number;
  /** Since the start. */
  accepted: number;
  dropped: number;
  workers: number;
}

/** A server, as its handlers and callers see it. `BaseServer` describes each member. */
export interface Server<Bound extends BoundAddress = BoundAddress> extends EventEmitter<EventMap>, AsyncDisposable {
  readonly serverAddress: Bound;
  readonly status: ServerStatus;
  readonly options: ResolvedOptions;
  readonly framing: Framing | undefined;
  readonly activeChildren: ReadonlySet<number>;
  readonly connections: ReadonlySet<Connection>;
  readonly socket: unknown;
  info(): ServerInfo;
  fileno(): number;
  listen(): Promise<void>;
  serveForever(): Promise<void>;
  handleRequest(timeout?: number): Promise<void>;
  shutdown(options?: { timeout?: number }): Promise<DrainReport>;
  serverClose(): Promise<void>;
  suspend(options?: { queue?: boolean }): Promise<void>;
  resume(): Promise<void>;
  setOptions(options: ServerOptions): void;
  waitForConnections(op: Comparison, n: number): Promise<void>;
}
