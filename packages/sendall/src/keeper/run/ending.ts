/** Ends a whole tree: TERM, a grace, then KILL; and says what it could not end. */
import type { ProcessInfo } from '../../protocol/messages.js';
import { describeAll, isAlive } from '../system/processes.js';
import type { Native } from '../system/native.js';
import { signalAll, type Tree } from '../system/tree.js';

const SIGTERM = 15;
const POLL_MS = 50;

export interface EndReport {
  readonly signalled: number[];
  readonly survivors: ProcessInfo[];
  /** Whether these are all, or as far as could be seen. */
  readonly proof: Tree['proof'];
}

export class Ending {
  readonly #native: Native;
  readonly #tree: Tree;
  readonly #done: (report: EndReport) => void;
  readonly #signalled: number[];
  #timer: NodeJS.Timeout | undefined;
  #poll: NodeJS.Timeout | undefined;
  #deadline = Infinity;
  #killing = false;
  #over = false;

  /** Begins with TERM at once. `done` is called once, when nothing lives or what does survived KILL. */
  constructor(native: Native, tree: Tree, graceMs: number, done: (report: EndReport) => void) {
    this.#native = native;
    this.#tree = tree;
    this.#done = done;
    this.#signalled = graceMs > 0 ? signalAll(native, tree.members(), SIGTERM) : [];
    // What is not our child ends without a word to us.
    this.#poll = setInterval(() => this.check(), POLL_MS);
    this.shorten(graceMs);
  }

  /** A second request may bring KILL nearer, never put it off. */
  shorten(graceMs: number): void {
    const deadline = performance.now() + graceMs;
    if (deadline >= this.#deadline || this.#killing) return;
    this.#deadline = deadline;
    clearTimeout(this.#timer);
    if (graceMs > 0) this.#timer = setTimeout(() => void this.#kill(), Math.min(graceMs, 0x7fffffff));
    else void this.#kill();
  }

  /** A process may have ended: perhaps it was the last. */
  check(): void {
    if (this.#killing || this.#over || this.#tree.alive()) return;
    // Before a process has ended for good, its children are not ours to be found.
    if (this.#signalled.some(isAlive)) return;
    // The second look goes another way.
    const members = this.#tree.members();
    if (members.length === 0) this.#finish();
    // It also finds processes that had left before and got no signal yet.
    const more = members.filter((pid) => !this.#signalled.includes(pid));
    this.#signalled.push(...signalAll(this.#native, more, SIGTERM));
  }

  async #kill(): Promise<void> {
    if (this.#killing) return;
    this.#killing = true;
    const known = new Set(this.#signalled);
    for (const pid of this.#tree.members()) if (!known.has(pid)) this.#signalled.push(pid);
    try {
      await this.#tree.kill();
    } catch {
      // Such as for want of a descriptor: what lives on is reported.
    }
    this.#finish();
  }

  #finish(): void {
    if (this.#over) return;
    this.#over = true;
    clearTimeout(this.#timer);
    clearInterval(this.#poll);
    const survivors = describeAll([...this.#tree.members(), ...this.#tree.suspects()]);
    // Not at once: the constructor may still be running.
    const { proof } = this.#tree;
    queueMicrotask(() => this.#done({ signalled: this.#signalled, survivors, proof }));
  }
}
