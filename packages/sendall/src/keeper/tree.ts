/** All processes of one command: found, signalled, killed. */
import { setTimeout as delay } from 'node:timers/promises';
import { LeftCgroup, type Cgroup, type Cgroups, type Killable } from './cgroup.js';
import type { Children } from './children.js';
import { RUN_TAG } from './environment.js';
import { allProcesses, isLive, processOfThread, statOf, variableOf, type ProcessStat } from './processes.js';
import type { Native } from './native.js';

export const SIGKILL = 9;
export const SIGCONT = 18;
const SIGSTOP = 19;

/** How long a kill may take before what still lives is reported (processes in uninterruptible sleep). */
const KILL_PATIENCE_MS = 2000;

/**
 * How often in a row nothing must be found before a tree counts as gone. /proc is not read in one moment: a process that
 * is just being made, or is between two programs, can be missed by one look.
 */
const LOOKS = 3;

/** What a thread writes "0" to so that what it starts is born in a cgroup, and to be at home again. */
export interface Seat {
  readonly group: number;
  readonly home: number;
}

export interface Tree {
  /** "cgroup": every process is found. "unproven": group, session, tag, descendants and orphans only. */
  readonly proof: 'cgroup' | 'unproven';
  /** The cgroup's path, for the journal. */
  readonly place: string | undefined;
  /** Runs `start` so that what it starts belongs to the tree. */
  within<T>(start: () => T): T;
  /** For another thread that is to do as `within` does; undefined where there is nothing to do. */
  readonly seat?: Seat;
  /** The leader, once it runs. */
  lead(pid: number): void;
  /** Whether a process of it lives. Zombies do not count. */
  alive(): boolean;
  /** Live processes. */
  members(): number[];
  /** Processes that may belong to it or to another run: reported, not touched. */
  suspects(): number[];
  /** Kills all of it; resolves when nothing lives or patience is over. */
  kill(): Promise<void>;
  /** Nothing lives any more: gives back what was held. */
  release(): void;
}

/** Sends a signal to each, and wakes what is stopped so that it can act on it. Returns who was there. */
export function signalAll(native: Native, pids: readonly number[], signal: number): number[] {
  const reached = pids.filter((pid) => native.kill(pid, signal));
  if (signal !== SIGSTOP) for (const pid of reached) native.kill(pid, SIGCONT);
  return reached;
}

export class CgroupTree implements Tree {
  readonly proof = 'cgroup';
  readonly #native: Native;
  readonly #groups: Cgroups;
  readonly #group: Cgroup;

  constructor(native: Native, groups: Cgroups) {
    this.#native = native;
    this.#groups = groups;
    this.#group = groups.take();
  }

  get place(): string {
    return this.#group.path;
  }

  within<T>(start: () => T): T {
    return this.#group.within(start);
  }

  get seat(): Seat {
    return this.#group.seat;
  }

  lead(): void {}

  alive(): boolean {
    return this.#group.populated;
  }

