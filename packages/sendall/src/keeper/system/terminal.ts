/**
 * A pseudo-terminal for a command. The keeper holds the command's end open too until the command has ended and its last
 * output is read: when the last holder closes it, the kernel throws away what was not read.
 */
import { closeSync, constants, openSync } from 'node:fs';
import { TerminalSource } from './source.js';
import type { Native, TerminalBits } from './native.js';

export class Terminal {
  /** NUL-terminated, for the start. */
  readonly path: Buffer;
  /** The same as text. */
  readonly name: string;
  readonly source: TerminalSource;
  /** A descriptor of its own for what is typed. */
  readonly input: number;
  readonly #native: Native;
  readonly #master: number;
  #hold = -1;

  /** @throws SystemError when the system has no terminal left. */
  constructor(native: Native, cols: number, rows: number) {
    const { master, path } = native.openTerminal();
    this.#native = native;
    this.#master = master;
    this.name = path;
    this.path = Buffer.from(`${path}\0`);
    this.source = new TerminalSource(native, master);
    try {
      this.#hold = openSync(path, constants.O_RDWR | constants.O_NOCTTY);
      this.input = native.duplicate(master);
    } catch (error) {
      this.release();
      native.close(master);
      throw error;
    }
    this.resize(cols, rows);
  }

  resize(cols: number, rows: number): void {
    this.#native.setTerminalSize(this.#master, cols & 0xffff, rows & 0xffff);
  }

  /** How it treats what is typed at this moment. */
  get bits(): TerminalBits | undefined {
    return this.#native.terminalBits(this.#master);
  }

  /** Lets go of the command's end. */
  release(): void {
    if (this.#hold >= 0) closeSync(this.#hold);
    this.#hold = -1;
  }
}
