/**
 * What stands before a command's own words: setpriv, which gives up root for good, and prlimit, which sets limits. Both
 * are of util-linux, and each becomes the next program. The keeper itself never is another user for longer than it takes
 * to open files, and never has a command's limits: it could neither run as that user safely nor raise its limits again.
 */
import type { Limits } from '../../protocol/messages.js';
import { RLIMIT_NOFILE } from '../../started.js';
import { RLIMIT_CPU } from '../system/inheritance.js';
import type { Native, UserAccount } from '../system/native.js';
import { StartFailure } from '../system/program.js';

const SETPRIV = '/usr/bin/setpriv';
const PRLIMIT = '/usr/bin/prlimit';
/** AT_FDCWD. */
const HERE = -100;

/**
 * Variables by which a user's files would get into setpriv while it is root. Source: ld.so(8), secure-execution mode.
 */
const LOADS_CODE = /^(?:LD_\w+|GLIBC_TUNABLES|GCONV_PATH|LOCPATH|NLSPATH|MALLOC_\w+)=/;

/** Whom a command becomes. */
export interface Becoming {
  readonly user: UserAccount;
  /** The caller is no owner: neither set-user-id programs nor capabilities of files may give more than the user has. */
  readonly granted: boolean;
}

/**
 * The words before those of a command; none where it needs no other program.
 * @throws StartFailure where a program is missing, or a variable would harm one.
 */
export function prefixOf(
  native: Native,
  becoming: Becoming | undefined,
  limits: Limits | undefined,
  env: readonly Uint8Array[],
): string[] {
  return [...(becoming ? toBecome(native, becoming, env) : []), ...toLimit(native, limits)];
}

function toBecome(native: Native, { user, granted }: Becoming, env: readonly Uint8Array[]): string[] {
  if (!isThere(native, SETPRIV))
    throw new StartFailure('policy', 'commands of another user need setpriv (of util-linux) on the host');
  const loaded = env.map((pair) => Buffer.from(pair).toString('latin1')).find((pair) => LOADS_CODE.test(pair));
  if (loaded !== undefined) {
    const [name] = loaded.split('=', 1);
    throw new StartFailure(
      'policy',
      `${name} would be obeyed before root is given up: have the user's own command set it (env ${name}=… PROGRAM)`,
    );
  }
  const isRoot = user.uid === 0;
  return [
    SETPRIV,
    `--reuid=${user.uid}`,
    `--regid=${user.gid}`,
    // Not --init-groups: setpriv would ask for them as root, with the command's variables.
    `--groups=${user.groups.join(',') || user.gid}`,
    ...(isRoot ? [] : ['--inh-caps=-all']),
    ...(granted ? ['--no-new-privs'] : []),
    // An owner's command may become root by sudo, as after a login.
    ...(granted && !isRoot ? ['--bounding-set=-all'] : []),
    '--',
  ];
}

function toLimit(native: Native, { cpuMs, files }: Limits = {}): string[] {
  if (cpuMs === undefined && files === undefined) return [];
  if (!isThere(native, PRLIMIT))
    throw new StartFailure('limits', 'limits on processor time and files need prlimit (of util-linux) on the host');
  const words = [PRLIMIT];
  // SIGXCPU, and SIGKILL a second later. Never more than the system allows anyway.
  if (cpuMs !== undefined) {
    const hard = native.hardLimit(RLIMIT_CPU);
    const seconds = cpuSeconds(cpuMs);
    words.push(`--cpu=${least(seconds, hard)}:${least(seconds + 1, hard)}`);
  }
  if (files !== undefined) {
    const most = least(files, native.hardLimit(RLIMIT_NOFILE));
    words.push(`--nofile=${most}:${most}`);
  }
  return [...words, '--'];
}

/** The kernel counts whole seconds. */
export const cpuSeconds = (cpuMs: number): number => Math.ceil(cpuMs / 1000);

const least = (wanted: number, most: bigint): bigint => (BigInt(wanted) < most ? BigInt(wanted) : most);

const isThere = (native: Native, path: string): boolean => native.executable(HERE, Buffer.from(`${path}\0`)) === 0;
