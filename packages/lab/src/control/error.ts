/** A request over the control socket that cannot be done, with the status that its answer has. */
export class ControlError extends Error {
  override readonly name = 'ControlError';
  readonly code = 'CONTROL';
  /** The status of the answer over HTTP. */
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}
