/**
 * One command from its intent to the end of its process tree. Exit, end of output and end of the tree are three events;
 * what callers hear of each is in the journal first.
 */
import { constants } from 'node:os';
import type { RecordOf } from '../../log/records.js';
import { startsOwnProgram } from '../../protocol/own-runs.js';
import { formatRunId } from '../../protocol/run-id.js';
import { HIGHEST_SIGNAL, signalName } from '../../protocol/signals.js';
import {
  MAX_FRAME,
  STREAM,
  type Exit,
  type Grant,
  type MessageNamed,
  type Spec,
  type Started,
  type StreamState,
} from '../../protocol/messages.js';
import type { KeeperAttachment } from './attachment.js';
import { Audience } from './audience.js';
import { Deadlines } from './deadlines.js';
import { Ending, type EndReport } from './ending.js';
import { exitOf } from './exit.js';
import { publish } from '../probes/events.js';
import { fault } from '../probes/faults.js';
import type { Facts, LaterEntry } from '../journal/history.js';
import type { Input } from './input.js';
import { cutText, type EntryOf } from '../journal/entries.js';
import type { Secrets } from './secrets.js';
import type { RunServices } from './services.js';
import { after } from '../../timer.js';
import { Operations, type Operation, type Outcome } from './operations.js';
import { Outputs, type OutputsEvents } from './outputs.js';
import { Screen } from './screen.js';
import { Stdin } from './stdin.js';
import { lostExit, streamsLeftOf, treeLeftOf } from './left-over.js';
import { limitEnd } from '../bounds/limit-ends.js';
import type { LimitGroup } from '../bounds/limit-groups.js';
import { statOf } from '../system/processes.js';
import { StartFailure } from '../system/program.js';
import { Remembered } from '../journal/remembered.js';
import type { Spawner } from '../system/spawner.js';
import { spoolFolder } from '../output/spool.js';
import { Launch } from './start.js';
import { failedCall } from '../../libc/system-error.js';
import type { Status } from '../system/native.js';
import { CgroupTree, ScanTree, SIGCONT, signalAll, type Tree } from '../system/tree.js';
import { fileRecord, ReportPipe } from '../transfer/report-pipe.js';

export type RunState = 'queued' | 'starting' | 'running' | 'exited' | 'refused' | 'lost';
/** Why the keeper ended a command. */
export type Cause = 'timeout' | 'idle' | 'cancelled' | 'limits' | 'oom';

/** Signals and the like that wait for the start of one run. */
const MOST_WAITING = 64;
/** A spec up to this size is kept for attachments after the end. */
const SMALL_SPEC = 4096;
const { SIGHUP } = constants.signals;

/** Who counts runs. */
export interface RunOwner {
  /** Runs that are queued, running, or whose tree has not ended. */
  readonly live: number;
  /** The leader ended and its exit was told. */
  exited(run: KeeperRun): void;
  /** Calls `checkTree` when processes have ended, until it returns false. */
  watchTree(run: KeeperRun): void;
  /** Everything of the run has ended. */
  settled(run: KeeperRun): void;
  /** Nothing is to be kept of it, and its caller has its end. */
  passed(run: KeeperRun): void;
  /** A run that still waits for its turn is not wanted any more; `code`: why, for its callers. */
  cancelQueued(run: KeeperRun, reason: string | undefined, code?: string): void;
}

/** What OPEN says of a run beside its spec. */
interface Beside {
  readonly grant: Grant | undefined;
  readonly secrets: Secrets;
  readonly connection: string | undefined;
}

const LEFT = 'its caller has left';

