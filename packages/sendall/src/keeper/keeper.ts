/**
 * The keeper: owns children, pipes, spool and the run journal, and survives every agent. It knows no network, no keys
 * and no policy; who may speak to its socket may run commands as its user.
 */
import { hash, timingSafeEqual } from 'node:crypto';
import { openSync, readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { ProtocolError } from '../errors.js';
import type { Home } from '../home.js';
import { decodeSpec } from '../protocol/codec.js';
import type { MessageNamed, RunInfo, Spec } from '../protocol/messages.js';
import { AgentConnection } from './agent-connection.js';
import { Attachment } from './attachment.js';
import { SpoolBudget } from './budget.js';
import { Cgroups } from './cgroup.js';
import { Children } from './children.js';
import { ownAccount } from './environment.js';
import { fault } from './faults.js';
import { Journal } from './journal.js';
import type { KeeperLimits } from './limits.js';
import type { Machine } from './machine.js';
import { StartFailure } from './program.js';
import { Run, shownArgv } from './run.js';
import { removeSpool } from './spool.js';
import type { Native } from './syscalls.js';

export interface KeeperSetup {
  readonly home: Home;
  readonly limits: KeeperLimits;
  readonly native: Native;
  /** Called when it has been idle for long enough, or was drained. */
  finished(): void;
}

type Refusal = { code: string; message: string };

export class Keeper implements Machine {
  readonly home: Home;
  readonly limits: KeeperLimits;
  readonly native: Native;
  readonly children: Children;
  readonly cgroups: Cgroups | undefined;
  readonly journal: Journal;
  readonly budget: SpoolBudget;
  readonly account = ownAccount();
  readonly devNull = openSync('/dev/null', 'r+');
  readonly bootId = readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
  readonly #finished: () => void;
  readonly #runs = new Map<string, Run>();
  readonly #running = new Set<Run>();
  readonly #queue = new Set<Run>();
  readonly #lingering = new Set<Run>();
  readonly #agents = new Set<AgentConnection>();
  #nextNo = 1;
  #forgottenBeforeMs = 0;
  #draining = false;
  #idleTimer: NodeJS.Timeout | undefined;

  constructor(setup: KeeperSetup) {
    this.home = setup.home;
    this.limits = setup.limits;
    this.native = setup.native;
    this.#finished = () => setup.finished();
    const { journal } = Journal.open(`${setup.home.state}/journal`, this.bootId);
    this.journal = journal;
    this.budget = new SpoolBudget(setup.limits.spoolTotal);
    const cgroups = Cgroups.open();
    this.cgroups = 'groups' in cgroups ? cgroups.groups : undefined;
    this.children = new Children(setup.native, () => this.#treesMayHaveEnded());
    journal.append({ kind: 'keeper', bootId: this.bootId, pid: process.pid, startMs: Date.now() });
    this.#watchIdle();
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

  get running(): number {
    return this.#running.size;
  }

  #watchIdle(): void {
    clearTimeout(this.#idleTimer);
    if (this.live > 0) return;
    if (this.#draining) this.#finished();
    else if (this.#agents.size === 0 && this.limits.idleExitMs > 0)
      this.#idleTimer = setTimeout(() => this.#finished(), this.limits.idleExitMs);
  }

  // -- opening

  /** OPEN: a new run, the one that is there, or a refusal. */
  open(agent: AgentConnection, message: MessageNamed<'OPEN'>): void {
    const { alias, runId } = message;
    const refuse = ({ code, message }: Refusal): void =>
      agent.wire.send({ type: 'REFUSED', alias, runId, code, message });
    const principal = message.principal ?? '';
    const specHash = hash('sha256', message.spec, 'buffer');
    const existing = this.#runs.get(keyOf(principal, runId));
    if (existing) return this.#reopen(agent, alias, existing, specHash, refuse);
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
    const run = new Run(this, {
      no: this.#nextNo++,
      principal,
      runId: Uint8Array.from(runId),
      specHash,
      openedMs: Date.now(),
      notAfterMs: message.notAfterMs,
      keepMs: Math.min(spec.keepMs ?? this.limits.keepMs, this.limits.keepMs),
      argv: spec.verb === 'sh' ? [Buffer.from('sh')] : shownArgv(spec.argv),
      name: spec.name?.slice(0, 256),
      tags: spec.tags.slice(0, 64).map((tag) => tag.slice(0, 256)),
    });
    run.specify(raw, spec);
    fault('before-intent');
    this.journal.append({ kind: 'intent', ...run.identity });
    fault('after-intent');
    this.#runs.set(keyOf(principal, runId), run);
    const attachment = agent.attach(alias, run, true);
    const immediate = this.#running.size < this.limits.maxRunning;
    if (immediate) this.#running.add(run);
    else this.#queue.add(run);
    this.journal.sync((error) => this.#intentSynced(run, attachment, error));
    // Behind the sync's own microtask: a slow disk works while we open what the command needs.
    if (immediate) queueMicrotask(() => this.#prepare(run));
  }

  #reopen(agent: AgentConnection, alias: number, run: Run, specHash: Buffer, refuse: (refusal: Refusal) => void): void {
    if (!timingSafeEqual(run.identity.specHash, specHash))
      return refuse({ code: 'conflict', message: 'this run id is taken by another command' });
    if (run.refused) return refuse(run.refused);
    const attachment = agent.attach(alias, run, true);
    attachment.send({
      type: 'OPENED',
      runId: run.identity.runId,
      specHash,
      state: 'existing',
      controlEpoch: run.controlEpoch,
    });
    run.welcome(attachment);
  }

  #mayOpen(message: MessageNamed<'OPEN'>): Refusal | undefined {
    const { runId, epoch, notAfterMs } = message;
    const now = Date.now();
    if (runId.length !== 16) return { code: 'badspec', message: `a run id has 16 bytes, not ${runId.length}` };
    if (epoch && !this.journal.epoch.equals(epoch))
      return { code: 'unknown', message: 'this machine has a new run journal: whether the command ran is not known' };
    if (notAfterMs <= now || notAfterMs <= this.#forgottenBeforeMs)
      return { code: 'expired', message: 'the time in which this run could be started is over' };
    if (notAfterMs > now + this.limits.maxNotAfterMs)
      return {
        code: 'limits',
        message: `notAfter lies further ahead than maxNotAfterMs (${this.limits.maxNotAfterMs})`,
      };
    if (this.#draining) return { code: 'busy', message: 'this keeper takes no new runs' };
    if (this.#runs.size >= this.limits.maxIds)
      return { code: 'limits', message: `the keeper remembers maxIds (${this.limits.maxIds}) runs already` };
    if (this.#running.size >= this.limits.maxRunning && this.#queue.size >= this.limits.maxQueued)
      return { code: 'busy', message: `maxRunning and maxQueued (${this.limits.maxQueued}) are reached` };
    try {
      this.journal.reserve(this.live);
    } catch (error) {
      return { code: 'limits', message: `the run journal cannot be written (${(error as Error).message})` };
    }
    return undefined;
  }

  /** Opens what the command needs, and starts it when its intent is on the disk already. */
  #prepare(run: Run): void {
    try {
      run.prepare();
    } catch (error) {
      if (!(error instanceof StartFailure)) throw error;
      this.#refuse(run, error);
      return;
    }
    if (run.promised) this.#start(run);
  }

  #intentSynced(run: Run, attachment: Attachment, error: Error | undefined): void {
    fault('after-sync');
    if (error) {
      this.#refuse(run, { code: 'limits', message: `the run journal cannot be written (${error.message})` });
      return;
    }
    if (run.refused) return;
    const { runId, specHash } = run.identity;
    if (run.attachments.has(attachment))
      attachment.send({ type: 'OPENED', runId, specHash, state: 'new', controlEpoch: run.controlEpoch });
    run.promised = true;
    if (run.state === 'starting') this.#start(run);
  }

  #start(run: Run): void {
    try {
      run.start();
    } catch (error) {
      if (!(error instanceof StartFailure)) throw error;
      this.#refuse(run, error);
    }
  }

  #refuse(run: Run, { code, message }: Refusal): void {
    if (run.over) return;
    this.journal.append({ kind: 'refused', no: run.identity.no, code, message });
    run.refuse(code, message);
    this.#queue.delete(run);
    this.#running.delete(run);
    this.#next();
  }

  /** The next of the queue, when there is room. */
  #next(): void {
    for (const run of this.#queue) {
      if (this.#running.size >= this.limits.maxRunning) return;
      this.#queue.delete(run);
      this.#running.add(run);
      this.#prepare(run);
    }
    this.#watchIdle();
  }

  // -- the rest of a run's life

  exited(run: Run): void {
    this.#running.delete(run);
    this.#next();
  }

  linger(run: Run): void {
    this.#lingering.add(run);
  }

  settle(run: Run): void {
    // Its output may end before its last process does.
    if (!run.treeEnded) return;
    this.#lingering.delete(run);
    run.settle();
    this.#watchIdle();
  }

  cancelQueued(run: Run, reason: string | undefined): void {
    this.#refuse(run, { code: 'cancelled', message: reason ?? 'cancelled before it started' });
  }

  #treesMayHaveEnded(): void {
    for (const run of this.#lingering) run.checkTree();
    for (const run of this.#running) run.checkTree();
  }

  find(principal: string, runId: Uint8Array): Run | undefined {
    return this.#runs.get(keyOf(principal, runId));
  }

  /** Runs of a principal (of all when it is undefined); finished ones only when asked for. */
  list(principal: string | undefined, all: boolean): RunInfo[] {
    const runs: RunInfo[] = [];
    for (const run of this.#runs.values()) {
      if (run.forgotten || (principal !== undefined && run.identity.principal !== principal)) continue;
      if (all || !run.over || this.#lingering.has(run)) runs.push(run.info());
    }
    return runs;
  }

  /** Drops a finished run's output and result. Says why not. */
  forget(principal: string, runId: Uint8Array): string {
    const run = this.find(principal, runId);
    if (!run) return 'unknown';
    if (!run.over || this.#lingering.has(run)) return 'still running';
    this.journal.append({ kind: 'dropped', no: run.identity.no });
    run.forgotten = true;
    removeSpool(run.folder);
    return 'done';
  }

  status(): object {
    return {
      pid: process.pid,
      running: this.#running.size,
      queued: this.#queue.size,
      remembered: this.#runs.size,
      spoolBytes: this.budget.used,
      proof: this.cgroups ? 'cgroup' : 'unproven',
      draining: this.#draining,
      agents: this.#agents.size,
      syncs: this.journal.syncs,
    };
  }

  /** No new runs; ends when those it has are over. */
  drain(): void {
    this.#draining = true;
    this.#watchIdle();
  }

  /** Ends every command. */
  endRuns(reason: string): void {
    for (const run of this.#queue) this.cancelQueued(run, reason);
    for (const run of [...this.#running, ...this.#lingering]) run.end('cancelled', undefined, reason);
  }

  close(): void {
    for (const agent of this.#agents) agent.wire.close();
    this.children.close();
    this.cgroups?.close();
    this.journal.close();
  }
}

const keyOf = (principal: string, runId: Uint8Array): string => `${Buffer.from(runId).toString('latin1')}${principal}`;
