/** Runs work on hosts in order: window, batches, and when to stop. */
import {
  duration,
  either,
  oneOf,
  readDuration,
  whole,
  type Duration,
  type Rule,
  type Rules,
} from '../client/options/check.js';

/** A number of hosts, or a share of all of them. */
export type Share = number | `${number}%`;

/** How many hosts to run at a time, and when to stop. */
export interface RolloutOptions {
  /**
   * Most hosts at a time.
   * @default 64
   */
  window?: number;
  /**
   * Hosts in a batch; the next batch begins when all of it has ended.
   * @default one batch of all
   */
  batch?: Share;
  /**
   * Hosts that may fail. If more fail, no further host is started.
   * @default all
   */
  maxFail?: Share;
  /**
   * Milliseconds between batches.
   * @default 0
   */
  pause?: Duration;
  /**
   * The order in which to start hosts.
   * @default 'listed'
   */
  order?: 'listed' | 'random';
}

/** The course of a rollout without failures. */
export interface RolloutPlan {
  /** The hosts of each batch, in the order in which they start. */
  readonly batches: readonly (readonly string[])[];
  /** Hosts at a time. */
  readonly window: number;
  /** Hosts that may fail; undefined when all may. */
  readonly maxFail: number | undefined;
}

const SHARE: Rule = {
  allowed: 'a share such as 25%',
  fits: (value) => typeof value === 'string' && /^\d+(?:\.\d+)?%$/.test(value),
};

/** The allowed values of each option. */
export const ROLLOUT_RULES: Rules<RolloutOptions> = {
  window: whole('hosts', 1),
  batch: either(whole('hosts', 1), SHARE),
  maxFail: either(whole('hosts'), SHARE),
  pause: duration,
  order: oneOf('listed', 'random'),
};

/** Parses `10` or `25%`. A share is at least one host. */
function hostsOf(share: Share, total: number, least: number): number {
  const count = typeof share === 'number' ? share : Math.floor((Number.parseFloat(share) * total) / 100);
  return Math.max(count, least);
}

export class Rollout {
  readonly #names: readonly string[];
  readonly #window: number;
  readonly #batch: number;
  readonly #maxFail: number | undefined;
  readonly #pause: number;
  #failures = 0;
  #stopped = false;
  #wake: () => void = () => undefined;

  constructor(names: readonly string[], options: RolloutOptions) {
    const total = names.length;
    this.#names = options.order === 'random' ? shuffled(names) : names;
    this.#window = options.window ?? 64;
    this.#batch = options.batch === undefined ? Math.max(total, 1) : hostsOf(options.batch, total, 1);
    this.#maxFail = options.maxFail === undefined ? undefined : hostsOf(options.maxFail, total, 0);
    this.#pause = readDuration(options.pause) ?? 0;
  }

  /** The course of `run` unless it is stopped. */
  get plan(): RolloutPlan {
    return { batches: [...this.#batches()], window: this.#window, maxFail: this.#maxFail };
  }

  /** Starts no further host. */
  stop(): void {
    this.#stopped = true;
    this.#wake();
  }

  /**
   * Does `work` for each host. `work` resolves to true on success and must not throw. Resolves when all started hosts
   * have ended.
   */
  async run(work: (name: string) => Promise<boolean>): Promise<void> {
    let isFirst = true;
    for (const batch of this.#batches()) {
      if (this.#over) return;
      if (!isFirst && this.#pause) await this.#sleep();
      await this.#runBatch(batch, work);
      isFirst = false;
    }
  }

  *#batches(): Generator<readonly string[], void, undefined> {
    for (let start = 0; start < this.#names.length; start += this.#batch)
      yield this.#names.slice(start, start + this.#batch);
  }

  get #over(): boolean {
    return this.#stopped || (this.#maxFail !== undefined && this.#failures > this.#maxFail);
  }

  async #runBatch(names: readonly string[], work: (name: string) => Promise<boolean>): Promise<void> {
    let next = 0;
    const worker = async () => {
      while (next < names.length && !this.#over) if (!(await work(names[next++]!))) this.#failures += 1;
    };
    await Promise.all(Array.from({ length: Math.min(this.#window, names.length) }, worker));
  }

  #sleep(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, this.#pause);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

function shuffled(names: readonly string[]): string[] {
  const list = [...names];
  for (let i = list.length - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1));
    [list[i], list[j]] = [list[j]!, list[i]!];
  }
  return list;
}
