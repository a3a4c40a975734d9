/** Where sendall keeps things: one folder when SENDALL_HOME is set, else the XDG base directories. */
import { chmodSync, lstatSync, mkdirSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { UsageError } from './errors.js';

/** The folders and files of one sendall installation. Source: XDG Base Directory Specification 0.8. */
export interface Home {
  /** Identity, pins, known hosts. */
  readonly config: string;
  /** Journal, spool, audit. */
  readonly state: string;
  /** Sockets. */
  readonly runtime: string;
  readonly agentSocket: string;
  readonly keeperSocket: string;
  /** Where the process that holds warm links listens. */
  readonly linksSocket: string;
  readonly identityFile: string;
  readonly hostsFile: string;
  /** Keys that may use this machine's agent. */
  readonly callersFile: string;
}

/** Longest Unix socket path the kernel takes; Node cuts longer ones silently. */
export const MAX_SOCKET_PATH = 107;

/** Resolves the folders for `env`. Nothing is created. */
export function resolveHome(env: NodeJS.ProcessEnv = process.env): Home {
  const one = env.SENDALL_HOME;
  const user = env.HOME || homedir();
  const folder = (variable: string | undefined, fallback: string) => join(variable || join(user, fallback), 'sendall');
  const config = one || folder(env.XDG_CONFIG_HOME, '.config');
  const state = one || folder(env.XDG_STATE_HOME, '.local/state');
  const runtime = one || (env.XDG_RUNTIME_DIR ? join(env.XDG_RUNTIME_DIR, 'sendall') : state);
  return {
    config,
    state,
    runtime,
    agentSocket: join(runtime, 'agent.sock'),
    keeperSocket: join(runtime, 'keeper.sock'),
    linksSocket: join(runtime, 'links.sock'),
    identityFile: join(config, 'identity.pem'),
    hostsFile: join(config, 'hosts.json'),
    callersFile: join(config, 'callers.json'),
  };
}

const MKDIR_ERRORS: Readonly<Record<string, string>> = {
  EEXIST: 'a file is there',
  ENOTDIR: 'a part of the path is a file',
  EACCES: 'you may not write there',
  EPERM: 'you may not write there',
  EROFS: 'that disk is read-only',
};

/**
 * Makes the folder for this user alone (0700) or checks that it is. Throws UsageError when it belongs to someone else,
 * is open to others, is a link, or has a parent that others may write to (a sticky /tmp is fine).
 */
export function ensurePrivateFolder(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const why = MKDIR_ERRORS[code ?? ''];
    if (!why) throw error;
    throw new UsageError(`${folder} cannot be made: ${why}; set SENDALL_HOME to a folder of your own`, {
      cause: error,
    });
  }
  const info = lstatSync(folder);
  const uid = process.getuid?.() ?? info.uid;
  if (!info.isDirectory()) throw new UsageError(`${folder} is not a folder: set SENDALL_HOME to one of your own`);
  if (info.uid !== uid)
    throw new UsageError(
      `${folder} belongs to user ${info.uid}, not to you (${uid}): set SENDALL_HOME to a folder of your own`,
    );
  if (info.mode & 0o077) chmodSync(folder, 0o700);
  const parent = statSync(dirname(folder));
  const foreign = parent.uid !== uid && parent.uid !== 0;
  if (foreign || (parent.mode & 0o022 && !(parent.mode & 0o1000)))
    throw new UsageError(
      `${dirname(folder)} can be changed by other users, so ${folder} is not safe: set SENDALL_HOME to a folder inside your home`,
    );
}
