/** Decides again on a run that is there already: by its command and its rights, which the keeper knows. */
import type { PolicyFile } from '../../policy/policy-file.js';
import { decodeGrant, encodeGrant } from '../../protocol/codec.js';
import type { Grant } from '../../protocol/messages.js';
import { formatRunId } from '../../protocol/run-id.js';
import { isRefusal, reviewRun, type Refusal } from './admission.js';
import type { KeeperGate } from '../gate.js';
import type { Principal } from '../callers/origin.js';

/** What a review needs. */
export interface Reviewer {
  readonly gate: KeeperGate;
  readonly policy: PolicyFile;
}

/** A run and whose it is. `who`: what that principal is now; undefined when no key is its. */
export interface Reviewed {
  readonly runId: Uint8Array;
  readonly principal: string;
  readonly who: Principal | undefined;
}

/** The keeper's answer to "look". It knows command and rights until a run is over. */
interface Look {
  readonly state?: string;
  readonly spec?: string;
  readonly grant?: string;
}

const WITH_OTHER_RIGHTS = 'it runs with rights that its caller has no longer';
const GRANTED_OTHERWISE = 'what it was allowed has changed while it waited for its turn: start it again';

/**
 * Why a caller who is no owner may not have its run any more; undefined: it may, or the run is over or unknown. A run
 * that waits for its turn is refused for good then.
 */
export async function review(reviewer: Reviewer, run: Reviewed): Promise<Refusal | undefined> {
  const place = { principal: run.principal, runId: formatRunId(run.runId) };
  const { state = '', spec, grant } = (await ask(reviewer.gate, 'look', place)) as Look;
  const waits = state === 'queued';
  if (!waits && state !== 'starting' && state !== 'running') return undefined;
  const before = grant === undefined ? undefined : decodeGrant(Buffer.from(grant, 'base64'));
  const refusal = refusalOf(reviewer.policy, run, spec, before, waits);
  if (refusal && waits) await ask(reviewer.gate, 'refuse-queued', { ...place, reason: refusal.message });
  return refusal;
}

/** `before`: what the run was granted; undefined: an owner opened it. */
function refusalOf(
  policy: PolicyFile,
  { principal, who }: Reviewed,
  spec: string | undefined,
  before: Grant | undefined,
  waits: boolean,
): Refusal | undefined {
  const refused = (message: string): Refusal => ({ code: 'policy', message });
  if (!who) return refused(`${principal} has no key here any more`);
  if (spec === undefined) return refused('its command is too long to be checked again');
  const now = reviewRun(policy, who, Buffer.from(spec, 'base64'));
  if (isRefusal(now)) return now;
  if (!before || before.runAs !== now.runAs) return refused(waits ? GRANTED_OTHERWISE : WITH_OTHER_RIGHTS);
  return waits && !isSame(before, now) ? refused(GRANTED_OTHERWISE) : undefined;
}

function isSame(a: Grant, b: Grant): boolean {
  const rights = (each: Grant) => encodeGrant({ ...each, policyRev: 0, source: undefined });
  return rights(a).equals(rights(b));
}

async function ask(gate: KeeperGate, what: string, body: object): Promise<unknown> {
  const answer = await gate.ask((opId) => ({ type: 'ASK', alias: 0, opId, what, body: JSON.stringify(body) }));
  return answer.type === 'ANSWER' && answer.body !== undefined ? JSON.parse(answer.body) : {};
}
