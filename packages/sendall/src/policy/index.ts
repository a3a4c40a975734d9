/** The door of the policy for the agent: who may do what on this machine. */
export { decide, verbOf } from './match.js';
export type { Account, Allowed, CheckedProgram, Decision, Denied, Granted, Machine, Near, Request } from './request.js';
export { OWNER, Policy, VERBS, type Rule, type Verb } from './rules.js';
