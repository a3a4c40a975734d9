/**
 * One command from its intent to the end of its process tree. Exit, end of output and end of the tree are three events;
 * what callers hear of each is in the journal first.
 */
import { constants } from 'node:os';
import { decodeSpec } from '../../protocol/codec.js';
import { formatRunId } from '../../protocol/run-id.js';
import { ScreenModes } from '../../text/screen-modes.js';
import { HIGHEST_SIGNAL, signalName } from '../../protocol/signals.js';
import {
  MAX_FRAME,
  STREAM,
  type Exit,
  type MessageNamed,
  type RunInfo,
  type Spec,
  type Started,
  type StreamState,
} from '../../protocol/messages.js';
import type { KeeperAttachment } from './attachment.js';
import { Audience } from './audience.js';
import { Deadlines } from './deadlines.js';
import { EchoWatch } from './echo-watch.js';
import { Ending, type EndReport } from './ending.js';
import { publish } from '../probes/events.js';
import { fault } from '../probes/faults.js';
import type { Facts, LaterRecord } from '../journal/history.js';
import { Input } from './input.js';
import { InputReports } from './input-reports.js';
import { InputWindow } from './input-window.js';
import { cutText, type RecordOf } from '../journal/journal.js';
import type { Machine } from './machine.js';
import { Operations, type Operation, type Outcome } from './operations.js';
import { Output, type OutputEvents, type Overflow } from '../output/output.js';
import { lostExit, streamsLeftOf, treeLeftOf } from './left-over.js';
import { statOf } from '../system/processes.js';
import { StartFailure } from '../system/program.js';
import { fitRecords } from '../output/records.js';
import { Remembered } from '../journal/remembered.js';
import type { Source } from '../system/source.js';
import type { Spawner } from '../system/spawner.js';
import { spoolFolder } from '../output/spool.js';
import { listedWords } from './shown-words.js';
import { Launch } from './start.js';
import { SystemError, type Status } from '../system/native.js';
import type { Terminal } from '../system/terminal.js';
import { CgroupTree, ScanTree, SIGCONT, signalAll, type Tree } from '../system/tree.js';

export type RunState = 'queued' | 'starting' | 'running' | 'exited' | 'refused' | 'lost';
/** Why we ended a command. */
/** Signals and the like that wait for the start of one run. */
const MOST_WAITING = 64;

export type Cause = 'timeout' | 'idle' | 'cancelled' | 'limits';

/** A spec up to this size is kept for those who attach after the end. */
const SMALL_SPEC = 4096;
/**
 * Milliseconds after which output is first looked for, of commands that start together: most that are short have ended
 * by then, and are read once. To watch their descriptors would cost as much as all else after the start.
 */
const FIRST_LOOK = 20;
/** Bytes of a terminal that may be on their way to whoever sits at it. */
const TERMINAL_AHEAD = 256 * 1024;

let ownMax = 0;
/** The most memory that this process ever had, in KiB; asked again only where it may have come to exceed `other`. */
function ownMaxRss(other: number): number {
  if (ownMax < other) ownMax = process.resourceUsage().maxRSS;
  return ownMax;
}

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
  /** A run that still waits for its turn is not wanted any more. */
  cancelQueued(run: KeeperRun, reason: string | undefined): void;
}

export class KeeperRun implements OutputEvents {
  readonly remembered: Remembered;
  readonly #machine: Machine;
  readonly #owner: RunOwner;
  readonly audience = new Audience();
  /** Its intent is on the disk. */
  promised = false;
  /** What is being spent on it now: a process, or a place in the queue. */
  #phase: 'queued' | 'starting' | 'running' | 'over' = 'queued';
  #rawSpec: Uint8Array | undefined;
  #spec: Spec | undefined;
  #launch: Launch | undefined;
  #tree: Tree | undefined;
  #input: Input | undefined;
  #inputReports: InputReports | undefined;
  #terminal: Terminal | undefined;
  #echo: EchoWatch | undefined;
  #screen: ScreenModes | undefined;
  readonly #outputs: Output[] = [];
  /** Streams whose reader went before the command had started. */
  #unread: Set<number> | undefined;
  #firstLook: NodeJS.Timeout | undefined;
  /** Streams of a run whose outputs are closed for good. */
  #streams: StreamState[] = [];
  #gseq = 0;
  /** Bytes of output that count against `maxOutput`. */
  #written = 0;
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
  #openedTold = false;

