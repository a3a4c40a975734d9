/** The errors that sendall throws: one sentence each, with a code that callers match on. */

/** Why something of sendall failed, in one sentence. Callers match on `code`. */
export class SendallError extends Error {
  readonly code: string;
  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
  }
}

/** The peer sent what the protocol does not allow. Ends that link and nothing else. */
export class ProtocolError extends SendallError {
  constructor(message: string, options?: ErrorOptions) {
    super('PROTOCOL', message, options);
  }
}

/** No link to the host could be made, or it was lost and not made again in time. */
export class UnreachableError extends SendallError {
  constructor(message: string, options?: ErrorOptions) {
    super('UNREACHABLE', message, options);
  }
}

/** The host answered and said no: unknown key, not paired, policy, wrong code. */
export class RefusedError extends SendallError {
  constructor(message: string, options?: ErrorOptions) {
    super('REFUSED', message, options);
  }
}

/** An option, argument or file of the caller's is wrong. */
export class UsageError extends SendallError {
  constructor(message: string, options?: ErrorOptions) {
    super('USAGE', message, options);
  }
}
