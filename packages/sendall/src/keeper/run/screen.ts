/** A run's terminal as its callers see it: its size, its echo, and the modes that a newcomer's screen needs. */
import { ScreenModes } from '../../text/screen-modes.js';
import type { Terminal } from '../system/terminal.js';
import type { KeeperAttachment } from './attachment.js';
import { EchoWatch } from './echo-watch.js';

export class Screen {
  readonly #modes = new ScreenModes();
  /** Until the terminal is released. */
  #terminal: Terminal | undefined;
  /** Until the terminal has ended. */
  #echo: EchoWatch | undefined;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
    this.#echo = new EchoWatch(terminal);
  }

  /** The command has written these bytes. */
  watch(bytes: Buffer): void {
    this.#modes.watch(bytes);
    this.#echo?.look();
  }

  /** Something is about to be typed: where the echo is off now, the next key must not be shown. */
  look(): void {
    this.#echo?.look();
  }

  /** What brings a screen into the modes that the command has set. */
  get modes(): string | undefined {
    return this.#modes.redo() || undefined;
  }

  /** Tells a caller whether the terminal shows what is typed, if it wants to know. */
  follow(attachment: KeeperAttachment): void {
    if (attachment.followsEcho) this.#echo?.follow(attachment);
  }

  leave(attachment: KeeperAttachment): void {
    this.#echo?.leave(attachment);
  }

  /** False when the terminal was released. */
  resize(cols: number, rows: number): boolean {
    this.#terminal?.resize(cols, rows);
    return this.#terminal !== undefined;
  }

  /** The terminal has ended: its echo is not watched any more. */
  end(): void {
    this.#echo?.stop();
    this.#echo = undefined;
  }

  /** Lets go of the command's end of the terminal. False when that was done before. */
  release(): boolean {
    if (!this.#terminal) return false;
    this.end();
    this.#terminal.release();
    this.#terminal = undefined;
    return true;
  }
}
