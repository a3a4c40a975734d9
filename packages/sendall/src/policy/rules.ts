/** The rules of a policy: who may do what, in the order of the file. */
import type { PathPattern, Pattern, Word } from './patterns.js';

/**
 * What a caller may want. `exec`, `sh` and `pty` start a command, `put` and `get` move files, `forward` connections; the
 * others concern the caller's own runs, or the agent.
 */
export const VERBS = [
  'exec',
  'sh',
  'pty',
  'put',
  'get',
  'signal',
  'attach',
  'observe',
  'list',
  'forget',
  'agent',
  'forward',
] as const;
/** What a caller may want of a host. */
export type Verb = (typeof VERBS)[number];
/** Those that start a command. */
export const STARTS = ['exec', 'sh', 'pty'] as const satisfies readonly Verb[];
/** Those that move files. */
export const MOVES = ['put', 'get'] as const satisfies readonly Verb[];

/** Whether a run with this verb moves files. */
export const movesFiles = (verb: string): boolean => MOVES.some((each) => each === verb);

/** The role that is asked nothing. */
export const OWNER = 'owner';

/** A variable that a caller may set. */
export interface Variable {
  /** Its name, or the beginning of it if `open`. */
  readonly name: Word;
  readonly open: boolean;
  /** Absent: any value. */
  readonly value?: Pattern | undefined;
}

/** What a run may use. Absent: no limit of the rule's. Bytes, milliseconds, counts. */
export interface RuleLimits {
  readonly timeoutMs?: number;
  readonly output?: number;
  readonly memory?: number;
  readonly cpuMs?: number;
  readonly files?: number;
  readonly processes?: number;
  /** Runs at one time under this rule. */
  readonly runs?: number;
  /** The largest file. */
  readonly size?: number;
}

export interface Rule {
  readonly id: string;
  /** Where it begins in the file. */
  readonly line: number;
  readonly principals: ReadonlySet<string>;
  readonly roles: ReadonlySet<string>;
  readonly verbs: ReadonlySet<Verb>;
  /** An absolute path. Without one the rule is about shell text, or starts nothing. */
  readonly program: Word | undefined;
  /** One for each argument. */
  readonly args: readonly Pattern[];
  /** Further arguments. */
  readonly rest: { readonly each: Pattern; readonly max: number } | undefined;
  /** Of put and get: the files. */
  readonly paths: readonly PathPattern[];
  readonly runAs: string | undefined;
  readonly env: readonly Variable[];
  /** Folders besides the account's home. */
  readonly cwd: readonly Word[];
  readonly stdin: boolean;
  readonly pty: boolean;
  readonly limits: RuleLimits;
  /** The program may run as root for a caller who is no owner. */
  readonly trustsProgram: boolean;
}

export const basenameOf = (path: Word): Word => path.slice(path.lastIndexOf('/') + 1);

/** The rules of one state of the policy file, found fast by what is asked. */
export class Policy {
  /** Counts the states of the file; 0: there is none. */
  readonly rev: number;
  /** Of the file, in hex; empty: there is none. */
  readonly sha256: string;
  readonly rules: readonly Rule[];
  readonly #byProgram = new Map<Word, Rule[]>();
  readonly #forText: Rule[] = [];
  readonly #byVerb = new Map<Verb, Rule[]>();

  constructor(rules: readonly Rule[] = [], { rev = 0, sha256 = '' } = {}) {
    this.rev = rev;
    this.sha256 = sha256;
    this.rules = rules;
    for (const rule of rules) {
      if (rule.program === undefined && !rule.paths.length) this.#forText.push(rule);
      if (rule.program !== undefined)
        for (const name of new Set([rule.program, basenameOf(rule.program)])) add(this.#byProgram, name, rule);
      for (const verb of rule.verbs) add(this.#byVerb, verb, rule);
    }
  }

  /** Rules for a program, by its path or its last part. */
  forProgram(name: Word): readonly Rule[] {
    return this.#byProgram.get(name) ?? [];
  }

  /** Rules without a program and without paths. */
  get forText(): readonly Rule[] {
    return this.#forText;
  }

  forVerb(verb: Verb): readonly Rule[] {
    return this.#byVerb.get(verb) ?? [];
  }
}

function add<K>(map: Map<K, Rule[]>, key: K, rule: Rule): void {
  const list = map.get(key);
  if (list) list.push(rule);
  else map.set(key, [rule]);
}
