/** All processes of one command: found, signalled, killed. */
import { uptime } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { LeftCgroup, type Cgroup, type Cgroups, type Killable } from './cgroup.js';
import type { Children } from './children.js';
import { RUN_MARK } from './environment.js';
import { allProcesses, isAlive, isLive, processOfThread, statOf, variableOf, type ProcessStat } from './processes.js';
import type { Native } from './native.js';

export const SIGKILL = 9;
export const SIGCONT = 18;
const SIGSTOP = 19;

/** Of the times in /proc. Source: proc(5), USER_HZ. */
const TICKS_A_SECOND = 100;

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
  /**
   * "cgroup": every process is found. "unproven": group, session, mark, descendants and orphans only, or some had left
   * their cgroup. As far as it is known by now.
   */
  readonly proof: 'cgroup' | 'unproven';
  /** The cgroup's path, for the journal. */
  readonly cgroup: string | undefined;
  /** Runs `start` so that what it starts belongs to the tree. */
  within<T>(start: () => T): T;
  /** For another thread that is to do as `within` does; undefined where there is nothing to do. */
  readonly seat?: Seat | undefined;
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

/**
 * With a cgroup. A command of root, or of a user to whom other groups were given, may leave it: once nothing lives inside,
 * the parents of those that left are gone, and so they are children of the keeper. They are ended too, but that these are
 * all of them is not certain then.
 */
export class CgroupTree implements Tree {
  readonly #native: Native;
  readonly #groups: Cgroups;
  readonly #group: Cgroup;
  readonly #children: Children;
  readonly #mark: string;
  readonly #alone: () => boolean;
  #begun = 0;
  #leader = 0;
  #escaped = false;

  /**
   * `alone` says that no other run lives: every orphan belongs to this one. `group`: one that was made for this command.
   */
  constructor(
    native: Native,
    groups: Cgroups,
    children: Children,
    runId: string,
    alone: () => boolean,
    group: Cgroup = groups.take(),
  ) {
    this.#native = native;
    this.#groups = groups;
    this.#group = group;
    this.#children = children;
    this.#mark = `${RUN_MARK}=${runId}`;
    this.#alone = alone;
  }

  get proof(): 'cgroup' | 'unproven' {
    return this.#escaped || this.suspects().length > 0 ? 'unproven' : 'cgroup';
  }

  get cgroup(): string {
    return this.#group.path;
  }

  within<T>(start: () => T): T {
    return this.#group.within(start);
  }

  get seat(): Seat | undefined {
    return this.#group.seat;
  }

  lead(pid: number): void {
    this.#leader = pid;
    this.#begun = performance.now();
  }

  alive(): boolean {
    return this.#group.populated;
  }

