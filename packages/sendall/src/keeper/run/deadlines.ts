/** Deadlines of a command: how long it may run, be quiet, and be without a caller in control. */
import { after } from '../../timer.js';
import type { Spec } from '../../protocol/messages.js';

type End = (cause: 'timeout' | 'idle' | 'cancelled', reason: string) => void;

export class Deadlines {
  readonly #end: End;
  // What stops each.
  #timeout: (() => void) | undefined;
  #deadline: (() => void) | undefined;
  #idle: (() => void) | undefined;
  #away: (() => void) | undefined;
  #lastActivity = 0;

  constructor(end: End) {
    this.#end = end;
  }

  /** The command runs from now on. `endBy`: its caller's deadline, on the clock of `performance.now()`. */
  start({ timeoutMs, idleMs }: Spec, endBy?: number): void {
    this.active();
    if (endBy !== undefined)
      this.#deadline = after(Math.max(0, endBy - performance.now()), () =>
        this.#end('timeout', 'its deadline has passed'),
      );
    if (timeoutMs !== undefined)
      this.#timeout = after(timeoutMs, () => this.#end('timeout', `it ran for ${timeoutMs} ms`));
    if (idleMs !== undefined) this.#watchIdle(idleMs, idleMs);
  }

  /** Something was read from it or written to it. */
  active(): void {
    this.#lastActivity = performance.now();
  }

  #watchIdle(idleMs: number, wait: number): void {
    this.#idle = after(wait, () => {
      const quiet = performance.now() - this.#lastActivity;
      if (quiet >= idleMs) this.#end('idle', `it was quiet for ${idleMs} ms`);
      else this.#watchIdle(idleMs, idleMs - quiet);
    });
  }

  /** No caller is in control from now on: it ends after so long, for this reason. */
  away(ms: number, reason: string): void {
    this.#away = after(ms, () => this.#end('cancelled', reason));
  }

  /** A caller is in control again. */
  back(): void {
    this.#away?.();
  }

  /** It has ended. */
  stop(): void {
    this.#timeout?.();
    this.#deadline?.();
    this.#idle?.();
    this.#away?.();
  }
}
