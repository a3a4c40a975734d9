/** A secret value in the caller's program: whatever prints it shows "[secret]". */
import { UsageError } from '../../errors.js';

const SHOWN = '[secret]';

let reveal: (secret: Secret) => Uint8Array;

/** A value for a run's option `secrets`, made by `secret()`. Printed, logged, joined to text or as JSON it is "[secret]". */
export class Secret {
  readonly #value: Uint8Array;

  static {
    reveal = (secret) => secret.#value;
  }

  /** @internal Use secret. */
  constructor(value: Uint8Array) {
    this.#value = value;
  }

  toString(): string {
    return SHOWN;
  }

  toJSON(): string {
    return SHOWN;
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return SHOWN;
  }
}

/**
 * Makes a secret of text, which is sent as UTF-8, or of bytes, of which it has a copy.
 * @throws UsageError for any other type; its message does not show the value.
 */
export function secret(value: string | Uint8Array): Secret {
  if (typeof value === 'string') return new Secret(Buffer.from(value, 'utf8'));
  if (value instanceof Uint8Array) return new Secret(Uint8Array.from(value));
  throw new UsageError('secret() takes text or bytes (a Uint8Array)');
}

/** Its value, for the message that carries it to the host. */
export const revealed = (value: Secret): Uint8Array => reveal(value);