export class KeeperRun implements OutputsEvents {
  readonly remembered: Remembered;
  readonly #services: RunServices;
  readonly #owner: RunOwner;
  readonly audience = new Audience();
  /** Its intent is on the disk. */
  promised = false;
  /** What is being spent on it now: a process, or a place in the queue. */
  #phase: 'queued' | 'starting' | 'running' | 'over' = 'queued';
  #rawSpec: Uint8Array | undefined;
  #text: string | undefined;
  #spec: Spec | undefined;
  #grant: Grant | undefined;
  /** Until its command has them. */
  #secrets: Secrets = [];
  /** As SSH_CONNECTION has it; see OPEN. */
  #connection: string | undefined;
  #endBy: number | undefined;
  #launch: Launch | undefined;
  #tree: Tree | undefined;
  #limitGroup: LimitGroup | undefined;
  #stdin: Stdin | undefined;
  #screen: Screen | undefined;
  #outputs: Outputs | undefined;
  #report: ReportPipe | undefined;
  /** Streams of a run whose outputs are closed for good. */
  #streams: StreamState[] = [];
  #recorded: Exit['recorded'];
  #status: Status | undefined;
  #endedMs = 0;
  #startedAt = 0;
  #cause: Cause | 'lost' | undefined;
  #reason: string | undefined;
  #ending: Ending | undefined;
  #endReport: EndReport | undefined;
  #endWaiters: ((report: EndReport) => void)[] = [];
  #operations: Operations | undefined;
  #afterStart: (() => void)[] = [];
  #deadlines: Deadlines | undefined;
  /** Its caller, without whom it is nothing, has gone: perhaps it comes back. */
  #isDeserted = false;
  /** The attachment of its OPEN, until OPENED is sent. Other attachments hear ATTACHED. */
  opener: KeeperAttachment | undefined;
  /** EXIT waits until the log's record of it is on the disk. */
  syncsLog = false;
  /** It waits for that now. */
  #isExitDue = false;
  /** Processes of it were left behind its exit. */
  #outlived = false;
  /** It is an earlier keeper's: nothing of it is read or watched here. */
  #isLeftOver = false;
  /** Stops what would end them at the rule's limit. */
  #leaveTree: (() => void) | undefined;

  constructor(services: RunServices, owner: RunOwner, facts: Facts, frame?: Buffer) {
    this.#services = services;
    this.#owner = owner;
    this.remembered = new Remembered(facts, frame);
  }

  // -- what is known

  get facts(): Facts {
    return this.remembered.facts;
  }

  get no(): number {
    return this.remembered.no;
  }

  get identity(): EntryOf<'intent'> {
    return this.facts.intent;
  }

