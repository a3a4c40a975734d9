/** What `sendall policy test` asks: how the agent's policy would decide, and which rules came nearest. For owners. */
import { ProtocolError } from '../../errors.js';
import type { Spec } from '../../protocol/messages.js';
import { verbOf } from '../../policy/match.js';
import type { PolicyFile } from '../../policy/policy-file.js';
import type { Decision, Near, Request } from '../../policy/request.js';
import { movesFiles, VERBS, type Verb } from '../../policy/rules.js';

/** The question: what a run would say. Bytes are base64. */
export interface PolicyQuestion {
  /** A principal, or role:NAME for any principal with that role alone. */
  readonly user: string;
  readonly verb: string;
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

export interface PolicyAnswer {
  readonly decision: 'allow' | 'deny';
  /** What is decided, in a sentence. */
  readonly sentence: string;
  readonly rule: string | null;
  readonly line: number | null;
  readonly program: string | null;
  readonly runAs: string | null;
  readonly nearest: readonly Near[];
}

/** Decides as for a caller. `rolesOf`: the roles of a principal that has keys here. */
export function answerPolicy(
  policy: PolicyFile,
  body: unknown,
  rolesOf: (principal: string) => readonly string[] | undefined,
): PolicyAnswer {
  const question = checkQuestion(body);
  const request = requestOf(question, rolesOf);
  const answer = answerOf(policy.decide(request), request);
  const { problem } = policy;
  // A broken file decides on all that would start.
  return problem && request.spec && answer.decision === 'deny'
    ? { ...answer, sentence: `${answer.sentence}: ${problem.message}` }
    : answer;
}

function checkQuestion(body: unknown): PolicyQuestion {
  const question = (typeof body === 'object' && body ? body : {}) as Record<string, unknown>;
  const isText = (value: unknown) => typeof value === 'string';
  const isTexts = (value: unknown) => Array.isArray(value) && value.every(isText);
  const isFlag = (value: unknown) => typeof value === 'boolean';
  const isCounts = (value: unknown) =>
    typeof value === 'object' && value !== null && Object.values(value).every((count) => Number.isSafeInteger(count));
  const kinds = {
    user: isText,
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
    if (isMissing ? name === 'user' || name === 'verb' : !is(question[name]))
      throw new ProtocolError(`the question about the policy has no good ${name}`);
  }
  if (!VERBS.includes(question.verb as Verb)) throw new ProtocolError('the question about the policy has no good verb');
  return question as unknown as PolicyQuestion;
}

const bytesOf = (text: string): Buffer => Buffer.from(text, 'base64');

function requestOf(question: PolicyQuestion, rolesOf: (principal: string) => readonly string[] | undefined): Request {
  const { user, verb, argv = [], script, cwd, env = [], runAs, stdin = false, pty = false } = question;
  const { secrets = [], secretAs = 'fd', limits } = question;
  const role = user.startsWith('role:') ? user.slice(5) : undefined;
  const who = role === undefined ? { principal: user, roles: rolesOf(user) ?? [] } : { principal: user, roles: [role] };
  const moves = movesFiles(verb);
  if (verb !== 'exec' && verb !== 'sh' && verb !== 'pty' && !moves) return { ...who, verb: verb as Verb };
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
  return { ...who, verb: verbOf(spec), spec };
}

function answerOf(decision: Decision, { principal }: Request): PolicyAnswer {
  if ('deny' in decision) {
    const { deny: sentence, nearest } = decision;
    return { decision: 'deny', sentence, rule: null, line: null, program: null, runAs: null, nearest };
  }
  const { allow: rule, line, grant } = decision;
  const program = grant.program ? Buffer.from(grant.program).toString() : null;
  const runAs = grant.runAs ?? null;
  const as = [program && `starts ${program}`, runAs && `as ${runAs}`].filter(Boolean).join(' ');
  const sentence = line
    ? `${rule} (policy.yaml:${line})${as && ` ${as}`}`
    : `${principal} is an owner, and owners are not asked`;
  return { decision: 'allow', sentence, rule, line: line || null, program, runAs, nearest: [] };
}
