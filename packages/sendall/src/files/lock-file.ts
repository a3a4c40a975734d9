/**
 * A lock that is a file, for disks and platforms without locks of the kernel's. Its owner is named in it: a lock whose
 * owner has died is taken over at once, one of another machine or container when it has not been renewed for a while.
 *
 * The file is a symbolic link that leads nowhere: it is made with its owner's name in one step, and a name this short lies
 * in the inode, so that a full disk still takes it.
 *
 * A lock that was left is not removed first: two who do so could both get in. It gets one successor, whose file is named
 * by the owner that has died (`LOCK.after-TOKEN`), and a name can be taken once only. Tokens are never used again, so a
 * successor that comes late sees that the lock itself is another by then, and steps back.
 */
import { hash, randomBytes } from 'node:crypto';
import { lstatSync, lutimesSync, readFileSync, readlinkSync, rmSync, symlinkSync } from 'node:fs';
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';

/** Who holds a lock. */
export interface Owner {
  readonly pid: number;
  /** Kernel clock ticks at its start: a pid that is used again has another. */
  readonly ticks: string;
  /** The boot and the container that its pid belongs to, hashed. */
  readonly place: string;
  readonly token: string;
}

export interface LockOptions {
  /** Milliseconds to wait for an owner that is known to live. */
  patience: number;
  /** Milliseconds without a renewal after which a lock counts as left, where its owner's process cannot be looked at. */
  stale: number;
}

function tryRead(read: () => string): string {
  try {
    return read();
  } catch {
    return '';
  }
}

/** The state of a process and its start in kernel clock ticks; empty where that cannot be known. */
function look(pid: number): { state: string; ticks: string } {
  // The program's name may hold anything; what follows its last parenthesis may not.
  const words = tryRead(() => readFileSync(`/proc/${pid}/stat`, 'latin1'))
    .replace(/^.*\)/s, '')
    .split(' ');
  return { state: words[1] ?? '', ticks: words[20] ?? '' };
}

let ownPlace: string | undefined;
function placeOfOurs(): string {
  const boot = () => tryRead(() => readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()) || hostname();
  const container = () => tryRead(() => readlinkSync('/proc/self/ns/pid'));
  return (ownPlace ??= hash('sha256', `${boot()} ${container()}`, 'base64url').slice(0, 12));
}

interface Found extends Partial<Owner> {
  readonly token: string;
  readonly modified: number;
}

/** Who holds the lock file, or undefined when it is not there. One without a name goes by its inode. */
function read(path: string): Found | undefined {
  try {
    // The words first: another lock's time would make this one look left.
    const [pid, ticks, place, token] = tryRead(() => readlinkSync(path)).split('.');
    const { ino, mtimeMs } = lstatSync(path);
    if (!token) return { token: `${ino}-${Math.floor(mtimeMs)}`, modified: mtimeMs };
    return { pid: Number(pid), ticks: ticks!, place: place!, token, modified: mtimeMs };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

function lives(pid: number, ticks: string | undefined): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
  }
  const now = look(pid);
  if (now.state === 'Z' || now.state === 'X') return false;
  return !ticks || !now.ticks || now.ticks === ticks;
}

/** A lock that is held. */
export class LockFile {
  readonly #path: string;
  readonly #root: string;
  readonly #token: string;
  /** All files from the lock to our own, in order. */
  readonly #chain: readonly string[];

  /** @internal Use lockFile. */
  constructor(path: string, root: string, token: string, chain: readonly string[]) {
    this.#path = path;
    this.#root = root;
    this.#token = token;
    this.#chain = chain;
  }

  /** `gone`: its file was removed. `taken`: another has it, who took it for left. */
  get state(): 'held' | 'gone' | 'taken' {
    if (read(successor(this.#path, this.#token))) return 'taken';
    const root = read(this.#path);
    return root === undefined ? 'gone' : root.token === this.#root ? 'held' : 'taken';
  }

  /**
   * Says that its owner is alive, to processes that cannot look.
   * @throws when the file is gone.
   */
  renew(): void {
    const now = new Date();
    lutimesSync(this.#chain.at(-1)!, now, now);
  }

  release(): void {
    // The lock itself first: after that the rest of the chain is not trusted.
    if (read(this.#path)?.token === this.#root) rmSync(this.#path, { force: true });
    for (const path of this.#chain.slice(1)) rmSync(path, { force: true });
  }
}

const successor = (path: string, token: string): string => `${path}.after-${token}`;

/**
 * Takes the lock. Returns who has it instead when its owner is known to live for longer than `patience`. An owner that is
 * known to live is found on a full disk, too.
 * @throws the file system's errors.
 */
export async function lockFile(path: string, { patience, stale }: LockOptions): Promise<LockFile | Partial<Owner>> {
  const token = randomBytes(9).toString('base64url');
  const words = [process.pid, look(process.pid).ticks, placeOfOurs(), token].join('.');
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
        // It was another's before we came: that one is done with it.
        rmSync(next, { force: true });
        owner = undefined;
      }
    }
    if (owner && judgement === 'lives' && performance.now() > deadline) return owner;
    await sleep(2 + Math.random() * 20);
  }
}

type Judgement = 'left' | 'lives' | 'unknown';

/** Tells whether owners live. Owners whose process cannot be looked at are watched. */
function judgeOf(stale: number): (owner: Found) => Judgement {
  const watched = new Map<string, { modified: number; since: number }>();
  return ({ pid, ticks, place, token, modified }) => {
    if (pid !== undefined && place === placeOfOurs()) return lives(pid, ticks) ? 'lives' : 'left';
    const before = watched.get(token);
    if (before && before.modified !== modified) return 'lives';
    if (!before) watched.set(token, { modified, since: performance.now() });
    const silent = Math.max(Date.now() - modified, before ? performance.now() - before.since : 0);
    return silent > stale ? 'left' : 'unknown';
  };
}

/** Makes a file with these words, whose name must be free. */
function take(path: string, words: string): boolean {
  try {
    symlinkSync(words, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}
