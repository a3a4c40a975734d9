/** The keeper's process: `node main.js CONFIG`, started by `door.ts`. Says "ready" or why not on descriptor 3. */
import {
  appendFileSync,
  chmodSync,
  closeSync,
  mkdirSync,
  openSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { ensurePrivateFolder, type Home } from '../home.js';
import { Keeper } from './keeper.js';
import { completeLimits, type KeeperLimits } from './limits.js';
import { plainNative } from './plain.js';
import { spoolRoot } from './spool.js';
import { loadNative } from './syscalls.js';

/** What the door passes on the command line, as JSON. */
export interface KeeperConfig {
  readonly home: Home;
  readonly limits: Partial<KeeperLimits>;
  /** Does without koffi, as where it cannot be loaded. */
  readonly plain?: boolean;
  readonly cgroups?: boolean;
}

const READY = 3;
const LOG_MAX = 1024 * 1024;
/** Another keeper has the lock: its agent will find it. */
export const ALREADY_RUNNING = 75;

function tell(word: string): void {
  try {
    writeSync(READY, word);
    closeSync(READY);
  } catch {
    // Started by hand, nobody listens.
  }
}

/** Every descriptor of our own closes on exec; others came from whoever started the agent, and may be held for nobody. */
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

async function main(config: KeeperConfig): Promise<void> {
  closeStrays();
  const { home } = config;
  const limits = completeLimits(config.limits);
  ensurePrivateFolder(home.state);
  ensurePrivateFolder(home.runtime);
  mkdirSync(spoolRoot(home), { recursive: true, mode: 0o700 });
  const native = (config.plain ? undefined : await loadNative()) ?? plainNative(home.runtime);
  const lock = openSync(join(home.state, 'keeper.lock'), 'a', 0o600);
  if (!native.lock(lock)) process.exit(ALREADY_RUNNING);
  // Children get the usual mask; the keeper's own files name their modes.
  process.umask(0o022);
  // A terminal or service manager must not take the commands' keeper away: it ends when it is idle.
  for (const signal of ['SIGINT', 'SIGHUP', 'SIGTERM'] as const) process.on(signal, () => {});

  // Its end would lose every command. What went wrong is written down, and the rest goes on.
  const log = join(home.state, 'keeper.log');
  process.on('uncaughtException', (error) => appendLog(log, error));

  const server = createServer((socket) => keeper.accept(socket));
  const keeper = new Keeper({
    home,
    limits,
    native,
    cgroups: config.cgroups ?? true,
    finished() {
      server.close();
      rmSync(home.keeperSocket, { force: true });
      keeper.close();
      native.dispose();
      process.exit(0);
    },
  });
  rmSync(home.keeperSocket, { force: true });
  server.once('error', (error) => {
    tell(error.message);
    process.exit(1);
  });
  server.listen(home.keeperSocket, () => {
    chmodSync(home.keeperSocket, 0o600);
    tell('ready');
  });
}

main(JSON.parse(process.argv[2] ?? '{}') as KeeperConfig).catch((error: Error) => {
  tell(error.message);
  process.exit(1);
});
