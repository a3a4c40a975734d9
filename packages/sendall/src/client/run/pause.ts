/** The pause before a run's next try. A caller may cut it short. */
import { after } from '../../timer.js';

export class Pause {
  #stopped: string | undefined;
  #wake: (() => void) | undefined;

  /** Why no further try will be made; undefined while one may be. */
  get stopped(): string | undefined {
    return this.#stopped;
  }

  /** Waits this many milliseconds, or until stopped. */
  async wait(ms: number): Promise<void> {
    if (!ms || this.#stopped !== undefined) return;
    await new Promise<void>((done) => {
      const stop = after(ms, done);
      this.#wake = () => {
        stop();
        done();
      };
    });
  }

  /** Ends the pause, and with it the run. */
  stop(why: string): void {
    this.#stopped = why;
    this.#wake?.();
  }
}
