/** stdin of one run: taken from the caller in control, written to the command, and reported back. */
import { STREAM, type StreamState } from '../../protocol/messages.js';
import type { KeeperAttachment } from './attachment.js';
import type { Audience } from './audience.js';
import { Input } from './input.js';
import { InputReports } from './input-reports.js';
import { InputWindow } from './input-window.js';
import type { RunServices } from './services.js';

export class Stdin {
  readonly input: Input;
  readonly #reports: InputReports;

  constructor({ native, limits, inputPool }: RunServices, audience: Audience) {
    const window = new InputWindow(limits.stdinWindow, limits.stdinWindowMax, inputPool);
    this.input = new Input(native, window, {
      moved: () => this.#reports.moved(),
      refused: () => audience.controller?.send({ type: 'STOP', stream: STREAM.stdin }),
    });
    this.#reports = new InputReports(this.input, window, () => {
      const { controller } = audience;
      if (controller) this.report(controller);
    });
  }

  /** Tells a caller which bytes are taken and which may be sent. */
  report(attachment: KeeperAttachment): void {
    const { next, limit, final } = this.input;
    attachment.send({ type: 'ACK', stream: STREAM.stdin, durable: next, ended: final !== undefined || undefined });
    attachment.send({ type: 'CREDIT', stream: STREAM.stdin, limit });
  }

  get state(): StreamState {
    const { next, final } = this.input;
    return { stream: STREAM.stdin, first: next, next, final };
  }

  /** The run is over: nothing more is reported. */
  stop(): void {
    this.#reports.stop();
  }
}
