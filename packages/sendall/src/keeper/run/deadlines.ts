/**
 * Deadlines of a command: how long it may run, be quiet, and be without a caller in control. If this process was stopped,
 * what came in time counts: the command's end, its output, and its caller.
 */
import { afterReading } from '../../timer.js';
import type { Spec } from '../../protocol/messages.js';

type End = (cause: 'timeout' | 'idle' | 'cancelled', reason: string) => void;

export class Deadlines {
  readonly #end: End;
  // What stops each.
  #timeout: (() => void) | undefined;
  #deadline: (() => void) | undefined;
  #idle: (() => void) | undefined;
  #away: (() => void) | undefined;
  /** The reason of that wait. */
  #awayFor: string | undefined;
  #lastActivity = 0;

  constructor(end: End) {
    this.#end = end;
  }

  /** The command runs from now on. `endBy`: its caller's deadline, on the clock of `performance.now()`. */
  start({ timeoutMs, idleMs }: Spec, endBy?: number): void {
    this.active();
    if (endBy !== undefined)
      this.#deadline = afterReading(Math.max(0, endBy - performance.now()), () =>
        this.#end('timeout', 'its deadline has passed'),
      );
    if (timeoutMs !== undefined)
      this.#timeout = afterReading(timeoutMs, () => this.#end('timeout', `it ran for ${timeoutMs} ms`));
    if (idleMs !== undefined) this.#watchIdle(idleMs, idleMs);
  }

  /** Something was read from it or written to it. */
  active(): void {
    this.#lastActivity = performance.now();
  }

  #watchIdle(idleMs: number, wait: number): void {
    this.#idle = afterReading(wait, () => {
      const quiet = performance.now() - this.#lastActivity;
      if (quiet >= idleMs) this.#end('idle', `it was quiet for ${idleMs} ms`);
      else this.#watchIdle(idleMs, idleMs - quiet);
    });
  }

  /** No caller is in control: it ends after so long, for this reason. A wait for the same reason goes on. */
  away(ms: number, reason: string): void {
    if (this.#awayFor === reason) return;
    this.back();
    this.#awayFor = reason;
    this.#away = afterReading(ms, () => {
      this.#awayFor = undefined;
      this.#end('cancelled', reason);
    });
  }

  /** A caller is in control again, or there is nothing to wait for. */
  back(): void {
    this.#away?.();
    this.#awayFor = undefined;
  }

  /** It has ended. */
  stop(): void {
    this.#timeout?.();
    this.#deadline?.();
    this.#idle?.();
    this.#away?.();
  }
}
