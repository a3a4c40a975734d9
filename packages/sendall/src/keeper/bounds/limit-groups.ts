/**
 * Limits on the memory and on the processes of one command, whole tree, by cgroup controllers. A limit of the system's
 * per process or user (setrlimit) would not do: a tree has many processes, and RLIMIT_NPROC counts all of a user's.
 *
 * Version 1 has a hierarchy for each controller: the keeper's main thread steps into a group there, starts the command,
 * and steps back.
 *
 * In version 2 the memory controller works in no threaded group, so these commands get a domain group, beside the
 * keeper's own, and posix_spawn puts them there at their birth.
 *
 * In both the limit on memory is set when posix_spawn has returned. Until then the kernel could end the keeper for what the
 * command takes (version 1), or find nothing to end and wait (version 2: it spares a child that still shares its parent's
 * memory, and posix_spawn waits for that child). What the command has taken by then counts all the same.
 *
 * Sources: Linux Documentation/admin-guide/cgroup-v2.rst, and cgroup-v1/memory.rst and cgroup-v1/pids.rst.
 */
import {
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { DomainCgroup, isLeftOver, ownName, removeLeftOvers, SELF, type Cgroups } from '../system/cgroup.js';
import { versionOne, type Hierarchy } from '../system/hierarchies.js';
import { StartFailure } from '../system/program.js';

/** Bytes, and processes with their threads. */
export interface TreeLimits {
  readonly memory?: number | undefined;
  readonly processes?: number | undefined;
}

const controllerOf = { memory: 'memory', processes: 'pids' } as const;
type Limited = keyof typeof controllerOf;
/** A limit that every system takes. */
const TRIED = 1024 ** 3;
const ALL: readonly Limited[] = ['memory', 'processes'];

/** More ids than there can be are an error to the kernel. Source: Linux, PID_MAX_LIMIT. */
const MOST_PIDS = 4 * 1024 ** 2;
const pidsMax = (processes: number): string => String(Math.min(processes, MOST_PIDS));

/** One command's place among these groups. */
export class LimitGroup {
  /** Of version 2: where the command is born. */
  readonly domain: DomainCgroup | undefined;
  readonly #stepped: readonly SteppedGroup[];
  readonly #limits: TreeLimits;
  /** Where its memory counts, if that is the domain group. */
  readonly #memory: string | undefined;

  /** @internal Use LimitGroups. */
  constructor(
    limits: TreeLimits,
    stepped: readonly SteppedGroup[],
    domain: DomainCgroup | undefined,
    inDomain: readonly Limited[],
  ) {
    this.#limits = limits;
    this.#memory = inDomain.includes('memory') ? domain?.path : undefined;
    this.#stepped = stepped;
    this.domain = domain;
  }

  /** Runs `start` so that what it starts is in the groups from its birth. */
  within<T>(start: () => T): T {
    return this.#stepped.reduceRight<() => T>((inner, group) => () => group.within(inner), start)();
  }

  /**
   * The command has started: sets the limits that could not be set before. False when it has more memory already than it
   * may have.
   */
  begin(): boolean {
    if (this.#memory !== undefined) writeFileSync(join(this.#memory, 'memory.max'), String(this.#limits.memory));
    return this.#stepped.every((group) => group.limit(this.#limits));
  }

  /** Whether the kernel ended a process of it because the limit on memory was reached. */
  get ranOutOfMemory(): boolean {
    if (this.#limits.memory === undefined) return false;
    const events = this.#memory
      ? textOf(join(this.#memory, 'memory.events'))
      : this.#stepped.map((group) => group.memoryEvents).join('');
    return Number(/^oom_kill (\d+)$/m.exec(events)?.[1] ?? 0) > 0;
  }

  /** Nothing lives in it any more. A domain group is given back with the tree that it holds. */
  release(): void {
    for (const group of this.#stepped) group.remove();
  }
}

/** A group of version 1, for one controller. */
class SteppedGroup {
  readonly #path: string;
  readonly #what: Limited;
  readonly #tasks: number;
  readonly #home: number;

  constructor(path: string, what: Limited, home: string) {
    this.#path = path;
    this.#what = what;
    this.#tasks = openSync(join(path, 'tasks'), 'r+');
    try {
      this.#home = openSync(join(home, 'tasks'), 'r+');
    } catch (error) {
      closeSync(this.#tasks);
      throw error;
    }
  }

  within<T>(start: () => T): T {
    writeSync(this.#tasks, SELF);
    try {
      return start();
    } finally {
      writeSync(this.#home, SELF);
    }
  }

  /** Limits it as far as that is possible while a thread of the keeper is inside. */
  prepare({ processes }: TreeLimits): void {
    if (this.#what === 'processes') writeFileSync(join(this.#path, 'pids.max'), pidsMax(processes! + 1));
  }

  limit({ memory, processes }: TreeLimits): boolean {
    if (this.#what === 'processes') {
      writeFileSync(join(this.#path, 'pids.max'), pidsMax(processes!));
      return true;
    }
    try {
      writeFileSync(join(this.#path, 'memory.limit_in_bytes'), String(memory));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EBUSY') return false;
      throw error;
    }
    writeIfThere(join(this.#path, 'memory.memsw.limit_in_bytes'), String(memory));
    return true;
  }

  get memoryEvents(): string {
    return this.#what === 'memory' ? textOf(join(this.#path, 'memory.oom_control')) : '';
  }

  remove(): void {
    closeSync(this.#tasks);
    closeSync(this.#home);
    removeFolder(this.#path);
  }
}

/** The groups of one keeper's limited commands. Nothing is made before the first one. */
export class LimitGroups {
  readonly #cgroups: Cgroups | undefined;
  /** posix_spawn can put a command into a domain group. */
  readonly #bearsInGroups: boolean;
  /** By controller: the hierarchy of version 1 with it, and this keeper's folder there. */
  readonly #one = new Map<Limited, { readonly hierarchy: Hierarchy; readonly folder: string } | undefined>();
  #domains: string | undefined;
  #made = 0;
  #tried = false;
  #lack: string | undefined;

  constructor(cgroups: Cgroups | undefined, bearsInGroups: boolean) {
    this.#cgroups = cgroups;
    this.#bearsInGroups = bearsInGroups;
  }

  /**
   * Groups for a command with these limits.
   * @throws StartFailure where that is not possible.
   */
  take(limits: TreeLimits): LimitGroup {
    const wanted = ALL.filter((what) => limits[what] !== undefined);
    const stepped: SteppedGroup[] = [];
    let domain: DomainCgroup | undefined;
    try {
      const inTwo: Limited[] = [];
      for (const what of wanted) {
        const one = this.#versionOne(what);
        if (!one) {
          inTwo.push(what);
          continue;
        }
        mkdirSync(one.folder, { recursive: true });
        const path = join(one.folder, `r${this.#made++}`);
        mkdirSync(path);
        const group = new SteppedGroup(path, what, one.hierarchy.own);
        stepped.push(group);
        group.prepare(limits);
      }
      if (inTwo.length > 0) domain = this.#domain(limits, inTwo);
      return new LimitGroup(limits, stepped, domain, inTwo);
    } catch (error) {
      for (const group of stepped) group.remove();
      if (error instanceof StartFailure) throw error;
      throw cannot(wanted, (error as Error).message);
    }
  }

  /** Why this host cannot limit memory or processes of a command; undefined if it can. Tried once. */
  get lack(): string | undefined {
    if (!this.#tried) {
      this.#tried = true;
      try {
        const group = this.take({ memory: TRIED, processes: TRIED });
        group.release();
        if (group.domain) this.#cgroups?.give(group.domain);
      } catch (error) {
        this.#lack = (error as Error).message;
      }
    }
    return this.#lack;
  }

  #versionOne(what: Limited): { readonly hierarchy: Hierarchy; readonly folder: string } | undefined {
    if (!this.#one.has(what)) {
      const hierarchy = versionOne(controllerOf[what]);
      if (hierarchy) removeEmpty(hierarchy.own);
      this.#one.set(what, hierarchy && { hierarchy, folder: join(hierarchy.own, ownName()) });
    }
    return this.#one.get(what);
  }

  #domain(limits: TreeLimits, wanted: readonly Limited[]): DomainCgroup {
    if (!this.#cgroups) throw cannot(wanted, 'its keeper may make no cgroups');
    if (!this.#bearsInGroups)
      throw cannot(wanted, 'its C library starts no process in a cgroup of version 2 (glibc can from 2.39 on)');
    const path = join(this.#domainFolder(this.#cgroups, wanted), `r${this.#made++}`);
    mkdirSync(path);
    try {
      const { processes } = limits;
      if (wanted.includes('memory')) {
        writeIfThere(join(path, 'memory.swap.max'), '0');
        // The whole command, not the one process that asked for too much.
        writeIfThere(join(path, 'memory.oom.group'), '1');
      }
      if (wanted.includes('processes')) writeFileSync(join(path, 'pids.max'), pidsMax(processes!));
      return new DomainCgroup(path);
    } catch (error) {
      removeFolder(path);
      throw error;
    }
  }

  /**
   * The folder of the domain groups, made at its first use. Below the group that the keeper came from, where that is its
   * own to divide (a service with `Delegate=yes`); else below the nearest group that hands the controllers on already.
   */
  #domainFolder(cgroups: Cgroups, wanted: readonly Limited[]): string {
    const needed = wanted.map((what) => controllerOf[what]);
    if (this.#domains !== undefined && handsOn(this.#domains, needed)) return this.#domains;
    const { mount, own } = cgroups.origin;
    if (!handsOn(own, needed)) for (const name of ALL_CONTROLLERS) handOn(own, name);
    for (let folder = own; folder.startsWith(mount); folder = dirname(folder)) {
      if (!handsOn(folder, needed)) continue;
      removeLeftOvers(folder);
      const path = join(folder, ownName());
      try {
        mkdirSync(path);
      } catch {
        continue;
      }
      for (const name of ALL_CONTROLLERS) handOn(path, name);
      if (handsOn(path, needed)) {
        cgroups.also(path);
        return (this.#domains = path);
      }
      removeFolder(path);
    }
    throw cannot(wanted, `no cgroup that its keeper may use has the controllers for it (${needed.join(', ')})`);
  }

  close(): void {
    for (const one of this.#one.values()) if (one) removeFolder(one.folder);
    if (this.#domains !== undefined) removeFolder(this.#domains);
  }
}

const ALL_CONTROLLERS = Object.values(controllerOf);

/** Whether the children of a group of version 2 have these controllers. */
function handsOn(folder: string, controllers: readonly string[]): boolean {
  const given = textOf(join(folder, 'cgroup.subtree_control')).trim().split(' ');
  return controllers.every((name) => given.includes(name));
}

/** Gives a controller to a group's children, where that is allowed. */
const handOn = (folder: string, controller: string): void =>
  writeIfThere(join(folder, 'cgroup.subtree_control'), `+${controller}`);

function cannot(wanted: readonly Limited[], why: string): StartFailure {
  return new StartFailure('limits', `this host cannot limit ${wanted.join(' and ')} of a command: ${why}`);
}

/** Groups of version 1 that are empty, of keepers that have ended. */
function removeEmpty(folder: string): void {
  let names: string[];
  try {
    names = readdirSync(folder).filter((name) => isLeftOver(name));
  } catch {
    return;
  }
  for (const path of names.map((name) => join(folder, name))) {
    for (const entry of foldersIn(path)) removeFolder(join(path, entry));
    removeFolder(path);
  }
}

function foldersIn(path: string): string[] {
  try {
    return readdirSync(path, { withFileTypes: true }).flatMap((entry) => (entry.isDirectory() ? [entry.name] : []));
  } catch {
    return [];
  }
}

function removeFolder(path: string): void {
  try {
    rmdirSync(path);
  } catch {
    // Something lives in it, or it is gone.
  }
}

function writeIfThere(path: string, value: string): void {
  try {
    writeFileSync(path, value, { flag: 'r+' });
  } catch {
    // The system has no such file, or does not allow it.
  }
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}