  get folder(): string {
    return spoolFolder(this.#services.home, this.remembered.principal, this.identity.runId);
  }

  get state(): RunState {
    if (this.facts.refused) return 'refused';
    if (this.exit) return this.exit.cause === 'lost' ? 'lost' : 'exited';
    return this.#phase === 'over' ? 'lost' : this.#phase;
  }

  /** The leader has ended, or never will have begun. */
  get over(): boolean {
    return this.remembered.isOver;
  }

  /** Told to callers: the exit with everything that was written before it. */
  get exit(): Exit | undefined {
    return this.facts.exit?.stored ? this.facts.exit.exit : undefined;
  }

  get started(): Started | undefined {
    const { started } = this.facts;
    return started && { pid: started.pid, startMs: started.startMs, program: started.program, bootId: started.bootId };
  }

  get treeEnded(): boolean {
    return this.facts.treeEnded;
  }

  /** Why the keeper ends it, or that it is lost. */
  get cause(): Cause | 'lost' | undefined {
    return this.#cause;
  }

  /** Of a run that is not over. */
  get spec(): Spec | undefined {
    return this.#spec;
  }

  /** The spec as it came, unless it was too long to be kept. */
  get rawSpec(): Uint8Array | undefined {
    return this.#rawSpec ?? this.remembered.rawSpec;
  }

  /** What its caller was granted; undefined: it is an owner's, or it was opened by a keeper before this one. */
  get grant(): Grant | undefined {
    return this.#grant;
  }

  get pid(): number {
    return this.facts.started?.pid ?? 0;
  }

  /** Its id as the log has it. */
  get idText(): string {
    return (this.#text ??= formatRunId(this.identity.runId));
  }

  /** Its exit as callers get it: with its place in the log, and the log's head at this moment. */
  get #toldExit(): Exit | undefined {
    const { exit } = this;
    const index = this.facts.exit?.logIndex;
    return exit && index !== undefined ? { ...exit, log: this.#services.log.place(index) } : exit;
  }

  #enter(entry: LaterEntry): void {
    this.remembered.learn(entry, this.#services.journal.append(entry));
  }

  // -- start

  /** The spec as it came and as it is to be obeyed, and what comes beside it. */
  specify(raw: Uint8Array, spec: Spec, { grant, secrets, connection }: Beside): void {
    // With the rest of ATTACHED it must fit into one frame.
    this.#rawSpec = raw.length <= MAX_FRAME / 2 ? raw : undefined;
    this.#spec = spec;
    this.#grant = grant;
    this.#secrets = secrets;
    this.#connection = connection;
  }

  /** The rule that allows it, of a caller who is no owner. */
  get rule(): string | undefined {
    return this.#grant?.rule;
  }

  /** Its caller's deadline: it ends after so many milliseconds, its wait for a turn included. */
  endWithin(ms: number | undefined): void {
    if (ms !== undefined) this.#endBy = performance.now() + ms;
  }

  /** Its deadline has passed. */
  get isOverdue(): boolean {
    return this.#endBy !== undefined && performance.now() >= this.#endBy;
  }

  /**
   * Opens everything the start needs.
   * @throws StartFailure
   */
  prepare(): void {
    this.#phase = 'starting';
    const { native, children, cgroups, limitGroups } = this.#services;
    const id = this.idText;
    const spec = this.#spec!;
    const { memory, processes } = spec.limits ?? {};
    let group: LimitGroup | undefined;
    let tree: Tree | undefined;
    try {
      if (memory !== undefined || processes !== undefined) group = limitGroups.take({ memory, processes });
      const alone = () => this.#owner.live === 1;
      tree = cgroups
        ? new CgroupTree(native, cgroups, children, id, alone, group?.domain)
        : new ScanTree(native, children, id, alone);
      const surroundings = { tree, group, grant: this.#grant, secrets: this.#secrets, connection: this.#connection };
      this.#launch = new Launch(this.#services, spec, id, surroundings);
      this.#secrets = [];
    } catch (error) {
      tree?.release();
      group?.release();
      if (error instanceof StartFailure) throw error;
      throw new StartFailure('limits', `the keeper has no room to start it now (${failedCall(error)})`);
    }
  }

  /** Starts the command; its intent is on the disk. `crowd`: others start too, and with them the spawner is used. */
  start(crowd: boolean, spawner: Spawner | undefined, failed: (failure: unknown) => void): void {
    const launch = this.#launch!;
    const spec = this.#spec!;
    this.#launch = undefined;
    publish({ what: 'spawn', no: this.no });
    const started = (pid: number, failure?: unknown): void => {
      // Not before: the command does its first steps meanwhile.
      this.opened();
      if (pid) this.#goesOn(launch, spec, pid, crowd);
      else failed(failure);
      // It may have ended before its pid was known here.
      if (crowd) this.#services.children.sweep();
    };
    if (crowd && spawner?.ready && launch.goAside(spawner, started)) return;
    let pid = 0;
    let failure: unknown;
    try {
      pid = launch.go();
    } catch (error) {
      failure = error;
    }
    started(pid, failure);
  }

  #goesOn(launch: Launch, spec: Spec, pid: number, crowd: boolean): void {
    const { tree, group, tooMuch } = launch;
    const { children, bootId } = this.#services;
    fault('after-spawn');
    this.#phase = 'running';
    this.#tree = tree;
    this.#limitGroup = group;
    tree.lead(pid);
    children.watch(pid, (status) => this.#leaderEnded(status));
    this.#startedAt = performance.now();
    this.#enter({
      kind: 'started',
      no: this.no,
      pid,
      startMs: Date.now(),
      program: launch.program,
      bootId,
      ...(tree.cgroup === undefined ? { ticks: statOf(pid)?.ticks } : { cgroup: tree.cgroup }),
    });
    this.#services.log.append('start', {
      run: this.idText,
      pid,
      program: launch.program.toString(),
      device: this.#grant?.device,
      inode: this.#grant?.inode,
      as: this.#grant?.runAs ?? spec.runAs,
      cgroup: tree.cgroup,
    });
    fault('after-started');
    if (launch.report >= 0) this.#report = new ReportPipe(this.#services.native, launch.report);
    if (launch.terminal) {
      this.#screen = new Screen(launch.terminal);
      for (const attachment of this.audience.attachments) this.#screen.follow(attachment);
    }
    this.#outputs ??= new Outputs(this.#services, this.remembered.principal, this);
    if (launch.input >= 0) this.#input.start(launch.input, launch.terminal !== undefined);
    else this.#input.discard();
    this.audience.tell({ type: 'STARTED', ...this.started! });
    this.#doAfterStart();
    this.#deadlines = new Deadlines((cause, reason) => this.end(cause, undefined, reason));
    this.#deadlines.start(spec, this.#endBy);
    if (tooMuch) this.end(tooMuch.cause, 0, tooMuch.reason);
    // Last: with every stream ignored, this checks for the command's end and may find it.
    const isTerminalUnread = this.#outputs.isUnread(STREAM.pty);
    this.#outputs.start(launch.outputs, spec, this.folder, crowd && !spec.stdin && !spec.pty);
    if (isTerminalUnread) this.#hangUp();
    this.#watchAlone();
  }

  /** The command did not start, and never will. */
  refuse(code: string, why: string): void {
    const message = cutText(why);
    this.#launch?.abandon();
    this.#launch = undefined;
    this.#phase = 'over';
    this.#enter({ kind: 'refused', no: this.no, code, message });
    const { rule } = this;
    const { principal } = this.remembered;
    this.#services.log.append('refuse', { run: this.idText, principal, rule, code, reason: message });
    this.audience.tell({ type: 'REFUSED', runId: this.identity.runId, code, message, rule });
    this.#doAfterStart();
    for (const attachment of this.audience.attachments) attachment.release();
    this.audience.attachments.clear();
    this.#letGo();
  }

  #doAfterStart(): void {
    const waiting = this.#afterStart;
    this.#afterStart = [];
    for (const then of waiting) then();
  }

  // -- output

  grew(stream: number, gseq: number, offset: number, bytes: Buffer): void {
    this.#deadlines?.active();
    this.#screen?.watch(bytes);
    for (const attachment of this.audience.attachments) attachment.grew(stream, gseq, offset, bytes);
  }

  dropped(stream: number, from: number, to: number, reason: string): void {
    this.audience.tell({ type: 'GAP', stream, from, to, reason });
  }

  exceeded(reason: string): void {
    if (this.#cause === undefined) this.end('limits', undefined, reason);
  }

  ended(stream: number, final: number): void {
    this.audience.tell({ type: 'EOS', stream, final });
    if (stream === STREAM.pty) this.#screen?.end();
    if (!this.#outputs?.allEnded) return;
    if (this.exit) this.#settleWhenOver();
    // The leader has most likely just ended: asking now is quicker than waiting for the signal.
    else this.#services.children.sweep();
  }

  changed(): void {
    const { blocked } = this;
    if (blocked !== undefined) for (const attachment of this.audience.attachments) attachment.waits(blocked);
    if (this.remembered.passes) this.#watchAlone();
    if (this.facts.exit && !this.exit) this.#conclude();
  }

  /** Gives back descriptors that are not in use now. */
  rest(): void {
    this.#outputs?.rest();
  }

  /** Gives acknowledged output back, because all runs together need the room. */
  trim(): void {
    this.#outputs?.trim();
  }

  get blocked(): string | undefined {
    return this.#outputs?.blocked;
  }

  // -- what a controller does

  takeInput(offset: number, bytes: Uint8Array): void {
    if (this.#inputIsOver) return;
    this.#deadlines?.active();
    this.#screen?.look();
    this.#input.take(offset, bytes);
  }

  endInput(final: number): void {
    if (!this.#inputIsOver) this.#input.end(final);
  }

  /** Where stdin stands is not known any more: what still comes, sent before its caller heard of the end, goes nowhere. */
  get #inputIsOver(): boolean {
    return this.#stdin === undefined && this.over;
  }

  get #input(): Input {
    return this.#openStdin().input;
  }

  #openStdin(): Stdin {
    if (this.#stdin) return this.#stdin;
    this.#stdin = new Stdin(this.#services, this.audience);
    if (this.over) this.#stdin.input.discard();
    return this.#stdin;
  }

  acknowledge(stream: number, durable: number): void {
    this.#outputs?.acknowledge(stream, durable);
  }

  /** The caller reads this stream no more. */
  stopStream(stream: number): void {
    if (!this.started && !this.over) this.#outputs ??= new Outputs(this.#services, this.remembered.principal, this);
    this.#outputs?.stop(stream);
    if (stream === STREAM.pty) this.#hangUp();
  }

  /** Its terminal has no reader any more: lets go of all of our ends, so that the command hears of it. */
  #hangUp(): void {
    this.#stdin?.input.discard();
    this.#screen?.release();
  }

  acknowledgeExit(): void {
    if (this.remembered.isAcked || !this.exit) return;
    this.#enter({ kind: 'acked', no: this.no });
    if (!this.remembered.passes) return;
    this.#outputs?.disclaim();
    this.#passWhenDone();
  }

  /** Its caller has its end, and nothing is read or watched of it any more: there is nothing to keep it for. */
  get hasPassed(): boolean {
    const { passes, isAcked, isDropped } = this.remembered;
    // The facts last: of a run that is over they must be unpacked.
    if (!passes || !isAcked || isDropped || this.audience.attachments.size > 0) return false;
    return this.#isLeftOver || (!this.#outputs && this.treeEnded);
  }

  #passWhenDone(): void {
    if (this.hasPassed) this.#owner.passed(this);
  }

  /** SIGNAL, CANCEL and RESIZE. What comes before the start waits for it. */
  operate(from: KeeperAttachment, operation: Operation): void {
    this.#operations ??= new Operations();
    this.#operations.handle(from, operation.opId, (answer) => {
      this.#logOperation(from, operation);
      const wait = this.#phase === 'starting' || (this.#phase === 'queued' && operation.type !== 'CANCEL');
      if (wait && this.#afterStart.length >= MOST_WAITING)
        answer({ result: `${MOST_WAITING} operations wait for its start already` });
      else if (wait) this.#afterStart.push(() => this.#operate(operation, answer));
      else this.#operate(operation, answer);
    });
  }

  #logOperation({ by }: KeeperAttachment, operation: Operation): void {
    const { log } = this.#services;
    if (operation.type === 'SIGNAL') {
      const { signal, scope } = operation;
      log.deed('signal', { run: this.idText, ...by, signal: signalName(signal), scope });
    } else if (operation.type === 'CANCEL') {
      const { graceMs, reason } = operation;
      log.deed('cancel', { run: this.idText, ...by, graceMs, reason });
    }
  }

  #operate(operation: Operation, answer: (outcome: Outcome) => void): void {
    if (operation.type === 'SIGNAL') answer({ ...this.#signal(operation), proof: this.#tree?.proof });
    else if (operation.type === 'RESIZE') answer({ result: this.#resize(operation.cols, operation.rows) });
    else if (this.#phase === 'queued') {
      // First, for the refusal lets its asker go.
      answer({ result: 'done' });
      this.#owner.cancelQueued(this, operation.reason);
    } else if (!this.#tree) answer({ result: 'already over' });
    else this.end('cancelled', operation.graceMs, operation.reason, (report) => answer({ result: 'done', ...report }));
  }

  /** Its caller may not run it any more: false when it waits for its turn no longer. */
  refuseQueued(reason: string): boolean {
    if (this.#phase !== 'queued') return false;
    this.#owner.cancelQueued(this, reason, 'policy');
    return true;
  }

  #resize(cols: number, rows: number): string {
    return this.#screen?.resize(cols, rows) ? 'done' : 'there is no terminal';
  }

  #signal({ signal, scope }: MessageNamed<'SIGNAL'>): Outcome {
    const { native, children } = this.#services;
    if (!this.#tree) return { result: 'already over' };
    if (signal < 1 || signal > HIGHEST_SIGNAL) return { result: `there is no signal ${signal}` };
    if (scope === 'tree') return { result: 'done', signalled: signalAll(native, this.#tree.members(), signal) };
    // A reaped leader's pid and group id may belong to another process by now.
    if (!children.isLeader(this.pid)) return { result: 'the leader has ended' };
    const target = scope === 'group' ? -this.pid : this.pid;
    if (!native.kill(target, signal)) return { result: 'the leader has ended' };
    // A stopped command acts on these only when it goes on.
    if (signal === constants.signals.SIGTERM || signal === SIGHUP) native.kill(target, SIGCONT);
    return { result: 'done', signalled: [this.pid] };
  }

  // -- end

  /** Ends the whole tree: TERM, grace, KILL. A second call may only bring KILL nearer. */
  end(cause: Cause, graceMs?: number, reason?: string, done?: (report: EndReport) => void): void {
    if (!this.#tree) {
      if (this.#phase === 'starting') this.#afterStart.push(() => this.end(cause, graceMs, reason, done));
      return;
    }
    if (!this.exit) {
      this.#cause ??= cause;
      this.#reason ??= reason && cutText(reason);
    }
    if (done) this.#endWaiters.push(done);
    const { native, children, limits } = this.#services;
    const grace = graceMs ?? this.#spec?.killGraceMs ?? limits.killGraceMs;
    if (this.#ending) {
      this.#ending.shorten(grace);
      return;
    }
    children.hold(this.pid);
    this.#owner.watchTree(this);
    this.#ending = new Ending(native, this.#tree, grace, (report) => this.#endFinished(report));
  }

  #endFinished(report: EndReport): void {
    this.#ending = undefined;
    this.#endReport = report;
    this.#services.children.release(this.pid);
    const waiters = this.#endWaiters;
    this.#endWaiters = [];
    for (const done of waiters) done(report);
    if (this.checkTree()) this.#owner.watchTree(this);
  }

  #leaderEnded(status: Status): void {
    this.#status = status;
    const { unknown } = status;
    const why =
      unknown === undefined
        ? limitEnd(status, this.#spec?.limits, this.#limitGroup)
        : { cause: 'lost' as const, reason: unknown };
    if (why) {
      this.#cause ??= why.cause;
      this.#reason ??= why.reason;
    }
    // By the clock that does not jump: it ended as long after its start as it ran.
    this.#endedMs = this.started!.startMs + Math.round(performance.now() - this.#startedAt);
    this.#deadlines?.stop();
    this.#conclude();
  }

  /** The leader has ended: takes what its pipes hold, and says so once that is stored. */
  #conclude(): void {
    const status = this.#status;
    if (!status || this.exit) return;
    const outputs = this.#outputs!;
    const stored = outputs.takeRest();
    // Its last words are read: our hold on the terminal may go, and with it comes its end.
    if (stored && this.#screen?.release()) {
      this.#stdin?.input.discard();
      outputs.takeRest();
    }
    const exit = exitOf(status, {
      upto: outputs.upto,
      recorded: outputs.recorded,
      startMs: this.started!.startMs,
      endMs: this.#endedMs,
      cause: this.#cause,
      reason: this.#reason,
      report: this.#endReport,
    });
    if (!stored) {
      // The disk is full. The code is safe in the journal; callers hear of it when the last output is safe too.
      if (!this.facts.exit) this.#enter({ kind: 'exit', no: this.no, exit, stored: false });
      return;
    }
    // What holds the pipes open may still write.
    outputs.read();
    fault('before-exit');
    const { log } = this.#services;
    this.#logFiles();
    const logIndex = log.append('exit', this.#exitRecord(exit));
    this.#enter({ kind: 'exit', no: this.no, exit, stored: true, logIndex });
    publish({ what: 'exit', no: this.no });
    this.#phase = 'over';
    // With many runs, one write for several of them counts for more.
    const isAlone = !this.syncsLog && this.#owner.live === 1;
    if (this.syncsLog) {
      this.#isExitDue = true;
      this.#services.journal.sync(() => {
        this.#isExitDue = false;
        this.audience.tell({ type: 'EXIT', ...this.#toldExit! });
      });
    } else {
      this.audience.tell({ type: 'EXIT', ...this.#toldExit! });
      // Its caller waits for this; what is left to do here takes as long as the way there.
      if (isAlone) for (const attachment of this.audience.attachments) attachment.hurry();
    }
    this.#owner.exited(this);
    if (!this.checkTree(isAlone)) return;
    log.append('tree', { run: this.idText, state: 'outlives' });
    this.#outlived = true;
    this.#owner.watchTree(this);
    this.#boundTree();
  }

  /** A rule's limit on time holds for what the command has left behind, too: it would be no limit otherwise. */
  #boundTree(): void {
    const { timeoutMs } = this.#grant ?? {};
    if (timeoutMs === undefined) return;
    const left = Math.max(0, timeoutMs - (performance.now() - this.#startedAt));
    this.#leaveTree = after(left, () => this.end('timeout'));
  }

  /** What our own program says that it did: its user's processes could say anything. */
  #logFiles(): void {
    const reported = this.#report?.take();
    const { verb } = this.#spec!;
    if (!reported || (verb !== 'put' && verb !== 'get')) return;
    const { principal } = this.remembered;
    this.#services.log.note(verb, { run: this.idText, principal, ...fileRecord(reported) });
  }

  #exitRecord({ code, signal, cause, reason, upto, recorded, startMs, endMs, survivors }: Exit): RecordOf<'exit'> {
    let { stdout, stderr }: Partial<NonNullable<Exit['recorded']>> = recorded ?? {};
    for (const { stream, offset } of recorded ? [] : upto) {
      if (stream === STREAM.stderr) stderr = offset;
      else if (stream !== STREAM.stdin) stdout = offset;
    }
    return {
      run: this.idText,
      code,
      signal,
      cause,
      reason,
      stdout,
      stderr,
      durationMs: endMs - startMs,
      survivors: survivors.length || undefined,
    };
  }

  /**
   * A process has ended somewhere: perhaps it was the last of this tree. False when there is nothing to wait for.
   * `exitWasSent`: just now, in a write of its own.
   */
  checkTree(exitWasSent = false): boolean {
    if (!this.#tree) return false;
    if (this.#ending) {
      this.#ending.check();
      return true;
    }
    if (!this.exit) return false;
    if (this.#tree.alive()) return true;
    this.#leaveTree?.();
    this.#tree.release();
    this.#tree = undefined;
    this.#limitGroup?.release();
    this.#limitGroup = undefined;
    this.#stdin?.input.discard();
    this.#outputs?.finish();
    this.#enter({ kind: 'treeEnd', no: this.no });
    if (this.#outlived) this.#services.log.note('tree', { run: this.idText, state: 'ended' });
    for (const attachment of this.audience.attachments)
      if (exitWasSent) attachment.sendLater({ type: 'TREE_END', survivors: [] });
      else attachment.send({ type: 'TREE_END', survivors: [] });
    this.#settleWhenOver();
    return false;
  }

  /** Exit, output and tree have ended: keeps what callers may still ask for, gives back the rest. */
  #settleWhenOver(): void {
    if (!this.treeEnded || this.#outputs?.allEnded === false) return;
    this.#streams = this.streams();
    this.#recorded = this.recorded;
    this.#letGo();
    this.#owner.settled(this);
    this.#passWhenDone();
  }

  #letGo(): void {
    this.#outputs?.destroy();
    this.#outputs = undefined;
    this.#report?.close();
    this.#report = undefined;
    this.#stdin?.stop();
    this.#stdin = undefined;
    this.#deadlines = undefined;
    this.#spec = undefined;
    this.#grant = undefined;
    this.#secrets = [];
    this.opener = undefined;
    this.#screen = undefined;
    this.audience.forgetHolder();
    const raw = this.#rawSpec;
    this.#rawSpec = undefined;
    this.remembered.pack(raw && raw.length <= SMALL_SPEC ? raw : undefined);
  }

  // -- after a restart of the keeper

  /**
   * Goes on from what a journal says. A run that was not over is lost: its keeper died, and with it the pipes. What
   * still lives of it can be listed and killed. Returns the bytes of output that are on the disk.
   */
  restore(sameBoot: boolean): number {
    this.#phase = 'over';
    this.promised = this.#isLeftOver = true;
    const { facts } = this;
    const { refused, exit, dropped, treeEnded } = facts;
    if (refused || dropped) {
      this.remembered.pack();
      return 0;
    }
    if (!treeEnded && sameBoot) this.#tree = treeLeftOf(this.#services, facts);
    this.#outlived = this.#tree !== undefined;
    if (!exit?.stored) {
      const lost = lostExit(facts, sameBoot, this.#tree);
      const logIndex = this.#services.log.note('exit', this.#exitRecord(lost));
      this.#enter({ kind: 'exit', no: this.no, exit: lost, stored: true, logIndex });
    }
    if (!this.#tree && !treeEnded) this.#enter({ kind: 'treeEnd', no: this.no });
    this.#streams = streamsLeftOf(this.folder, this.exit!);
    if (!this.#tree) this.remembered.pack();
    return this.#streams.reduce((bytes, { first, next }) => bytes + next - first, 0);
  }

  /** Output that is on the disk goes; the result stays. Returns the bytes freed. */
  dropOutput(): number {
    let freed = 0;
    for (const [i, state] of this.#streams.entries()) {
      freed += state.next - state.first;
      this.#streams[i] = { ...state, first: state.next };
    }
    return freed;
  }

  /** Result and output go; the id stays, so that it cannot start again. */
  drop(): void {
    this.#enter({ kind: 'dropped', no: this.no });
    this.#streams = [];
  }

  // -- attachments

  /** Adds a caller; see `Audience`. */
  attach(attachment: KeeperAttachment, holder: Uint8Array | undefined, again: boolean): void {
    this.audience.join(attachment, holder, again);
    this.#watchAlone();
  }

  /**
   * A run that is nothing without its caller ends if it has `left`, and ends soon if it is `gone` and does not come back.
   */
  detach(attachment: KeeperAttachment, { left, gone }: Pick<MessageNamed<'DETACH'>, 'left' | 'gone'> = {}): void {
    this.audience.leave(attachment);
    this.#screen?.leave(attachment);
    const isNothing = attachment.control && isNothingAlone(this.#spec) && !this.audience.controller;
    if (isNothing && gone) this.#isDeserted = true;
    this.#watchAlone();
    if (isNothing && left) this.#endAlone();
    this.#passWhenDone();
  }

  /** No end-of-file: what its caller had not finished must not pass for finished. */
  #endAlone(): void {
    if (this.over) return;
    if (this.#phase === 'queued') return this.#owner.cancelQueued(this, LEFT);
    // As a terminal that is closed; interactive shells ignore TERM.
    if (this.#spec?.pty && this.#tree) signalAll(this.#services.native, this.#tree.members(), SIGHUP);
    this.end('cancelled', undefined, LEFT);
  }

  /** Without a controller a command may be ended after a while: when its spec says so, or when it waits for input. */
  #watchAlone(): void {
    const attended = this.audience.controller !== undefined;
    if (this.#outputs) this.#outputs.attended = attended;
    if (attended) this.#isDeserted = false;
    const wait = attended || this.over || this.#status ? undefined : this.#mayBeAlone;
    if (wait) this.#deadlines?.away(...wait);
    else this.#deadlines?.back();
  }

  /** How long it may be without a controller, and the reason of its end then; undefined: as long as it takes. */
  get #mayBeAlone(): [ms: number, reason: string] | undefined {
    if (!this.#spec) return undefined;
    const { termAfterMs } = this.#spec;
    const { keepMs } = this.remembered;
    const { callerGraceMs } = this.#services.limits;
    if (this.#isDeserted && callerGraceMs < (termAfterMs ?? Infinity))
      return [callerGraceMs, `its caller has gone, and did not come back for ${callerGraceMs} ms`];
    if (termAfterMs !== undefined) return [termAfterMs, `its caller was away for ${termAfterMs} ms`];
    if (this.#stdin?.input.open) return [keepMs, `no caller came to finish its input for ${keepMs} ms`];
    if (this.blocked !== undefined && this.remembered.passes)
      return [keepMs, `no caller came to take its output for ${keepMs} ms`];
    return undefined;
  }

  /** Tells a caller that has just attached where everything stands. An exit that is due comes to it as to the others. */
  welcome(attachment: KeeperAttachment): void {
    const streams = this.streams();
    attachment.send({
      type: 'ATTACHED',
      runId: this.identity.runId,
      state: this.#isExitDue ? 'running' : this.state,
      streams,
      controlEpoch: attachment.control ? this.audience.controlEpoch : undefined,
      started: this.started,
      exit: this.#isExitDue ? undefined : this.#toldExit,
      treeEnded: this.treeEnded || undefined,
      spec: this.rawSpec,
      reason: this.#isExitDue ? undefined : this.exit?.reason,
      screen: this.over ? undefined : this.#screen?.modes,
    });
    if (attachment.control && !this.over) this.#openStdin().report(attachment);
    for (const { stream, next } of streams) if (stream !== STREAM.stdin && next > 0) attachment.announce(stream, next);
    this.#screen?.follow(attachment);
    const { blocked } = this;
    if (blocked !== undefined) attachment.waits(blocked);
  }

  streams(): StreamState[] {
    if (!this.#outputs && this.over) return this.#streams;
    return [this.#openStdin().state, ...(this.#outputs?.states ?? [])];
  }

  /** Bytes of stdout and stderr that stand in records; undefined for other captures, and when they were not counted. */
  get recorded(): Exit['recorded'] {
    return this.#outputs?.recorded ?? this.#recorded ?? this.exit?.recorded;
  }

  /** Tells its opener, once, that the run is new and will start: its intent is on the disk. */
  opened(): void {
    const { opener } = this;
    this.opener = undefined;
    if (!opener || opener.gone) return;
    const { runId, specHash } = this.identity;
    const controlEpoch = opener.control ? this.audience.controlEpoch : undefined;
    opener.send({ type: 'OPENED', runId, specHash, state: 'new', controlEpoch, policyRule: this.rule });
  }
}

/** Whether a run ends when its caller has left for good: as ssh does it, and a transfer has lost its other side. */
const isNothingAlone = (spec: Spec | undefined): boolean =>
  spec !== undefined && (spec.accountShell === true || startsOwnProgram(spec));
