/** The events of a server, on its listeners and on diagnostics channels. */
import { channel } from 'node:diagnostics_channel';
import type { EventEmitter } from 'node:events';
import type { BoundAddress, PeerAddress } from './address.js';
import type { Connection } from './connection/connection.js';
import type { Datagram } from './datagram.js';
import type { DrainReport } from './reasons.js';
import type { CloseReason, DropReason } from './reasons.js';

/** What listeners get: one object an event, the same on the server and on the channel `socketserver:<event>`. */
export interface ServerEvents {
  /** The server is bound and takes connections. */
  listening: { address: BoundAddress };
  /** A connection was admitted (before its TLS handshake). In threads and processes `connection` is absent. */
  connection: ConnectionInfo;
  /** It is over: exactly one for each `connection`. */
  close: ConnectionInfo & {
    reason: CloseReason;
    error?: Error;
    bytesRead: number;
    bytesWritten: number;
    durationMs: number;
  };
  /** A client was turned away. */
  drop: { reason: DropReason; peer: PeerAddress | undefined };
  /** A client was turned away because the pending queue is full. A `drop` follows. */
  overload: { connections: number; pending: number; limit: number };
  /** The number of connections reached an alarm's threshold. */
  alarm: { name: string; threshold: number; connections: number };
  /** accept(2) failed; the server goes on. `transient`: the kind of failure that passes by itself. */
  'accept-error': { error: Error; code: string; transient: boolean };
  /** File descriptors ran down to the reserve; new clients are closed at once until some are free. */
  emfile: { open: number; limit: number; reserve: number };
  /** A thread or process of the server: `started`, `exit` (with its code, signal or error), `respawn`. */
  worker: WorkerEvent;
  /** Shutdown began (`begin`) or ended (`end`, with its report). */
  drain: { phase: 'begin'; connections: number } | { phase: 'end'; report: DrainReport };
}

/** The connection that an event is about. */
export interface ConnectionInfo {
  /** Unique within the server (and its worker, where there is one). */
  id: number;
  peer: PeerAddress;
  local: PeerAddress;
  connection?: Connection;
  worker?: number;
}

/** What happened to a worker. */
export interface WorkerEvent {
  state: 'started' | 'exit' | 'respawn' | 'hung';
  worker: number;
  pid?: number;
  threadId?: number;
  code?: number | null;
  signal?: string | null;
  error?: Error;
  connectionsLost?: number;
}

/** What comes along with the error of an `error` event. */
export interface ErrorContext {
  request?: Connection | Datagram;
  clientAddress?: PeerAddress;
}

const channels = {
  listening: channel('socketserver:listening'),
  connection: channel('socketserver:connection'),
  close: channel('socketserver:close'),
  drop: channel('socketserver:drop'),
  overload: channel('socketserver:overload'),
  alarm: channel('socketserver:alarm'),
  'accept-error': channel('socketserver:accept-error'),
  emfile: channel('socketserver:emfile'),
  worker: channel('socketserver:worker'),
  drain: channel('socketserver:drain'),
  error: channel('socketserver:error'),
};

export type EventName = keyof ServerEvents;

/** Listeners' arguments, for EventEmitter. */
export type EventMap = { [E in EventName]: [ServerEvents[E]] } & { error: [Error, ErrorContext] };

/** What emits events: a server, with the way to its main server where it is a worker's. */
type Emitter = EventEmitter<EventMap> & { readonly relay?: EventRelay | undefined };

interface EventRelay {
  wants(event: EventName): boolean;
  event(event: EventName, info: object): void;
  error(error: unknown, request: Connection | Datagram | undefined): void;
}

/** Whether the event has a listener: hot paths ask before they build the object. */
export function isHeard(server: Emitter, event: EventName): boolean {
  return server.listenerCount(event) > 0 || channels[event].hasSubscribers || server.relay?.wants(event) === true;
}

/** Emits on the server and on the channel. A listener that throws is reported, and disturbs nothing else. */
export function announce<E extends EventName>(server: Emitter, event: E, info: ServerEvents[E]): void {
  try {
    (server as EventEmitter).emit(event, info);
  } catch (error) {
    reportError(server, error);
  }
  if (channels[event].hasSubscribers) channels[event].publish({ server, ...info });
  if (server.relay?.wants(event) === true) server.relay.event(event, info);
}

let reporting = false;

/**
 * Reports an error once: to the server's `error` listeners and the channel `socketserver:error`; as a warning of the
 * process when neither has a listener, so that a throwing handler is not silent.
 */
export function reportError(server: Emitter, thrown: unknown, context: ErrorContext = {}): void {
  if (server.relay !== undefined) {
    server.relay.error(thrown, context.request);
    return;
  }
  const error = thrown instanceof Error ? thrown : new Error(String(thrown), { cause: thrown });
  const heard = server.listenerCount('error') > 0;
  if (heard && !reporting) {
    reporting = true;
    try {
      server.emit('error', error, context);
    } catch (failure) {
      process.emitWarning(failure instanceof Error ? failure : String(failure));
    } finally {
      reporting = false;
    }
  }
  if (channels.error.hasSubscribers) channels.error.publish({ server, error, ...context });
  else if (!heard) process.emitWarning(error);
}
