/** Everything that happens to a run, in order, for one reader. */
import type { StreamName } from './output.js';
import type { Gap, Result } from './result.js';

/** What happens to a run, in order. Output pieces count as read when the next event is asked for. */
export type RunEvent =
  | { readonly event: 'started'; readonly pid: number }
  | { readonly event: 'output'; readonly stream: StreamName; readonly offset: number; readonly bytes: Buffer }
  | { readonly event: 'resumed'; readonly offsets: { readonly stdout: number; readonly stderr: number } }
  | ({ readonly event: 'gap' } & Gap)
  | { readonly event: 'result'; readonly result: Result };

export class EventQueue {
  #events: RunEvent[] = [];
  #at = 0;
  #wake: (() => void) | undefined;

  push(event: RunEvent): void {
    this.#events.push(event);
    this.#wake?.();
    this.#wake = undefined;
  }

  /** The next event, once there is one. */
  async next(): Promise<RunEvent> {
    while (this.#at === this.#events.length) {
      this.#events = [];
      this.#at = 0;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    return this.#events[this.#at++]!;
  }
}
