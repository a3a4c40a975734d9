/**
 * Decides what a caller may do here: owners everything, others what the policy allows, and by default nothing. Asked
 * where runs are opened and attached to, where operations on them come from callers, and for questions.
 */
import { ProtocolError } from '../errors.js';
import { decodeSpec } from '../protocol/codec.js';
import { OWNER, type Grant, type Spec } from '../protocol/messages.js';
import type { Principal } from './origin.js';

/** What a caller may want. `exec`, `sh` and `pty` start a command; the others concern its own runs, or the agent. */
export type Verb =
  | 'exec'
  | 'sh'
  | 'pty'
  | 'put'
  | 'get'
  | 'signal'
  | 'attach'
  | 'observe'
  | 'list'
  | 'forget'
  | 'agent'
  | 'forward';

/** A question to the policy. */
export interface Request {
  readonly principal: string;
  readonly roles: readonly string[];
  readonly verb: Verb;
  /** The decoded spec, if a command is to start. */
  readonly spec?: Spec | undefined;
}

/** Its answer: what it grants, or one sentence that the caller may read. */
export type Decision = { readonly grant: Grant } | { readonly deny: string };

/** The policy, as admission asks it. Owners are not asked about. */
export interface Rulebook {
  /** Counts its states; 0: there is none. */
  readonly rev: number;
  /** The agent can give commands a user that cannot reach it. Without that, it serves owners only. */
  readonly isRoot: boolean;
  decide(request: Request): Decision;
}

/** Without a policy, others than owners may do nothing. */
export const NO_RULES: Rulebook = {
  rev: 0,
  isRoot: process.getuid?.() === 0,
  decide: ({ principal, verb }) => ({ deny: `no rule lets ${principal} ${verb}: this machine has no policy` }),
};

/** Why a caller may not do something, as REFUSED says it. */
export interface Refusal {
  readonly code: 'policy' | 'badspec';
  readonly message: string;
}

/** What every owner is granted, whatever it asks for. */
const TO_OWNERS: Grant = Object.freeze({ rule: OWNER, policyRev: 0 });
/** Bytes of a command and its environment that others than owners may send. It is looked at again when rules change. */
const LARGEST_SPEC = 256 * 1024;

/** Verbs that include another one: who may start commands may come back to its own, after a lost link for example. */
const INCLUDED_IN: { readonly [V in Verb]?: readonly Verb[] } = {
  attach: ['exec', 'sh', 'pty'],
  observe: ['attach', 'exec', 'sh', 'pty'],
};

export const isOwner = ({ roles }: Principal): boolean => roles.includes(OWNER);
export const isRefusal = (answer: Grant | Refusal): answer is Refusal => 'code' in answer;

/** The verb of a run. A terminal comes before how its command is given. */
export const verbOf = ({ pty, verb }: Spec): Verb => (pty ? 'pty' : verb === 'sh' ? 'sh' : 'exec');

/** Decides on a verb that starts nothing. */
export function admit(rules: Rulebook, principal: Principal, verb: Verb): Grant | Refusal {
  if (isOwner(principal)) return TO_OWNERS;
  const { name, roles } = principal;
  const first = rules.decide({ principal: name, roles, verb });
  if ('grant' in first) return first.grant;
  for (const other of INCLUDED_IN[verb] ?? []) {
    const decision = rules.decide({ principal: name, roles, verb: other });
    if ('grant' in decision) return decision.grant;
  }
  return { code: 'policy', message: first.deny };
}

/** Decides on a command, from its encoded spec. An owner's is not decoded. */
export function admitRun(rules: Rulebook, principal: Principal, rawSpec: Uint8Array): Grant | Refusal {
  if (isOwner(principal)) return TO_OWNERS;
  if (rawSpec.length > LARGEST_SPEC)
    return {
      code: 'policy',
      message: `the command and its environment are ${rawSpec.length} bytes, and callers who are no owners may send ${LARGEST_SPEC}`,
    };
  let spec: Spec;
  try {
    spec = decodeSpec(rawSpec);
  } catch (error) {
    if (error instanceof ProtocolError) return { code: 'badspec', message: error.message };
    throw error;
  }
  const { name, roles } = principal;
  const decision = rules.decide({ principal: name, roles, verb: verbOf(spec), spec });
  return 'grant' in decision ? decision.grant : { code: 'policy', message: decision.deny };
}

/** What goes to the keeper with OPEN: nothing for owners, whose runs nothing restricts. */
export const grantForKeeper = (grant: Grant, source: string | undefined): Grant | undefined =>
  grant === TO_OWNERS ? undefined : { ...grant, source };
