/**
 * Looks again at what was admitted, after a change of roles or rules: callers let go of runs that they could not start
 * now, and those that wait for their turn are refused. Running commands go on: what they may do was decided.
 */
import { decodeGrant, encodeGrant } from '../protocol/codec.js';
import { OWNER, type Grant, type RunInfo } from '../protocol/messages.js';
import { formatRunId } from '../protocol/run-id.js';
import { admitRun, isOwner, isRefusal, type Refusal, type Rulebook } from './admission.js';
import type { KeeperGate } from './gate.js';
import type { Principal } from './origin.js';
import type { AgentSession } from './session.js';

/** The agent, as readmission sees it. */
export interface Admitted {
  readonly gate: KeeperGate;
  readonly rules: Rulebook;
  readonly sessions: Iterable<AgentSession>;
  /** Who a principal is now; undefined when no key is its. */
  principal(name: string): Principal | undefined;
}

/** The keeper's answer to "look". */
interface Look {
  readonly state?: string;
  readonly spec?: string;
  readonly grant?: string;
}

const OTHERWISE = 'what it was allowed has changed while it waited for its turn: start it again';

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
    this.#running ??= this.#runs()
      .catch(() => undefined)
      .finally(() => (this.#running = undefined));
    return ended;
  }

  /** Resolves when every run was looked at. */
  get done(): Promise<void> {
    return this.#running ?? Promise.resolve();
  }

  async #runs(): Promise<void> {
    // A change while runs are looked at concerns those that were looked at before.
    while (this.#again) {
      this.#again = false;
      for await (const run of this.#live()) {
        const name = run.principal ?? '';
        if (name === OWNER) continue;
        const who = this.#admitted.principal(name);
        if (!who || !isOwner(who)) await this.#look(run, name, who);
      }
    }
  }

  /** Runs that have not ended, of all principals. */
  async *#live(): AsyncGenerator<RunInfo, void, undefined> {
    for (let after: number | undefined = 0; after !== undefined;) {
      const from: number = after;
      const page = await this.#admitted.gate.ask((opId) => ({
        type: 'LIST',
        alias: 0,
        opId,
        all: false,
        page: true,
        after: from,
      }));
      if (page.type !== 'RUNS') return;
      yield* page.runs;
      after = page.next;
    }
  }

  async #look({ runId }: RunInfo, principal: string, who: Principal | undefined): Promise<void> {
    const place = { principal, runId: formatRunId(runId) };
    const { state, spec, grant } = (await this.#ask('look', place)) as Look;
    if (state === undefined) return;
    const answer = this.#admitAgain(principal, who, spec);
    const refusal = isRefusal(answer) ? answer : undefined;
    const reason = isRefusal(answer) ? answer.message : isSame(answer, grant) ? undefined : OTHERWISE;
    if (state === 'queued' && reason !== undefined) await this.#ask('refuse-queued', { ...place, reason });
    if (!refusal) return;
    for (const session of this.#admitted.sessions)
      if (session.principal === principal) for (const each of session.attachmentsTo(runId)) each.dismiss(refusal);
  }

  #admitAgain(principal: string, who: Principal | undefined, spec: string | undefined): Grant | Refusal {
    if (!who) return { code: 'policy', message: `${principal} has no key here any more` };
    if (spec === undefined) return { code: 'policy', message: 'its command is too long to be checked again' };
    return admitRun(this.#admitted.rules, who, Buffer.from(spec, 'base64'));
  }

  async #ask(what: string, body: object): Promise<unknown> {
    const { gate } = this.#admitted;
    const answer = await gate.ask((opId) => ({ type: 'ASK', alias: 0, opId, what, body: JSON.stringify(body) }));
    return answer.type === 'ANSWER' && answer.body !== undefined ? JSON.parse(answer.body) : {};
  }
}

/** Whether a run was granted the same before. One without a grant was opened by an owner. */
function isSame(grant: Grant, before: string | undefined): boolean {
  if (before === undefined) return false;
  const rights = (each: Grant) => encodeGrant({ ...each, policyRev: 0, source: undefined });
  return rights(grant).equals(rights(decodeGrant(Buffer.from(before, 'base64'))));
}
