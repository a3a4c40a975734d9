/**
 * Waiting for children. SIGCHLD says that a child may have ended. Which one is asked without reaping, and each is then
 * reaped by its own pid: never "any child", never a wait that blocks.
 */
import { readFileSync } from 'node:fs';
import type { Native, Status } from './native.js';

export class Children {
  readonly #native: Native;
  readonly #leaders = new Map<number, (status: Status) => void>();
  readonly #held = new Set<number>();
  readonly #expecting: () => boolean;
  readonly #onSweep: () => void;
  #sweeping = false;
  readonly #unlisten: () => void;

  /**
   * `onSweep` is called after children or orphans were reaped: a tree may have ended. While `expecting` says so a child
   * that is not known may be one whose pid is about to arrive: it is left alone until then.
   */
  constructor(native: Native, onSweep: () => void, expecting: () => boolean = () => false) {
    this.#native = native;
    this.#expecting = expecting;
    this.#onSweep = onSweep;
    native.becomeSubreaper();
    this.#unlisten = native.onChildEnded(() => this.sweep());
  }

  /** Calls back once, with what the child left, when it has ended. */
  watch(pid: number, ended: (status: Status) => void): void {
    this.#leaders.set(pid, ended);
  }

  /** While held a child that ends stays a zombie, so that its pid and its group's id cannot be given to others. */
  hold(pid: number): void {
    if (this.#leaders.has(pid)) this.#held.add(pid);
  }

  release(pid: number): void {
    if (this.#held.delete(pid)) this.sweep();
  }

  /** True while this is a leader of ours, running or not yet reaped. */
  isLeader(pid: number): boolean {
    return this.#leaders.has(pid);
  }

  /** Reaps the children that have ended. A call from inside another one does nothing: the outer loop sees them all. */
  sweep(): void {
    if (this.#sweeping) return;
    this.#sweeping = true;
    let reaped = 0;
    try {
      reaped = this.#reapAll();
    } finally {
      this.#sweeping = false;
    }
    if (reaped > 0) this.#onSweep();
  }

  #reapAll(): number {
    let reaped = 0;
    for (;;) {
      const pid = this.#native.endedChild();
      if (pid === 0) return reaped;
      // It stands in front of all others.
      if (this.#held.has(pid) || (!this.#leaders.has(pid) && this.#expecting())) return reaped + this.#reapBehind() + 1;
      if (this.#reap(pid) === 0) return reaped;
      reaped++;
    }
  }

  /** Asks for each child by name. */
  #reapBehind(): number {
    let reaped = 0;
    for (const leader of this.#leaders.keys()) if (!this.#held.has(leader)) reaped += this.#reap(leader);
    if (!this.#expecting()) for (const orphan of this.orphans()) reaped += this.#reap(orphan);
    return reaped;
  }

  #reap(pid: number): number {
    const status = this.#native.reap(pid);
    if (!status) return 0;
    const ended = this.#leaders.get(pid);
    this.#leaders.delete(pid);
    ended?.(status);
    return 1;
  }

  /** Children that we did not start: processes whose parents ended, ours because we are the subreaper. */
  orphans(): number[] {
    return childrenOf(process.pid).filter((pid) => !this.#leaders.has(pid));
  }

  close(): void {
    this.#unlisten();
  }
}

/** Direct children of a process; an empty list when it is gone. */
export function childrenOf(pid: number): number[] {
  try {
    // Node starts and adopts on its main thread.
    const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1');
    return text.split(' ').filter(Boolean).map(Number);
  } catch {
    return [];
  }
}
