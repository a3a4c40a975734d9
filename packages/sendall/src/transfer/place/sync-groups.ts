/**
 * Files that are written and wait to be placed: each is on the disk before it takes its place, and groups of them share
 * the waiting. While one group is being synced the next one gathers, so its size follows the disk's speed. The contents
 * of a group and the names of the one before it are synced together.
 */
import { closeSync, fsync } from 'node:fs';
import type { Calls } from '../files/calls.js';
import type { HeldFolder } from '../files/held-folder.js';
import { openToSync } from './landing.js';

/** Members of one group; each file holds a descriptor. */
const MOST = 512;
/** Members from which one sync of the whole file system is cheaper than theirs. */
const MANY = 16;

/** Something that waits to be placed. */
export interface Waiting {
  readonly folder: HeldFolder;
  /** What is to be synced before; nothing for a link. */
  readonly fd: number | undefined;
  /** Puts it in its place. @throws what prevents that */
  place(): void;
  /** Called once, at the end. */
  settled(error?: unknown): void;
}

export class SyncGroups {
  readonly #calls: Calls;
  readonly #mode: 'end' | 'each' | 'none';
  #gathering: Waiting[] = [];
  #running = false;
  #waiters: (() => void)[] = [];

  constructor(calls: Calls, mode: 'end' | 'each' | 'none') {
    this.#calls = calls;
    this.#mode = mode;
  }

  add(waiting: Waiting): void {
    if (this.#mode === 'none') return attempt(waiting);
    this.#gathering.push(waiting);
    if (!this.#running) {
      this.#running = true;
      void this.#run();
    }
  }

  /** Resolves when there is room for another one; undefined when there is now. */
  room(): Promise<void> | undefined {
    return this.#gathering.length < MOST ? undefined : this.#change();
  }

  /** Resolves when none waits any more. */
  async idle(): Promise<void> {
    while (this.#running) await this.#change();
  }

  #change(): Promise<void> {
    return new Promise((resolve) => this.#waiters.push(resolve));
  }

  async #run(): Promise<void> {
    /** Those in their places whose names may not last yet. */
    let placed: readonly Waiting[] = [];
    const failed = new Map<Waiting, unknown>();
    for (;;) {
      // What has arrived already is of this group.
      await new Promise(setImmediate);
      const group = this.#gathering.splice(0, this.#mode === 'each' ? 1 : MOST);
      if (group.length === 0 && placed.length === 0) break;
      await this.#sync(group, placed, failed);
      for (const waiting of placed) settle(waiting, failed);
      placed = group.filter((waiting) => place(waiting, failed));
      for (const waiting of group) if (failed.has(waiting)) settle(waiting, failed);
      for (const wake of this.#waiters.splice(0)) wake();
    }
    this.#running = false;
    for (const wake of this.#waiters.splice(0)) wake();
  }

  /** Makes the contents of `group` last, and the names of `placed`. */
  async #sync(group: readonly Waiting[], placed: readonly Waiting[], failed: Map<Waiting, unknown>): Promise<void> {
    const files = group.filter(({ fd }) => fd !== undefined);
    const folders = new Map<number, HeldFolder>();
    for (const { folder } of placed) folders.set(folder.fd, folder);
    const opened = [...folders.values()].map((folder) => ({ folder, fd: openToSync(folder) }));
    const readable = opened.filter(({ fd }) => fd !== undefined);
    try {
      const all = [...files, ...readable].map(({ fd, folder }) => [fd!, folder] as const);
      if (all.length >= MANY && (await this.#syncSystems(all))) return;
      await Promise.all([
        ...files.map(async (waiting) => {
          const error = await syncOne(waiting.fd!);
          if (error) failed.set(waiting, error);
        }),
        ...readable.map(async ({ fd, folder }) => {
          const error = await syncOne(fd!);
          if (!error) return;
          for (const waiting of placed) if (waiting.folder.fd === folder.fd) failed.set(waiting, error);
        }),
      ]);
    } finally {
      for (const { fd } of opened) if (fd !== undefined) closeSync(fd);
    }
  }

  /** Syncs the file systems of these. False when that is not possible, or failed: then each tells its own fault. */
  async #syncSystems(members: readonly (readonly [fd: number, folder: HeldFolder])[]): Promise<boolean> {
    const { syncFileSystem } = this.#calls;
    if (!syncFileSystem) return false;
    const systems = new Map<number, number>();
    // The first one tells of all that failed since it was opened.
    for (const [fd, { device }] of members) if (!systems.has(device)) systems.set(device, fd);
    for (const fd of systems.values()) if (!(await syncFileSystem(fd))) return false;
    return true;
  }
}

function settle(waiting: Waiting, failed: Map<Waiting, unknown>): void {
  const error = failed.get(waiting);
  failed.delete(waiting);
  waiting.settled(error);
}

/** False when it failed, now or before. */
function place(waiting: Waiting, failed: Map<Waiting, unknown>): boolean {
  if (failed.has(waiting)) return false;
  try {
    waiting.place();
    return true;
  } catch (error) {
    failed.set(waiting, error);
    return false;
  }
}

function attempt(waiting: Waiting): void {
  let problem: unknown;
  try {
    waiting.place();
  } catch (error) {
    problem = error;
  }
  waiting.settled(problem);
}

const syncOne = (fd: number): Promise<Error | undefined> =>
  new Promise((resolve) =>
    fsync(fd, (error) => {
      // Some file systems have nothing to sync.
      resolve(error && error.code !== 'EINVAL' ? error : undefined);
    }),
  );
