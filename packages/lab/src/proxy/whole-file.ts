/** A file that gets whole pieces: what a full disk takes only in part is taken back, and nothing more is written. */
import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs';

export class WholeFile {
  readonly #path: string;
  readonly #onStop: (sentence: string) => void;
  readonly #meanwhile: string;
  /** Undefined when no more is written. */
  #file: number | undefined;
  /** Bytes of whole pieces. */
  #length = 0;

  /**
   * Creates the file for its owner only, with a first piece.
   * @param onStop called once when the file cannot take more or may not be whole
   * @param meanwhile the end of that sentence: what goes on
   * @throws Error of the system when it cannot be created
   */
  constructor(path: string, first: Buffer, onStop: (sentence: string) => void, meanwhile = '') {
    this.#path = path;
    this.#onStop = onStop;
    this.#meanwhile = meanwhile;
    try {
      this.#file = openSync(path, 'w', 0o600);
      this.#write(first);
    } catch (error) {
      this.close();
      throw new Error(`cannot record into ${path}: ${reason(error)}`, { cause: error });
    }
  }

  /** Writes synchronously, so that unwritten pieces cannot pile up in memory. */
  append(piece: Buffer): void {
    const file = this.#file;
    if (file === undefined) return;
    try {
      this.#write(piece);
    } catch (error) {
      try {
        ftruncateSync(file, this.#length);
      } catch {
        // a file that cannot be truncated (a device, a pipe)
      }
      this.close();
      this.#onStop(`recording into ${this.#path} has stopped: ${reason(error)}${this.#meanwhile}`);
    }
  }

  close(): void {
    const file = this.#file;
    this.#file = undefined;
    if (file === undefined) return;
    try {
      closeSync(file);
    } catch (error) {
      this.#onStop(`the record ${this.#path} may not be whole: ${reason(error)}`);
    }
  }

  #write(piece: Buffer): void {
    // A disk that is nearly full accepts only a part.
    for (let at = 0; at < piece.length;) at += writeSync(this.#file!, piece, at);
    this.#length += piece.length;
  }
}

function reason(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? String(error);
}