  constructor(machine: Machine, owner: RunOwner, facts: Facts, frame?: Buffer) {
    this.#machine = machine;
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

  get identity(): RecordOf<'intent'> {
    return this.facts.intent;
  }

  get folder(): string {
    return spoolFolder(this.#machine.home, this.remembered.principal, this.identity.runId);
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
    return this.facts.exit?.drained ? this.facts.exit.exit : undefined;
  }

  get started(): Started | undefined {
    const { started } = this.facts;
    return started && { pid: started.pid, startMs: started.startMs, program: started.program, bootId: started.bootId };
  }

  get treeEnded(): boolean {
    return this.facts.treeEnded;
  }

  get pid(): number {
    return this.facts.started?.pid ?? 0;
  }

  #record(record: LaterRecord): void {
    this.remembered.learn(record, this.#machine.journal.append(record));
  }

  // -- start

  /** The spec as it came and as it was understood. */
  specify(raw: Uint8Array, spec: Spec): void {
    // With the rest of ATTACHED it must fit into one frame.
    this.#rawSpec = raw.length <= MAX_FRAME / 2 ? raw : undefined;
    this.#spec = spec;
  }

  /** Opens everything the start needs. Throws StartFailure. */
  prepare(): void {
    this.#phase = 'starting';
    const { native, children, cgroups } = this.#machine;
    const id = formatRunId(this.identity.runId);
    try {
      const alone = () => this.#owner.live === 1;
      const tree = cgroups
        ? new CgroupTree(native, cgroups, children, id, alone)
        : new ScanTree(native, children, id, alone);
      this.#launch = new Launch(this.#machine, this.#spec!, id, tree);
    } catch (error) {
      if (error instanceof StartFailure) throw error;
      const what = error instanceof SystemError ? error.errno : ((error as NodeJS.ErrnoException).code ?? error);
      throw new StartFailure('limits', `the keeper has no room to start it now (${String(what)})`);
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
      if (crowd) this.#machine.children.sweep();
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
    const { tree } = launch;
    const { children, bootId } = this.#machine;
    fault('after-spawn');
    this.#phase = 'running';
    this.#tree = tree;
    tree.lead(pid);
    children.watch(pid, (status) => this.#leaderEnded(status));
    this.#startedAt = performance.now();
    this.#record({
      kind: 'started',
      no: this.no,
      pid,
      startMs: Date.now(),
      program: launch.program,
      bootId,
      ...(tree.place === undefined ? { ticks: statOf(pid)?.ticks } : { cgroup: tree.place }),
    });
    fault('after-started');
    this.#terminal = launch.terminal;
    if (launch.terminal) {
      this.#screen = new ScreenModes();
      this.#echo = new EchoWatch(launch.terminal);
      for (const attachment of this.audience.attachments) this.#tellEcho(attachment);
    }
    for (const { stream, source } of launch.outputs) this.#collect(stream, source, spec);
    if (crowd && !spec.stdin && !spec.pty) this.#firstLook = setTimeout(() => this.#read(), FIRST_LOOK);
    else this.#read();
    if (launch.input >= 0) this.#stdin().start(launch.input, launch.terminal !== undefined);
    else this.#stdin().discard();
    for (const attachment of this.audience.attachments) attachment.sendLater({ type: 'STARTED', ...this.started! });
    this.#doAfterStart();
    this.#deadlines = new Deadlines((cause, reason) => this.end(cause, undefined, reason));
    this.#deadlines.start(spec);
    this.#watchAlone();
  }

  #collect(stream: number, source: Source, spec: Spec): void {
    const { budget, limits } = this.#machine;
    const output = new Output(
      source,
      budget,
      {
        stream,
        folder: this.folder,
        spoolMax: Math.min(spec.spoolMax ?? limits.spoolMax, limits.spoolTotal),
        overflow: (spec.overflow ?? 'block') as Overflow,
        sha256: spec.sha256 ?? false,
        ...(stream === STREAM.pty ? { ahead: TERMINAL_AHEAD } : {}),
      },
      this,
    );
    this.#outputs.push(output);
  }

  #read(): void {
    clearTimeout(this.#firstLook);
    this.#firstLook = undefined;
    for (const output of this.#outputs)
      if (this.#unread?.has(output.stream)) output.stop();
      else {
        for (const stream of this.#unread ?? []) output.stopOne(stream);
        output.start();
      }
  }

  /** The command did not start, and never will. */
  refuse(code: string, why: string): void {
    const message = cutText(why);
    this.#launch?.abandon();
    this.#launch = undefined;
    this.#phase = 'over';
    this.#record({ kind: 'refused', no: this.no, code, message });
    this.audience.tell({ type: 'REFUSED', runId: this.identity.runId, code, message });
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

  grew(output: Output, offset: number, bytes: Buffer): void {
    this.#deadlines?.active();
    this.#screen?.watch(bytes);
    this.#echo?.look();
    this.#gseq++;
    for (const attachment of this.audience.attachments) attachment.grew(output.stream, this.#gseq, offset, bytes);
  }

  allowed({ stream }: Output, bytes: Buffer): number {
    const max = this.#spec?.maxOutput;
    if (max === undefined) return bytes.length;
    // Records are not cut in two, and what stands before their bytes is not the command's.
    const left = max - this.#written;
    const fit = stream === STREAM.records ? fitRecords(bytes, left) : undefined;
    const length = fit?.length ?? Math.min(bytes.length, left);
    this.#written += fit?.output ?? length;
    if (length === bytes.length) return length;
    if (this.#cause === undefined) this.end('limits', undefined, `it wrote more than ${max} bytes`);
    // Nor is what comes behind one that was too long.
    this.#written = max;
    return length;
  }

  dropped(output: Output, from: number, to: number, reason: string): void {
    this.audience.tell({ type: 'GAP', stream: output.stream, from, to, reason });
  }

  overflowed({ stream }: Output): void {
    if (this.#cause !== undefined) return;
    const what = stream === STREAM.stderr ? 'stderr' : 'stdout';
    const spool = this.#spec?.spoolMax ?? this.#machine.limits.spoolMax;
    this.end('limits', undefined, `nobody took its ${what} in time, and the spool of ${spool} bytes was full`);
  }

  ended(output: Output): void {
    this.audience.tell({ type: 'EOS', stream: output.stream, final: output.next });
    if (output.stream === STREAM.pty) this.#forgetEcho();
    if (!this.#outputs.every((each) => each.ended)) return;
    if (this.exit) this.#settleWhenOver();
    // The leader has most likely just ended: asking now is quicker than waiting for the signal.
    else this.#machine.children.sweep();
  }

  /** An output was stored after all, or stopped or began to wait. */
  changed(): void {
    if (this.facts.exit && !this.exit) this.#conclude();
  }

  /** Gives back descriptors that are not in use now. */
  rest(): void {
    for (const output of this.#outputs) output.spool.rest();
  }

  /** Gives acknowledged output back, because all runs together need the room. */
  trim(): void {
    for (const output of this.#outputs) output.trim();
  }

  get blocked(): string | undefined {
    const output = this.#outputs.find((each) => each.blocked);
    if (!output) return undefined;
    if (!output.stored) return 'disk';
    return output.stream === STREAM.stdout ? 'stdout' : output.stream === STREAM.stderr ? 'stderr' : 'output';
  }

  // -- what a controller does

  takeInput(offset: number, bytes: Uint8Array): void {
    if (this.#inputIsOver) return;
    this.#deadlines?.active();
    // Before it is typed: where the echo is off now, the next key must not be shown.
    this.#echo?.look();
    this.#stdin().take(offset, bytes);
  }

  endInput(final: number): void {
    if (!this.#inputIsOver) this.#stdin().end(final);
  }

  /** Where stdin stands is not known any more: what still comes, sent before its caller heard of the end, goes nowhere. */
  get #inputIsOver(): boolean {
    return this.#input === undefined && this.over;
  }

  #tellEcho(attachment: KeeperAttachment): void {
    if (attachment.followsEcho) this.#echo?.follow(attachment);
  }

  #forgetEcho(): void {
    this.#echo?.stop();
    this.#echo = undefined;
  }

  #stdin(): Input {
    if (this.#input) return this.#input;
    const { native, limits, inputShare } = this.#machine;
    const window = new InputWindow(limits.stdinWindow, limits.stdinWindowMax, inputShare);
    const input = new Input(native, window, {
      moved: () => reports.moved(),
      refused: () => this.audience.controller?.send({ type: 'STOP', stream: STREAM.stdin }),
    });
    const reports = new InputReports(input, window, () => {
      const { controller } = this.audience;
      if (controller) this.#tellInput(controller);
    });
    this.#input = input;
    this.#inputReports = reports;
    if (this.over) input.discard();
    return input;
  }

  #tellInput(attachment: KeeperAttachment): void {
    const { next, limit, final } = this.#stdin();
    attachment.send({
      type: 'ACK',
      stream: STREAM.stdin,
      durable: next,
      ended: final !== undefined || undefined,
    });
    attachment.send({ type: 'CREDIT', stream: STREAM.stdin, limit });
  }

  acknowledge(stream: number, durable: number): void {
    this.#outputs.find((output) => output.stream === stream)?.acknowledge(durable);
  }

  /** The caller reads this stream no more. */
  stopStream(stream: number): void {
    const output = this.#outputs.find((each) => each.stream === stream);
    if (output) output.stop();
    else if (this.#outputs.length > 0) for (const each of this.#outputs) each.stopOne(stream);
    else if (!this.started && stream <= STREAM.records) (this.#unread ??= new Set()).add(stream);
    if (stream !== STREAM.pty) return;
    this.#forgetEcho();
    this.#input?.discard();
    this.#terminal?.release();
    this.#terminal = undefined;
  }

  acknowledgeExit(): void {
    if (!this.remembered.isAcked && this.exit) this.#record({ kind: 'acked', no: this.no });
  }

  /** SIGNAL, CANCEL and RESIZE. What comes before the start waits for it. */
  operate(from: KeeperAttachment, operation: Operation): void {
    this.#operations ??= new Operations();
    this.#operations.handle(from, operation.opId, (answer) => {
      const wait = this.#phase === 'starting' || (this.#phase === 'queued' && operation.type !== 'CANCEL');
      if (wait && this.#afterStart.length >= MOST_WAITING)
        answer({ result: `${MOST_WAITING} operations wait for its start already` });
      else if (wait) this.#afterStart.push(() => this.#operate(operation, answer));
      else this.#operate(operation, answer);
    });
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

  #resize(cols: number, rows: number): string {
    if (!this.#terminal) return 'there is no terminal';
    this.#terminal.resize(cols, rows);
    return 'done';
  }

  #signal({ signal, scope }: MessageNamed<'SIGNAL'>): Outcome {
    const { native, children } = this.#machine;
    if (!this.#tree) return { result: 'already over' };
    if (signal < 1 || signal > HIGHEST_SIGNAL) return { result: `there is no signal ${signal}` };
    if (scope === 'tree') return { result: 'done', signalled: signalAll(native, this.#tree.members(), signal) };
    // A reaped leader's pid and group id may be somebody else's by now.
    if (!children.isLeader(this.pid)) return { result: 'the leader has ended' };
    const target = scope === 'group' ? -this.pid : this.pid;
    if (!native.kill(target, signal)) return { result: 'the leader has ended' };
    // A stopped command acts on these only when it goes on.
    if (signal === constants.signals.SIGTERM || signal === constants.signals.SIGHUP) native.kill(target, SIGCONT);
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
    const { native, children, limits } = this.#machine;
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
    this.#machine.children.release(this.pid);
    const waiters = this.#endWaiters;
    this.#endWaiters = [];
    for (const done of waiters) done(report);
    if (this.checkTree()) this.#owner.watchTree(this);
  }

  #leaderEnded(status: Status): void {
    this.#status = status;
    if (status.unknown !== undefined) {
      this.#cause ??= 'lost';
      this.#reason ??= status.unknown;
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
    const stored = this.#outputs.map((output) => output.drain()).every(Boolean);
    // Its last words are read: our hold on the terminal may go, and with it comes its end.
    if (stored) this.#releaseTerminal();
    const exit: Exit = {
      code: status.code,
      signal: status.signal === undefined ? undefined : signalName(status.signal),
      core: status.core || undefined,
      cause: this.#cause,
      reason: this.#reason,
      upto: this.#outputs.map((output) => ({
        stream: output.stream,
        offset: output.next,
        crc32: output.crc,
        sha256: output.sha256,
        open: output.ended ? undefined : true,
      })),
      startMs: this.started!.startMs,
      endMs: this.#endedMs,
      userUs: status.userUs,
      systemUs: status.systemUs,
      // The kernel counts the starting process' size too: what is not above ours says nothing.
      maxRssKb: (status.maxRssKb ?? 0) > ownMaxRss(status.maxRssKb ?? 0) ? status.maxRssKb : undefined,
      survivors: this.#endReport?.survivors ?? [],
      killProof: this.#endReport?.proof,
    };
    if (!stored) {
      // The disk is full. The code is safe in the journal; callers hear of it when the last output is safe too.
      if (!this.facts.exit) this.#record({ kind: 'exit', no: this.no, exit, drained: false });
      return;
    }
    // What holds the pipes open may still write.
    this.#read();
    fault('before-exit');
    this.#record({ kind: 'exit', no: this.no, exit, drained: true });
    publish({ what: 'exit', no: this.no });
    this.#phase = 'over';
    this.audience.tell({ type: 'EXIT', ...exit });
    this.#owner.exited(this);
    if (this.checkTree()) this.#owner.watchTree(this);
  }

  #releaseTerminal(): void {
    if (!this.#terminal) return;
    this.#forgetEcho();
    this.#terminal.release();
    this.#terminal = undefined;
    this.#input?.discard();
    for (const output of this.#outputs) output.drain();
  }

  /** A process has ended somewhere: perhaps it was the last of this tree. False when there is nothing to wait for. */
  checkTree(): boolean {
    if (!this.#tree) return false;
    if (this.#ending) {
      this.#ending.check();
      return true;
    }
    if (!this.exit) return false;
    if (this.#tree.alive()) return true;
    this.#tree.release();
    this.#tree = undefined;
    this.#input?.discard();
    // Sockets have no end of file of their own.
    for (const output of this.#outputs) if (output.endless) output.finish();
    this.#record({ kind: 'treeEnd', no: this.no });
    this.audience.tell({ type: 'TREE_END', survivors: [] });
    this.#settleWhenOver();
    return false;
  }

  /** Exit, output and tree have ended: keeps what callers may still ask for, gives back the rest. */
  #settleWhenOver(): void {
    if (!this.treeEnded || !this.#outputs.every((each) => each.ended)) return;
    this.#streams = this.streams();
    for (const output of this.#outputs) output.destroy();
    this.#outputs.length = 0;
    this.#letGo();
    this.#owner.settled(this);
  }

  #letGo(): void {
    this.#inputReports?.stop();
    this.#inputReports = undefined;
    this.#deadlines = undefined;
    this.#spec = undefined;
    this.#input = undefined;
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
    this.promised = true;
    const { facts } = this;
    const { refused, exit, dropped, treeEnded } = facts;
    if (refused || dropped) {
      this.remembered.pack();
      return 0;
    }
    if (!treeEnded && sameBoot) this.#tree = treeLeftOf(this.#machine, facts);
    if (!exit?.drained)
      this.#record({ kind: 'exit', no: this.no, exit: lostExit(facts, sameBoot, this.#tree), drained: true });
    if (!this.#tree && !treeEnded) this.#record({ kind: 'treeEnd', no: this.no });
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
    this.#record({ kind: 'dropped', no: this.no });
    this.#streams = [];
  }

  // -- attachments

  /** Adds a client; see `Audience`. */
  attach(attachment: KeeperAttachment, holder: Uint8Array | undefined, again: boolean): void {
    this.audience.join(attachment, holder, again);
    this.#watchAlone();
  }

  detach(attachment: KeeperAttachment): void {
    this.audience.leave(attachment);
    this.#echo?.leave(attachment);
    this.#watchAlone();
  }

  /** Without a controller a command may be ended after a while: when its spec says so, or when it waits for input. */
  #watchAlone(): void {
    this.#deadlines?.back();
    const attended = this.audience.controller !== undefined;
    for (const output of this.#outputs) output.attended = attended;
    if (!this.#spec || this.over || attended) return;
    const { termAfterMs } = this.#spec;
    const { keepMs } = this.remembered;
    if (termAfterMs !== undefined) this.#deadlines?.away(termAfterMs, `its caller was away for ${termAfterMs} ms`);
    else if (this.#input?.open) this.#deadlines?.away(keepMs, `nobody came to finish its input for ${keepMs} ms`);
  }

  /** Tells a client that has just attached where everything stands. */
  welcome(attachment: KeeperAttachment): void {
    const streams = this.streams();
    attachment.send({
      type: 'ATTACHED',
      runId: this.identity.runId,
      state: this.state,
      streams,
      controlEpoch: attachment.control ? this.audience.controlEpoch : undefined,
      started: this.started,
      exit: this.exit,
      treeEnded: this.treeEnded || undefined,
      spec: this.#rawSpec ?? this.remembered.rawSpec,
      reason: this.exit?.reason,
      screen: this.over ? undefined : this.#screen?.redo() || undefined,
    });
    if (attachment.control && !this.over) this.#tellInput(attachment);
    for (const { stream, next } of streams) if (stream !== STREAM.stdin && next > 0) attachment.announce(stream, next);
    this.#tellEcho(attachment);
  }

  streams(): StreamState[] {
    if (this.#outputs.length === 0 && this.over) return this.#streams;
    const { next, final } = this.#stdin();
    const states: StreamState[] = [{ stream: STREAM.stdin, first: next, next, final }];
    for (const { stream, spool, next, ended } of this.#outputs)
      states.push({ stream, first: spool.first, next, final: ended ? next : undefined });
    return states;
  }

  /** Tells once that the run is new and will start: its intent is on the disk. */
  opened(): void {
    if (this.#openedTold) return;
    this.#openedTold = true;
    const { runId, specHash } = this.identity;
    this.audience.tell({ type: 'OPENED', runId, specHash, state: 'new', controlEpoch: this.audience.controlEpoch });
  }

  /** One line of a listing. */
  get #words(): readonly Uint8Array[] {
    const { rawSpec } = this.remembered;
    const spec = this.#spec ?? (rawSpec && decodeSpec(rawSpec));
    return spec?.verb === 'sh' ? listedWords(spec) : this.identity.argv;
  }

  info(): RunInfo {
    const { runId, name, openedMs, tags, principal } = this.identity;
    const { started, exit } = this;
    const streams = this.streams();
    const length = (stream: number): number | undefined => streams.find((state) => state.stream === stream)?.next;
    return {
      runId,
      state: this.state,
      name,
      argv: this.#words,
      pid: started?.pid,
      openedMs,
      startMs: started?.startMs,
      endMs: exit?.endMs,
      code: exit?.code,
      signal: exit?.signal,
      cause: exit?.cause ?? this.#cause,
      blocked: this.blocked,
      attached: this.audience.attachments.size,
      controlled: this.audience.controller !== undefined || undefined,
      stdoutBytes: length(STREAM.stdout) ?? length(STREAM.pty),
      stderrBytes: length(STREAM.stderr),
      principal,
      tags,
      reason: exit?.reason ?? this.facts.refused?.message,
    };
  }
}
