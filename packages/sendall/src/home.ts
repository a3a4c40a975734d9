/** The folders of sendall: a single one when SENDALL_HOME is set, else the XDG base directories. */
import {
  closeSync,
  existsSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  type Stats,
} from 'node:fs';
import { homedir } from 'node:os';
import { dirname, isAbsolute, join, resolve } from 'node:path';
import { UsageError } from './errors.js';

/** The folders and files of one sendall installation. Source: XDG Base Directory Specification 0.8. */
export interface Home {
  /** Identity, pins, known hosts. */
  readonly config: string;
  /** Journal, spool, audit. */
  readonly state: string;
  /**
   * Sockets of agent and keeper. Usually the state folder, so that one state has one agent: XDG_RUNTIME_DIR differs
   * under cron and sudo, and is removed at logout. Another folder is used only if the path is too long for sockets.
   */
  readonly runtime: string;
  readonly agentSocket: string;
  readonly keeperSocket: string;
  /** The socket of the warm-links process. */
  readonly linksSocket: string;
  readonly identityFile: string;
  readonly hostsFile: string;
  /** Inventories: files and programs with further hosts and groups. */
  readonly hostsFolder: string;
  /** Keys that may use this machine's agent. */
  readonly callersFile: string;
  /** What callers who are no owners may do. */
  readonly policyFile: string;
  /** The broker that this user's commands use. */
  readonly engineFile: string;
}

/** Longest Unix socket path the kernel accepts; Node silently truncates longer ones. */
export const MAX_SOCKET_PATH = 107;

/**
 * Determines the folders from `env`. Creates nothing.
 * @throws UsageError when neither `env` nor the password file names a home.
 */
export function resolveHome(env: NodeJS.ProcessEnv = process.env): Home {
  const one = env.SENDALL_HOME && resolve(env.SENDALL_HOME);
  // The specification says to ignore relative paths.
  const xdg = (path: string | undefined) => (path && isAbsolute(path) ? join(path, 'sendall') : undefined);
  const below = (path: string) => join(env.HOME || ownHome(), path, 'sendall');
  const config = one || xdg(env.XDG_CONFIG_HOME) || below('.config');
  const state = one || xdg(env.XDG_STATE_HOME) || below('.local/state');
  const ofLogin = (!one && xdg(env.XDG_RUNTIME_DIR)) || state;
  const fits = Buffer.byteLength(join(state, 'keeper.sock')) <= MAX_SOCKET_PATH;
  const runtime = fits ? state : ofLogin;
  return {
    config,
    state,
    runtime,
    agentSocket: join(runtime, 'agent.sock'),
    keeperSocket: join(runtime, 'keeper.sock'),
    linksSocket: join(ofLogin, 'links.sock'),
    identityFile: join(config, 'identity.pem'),
    hostsFile: join(config, 'hosts.json'),
    hostsFolder: join(config, 'hosts.d'),
    callersFile: join(config, 'callers.json'),
    policyFile: join(config, 'policy.yaml'),
    engineFile: join(config, 'engine.json'),
  };
}

function ownHome(): string {
  try {
    return homedir();
  } catch (cause) {
    const who = `user ${process.getuid?.() ?? ''} has no entry in the password file`;
    throw new UsageError(`HOME is not set and ${who}: set HOME, or SENDALL_HOME to a folder of your own`, { cause });
  }
}

/** Marks a folder as sendall's: created in new and empty folders. */
const MARK = '.sendall';
/** The names sendall creates in its folders, including temporary files. */
const OURS =
  /^(?:\.sendall|identity\.pem|identities|hosts\.json|hosts\.d|inventory\.json|callers\.json|policy\.yaml|engine\.json|fleet|journal|log|heads|spool|damaged|remembered-hosts|known-sources|records|fifos|(?:agent|keeper|links)\.(?:sock|lock|owner|log))(?:[.-].*)?$/;
/** Each sendall folder from before there were marks, or prepared by a person, holds one of these. */
const TYPICAL = [
  'identity.pem',
  'hosts.json',
  'hosts.d',
  'callers.json',
  'policy.yaml',
  'engine.json',
  'fleet',
  'keeper.lock',
  'links.sock',
];

/** The lock of a record file. Alone, it was left by a process killed at its first change. */
const LOCK = /^[a-z]+\.json\.lock$/;

const MKDIR_ERRORS: Readonly<Record<string, string>> = {
  EEXIST: 'a file is there',
  ENOTDIR: 'a part of the path is a file',
  ENOENT: 'a part of the path is a link to nothing',
  EACCES: 'you may not write there',
  EPERM: 'you may not write there',
  EROFS: 'that disk is read-only',
  ENOSPC: 'that disk is full, or has no inodes left',
  EDQUOT: 'your share of that disk is used up',
};

/**
 * Creates the folder for this user alone (0700), or checks that an existing one is sendall's; other folders stay
 * unchanged.
 * @throws UsageError when it cannot be created, or fails `checkPrivateFolder`.
 */
