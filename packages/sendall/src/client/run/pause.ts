/** The pause before a run's next try, which a caller may cut short. */
export class Pause {
  #stopped: string | undefined;
  #wake: (() => void) | undefined;

  /** Why no further try is to be made; undefined while there may be one. */
  get stopped(): string | undefined {
    return this.#stopped;
  }

  /** Waits so many milliseconds, or until it is stopped. */
  async wait(ms: number): Promise<void> {
    if (!ms || this.#stopped !== undefined) return;
    await new Promise<void>((done) => {
      const timer = setTimeout(done, ms);
      this.#wake = () => {
        clearTimeout(timer);
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