  members(): number[] {
    return [...new Set([...processesOf(this.#group), ...this.#outside(true)])];
  }

  suspects(): number[] {
    return this.#outside(false);
  }

  /** Orphans outside of the group, known by their mark where they have one: the certain ones, or those in doubt. */
  #outside(certain: boolean, orphans = this.#children.orphans()): number[] {
    const found = orphans.filter((pid) => {
      const group = this.#groups.groupOf(pid);
      if (group === this.cgroup) return false;
      const stat = statOf(pid);
      if (!stat || !isLive(stat)) return false;
      const mark = variableOf(pid, RUN_MARK);
      if (mark !== undefined || group !== undefined) return certain && mark === this.#mark;
      return this.#alone() ? certain : !certain && stat.ticks >= this.#beginTicks();
    });
    if (certain && found.length > 0) this.#escaped = true;
    return found;
  }

  /** What was born before the leader is of another run. */
  #beginTicks(): number {
    const ageSeconds = (performance.now() - this.#begun) / 1000;
    // The time of the boot is known to the second.
    return (uptime() - ageSeconds - 1) * TICKS_A_SECOND;
  }

  async kill(): Promise<void> {
    const known = await killGroup(this.#native, this.#group);
    if (this.#children.isLeader(this.#leader)) known.add(this.#leader);
    // With a parent dead its children come to the keeper. A look counts only behind the ends of all that is known.
    let ending = [...known];
    const end = performance.now() + KILL_PATIENCE_MS;
    for (let pause = 1; performance.now() < end; pause = Math.min(pause * 2, 50)) {
      ending = ending.filter(isAlive);
      const orphans = this.#children.orphans();
      const outside = this.#outside(true, orphans);
      const ended = orphans.filter((pid) => !known.has(pid) && !isAlive(pid));
      if (ending.length === 0 && outside.length === 0 && ended.length === 0) return;
      for (const pid of ended) known.add(pid);
      for (const pid of outside) {
        if (!known.has(pid)) ending.push(pid);
        known.add(pid);
        const ticks = statOf(pid)?.ticks;
        this.#native.signalExactly(pid, SIGKILL, () => statOf(pid)?.ticks === ticks);
      }
      await delay(pause);
    }
  }

  release(): void {
    this.#groups.give(this.#group);
  }
}

const processesOf = (group: Killable): number[] => [
  ...new Set(group.threads().map((tid) => processOfThread(tid) ?? tid)),
];

/** Resolves to what was killed, by thread. */
async function killGroup(native: Native, group: Killable): Promise<Set<number>> {
  const killed = new Set<number>();
  const end = performance.now() + KILL_PATIENCE_MS;
  // Frozen processes start nothing new, and SIGKILL reaches them all the same.
  group.freeze(true);
  try {
    for (let pause = 1; group.populated && performance.now() < end; pause = Math.min(pause * 2, 50)) {
      for (const tid of group.threads()) {
        native.kill(tid, SIGKILL);
        killed.add(tid);
      }
      if (group.populated) await delay(pause);
    }
  } finally {
    group.freeze(false);
  }
  return killed;
}

/** What is left of a command whose keeper died, where it had a cgroup. What left that is found by its mark. */
export class LeftCgroupTree implements Tree {
  readonly cgroup: string;
  readonly #native: Native;
  readonly #group: LeftCgroup;
  readonly #scan: ScanTree;
  #escaped = false;

  /** `scan` finds members without the group. */
  constructor(native: Native, cgroup: string, scan: ScanTree) {
    this.#native = native;
    this.cgroup = cgroup;
    this.#group = new LeftCgroup(cgroup);
    this.#scan = scan;
  }

  get proof(): 'cgroup' | 'unproven' {
    return this.#escaped ? 'unproven' : 'cgroup';
  }

  within<T>(start: () => T): T {
    return start();
  }

  lead(): void {}

  alive(): boolean {
    return this.#group.populated || this.members().length > 0;
  }

  members(): number[] {
    const inside = processesOf(this.#group);
    const outside = this.#scan.members().filter((pid) => !inside.includes(pid));
    if (outside.length > 0) this.#escaped = true;
    return [...inside, ...outside];
  }

  suspects(): number[] {
    return [];
  }

  async kill(): Promise<void> {
    await killGroup(this.#native, this.#group);
    await this.#scan.kill();
  }

  release(): void {
    this.#group.remove();
  }
}

/** Without a cgroup: group, session, the run's mark, descendants, and orphans that came to the keeper. */
export class ScanTree implements Tree {
  readonly proof = 'unproven';
  readonly cgroup = undefined;
  readonly #native: Native;
  readonly #children: Children;
  readonly #mark: string;
  readonly #alone: () => boolean;
  #leader = 0;
  #adopted = false;
  /** Start times of processes once seen as members: they stay members when they leave group and session. */
  readonly #known = new Map<number, number>();

  /** `alone` says that no other run lives: every orphan belongs to this one. */
  constructor(native: Native, children: Children, runId: string, alone: () => boolean) {
    this.#native = native;
    this.#children = children;
    this.#mark = `${RUN_MARK}=${runId}`;
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
    const mark = variableOf(stat.pid, RUN_MARK);
    if (mark !== undefined) return mark === this.#mark;
    return orphans.has(stat.pid) && (this.#known.has(stat.session) || this.#alone());
  }

  suspects(): number[] {
    const since = this.#known.get(this.#leader) ?? 0;
    const members = new Set(this.members());
    return this.#children.orphans().filter((pid) => {
      const stat = statOf(pid);
      if (!stat || !isLive(stat) || members.has(pid) || stat.ticks < since) return false;
      return variableOf(pid, RUN_MARK) === undefined && !this.#children.isLeader(stat.session);
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
      // Stop first, look again, until no new process appears: a storm of forks cannot outrun that.
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
