/** The errors that sendall throws: one sentence each, with a code that callers match on. */

/** A failure of sendall, explained in one sentence. Callers match on `code`. */
export class SendallError extends Error {
  readonly code: string;
  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
  }
}

/** The peer violated the protocol. Ends only that link. */
export class ProtocolError extends SendallError {
  constructor(message: string, options?: ErrorOptions) {
    super('PROTOCOL', message, options);
  }
}

/** No link to the host could be made, or it was lost and not restored in time. */
export class UnreachableError extends SendallError {
  constructor(message: string, options?: ErrorOptions) {
    super('UNREACHABLE', message, options);
  }
}

/** The host answered and refused: unknown key, not paired, policy, wrong code. */
export class RefusedError extends SendallError {
  constructor(message: string, options?: ErrorOptions) {
    super('REFUSED', message, options);
  }
}

/** The caller made a mistake in an option, an argument or a file. */
export class UsageError extends SendallError {
  constructor(message: string, options?: ErrorOptions) {
    super('USAGE', message, options);
  }
}
