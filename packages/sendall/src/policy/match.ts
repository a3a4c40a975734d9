/** Decides whether a caller may do what it asks for: by default not; the first rule that allows it counts. */
import { printable } from '../text/printable.js';
import type { Spec } from '../protocol/messages.js';
import { bytesOfWord, folderOf, matches, wordOf } from './patterns.js';
import type { Account, CheckedProgram, Decision, Denied, Granted, Machine, Near, Request } from './request.js';
import { movesFiles, MOVES, OWNER, STARTS, type Policy, type Rule, type Verb } from './rules.js';
import {
  areArgsAllowed,
  FOR_OWNERS,
  whyNoRule,
  whyNotRule,
  wordsAllowed,
  type ReadSpec,
  type Why,
} from './spec-fields.js';

/** Nearest rules that a denial names. */
const MAX_NEAREST = 3;

/** Verbs that start something. Who may do that may come back to its own runs, after a lost link for example. */
const RUNS: readonly Verb[] = [...STARTS, ...MOVES, 'forward'];
/** Verbs that include another one. */
const includedIn: { readonly [V in Verb]?: readonly Verb[] } = {
  attach: RUNS,
  observe: ['attach', ...RUNS],
};

/** The verb of a run: a terminal comes before how it is started. */
export const verbOf = ({ pty, verb }: Spec): Verb => (pty ? 'pty' : (RUNS.find((each) => each === verb) ?? 'exec'));

/** A decision about an owner. */
const ownerAllowed: Decision = { allow: OWNER, line: 0, grant: { rule: OWNER, policyRev: 0 } };

/** Why a rule does not allow a request, and how much of it did. */
interface Mismatch {
  readonly rank: number;
  readonly why: Why;
}
type Verdict = Mismatch | { readonly grant: Granted };

const RANK = { who: 0, verb: 1, fields: 2, account: 100, program: 101 } as const;

/** Decides on a request. */
export function decide(policy: Policy, request: Request, machine: Machine): Decision {
  if (request.roles.includes(OWNER)) return ownerAllowed;
  const { spec } = request;
  if (!spec) {
    const rule = ruleFor(policy, request);
    if (rule) return { allow: rule.id, line: rule.line, grant: { rule: rule.id, policyRev: policy.rev } };
    return denied(policy, request, undefined, machine);
  }
  const read: ReadSpec = { spec, argv: spec.argv.map(wordOf) };
  if (machine.uid === 0 && !whyNoRule(spec))
    for (const rule of rulesFor(policy, read)) {
      // Most rules for a program differ in its arguments: these are the quickest to tell apart.
      if ((rule.program !== undefined && !areArgsAllowed(read.argv, rule)) || !isFor(rule, request)) continue;
      const verdict = judge(policy, rule, read, machine);
      if ('grant' in verdict) return { allow: rule.id, line: rule.line, grant: verdict.grant };
    }
  return denied(policy, request, read, machine);
}

/** The rules that could be about a run. */
function rulesFor(policy: Policy, { spec, argv }: ReadSpec): readonly Rule[] {
  if (spec.verb === 'sh') return policy.forText;
  return spec.verb === 'exec' ? policy.forProgram(argv[0] ?? '') : policy.forVerb(verbOf(spec));
}

/** The rule for a verb that starts nothing. */
function ruleFor(policy: Policy, request: Request): Rule | undefined {
  const { verb } = request;
  if (RUNS.includes(verb)) return undefined;
  for (const each of [verb, ...(includedIn[verb] ?? [])]) {
    const rule = policy.forVerb(each).find((candidate) => isFor(candidate, request));
    if (rule) return rule;
  }
  return undefined;
}

const isFor = (rule: Rule, { principal, roles }: Request): boolean =>
  rule.principals.has(principal) || roles.some((role) => rule.roles.has(role));

/** What a rule that is for the caller says of a run. */
function judge(policy: Policy, rule: Rule, read: ReadSpec, machine: Machine): Verdict {
  const wrong = whyNotRule(read, rule);
  if (wrong) return { rank: RANK.fields + wrong.place, why: wrong.why };
  const account = accountOf(rule, machine);
  if (typeof account === 'string') return { rank: RANK.account, why: () => account };
  if (rule.program === undefined) return { grant: grantOf(policy, rule, undefined, transferOf(read, rule)) };
  const program = machine.program(rule.program);
  if ('problem' in program) return { rank: RANK.program, why: () => program.problem };
  return { grant: grantOf(policy, rule, program) };
}