  members(): number[] {
    return processesOf(this.#group);
  }

  suspects(): number[] {
    return [];
  }

  kill(): Promise<void> {
    return killGroup(this.#native, this.#group);
  }

  release(): void {
    this.#groups.give(this.#group);
  }
}

const processesOf = (group: Killable): number[] => [
  ...new Set(group.threads().map((tid) => processOfThread(tid) ?? tid)),
];

async function killGroup(native: Native, group: Killable): Promise<void> {
  const end = performance.now() + KILL_PATIENCE_MS;
  // Frozen processes start nothing new, and SIGKILL reaches them all the same.
  group.freeze(true);
  try {
    for (let pause = 1; group.populated && performance.now() < end; pause = Math.min(pause * 2, 50)) {
      for (const tid of group.threads()) native.kill(tid, SIGKILL);
      if (group.populated) await delay(pause);
    }
  } finally {
    group.freeze(false);
  }
}

/** What is left of a command whose keeper died, where it had a cgroup. */
export class LeftCgroupTree implements Tree {
  readonly proof = 'cgroup';
  readonly place: string;
  readonly #native: Native;
  readonly #group: LeftCgroup;

  constructor(native: Native, place: string) {
    this.#native = native;
    this.place = place;
    this.#group = new LeftCgroup(place);
  }

  within<T>(start: () => T): T {
    return start();
  }

  lead(): void {}

  alive(): boolean {
    return this.#group.populated;
  }

  members(): number[] {
    return processesOf(this.#group);
  }

  suspects(): number[] {
    return [];
  }

  kill(): Promise<void> {
    return killGroup(this.#native, this.#group);
  }

  release(): void {
    this.#group.remove();
  }
}

/** Without a cgroup: group, session, the run's tag, descendants, and orphans that came to the keeper. */
export class ScanTree implements Tree {
  readonly proof = 'unproven';
  readonly place = undefined;
  readonly #native: Native;
  readonly #children: Children;
  readonly #tag: string;
  readonly #alone: () => boolean;
  #leader = 0;
  #adopted = false;
  /** Start times of processes once seen as members: they stay members when they leave group and session. */
  readonly #known = new Map<number, number>();

  /** `alone` says that no other run lives: whatever orphan there is belongs to this one. */
  constructor(native: Native, children: Children, runId: string, alone: () => boolean) {
    this.#native = native;
    this.#children = children;
    this.#tag = `${RUN_TAG}=${runId}`;
    this.#alone = alone;
  }

  within<T>(start: () => T): T {
    return start();
  }

  lead(pid: number): void {
    this.#leader = pid;
    const stat = statOf(pid);
    if (stat) this.#known.set(pid, stat.ticks);
  }

  /** Takes over from a keeper that died: its leader, if that is still the same process. */
  adopt(pid: number, ticks: number | undefined): void {
    this.#leader = pid;
    this.#adopted = true;
    if (ticks !== undefined) this.#known.set(pid, ticks);
  }

  alive(): boolean {
    const leader = statOf(this.#leader);
    if (leader && isLive(leader) && this.#known.get(this.#leader) === leader.ticks) return true;
    if (this.#adopted || !this.#native.subreaper) return this.members().length > 0;
    // What outlived its parents is an orphan of ours, or has a parent that is one.
    if (this.#children.orphans().length === 0) return false;
    return this.members().length > 0;
  }

  members(): number[] {
    const all = allProcesses();
    const found = new Map<number, ProcessStat>();
    const orphans = new Set(this.#children.orphans());
    for (const stat of all) {
      if (!isLive(stat)) continue;
      const known = this.#known.get(stat.pid) === stat.ticks;
      // A dead keeper's leader may have been reaped, and its number given to strangers.
      const near = !this.#adopted && (stat.session === this.#leader || stat.group === this.#leader);
      if (known || near || (stat.parent !== 2 && this.#tagged(stat, orphans))) found.set(stat.pid, stat);
    }
    // Children of members are members, however deep.
    for (let grew = true; grew;) {
      grew = false;
      for (const stat of all) {
        if (found.has(stat.pid) || !found.has(stat.parent) || !isLive(stat)) continue;
        found.set(stat.pid, stat);
        grew = true;
      }
    }
    found.delete(process.pid);
    for (const stat of found.values()) this.#known.set(stat.pid, stat.ticks);
    for (const pid of this.#known.keys()) if (!found.has(pid) && pid !== this.#leader) this.#known.delete(pid);
    return [...found.keys()];
  }

  #tagged(stat: ProcessStat, orphans: ReadonlySet<number>): boolean {
    const tag = variableOf(stat.pid, RUN_TAG);
    if (tag !== undefined) return tag === this.#tag;
    return orphans.has(stat.pid) && (this.#known.has(stat.session) || this.#alone());
  }

  suspects(): number[] {
    const since = this.#known.get(this.#leader) ?? 0;
    const members = new Set(this.members());
    return this.#children.orphans().filter((pid) => {
      const stat = statOf(pid);
      if (!stat || !isLive(stat) || members.has(pid) || stat.ticks < since) return false;
      return variableOf(pid, RUN_TAG) === undefined && !this.#children.isLeader(stat.session);
    });
  }

  #signal(pid: number, signal: number): void {
    const ticks = this.#known.get(pid);
    this.#native.signalExactly(pid, signal, () => statOf(pid)?.ticks === ticks);
  }

  async kill(): Promise<void> {
    const end = performance.now() + KILL_PATIENCE_MS;
    let empty = 0;
    for (let pause = 1; performance.now() < end; pause = Math.min(pause * 2, 50)) {
      // Stop first, look again, until nobody new appears: a storm of forks cannot outrun that.
      let members = this.members();
      for (let round = 0; round < 20; round++) {
        for (const pid of members) this.#signal(pid, SIGSTOP);
        const stopped = new Set(members);
        members = this.members();
        if (members.every((pid) => stopped.has(pid))) break;
      }
      for (const pid of members) this.#signal(pid, SIGKILL);
      empty = members.length === 0 ? empty + 1 : 0;
      if (empty === LOOKS) return;
      await delay(pause);
    }
  }

  release(): void {}
}
