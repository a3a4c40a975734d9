/** What ends a command that nobody ends: it ran too long, was quiet for too long, or its caller was away for too long. */
import type { Spec } from '../protocol/messages.js';

const LONGEST_TIMER = 0x7fffffff;

type End = (cause: 'timeout' | 'idle' | 'cancelled', reason: string) => void;

export class Deadlines {
  readonly #end: End;
  #timeout: NodeJS.Timeout | undefined;
  #idle: NodeJS.Timeout | undefined;
  #away: NodeJS.Timeout | undefined;
  #lastActivity = 0;

  constructor(end: End) {
    this.#end = end;
  }

  /** The command runs from now on. */
  start({ timeoutMs, idleMs }: Spec): void {
    this.active();
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

  /** From now on nobody is in control; it ends after so long, for this reason. */
  away(ms: number, reason: string): void {
    this.#away = after(ms, () => this.#end('cancelled', reason));
  }

  /** Somebody is in control again. */
  back(): void {
    clearTimeout(this.#away);
  }

  /** It has ended. */
  stop(): void {
    clearTimeout(this.#timeout);
    clearTimeout(this.#idle);
    clearTimeout(this.#away);
  }
}

const after = (ms: number, act: () => void): NodeJS.Timeout => setTimeout(act, Math.min(ms, LONGEST_TIMER));
