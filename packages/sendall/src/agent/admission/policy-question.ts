/**
 * What `sendall policy test` asks: how the agent's policy would decide. Owners ask about any caller, and learn which rules
 * came nearest. Others ask about themselves, and learn no more than a try would tell them, and the name of their rule.
 */
import { ProtocolError, RefusedError } from '../../errors.js';
import { encodeSpec } from '../../protocol/codec.js';
import type { Spec } from '../../protocol/messages.js';
import { verbOf } from '../../policy/match.js';
import type { PolicyFile } from '../../policy/policy-file.js';
import type { Decision, Near, Request } from '../../policy/request.js';
import { movesFiles, OWNER, VERBS, type Verb } from '../../policy/rules.js';
import type { PolicyAnswer } from '../../policy/told-decision.js';
import type { Principal } from '../callers/origin.js';
import { isOwner, readSpec, whyTooLong } from './admission.js';

/** Words, variables and names of secrets of a question in words. */
const MOST_WORDS = 10_000;

/** The question: what a run would say. Bytes are base64. */
export interface PolicyQuestion {
  /** A principal, or role:NAME for any principal with that role alone. Absent: the asker itself. */
  readonly user?: string;
  /** The encoded spec of a run, which answers exactly for that run. Absent: what follows tells of one. */
  readonly spec?: string;
  /** Absent only beside `spec`. */
  readonly verb?: string;
  /** Words of a command, or paths for put and get. */
  readonly argv?: readonly string[];
  readonly script?: string;
  readonly cwd?: string;
  readonly env?: readonly string[];
  readonly runAs?: string;
  readonly stdin?: boolean;
  readonly pty?: boolean;
  /** Names of secrets. */
  readonly secrets?: readonly string[];
  /** "fd" or "env". */
  readonly secretAs?: string;
  /** Bytes, milliseconds and counts. */
  readonly limits?: { readonly [name in 'memory' | 'cpu' | 'files' | 'processes']?: number };
}

/** Decides as for a caller. `rolesOf`: the roles of a principal that has keys here. */
export function answerPolicy(
  policy: PolicyFile,
  body: unknown,
  asker: Principal,
  rolesOf: (principal: string) => readonly string[] | undefined,
): PolicyAnswer {
  const question = checkQuestion(body);
  const { user = asker.name } = question;
  const forOwner = isOwner(asker);
  if (!forOwner && user !== asker.name)
    throw new RefusedError(`the policy is shown to owners only: ${asker.name} may ask about ${asker.name}`);
  const who = whoIs(user, user === asker.name ? () => asker.roles : rolesOf);
  // What an owner sends is not looked at.
  const what = who.roles.includes(OWNER) ? { verb: 'exec' as const } : whatIn(question);
  if (typeof what === 'string') return denial(what);
  const request: Request = { ...who, ...what };
  const answer = answerOf(policy.decide(request), request, forOwner);
  const { problem } = policy;
  // A broken file decides on all that would start.
  return forOwner && problem && request.spec && answer.decision === 'deny'
    ? { ...answer, sentence: `${answer.sentence}: ${problem.message}` }
    : answer;
}

function checkQuestion(body: unknown): PolicyQuestion {
  const question = (typeof body === 'object' && body ? body : {}) as Record<string, unknown>;
  const isText = (value: unknown) => typeof value === 'string';
  const isTexts = (value: unknown) => Array.isArray(value) && value.every(isText);
  const isFlag = (value: unknown) => typeof value === 'boolean';
  const isCounts = (value: unknown) =>
    typeof value === 'object' &&
    value !== null &&
    Object.values(value).every((count) => Number.isSafeInteger(count) && (count as number) >= 0);
  const kinds = {
    user: isText,
    spec: isText,
    verb: isText,
    argv: isTexts,
    script: isText,
    cwd: isText,
    env: isTexts,
    runAs: isText,
    stdin: isFlag,
    pty: isFlag,
    secrets: isTexts,
    secretAs: (value: unknown) => value === 'fd' || value === 'env',
    limits: isCounts,
  };
  for (const [name, is] of Object.entries(kinds)) {
    const isMissing = question[name] === undefined;
    if (!isMissing && !is(question[name])) throw new ProtocolError(`the question about the policy has no good ${name}`);
  }
  if (question.spec === undefined && !VERBS.includes(question.verb as Verb))
    throw new ProtocolError('the question about the policy has no good verb');
  return question as unknown as PolicyQuestion;
}

const bytesOf = (text: string): Buffer => Buffer.from(text, 'base64');

const whoIs = (user: string, rolesOf: (principal: string) => readonly string[] | undefined) => ({
  principal: user,
  roles: user.startsWith('role:') ? [user.slice(5)] : (rolesOf(user) ?? []),
});

/** What is wanted, or why only an owner may want it. */
function whatIn(question: PolicyQuestion): Pick<Request, 'verb' | 'spec'> | string {
  if (question.spec !== undefined) {
    const spec = readSpec(bytesOf(question.spec));
    return 'code' in spec ? spec.message : { verb: verbOf(spec), spec };
  }
  const { verb = '', argv = [], script, cwd, env = [], runAs, stdin = false, pty = false } = question;
  const { secrets = [], secretAs = 'fd', limits } = question;
  const words = argv.length + env.length + secrets.length;
  if (words > MOST_WORDS)
    throw new ProtocolError(
      `the question about the policy has ${words} words, and at most ${MOST_WORDS} are looked at`,
    );
  const moves = movesFiles(verb);
  if (verb !== 'exec' && verb !== 'sh' && verb !== 'pty' && !moves) return { verb: verb as Verb };
  const isText = verb === 'sh' || (verb === 'pty' && !argv.length);
  const spec: Spec = {
    verb: moves ? verb : isText ? 'sh' : 'exec',
    argv: argv.map(bytesOf),
    script: isText ? bytesOf(script ?? '') : undefined,
    cwd: cwd === undefined ? undefined : bytesOf(cwd),
    env: env.map(bytesOf),
    runAs,
    stdin: stdin || moves,
    pty: pty || verb === 'pty' ? { cols: 80, rows: 24 } : undefined,
    tags: [],
    secrets: secrets.map((name) => ({ name, as: secretAs })),
    limits: limits && { memory: limits.memory, cpuMs: limits.cpu, files: limits.files, processes: limits.processes },
  };
  return whyTooLong(encodeSpec(spec))?.message ?? { verb: verbOf(spec), spec };
}

const denial = (sentence: string, nearest: readonly Near[] = []): PolicyAnswer => ({
  decision: 'deny',
  sentence,
  rule: null,
  line: null,
  program: null,
  runAs: null,
  nearest,
});

function answerOf(decision: Decision, { principal }: Request, forOwner: boolean): PolicyAnswer {
  if ('deny' in decision) return denial(decision.deny, forOwner ? decision.nearest : []);
  const { allow: rule, line, grant } = decision;
  const program = grant.program ? Buffer.from(grant.program).toString() : null;
  const runAs = grant.runAs ?? null;
  const as = [program && `starts ${program}`, runAs && `as ${runAs}`].filter(Boolean).join(' ');
  const place = forOwner ? ` (policy.yaml:${line})` : '';
  const sentence = line ? `${rule}${place}${as && ` ${as}`}` : `${principal} is an owner, and owners are not asked`;
  return { decision: 'allow', sentence, rule, line: (forOwner && line) || null, program, runAs, nearest: [] };
}
