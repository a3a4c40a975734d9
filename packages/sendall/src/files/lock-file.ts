/**
 * A lock in the form of a file, for disks and platforms without kernel locks. The file names its owner. If the owner
 * has died, another process takes the lock over immediately; if it belongs to another machine or container, once it has
 * not been renewed for a while.
 *
 * The file is a dangling symbolic link: creating it and naming the owner is one step, and a short target lives in the
 * inode, so it works even on a full disk.
 *
 * A stale lock is not removed first: two processes could then both get in. It gets one successor, a file named after
 * the dead owner (`LOCK.after-TOKEN`), and only one process can create that name. Tokens are never reused, so a late
 * successor sees that the lock itself has changed by then, and steps back.
 */
import { randomBytes } from 'node:crypto';
import { lstatSync, lutimesSync, readlinkSync, rmSync, symlinkSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { lives, ownMark, type ProcessMark } from './process-mark.js';

/** The owner of a lock. */
export interface Owner extends ProcessMark {
  readonly token: string;
}

export interface LockOptions {
  /** Milliseconds to wait for a living owner. */
  patience: number;
  /** Milliseconds without a renewal after which a lock is stale, if its owner's process is out of sight. */
  stale: number;
}

interface Found extends Partial<Owner> {
  readonly token: string;
  readonly modified: number;
}

function targetOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}

/**
 * Reads the owner of the lock file; undefined if the file does not exist. A file without a token is identified by its
 * inode.
 */
function read(path: string): Found | undefined {
  try {
    // Read the target first: with another lock's time this one could look stale.
    const [pid, ticks, place, token] = targetOf(path).split('.');
    const { ino, mtimeMs } = lstatSync(path);
    if (!token) return { token: `${ino}-${Math.floor(mtimeMs)}`, modified: mtimeMs };
    return { pid: Number(pid), ticks: ticks!, place: place!, token, modified: mtimeMs };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** A lock held by this process. */
export class LockFile {
  readonly #path: string;
  readonly #root: string;
  readonly #token: string;
  /** All files from the lock to ours, in order. */
  readonly #chain: readonly string[];

  /** @internal Use lockFile. */
  constructor(path: string, root: string, token: string, chain: readonly string[]) {
    this.#path = path;
    this.#root = root;
    this.#token = token;
    this.#chain = chain;
  }

  /** `gone`: the file was removed. `taken`: another process considered the lock stale and took it. */
  get state(): 'held' | 'gone' | 'taken' {
    if (read(successor(this.#path, this.#token))) return 'taken';
    const root = read(this.#path);
    return root === undefined ? 'gone' : root.token === this.#root ? 'held' : 'taken';
  }

  /**
   * Shows processes that cannot see the owner that it is alive.
   * @throws when the file is gone.
   */
  renew(): void {
    const now = new Date();
    lutimesSync(this.#chain.at(-1)!, now, now);
  }

  release(): void {
    // The lock itself goes first: without it, the rest of the chain counts for nothing.
    if (read(this.#path)?.token === this.#root) rmSync(this.#path, { force: true });
    for (const path of this.#chain.slice(1)) rmSync(path, { force: true });
  }
}

const successor = (path: string, token: string): string => `${path}.after-${token}`;

/**
 * Takes the lock. If its owner lives for longer than `patience`, returns the owner instead. Finding a living owner
 * works even on a full disk.
 * @throws the file system's errors.
 */
export async function lockFile(path: string, { patience, stale }: LockOptions): Promise<LockFile | Partial<Owner>> {
  const token = randomBytes(9).toString('base64url');
  const { pid, ticks, place } = ownMark();
  const words = [pid, ticks, place, token].join('.');
  const judge = judgeOf(stale);
  const deadline = performance.now() + patience;
  for (;;) {
    if (take(path, words)) return new LockFile(path, token, token, [path]);
    const root = read(path);
    const chain = [path];
    let owner = root;
    let judgement: Judgement | undefined;
    while (owner && (judgement = judge(owner)) === 'left') {
      const next = successor(path, owner.token);
      chain.push(next);
      if (!take(next, words)) owner = read(next);
      else if (read(path)?.token === root!.token) return new LockFile(path, root!.token, token, chain);
      else {
        // A leftover of an earlier owner, which no longer needs it.
        rmSync(next, { force: true });
        owner = undefined;
      }
    }
    if (owner && judgement === 'lives' && performance.now() > deadline) return owner;
    await sleep(2 + Math.random() * 20);
  }
}

type Judgement = 'left' | 'lives' | 'unknown';

/** Judges whether owners are alive. Owners whose process is out of sight are watched for a while. */
function judgeOf(stale: number): (owner: Found) => Judgement {
  const watched = new Map<string, { modified: number; since: number }>();
  return (owner) => {
    const { token, modified } = owner;
    const alive = lives(owner);
    if (alive !== undefined) return alive ? 'lives' : 'left';
    const before = watched.get(token);
    if (before && before.modified !== modified) return 'lives';
    if (!before) watched.set(token, { modified, since: performance.now() });
    const silent = Math.max(Date.now() - modified, before ? performance.now() - before.since : 0);
    return silent > stale ? 'left' : 'unknown';
  };
}

/** Creates a lock file with this content, unless the name is taken. */
function take(path: string, words: string): boolean {
  try {
    symlinkSync(words, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}
