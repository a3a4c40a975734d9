/**
 * One command from its intent to the end of its process tree. Exit, end of output and end of the tree are three events;
 * what was promised at each is in the journal before anybody hears of it.
 */
import { constants } from 'node:os';
import { formatRunId } from '../protocol/run-id.js';
import {
  STREAM,
  type Exit,
  type MessageNamed,
  type ProcessInfo,
  type RunInfo,
  type Spec,
  type Started,
  type StreamState,
} from '../protocol/messages.js';
import type { Attachment, ToAttachment } from './attachment.js';
import { Ending, type EndReport } from './ending.js';
import { fault } from './faults.js';
import { Input } from './input.js';
import { Output, type OutputEvents, type Overflow } from './output.js';
import { statOf } from './processes.js';
import { StartFailure } from './program.js';
import { spoolFolder } from './spool.js';
import { Launch } from './start.js';
import { SystemError, type Status } from './syscalls.js';
import { CgroupTree, ScanTree, SIGCONT, signalAll, type Tree } from './tree.js';
import type { Machine } from './machine.js';

export type RunState = 'queued' | 'starting' | 'running' | 'exited' | 'refused' | 'lost';
/** Why we ended a command. */
export type Cause = 'timeout' | 'idle' | 'cancelled' | 'limits';

const LONGEST_TIMER = 0x7fffffff;
/** Words of a command that `ps` and the journal show, in bytes. */
const SHOWN_ARGV = 2048;

const signalNames = new Map(Object.entries(constants.signals).map(([name, number]) => [number, name]));
export const signalName = (signal: number): string => signalNames.get(signal) ?? `SIG${signal}`;

/** The beginning of an argv, cut to a bounded size. */
export function shownArgv(argv: readonly Uint8Array[]): Uint8Array[] {
  const shown: Uint8Array[] = [];
  let left = SHOWN_ARGV;
  for (const word of argv) {
    if (left <= 0) break;
    // A copy: a view would keep the whole spec alive.
    shown.push(Uint8Array.from(word.subarray(0, left)));
    left -= word.length + 1;
  }
  return shown;
}

/** What a run is from its first record on. */
export interface RunIdentity {
  readonly no: number;
  readonly principal: string;
  readonly runId: Uint8Array;
  readonly specHash: Uint8Array;
  readonly openedMs: number;
  readonly notAfterMs: number;
  readonly keepMs: number;
  readonly argv: readonly Uint8Array[];
  readonly name?: string | undefined;
  readonly tags: readonly string[];
}

type Operation = MessageNamed<'SIGNAL'> | MessageNamed<'CANCEL'> | MessageNamed<'RESIZE'>;
type OperationResult = { type: 'OP_OK' } & Omit<MessageNamed<'OP_OK'>, 'type' | 'alias'>;
/** Answers remembered for repeats. */
const REMEMBERED_OPERATIONS = 64;

export class Run implements OutputEvents {
  /** Its output and result were forgotten on request; only its id is remembered. */
  forgotten = false;
  readonly identity: RunIdentity;
  readonly #machine: Machine;
  state: RunState = 'queued';
  /** Its intent is on the disk. */
  promised = false;
  started: Started | undefined;
  exit: Exit | undefined;
  refused: { code: string; message: string } | undefined;
  reason: string | undefined;
  treeEnded = false;
  acked = false;
  controlEpoch = 0;
  readonly attachments = new Set<Attachment>();
  /** Streams of a run that is over. */
  streams: StreamState[] = [];
  rawSpec: Uint8Array | undefined;
  #spec: Spec | undefined;
  #launch: Launch | undefined;
  #tree: Tree | undefined;
  #input: Input | undefined;
  readonly #outputs: Output[] = [];
  #openOutputs = 0;
  #gseq = 0;
  #status: Status | undefined;
  #endedMs = 0;
  #ending: Ending | undefined;
  #endReport: EndReport | undefined;
  #cause: Cause | undefined;
  #undrained = false;
  readonly #afterStart: (() => void)[] = [];
  readonly #operations = new Map<number, OperationResult | undefined>();
  #timeout: NodeJS.Timeout | undefined;
  #idle: NodeJS.Timeout | undefined;
  #lastActivity = 0;

