/**
 * Why a connection ended. `end`: the client ended it and was answered. `server`: the handler was done. `refused`: by
 * `verifyRequest()`. `drain`: by `shutdown()`. `worker`: the thread or process that served it died. `displaced`: the server
 * was full, and this one was not established. `source-limit`: its source had as many established connections as it may.
 */
export type CloseReason =
  | 'end'
  | 'server'
  | 'reset'
  | 'read-timeout'
  | 'write-timeout'
  | 'handshake-timeout'
  | 'handshake-error'
  | 'framing'
  | 'refused'
  | 'handler-error'
  | 'drain'
  | 'worker'
  | 'displaced'
  | 'source-limit'
  | 'error';

/** Why a client was turned away before it became a connection. */
export type DropReason = 'overload' | 'pending-timeout' | 'fd-budget' | 'draining' | 'no-worker';

/** What `shutdown()` did. */
export interface DrainReport {
  /** Connections (datagrams: requests) open when it began, those from the accept queue included. */
  open: number;
  /** Of these: closed at once, because no call of their handler was pending. */
  idle: number;
  /** Ended by themselves within the timeout. */
  finished: number;
  /** Destroyed when the timeout was over. */
  destroyed: number;
  durationMs: number;
}
