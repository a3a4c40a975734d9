/**
 * Whether a terminal shows what is typed, told to those callers who show it before its echo comes: they must stop when a
 * program switches the echo off. Nothing tells of that, so it is looked at whenever something is typed or drawn, and
 * every 50 ms, as long as a caller wants to know.
 */
import type { KeeperAttachment } from './attachment.js';
import type { TerminalBits } from '../system/native.js';
import type { Terminal } from '../system/terminal.js';

const INTERVAL = 50;

export class EchoWatch {
  readonly #terminal: Terminal;
  readonly #followers = new Set<KeeperAttachment>();
  #bits: TerminalBits | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  /** Tells this caller now, and whenever it changes. */
  follow(attachment: KeeperAttachment): void {
    // Those who came before hear of a change first.
    this.look();
    this.#followers.add(attachment);
    this.#bits = this.#terminal.bits;
    if (this.#bits) attachment.send({ type: 'ECHO', ...this.#bits });
    this.#timer ??= setInterval(() => this.look(), INTERVAL);
  }

  leave(attachment: KeeperAttachment): void {
    this.#followers.delete(attachment);
    if (this.#followers.size === 0) this.stop();
  }

  look(): void {
    if (this.#followers.size === 0) return;
    const bits = this.#terminal.bits;
    if (!bits || (bits.canonical === this.#bits?.canonical && bits.echo === this.#bits.echo)) return;
    this.#bits = bits;
    for (const attachment of this.#followers) attachment.send({ type: 'ECHO', ...bits });
  }

  /** The terminal goes. */
  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#followers.clear();
  }
}
