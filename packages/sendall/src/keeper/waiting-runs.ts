/** Runs that wait for their turn: links take turns, so that one with thousands of runs keeps no other waiting. */
import type { Run } from './run.js';

export class WaitingRuns {
  readonly #links = new Map<number, Set<Run>>();
  /** Which link each came by. */
  readonly #linkOf = new Map<Run, number>();

  get size(): number {
    return this.#linkOf.size;
  }

  /** `link` is any number that names where the run came from. */
  add(run: Run, link: number): void {
    this.#linkOf.set(run, link);
    const runs = this.#links.get(link);
    if (runs) runs.add(run);
    else this.#links.set(link, new Set([run]));
  }

  delete(run: Run): void {
    const link = this.#linkOf.get(run);
    if (link === undefined) return;
    this.#linkOf.delete(run);
    const runs = this.#links.get(link)!;
    runs.delete(run);
    // The others come first now.
    this.#links.delete(link);
    if (runs.size) this.#links.set(link, runs);
  }

  /** The oldest run of the link that waited longest, of those whose intent is on the disk. */
  get next(): Run | undefined {
    for (const [run] of this.#links.values()) if (run?.promised) return run;
    return undefined;
  }

  /** All of them, oldest first. */
  get all(): Run[] {
    return [...this.#linkOf.keys()];
  }
}
