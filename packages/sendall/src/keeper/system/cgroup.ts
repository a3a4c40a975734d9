/**
 * A cgroup (version 2) for each command, so that its whole tree can be found and killed.
 *
 * The groups are threaded ones: the keeper's main thread steps into the run's group, starts the leader there, and
 * steps back. The leader is born inside, so no child can slip out before it is moved; and a thread that moves itself
 * takes no lock that waits for an RCU grace period, as writing another process's pid does (7 ms and more on a quiet
 * machine, against 20 microseconds). `cgroup.kill` does not exist for threaded groups: freezing first makes killing
 * what `cgroup.threads` lists just as complete.
 *
 * Source: Linux Documentation/admin-guide/cgroup-v2.rst, "Threads", "cgroup.freeze".
 */
import {
  closeSync,
  constants,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmdirSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { randomBytes } from 'node:crypto';
import { basename, dirname, join } from 'node:path';
import { versionTwo, type Hierarchy } from './hierarchies.js';
import { isLive, statOf } from './processes.js';

/** Begins the names of all groups that keepers make; the pid follows. */
const PREFIX = 'sendall-keeper-';
/** Empty groups kept for the next commands. */
const SPARE = 64;
/** Stands for the thread that writes it. */
export const SELF = Buffer.from('0');

const text = Buffer.alloc(64 * 1024);
function readAt0(fd: number): string {
  const n = readSync(fd, text, 0, text.length, 0);
  return text.toString('latin1', 0, n);
}

/** One command's group. */
export class Cgroup {
  readonly path: string;
  readonly #threads: number;
  readonly #events: number;
  readonly #home: number;

  constructor(path: string, home: number) {
    this.path = path;
    this.#home = home;
    this.#threads = openSync(join(path, 'cgroup.threads'), 'r+');
    try {
      this.#events = openSync(join(path, 'cgroup.events'), 'r');
    } catch (error) {
      closeSync(this.#threads);
      throw error;
    }
  }

  /** Descriptors for a thread that is to step in and back by itself. */
  get seat(): { readonly group: number; readonly home: number } | undefined {
    return { group: this.#threads, home: this.#home };
  }

  /** Runs `start` with the calling thread inside the group: what it starts is born there. */
  within<T>(start: () => T): T {
    writeSync(this.#threads, SELF);
    try {
      return start();
    } finally {
      writeSync(this.#home, SELF);
    }
  }

  /** Whether a process lives in it. Zombies do not count. */
  get populated(): boolean {
    return readAt0(this.#events).includes('populated 1');
  }

  get frozen(): boolean {
    return readAt0(this.#events).includes('frozen 1');
  }

  freeze(on: boolean): void {
    writeFileSync(join(this.path, 'cgroup.freeze'), on ? '1' : '0');
  }

  /** Ids of all threads inside. */
  threads(): number[] {
    return readThreads(this.path);
  }

  close(): void {
    closeSync(this.#threads);
    closeSync(this.#events);
  }
}

/**
 * A group outside of the keeper's threaded ones, for controllers that count whole processes. No thread can step in;
 * posix_spawn puts the leader there at its birth.
 */
export class DomainCgroup extends Cgroup {
  /** A descriptor of the group itself. */
  readonly folder: number;

  constructor(path: string) {
    super(path, -1);
    try {
      this.folder = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
    } catch (error) {
      super.close();
      throw error;
    }
  }

  override get seat(): undefined {
    return undefined;
  }

  override within<T>(start: () => T): T {
    return start();
  }

  override close(): void {
    super.close();
    closeSync(this.folder);
  }
}

function readThreads(path: string): number[] {
  try {
    return readFileSync(join(path, 'cgroup.threads'), 'latin1').split('\n').filter(Boolean).map(Number);
  } catch {
    return [];
  }
}

/** What killing needs of a group. */
export type Killable = Pick<Cgroup, 'populated' | 'freeze' | 'threads'>;

/** The group of a command whose keeper is gone; it may be gone too. */
export class LeftCgroup implements Killable {
  readonly #path: string;

  /** @throws when `path` is not one that a keeper makes: it comes from a file. */
  constructor(path: string) {
    if (!path.includes(`/${PREFIX}`)) throw new Error(`${path} is not a keeper's cgroup`);
    this.#path = path;
  }

  get populated(): boolean {
    try {
      return readFileSync(join(this.#path, 'cgroup.events'), 'latin1').includes('populated 1');
    } catch {
      return false;
    }
  }

  freeze(on: boolean): void {
    try {
      writeFileSync(join(this.#path, 'cgroup.freeze'), on ? '1' : '0');
    } catch {
      // Gone, with everything in it.
    }
  }

  threads(): number[] {
    return readThreads(this.#path);
  }

  remove(): void {
    removeLeftOvers(dirname(dirname(this.#path)));
  }
}

/** The groups of one keeper. */
export class Cgroups {
  /** Where the keeper was before it moved into its own group. */
  readonly origin: Hierarchy;
  readonly #base: string;
  readonly #home: number;
  readonly #spare: Cgroup[] = [];
  /** Folders with groups of commands: the keeper's own, and the one of its limited commands. */
  readonly #folders: string[];
  #made = 0;

  private constructor(origin: Hierarchy, base: string) {
    this.origin = origin;
    this.#base = base;
    this.#folders = [base];
    this.#home = openSync(join(base, 'cgroup.threads'), 'r+');
  }

  /** Groups of commands are in this folder too. */
  also(folder: string): void {
    this.#folders.push(folder);
  }

  /**
   * Makes the keeper's own group below the one it is in, and moves the keeper there. Undefined when that is not allowed:
   * no version 2 hierarchy, no delegation, not root.
   */
  static open(): Cgroups | undefined {
    const origin = versionTwo();
    if (!origin) return undefined;
    const base = join(origin.own, ownName());
    removeLeftOvers(origin.own);
    try {
      mkdirSync(base);
      writeFileSync(join(base, 'cgroup.procs'), String(process.pid));
      const groups = new Cgroups(origin, base);
      groups.#spare.push(groups.#make());
      return groups;
    } catch {
      return undefined;
    }
  }

  #make(): Cgroup {
    const path = join(this.#base, `r${this.#made++}`);
    mkdirSync(path);
    try {
      writeFileSync(join(path, 'cgroup.type'), 'threaded');
      return new Cgroup(path, this.#home);
    } catch (error) {
      rmdirSync(path);
      throw error;
    }
  }

  /** An empty group. */
  take(): Cgroup {
    return this.#spare.pop() ?? this.#make();
  }

  /** Gives an empty group back. */
  give(group: Cgroup): void {
    if (this.#spare.length < SPARE && !(group instanceof DomainCgroup)) {
      this.#spare.push(group);
      return;
    }
    group.close();
    try {
      rmdirSync(group.path);
    } catch {
      // Something was moved in from outside; it stays where it is.
    }
  }

  /** The command's group that a process is in; undefined outside of this keeper's groups. */
  groupOf(pid: number): string | undefined {
    try {
      const place = /^0::(.*)$/m.exec(readFileSync(`/proc/${pid}/cgroup`, 'latin1'))?.[1] ?? '';
      for (const folder of this.#folders) {
        const name = place.split(`/${basename(folder)}/`)[1];
        if (name) return join(folder, name);
      }
    } catch {
      // It has ended.
    }
    return undefined;
  }

  close(): void {
    for (const group of this.#spare) {
      group.close();
      try {
        rmdirSync(group.path);
      } catch {
        // As above.
      }
    }
  }
}

/** A name for groups of this keeper that no other keeper's group has. */
export const ownName = (): string => `${PREFIX}${process.pid}-${randomBytes(4).toString('hex')}`;

/** Whether this is the name of a group whose keeper has ended. */
export function isLeftOver(name: string): boolean {
  const pid = name.startsWith(PREFIX) ? parseInt(name.slice(PREFIX.length), 10) : NaN;
  const stat = pid > 0 ? statOf(pid) : undefined;
  return pid > 0 && !(stat && isLive(stat));
}

/** Removes empty groups of keepers that have ended. */
export function removeLeftOvers(folder: string): void {
  let names: string[];
  try {
    names = readdirSync(folder).filter((name) => isLeftOver(name));
  } catch {
    return;
  }
  for (const name of names) {
    const path = join(folder, name);
    try {
      if (readFileSync(join(path, 'cgroup.events'), 'latin1').includes('populated 1')) continue;
      for (const entry of readdirSync(path, { withFileTypes: true }))
        if (entry.isDirectory()) rmdirSync(join(path, entry.name));
      rmdirSync(path);
    } catch {
      // Another keeper is at it, or it is not ours to remove.
    }
  }
}
