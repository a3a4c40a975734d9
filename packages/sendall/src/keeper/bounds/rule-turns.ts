/** Runs by rule and principal: a rule may say how many there are at once. */
import type { Grant } from '../../protocol/messages.js';

/** Counts them until everything of each has ended, so that a process left behind counts too. */
export class RuleTurns<Run extends object> {
  readonly #counts = new Map<string, number>();
  readonly #keyOf = new Map<Run, string>();

  /** Why a principal may have no more runs under this rule now. */
  refusal(principal: string, grant: Grant | undefined): string | undefined {
    if (grant?.runs === undefined) return undefined;
    const { rule, runs } = grant;
    if ((this.#counts.get(keyOf(principal, rule)) ?? 0) < runs) return undefined;
    return `${runs === 1 ? '1 run' : `${runs} runs`} of yours under the rule ${rule} ${runs === 1 ? 'is' : 'are'} not over yet, and it allows no more at once: wait for one to end`;
  }

  add(run: Run, principal: string, grant: Grant | undefined): void {
    if (grant?.runs === undefined) return;
    const key = keyOf(principal, grant.rule);
    this.#keyOf.set(run, key);
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1);
  }

  /** Everything of this run has ended. */
  settled(run: Run): void {
    const key = this.#keyOf.get(run);
    if (key === undefined) return;
    this.#keyOf.delete(run);
    const left = this.#counts.get(key)! - 1;
    if (left > 0) this.#counts.set(key, left);
    else this.#counts.delete(key);
  }
}

const keyOf = (principal: string, rule: string): string => `${principal}\0${rule}`;
