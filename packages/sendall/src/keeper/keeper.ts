/**
 * The keeper: owns children, pipes, spool and the run journal, and survives every agent. It knows no network, no keys
 * and no policy: every process that can open its socket can run commands as its user.
 */
import { openSync, readdirSync, readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import type { Home } from '../home.js';
import type { Starter } from '../started.js';
import type { MessageNamed, RunInfo } from '../protocol/messages.js';
import { AgentConnection, type Desk } from './agent-connection.js';
import { Opening, type OpeningDesk } from './opening.js';
import { CreditPool } from '../protocol/flow.js';
import { Cgroups } from './system/cgroup.js';
import { Children } from './system/children.js';
import { ownAccount } from './system/environment.js';
import { historyOf } from './journal/history.js';
import { Journal, journalFile } from './journal/journal.js';
import { KeeperLog } from './log/keeper-log.js';
import { completeLimits, type KeeperLimits } from './door/limits.js';
import { Holdings } from './run/holdings.js';
import { fault } from './probes/faults.js';
import { infoOf } from './run/listing.js';
import { keyOf, Retention } from './run/retention.js';
import { KeeperRun } from './run/run.js';
import { SetAside } from './journal/set-aside.js';
import { LimitGroups } from './bounds/limit-groups.js';
import { removeSpool, spoolFolderName, spoolRoot } from './output/spool.js';
import type { Native } from './system/native.js';
import { OwnProgram } from './transfer/own-program.js';

export interface KeeperSetup {
  readonly home: Home;
  readonly limits: KeeperLimits;
  readonly native: Native;
  /** Whether to make cgroups where that is allowed. */
  readonly cgroups: boolean;
  /** Called when it has been idle for long enough, or was drained. */
  finished(): void;
}

/** Runs that are looked at for one page of a list: others want an answer too. */
const LOOKS = 20_000;
/** More trees than this are not looked at for every process that ends. */
const FEW_TREES = 8;
const TREES_MS = 20;
const ORPHANS_MS = 200;
/** How long agents may take to hear why the keeper ends. */
const GOODBYE_MS = 100;

export class Keeper implements Desk, OpeningDesk {
  readonly home: Home;
  readonly limits: KeeperLimits;
  readonly native: Native;
  readonly children: Children;
  readonly cgroups: Cgroups | undefined;
  readonly limitGroups: LimitGroups;
  readonly journal: Journal;
  readonly log: KeeperLog;
  readonly holdings: Holdings;
  readonly inputPool: CreditPool;
  readonly account = ownAccount();
  readonly ownProgram = new OwnProgram();
  readonly devNull = openSync('/dev/null', 'r+');
  readonly bootId = readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
  readonly #finished: () => void;
  readonly #retention: Retention;
  readonly #runs = new Map<string, KeeperRun>();
  readonly #opening: Opening;
  /** Their leader has ended, their output or tree has not. */
  readonly #lingering = new Set<KeeperRun>();
  /** The ends of these trees are waited for. */
  readonly #watched = new Set<KeeperRun>();
  #treeTimer: NodeJS.Timeout | undefined;
  readonly #agents = new Set<AgentConnection>();
  /** Where the last page of a list ended. */
  #lastPage: { readonly end: number; readonly walk: Iterator<KeeperRun, unknown> } | undefined;
  /** What commands do not get as the last agent's starter had it. */
  #different: readonly string[] = [];
  #draining = false;
  #retiring = false;
  #idleTimer: NodeJS.Timeout | undefined;
  /** As it was started. */
  readonly #idleExitMs: number;

  /**
   * Takes up what the journal says.
   * @throws when the journal or the folders cannot be used.
   */
  constructor(setup: KeeperSetup) {
    this.home = setup.home;
    this.limits = setup.limits;
    this.#idleExitMs = setup.limits.idleExitMs;
    this.native = setup.native;
    this.#finished = () => setup.finished();
    const { bootId, limits } = this;
    const { journal, entries, damaged } = Journal.open(journalFile(setup.home), bootId, new SetAside(setup.home));
    this.journal = journal;
    journal.startWriting = setup.native.startWriting;
    this.holdings = new Holdings(setup.limits.spoolTotal);
    this.inputPool = new CreditPool(setup.limits.stdinTotal);
    this.cgroups = setup.cgroups ? Cgroups.open() : undefined;
    this.limitGroups = new LimitGroups(this.cgroups, setup.native.bearsInGroups);
    const history = historyOf(entries);
    const live = (): number => this.live;
    const synced = isSynced(journal);
    journal.append({ kind: 'keeper', bootId, pid: process.pid, startMs: Date.now() });
    const opened = { entries, damaged, bootId, synced };
    this.log = new KeeperLog(setup.home, journal, opened, { live, keepBytes: () => limits.logTotal });
    this.#retention = new Retention(this.#runs, journal, this.log, this.holdings, limits, history.forgottenBeforeMs);
    this.#opening = new Opening(this, this.#runs, this.#retention, history.nextNo);
    this.children = new Children(
      setup.native,
      () => this.#treesMayHaveEnded(),
      () => this.#opening.isSpawning,
    );
    for (const facts of history.runs) {
      const run = new KeeperRun(this, this, facts);
      const key = keyOf(facts.intent.principal, facts.intent.runId);
      this.#runs.set(key, run);
      const holding = this.holdings.of(facts.intent.principal);
      holding.known++;
      holding.spool.add(run.restore(history.bootId === this.bootId));
      if (facts.dropped) this.#retention.addId(key, run);
      else this.#retention.add(run);
      // Its keeper died between the caller's word and this.
      if (run.hasPassed) this.#retention.drop(run);
    }
    this.#removeDroppedOutput();
    this.#retention.sweep();
    this.watchIdle();
  }

  /** Output of runs that were dropped: a crash between two removals. */
  #removeDroppedOutput(): void {
    const there = new Set(readdirSync(spoolRoot(this.home)));
    for (const { remembered, identity, folder } of this.#runs.values())
      if (remembered.isDropped && there.has(spoolFolderName(remembered.principal, identity.runId))) removeSpool(folder);
  }

  // -- agents

  accept(socket: Socket): void {
    if (this.#agents.size >= this.limits.maxAgents) {
      socket.destroy();
      return;
    }
    this.#agents.add(new AgentConnection(this, socket));
    clearTimeout(this.#idleTimer);
  }

  left(agent: AgentConnection): void {
    this.#agents.delete(agent);
    this.watchIdle();
  }

  get live(): number {
    return this.#opening.running.size + this.#opening.waiting.size + this.#lingering.size;
  }

  get draining(): boolean {
    return this.#draining;
  }

  /** It may be without runs and agents now: ends then, at once or after a while. */
  watchIdle(): void {
    clearTimeout(this.#idleTimer);
    if (this.live > 0) return;
    if (this.#draining || this.#retiring) this.#finished();
    else if (this.#agents.size === 0 && this.limits.idleExitMs > 0)
      this.#idleTimer = setTimeout(() => this.#finished(), this.limits.idleExitMs);
  }

  // -- the rest of a run's life

  open(agent: AgentConnection, message: MessageNamed<'OPEN'>): void {
    this.#opening.open(agent, message);
  }

  exited(run: KeeperRun): void {
    this.#lingering.add(run);
    this.#opening.ended(run);
  }

  settled(run: KeeperRun): void {
    this.#lingering.delete(run);
    this.#opening.settled(run);
    this.#retention.add(run);
    this.watchIdle();
  }

  passed(run: KeeperRun): void {
    fault('before-passing');
    this.#retention.drop(run);
  }

  cancelQueued(run: KeeperRun, reason: string | undefined, code?: string): void {
    this.#opening.cancel(run, reason, code);
  }

  watchTree(run: KeeperRun): void {
    this.#watched.add(run);
    // Where orphans do not become ours, their ends raise no signal here.
    if (!this.native.subreaper) this.#treeTimer ??= setTimeout(() => this.#checkTrees(), ORPHANS_MS);
  }

  /** A process has ended. Many trees are asked together, a moment later. */
  #treesMayHaveEnded(): void {
    if (this.#watched.size <= FEW_TREES) this.#checkTrees();
    else this.#treeTimer ??= setTimeout(() => this.#checkTrees(), TREES_MS);
  }

  #checkTrees(): void {
    clearTimeout(this.#treeTimer);
    this.#treeTimer = undefined;
    for (const run of this.#watched) {
      if (run.checkTree()) this.watchTree(run);
      else this.#watched.delete(run);
    }
  }

  // -- questions

  /** The run, unless it is not known or was forgotten. */
  find(principal: string, runId: Uint8Array): KeeperRun | undefined {
    const run = this.#runs.get(keyOf(principal, runId));
    return run?.remembered.isDropped ? undefined : run;
  }

  /** Runs of a principal (of all when it is undefined), oldest first; finished ones only when asked for. */
  list(
    principal: string | undefined,
    all: boolean,
    after: number,
    take: (run: RunInfo) => boolean,
  ): number | undefined {
    // The next page is mostly asked for by the reader of the last one: the walk goes on from there.
    const walk = after > 0 && after === this.#lastPage?.end ? this.#lastPage.walk : this.#runs.values();
    this.#lastPage = undefined;
    let looks = 0;
    for (let step = walk.next(); !step.done; step = walk.next()) {
      const run = step.value;
      const { remembered, no } = run;
      const wanted =
        no > after &&
        !remembered.isDropped &&
        (principal === undefined || remembered.principal === principal) &&
        (all || !run.over || this.#lingering.has(run));
      const more = wanted ? take(infoOf(run)) : true;
      if (more && (no <= after || ++looks < LOOKS)) continue;
      this.#lastPage = { end: no, walk };
      return no;
    }
    return undefined;
  }

  /** Drops a finished run's output and result. Says why not. */
  forget(principal: string, runId: Uint8Array): string {
    const run = this.find(principal, runId);
    if (!run) return 'unknown';
    if (!run.over || this.#lingering.has(run)) return 'still running';
    this.#retention.drop(run);
    return 'done';
  }

  status(): object {
    return {
      pid: process.pid,
      running: this.#opening.running.size,
      queued: this.#opening.waiting.size,
      lingering: this.#lingering.size,
      remembered: this.#runs.size,
      spoolBytes: this.holdings.spool.used,
      native: this.native.subreaper,
      proof: this.cgroups ? 'cgroup' : 'unproven',
      lastToGo: this.native.isLastToGo,
      cannotLimit: this.limitGroups.lack ?? null,
      cannotTransfer: this.ownProgram.problem ?? null,
      different: this.#different,
      draining: this.#draining,
      agents: this.#agents.size,
      syncs: this.journal.syncs,
      log: this.log.status,
      limits: this.limits,
    };
  }

  /** An agent has come: commands get what its starter had. */
  adopt(starter: Starter): void {
    this.#different = this.native.adopt(starter);
  }

  /** An agent has come: its limits hold, and the defaults for what it does not limit. */
  limitTo(given: Partial<KeeperLimits>): void {
    const { limits } = this;
    // How long it stays alone is its starter's to say, such as systemd's.
    Object.assign(limits, completeLimits({ idleExitMs: this.#idleExitMs, ...given }));
    this.holdings.spool.resize(limits.spoolTotal);
    this.inputPool.resize(limits.stdinTotal);
    for (const agent of this.#agents) agent.wire.backlog = limits.agentBacklog;
    this.#opening.resize();
    this.#retention.resize();
    this.watchIdle();
  }

  /** No new runs; ends when those it has are over. */
  drain(): void {
    this.#draining = true;
    this.watchIdle();
  }

  /** Goes on as it is until there is a moment without commands, and ends then: another version takes up the journal. */
  retire(): void {
    this.#retiring = true;
    this.watchIdle();
  }

  /** Another keeper has taken over: tells the agents why this one ends, and writes nothing more. */
  abandon(error: Error, then: () => void): void {
    for (const agent of this.#agents) agent.wire.fail(error);
    setTimeout(then, GOODBYE_MS);
  }

  /** Ends every command. */
  endRuns(reason: string): void {
    for (const run of [...this.#opening.waiting.all, ...this.#opening.running, ...this.#lingering])
      // Also one that has its turn and is about to be prepared.
      if (run.state === 'queued') this.cancelQueued(run, reason);
      else run.end('cancelled', undefined, reason);
  }

  close(): void {
    for (const agent of this.#agents) agent.wire.close();
    this.#retention.close();
    this.children.close();
    this.ownProgram.close();
    this.limitGroups.close();
    this.cgroups?.close();
    this.log.close();
    this.journal.close();
  }
}

/**
 * Syncs what an earlier keeper has appended: it may be in memory only, and that keeper has told heads of it. Before our own
 * entries, which may not fit on a full disk.
 */
function isSynced(journal: Journal): boolean {
  try {
    journal.syncNow();
    return true;
  } catch {
    return false;
  }
}
