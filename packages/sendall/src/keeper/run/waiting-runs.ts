/** Runs that wait for their turn: callers take turns, and of a caller its links, so that thousands keep no other waiting. */
import type { Run } from './run.js';

type Links = Map<number, Set<Run>>;

export class WaitingRuns {
  readonly #callers = new Map<string, Links>();
  /** By whom and by which link each came. */
  readonly #from = new Map<Run, readonly [caller: string, link: number]>();

  get size(): number {
    return this.#from.size;
  }

  /** `link` is any number that names one of the caller's links. */
  add(run: Run, caller: string, link: number): void {
    this.#from.set(run, [caller, link]);
    const links = this.#callers.get(caller) ?? new Map<number, Set<Run>>();
    this.#callers.set(caller, links);
    const runs = links.get(link);
    if (runs) runs.add(run);
    else links.set(link, new Set([run]));
  }

  delete(run: Run): void {
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
  next(mayRun: (run: Run) => boolean): Run | undefined {
    for (const links of this.#callers.values()) {
      const run = firstOf(links);
      if (run && mayRun(run)) return run;
    }
    return undefined;
  }

  /** All of them, oldest first. */
  get all(): Run[] {
    return [...this.#from.keys()];
  }
}

function firstOf(links: Links): Run | undefined {
  for (const [run] of links.values()) if (run?.promised) return run;
  return undefined;
}
