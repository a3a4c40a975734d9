/** What a policy is asked, what it must know of the machine, and its answer. */
import type { Grant, Spec } from '../protocol/messages.js';
import type { Verb } from './rules.js';

/** What a caller wants. */
export interface Request {
  readonly principal: string;
  readonly roles: readonly string[];
  /** Of a run it follows from `spec`: see verbOf. */
  readonly verb: Verb;
  /** The decoded spec, if a command is to start. */
  readonly spec?: Spec | undefined;
}

/** What a decision needs to know of the machine. */
export interface Machine {
  /** The agent's user. */
  readonly uid: number;
  account(name: string): Account | undefined;
  /** Whether a program can be changed by others, and what it is. The path has one character for each byte. */
  program(path: string): CheckedProgram | { readonly problem: string };
}

/** What lint needs to know besides. */
export interface LintMachine extends Machine {
  /** Names of an account's groups. */
  groups(account: string): readonly string[];
}

export interface Account {
  readonly name: string;
  readonly uid: number;
  /** @default not known */
  readonly home?: string | undefined;
}

/** A program that only root and the agent can have changed. */
export interface CheckedProgram {
  /** Without links, to be started by. */
  readonly path: Uint8Array;
  readonly device: number;
  /** The low 53 bits of the number, which is all of it on most file systems. */
  readonly inode: number;
}

/** What the keeper obeys; the agent adds where the caller's link comes from. */
export type Granted = Omit<Grant, 'source'>;

export interface Allowed {
  /** The rule's id. */
  readonly allow: string;
  /** The rule's line in the file; 0: an owner, of whom the rules do not speak. */
  readonly line: number;
  readonly grant: Granted;
}

export interface Denied {
  /** One sentence that the caller may read: it says nothing of the rules. */
  readonly deny: string;
  /** For owners: the rules that came nearest, the nearest first. Found when it is read. */
  readonly nearest: readonly Near[];
}

/** A rule that would have allowed a request, but for this. */
export interface Near {
  readonly rule: string;
  readonly line: number;
  readonly why: string;
}

export type Decision = Allowed | Denied;
