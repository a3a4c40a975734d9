/**
 * The sources from which known callers came lately: their links go last when strangers fill all places. A file in the
 * state folder keeps them for the next agent, a line each, the newest last.
 *
 * Nothing is let in because of it. A file that is damaged or lost, or a disk without room, costs a source its reserve
 * until its next link.
 */
import { join } from 'node:path';
import { isRecord } from '../../files/record-file.js';
import { RecordLog } from '../../files/record-log.js';
import type { Home } from '../../home.js';

/** Milliseconds after which its line is written again, at the latest. */
const DAY = 24 * 60 * 60 * 1000;
/** Characters of a source: no address is longer. */
const LONGEST_SOURCE = 64;
/** Bytes of the file above which only the lines that count are kept. */
const LARGEST_FILE = 1024 * 1024;

/** How many sources are known, and for how many milliseconds each. */
export interface KnownSourcesLimits {
  readonly maxKnownSources: number;
  readonly knownSourceAge: number;
}

export class KnownSources {
  readonly #file: RecordLog;
  readonly #limits: KnownSourcesLimits;
  readonly #now: () => number;
  /** When a known caller last came from each, in milliseconds since the epoch; the oldest first. */
  readonly #seen = new Map<string, number>();

  /** `now`: milliseconds since the epoch. */
  constructor({ state }: Pick<Home, 'state'>, limits: KnownSourcesLimits, now: () => number = Date.now) {
    this.#limits = limits;
    this.#file = new RecordLog(join(state, 'known-sources'));
    this.#now = now;
    for (const record of this.#file.read().records) {
      if (!isRecord(record)) continue;
      const { source, seen } = record;
      if (typeof source !== 'string' || source.length > LONGEST_SOURCE || typeof seen !== 'number') continue;
      // The clock may have been set back since.
      this.#remember(source, Math.min(seen, now()));
    }
  }

  has(source: string): boolean {
    const seen = this.#seen.get(source);
    return seen !== undefined && this.#now() - seen < this.#limits.knownSourceAge;
  }

  /** A known caller came from this source. */
  note(source: string): void {
    const now = this.#now();
    const seen = this.#seen.get(source);
    if (seen !== undefined && now - seen < Math.min(DAY, this.#limits.knownSourceAge / 2)) return;
    this.#remember(source, now);
    try {
      const { size } = this.#file.append({ source, seen: now });
      if (size > LARGEST_FILE) this.#file.replace(() => [...this.#seen].map(([source, seen]) => ({ source, seen })));
    } catch {
      // Known until this agent ends.
    } finally {
      this.#file.close();
    }
  }

  #remember(source: string, seen: number): void {
    this.#seen.delete(source);
    this.#seen.set(source, seen);
    if (this.#seen.size <= this.#limits.maxKnownSources) return;
    const [oldest] = this.#seen.keys();
    this.#seen.delete(oldest!);
  }
}
