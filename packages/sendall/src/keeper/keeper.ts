/**
 * The keeper: owns children, pipes, spool and the run journal, and survives every agent. It knows no network, no keys
 * and no policy; who may speak to its socket may run commands as its user.
 */
import { hash, timingSafeEqual } from 'node:crypto';
import { openSync, readdirSync, readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { ProtocolError } from '../errors.js';
import type { Home } from '../home.js';
import { decodeSpec } from '../protocol/codec.js';
import type { MessageNamed, RunInfo, Spec } from '../protocol/messages.js';
import { AgentConnection, type Desk } from './agent-connection.js';
import { SpoolBudget } from './output/budget.js';
import { CreditPool } from '../protocol/flow.js';
import { Cgroups } from './system/cgroup.js';
import { Children } from './system/children.js';
import { ownAccount } from './system/environment.js';
import { publish } from './probes/events.js';
import { fault } from './probes/faults.js';
import { replay } from './journal/history.js';
import { Journal, journalFile, type RecordOf } from './journal/journal.js';
import type { KeeperLimits } from './door/limits.js';
import { Places, type Place } from './run/places.js';
import { StartFailure } from './system/program.js';
import { keyOf, Retention } from './run/retention.js';
import { KeeperRun, type RunOwner } from './run/run.js';
import { WaitingRuns } from './run/waiting-runs.js';
import { SetAside } from './journal/set-aside.js';
import { journalWords } from './run/shown-words.js';
import { Spawner } from './system/spawner.js';
import { removeSpool, spoolFolderName, spoolRoot } from './output/spool.js';
import type { Native } from './system/native.js';

export interface KeeperSetup {
  readonly home: Home;
  readonly limits: KeeperLimits;
  readonly native: Native;
  /** Whether to make cgroups where that is allowed. */
  readonly cgroups: boolean;
  /** Called when it has been idle for long enough, or was drained. */
  finished(): void;
}

type Refusal = { code: string; message: string };

/** Characters of a name or tag that listings and the journal show, and how many tags. */
const SHOWN_NAME = 256;
const SHOWN_TAGS = 64;
/** Commands started in one turn of the event loop. */
const BURST = 8;
/** Commands that start within so many milliseconds start together. */
const CROWD_MS = 1;
/** Runs that are looked at for one page of a list: others want an answer too. */
const LOOKS = 20_000;
/** More trees than this are not looked at for every process that ends. */
const FEW_TREES = 8;
const TREES_MS = 20;
const ORPHANS_MS = 200;
/** How long agents may take to hear why the keeper ends. */
const GOODBYE_MS = 100;

export class Keeper implements Desk, RunOwner {
  readonly home: Home;
  readonly limits: KeeperLimits;
  readonly native: Native;
  readonly children: Children;
  readonly cgroups: Cgroups | undefined;
  readonly journal: Journal;
  readonly budget: SpoolBudget;
  readonly inputShare: CreditPool;
  readonly account = ownAccount();
  readonly devNull = openSync('/dev/null', 'r+');
  readonly bootId = readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
  readonly #finished: () => void;
  readonly #retention: Retention;
  readonly #runs = new Map<string, KeeperRun>();
  readonly #running = new Set<KeeperRun>();
  readonly #queue = new WaitingRuns();
  readonly #places: Places;
  readonly #placeOf = new Map<KeeperRun, Place>();
  /** Their leader has ended, their output or tree has not. */
  readonly #lingering = new Set<KeeperRun>();
  /** Somebody waits for the end of these trees. */
  readonly #watched = new Set<KeeperRun>();
  #treeTimer: NodeJS.Timeout | undefined;
  readonly #agents = new Set<AgentConnection>();
  /** Where the last page of a list ended. */
  #lastPage: { readonly end: number; readonly walk: Iterator<KeeperRun, unknown> } | undefined;
  #nextNo = 1;
  /** Prepared or about to be, not started yet. */
  #starting = 0;
  #nextScheduled = false;
  #lastStart = -Infinity;
  #spawner: Spawner | undefined;
  #draining = false;
  #retiring = false;
  #idleTimer: NodeJS.Timeout | undefined;

  /** Takes up what the journal says. Throws when the journal or the folders cannot be used. */
  constructor(setup: KeeperSetup) {
    this.home = setup.home;
    this.limits = setup.limits;
    this.#places = new Places(setup.limits);
    this.native = setup.native;
    this.#finished = () => setup.finished();
    const { journal, records } = Journal.open(journalFile(setup.home), this.bootId, new SetAside(setup.home));
    this.journal = journal;
    journal.startWriting = setup.native.startWriting;
    this.budget = new SpoolBudget(setup.limits.spoolTotal);
    this.inputShare = new CreditPool(setup.limits.stdinTotal);
    this.cgroups = setup.cgroups ? Cgroups.open() : undefined;
    this.children = new Children(
      setup.native,
      () => this.#treesMayHaveEnded(),
      () => this.#spawner?.busy ?? false,
    );
    const history = replay(records);
    this.#nextNo = history.nextNo;
    this.#retention = new Retention(this.#runs, journal, this.budget, this.limits, history.forgottenBeforeMs);
    journal.append({ kind: 'keeper', bootId: this.bootId, pid: process.pid, startMs: Date.now() });
    for (const facts of history.runs) {
      const run = new KeeperRun(this, this, facts);
      const key = keyOf(facts.intent.principal, facts.intent.runId);
      this.#runs.set(key, run);
      this.budget.add(run.restore(history.bootId === this.bootId));
      if (facts.dropped) this.#retention.addId(key, run);
      else this.#retention.add(run);
    }
    this.#removeDroppedOutput();
    this.#retention.sweep();
    this.#watchIdle();
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
    this.#watchIdle();
  }

  get live(): number {
    return this.#running.size + this.#queue.size + this.#lingering.size;
  }

  #watchIdle(): void {
    clearTimeout(this.#idleTimer);
    if (this.live > 0) return;
    if (this.#draining || this.#retiring) this.#finished();
    else if (this.#agents.size === 0 && this.limits.idleExitMs > 0)
      this.#idleTimer = setTimeout(() => this.#finished(), this.limits.idleExitMs);
  }

  // -- opening

  /** OPEN: a new run, the one that is there, or a refusal. */
  open(agent: AgentConnection, message: MessageNamed<'OPEN'>): void {
    const { alias, runId } = message;
    const refuse = ({ code, message }: Refusal): void =>
      void agent.wire.send({ type: 'REFUSED', alias, runId, code, message });
    const principal = message.principal ?? '';
    const specHash = hash('sha256', message.spec, 'buffer');
    const existing = this.#runs.get(keyOf(principal, runId));
    if (existing) {
      const refusal = mayReopen(existing, specHash, this.limits.maxAttachments);
      if (refusal) refuse(refusal);
      else this.#reopen(agent, message, existing);
      return;
    }
    // A copy: the message's bytes are a view of what the socket read.
    const raw = Uint8Array.from(message.spec);
    let spec: Spec;
    try {
      spec = decodeSpec(raw);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      return refuse({ code: 'badspec', message: error.message });
    }
    const refusal = this.#mayOpen(message);
    if (refusal) return refuse(refusal);
    const place = this.#places.take(message.caller ?? principal, raw.length);
    if (typeof place === 'string') return refuse({ code: 'busy', message: place });
    const intent: RecordOf<'intent'> = {
      kind: 'intent',
      no: this.#nextNo++,
      principal,
      runId: Uint8Array.from(runId),
      specHash,
      openedMs: Date.now(),
      notAfterMs: message.notAfterMs,
      keepMs: Math.min(spec.keepMs ?? this.limits.keepMs, this.limits.keepMs),
      argv: journalWords(spec),
      name: spec.name?.slice(0, SHOWN_NAME),
      tags: spec.tags.slice(0, SHOWN_TAGS).map((tag) => tag.slice(0, SHOWN_NAME)),
    };
    fault('before-intent');
    const frame = this.journal.append(intent);
    const run = new KeeperRun(this, this, { intent, treeEnded: false, acked: false, dropped: false }, frame);
    run.specify(raw, spec);
    this.#placeOf.set(run, place);
    publish({ what: 'intent', no: intent.no });
    this.#runs.set(keyOf(principal, runId), run);
    agent.attach(run, true, { ...message, again: false });
    const immediate = this.#starting < BURST && this.#queue.size === 0 && place.begin();
    this.journal.sync((error) => this.#intentSynced(run, error));
    this.native.expectRuns(this.live);
    if (!immediate) {
      this.#queue.add(run, place.caller, message.link ?? 0);
      return;
    }
    this.#running.add(run);
    this.#starting++;
    // Between the sync's beginning and its end: the disk works while we open what the command needs.
    queueMicrotask(() => this.#prepare(run));
  }

  #reopen(agent: AgentConnection, message: MessageNamed<'OPEN'>, run: KeeperRun): void {
    const attachment = agent.attach(run, true, message);
    const { runId, specHash } = run.identity;
    const controlEpoch = attachment.control ? run.audience.controlEpoch : undefined;
    attachment.send({ type: 'OPENED', runId, specHash, state: 'existing', controlEpoch });
    run.welcome(attachment);
  }

  #mayOpen(message: MessageNamed<'OPEN'>): Refusal | undefined {
    const { epoch, notAfterMs } = message;
    const { maxNotAfterMs, maxIds } = this.limits;
    const now = Date.now();
    if (epoch && !this.journal.epoch.equals(epoch))
      return { code: 'unknown', message: 'this machine has a new run journal: whether the command ran is not known' };
    if (notAfterMs <= now || notAfterMs <= this.#retention.forgottenBeforeMs)
      return { code: 'expired', message: 'the time in which this run could be started is over' };
    if (notAfterMs > now + maxNotAfterMs)
      return { code: 'limits', message: `notAfter lies further ahead than maxNotAfterMs (${maxNotAfterMs})` };
    if (this.#draining) return { code: 'busy', message: 'this keeper takes no new runs' };
    if (this.#runs.size >= maxIds)
      return { code: 'limits', message: `the keeper remembers maxIds (${maxIds}) runs already` };
    try {
      this.journal.reserve(this.live);
    } catch (error) {
      return { code: 'limits', message: `the run journal cannot be written (${(error as Error).message})` };
    }
    return undefined;
  }

  /** Opens what the command needs, and starts it when its intent is on the disk already. */
  #prepare(run: KeeperRun): void {
    if (run.over) {
      // Cancelled in the same moment as it was opened.
      this.#starting--;
      return;
    }
    try {
      run.prepare();
    } catch (error) {
      this.#starting--;
      this.#refuse(run, failureOf(error));
      return;
    }
    if (run.promised) this.#start(run);
  }

  #intentSynced(run: KeeperRun, error: Error | undefined): void {
    fault('after-sync');
    if (error) {
      if (run.state === 'starting') this.#starting--;
      this.#refuse(run, { code: 'limits', message: `the run journal cannot be written (${error.message})` });
      return;
    }
    if (run.over) return;
    run.promised = true;
    if (run.state === 'starting') return this.#start(run);
    run.opened();
    if (run.state === 'queued') this.#nextSoon();
  }

  #start(run: KeeperRun): void {
    const now = performance.now();
    const crowd = this.#starting > 1 || now - this.#lastStart < CROWD_MS;
    this.#lastStart = now;
    this.#starting--;
    if (crowd && this.native.subreaper) this.#spawner ??= new Spawner();
    run.start(crowd, this.#spawner, (failure) => this.#refuse(run, failureOf(failure)));
  }

  #refuse(run: KeeperRun, { code, message }: Refusal): void {
    if (run.over) return;
    run.refuse(code, message);
    this.#queue.delete(run);
    this.#running.delete(run);
    this.#placeOf.get(run)?.release();
    this.#placeOf.delete(run);
    this.#retention.add(run);
    this.#nextSoon();
  }

  /** The next of the queue, when there is room; a few at a time, so that those who run are heard in between. */
  #next(): void {
    let started = 0;
    for (;;) {
      if (started >= BURST) {
        if (this.#queue.size) this.#nextSoon();
        break;
      }
      const run = this.#queue.next((each) => this.#placeOf.get(each)!.begin());
      if (!run) break;
      started++;
      this.#queue.delete(run);
      this.#running.add(run);
      this.#starting++;
      this.#prepare(run);
    }
    this.#watchIdle();
  }

  #nextSoon(): void {
    if (this.#nextScheduled) return;
    this.#nextScheduled = true;
    setImmediate(() => {
      this.#nextScheduled = false;
      this.#next();
    });
  }

  // -- the rest of a run's life

  exited(run: KeeperRun): void {
    this.#running.delete(run);
    this.#placeOf.get(run)?.end();
    this.#lingering.add(run);
    this.#next();
  }

  settled(run: KeeperRun): void {
    this.#lingering.delete(run);
    this.#placeOf.get(run)?.release();
    this.#placeOf.delete(run);
    this.#retention.add(run);
    this.#watchIdle();
  }

  cancelQueued(run: KeeperRun, reason: string | undefined): void {
    this.#refuse(run, { code: 'cancelled', message: reason ?? 'cancelled before it started' });
  }

  watchTree(run: KeeperRun): void {
    this.#watched.add(run);
    // Where orphans are not ours, nobody says when they end.
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
    // Whoever asks for the next page mostly is who had the last one: it need not be looked for.
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
      const more = wanted ? take(run.info()) : true;
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
      running: this.#running.size,
      queued: this.#queue.size,
      lingering: this.#lingering.size,
      remembered: this.#runs.size,
      spoolBytes: this.budget.used,
      native: this.native.subreaper,
      proof: this.cgroups ? 'cgroup' : 'unproven',
      lastToGo: this.native.isLastToGo,
      draining: this.#draining,
      agents: this.#agents.size,
      syncs: this.journal.syncs,
      limits: this.limits,
    };
  }

  /** No new runs; ends when those it has are over. */
  drain(): void {
    this.#draining = true;
    this.#watchIdle();
  }

  /** Goes on as it is until there is a moment without commands, and ends then: another version takes up the journal. */
  retire(): void {
    this.#retiring = true;
    this.#watchIdle();
  }

  /** Another keeper has taken over: tells the agents why this one ends, and writes nothing more. */
  abandon(error: Error, then: () => void): void {
    for (const agent of this.#agents) agent.wire.fail(error);
    setTimeout(then, GOODBYE_MS);
  }

  /** Ends every command. */
  endRuns(reason: string): void {
    for (const run of this.#queue.all) this.cancelQueued(run, reason);
    for (const run of [...this.#running, ...this.#lingering]) run.end('cancelled', undefined, reason);
  }

  close(): void {
    for (const agent of this.#agents) agent.wire.close();
    this.#retention.close();
    this.children.close();
    this.cgroups?.close();
    this.journal.close();
  }
}

/** Whatever kept a command from starting is told to its caller, and nobody else suffers. */
function failureOf(error: unknown): Refusal {
  if (error instanceof StartFailure) return error;
  return { code: 'limits', message: `the keeper could not start it: ${(error as Error).message}` };
}

/** Why the run that is there cannot be had again. */
function mayReopen({ identity, facts, audience }: KeeperRun, specHash: Buffer, most: number): Refusal | undefined {
  if (!timingSafeEqual(identity.specHash, specHash))
    return { code: 'conflict', message: 'this run id is taken by another command' };
  if (facts.dropped) return { code: 'expired', message: 'this run is over and was forgotten' };
  if (!facts.refused && audience.attachments.size >= most)
    return { code: 'busy', message: `maxAttachments (${most}) of this run are attached` };
  return facts.refused;
}
