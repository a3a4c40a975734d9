/** The messages between a server and its workers. */
import type { BoundAddress, BoundHost, PeerAddress } from '../address.js';
import type { ServerInfo } from '../server-interface.js';
import type { DrainReport } from '../reasons.js';
import type { CloseReason } from '../reasons.js';
import type { TransportName } from '../transports/transport.js';

/** An export of a module: how code gets into a worker. */
export interface Export {
  module: string;
  name: string;
}

/** How a worker gets its connections. `feed`: handed over, or not yet. The others: it accepts by itself. */
export type Acceptance =
  | { by: 'feed' }
  /** `own`: `fd` is a duplicate for this worker alone; else it is lent until the worker has made one. */
  | { by: 'descriptor'; fd: number; own: boolean; address: BoundAddress; backlog: number }
  | { by: 'reuse-port'; address: BoundHost; backlog: number };

/** What a worker is started with. */
export interface WorkerStart {
  worker: number;
  transport: TransportName;
  handler: Export;
  /** The server's class, when it has a module: its overridden steps run in the worker then. */
  server?: Export;
  address: BoundAddress;
  options: Record<string, unknown>;
  acceptance: Acceptance;
  /** Places shared by all threads (see `SharedPlaces`). */
  places?: SharedArrayBuffer;
  /** The server's `verifyRequest()` is overridden and runs in the main thread. */
  verify: boolean;
}

/** A request as its description, where the thing itself lives in a worker. */
export interface RequestNote {
  id: number;
  peer: PeerAddress;
  local?: PeerAddress;
}

/** An error on its way between threads or processes: structured clones drop its code. */
export interface ErrorNote {
  name: string;
  message: string;
  stack?: string;
  code?: string;
}

export type ToWorker =
  | { type: 'start'; start: WorkerStart }
  | { type: 'connection'; id: number; fd?: number }
  | { type: 'datagram'; id: number; data: Uint8Array; peer: PeerAddress; truncated: boolean }
  | { type: 'sent'; call: number; error?: ErrorNote }
  | { type: 'verified'; call: number; ok: boolean }
  | { type: 'options'; options: Record<string, unknown> }
  | { type: 'wanted'; events: boolean }
  | { type: 'serve' }
  | { type: 'suspend'; queue: boolean }
  /** With an acceptance: it has closed its socket, and gets another. */
  | { type: 'resume'; acceptance?: Acceptance }
  | { type: 'drain'; timeout: number }
  /** A connection that is not established has to go: this one, where the main server admits. */
  | { type: 'displace'; id?: number }
  | { type: 'ping' };

export interface ClosedNote {
  reason: CloseReason;
  error?: ErrorNote;
  bytesRead: number;
  bytesWritten: number;
  durationMs: number;
}

export type FromWorker =
  | { type: 'ready' }
  /** A socket that was handed over is here: the sender may close its own descriptor. */
  | { type: 'got'; id: number }
  /** The listening socket's descriptor is the worker's own from here on, or it has made one of it. */
  | { type: 'took'; fd: number }
  /** It has done what `suspend` or `resume` said. */
  | { type: 'door' }
  | { type: 'failed'; error: ErrorNote }
  | ({ type: 'closed'; id: number; peer: PeerAddress; local: PeerAddress } & ClosedNote)
  | { type: 'uncounted'; id: number }
  | { type: 'established'; id: number }
  /** The server is full, and this worker has no connection to displace. */
  | { type: 'room' }
  | { type: 'done'; id: number }
  | { type: 'event'; event: string; info: Record<string, unknown> }
  | { type: 'verify'; call: number; request: RequestNote }
  | { type: 'error'; request?: RequestNote; error: ErrorNote }
  | { type: 'send'; call: number; data: Uint8Array; to: PeerAddress }
  | { type: 'shutdown'; timeout?: number }
  | { type: 'drained'; report: DrainReport; info: ServerInfo }
  | { type: 'pong' };

export function errorNote(error: unknown): ErrorNote {
  if (!(error instanceof Error)) return { name: 'Error', message: String(error) };
  const { name, message, stack, code } = error as NodeJS.ErrnoException;
  return { name, message, ...(stack !== undefined && { stack }), ...(code !== undefined && { code }) };
}

export function errorFrom(note: ErrorNote): Error {
  const error = new Error(note.message);
  error.name = note.name;
  if (note.stack !== undefined) error.stack = note.stack;
  return note.code === undefined ? error : Object.assign(error, { code: note.code });
}
