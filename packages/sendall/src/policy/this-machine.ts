/** What a decision needs to know of this machine: its accounts and its programs. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { stampOf } from '../files/stamp.js';
import { Programs } from './programs.js';
import type { Account, LintMachine } from './request.js';

const PASSWD = '/etc/passwd';
/** Milliseconds between looks at whether it has changed. The keeper looks again when it starts a command. */
const LOOK_MS = 100;
/** Milliseconds that an account of a directory service, or its absence, is remembered. */
const REMEMBERED_MS = 60_000;
/** Accounts of a directory service that are remembered: rules name few. */
const MOST_REMEMBERED = 1000;
/** Milliseconds that a directory service may take. */
const PATIENCE = 2000;

/** This machine, seen by an agent of user `uid`. */
export class ThisMachine implements LintMachine {
  readonly uid: number;
  readonly #programs: Programs;
  #stamp: string | undefined;
  #lookAgainMs = 0;
  #local = new Map<string, Account>();
  readonly #others = new Map<string, { readonly account: Account | undefined; readonly untilMs: number }>();

  constructor(uid: number = process.geteuid?.() ?? -1) {
    this.uid = uid;
    this.#programs = new Programs(uid);
  }

  /** An account by its name: from the password file, else from where else this machine looks. */
  account(name: string): Account | undefined {
    if (performance.now() >= this.#lookAgainMs) this.#look();
    return this.#local.get(name) ?? this.#other(name);
  }

  #look(): void {
    const stamp = stampOf(PASSWD);
    if (stamp !== this.#stamp) this.#local = accountsIn(readFileSync(PASSWD, 'utf8'));
    this.#stamp = stamp;
    this.#lookAgainMs = performance.now() + LOOK_MS;
  }

  program(path: string) {
    return this.#programs.check(path);
  }

  /** The account's groups, as id(1) finds them. */
  groups(account: string): readonly string[] {
    return lookUp('id', ['-Gn', '--', account]).trim().split(/\s+/).filter(Boolean);
  }

  #other(name: string): Account | undefined {
    const remembered = this.#others.get(name);
    if (remembered && performance.now() < remembered.untilMs) return remembered.account;
    const account = accountsIn(lookUp('getent', ['passwd', '--', name])).get(name);
    if (this.#others.size >= MOST_REMEMBERED) this.#others.clear();
    this.#others.set(name, { account, untilMs: performance.now() + REMEMBERED_MS });
    return account;
  }
}

/** Accounts by name; the first of a name counts. Source: passwd(5). */
function accountsIn(text: string): Map<string, Account> {
  const accounts = new Map<string, Account>();
  for (const line of text.split('\n')) {
    const [name, , uid, , , home] = line.split(':');
    if (name && uid && /^\d+$/.test(uid) && !accounts.has(name)) accounts.set(name, { name, uid: Number(uid), home });
  }
  return accounts;
}

/** What a program of the system says; nothing if it fails, or is not there. */
function lookUp(program: string, words: readonly string[]): string {
  try {
    return execFileSync(program, words, { encoding: 'utf8', timeout: PATIENCE, stdio: ['ignore', 'pipe', 'ignore'] });
  } catch {
    return '';
  }
}
