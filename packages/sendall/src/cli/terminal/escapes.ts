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

/** Splits keys into input for the host and escapes for us. Remembers its state across pieces. */
export class EscapeReader {
  #afterNewline = true;
  #tilde = false;

  /** Bytes for the host, and an escape after them; `rest` holds the keys after the escape. */
  read(keys: Buffer): { readonly bytes: Buffer; readonly escape?: Escape; readonly rest?: Buffer } {
    const out: number[] = [];
    for (let i = 0; i < keys.length; i++) {
      const key = keys[i]!;
      if (this.#tilde) {
        this.#tilde = false;
        const escape = MEANING[String.fromCharCode(key)];
        if (escape) {
          this.#afterNewline = true;
          return { bytes: Buffer.from(out), escape, rest: keys.subarray(i + 1) };
        }
        // `~~` sends one tilde; before any other key, a tilde is a tilde.
        out.push(TILDE);
        if (key === TILDE) {
          this.#afterNewline = false;
          continue;
        }
      } else if (key === TILDE && this.#afterNewline) {
        this.#tilde = true;
        continue;
      }
      out.push(key);
      this.#afterNewline = key === CR || key === LF;
    }
    return { bytes: Buffer.from(out) };
  }
}
