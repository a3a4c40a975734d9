/**
 * Looks again at what was admitted, after a change of roles or rules: callers let go of runs that they could not start
 * now, and those that wait for their turn are refused. Commands that run go on: they were allowed when they started.
 */
import { OWNER } from '../../policy/rules.js';
import type { RunInfo } from '../../protocol/messages.js';
import { isOwner } from './admission.js';
import type { Principal } from '../callers/origin.js';
import { review, type Reviewer } from './review.js';
import type { AgentSession } from '../session.js';

/** The agent, as readmission sees it. */
export interface Admitted extends Reviewer {
  readonly sessions: Iterable<AgentSession>;
  /** What a principal is now; undefined when no key is its. */
  principal(name: string): Principal | undefined;
}

export class Readmission {
  readonly #admitted: Admitted;
  #running: Promise<void> | undefined;
  #again = false;

  constructor(admitted: Admitted) {
    this.#admitted = admitted;
  }

  /** Looks at everything again. Returns how many links ended for it; runs are looked at a moment later. */
  begin(): number {
    let ended = 0;
    for (const session of this.#admitted.sessions) if (!session.readmit()) ended++;
    this.#again = true;
    // Without a keeper no run waits for its turn.
    this.#running ??= this.#reviewRuns()
      .catch(() => undefined)
      .finally(() => (this.#running = undefined));
    return ended;
  }

  /** Resolves when every run was looked at. */
  get done(): Promise<void> {
    return this.#running ?? Promise.resolve();
  }

  async #reviewRuns(): Promise<void> {
    // A change while runs are looked at concerns those that were looked at before.
    while (this.#again) {
      this.#again = false;
      // One that cannot be looked at keeps no other from being looked at.
      for await (const run of this.#live()) await this.#review(run).catch(() => undefined);
    }
  }

  /** Runs that have not ended, of all principals. */
  async *#live(): AsyncGenerator<RunInfo, void, undefined> {
    for (let after: number | undefined = 0; after !== undefined;) {
      const list = { type: 'LIST', alias: 0, all: false, page: true, after } as const;
      const page = await this.#admitted.gate.ask((opId) => ({ ...list, opId }));
      if (page.type !== 'RUNS') return;
      yield* page.runs;
      after = page.next;
    }
  }

  async #review({ runId, principal = '' }: RunInfo): Promise<void> {
    if (principal === OWNER) return;
    const who = this.#admitted.principal(principal);
    if (who && isOwner(who)) return;
    const refusal = await review(this.#admitted, { runId, principal, who });
    if (!refusal) return;
    for (const session of this.#admitted.sessions)
      if (session.principal === principal) for (const each of session.attachmentsTo(runId)) each.dismiss(refusal);
  }
}
