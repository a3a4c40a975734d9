/** `~.` and friends: input after a newline and a tilde is for us. */

export type Escape = 'leave' | 'detach' | 'suspend' | 'help';

const TILDE = 0x7e;
const CR = 0x0d;
const LF = 0x0a;
const MEANING: Readonly<Record<string, Escape>> = {
  '.': 'leave',
  d: 'detach',
  '\u001a': 'suspend',
  '?': 'help',
};

/** Which keys after a newline are for us. */
export interface EscapeKeys {
  /**
   * The first one; undefined: all keys are for the host.
   * @default "~"
   */
  readonly key?: number | undefined;
  /** Escapes that there are none of. */
  readonly without?: readonly Escape[];
}

/** Splits keys into input for the host and escapes for us. Remembers its state across pieces. */
export class EscapeReader {
  readonly #key: number | undefined;
  readonly #without: readonly Escape[];
  #afterNewline = true;
  #tilde = false;

  constructor(keys: EscapeKeys = {}) {
    this.#key = 'key' in keys ? keys.key : TILDE;
    this.#without = keys.without ?? [];
  }

  /** Bytes for the host, and an escape after them; `rest` holds the keys after the escape. */
  read(keys: Buffer): { readonly bytes: Buffer; readonly escape?: Escape; readonly rest?: Buffer } {
    const out: number[] = [];
    for (let i = 0; i < keys.length; i++) {
      const key = keys[i]!;
      if (this.#tilde) {
        this.#tilde = false;
        const escape = MEANING[String.fromCharCode(key)];
        if (escape && !this.#without.includes(escape)) {
          this.#afterNewline = true;
          return { bytes: Buffer.from(out), escape, rest: keys.subarray(i + 1) };
        }
        // `~~` sends one tilde; before any other key, a tilde is a tilde.
        out.push(this.#key!);
        if (key === this.#key) {
          this.#afterNewline = false;
          continue;
        }
      } else if (key === this.#key && this.#afterNewline) {
        this.#tilde = true;
        continue;
      }
      out.push(key);
      this.#afterNewline = key === CR || key === LF;
    }
    return { bytes: Buffer.from(out) };
  }
}
