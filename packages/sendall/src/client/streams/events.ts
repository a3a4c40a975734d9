/** All events of a run, in order, for one reader. */
import { Fifo } from './fifo.js';
import type { StreamName } from './output.js';
import type { Gap, Result } from '../result/result.js';

/** An event of a run. A piece of output counts as read when the next event is requested. */
export type RunEvent =
  | { readonly event: 'started'; readonly pid: number }
  | {
      readonly event: 'output';
      readonly stream: StreamName;
      readonly offset: number;
      readonly bytes: Buffer;
      /** With `capture: 'exact'` or `'ordered'`, each such event is one write: see `OutputRecord`. */
      readonly order?: 'read' | 'written';
      /** The same: microseconds since the command's start. Undefined for a write that came before events were read. */
      readonly timeUs?: number | undefined;
    }
  | { readonly event: 'resumed'; readonly offsets: { readonly stdout: number; readonly stderr: number } }
  | ({ readonly event: 'gap' } & Gap)
  | { readonly event: 'result'; readonly result: Result };

export class EventQueue {
  readonly #events = new Fifo<RunEvent>();
  #wake: (() => void) | undefined;

  push(event: RunEvent): void {
    this.#events.push(event);
    this.#wake?.();
    this.#wake = undefined;
  }

  /** The next event, once one exists. */
  async next(): Promise<RunEvent> {
    for (;;) {
      const event = this.#events.shift();
      if (event) return event;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }
}
