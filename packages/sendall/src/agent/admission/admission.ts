/**
 * Decides what a caller may do here: owners everything, others what the policy allows, and by default nothing. Asked
 * where runs are opened and attached to, where operations on them come from callers, and for questions.
 */
import { ProtocolError } from '../../errors.js';
import { decodeSpec, encodeSpec } from '../../protocol/codec.js';
import type { Grant, Spec } from '../../protocol/messages.js';
import { verbOf } from '../../policy/match.js';
import type { PolicyFile } from '../../policy/policy-file.js';
import type { Request, Decision } from '../../policy/request.js';
import { OWNER, type Verb } from '../../policy/rules.js';
import type { Principal } from '../callers/origin.js';

/** Why a caller may not do something, as REFUSED says it. */
export interface Refusal {
  readonly code: 'policy' | 'badspec';
  readonly message: string;
}

/** What every owner is granted, whatever it asks for. */
const TO_OWNERS: Grant = Object.freeze({ rule: OWNER, policyRev: 0 });
/** Bytes of a command and its environment that others than owners may send. It is looked at again when rules change. */
const LARGEST_SPEC = 256 * 1024;

export const isOwner = ({ roles }: Principal): boolean => roles.includes(OWNER);
export const isRefusal = (answer: Grant | Refusal): answer is Refusal => 'code' in answer;

/** Decides on a verb that starts nothing. */
export function admit(policy: PolicyFile, principal: Principal, verb: Verb): Grant | Refusal {
  if (isOwner(principal)) return TO_OWNERS;
  const { name, roles } = principal;
  const decision = policy.decide({ principal: name, roles, verb });
  return 'grant' in decision ? decision.grant : { code: 'policy', message: decision.deny };
}

/** Decides on a command, from its encoded spec. An owner's is not decoded. */
export const admitRun = (policy: PolicyFile, principal: Principal, rawSpec: Uint8Array): Grant | Refusal =>
  isOwner(principal) ? TO_OWNERS : decideOn(rawSpec, principal, (request) => policy.decide(request));

/** Decides again on a run that was admitted before. */
export const reviewRun = (policy: PolicyFile, principal: Principal, rawSpec: Uint8Array): Grant | Refusal =>
  isOwner(principal) ? TO_OWNERS : decideOn(rawSpec, principal, (request) => policy.review(request));

function decideOn(
  rawSpec: Uint8Array,
  { name, roles }: Principal,
  decide: (request: Request) => Decision,
): Grant | Refusal {
  const spec = readSpec(rawSpec);
  if ('code' in spec) return spec;
  const decision = decide({ principal: name, roles, verb: verbOf(spec), spec });
  return 'grant' in decision ? decision.grant : { code: 'policy', message: decision.deny };
}

/** Why a spec is too long for others than owners; undefined: it is not. */
export function whyTooLong({ length }: Uint8Array): Refusal | undefined {
  if (length <= LARGEST_SPEC) return undefined;
  const message = `the command and its environment are ${length} bytes, and callers who are no owners may send ${LARGEST_SPEC}`;
  return { code: 'policy', message };
}

/** What others than owners send, or why it is not looked at. */
export function readSpec(rawSpec: Uint8Array): Spec | Refusal {
  const tooLong = whyTooLong(rawSpec);
  if (tooLong) return tooLong;
  let spec: Spec;
  try {
    spec = decodeSpec(rawSpec);
  } catch (error) {
    if (error instanceof ProtocolError) return { code: 'badspec', message: error.message };
    throw error;
  }
  // What this agent does not know, or reads otherwise, a keeper of another version could obey.
  if (encodeSpec(spec).length !== rawSpec.length)
    return { code: 'badspec', message: 'the spec has a field twice, or one that this agent does not know' };
  return spec;
}

/** What goes to the keeper with OPEN: nothing for owners, whose runs nothing restricts. */
export const grantForKeeper = (grant: Grant, source: string | undefined): Grant | undefined =>
  grant === TO_OWNERS ? undefined : { ...grant, source };
