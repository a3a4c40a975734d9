/** Runs that wait for their turn: callers take turns, and of a caller its links, so that thousands keep no other waiting. */
import type { KeeperRun } from './run.js';

type Links = Map<number, Set<KeeperRun>>;

export class WaitingRuns {
  readonly #callers = new Map<string, Links>();
  /** By whom and by which link each came. */
  readonly #from = new Map<KeeperRun, readonly [caller: string, link: number]>();

  get size(): number {
    return this.#from.size;
  }

  /** `link` is any number that names one of the caller's links. */
  add(run: KeeperRun, caller: string, link: number): void {
    this.#from.set(run, [caller, link]);
    const links = this.#callers.get(caller) ?? new Map<number, Set<KeeperRun>>();
    this.#callers.set(caller, links);
    const runs = links.get(link);
    if (runs) runs.add(run);
    else links.set(link, new Set([run]));
  }

  delete(run: KeeperRun): void {
    const from = this.#from.get(run);
    if (!from) return;
    this.#from.delete(run);
    const [caller, link] = from;
    const links = this.#callers.get(caller)!;
    const runs = links.get(link)!;
    runs.delete(run);
    // The others come first now.
    links.delete(link);
    if (runs.size) links.set(link, runs);
    this.#callers.delete(caller);
    if (links.size) this.#callers.set(caller, links);
  }

  /**
   * The oldest run of the link that waited longest, of the caller that did and that may have one more, of those whose
   * intent is on the disk.
   */
  next(mayRun: (run: KeeperRun) => boolean): KeeperRun | undefined {
    for (const links of this.#callers.values()) {
      const run = firstOf(links);
      if (run && mayRun(run)) return run;
    }
    return undefined;
  }

  /** All of them, oldest first. */
  get all(): KeeperRun[] {
    return [...this.#from.keys()];
  }
}

function firstOf(links: Links): KeeperRun | undefined {
  for (const [run] of links.values()) if (run?.promised) return run;
  return undefined;
}