/** The account a run gets, or why it gets none: it must not reach the agent, which is root. */
export function accountOf(rule: Rule, machine: Machine): Account | string {
  if (rule.runAs === undefined) return "it has no run-as, and the agent's user is for owners only";
  const account = machine.account(rule.runAs);
  if (!account) return `this machine has no user "${rule.runAs}"`;
  if ((account.uid === 0 || account.uid === machine.uid) && !rule.trustsProgram)
    return `${rule.runAs} is root, which is for owners only unless the rule says trusts-program`;
  return account;
}

/** The folders that files may be in, one for each word that names one. */
function transferOf({ spec, argv }: ReadSpec, { paths, limits }: Rule): Granted['transfer'] {
  if (!movesFiles(spec.verb)) return undefined;
  const folders = argv.map((word) => folderOf(paths.find((path) => matches(path, word))!));
  return { roots: [...new Set(folders)].map(bytesOfWord), maxSize: limits.size };
}

function grantOf(
  policy: Policy,
  rule: Rule,
  program: CheckedProgram | undefined,
  transfer?: Granted['transfer'],
): Granted {
  const { timeoutMs, output, runs, memory, cpuMs, files, processes } = rule.limits;
  return {
    rule: rule.id,
    policyRev: policy.rev,
    program: program?.path,
    device: program?.device,
    inode: program?.inode,
    runAs: rule.runAs,
    trustsProgram: rule.trustsProgram || undefined,
    limits: [memory, cpuMs, files, processes].some((limit) => limit !== undefined)
      ? { memory, cpuMs, files, processes }
      : undefined,
    timeoutMs,
    output,
    runs,
    transfer,
  };
}

function denied(policy: Policy, request: Request, read: ReadSpec | undefined, machine: Machine): Denied {
  let nearest: readonly Near[] | undefined;
  return {
    deny: why(request, machine),
    get nearest() {
      return (nearest ??= nearestRules(policy, request, read, machine));
    },
  };
}

/** What no rule can allow. */
const isForward = ({ verb, spec }: Request): boolean => (spec?.verb ?? verb) === 'forward';

function why(request: Request, machine: Machine): string {
  const { principal, spec } = request;
  if (spec?.accountShell) return FOR_OWNERS;
  if (isForward(request)) return 'connections are forwarded for owners';
  if (spec && machine.uid !== 0)
    return `this agent is not root, so it runs commands for owners only: ${what(request)} was refused`;
  return `no rule lets ${printable(principal, 64)} ${what(request)}`;
}

/** What is asked for, in words. */
function what({ verb, spec }: Request): string {
  if (!spec) return verb === 'agent' ? 'ask the agent' : verb;
  if (spec.verb === 'sh') return `${verbOf(spec)} shell text`;
  const words = spec.argv.map((word) => printable(Buffer.from(word).toString(), 80));
  return [verbOf(spec), ...words.slice(0, 20), ...(words.length > 20 ? ['…'] : [])].join(' ');
}

/** The rules that came nearest to allow a request, each with what it does not allow. */
function nearestRules(policy: Policy, request: Request, read: ReadSpec | undefined, machine: Machine): Near[] {
  if (isForward(request)) return [];
  const found: (Mismatch & { readonly rule: Rule })[] = [];
  for (const rule of policy.rules) {
    const { rank, why } = whyNot(policy, rule, request, read, machine);
    if (found.length === MAX_NEAREST && rank <= found.at(-1)!.rank) continue;
    found.push({ rule, rank, why });
    found.sort((a, b) => b.rank - a.rank);
    found.length = Math.min(found.length, MAX_NEAREST);
  }
  return found.map(({ rule: { id, line }, why }) => ({ rule: id, line, why: why() }));
}

function whyNot(policy: Policy, rule: Rule, request: Request, read: ReadSpec | undefined, machine: Machine): Mismatch {
  if (!isFor(rule, request)) {
    const who = [...rule.principals, ...[...rule.roles].map((role) => `role:${role}`)].join(', ');
    return { rank: RANK.who, why: () => `it is for ${who}` };
  }
  const general = read && whyNoRule(read.spec);
  if (general) return { rank: RANK.verb, why: general };
  if (!read) return { rank: RANK.verb, why: () => `it does not allow ${request.verb}` };
  if (machine.uid !== 0) return { rank: RANK.verb, why: () => 'this agent is not root' };
  const verdict = judge(policy, rule, read, machine);
  // Not reached: such a rule would have allowed it.
  if ('grant' in verdict) return { rank: RANK.program, why: () => 'it allows this' };
  // Of rules that differ in words, the one that allows more of them is nearer.
  return { ...verdict, rank: verdict.rank + wordsAllowed(read, rule) };
}
