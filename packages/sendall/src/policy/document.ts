/** A policy in a program: its text checked, its rules as data, and decisions on requests, for tests of one's rules. */
import { decide, verbOf } from './match.js';
import { ruleText, type RuleText } from './rule-text.js';
import { parsePolicy } from './parse.js';
import type { Machine, Near } from './request.js';
import { movesFiles, type Verb } from './rules.js';

/** What a caller would ask of a host. */
export interface PolicyRequest {
  /** The caller's name there. */
  readonly principal: string;
  /** @default [] */
  readonly roles?: readonly string[];
  /** @default 'exec' with `argv`, else 'sh' with `script` */
  readonly verb?: Verb;
  /** The program and its arguments; for put and get, the paths on the host. */
  readonly argv?: readonly (string | Uint8Array)[];
  /** Shell text. */
  readonly script?: string | Uint8Array;
  /** @default the account's home */
  readonly cwd?: string | Uint8Array;
  /** @default {} */
  readonly env?: Readonly<Record<string, string | Uint8Array>>;
  /** The account to run as. @default the rule's */
  readonly runAs?: string;
  /** With input. @default false */
  readonly stdin?: boolean;
  /** On a terminal. @default false */
  readonly pty?: boolean;
}

/** What a policy says of a request. */
export interface PolicyVerdict {
  readonly decision: 'allow' | 'deny';
  /** The rule that allows it, and its line. */
  readonly rule: string | undefined;
  readonly line: number | undefined;
  /** Of a denial: the rules that came nearest, the nearest first, each with what it does not allow. */
  readonly nearest: readonly Near[];
}

/** A policy whose text was checked. */
export interface PolicyDocument {
  /** Of the text, in hex. */
  readonly sha256: string;
  readonly rules: readonly RuleText[];
  /** Decides by the rules alone: accounts and programs are taken to be on the host, and safe. */
  decide(request: PolicyRequest): PolicyVerdict;
}

/** A host where all is as it should be. */
const goodHost: Machine = {
  uid: 0,
  account: (name) => ({ name, uid: name === 'root' ? 0 : 1 }),
  program: (path) => ({ path: Buffer.from(path, 'latin1'), device: 0, inode: 0 }),
};

const bytesOf = (word: string | Uint8Array): Uint8Array => (typeof word === 'string' ? Buffer.from(word) : word);

/** Checks a policy's text. @throws PolicyError with all mistakes. */
export function readDocument(text: string | Uint8Array): PolicyDocument {
  const policy = parsePolicy(bytesOf(text), 'policy');
  return {
    sha256: policy.sha256,
    rules: policy.rules.map(ruleText),
    decide(request) {
      const decision = decide(policy, requestOf(request), goodHost);
      return 'allow' in decision
        ? { decision: 'allow', rule: decision.allow, line: decision.line, nearest: [] }
        : { decision: 'deny', rule: undefined, line: undefined, nearest: decision.nearest };
    },
  };
}

function requestOf(asked: PolicyRequest) {
  const { principal, roles = [], argv = [], script, cwd, env = {}, runAs, stdin = false, pty = false } = asked;
  const { verb = script === undefined ? 'exec' : 'sh' } = asked;
  const moves = movesFiles(verb);
  if (verb !== 'exec' && verb !== 'sh' && verb !== 'pty' && !moves) return { principal, roles, verb };
  const spec = {
    verb: moves ? verb : script === undefined ? 'exec' : 'sh',
    argv: argv.map(bytesOf),
    script: script === undefined ? undefined : bytesOf(script),
    cwd: cwd === undefined ? undefined : bytesOf(cwd),
    env: Object.entries(env).map(([name, value]) => Buffer.concat([Buffer.from(`${name}=`), bytesOf(value)])),
    runAs,
    stdin: stdin || moves,
    pty: pty || verb === 'pty' ? { cols: 80, rows: 24 } : undefined,
    tags: [],
    secrets: [],
  };
  return { principal, roles, verb: verbOf(spec), spec };
}
