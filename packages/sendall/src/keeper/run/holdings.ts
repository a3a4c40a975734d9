/** What the keeper keeps for each principal: output on disk, results, and run ids. */
import { SpoolBudget } from '../output/budget.js';
import type { KeeperRun } from './run.js';

export class Holding {
  readonly spool: SpoolBudget;
  /** Finished runs with a result, oldest first. */
  readonly ended = new Set<KeeperRun>();
  /** Runs that are known, those of which only the id is left included. */
  known = 0;

  /** @internal Use Holdings. */
  constructor(spool: SpoolBudget) {
    this.spool = spool;
  }
}

export class Holdings {
  /** Output of all principals. */
  readonly spool: SpoolBudget;
  readonly #byPrincipal = new Map<string, Holding>();

  constructor(spoolTotal: number) {
    this.spool = new SpoolBudget(spoolTotal);
  }

  of(principal: string): Holding {
    let holding = this.#byPrincipal.get(principal);
    if (holding === undefined) {
      holding = new Holding(new SpoolBudget(Infinity, this.spool));
      holding.spool.onFull = () => this.onFull(principal);
      this.#byPrincipal.set(principal, holding);
    }
    return holding;
  }

  /** Asked to free some output of a principal that has as much as it may. */
  onFull: (principal: string) => void = () => {};

  /** The one with the most finished runs. */
  get largest(): Holding | undefined {
    let largest: Holding | undefined;
    for (const holding of this.#byPrincipal.values())
      if (holding.ended.size > (largest?.ended.size ?? 0)) largest = holding;
    return largest;
  }
}
