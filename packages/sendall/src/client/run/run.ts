/**
 * One command on one host. Await it for its result; iterate it for its lines; read, write and kill it while it runs. It
 * outlives its link: when one is lost, the session makes another and the run continues at the next byte.
 */
import { setMaxListeners } from 'node:events';
import { Readable, type Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { UsageError, type SendallError } from '../../errors.js';
import { readDuration, type Duration } from '../../text/duration.js';
import { STREAM, type Exit, type MessageNamed, type Started, type StreamState } from '../../protocol/messages.js';
import { formatRunId, newRunId } from '../../protocol/run-id.js';
import {
  ClientAttachment,
  type AttachmentOwner,
  type Beginning,
  type Request,
  type TerminalEcho,
} from './attachment.js';
import {
  CANCELLED_WHILE_WRITING,
  conclude,
  errorOf,
  isOver,
  overflow,
  programOf,
  refusal,
  resultOf,
  type Conclusion,
  type Failure,
} from './conclusion.js';
import { watchDeadline } from './deadline.js';
import { Deferred } from './deferred.js';
import { Outputs, type OutputsOwner } from './outputs.js';
import { Pause } from './pause.js';
import { EventQueue, type RunEvent } from '../streams/events.js';
import type { OutputRecord } from '../streams/exact-records.js';
import { LineCutter, type LineOptions } from '../streams/lines.js';
import { checkOptions, flag, duration, oneOf, text, whole, word } from '../options/check.js';
import { checkSize, type PreparedRun } from '../options/options.js';
import type { StreamName } from '../streams/output.js';
import { toWebWritable } from '../streams/web.js';
import { type RunError, survivorsOf, withoutNewline, type Gap, type Result, type Survivor } from '../result/result.js';
import type { Session } from '../session/session.js';
import type { SharedOutputs } from './shared-outputs.js';
import { Sharing } from './sharing.js';
import { Narrator } from '../options/verbose.js';
import { signalNumber } from '../options/signals.js';
import { mayRepeat, type PreparedRetry } from '../options/retry.js';
import { isOurs, writers } from '../options/output-target.js';

/** The stage a run has reached. */
export type RunState = 'queued' | 'starting' | 'running' | 'exited' | 'ended' | 'refused' | 'unreachable' | 'lost';

/** Characters of a reason that the host keeps, plus one that shows it was longer. */
const LONGEST_REASON = 1001;

const DEADLINE_PASSED = 'its deadline has passed';

const LINE_RULES = {
  from: oneOf('stdout', 'stderr', 'both'),
  maxLine: whole('bytes', 1),
  delimiter: word,
  keepEnds: flag,
};
const CANCEL_RULES = { grace: duration, reason: text };
const KILL_RULES = { grace: duration, scope: oneOf('leader', 'group', 'tree') };

/** The effect of a signal or a kill. */
export interface KillReport {
  /** "done", or why no process was signalled. */
  readonly result: string;
  readonly signalled: readonly number[];
  readonly survivors: readonly Survivor[];
  /** "cgroup" or "unproven"; undefined for a plain signal. */
  readonly proof: string | undefined;
}

/** For a run that is cancelled while no process of it is there. */
const NO_PROCESS: KillReport = { result: 'done', signalled: [], survivors: [], proof: undefined };

/** What an attached run had written before. */
interface Past {
  /** Offsets of stdout between which all output is old. */
  readonly start: number;
  readonly end: number;
  /** Offsets of the first bytes of each stream that come. */
  readonly starts: { readonly stdout: number; readonly stderr: number };
  /** Where each stream's old output ends; 0 with `capture: 'exact'` or `'ordered'`, where that is not told. */
  readonly ends: { readonly stdout: number; readonly stderr: number };
  /** `ends` are told. */
  readonly endsKnown: boolean;
  /** For a terminal: the sequences that put another terminal into its current modes. */
  readonly screen: string;
}

/** One command on one host. Awaiting it gives its result, iterating it its lines. */
export class Run implements PromiseLike<Result>, AsyncIterable<string> {
  readonly host: string;
  /** With `retry`, the id of the newest try. */
  get runId(): string {
    return this.#runId;
  }
  #runId: string;
  readonly #attached = new Deferred<void>();
  readonly #started = new Deferred<Started>();
  readonly #exited = new Deferred<Exit>();
  readonly #drained = new Deferred<{ stdout: number; stderr: number }>();
  readonly #treeEnded = new Deferred<void>();
  readonly #controlLost = new Deferred<void>();
  readonly #result = new Deferred<Result>();
  /** Resolves when the host has accepted or found the run; rejects when it refuses. */
  get attached(): Promise<void> {
    return this.#attached.promise;
  }
  /** Resolves with the process; rejects when it never starts. */
  get started(): Promise<Started> {
    return this.#started.promise;
  }
  /** Resolves when the command's end is known; rejects when it cannot be known. */
  get exited(): Promise<Exit> {
    return this.#exited.promise;
  }
  /** Resolves when every byte up to the drained offsets has arrived. */
  get drained(): Promise<{ stdout: number; stderr: number }> {
    return this.#drained.promise;
  }
  /** Resolves when the last process of the run's tree is gone. */
  get treeEnded(): Promise<void> {
    return this.#treeEnded.promise;
  }
  #prepared: PreparedRun;
  #attachment: ClientAttachment;
  readonly #outputs: Outputs;
  #session: Session | undefined;
  #narrator: Narrator | undefined;
  /** The number of failed tries. */
  #tries = 0;
  /** The pause before the next try. */
  #pause: Pause | undefined;
  #ended = false;
  /** Its deadline has passed. */
  #overdue = false;
  /** This caller asked to cancel, with or without success. */
  #cancelAsked = false;
  #gaps: Gap[] = [];
  readonly #openedAt = Date.now();
  #state: RunState = 'queued';
  #events: EventQueue | undefined;
  #startedInfo: Started | undefined;
  #past: Past | undefined;
  /** The offsets of its streams at the time of attaching. */
  #found: readonly StreamState[] = [];
  readonly #joins: boolean;
  readonly #observes: boolean;
  #specHash = '';
  #endedAt: number | undefined;
  #throws: boolean;
  #failure: Failure = {};
  /** The reason of its aborted AbortSignal. */
  #aborted: unknown;
  #echo: ((echo: TerminalEcho | undefined) => void) | undefined;
  #sharing: Sharing | undefined;
  /** Tells the reader of events of all output. */
  #tellOutput: (() => void) | undefined;

  /** @internal */
  constructor(host: string, prepared: PreparedRun, beginning: Beginning = { kind: 'open' }) {
    this.host = host;
    this.#runId = formatRunId(prepared.runId);
    this.#prepared = prepared;
    this.#outputs = new Outputs(prepared, this.#outputsOwner());
    this.#throws = prepared.reject;
    this.#joins = beginning.kind === 'attach';
    this.#observes = beginning.kind === 'attach' && beginning.mode === 'observe';
    this.#attachment = new ClientAttachment(prepared, beginning, this.#listener());
    this.#narrate();
    this.#feed(prepared.stdin);
    this.#outputs.begin();
    this.#watch(prepared.signal);
    if (prepared.deadlineAt !== undefined) this.#observeDeadline(prepared.deadlineAt, prepared.spec.killGraceMs);
  }

  /** Joins the host's link after this turn; until then it may still be piped into. @internal */
  join(session: Session): void {
    this.#session = session;
    queueMicrotask(() => {
      if (!this.#result.settled) session.join(this.#attachment);
    });
  }

  /**
   * Takes part in outputs that many runs share. Its option sha256 must be on. Call it before the run joins a link, and
   * before its output is read.
   * @internal
   */
  share(outputs: SharedOutputs): void {
    this.#sharing = new Sharing(outputs, {
      host: this.host,
      attachment: this.#attachment,
      outputs: this.#outputs,
      readsOn: this.#prepared.waitFor !== 'exit',
      arrived: () => this.#maybeDone(),
    });
    // A narrator of all output needs all of it.
    if (!this.#narrator?.isFull) this.#attachment.hold();
  }

  /** Ends the run because its host could not be reached. @internal */
  giveUp(error: SendallError): void {
    this.#attachment.abandoned(error);
  }

  get state(): RunState {
    return this.#state;
  }

  /** False while the run needs a link to its host and a first or new one is being made. */
  get linked(): boolean {
    return this.#result.settled || this.#attachment.linked;
  }

  /** The newest epoch of control granted to this caller; undefined while it only observes. */
  get controlEpoch(): number | undefined {
    return this.#attachment.controlEpoch;
  }

  /** The command has a terminal; for an attached run, known once `attached` has resolved. */
  get hasTerminal(): boolean {
    return this.#attachment.streams.has(STREAM.pty);
  }

  /** For an attached run, what there was before, once `attached` has resolved. */
  get past(): Past | undefined {
    return this.#past;
  }

  /** Milliseconds the host took for its first answer on the present link; 0 before that. */
  get roundTripMs(): number {
    return this.#attachment.roundTripMs;
  }

  /** For an attached run: some of the output that existed on attaching has not arrived yet. */
  get isBehind(): boolean {
    return this.#found.some(({ stream, next }) => {
      const inbound = this.#attachment.streams.get(stream);
      return inbound !== undefined && !inbound.abandoned && inbound.next < next;
    });
  }

  /** Resolves when another caller has taken control: from then on, bytes written to `stdin` are dropped. */
  get controlLost(): Promise<void> {
    return this.#controlLost.promise;
  }

  /**
   * What the command reads. The command sees end-of-file once `stdin` is ended and every byte has arrived. A run made
   * without stdin gets one if this is read in the same turn; later reads throw a UsageError.
   */
  get stdin(): Writable {
    this.#attachment.takeStdin();
    return this.#attachment.stdin;
  }

  get stdout(): Readable {
    return this.#outputs.stdout.readable();
  }

  get stderr(): Readable {
    return this.#outputs.stderr.readable();
  }

  /** Offsets of the next bytes; an attachment from there misses and repeats nothing. */
  get offsets(): { stdout: number; stderr: number } {
    return this.#outputs.offsets;
  }

  /** Makes a result that is not ok resolve instead of reject. */
  nothrow(): this {
    this.#throws = false;
    return this;
  }

  // oxlint-disable-next-line unicorn/no-thenable -- a run is awaited for its result
  then<A = Result, B = never>(
    onResult?: ((value: Result) => A | PromiseLike<A>) | null,
    onError?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return this.#result.promise
      .then((result) => {
        if (this.#throws && !result.ok) throw this.#errorOf(result);
        return result;
      })
      .then(onResult, onError);
  }

  catch<B = never>(onError?: ((reason: unknown) => B | PromiseLike<B>) | null): Promise<Result | B> {
    return this.then(undefined, onError);
  }

  finally(onEnd?: (() => void) | null): Promise<Result> {
    return this.then().finally(onEnd);
  }

  /** The lines of stdout. */
  [Symbol.asyncIterator](): AsyncIterator<string> {
    return this.lines()[Symbol.asyncIterator]();
  }

  /**
   * Lines as they arrive, without their ends. `from`: "stdout" (the default), "stderr", or "both" in order of arrival.
   * @throws UsageError for a wrong option, an encoding that cannot be cut into lines, or redirected output.
   * @throws RunError after the last line when the run is not ok.
   */
  async *lines(options: LineOptions & { from?: StreamName | 'both' } = {}): AsyncGenerator<string, void, undefined> {
    checkOptions('lines()', options, LINE_RULES);
    const { from = 'stdout' } = options;
    const cutter = (): LineCutter => new LineCutter(this.#prepared.encoding, options);
    if (from === 'both') {
      const cutters = { stdout: cutter(), stderr: cutter() };
      for await (const event of this.events())
        if (event.event === 'output') yield* cutters[event.stream].cut(event.bytes);
      yield* cutters.stdout.rest();
      yield* cutters.stderr.rest();
    } else {
      const one = cutter();
      for await (const chunk of this.#outputs.of(from).readable()) yield* one.cut(chunk as Buffer);
      yield* one.rest();
    }
    await this;
  }

  /**
   * All of stdout, decoded. The final newline is removed unless `stripFinalNewline` is false.
   * @throws RunError when the run is not ok.
   */
  async text(): Promise<string> {
    this.#outputs.mustCollect('stdout');
    const { stdout } = await this;
    return this.#prepared.stripFinalNewline === false ? stdout : withoutNewline(stdout);
  }

  /**
   * All of stdout.
   * @throws RunError when the run is not ok.
   */
  async bytes(): Promise<Buffer> {
    this.#outputs.mustCollect('stdout');
    return (await this).raw.stdout;
  }

  /**
   * stdout as one JSON value.
   * @throws SyntaxError when stdout is not JSON, RunError when the run is not ok.
   */
  async json<T = unknown>(): Promise<T> {
    return JSON.parse(await this.text()) as T;
  }

  /**
   * stdout as JSON values, one a line; blank lines are skipped.
   * @throws SyntaxError for a line that is not JSON, RunError when the run is not ok.
   */
  async *ndjson<T = unknown>(): AsyncGenerator<T, void, undefined> {
    for await (const line of this.lines()) if (line.trim()) yield JSON.parse(line) as T;
  }

  /**
   * With `capture: 'exact'` or `'ordered'`: each write of the command, both streams in one order.
   * @throws UsageError with another capture.
   */
  records(): AsyncIterable<OutputRecord> {
    const { records } = this.#outputs;
    if (!records) throw new UsageError("records() needs capture: 'exact' or 'ordered'");
    return records.iterate(() => this.#outputs.used());
  }

  /** The streams as Web streams. */
  web(): {
    stdin: WritableStream<Uint8Array>;
    stdout: ReadableStream<Uint8Array>;
    stderr: ReadableStream<Uint8Array>;
  } {
    let stdin: WritableStream<Uint8Array> | undefined;
    // Only a run that is written to needs a stdin.
    const ask = (): WritableStream<Uint8Array> => (stdin ??= toWebWritable(this.stdin));
    return {
      get stdin() {
        return ask();
      },
      stdout: Readable.toWeb(this.stdout) as ReadableStream<Uint8Array>,
      stderr: Readable.toWeb(this.stderr) as ReadableStream<Uint8Array>,
    };
  }

  /**
   * Sends stdout to the stdin of another run (on any host), or into a stream. Back-pressure goes all the way; a reader
   * that stops early ends this command by SIGPIPE. If some of the output is missing, the run piped into is cancelled,
   * so that part of the input never passes for all of it. Several runs may be piped into one, as with `(a & b) | c`:
   * their pieces mix in order of arrival, and the input ends once all of them have ended. Returns its argument; await
   * this run too for its own result.
   * @throws UsageError when the next run already has its stdin.
   */
  pipe<T extends Run | Writable>(next: T): T {
    if (next instanceof Run) {
      const { stdin } = next.#prepared;
      if (stdin !== undefined && stdin !== 'none' && stdin !== 'pipe')
        throw new UsageError('the run that is piped into was given its stdin already: leave out its option stdin');
      next.#lead((into) => this.#pour(into));
    } else {
      const done = writers.add(next);
      pipeline(this.stdout, next, { end: false })
        .then(() => done() && !isOurs(next) && next.end())
        .catch((error: unknown) => {
          this.#readerGone(next);
          next.destroy(error as Error);
        });
    }
    return next;
  }

  /**
   * Every event, in order. It allows a single reader, and output is not collected then.
   * @throws UsageError for a second reader, and for redirected output.
   */
  async *events(): AsyncGenerator<RunEvent, void, undefined> {
    if (this.#events) throw new UsageError('events() of a run can be read once');
    this.#outputs.mustCollect('stdout', 'stderr');
    const events = (this.#events = new EventQueue());
    if (this.#startedInfo) events.push({ event: 'started', pid: this.#startedInfo.pid });
    // Shared output is told at the end: only then is it known whether it comes from here.
    if (this.#sharing && !this.#result.settled) this.#tellOutput = () => this.#passOutput(events);
    else this.#passOutput(events);
    if (this.#result.settled) void this.#result.promise.then((result) => events.push({ event: 'result', result }));
    try {
      for (;;) {
        const event = await events.next();
        yield event;
        if (event.event === 'result') return;
        if (event.event !== 'output') continue;
        this.#outputs.of(event.stream).inbound.consumed(event.bytes.length);
        this.#outputs.used();
      }
    } finally {
      // A reader that leaves early must not hold the command up.
      this.stopCollecting();
    }
  }

  #passOutput(events: EventQueue): void {
    for (const stream of ['stdout', 'stderr'] as const) {
      // Gaps from before the first reader belong between the pieces that arrived.
      const missed = this.#gaps.filter((gap) => gap.stream === stream);
      const missedBefore = (offset: number) => {
        while (missed[0] && missed[0].from < offset) events.push({ event: 'gap', ...missed.shift()! });
      };
      this.#outputs.of(stream).redirect((bytes, offset) => {
        missedBefore(offset);
        events.push({ event: 'output', stream, offset, bytes, ...this.#outputs.records?.mark });
      });
      missedBefore(Infinity);
    }
  }

  /**
   * Signals the command. A plain signal goes to `scope`, by default its process group. "tree" ends every process the
   * run started: TERM, `grace` milliseconds, KILL; the report names survivors. Without a link, the signal waits for the
   * next one.
   * @throws UsageError for an unknown signal or a wrong option.
   */
  async kill(
    signal: string | number = 'SIGTERM',
    options: { scope?: 'leader' | 'group' | 'tree'; grace?: Duration } = {},
  ): Promise<KillReport> {
    checkOptions('kill()', options, KILL_RULES);
    const scope = options.scope ?? 'group';
    return await this.#operate(
      scope === 'tree'
        ? { type: 'CANCEL', graceMs: readDuration(options.grace) }
        : { type: 'SIGNAL', signal: signalNumber(signal), scope },
    );
  }

  /**
   * Ends the run and its process tree: TERM, `grace` milliseconds, KILL. The outcome is then cancelled. A run that was
   * not sent never starts, unless its option `runId` names one that the host may know.
   * @throws UsageError for a wrong option.
   */
  async cancel(options: { grace?: Duration; reason?: string } = {}): Promise<KillReport> {
    checkOptions('cancel()', options, CANCEL_RULES);
    if (this.#pause) {
      this.#pause.stop('cancelled by the caller before the next try');
      return NO_PROCESS;
    }
    this.#cancelAsked = true;
    if (this.#ended && !this.#result.settled) {
      this.#settle(CANCELLED_WHILE_WRITING);
      return NO_PROCESS;
    }
    const reason = options.reason?.slice(0, LONGEST_REASON);
    if (!this.#ended && this.#prepared.isNew && !this.#attachment.boarded) {
      this.#end(['cancelled', `${reason ?? 'cancelled by the caller'} before it was sent`]);
      return NO_PROCESS;
    }
    return await this.#operate({ type: 'CANCEL', graceMs: readDuration(options.grace), reason });
  }

  /**
   * Sets the size of the run's terminal.
   * @throws UsageError when a size is not from 1 to 65535.
   */
  async resize(cols: number, rows: number): Promise<void> {
    await this.#operate({ type: 'RESIZE', ...checkSize(cols, rows) });
  }

  /**
   * Calls back with how the run's terminal treats typed keys: first, whenever a program changes it, and with undefined
   * once it is unknown. A host with an older sendall does not report it.
   * @throws UsageError unless called right after making the run.
   */
  followEcho(listener: (echo: TerminalEcho | undefined) => void): void {
    this.#attachment.followEcho();
    this.#echo = listener;
  }

  /** Disconnects from the run. It goes on; `host.attach(runId)` finds it again. */
  async detach(): Promise<{ runId: string; host: string; offsets: { stdout: number; stderr: number } }> {
    await (this.#joins ? this.attached : this.started);
    this.#pause?.stop('detached before the next try');
    const { runId, host, offsets } = this;
    this.#attachment.end(false);
    this.#end(['cancelled', 'detached: the command goes on']);
    return { runId, host, offsets };
  }

  /** Reads output and drops it, for callers interested only in the end. */
  stopCollecting(): void {
    this.#outputs.stopCollecting();
  }

  /** Stops reading the stream: the command gets SIGPIPE when it writes there. */
  stopReading(stream: StreamName): void {
    this.#outputs.stopReading(stream);
  }

  // -- internals

  /** Reacts to the attachment's events. */
  #listener(): AttachmentOwner {
    return {
      shape: (streams) => this.#outputs.shape(streams),
      opened: (specHash) => {
        this.#specHash = specHash;
        if (this.#state === 'queued') this.#state = 'starting';
      },
      attached: (resumed) => {
        this.#attached.resolve();
        this.#sharing?.relinked();
        if (resumed) this.#events?.push({ event: 'resumed', offsets: this.offsets });
      },
      joined: (streams, screen = '') => {
        this.#found = streams;
        const { stream, start } = this.#outputs.stdout.inbound;
        const next = (wanted: number) => streams.find((each) => each.stream === wanted)?.next ?? 0;
        const end = next(stream);
        const starts = { stdout: start, stderr: this.#outputs.stderr.inbound.start };
        const ends = { stdout: end, stderr: next(STREAM.stderr) };
        const endsKnown = !streams.some((each) => each.stream === STREAM.records);
        this.#past = { start, end, starts, ends, endsKnown, screen };
      },
      echo: (bits) => this.#echo?.(bits),
      controlLost: () => this.#controlLost.resolve(),
      started: (started) => this.#onStarted(started),
      refused: (message) => this.#onRefused(message),
      gap: (stream, from, to, reason) => this.#onGap(stream, from, to, reason),
      exited: (exit) => {
        this.#state = 'exited';
        this.#endedAt = Date.now();
        this.#exited.resolve(exit);
        this.#sharing?.exited(exit);
      },
      treeEnded: () => this.#treeEnded.resolve(),
      arrived: () => this.#maybeDone(),
      unlinked: () => this.#sharing?.relinked(),
      failed: (outcome, reason, cause) => this.#end([outcome, reason], { cause }),
    };
  }

  /** Reacts to events of the output. A caller that only observes never ends the run. */
  #outputsOwner(): OutputsOwner {
    return {
      used: () => this.#attachment.grant(),
      overflowed: () => {
        if (this.#observes) this.#end(overflow(this.#prepared.maxBuffer));
        else void this.cancel({ reason: 'maxBuffer' }).catch(() => undefined);
      },
      stopped: (stream) => this.#attachment.stopReading(stream),
      unwritable: (error) => {
        if (this.#observes) this.#end(['truncated', error.message], { cause: error });
        else void this.cancel({ reason: 'its output cannot be written' }).catch(() => undefined);
      },
    };
  }

  #onStarted(started: Started): void {
    if (this.#startedInfo) return;
    this.#startedInfo = started;
    if (this.#state === 'queued' || this.#state === 'starting') this.#state = 'running';
    this.#started.resolve(started);
    this.#events?.push({ event: 'started', pid: started.pid });
  }

  #onRefused(message: MessageNamed<'REFUSED'>): void {
    const [outcome, reason] = refusal(message);
    // Only we cancel a run after its deadline; it has not started.
    this.#end([this.#overdue && outcome === 'cancelled' ? 'expired' : outcome, reason], { refused: message });
  }

  #onGap(number: number, from: number, to: number, reason: string): void {
    if (number === STREAM.records) this.#outputs.records?.lose();
    const gap: Gap = { stream: number === STREAM.stderr ? 'stderr' : 'stdout', from, to, reason };
    this.#gaps.push(gap);
    if (!this.#tellOutput) this.#events?.push({ event: 'gap', ...gap });
  }

  #maybeDone(): void {
    const attachment = this.#attachment;
    this.#outputs.finishEnded();
    if (!attachment.exit || this.#ended) return;
    this.#sharing?.arrived();
    if (attachment.drained && !this.#drained.settled) this.#drained.resolve(this.offsets);
    if (!isOver(attachment, this.#prepared.waitFor)) return;
    const overflowed = this.#outputs.hasOverflowed ? this.#prepared.maxBuffer : undefined;
    const { exit, corrupt, logComplaint } = attachment;
    const [outcome, reason] = logComplaint
      ? (['rewritten', logComplaint] as const)
      : conclude(exit, corrupt, overflowed, this.#gaps);
    this.#end([this.#overdue && outcome === 'cancelled' ? 'timeout' : outcome, reason]);
  }

  #end(conclusion: Conclusion, failure: Failure = {}): void {
    if (this.#ended) return;
    this.#ended = true;
    const { pouring } = this.#outputs;
    // Cancelling does not wait for a stalled stream.
    if (!pouring || conclusion[0] === 'cancelled') this.#settle(conclusion, failure);
    else {
      this.#outputs.finish();
      // The command may have ended by itself just before the cancellation.
      if (this.#cancelAsked) this.#settle(CANCELLED_WHILE_WRITING);
      else void pouring.then(() => this.#settle(conclusion, failure));
    }
  }

  #settle(ended: Conclusion, why: Failure = {}): void {
    if (this.#result.settled) return;
    const unwritten = ended[0] === 'lost' ? undefined : this.#outputs.unwritten;
    const conclusion: Conclusion = unwritten ? ['truncated', unwritten.message] : ended;
    const failure = unwritten ? { cause: unwritten } : why;
    const { retry } = this.#prepared;
    if (retry && this.#tries < retry.times && this.#session && !this.#overdue) {
      const result = this.#resultOf(conclusion, failure);
      const idempotent = this.#prepared.spec.idempotent ?? false;
      const started = this.#startedInfo !== undefined;
      const isUnread = this.#outputs.isUnread('stdout') && this.#outputs.isUnread('stderr');
      if ((isUnread || !started) && mayRepeat(result, started, idempotent)) {
        this.#again(result, failure, retry, this.#session).catch((error: unknown) =>
          this.#finish(conclusion, { ...failure, cause: error as Error }),
        );
        return;
      }
    }
    this.#finish(conclusion, failure);
  }

  /** Makes another try after its pause, as a new run on the host. */
  async #again(result: Result, failure: Failure, retry: PreparedRetry, session: Session): Promise<void> {
    const pause = (this.#pause = new Pause());
    try {
      const isWorthIt = await retry.when(result, this.#tries + 1);
      if (isWorthIt) await pause.wait(retry.delayMs);
      if (pause.stopped !== undefined && !this.#overdue) return this.#finish(['cancelled', pause.stopped], {});
      if (!isWorthIt || this.#overdue) return this.#finish([result.outcome, result.reason], failure);
    } finally {
      this.#pause = undefined;
    }
    this.#narrator?.end(result);
    this.#attachment.end(true);
    this.#tries += 1;
    this.#prepared = { ...this.#prepared, runId: newRunId() };
    this.#runId = formatRunId(this.#prepared.runId);
    this.#outputs.renew();
    this.#gaps = [];
    this.#startedInfo = this.#endedAt = undefined;
    this.#ended = false;
    this.#state = 'queued';
    this.#attachment = new ClientAttachment(this.#prepared, { kind: 'open' }, this.#listener());
    this.#narrate();
    this.#outputs.begin();
    this.#feed(this.#prepared.stdin);
    session.join(this.#attachment);
  }

  #finish(conclusion: Conclusion, failure: Failure): void {
    const [outcome] = conclusion;
    this.#state = outcome === 'refused' || outcome === 'unreachable' || outcome === 'lost' ? outcome : 'ended';
    this.#failure = failure;
    this.#sharing?.end();
    const result = this.#resultOf(conclusion, failure);
    this.#attachment.end(true);
    // Also while there is no link: none is dialled for it any more.
    if (this.#attachment.needsNoLink) this.#session?.leave(this.#attachment);
    this.#outputs.finish();
    this.#outputs.records?.end();
    let error: RunError | undefined;
    const why = (): RunError => (error ??= this.#errorOf(result));
    for (const each of [this.#attached, this.#started, this.#exited, this.#drained, this.#treeEnded])
      if (!each.settled) each.reject(why);
    this.#narrator?.end(result);
    this.#result.resolve(result);
    this.#tellOutput?.();
    this.#events?.push({ event: 'result', result });
  }

  #errorOf(result: Result): RunError {
    const cause = this.#failure.cause ?? (result.outcome === 'cancelled' ? this.#aborted : undefined);
    const { spec, encoding } = this.#prepared;
    const program = this.#joins ? undefined : programOf(spec);
    return errorOf(result, { program, encoding, refused: this.#failure.refused, cause });
  }

  #resultOf(conclusion: Conclusion, failure: Failure): Result {
    return resultOf(conclusion, {
      host: this.host,
      runId: this.#runId,
      prepared: this.#prepared,
      exit: this.#attachment.exit,
      started: this.#startedInfo,
      openedAt: this.#openedAt,
      endedAt: this.#endedAt,
      stdout: this.#outputs.stdout,
      stderr: this.#outputs.stderr,
      gaps: this.#gaps,
      specHash: this.#specHash,
      failure,
    });
  }

  #observeDeadline(at: number, killGrace: number | undefined): void {
    const stop = watchDeadline(at, killGrace, {
      passed: () => {
        this.#overdue = true;
        if (this.#pause) this.#pause.stop(DEADLINE_PASSED);
        else if (!this.#attachment.boarded) this.#attachment.giveUp(DEADLINE_PASSED);
      },
      unheard: () => {
        if (this.#ended || this.#attachment.exit) return;
        void this.#operate({ type: 'CANCEL', graceMs: undefined, reason: DEADLINE_PASSED }).catch(() => undefined);
      },
      unknown: () => this.#attachment.giveUp(DEADLINE_PASSED),
    });
    void this.#result.promise.then(stop);
  }

  async #operate(request: Request): Promise<KillReport> {
    // The host may know nothing of the last one: it would give no answer.
    if (this.#pause) return { ...NO_PROCESS, result: 'it waits for its next try' };
    const { result, signalled, survivors, proof } = await this.#attachment.operate(request);
    return { result, signalled, survivors: survivorsOf(survivors), proof };
  }

  #feed(stdin: PreparedRun['stdin']): void {
    if (stdin === undefined || stdin === 'none' || stdin === 'pipe') return;
    if (typeof stdin === 'string' || stdin instanceof Uint8Array) this.stdin.end(stdin);
    else this.#lead((into) => pipeline(stdin, into));
  }

  /** Narrates the run on stderr, if `verbose` asks for it. */
  #narrate(): void {
    const { verbose, encoding, spec } = this.#prepared;
    if (verbose === 'none') return;
    const narrator = (this.#narrator = new Narrator(verbose, this.host, this.runId, encoding));
    narrator.start(this.#joins ? 'attach' : programOf(spec), spec.name);
    if (!narrator.isFull) return;
    this.#outputs.stdout.inbound.tap = (bytes) => narrator.output('stdout', bytes);
    this.#outputs.stderr.inbound.tap = (bytes) => narrator.output('stderr', bytes);
  }

  /**
   * Feeds a source into stdin. If that fails, so does the run; when the command stops reading, the source is closed.
   */
  #lead(lead: (stdin: Writable) => Promise<void>): void {
    const { stdin } = this.#attachment;
    this.#attachment.takeStdin();
    stdin.expectSource();
    lead(stdin).catch((error: unknown) => {
      if (!this.#result.settled && !stdin.stopped)
        void this.cancel({ reason: `stdin failed: ${(error as Error).message}` }).catch(() => undefined);
    });
  }

  /** Pipes all of stdout, and ends the target only if no output is missing. */
  async #pour(stdin: Writable): Promise<void> {
    const done = writers.add(stdin);
    await pipeline(this.stdout, stdin, { end: false }).finally(() => this.#readerGone(stdin));
    const result = await this.#result.promise;
    if (!this.#attachment.exit || ['lost', 'truncated'].includes(result.outcome)) throw this.#errorOf(result);
    if (done()) stdin.end();
  }

  /** The writer gets SIGPIPE, as in a shell. */
  #readerGone(target: Writable): void {
    if (target.destroyed) this.stopReading('stdout');
  }

  #watch(signal: AbortSignal | undefined): void {
    if (!signal) return;
    const abort = () => {
      this.#aborted = signal.reason;
      if (this.#pause) this.#pause.stop('aborted by the caller before the next try');
      else if (this.#ended || this.#attachment.boarded)
        void this.cancel({ reason: 'aborted by the caller' }).catch(() => undefined);
      else this.#end(['cancelled', 'aborted by the caller before it was sent']);
    };
    if (signal.aborted) queueMicrotask(abort);
    else {
      // One signal may serve any number of runs; Node would report a leak.
      setMaxListeners(0, signal);
      signal.addEventListener('abort', abort, { once: true });
      void this.#result.promise.then(() => signal.removeEventListener('abort', abort));
    }
  }
}
