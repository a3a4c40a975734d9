/**
 * One command on one host. Await it for its result; iterate it for its lines; read, write and kill it while it runs.
 * It outlives its link: when one is lost the session finds another and the run goes on at the next byte.
 */
import { Readable, type Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { lines as lineFraming } from '@sendall/framing';
import { ProtocolError, SendallError, UsageError } from '../errors.js';
import {
  STREAM,
  type Exit,
  type From,
  type Message,
  type MessageNamed,
  type Started,
  type StreamState,
} from '../protocol/messages.js';
import { startOffset } from '../protocol/flow.js';
import { formatRunId } from '../protocol/run-id.js';
import { ExactRecords, type OutputRecord } from './exact-records.js';
import { Inbound } from './inbound.js';
import type { PreparedRun } from './options.js';
import { Outbound } from './outbound.js';
import { Output } from './output.js';
import { RunError, survivorsOf, verdict, type Gap, type Outcome, type Result, type Survivor } from './result.js';
import type { Rider, Session } from './session.js';
import { signalNumber } from './signals.js';

export type StreamName = 'stdout' | 'stderr';
export type RunState = 'queued' | 'starting' | 'running' | 'exited' | 'ended' | 'refused' | 'unreachable' | 'lost';

/** What happens to a run, in order. Output pieces count as read when the next event is asked for. */
export type RunEvent =
  | { readonly event: 'started'; readonly pid: number }
  | { readonly event: 'output'; readonly stream: StreamName; readonly offset: number; readonly bytes: Buffer }
  | { readonly event: 'resumed'; readonly offsets: { readonly stdout: number; readonly stderr: number } }
  | ({ readonly event: 'gap' } & Gap)
  | { readonly event: 'result'; readonly result: Result };

export interface KillReport {
  /** "done", or why nothing was signalled. */
  readonly result: string;
  readonly signalled: readonly number[];
  readonly survivors: readonly Survivor[];
  /** "cgroup" or "unproven"; undefined for a plain signal. */
  readonly proof: string | undefined;
}

/** How a run begins: by opening it, or by attaching to one that exists. */
export type Beginning =
  | { readonly kind: 'open' }
  | {
      readonly kind: 'attach';
      readonly mode: 'observe' | 'control';
      readonly from: 'start' | 'end' | number | { tail: number };
    };

interface Deferred<T> {
  readonly promise: Promise<T>;
  resolve(value: T): void;
  reject(error: Error): void;
  settled: boolean;
}

function deferred<T>(): Deferred<T> {
  let settle!: { resolve: (value: T) => void; reject: (error: Error) => void };
  const promise = new Promise<T>((resolve, reject) => (settle = { resolve, reject }));
  // Nobody has to look at each of a run's promises.
  promise.catch(() => undefined);
  return {
    promise,
    settled: false,
    resolve(value) {
      this.settled = true;
      settle.resolve(value);
    },
    reject(error) {
      this.settled = true;
      settle.reject(error);
    },
  };
}

export class Run implements PromiseLike<Result>, AsyncIterable<string>, Rider {
  readonly runId: string;
  readonly host: string;
  /** Resolves with the process; rejects when it never starts. */
  readonly started: Promise<Started>;
  /** Resolves when the host has taken or found the run; rejects when it refuses. */
  readonly attached: Promise<void>;
  /** Resolves when the command's end is known; rejects when it cannot be. */
  readonly exited: Promise<Exit>;
  /** Resolves when every byte up to the drained offsets is here. */
  readonly drained: Promise<{ stdout: number; stderr: number }>;
  /** Resolves when the last process of the run's tree is gone. */
  readonly treeEnded: Promise<void>;
  #state: RunState = 'queued';
  readonly #prepared: PreparedRun;
  readonly #beginning: Beginning;
  readonly #startedAt = Date.now();
  readonly #stdin = new Outbound();
  readonly #stdout: Output;
  readonly #stderr: Output;
  /** The streams that the host sends, by number. */
  #streams = new Map<number, Output>();
  readonly #attached = deferred<void>();
  readonly #started = deferred<Started>();
  readonly #exited = deferred<Exit>();
  readonly #drained = deferred<{ stdout: number; stderr: number }>();
  readonly #treeEnded = deferred<void>();
  readonly #result = deferred<Result>();
  readonly #gaps: Gap[] = [];
  #wanted: readonly From[] = [];
  #session: Session | undefined;
  #alias = 0;
  #opened = false;
  #wasAboard = false;
  #startedInfo: Started | undefined;
  #exit: Exit | undefined;
  #treeEnd = false;
  #specHash = '';
  #overflowed = false;
  #endedAt: number | undefined;
  #throws: boolean;
  #eosSent = false;
  #operations = new Map<number, (message: MessageNamed<'OP_OK'>) => void>();
  #events: { queue: RunEvent[]; wake: (() => void) | undefined } | undefined;
  #records: ExactRecords | undefined;
  #detached = false;
  /** The newest epoch of control that was granted; undefined while observing. */
  controlEpoch: number | undefined;

  /** @internal */
  constructor(host: string, prepared: PreparedRun, beginning: Beginning = { kind: 'open' }) {
    this.host = host;
    this.#prepared = prepared;
    this.#beginning = beginning;
    this.#throws = prepared.reject;
    this.runId = formatRunId(prepared.runId);
    this.started = this.#started.promise;
    this.attached = this.#attached.promise;
    this.exited = this.#exited.promise;
    this.drained = this.#drained.promise;
    this.treeEnded = this.#treeEnded.promise;
    const { spec } = prepared;
    this.#stdout = this.#newOutput(STREAM.stdout);
    this.#stderr = this.#newOutput(STREAM.stderr);
    if (spec.pty) this.#shape([STREAM.pty]);
    else if (spec.capture === 'merged') this.#shape([STREAM.stdout]);
    else if (spec.capture === 'exact') this.#shape([STREAM.records]);
    else this.#shape([STREAM.stdout, STREAM.stderr]);
    if (beginning.kind === 'open' && !spec.stdin) this.#stdin.stop();
    this.#stdin.wake = () => this.#session?.fill();
    this.#feed(prepared.stdin);
    this.#watch(prepared.signal);
  }

  get state(): RunState {
    return this.#state;
  }

  /** What the command reads. Ends with an end-of-file once it is ended and every byte has arrived. */
  get stdin(): Writable {
    return this.#stdin;
  }

  get stdout(): Readable {
    return this.#stdout.readable();
  }

  get stderr(): Readable {
    return this.#stderr.readable();
  }

  /** Offsets of the next bytes; an attachment that starts there misses and repeats nothing. */
  get offsets(): { stdout: number; stderr: number } {
    return { stdout: this.#stdout.inbound.next, stderr: this.#stderr.inbound.next };
  }

  /** Makes a result that is not ok resolve instead of reject. */
  nothrow(): this {
    this.#throws = false;
    return this;
  }

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
   * Lines as they come, without their ends. `from`: "stdout" (default), "stderr", or "both" in the order of arrival.
   * `delimiter` replaces LF and CRLF. A line above `maxLine` bytes (default 1 MiB) throws.
   */
  async *lines(
    options: { from?: StreamName | 'both'; maxLine?: number; keepEnds?: boolean } = {},
  ): AsyncGenerator<string, void, undefined> {
    const framing = lineFraming({
      maxFrameLength: options.maxLine ?? 1024 * 1024,
      keep: options.keepEnds ?? false,
      onEnd: 'deliver',
    });
    const decoder = new TextDecoder(this.#prepared.encoding);
    const from = options.from ?? 'stdout';
    // Encodings whose second bytes may be LF do not exist among those we take, so lines are cut before decoding.
    const wide = /^utf-?16/i.test(this.#prepared.encoding);
    if (wide) throw new UsageError(`lines() cannot cut ${this.#prepared.encoding}: read text() or the stream instead`);
    if (from !== 'both') {
      const parser = framing.decoder();
      for await (const chunk of from === 'stdout' ? this.stdout : this.stderr)
        for (const line of parser.decode(chunk as Buffer)) yield decoder.decode(line);
      const rest: string[] = [];
      parser.end((line) => void rest.push(decoder.decode(line)));
      yield* rest;
    } else {
      const parsers = { stdout: framing.decoder(), stderr: framing.decoder() };
      for await (const event of this.events())
        if (event.event === 'output')
          for (const line of parsers[event.stream].decode(event.bytes)) yield decoder.decode(line);
      const rest: string[] = [];
      for (const parser of [parsers.stdout, parsers.stderr]) parser.end((line) => void rest.push(decoder.decode(line)));
      yield* rest;
    }
    await this;
  }

  /** All of stdout, decoded. Rejects as the run does. */
  async text(): Promise<string> {
    return (await this).stdout;
  }

  /** All of stdout. */
  async bytes(): Promise<Buffer> {
    return (await this).raw.stdout;
  }

  /** stdout as one JSON value. */
  async json<T = unknown>(): Promise<T> {
    return JSON.parse(await this.text()) as T;
  }

  /** stdout as JSON values, one a line; blank lines are passed over. */
  async *ndjson<T = unknown>(): AsyncGenerator<T, void, undefined> {
    for await (const line of this.lines()) if (line.trim()) yield JSON.parse(line) as T;
  }

  /** With `capture: 'exact'`: each write of the command as it was made, both streams in true order. */
  records(): AsyncIterable<OutputRecord> {
    if (!this.#records) throw new UsageError("records() needs capture: 'exact'");
    return this.#records.iterate(this.#streams.get(STREAM.records)!.inbound, () => this.#grant());
  }

  /** The streams as Web streams. */
  web(): {
    stdin: WritableStream<Uint8Array>;
    stdout: ReadableStream<Uint8Array>;
    stderr: ReadableStream<Uint8Array>;
  } {
    return {
      stdin: toWebWritable(this.#stdin),
      stdout: Readable.toWeb(this.stdout) as ReadableStream<Uint8Array>,
      stderr: Readable.toWeb(this.stderr) as ReadableStream<Uint8Array>,
    };
  }

  /**
   * Sends stdout on: to the stdin of a run (on any host), or into a stream. Back-pressure goes all the way. Returns
   * what it was given.
   */
  pipe<T extends Run | Writable>(next: T): T {
    const target: Writable = next instanceof Run ? next.stdin : next;
    pipeline(this.stdout, target).catch((error: unknown) => {
      // The reader has gone: as in a shell, the writer is told by SIGPIPE.
      if (target.destroyed) this.stopReading('stdout');
      else target.destroy(error as Error);
    });
    return next;
  }

  /** Everything that happens, in order. One reader only; output is not collected then. */
  async *events(): AsyncGenerator<RunEvent, void, undefined> {
    if (this.#events) throw new UsageError('events() of a run can be read once');
    const events: { queue: RunEvent[]; wake: (() => void) | undefined } = { queue: [], wake: undefined };
    this.#events = events;
    if (this.#startedInfo) events.queue.push({ event: 'started', pid: this.#startedInfo.pid });
    for (const stream of ['stdout', 'stderr'] as const)
      this.#outputOf(stream).redirect((bytes, offset) => this.#emit({ event: 'output', stream, offset, bytes }));
    if (this.#result.settled) void this.#result.promise.then((result) => this.#emit({ event: 'result', result }));
    for (;;) {
      const event = events.queue.shift();
      if (!event) {
        await new Promise<void>((resolve) => (events.wake = resolve));
        continue;
      }
      yield event;
      if (event.event === 'output') {
        this.#outputOf(event.stream).inbound.consumed(event.bytes.length);
        this.#grant();
      }
      if (event.event === 'result') return;
    }
  }

  /**
   * Signals the command. A plain signal goes to `scope` (default its process group). "tree" ends everything the run
   * started: TERM, `grace` milliseconds, KILL; the report names what survived.
   */
  async kill(
    signal: string | number = 'SIGTERM',
    options: { scope?: 'leader' | 'group' | 'tree'; grace?: number } = {},
  ): Promise<KillReport> {
    const session = this.#need();
    const opId = session.newOp();
    const scope = options.scope ?? 'group';
    return await this.#operate(
      scope === 'tree'
        ? { type: 'CANCEL', alias: this.#alias, opId, graceMs: options.grace }
        : { type: 'SIGNAL', alias: this.#alias, opId, signal: signalNumber(signal), scope },
    );
  }

  /** Ends the run and its tree; its outcome is then cancelled. */
  async cancel(options: { grace?: number; reason?: string } = {}): Promise<KillReport> {
    const session = this.#need();
    return await this.#operate({
      type: 'CANCEL',
      alias: this.#alias,
      opId: session.newOp(),
      graceMs: options.grace,
      reason: options.reason,
    });
  }

  async resize(cols: number, rows: number): Promise<void> {
    const session = this.#need();
    await this.#operate({ type: 'RESIZE', alias: this.#alias, opId: session.newOp(), cols, rows });
  }

  /** Leaves the run to itself. It goes on; `host.attach(runId)` finds it again. */
  async detach(): Promise<{ runId: string; host: string; offsets: { stdout: number; stderr: number } }> {
    await this.#started.promise;
    this.#detached = true;
    this.#session?.leave(this);
    this.#end('cancelled', 'detached: the command goes on');
    return { runId: this.runId, host: this.host, offsets: this.offsets };
  }

  /** Takes output and drops it: only the end is of interest. */
  stopCollecting(): void {
    this.#stdout.discard();
    this.#stderr.discard();
  }

  /** Nobody reads this stream any more: the command gets SIGPIPE when it writes there. */
  stopReading(stream: StreamName): void {
    this.#outputOf(stream).discard();
    this.#stop(this.#outputOf(stream));
  }

  // -- the session's side

  get boarded(): boolean {
    return this.#wasAboard;
  }

  board(session: Session, alias: number): void {
    const again = this.#wasAboard;
    this.#session = session;
    this.#alias = alias;
    this.#wasAboard = true;
    this.#eosSent = false;
    const { rawSpec, runId, startWithin } = this.#prepared;
    if (this.#beginning.kind === 'open' && !this.#opened) {
      session.send({
        type: 'OPEN',
        alias,
        runId,
        spec: rawSpec,
        notAfterMs: this.#startedAt + startWithin,
        epoch: again ? session.greeting.auth.epoch : undefined,
        attach: this.#positions(),
      });
      // A link lost before OPENED: the id makes the repeat harmless.
      if (again) this.#stdin.rewind(0);
    } else {
      session.send({
        type: 'ATTACH',
        alias,
        runId,
        from: this.#positions(),
        mode: this.#beginning.kind === 'attach' ? this.#beginning.mode : 'control',
      });
    }
  }

  message(message: Message): void {
    switch (message.type) {
      case 'DATA':
        this.#receive(message.stream, message.offset, message.bytes);
        break;
      case 'OPENED':
        this.#opened = true;
        this.#specHash = Buffer.from(message.specHash).toString('hex');
        this.controlEpoch = message.controlEpoch;
        this.#attached.resolve();
        if (this.#state === 'queued') this.#state = 'starting';
        break;
      case 'STARTED':
        this.#onStarted(message);
        break;
      case 'REFUSED':
        this.#onRefused(message);
        break;
      case 'ATTACHED':
        this.#onAttached(message);
        break;
      case 'ATTACH_REFUSED':
        this.#onAttachRefused(message);
        break;
      case 'CREDIT':
        if (message.stream === STREAM.stdin) this.#stdin.allow(message.limit);
        break;
      case 'ACK':
        if (message.stream === STREAM.stdin) this.#stdin.acknowledge(message.durable);
        break;
      case 'STOP':
        if (message.stream === STREAM.stdin) this.#stdin.stop();
        break;
      case 'EOS':
        this.#onEos(message.stream, message.final);
        break;
      case 'GAP':
        this.#onGap(message);
        break;
      case 'EXIT':
        this.#onExit(message);
        break;
      case 'TREE_END':
        this.#treeEnd = true;
        this.#treeEnded.resolve();
        this.#maybeDone();
        break;
      case 'OP_OK':
        this.#operations.get(message.opId)?.(message);
        this.#operations.delete(message.opId);
        if (this.#result.settled) this.#leave();
        break;
      case 'CONTROL_LOST':
        this.controlEpoch = undefined;
        this.#stdin.stop();
        break;
      default:
        throw new ProtocolError(`${message.type} does not belong to a run`);
    }
  }

  fill(): boolean {
    const session = this.#session;
    if (!session || (this.#beginning.kind === 'open' && !this.#prepared.spec.stdin)) return false;
    const piece = this.#stdin.take();
    if (piece) {
      session.link?.sendData(this.#alias, STREAM.stdin, 0, piece.offset, piece.bytes);
      return true;
    }
    const { final } = this.#stdin;
    if (final !== undefined && this.#stdin.drained && !this.#eosSent) {
      this.#eosSent = true;
      session.send({ type: 'EOS', alias: this.#alias, stream: STREAM.stdin, final });
    }
    return false;
  }

  linkLost(): void {
    this.#session = undefined;
    for (const answer of this.#operations.values())
      answer({
        type: 'OP_OK',
        alias: 0,
        opId: 0,
        result: 'the link was lost before the answer came',
        signalled: [],
        survivors: [],
      });
    this.#operations.clear();
  }

  abandoned(error: SendallError): void {
    this.#session = undefined;
    if (this.#result.settled) return;
    if (!this.#wasAboard)
      this.#end(
        error.code === 'REFUSED' || error.code === 'KEY_CHANGED' ? 'refused' : 'unreachable',
        error.message,
        error,
      );
    else if (this.#exit)
      this.#end('truncated', `the command ended, but its output did not all arrive: ${error.message}`, error);
    else this.#end('lost', `the link was lost and the command's end is not known: ${error.message}`, error);
  }

  // -- inside

  #outputOf(stream: StreamName): Output {
    return stream === 'stderr' ? this.#stderr : this.#stdout;
  }

  #newOutput(stream: number): Output {
    return new Output(new Inbound(stream, this.#prepared.spec.sha256), this.#prepared.maxBuffer, {
      used: () => this.#grant(),
      overflowed: () => {
        this.#overflowed = true;
        void this.cancel({ reason: 'maxBuffer' }).catch(() => undefined);
      },
      stopped: () => this.#stop(stream === STREAM.stderr ? this.#stderr : this.#stdout),
    });
  }

  /** Its bytes are not waited for any more. */
  #stop({ inbound }: Output): void {
    inbound.abandoned = true;
    this.#session?.send({ type: 'STOP', alias: this.#alias, stream: inbound.stream });
    this.#maybeDone();
  }

  /** Says which streams the host sends: two pipes, one, a terminal, or the log of exact capture. */
  #shape(streams: readonly number[]): void {
    this.#streams = new Map();
    for (const stream of streams) {
      if (stream === STREAM.stderr) this.#streams.set(stream, this.#stderr);
      else if (stream === STREAM.records) this.#streams.set(stream, this.#recordLog());
      else if (stream === STREAM.stdout || stream === STREAM.pty) {
        this.#stdout.inbound.stream = stream;
        this.#streams.set(stream, this.#stdout);
      }
    }
  }

  #recordLog(): Output {
    const log = this.#newOutput(STREAM.records);
    for (const { inbound } of [this.#stdout, this.#stderr]) inbound.limit = Number.MAX_SAFE_INTEGER;
    const records = new ExactRecords((stream, bytes) => {
      const { inbound } = stream === STREAM.stderr ? this.#stderr : this.#stdout;
      inbound.receive(inbound.next, bytes);
    });
    this.#records = records;
    log.redirect((bytes) => records.push(bytes, log.inbound));
    return log;
  }

  /** What OPEN and ATTACH ask for: each stream from its next byte. */
  #positions(): readonly From[] {
    const begin = this.#beginning;
    if (begin.kind === 'open' || this.#opened)
      return [...this.#streams].map(([stream, { inbound }]) => ({
        stream,
        offset: inbound.next,
        limit: inbound.limit,
      }));
    // Which streams an unknown run has is told by ATTACHED; credit follows then.
    const { from } = begin;
    const wanted =
      from === 'end'
        ? { tail: 0 }
        : from === 'start'
          ? { offset: 0 }
          : typeof from === 'number'
            ? { offset: from }
            : from;
    this.#wanted = [
      { stream: STREAM.stdout, ...wanted, limit: 0 },
      { stream: STREAM.stderr, ...(typeof from === 'number' ? { offset: 0 } : wanted), limit: 0 },
      { stream: STREAM.pty, ...wanted, limit: 0 },
      { stream: STREAM.records, offset: 0, limit: 0 },
    ];
    return this.#wanted;
  }

  #receive(stream: number, offset: number, bytes: Buffer): void {
    const output = this.#streams.get(stream);
    if (!output) throw new ProtocolError(`bytes of stream ${stream}, which this run does not have`);
    output.inbound.receive(offset, bytes);
    this.#grant();
    this.#maybeDone();
  }

  /** Announces new credit and what has safely arrived. */
  #grant(): void {
    for (const [stream, { inbound }] of this.#streams) {
      const limit = inbound.grant();
      if (limit === undefined) continue;
      this.#session?.send({ type: 'ACK', alias: this.#alias, stream, durable: inbound.next });
      this.#session?.send({ type: 'CREDIT', alias: this.#alias, stream, limit });
    }
  }

  #emit(event: RunEvent): void {
    const events = this.#events;
    if (!events) return;
    events.queue.push(event);
    events.wake?.();
    events.wake = undefined;
  }

  #onStarted(started: Started): void {
    if (this.#startedInfo) return;
    this.#startedInfo = started;
    if (this.#state === 'queued' || this.#state === 'starting') this.#state = 'running';
    this.#started.resolve(started);
    this.#emit({ event: 'started', pid: started.pid });
  }

  #onRefused(message: MessageNamed<'REFUSED'>): void {
    const outcomes: Record<string, Outcome> = { conflict: 'conflict', expired: 'expired', unknown: 'lost', cancelled: 'cancelled' };
    this.#end(outcomes[message.code] ?? 'refused', message.message, undefined, message);
  }

  #onAttached(message: MessageNamed<'ATTACHED'>): void {
    const resumed = this.#opened;
    this.#opened = true;
    this.controlEpoch = message.controlEpoch;
    if (!resumed && this.#beginning.kind === 'attach') this.#shape(message.streams.map(({ stream }) => stream));
    for (const state of message.streams) this.#place(state, resumed);
    if (message.started) this.#onStarted(message.started);
    if (resumed) this.#emit({ event: 'resumed', offsets: this.offsets });
    if (message.treeEnded) this.#treeEnd = true;
    if (message.exit) this.#onExit(message.exit);
    else if (message.state === 'lost')
      this.#end('lost', message.reason ?? 'the host does not know how the command ended');
    if (this.#treeEnd) this.#treeEnded.resolve();
    this.#attached.resolve();
    this.#session?.fill();
    this.#maybeDone();
  }

  #place(state: StreamState, resumed: boolean): void {
    if (state.stream === STREAM.stdin) {
      this.#stdin.rewind(state.next);
      return;
    }
    const output = this.#streams.get(state.stream);
    if (!output) return;
    const { inbound } = output;
    if (!resumed && this.#beginning.kind === 'attach') {
      inbound.startAt(
        startOffset(
          this.#wanted.find(({ stream }) => stream === state.stream),
          state,
        ),
      );
      this.#session?.send({ type: 'CREDIT', alias: this.#alias, stream: state.stream, limit: inbound.limit });
    }
    if (state.first > inbound.next) this.#gap(state.stream, inbound.next, state.first, 'no longer kept on the host');
    if (state.final !== undefined) inbound.final = state.final;
  }

  #onAttachRefused(message: MessageNamed<'ATTACH_REFUSED'>): void {
    if (this.#opened) this.#end('lost', `the host no longer knows this run: ${message.message}`);
    else this.#end(message.code === 'unknown' ? 'lost' : 'refused', message.message);
  }

  #onEos(stream: number, final: number): void {
    const output = this.#streams.get(stream);
    if (!output) return;
    output.inbound.final = final;
    this.#maybeDone();
  }

  #onGap(message: MessageNamed<'GAP'>): void {
    this.#gap(message.stream, message.from, message.to, message.reason);
    this.#maybeDone();
  }

  #gap(stream: number, from: number, to: number, reason: string): void {
    this.#streams.get(stream)?.inbound.skip(to);
    const gap: Gap = { stream: stream === STREAM.stderr ? 'stderr' : 'stdout', from, to, reason };
    this.#gaps.push(gap);
    this.#emit({ event: 'gap', ...gap });
  }

  #onExit(exit: Exit): void {
    if (this.#exit) {
      this.#acknowledge();
      return;
    }
    this.#exit = exit;
    this.#state = 'exited';
    this.#endedAt = Date.now();
    for (const { stream, offset } of exit.upto) this.#streams.get(stream)?.inbound.markAt(offset);
    this.#stdin.stop();
    this.#exited.resolve(exit);
    this.#maybeDone();
  }

  #acknowledge(): void {
    const received = [...this.#streams].map(([stream, { inbound }]) => ({ stream, offset: inbound.next }));
    this.#session?.send({ type: 'EXIT_ACK', alias: this.#alias, received });
  }

  get #allDrained(): boolean {
    return (this.#exit?.upto ?? []).every(
      ({ stream, offset }) => this.#streams.get(stream)?.inbound.has(offset) ?? true,
    );
  }

  get #allEnded(): boolean {
    for (const { inbound } of this.#streams.values())
      if (!inbound.abandoned && (inbound.final === undefined || inbound.next < inbound.final)) return false;
    return true;
  }

  #maybeDone(): void {
    if (!this.#exit || this.#result.settled) return;
    if (!this.#drained.settled && this.#allDrained) this.#drained.resolve(this.offsets);
    const { waitFor } = this.#prepared;
    const done =
      waitFor === 'exit' ? this.#allDrained : waitFor === 'eof' ? this.#allEnded : this.#treeEnd && this.#allEnded;
    if (!done) return;
    const corrupt = this.#exit.upto.find(({ stream, crc32 }) => {
      const mine = this.#streams.get(stream)?.inbound.crcAtMark;
      return mine !== undefined && mine !== crc32;
    });
    if (corrupt)
      this.#end('truncated', `the checksum of stream ${corrupt.stream} does not match: bytes were changed on the way`);
    else if (this.#overflowed)
      this.#end(
        'truncated',
        `the output is above maxBuffer (${this.#prepared.maxBuffer} bytes): read the run as a stream`,
      );
    else this.#end(...verdict(this.#exit, this.#gaps));
  }

  #end(outcome: Outcome, reason: string, cause?: Error, refused?: MessageNamed<'REFUSED'>): void {
    if (this.#result.settled) return;
    const states: Partial<Record<Outcome, RunState>> = { refused: 'refused', unreachable: 'unreachable', lost: 'lost' };
    this.#state = states[outcome] ?? 'ended';
    if (this.#exit && !this.#detached) this.#acknowledge();
    const result = this.#makeResult(outcome, reason, refused);
    this.#failure = { cause, refused };
    this.#leave();
    this.#stdin.stop();
    this.#stdout.finish();
    this.#stderr.finish();
    this.#records?.end();
    const error = this.#errorOf(result);
    if (!this.#attached.settled) this.#attached.reject(error);
    if (!this.#started.settled) this.#started.reject(error);
    if (!this.#exited.settled) this.#exited.reject(error);
    if (!this.#drained.settled) this.#drained.reject(error);
    if (!this.#treeEnded.settled) this.#treeEnded.reject(error);
    this.#result.resolve(result);
    this.#emit({ event: 'result', result });
  }

  /** Leaves the session, but not before the answers to kill and resize are here. */
  #leave(): void {
    if (this.#operations.size) return;
    this.#session?.leave(this);
    this.#session = undefined;
  }

  #failure: { cause: Error | undefined; refused: MessageNamed<'REFUSED'> | undefined } | undefined;

  #errorOf(result: Result): RunError {
    const { cause, refused } = this.#failure ?? {};
    return new RunError(result, {
      rule: refused?.rule,
      retryable: result.outcome === 'unreachable' || refused?.code === 'busy',
      cause,
    });
  }

  #makeResult(outcome: Outcome, reason: string, refused: MessageNamed<'REFUSED'> | undefined): Result {
    const exit = this.#exit;
    const stdout = this.#stdout.collected();
    const stderr = this.#stderr.collected();
    const { encoding } = this.#prepared;
    const decode = (bytes: Buffer) =>
      bytes.length ? new TextDecoder(encoding, { ignoreBOM: true }).decode(bytes) : '';
    const text: { stdout?: string; stderr?: string } = {};
    return {
      ok: outcome === 'ok',
      outcome,
      code: exit?.signal ? undefined : exit?.code,
      signal: exit?.signal,
      runId: this.runId,
      host: this.host,
      get stdout() {
        return (text.stdout ??= decode(stdout));
      },
      get stderr() {
        return (text.stderr ??= decode(stderr));
      },
      raw: { stdout, stderr },
      finals: this.offsets,
      sha256: { stdout: this.#stdout.inbound.sha256, stderr: this.#stderr.inbound.sha256 },
      gaps: this.#gaps,
      survivors: survivorsOf(exit?.survivors ?? []),
      killProof: exit?.killProof,
      rusage:
        exit?.userUs === undefined
          ? undefined
          : { userUs: exit.userUs, systemUs: exit.systemUs ?? 0, maxRssKb: exit.maxRssKb ?? 0 },
      timing: {
        openedMs: this.#startedAt,
        startMs: exit?.startMs ?? this.#startedInfo?.startMs,
        endMs: exit?.endMs,
        durationMs: exit ? exit.endMs - exit.startMs : (this.#endedAt ?? Date.now()) - this.#startedAt,
      },
      specHash: this.#specHash,
      refusal: refused?.code,
      reason,
    };
  }

  #need(): Session {
    if (!this.#session) throw new SendallError('NOT_RUNNING', 'the run has ended or has no link right now');
    return this.#session;
  }

  #operate(message: MessageNamed<'SIGNAL'> | MessageNamed<'CANCEL'> | MessageNamed<'RESIZE'>): Promise<KillReport> {
    return new Promise((resolve) => {
      this.#operations.set(message.opId, ({ result, signalled, survivors, proof }) =>
        resolve({ result, signalled, survivors: survivorsOf(survivors), proof }),
      );
      this.#session?.send(message);
    });
  }

  #feed(stdin: PreparedRun['stdin']): void {
    if (stdin === undefined || stdin === 'none' || stdin === 'pipe') return;
    if (typeof stdin === 'string' || stdin instanceof Uint8Array) this.#stdin.end(stdin);
    else
      pipeline(stdin as AsyncIterable<Uint8Array>, this.#stdin).catch((error: unknown) => {
        if (!this.#result.settled)
          void this.cancel({ reason: `stdin failed: ${(error as Error).message}` }).catch(() => undefined);
      });
  }

  #watch(signal: AbortSignal | undefined): void {
    if (!signal) return;
    const abort = () => {
      if (this.#session) void this.cancel({ reason: 'aborted by the caller' }).catch(() => undefined);
      else this.#end('cancelled', 'aborted by the caller before it was sent');
    };
    if (signal.aborted) queueMicrotask(abort);
    else {
      signal.addEventListener('abort', abort, { once: true });
      void this.#result.promise.then(() => signal.removeEventListener('abort', abort));
    }
  }
}

function toWebWritable(target: Writable): WritableStream<Uint8Array> {
  return new WritableStream({
    write: (chunk) =>
      new Promise((resolve, reject) => target.write(chunk, (error) => (error ? reject(error) : resolve()))),
    close: () => new Promise((resolve) => target.end(resolve)),
    abort: (reason) => void target.destroy(reason instanceof Error ? reason : new Error(String(reason))),
  });
}
