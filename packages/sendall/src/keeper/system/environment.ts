/** A command's environment is built anew: it inherits none of the keeper's variables. */
import { userInfo } from 'node:os';

/** Where commands are looked for, unless a caller says otherwise. */
export const STANDARD_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** The variable that marks every process of a run, so that they can be found without a cgroup. */
export const RUN_MARK = 'SENDALL_RUN';

export interface Account {
  readonly name: string;
  readonly home: string;
  readonly shell: string;
}

/** The account this process runs as. */
export function ownAccount(): Account {
  try {
    const { username, homedir, shell } = userInfo();
    return { name: username, home: homedir, shell: shell || '/bin/sh' };
  } catch {
    // A user without an entry in the password file, as in a container that runs under some number.
    return { name: String(process.getuid?.() ?? 'user'), home: process.env.HOME || '/', shell: '/bin/sh' };
  }
}

const bases = new WeakMap<Account, ReadonlyMap<string, Uint8Array>>();

/** What every command of an account gets. */
function baseOf(account: Account): ReadonlyMap<string, Uint8Array> {
  let base = bases.get(account);
  if (!base) {
    const values = {
      HOME: account.home,
      USER: account.name,
      LOGNAME: account.name,
      SHELL: account.shell,
      PATH: STANDARD_PATH,
      LANG: process.env.LANG || 'C.UTF-8',
    };
    base = new Map(Object.entries(values).map(([name, value]) => [name, pairOf(name, value)]));
    bases.set(account, base);
  }
  return base;
}

const pairOf = (name: string, value: string): Uint8Array => Buffer.from(`${name}=${value}`);
const nameOf = (pair: Uint8Array): string => Buffer.from(pair.subarray(0, pair.indexOf(0x3d))).toString('latin1');

/** An environment with these variables, whatever else it says of them. */
export function withVariables(pairs: readonly Uint8Array[], ours: readonly Uint8Array[]): Uint8Array[] {
  const names = new Set(ours.map(nameOf));
  return [...pairs.filter((pair) => !names.has(nameOf(pair))), ...ours];
}

/** Variables for a command: the account's, LANG, what the caller gave (the later wins), and the run's mark. */
export function buildEnvironment(
  account: Account,
  given: readonly Uint8Array[],
  runId: string,
  term: string | undefined,
): { pairs: Uint8Array[]; path: Buffer } {
  const variables = new Map(baseOf(account));
  if (term !== undefined) variables.set('TERM', pairOf('TERM', term));
  for (const pair of given) variables.set(nameOf(pair), pair);
  variables.set(RUN_MARK, pairOf(RUN_MARK, runId));
  const path = variables.get('PATH');
  return { pairs: [...variables.values()], path: path ? Buffer.from(path.subarray(5)) : Buffer.alloc(0) };
}