export function ensurePrivateFolder(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  } catch (error) {
    const why = MKDIR_ERRORS[reasonOf(folder, error as NodeJS.ErrnoException) ?? ''];
    if (!why) throw error;
    throw new UsageError(`${folder} cannot be made: ${why}; set SENDALL_HOME to a folder of your own`, {
      cause: error,
    });
  }
  checkPrivateFolder(folder);
  if (existsSync(join(folder, MARK))) return;
  try {
    closeSync(openSync(join(folder, MARK), 'a', 0o600));
  } catch {
    // The disk is full, but its other names identify the folder too.
  }
}

/** Why a folder could not be created. On a read-only disk, Node reports several nested folders as a missing parent. */
function reasonOf(folder: string, { code }: NodeJS.ErrnoException): string | undefined {
  if (code !== 'ENOENT') return code;
  try {
    mkdirSync(folder, 0o700);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code;
  }
  return code;
}

/**
 * Checks an existing folder.
 * @throws UsageError when it is a link, belongs to someone else, is open to others, holds what sendall did not make, or has a parent that others may write to (a sticky /tmp is fine).
 */
export function checkPrivateFolder(folder: string): void {
  const path = resolve(folder);
  const info = lstatSync(path);
  const uid = process.getuid?.() ?? info.uid;
  const another = 'set SENDALL_HOME to a folder of your own';
  if (info.isSymbolicLink())
    throw new UsageError(`${path} is a symbolic link: set SENDALL_HOME to the folder it leads to`);
  if (!info.isDirectory()) throw new UsageError(`${path} is not a folder: ${another}`);
  if (info.uid !== uid) throw new UsageError(`${path} belongs to user ${info.uid}, not to you (${uid}): ${another}`);
  if (!existsSync(join(path, MARK))) {
    const names = readdirSync(path);
    const known = TYPICAL.some((name) => names.includes(name));
    // Another process of ours may have begun to use it since the first check.
    const foreign = names.includes(MARK)
      ? undefined
      : names.find((name) => (!known || !OURS.test(name)) && !LOCK.test(name));
    if (foreign !== undefined)
      throw new UsageError(
        `${path} is not a folder of sendall's, it holds ${JSON.stringify(foreign)}: set SENDALL_HOME to a new folder or an empty one`,
      );
  }
  if (info.mode & 0o077)
    throw new UsageError(
      `${path} is open to other users (mode ${(info.mode & 0o777).toString(8)}): chmod 700 it, or set SENDALL_HOME to another folder`,
    );
  const parent = statSync(dirname(path));
  const foreign = parent.uid !== uid && parent.uid !== 0;
  if (foreign || othersMayWrite(parent))
    throw new UsageError(
      `${dirname(path)} can be changed by other users, so ${path} is not safe: chmod go-w it, or set SENDALL_HOME to a folder inside your home`,
    );
}

/** Whether users other than this one and root may write to a file or folder; in a sticky folder only to their own. */
export function othersMayWrite({ mode, gid }: Pick<Stats, 'mode' | 'gid'>): boolean {
  if (mode & 0o1000) return false;
  return (mode & 0o002) !== 0 || ((mode & 0o020) !== 0 && !isOwnGroup(gid));
}

/** Whether users and groups come from files alone. Source: nsswitch.conf(5). */
function areUsersInFilesOnly(): boolean {
  const text = readFileSync('/etc/nsswitch.conf', 'utf8');
  const sources = [...text.matchAll(/^\s*(passwd|group|initgroups):([^#\n]*)/gm)];
  const known = new Set(sources.map(([, what]) => what));
  const words = sources.flatMap(([, , list]) =>
    list!
      .replace(/\[[^\]]*\]/g, ' ')
      .trim()
      .split(/\s+/),
  );
  // systemd adds root, nobody and users of services.
  return known.has('passwd') && known.has('group') && words.every((word) => word === 'files' || word === 'systemd');
}

/**
 * Whether this user is the only member of a group. Systems that make one for each user give it write access (umask
 * 002).
 */
function isOwnGroup(gid: number): boolean {
  const uid = process.getuid?.();
  if (gid !== process.getgid?.()) return false;
  try {
    const lines = (path: string) =>
      readFileSync(path, 'utf8')
        .split('\n')
        .map((line) => line.split(':'));
    const users = lines('/etc/passwd');
    const name = users.find((user) => Number(user[2]) === uid && user.length > 3)?.[0];
    const group = lines('/etc/group').find((each) => Number(each[2]) === gid && each.length > 3);
    if (users.some((user) => Number(user[3]) === gid && Number(user[2]) !== uid && user.length > 3)) return false;
    if (group?.[3]?.split(',').some((member) => member && member !== name)) return false;
    // A group with the user's name or number was made for that user. For other groups, the files must be complete.
    return gid === uid || (name !== undefined && group?.[0] === name) || (group !== undefined && areUsersInFilesOnly());
  } catch {
    return false;
  }
}
