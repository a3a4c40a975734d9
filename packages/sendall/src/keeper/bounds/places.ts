/** What each caller's runs take of the keeper: places, turns to run, and the bytes of their specs. */
import { FairShare } from '../../fair-share.js';
import type { KeeperLimits } from '../door/limits.js';

interface Caller {
  readonly opened: FairShare;
  readonly running: FairShare;
  readonly specs: FairShare;
  /** Runs that hold something. */
  runs: number;
}

/** What one run holds. */
export class Place {
  readonly caller: string;
  readonly #of: Caller;
  readonly #spec: number;
  readonly #gone: () => void;
  #state: 'waits' | 'runs' | 'ended' | 'released' = 'waits';

  /** @internal Use Places. */
  constructor(caller: string, of: Caller, spec: number, gone: () => void) {
    this.caller = caller;
    this.#of = of;
    this.#spec = spec;
    this.#gone = gone;
  }

  /** Whether it may run now. */
  begin(): boolean {
    if (!this.#of.running.take()) return false;
    this.#state = 'runs';
    return true;
  }

  /** Its command has ended, or will not begin. */
  end(): void {
    if (this.#state === 'runs') this.#of.running.give();
    if (this.#state === 'runs' || this.#state === 'waits') this.#of.opened.give();
    if (this.#state !== 'released') this.#state = 'ended';
  }

  /** Nothing of it is needed any more but what is remembered. */
  release(): void {
    if (this.#state === 'released') return;
    this.end();
    this.#state = 'released';
    this.#of.specs.give(this.#spec);
    this.#gone();
  }
}

/** Shared out by caller: each gets at most as much as it leaves to others. */
export class Places {
  readonly #limits: KeeperLimits;
  readonly #opened: FairShare;
  readonly #running: FairShare;
  readonly #specs: FairShare;
  readonly #callers = new Map<string, Caller>();

  constructor(limits: KeeperLimits) {
    this.#limits = limits;
    this.#opened = new FairShare(0);
    this.#running = new FairShare(0);
    this.#specs = new FairShare(0);
    this.resize();
  }

  /** Takes up the limits as they are now. */
  resize(): void {
    const { maxRunning, maxQueued, specTotal } = this.#limits;
    this.#opened.resize(maxRunning + maxQueued);
    this.#running.resize(maxRunning);
    this.#specs.resize(specTotal);
  }

  /**
   * A place for a run whose spec has so many bytes, or why the run gets no place. `mostRuns`: what this caller may have
   * of them, whatever is free, those included whose command has ended and has left processes behind.
   */
  take(name: string, spec: number, mostRuns = Infinity): Place | string {
    const caller = this.#callers.get(name) ?? {
      opened: new FairShare(this.#opened),
      running: new FairShare(this.#running),
      specs: new FairShare(this.#specs),
      runs: 0,
    };
    const { maxRunning, maxQueued, specTotal } = this.#limits;
    const others = 'and what is left is for other callers: wait for some to end';
    if (caller.runs >= mostRuns)
      return `${mostRuns} runs of yours are not over yet (maxRunsPerPrincipal): wait for some to end`;
    if (!caller.opened.take())
      return `${caller.opened.held} runs of yours run or wait already (of maxRunning ${maxRunning} and maxQueued ${maxQueued}), ${others}`;
    if (!caller.specs.take(spec)) {
      caller.opened.give();
      return `the commands and variables of your runs have ${caller.specs.held} bytes already (of specTotal ${specTotal}), ${others}`;
    }
    this.#callers.set(name, caller);
    caller.runs++;
    return new Place(name, caller, spec, () => {
      if (--caller.runs === 0) this.#callers.delete(name);
    });
  }
}
