/** `~.` and friends: what is typed after a newline and a tilde is for us. */

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

/** Takes keys apart into what goes to the host and what is for us. Remembers across pieces. */
export class EscapeReader {
  #afterNewline = true;
  #tilde = false;

  /** Bytes for the host, and an escape after them; what was typed behind the escape is in `rest`. */
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
        // `~~` sends one; a tilde before anything else was meant.
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
