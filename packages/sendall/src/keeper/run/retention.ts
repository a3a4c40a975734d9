/** How long finished runs are remembered: output, then result, then the id; and how the journal stays small. */
import { publish } from '../probes/events.js';
import type { Journal } from '../journal/journal.js';
import type { KeeperLog } from '../log/keeper-log.js';
import type { KeeperLimits } from '../door/limits.js';
import type { Holdings } from './holdings.js';
import type { KeeperRun } from './run.js';
import { removeSpool } from '../output/spool.js';

const SWEEP_MS = 30_000;
/** Results that are dropped at one time. */
const FEW_RESULTS = 32;
/** A journal below this size is not worth rewriting. */
const SMALL_JOURNAL = 4 * 1024 * 1024;

export class Retention {
  readonly #runs: Map<string, KeeperRun>;
  readonly #journal: Journal;
  readonly #log: KeeperLog;
  readonly #holdings: Holdings;
  readonly #limits: KeeperLimits;
  /** Finished runs with a result, oldest first. */
  readonly #ended = new Set<KeeperRun>();
  /** Keys of runs of which only the id is left. */
  readonly #ids = new Map<KeeperRun, string>();
  #compactedLength: number;
  #isShrinking = false;
  readonly #timer: NodeJS.Timeout;
  /** OPENs whose notAfter is at or below this may be repeats of runs that are forgotten. */
  forgottenBeforeMs: number;

  constructor(
    runs: Map<string, KeeperRun>,
    journal: Journal,
    log: KeeperLog,
    holdings: Holdings,
    limits: KeeperLimits,
    forgottenBeforeMs: number,
  ) {
    this.#runs = runs;
    this.#journal = journal;
    this.#log = log;
    this.#holdings = holdings;
    this.#limits = limits;
    this.forgottenBeforeMs = forgottenBeforeMs;
    this.#compactedLength = journal.length;
    holdings.spool.onFull = (which) => this.#makeRoom(which === 'disk');
    holdings.onFull = (principal) => this.#makeRoomOf(principal);
    this.#timer = setInterval(() => this.sweep(), SWEEP_MS);
    this.#timer.unref();
  }

  /** A run is over, output and tree too. */
  add(run: KeeperRun): void {
    this.#ended.add(run);
    this.#holdings.of(run.remembered.principal).ended.add(run);
    this.resize();
    this.#compactWhenLong();
  }

  /** Drops results of which there are more than there may be: a few at a time, as each has files. */
  resize(): void {
    const isTooMany = (): boolean => this.#ended.size > this.#limits.maxEnded;
    for (let dropped = 0; dropped < FEW_RESULTS && isTooMany(); dropped++) this.#dropOne();
    if (!isTooMany() || this.#isShrinking) return;
    this.#isShrinking = true;
    setImmediate(() => {
      this.#isShrinking = false;
      this.resize();
    });
  }

  /** Only the id of this run is left, as the journal says. */
  addId(key: string, run: KeeperRun): void {
    this.#ids.set(run, key);
  }

  /** Room is needed: the principal with the most results loses one, of those that were acknowledged first. */
  #dropOne(): void {
    let oldest: KeeperRun | undefined;
    for (const run of this.#holdings.largest?.ended ?? []) {
      oldest ??= run;
      if (!run.remembered.isAcked) continue;
      oldest = run;
      break;
    }
    if (oldest) this.drop(oldest);
  }

  /** Drops a finished run's output and result. */
  drop(run: KeeperRun): void {
    const holding = this.#holdings.of(run.remembered.principal);
    this.#ended.delete(run);
    holding.ended.delete(run);
    holding.spool.free(run.dropOutput());
    removeSpool(run.folder);
    run.drop();
    for (const attachment of run.audience.attachments) run.detach(attachment);
    this.#ids.set(run, keyOf(run.remembered.principal, run.identity.runId));
  }

  /** Removes what has been kept for its time. */
  sweep(now = Date.now()): void {
    for (const run of this.#ended) if (run.remembered.endMs + run.remembered.keepMs <= now) this.drop(run);
    for (const [run, key] of this.#ids) {
      const { no, notAfterMs } = run.remembered;
      if (notAfterMs > now) continue;
      // First the promise that this id cannot come back, then the id.
      this.forgottenBeforeMs = Math.max(this.forgottenBeforeMs, notAfterMs);
      this.#journal.append({ kind: 'forgotten', no, notAfterMs: this.forgottenBeforeMs });
      this.#ids.delete(run);
      this.#runs.delete(key);
      this.#holdings.of(run.remembered.principal).known--;
    }
    for (const run of this.#runs.values()) if (!run.over) run.rest();
    this.#compactWhenLong();
  }

  /**
   * The share of all runs is used up: acknowledged output goes, finished runs' first, the oldest first. When the disk
   * itself is full, so does that of one run.
   */
  #makeRoom(diskIsFull: boolean): void {
    const { spool } = this.#holdings;
    const before = spool.used;
    this.#dropOutputs(this.#ended, () => (diskIsFull ? spool.used < before : !spool.full));
  }

  /** A principal has used up its own part: the same, among its runs. */
  #makeRoomOf(principal: string): void {
    const { ended, spool } = this.#holdings.of(principal);
    this.#dropOutputs(ended, () => !spool.isUsedUp, principal);
  }

  #dropOutputs(ended: Iterable<KeeperRun>, enough: () => boolean, principal?: string): void {
    for (const run of ended) {
      if (enough()) return;
      if (!run.remembered.isAcked) continue;
      const freed = run.dropOutput();
      if (freed === 0) continue;
      removeSpool(run.folder);
      this.#holdings.of(run.remembered.principal).spool.free(freed);
    }
    for (const run of this.#runs.values()) {
      if (enough()) return;
      if (principal === undefined || run.remembered.principal === principal) run.trim();
    }
  }

  #compactWhenLong(): void {
    const { length } = this.#journal;
    if (length > SMALL_JOURNAL && length > this.#compactedLength * 2) this.compact();
  }

  /** Rewrites the journal with what is still known. */
  compact(): void {
    try {
      this.#journal.compact(this.forgottenBeforeMs, this.#entries());
      this.#log.compacted();
      publish({ what: 'compacted' });
    } catch {
      // A full disk: the old journal goes on, and is tried again when it has grown as much as now.
    }
    this.#compactedLength = this.#journal.length;
  }

  *#entries(): Iterable<Buffer> {
    yield* this.#log.checkpoint();
    for (const run of this.#runs.values()) yield run.remembered.entries;
  }

  close(): void {
    clearInterval(this.#timer);
  }
}

/** Runs are known by principal and id together: another principal's id is another run. */
export const keyOf = (principal: string, runId: Uint8Array): string =>
  `${Buffer.from(runId).toString('latin1')}${principal}`;