  constructor(machine: Machine, identity: RunIdentity) {
    this.#machine = machine;
    this.identity = identity;
  }

  get folder(): string {
    return spoolFolder(this.#machine.home, this.identity.principal, this.identity.runId);
  }

  get over(): boolean {
    return this.state === 'exited' || this.state === 'refused' || this.state === 'lost';
  }

  get pid(): number {
    return this.started?.pid ?? 0;
  }

  // -- start

  /** The spec as it came and as it was understood. */
  specify(raw: Uint8Array, spec: Spec): void {
    this.rawSpec = raw;
    this.#spec = spec;
  }

  /** Opens everything the start needs. Throws StartFailure. */
  prepare(): void {
    this.state = 'starting';
    const spec = this.#spec!;
    const { native, account, devNull, limits } = this.#machine;
    try {
      this.#launch = new Launch(native, spec, formatRunId(this.identity.runId), account, devNull);
    } catch (error) {
      if (error instanceof StartFailure) throw error;
      const what = error instanceof SystemError ? error.errno : String((error as NodeJS.ErrnoException).code ?? error);
      throw new StartFailure('limits', `the keeper has no room to start it now (${what})`);
    }
    this.#input ??= new Input(native, limits.stdinWindow, {
      moved: () => this.#inputMoved(),
      refused: () => this.#toControllers({ type: 'STOP', stream: STREAM.stdin }),
    });
  }

  /** Gives up what `prepare` opened. */
  abandon(): void {
    this.#launch?.abandon();
    this.#launch = undefined;
  }

  /** Starts the command; its intent is on the disk. Throws StartFailure. */
  start(): void {
    const launch = this.#launch!;
    const spec = this.#spec!;
    this.#launch = undefined;
    const { native, children, cgroups, limits, journal, bootId } = this.#machine;
    const id = formatRunId(this.identity.runId);
    const tree = cgroups ? new CgroupTree(native, cgroups) : new ScanTree(native, children, id);
    let pid: number;
    try {
      pid = launch.go(tree);
    } catch (error) {
      tree.release();
      throw error;
    }
    fault('after-spawn');
    tree.lead(pid);
    this.#tree = tree;
    this.started = { pid, startMs: Date.now(), program: launch.program, bootId };
    this.state = 'running';
    this.#lastActivity = this.started.startMs;
    children.watch(pid, (status) => this.#leaderEnded(status));
    journal.append({
      kind: 'started',
      no: this.identity.no,
      pid,
      startMs: this.started.startMs,
      program: launch.program,
      ...(tree.place === undefined ? { ticks: statOf(pid)?.ticks } : { cgroup: tree.place }),
    });
    fault('after-started');
    for (const { stream, fd } of launch.outputs) {
      const output = new Output(
        native,
        this.#machine.budget,
        fd,
        {
          stream,
          folder: this.folder,
          spoolMax: Math.min(spec.spoolMax ?? limits.spoolMax, limits.spoolTotal),
          overflow: (spec.overflow ?? 'block') as Overflow,
          sha256: spec.sha256 ?? false,
        },
        this,
      );
      this.#outputs.push(output);
      this.#openOutputs++;
      output.start();
    }
    if (launch.input >= 0) this.#input!.start(launch.input);
    else this.#input!.discard();
    this.#toAll({ type: 'STARTED', ...this.started });
    for (const then of this.#afterStart.splice(0)) then();
    this.#arm(spec);
  }

  /** The command did not start. */
  refuse(code: string, message: string): void {
    this.abandon();
    this.refused = { code, message };
    this.state = 'refused';
    this.#toAll({ type: 'REFUSED', runId: this.identity.runId, code, message });
    this.attachments.clear();
    for (const then of this.#afterStart.splice(0)) then();
    this.#forgetSpec();
  }

  #arm(spec: Spec): void {
    if (spec.timeoutMs !== undefined) {
      const ms = Math.min(spec.timeoutMs, LONGEST_TIMER);
      this.#timeout = setTimeout(() => this.end('timeout', undefined, `ran for ${spec.timeoutMs} ms`), ms);
    }
    if (spec.idleMs !== undefined) this.#armIdle(spec.idleMs, spec.idleMs);
  }

  #armIdle(idleMs: number, wait: number): void {
    this.#idle = setTimeout(
      () => {
        const quiet = Date.now() - this.#lastActivity;
        if (quiet >= idleMs) this.end('idle', undefined, `was quiet for ${idleMs} ms`);
        else this.#armIdle(idleMs, idleMs - quiet);
      },
      Math.min(wait, LONGEST_TIMER),
    );
  }

  // -- output

  grew(output: Output, offset: number, bytes: Buffer): void {
    this.#lastActivity = Date.now();
    this.#gseq++;
    for (const attachment of this.attachments) attachment.grew(output.stream, this.#gseq, offset, bytes);
    const max = this.#spec?.maxOutput;
    if (max !== undefined && this.#cause === undefined) {
      let total = 0;
      for (const each of this.#outputs) total += each.next;
      if (total > max) this.end('limits', undefined, `wrote more than ${max} bytes`);
    }
  }

  dropped(output: Output, from: number, to: number, reason: string): void {
    this.#toAll({ type: 'GAP', stream: output.stream, from, to, reason });
  }

  overflowed(output: Output): void {
    if (this.#cause === undefined) this.end('limits', undefined, `output ${output.stream} filled its spool`);
  }

  ended(output: Output): void {
    this.#openOutputs--;
    this.#toAll({ type: 'EOS', stream: output.stream, final: output.next });
    if (this.#status && this.exit && this.#openOutputs === 0) this.#machine.settle(this);
    // The leader has most likely just ended: asking now is quicker than waiting for the signal.
    else if (this.#openOutputs === 0) this.#machine.children.sweep();
  }

  changed(): void {
    if (this.#undrained) this.#conclude();
  }

  get blocked(): string | undefined {
    const output = this.#outputs.find((each) => each.blocked);
    if (!output) return undefined;
    return output.stream === STREAM.stdout ? 'stdout' : output.stream === STREAM.stderr ? 'stderr' : 'output';
  }

  // -- stdin, acknowledgements and the rest a controller may do

  takeInput(offset: number, bytes: Uint8Array): void {
    this.#lastActivity = Date.now();
    this.#stdin().take(offset, bytes);
  }

  endInput(final: number): void {
    this.#stdin().end(final);
  }

  #stdin(): Input {
    if (!this.#input) {
      const { native, limits } = this.#machine;
      this.#input = new Input(native, limits.stdinWindow, {
        moved: () => this.#inputMoved(),
        refused: () => this.#toControllers({ type: 'STOP', stream: STREAM.stdin }),
      });
      if (this.over) this.#input.discard();
    }
    return this.#input;
  }

  #inputMoved(): void {
    const input = this.#input;
    if (!input || this.#inputTold) return;
    this.#inputTold = true;
    queueMicrotask(() => {
      this.#inputTold = false;
      this.#toControllers({ type: 'ACK', stream: STREAM.stdin, durable: input.next });
      this.#toControllers({ type: 'CREDIT', stream: STREAM.stdin, limit: input.limit });
    });
  }
  #inputTold = false;

  acknowledge(stream: number, durable: number): void {
    this.#outputs.find((output) => output.stream === stream)?.acknowledge(durable);
  }

  /** The caller reads this stream no more. */
  stopStream(stream: number): void {
    this.#outputs.find((output) => output.stream === stream)?.stop();
  }

  acknowledgeExit(): void {
    if (!this.exit || this.acked) return;
    this.acked = true;
    this.#machine.journal.append({ kind: 'acked', no: this.identity.no });
  }

  /** SIGNAL, CANCEL and RESIZE; a repeat of an opId is answered from memory. */
  operate(from: Attachment, operation: Operation): void {
    const known = this.#operations.has(operation.opId);
    const answer = this.#operations.get(operation.opId);
    if (answer) from.send(answer);
    if (known) return;
    if (this.#operations.size >= REMEMBERED_OPERATIONS) {
      const oldest = this.#operations.keys().next().value;
      if (oldest !== undefined) this.#operations.delete(oldest);
    }
    this.#operations.set(operation.opId, undefined);
    if (this.state === 'starting' || (this.state === 'queued' && operation.type !== 'CANCEL'))
      this.#afterStart.push(() => this.#operate(from, operation));
    else this.#operate(from, operation);
  }

  #operate(from: Attachment, operation: Operation): void {
    // Known now: by the time of the answer the tree may be gone.
    const proof = this.#tree?.proof;
    const answer = (result: string, signalled: number[] = [], survivors: ProcessInfo[] = []): void => {
      const message: OperationResult = { type: 'OP_OK', opId: operation.opId, result, signalled, survivors, proof };
      this.#operations.set(operation.opId, message);
      if (this.attachments.has(from)) from.send(message);
    };
    if (operation.type === 'CANCEL') {
      if (this.state === 'queued') {
        this.#machine.cancelQueued(this, operation.reason);
        answer('done');
      } else if (!this.#tree || this.treeEnded) answer('already over');
      else this.end('cancelled', operation.graceMs, operation.reason, (r) => answer('done', r.signalled, r.survivors));
    } else if (operation.type === 'SIGNAL') this.#signal(operation, answer);
    else answer(this.resize(operation.cols, operation.rows) ? 'done' : 'no terminal');
  }

  resize(_cols: number, _rows: number): boolean {
    return false;
  }

  #signal(operation: MessageNamed<'SIGNAL'>, answer: (result: string, signalled?: number[]) => void): void {
    const { native, children } = this.#machine;
    const { signal, scope } = operation;
    const tree = this.#tree;
    if (!tree || this.treeEnded) return answer('already over');
    if (signal < 1 || signal > 64) return answer(`no signal ${signal}`);
    if (scope === 'tree') return answer('done', signalAll(native, tree.members(), signal));
    // A reaped leader's pid and group id may be somebody else's by now.
    if (!children.isLeader(this.pid)) return answer('the leader has ended');
    const target = scope === 'group' ? -this.pid : this.pid;
    if (!native.kill(target, signal)) return answer('the leader has ended');
    if (signal === constants.signals.SIGTERM || signal === constants.signals.SIGHUP) native.kill(target, SIGCONT);
    answer('done', [this.pid]);
  }

  // -- end

  /** Ends the whole tree: TERM, grace, KILL. A second call may only bring KILL nearer. */
  end(cause: Cause, graceMs?: number, reason?: string, done?: (report: EndReport) => void): void {
    if (!this.#tree || this.treeEnded) return;
    if (this.state === 'running') {
      this.#cause ??= cause;
      this.reason ??= reason;
    }
    if (done) this.#endWaiters.push(done);
    const grace = graceMs ?? this.#spec?.killGraceMs ?? this.#machine.limits.killGraceMs;
    if (this.#ending) {
      this.#ending.shorten(grace);
      return;
    }
    this.#machine.children.hold(this.pid);
    // The constructor may finish at once, before it has returned.
    const finished = (report: EndReport): void => this.#endFinished(report);
    const ending = new Ending(this.#machine.native, this.#tree, grace, (report) =>
      queueMicrotask(() => finished(report)),
    );
    this.#ending = ending;
  }
  readonly #endWaiters: ((report: EndReport) => void)[] = [];

  #endFinished(report: EndReport): void {
    this.#ending = undefined;
    this.#endReport = report;
    this.#machine.children.release(this.pid);
    for (const done of this.#endWaiters.splice(0)) done(report);
    this.checkTree();
  }

  #leaderEnded(status: Status): void {
    this.#status = status;
    this.#endedMs = Date.now();
    clearTimeout(this.#timeout);
    clearTimeout(this.#idle);
    this.#conclude();
  }

  /** The leader has ended: takes what its pipes hold, and says so once that is stored. */
  #conclude(): void {
    const status = this.#status;
    if (!status || this.exit) return;
    let stored = true;
    for (const output of this.#outputs) stored = output.drain() && stored;
    const exit: Exit = {
      code: status.code,
      signal: status.signal === undefined ? undefined : signalName(status.signal),
      core: status.core || undefined,
      cause: this.#cause,
      reason: this.#cause && this.reason,
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
      maxRssKb: status.maxRssKb > process.resourceUsage().maxRSS ? status.maxRssKb : undefined,
      survivors: this.#endReport?.survivors ?? [],
      killProof: this.#endReport && this.#tree?.proof,
    };
    const { journal } = this.#machine;
    if (!stored) {
      // The disk is full. The code is safe in the journal; callers hear of it when the last output is.
      if (!this.#undrained) journal.append({ kind: 'exit', no: this.identity.no, exit, drained: false });
      this.#undrained = true;
      return;
    }
    this.#undrained = false;
    fault('before-exit');
    journal.append({ kind: 'exit', no: this.identity.no, exit, drained: true });
    fault('after-exit');
    this.exit = exit;
    this.state = 'exited';
    this.#toAll({ type: 'EXIT', ...exit });
    this.#machine.exited(this);
    this.checkTree();
  }

  /** A process has ended somewhere: perhaps it was the last of this tree. */
  checkTree(): void {
    this.#ending?.check();
    if (!this.exit || this.treeEnded || this.#ending || !this.#tree) return;
    if (this.#tree.alive()) {
      this.#machine.linger(this);
      return;
    }
    this.#tree.release();
    this.#tree = undefined;
    this.treeEnded = true;
    this.#input?.discard();
    this.#machine.journal.append({ kind: 'treeEnd', no: this.identity.no });
    this.#toAll({ type: 'TREE_END', survivors: [] });
    if (this.#openOutputs === 0) this.#machine.settle(this);
  }

  /** Everything has ended: keeps what callers may still ask for, gives back the rest. */
  settle(): void {
    this.streams = this.streamStates();
    for (const output of this.#outputs) output.destroy();
    this.#outputs.length = 0;
    this.#forgetSpec();
  }

  #forgetSpec(): void {
    this.#spec = undefined;
    if (this.rawSpec && this.rawSpec.length > SHOWN_ARGV) this.rawSpec = undefined;
  }

  // -- attachments

  /** Adds a client. In control, it takes control from whoever has it. */
  attach(attachment: Attachment): void {
    if (attachment.control) {
      this.controlEpoch++;
      for (const other of this.attachments) {
        if (!other.control) continue;
        other.control = false;
        other.send({ type: 'CONTROL_LOST', controlEpoch: this.controlEpoch });
      }
    }
    this.attachments.add(attachment);
  }

  detach(attachment: Attachment): void {
    this.attachments.delete(attachment);
  }

  /** Tells a client that has just attached where everything stands. */
  welcome(attachment: Attachment): void {
    const streams = this.streamStates();
    attachment.send({
      type: 'ATTACHED',
      runId: this.identity.runId,
      state: this.state,
      streams,
      controlEpoch: attachment.control ? this.controlEpoch : undefined,
      started: this.started,
      exit: this.exit,
      treeEnded: this.treeEnded || undefined,
      spec: this.rawSpec,
      reason: this.reason,
    });
    if (attachment.control && this.#input && !this.over)
      attachment.send({ type: 'CREDIT', stream: STREAM.stdin, limit: this.#input.limit });
    for (const { stream, next } of streams) if (stream !== STREAM.stdin && next > 0) attachment.announce(stream, next);
  }

  streamStates(): StreamState[] {
    if (this.#outputs.length === 0 && this.over) return this.streams;
    const states: StreamState[] = [];
    const input = this.#input;
    if (input) states.push({ stream: STREAM.stdin, first: input.next, next: input.next, final: input.final });
    for (const { stream, spool, next, ended } of this.#outputs)
      states.push({ stream, first: spool.first, next, final: ended ? next : undefined });
    return states;
  }

  #toAll(message: ToAttachment): void {
    for (const attachment of this.attachments) attachment.send(message);
  }

  #toControllers(message: ToAttachment): void {
    for (const attachment of this.attachments) if (attachment.control) attachment.send(message);
  }

  info(): RunInfo {
    const { runId, name, argv, openedMs, tags, principal } = this.identity;
    const length = (stream: number): number | undefined =>
      this.streamStates().find((state) => state.stream === stream)?.next;
    return {
      runId,
      state: this.state,
      name,
      argv,
      pid: this.started?.pid,
      openedMs,
      startMs: this.started?.startMs,
      endMs: this.exit?.endMs,
      code: this.exit?.code,
      signal: this.exit?.signal,
      cause: this.exit?.cause,
      blocked: this.blocked,
      attached: this.attachments.size,
      stdoutBytes: length(STREAM.stdout),
      stderrBytes: length(STREAM.stderr),
      principal,
      tags,
      reason: this.reason ?? this.refused?.message,
    };
  }
}
