/** Runs work on hosts in order: window, batches, and when to stop. */
import { UsageError } from '../errors.js';
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
   * Hosts that are tried first. If one of them is not ok, no further host is started.
   * @default 0
   */
  canary?: number;
  /**
   * Hosts that may fail, canaries included. If more fail, no further host is started.
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
  /** The first batch is made of so many canaries; undefined when there are none. */
  readonly canary: number | undefined;
  /** Hosts at a time. */
  readonly window: number;
  /** Hosts that may fail; undefined when all may. */
  readonly maxFail: number | undefined;
}

const PERCENT = /^\d{1,3}(?:\.\d{1,9})?%$/;

const share = (least: string, fits: (percent: number) => boolean): Rule => ({
  allowed: `a share such as 25%, ${least} 100%`,
  fits: (value) => typeof value === 'string' && PERCENT.test(value) && fits(Number.parseFloat(value)),
});

/** The allowed values of each option. */
export const ROLLOUT_RULES: Rules<RolloutOptions> = {
  window: whole('hosts', 1),
  batch: either(
    whole('hosts', 1),
    share('above 0% and up to', (percent) => percent > 0 && percent <= 100),
  ),
  canary: whole('hosts'),
  maxFail: either(
    whole('hosts'),
    share('from 0% to', (percent) => percent <= 100),
  ),
  pause: duration,
  order: oneOf('listed', 'random'),
};

/** Parses `10` or `25%`. */
function hostsOf(share: Share, total: number, least: number): number {
  const count = typeof share === 'number' ? share : Math.floor((Number.parseFloat(share) * total) / 100);
  return Math.max(count, least);
}

export class Rollout {
  readonly #names: readonly string[];
  readonly #window: number;
  readonly #batch: number;
  readonly #canary: number;
  readonly #maxFail: number | undefined;
  readonly #pause: number;
  #failures = 0;
  #stopped: string | undefined;
  #wake: () => void = () => undefined;

  /** @throws UsageError when there are more canaries than hosts. */
  constructor(names: readonly string[], options: RolloutOptions) {
    const total = names.length;
    this.#canary = options.canary ?? 0;
    if (this.#canary > total)
      throw new UsageError(
        `canary: ${this.#canary} is more than the ${total} host${total === 1 ? '' : 's'} of the set`,
      );
    this.#names = options.order === 'random' ? shuffled(names) : names;
    this.#window = options.window ?? 64;
    this.#batch = options.batch === undefined ? Math.max(total, 1) : hostsOf(options.batch, total, 1);
    this.#maxFail = options.maxFail === undefined ? undefined : hostsOf(options.maxFail, total, 0);
    this.#pause = readDuration(options.pause) ?? 0;
  }

  /** The course of `run` unless it is stopped. */
  get plan(): RolloutPlan {
    const canary = this.#canary || undefined;
    return { batches: [...this.#batches()], canary, window: this.#window, maxFail: this.#maxFail };
  }

  /** Why no further host is started; undefined while one may be. */
  get stopped(): string | undefined {
    return this.#stopped;
  }

  /** Starts no further host; a pause ends at once. */
  stop(why: string): void {
    this.#stopped ??= why;
    this.#wake();
  }

  /**
   * Does `work` for each host. `work` resolves to true on success and must not throw. Resolves when all started hosts
   * have ended.
   */
  async run(work: (name: string) => Promise<boolean>): Promise<void> {
    let at = 0;
    for (const batch of this.#batches()) {
      if (at && this.#pause && this.#stopped === undefined) await this.#sleep();
      await this.#runBatch(batch, at < this.#canary, work);
      at += batch.length;
    }
  }

  *#batches(): Generator<readonly string[], void, undefined> {
    if (this.#canary) yield this.#names.slice(0, this.#canary);
    for (let start = this.#canary; start < this.#names.length; start += this.#batch)
      yield this.#names.slice(start, start + this.#batch);
  }

  async #runBatch(names: readonly string[], isCanary: boolean, work: (name: string) => Promise<boolean>) {
    let next = 0;
    const worker = async () => {
      while (next < names.length && this.#stopped === undefined) {
        const name = names[next++]!;
        if (!(await work(name))) this.#failed(name, isCanary);
      }
    };
    await Promise.all(Array.from({ length: Math.min(this.#window, names.length) }, worker));
  }

  #failed(name: string, isCanary: boolean): void {
    this.#failures += 1;
    if (isCanary) this.stop(`the canary ${name} was not ok`);
    else if (this.#maxFail !== undefined && this.#failures > this.#maxFail)
      this.stop(`${this.#failures} of ${this.#names.length} hosts had failed before`);
  }

  async #sleep(): Promise<void> {
    const { after } = await import('../timer.js');
    if (this.#stopped !== undefined) return;
    await new Promise<void>((resolve) => {
      const end = after(this.#pause, resolve);
      this.#wake = () => {
        end();
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
