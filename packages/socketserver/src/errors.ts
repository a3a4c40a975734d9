/** What went wrong, as a stable word to match on; the message is for people. */
export type ErrorCode =
  | 'UNKNOWN_OPTION'
  | 'INVALID_OPTION'
  | 'INVALID_ADDRESS'
  | 'INVALID_HANDLER'
  | 'SERVER_CLOSED'
  | 'NOT_RUNNING'
  | 'CONNECTION_CLOSED'
  | 'READ_TIMEOUT'
  | 'WRITE_TIMEOUT'
  | 'HANDSHAKE_TIMEOUT'
  | 'HANDSHAKE_FAILED'
  | 'READ_IN_PROGRESS'
  | 'WRITE_AFTER_END'
  | 'LINE_TOO_LONG'
  | 'PROXY_HEADER'
  | 'SOURCE_LIMIT'
  | 'UNSUPPORTED_TRANSPORT'
  | 'UNSUPPORTED'
  | 'NO_RETURN_ADDRESS'
  | 'WORKER_FAILED'
  | 'WORKER_CRASH_LOOP';

/** Every error this package makes itself. Errors of the system keep their own class and code, as `cause` here. */
export class SocketServerError extends Error {
  override readonly name: string = 'SocketServerError';
  constructor(
    readonly code: ErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** An option or a number given to a method that is not known or does not fit. `option` is its name. */
export class OptionError extends SocketServerError {
  override readonly name = 'OptionError';
  constructor(
    code: 'UNKNOWN_OPTION' | 'INVALID_OPTION',
    readonly option: string,
    message: string,
  ) {
    super(code, message);
  }
}

/**
 * The server could not bind or listen. `code` is the system's (`EADDRINUSE`, `EACCES`, `ENAMETOOLONG`, ...) or
 * `TLS_CONFIGURATION`; `address` is what was asked for; the message ends with what to do about it.
 */
export class ListenError extends Error {
  override readonly name = 'ListenError';
  constructor(
    readonly code: string,
    readonly address: unknown,
    reason: string,
    options?: ErrorOptions,
  ) {
    super(reason, options);
  }
}

/** The connection ended while something was still wanted of it: a read, a drain, a flush. */
export class ConnectionClosedError extends SocketServerError {
  override readonly name = 'ConnectionClosedError';
  constructor(message = 'the connection is closed', options?: ErrorOptions) {
    super('CONNECTION_CLOSED', message, options);
  }
}

/** The client sent nothing for `readTimeout`, or took nothing for `writeTimeout`, or did not finish its handshake. */
export class TimeoutError extends SocketServerError {
  override readonly name = 'TimeoutError';
}

/** A line went over its limit before its newline came. */
export class LineTooLongError extends SocketServerError {
  override readonly name = 'LineTooLongError';
  constructor(readonly limit: number) {
    super('LINE_TOO_LONG', `no newline in the first ${limit} bytes of a line: raise the limit given to readline()`);
  }
}

/** The bytes before the first request are not a PROXY protocol header, though the server asks for one. */
export class ProxyHeaderError extends SocketServerError {
  override readonly name = 'ProxyHeaderError';
  constructor(message: string) {
    super('PROXY_HEADER', message);
  }
}

const hints: Record<string, string> = {
  EADDRINUSE: 'something else listens there: stop it, or choose another address (port 0 takes any free port)',
  EACCES: 'this user may not listen there: choose a port above 1023, or a folder it may write to',
  EADDRNOTAVAIL: 'this machine has no such address',
  ENAMETOOLONG: 'a Unix socket path has at most 107 bytes: choose a shorter folder',
  ENOENT: 'the folder is not there: make it first',
  ENOTDIR: 'a part of the path is a file, not a folder',
  EMFILE: 'this process has no file descriptor left: raise its limit (ulimit -n)',
};

/** Wraps a failed bind or listen: what, where, what to do. */
export function listenError(cause: unknown, address: unknown): ListenError {
  if (cause instanceof ListenError) return cause;
  const code = (cause as NodeJS.ErrnoException | undefined)?.code ?? 'LISTEN_FAILED';
  const text = cause instanceof Error ? cause.message : String(cause);
  const hint = hints[code];
  return new ListenError(code, address, hint === undefined ? text : `${text} (${hint})`, { cause });
}

const disconnects = new Set(['ECONNRESET', 'EPIPE', 'ECONNABORTED', 'CONNECTION_CLOSED']);

/** Whether an error only says that the peer has gone: an end, not a fault of ours. */
export function isDisconnect(error: unknown): boolean {
  return error instanceof Error && disconnects.has((error as NodeJS.ErrnoException).code ?? '');
}
