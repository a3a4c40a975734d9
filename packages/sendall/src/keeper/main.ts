/** The keeper's process: `node main.js CONFIG`, started by `door.ts`. Says "ready" or why not on descriptor 3. */
import {
  appendFileSync,
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  readdirSync,
  statSync,
  writeSync,
} from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ensurePrivateFolder, type Home } from '../home.js';
import { Presence } from '../files/presence.js';
import { starter } from '../started.js';
import { Keeper } from './keeper.js';
import { ALREADY_RUNNING, completeLimits, type KeeperLimits } from './door/limits.js';
import { failedCall } from '../libc/system-error.js';
import type { Native } from './system/native.js';
import { plainNative } from './system/plain.js';
import { SocketFile } from './door/socket-file.js';
import { spoolRoot } from './output/spool.js';
import { loadNative } from './system/syscalls.js';

/** What the door passes on the command line, as JSON. */
export interface KeeperConfig {
  readonly home: Home;
  readonly limits: Partial<KeeperLimits>;
  /** Does without koffi, as where it cannot be loaded. */
  readonly plain?: boolean;
  readonly cgroups?: boolean;
}

const { O_RDWR, O_CREAT, O_NOFOLLOW } = constants;
const READY = 3;
const LOG_MAX = 1024 * 1024;

function tell(word: string): void {
  try {
    writeSync(READY, word);
    closeSync(READY);
  } catch {
    // It was started by hand, without that descriptor.
  }
}

/** Every descriptor of our own closes on exec. Others came from the agent's starter and are not ours to hold. */
const O_CLOEXEC = 0o2000000;

/** Lets go of descriptors that were passed on by accident: a keeper would hold a pipe or a lock open for days. */
function closeStrays(): void {
  if (process.platform !== 'linux') return;
  for (const fd of readdirSync('/proc/self/fd').map(Number)) {
    if (fd <= READY) continue;
    try {
      const flags = /^flags:\s+([0-7]+)/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'))?.[1];
      if (flags !== undefined && !(parseInt(flags, 8) & O_CLOEXEC)) closeSync(fd);
    } catch {
      // It was the one that listed the folder.
    }
  }
}

/** Adds to a log of bounded size. */
function appendLog(path: string, error: Error): void {
  try {
    if ((statSync(path, { throwIfNoEntry: false })?.size ?? 0) > LOG_MAX) return;
    appendFileSync(path, `${new Date().toISOString()} ${error.stack ?? error.message}\n`, { mode: 0o600 });
  } catch {
    // A full disk must not end the keeper either.
  }
}

/** False when another keeper has the lock. Its descriptor stays open as long as this process lives. */
function takeLock(native: Native, path: string): boolean {
  const fd = openSync(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0o600);
  try {
    return native.lock(fd);
  } catch (error) {
    throw new Error(
      `${path} cannot be locked (${failedCall(error)}): set SENDALL_HOME to a folder on a disk with locks`,
      {
        cause: error,
      },
    );
  }
}

async function main(config: KeeperConfig): Promise<void> {
  if (process.platform === 'linux' && !existsSync('/proc/self/fd'))
    throw new Error('/proc is not mounted, and processes are found there: mount -t proc proc /proc');
  const asStarted = starter();
  // Makes the threads that Node makes at their first use: at the limit on processes that would end the keeper later.
  await stat('/');
  closeStrays();
  const { home } = config;
  const limits = completeLimits(config.limits);
  ensurePrivateFolder(home.state);
  ensurePrivateFolder(home.runtime);
  mkdirSync(spoolRoot(home), { recursive: true, mode: 0o700 });
  // Commands get the mask of the agent's starter; the keeper's own files name their modes.
  process.umask(asStarted.umask & 0o077);
  const native = (config.plain ? undefined : await loadNative(asStarted)) ?? plainNative(home.runtime);
  if (!takeLock(native, join(home.state, 'keeper.lock'))) process.exit(ALREADY_RUNNING);
  // Some disks give the lock to every process, and a lock file can be removed.
  const presence = await Presence.take(join(home.state, 'keeper.owner'));
  if (!(presence instanceof Presence))
    throw new Error(
      `another keeper${presence.pid === undefined ? '' : ` (pid ${presence.pid})`} writes in ${home.state}, although the lock of that folder was free: end it, or set SENDALL_HOME to a folder on a disk with locks`,
    );
  // A terminal or service manager must not take the commands' keeper away: it ends when it is idle.
  for (const signal of ['SIGINT', 'SIGHUP', 'SIGTERM'] as const) process.on(signal, () => {});

  // Its end would lose every command. What went wrong is written down, and the rest goes on.
  const log = join(home.state, 'keeper.log');
  process.on('uncaughtException', (error) => appendLog(log, error));

  const server = new SocketFile(home.keeperSocket, (socket) => keeper.accept(socket));
  const keeper = new Keeper({
    home,
    limits,
    native,
    cgroups: config.cgroups ?? true,
    finished() {
      server.close();
      keeper.close();
      native.dispose();
      presence.release();
      process.exit(0);
    },
  });
  await server.listen();
  tell('ready');
  presence.watch(home.keeperSocket, {
    unreachable: () => void server.listen().catch((error: Error) => appendLog(log, error)),
    taken() {
      const error = new Error(`another keeper writes in ${home.state} by now: this one (pid ${process.pid}) has ended`);
      appendLog(log, error);
      // Not by an exit: that would remove the other one's socket.
      keeper.abandon(error, () => process.kill(process.pid, 'SIGKILL'));
    },
  });
}

main(JSON.parse(process.argv[2] ?? '{}') as KeeperConfig).catch((error: Error) => {
  tell(error.message);
  process.exit(1);
});
