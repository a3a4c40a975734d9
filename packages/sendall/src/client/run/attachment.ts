/**
 * The state a run and its host agree on: which bytes have arrived, which were sent, who has control, what was
 * requested, how the run ended. It outlives links: on each new one it reports its state and continues from there.
 */
import { ProtocolError, SendallError, UsageError } from '../../errors.js';
import { decodeSpec } from '../../protocol/codec.js';
import { startLimit, startOffset } from '../../protocol/flow.js';
import { randomPiece } from '../../protocol/run-id.js';
import {
  STREAM,
  TELLS_BLOCKED,
  type Exit,
  type From,
  type Message,
  type MessageNamed,
  type Spec,
  type Started,
  type StreamState,
} from '../../protocol/messages.js';
import { FIRST_WINDOW, TERMINAL_WINDOW, type Inbound } from '../streams/inbound.js';
import { lackOf, neededFeatures, type Need } from '../session/needed-features.js';
import { newOpId, Operations, type Operation } from '../session/operations.js';
import { withStdin, type PreparedRun } from '../options/options.js';
import { revealed } from '../options/secret.js';
import { Outbound } from '../streams/outbound.js';
import type { Rider, Seen, Session } from '../session/session.js';

/** How a run begins: by opening it, or by attaching to an existing one. */
export type Beginning =
  | { readonly kind: 'open' }
  | {
      readonly kind: 'attach';
      readonly mode: 'observe' | 'control';
      readonly from: Start | { readonly stdout?: number; readonly stderr?: number };
      /** Bytes of each stream that may come before they are read. */
      readonly readAhead?: number | undefined;
    };

type Start = 'start' | 'end' | number | { readonly tail: number };

/** How a terminal treats typed keys. */
export interface TerminalEcho {
  /** The terminal passes on whole lines after editing (ICANON); otherwise programs get each key immediately. */
  readonly canonical: boolean;
  /** The terminal shows typed keys (ECHO); otherwise the program may, or nothing does. */
  readonly echo: boolean;
}

/** The attachment's owner, which hears of each event. */
export interface AttachmentOwner {
  /** The streams the host sends: two pipes, one, a terminal, or a log of single writes. */
  shape(streams: readonly number[]): Map<number, Inbound>;
  opened(specHash: string): void;
  /** The host has accepted or found the run; `resumed` when it had done so before. */
  attached(resumed: boolean): void;
  /** For a run that others opened: the current offset of each stream, and the modes of its terminal. */
  joined(streams: readonly StreamState[], screen: string | undefined): void;
  started(started: Started): void;
  refused(message: MessageNamed<'REFUSED'>): void;
  gap(stream: number, from: number, to: number, reason: string): void;
  /** How the terminal treats typed keys; undefined once that is unknown. */
  echo(bits: TerminalEcho | undefined): void;
  /** Another caller has taken control; this one only observes from now on. */
  controlLost(): void;
  exited(exit: Exit): void;
  treeEnded(): void;
  /** Bytes, an end or a gap arrived, so the output may be complete. */
  arrived(): void;
  /** The link was lost; `attached` says that there is another. */
  unlinked(): void;
  /** The run's end will stay unknown, or some of its output missing. */
  failed(outcome: 'unreachable' | 'refused' | 'lost' | 'truncated', reason: string, cause?: Error): void;
}

/**
 * The most bytes requested after a link that achieved nothing; a quarter of that after the next such link, and so on.
 */
const LARGEST_BURST = 16 * 1024;
const SMALLEST_BURST = 64;
/** Bytes of each stream that are asked for when the rest may not be needed: short answers come at once. */
const FIRST_BYTES = 256;
/** So many bytes are acknowledged after a moment, unless more arrive and trigger an acknowledgement sooner. */
const WORTH_AN_ACK = 16 * 1024;
/** A host that keeps nothing removes what is acknowledged, a quarter of so many bytes at a time. */
const PASSING = 4 * 1024 * 1024;
/** That moment, in milliseconds. */
const ACK_DELAY = 100;

/** Bytes of a beginning without its spec. */
const SHORT = 512;
/** Refusals of an OPEN whose epoch or clock was out of date. The host has not started it. */
const WRONG_GUESS: ReadonlySet<string> = new Set(['unknown', 'expired', 'limits']);

type WithoutPlace<T> = T extends unknown ? Omit<T, 'alias' | 'opId'> : never;
export type Request = WithoutPlace<Operation>;

export class ClientAttachment implements Rider {
  readonly stdin = new Outbound();
  /** The incoming streams, by stream number. */
  streams: Map<number, Inbound>;
  exit: Exit | undefined;
  treeEnd = false;
  /** The newest epoch of control granted to us; undefined while observing. */
  controlEpoch: number | undefined;
  #prepared: PreparedRun;
  readonly #beginning: Beginning;
  readonly #owner: AttachmentOwner;
  /** Tells the host, on another link, that this is the same caller. */
  readonly #holder = randomPiece(8);
  readonly #operations = new Operations();
  #mode: 'observe' | 'control';
  #session: Session | undefined;
  #alias = 0;
  #askedAt = 0;
  #roundTripMs = 0;
  #followsEcho = false;
  #boarded = false;
  #opened = false;
  /** Times that its beginning was sent. */
  #sent = 0;
  /** The only OPEN so far named an epoch and a clock that were remembered from an earlier link. */
  #guessed = false;
  /** The host has reported on this link how far stdin has come. */
  #stdinPlaced = false;
  #ended = false;
  /** Streams we no longer read. */
  readonly #unread = new Set<number>();
  #ackTimer: NodeJS.Timeout | undefined;
  #worthAnAck = WORTH_AN_ACK;
  /** Bytes requested first on a new link; fewer after each link that achieved nothing. */
  #burst = Infinity;
  #epoch: Uint8Array | undefined;
  #notAfterMs: number | undefined;
  #wanted: readonly From[] = [];
  /** Only the first bytes of each stream are asked for, until `release`. */
  #held = false;
  /** The epoch in which control was lost. */
  #lostEpoch = 0;
  /** The host's log as it was seen before the run was first sent. */
  #seenLog: { readonly head: Seen | undefined } | undefined;
  /** The host's log was cut or rewritten, in a sentence. */
  logComplaint: string | undefined;

  /** What the host must be able to do before the run is sent to it. */
  readonly #needs: readonly Need[];

  constructor(prepared: PreparedRun, beginning: Beginning, owner: AttachmentOwner) {
    this.#prepared = prepared;
    this.#needs = neededFeatures(prepared.spec, prepared.syncLog);
    this.#beginning = beginning;
    this.#owner = owner;
    this.#mode = beginning.kind === 'attach' ? beginning.mode : 'control';
    this.streams = owner.shape(shapeOf(prepared.spec));
    if (beginning.kind === 'open') {
      this.#keepUp(prepared.spec);
    } else if (beginning.mode === 'observe') this.stdin.stop();
    this.stdin.wake = () => this.#session?.wake(this);
  }

  get boarded(): boolean {
    return this.#boarded;
  }

  /** Milliseconds the host took for its first answer on the present link. */
  get roundTripMs(): number {
    return this.#roundTripMs;
  }

  /** A link is up. */
  get linked(): boolean {
    return this.#session?.link !== undefined;
  }

  get giveUpAfter(): number | undefined {
    return this.#prepared.giveUpAfter;
  }

  /**
   * An OPEN, which the host's journal answers however often it comes, or an ATTACH that only observes; but no OPEN that
   * an older host would take for another one.
   */
  get flight(): number | undefined {
    if (this.#opens) return this.#needs.length ? undefined : this.#prepared.rawSpec.length + SHORT;
    return this.#mode === 'observe' ? SHORT : undefined;
  }

  get #opens(): boolean {
    return this.#beginning.kind === 'open' && !this.#opened;
  }

  // -- the run's side

  /**
   * The run's stdin will be written to.
   * @throws UsageError if the host has already been told that it will not.
   */
  takeStdin(): void {
    const { spec } = this.#prepared;
    if (spec.stdin || this.#beginning.kind === 'attach') return;
    if (this.#boarded)
      throw new UsageError("this run was started without stdin: give it stdin: 'pipe', or pipe into it at once");
    this.#prepared = withStdin(this.#prepared);
  }

  /**
   * Asks the host to report how the terminal treats typed keys.
   * @throws UsageError if the run has already been sent.
   */
  followEcho(): void {
    if (this.#boarded) throw new UsageError('followEcho() comes too late: call it as soon as the run is made');
    this.#followsEcho = true;
  }

  /**
   * Asks for the first bytes of each stream only, until `release`. Call it before the run boards. Output that the host
   * drops when it is not read, and output that does not begin at its first byte, is not held.
   */
  hold(): void {
    if (this.#beginning.kind === 'attach' && this.#beginning.from !== 'start') return;
    if (dropsUnread(this.#prepared.spec)) return;
    this.#held = true;
    for (const [stream, inbound] of this.streams) if (stream !== STREAM.records) inbound.hold(FIRST_BYTES);
  }

  /** Asks for all bytes of a stream, or of all streams. */
  release(stream?: number): void {
    for (const [number, inbound] of this.streams) if (number === (stream ?? number)) inbound.letGo();
    this.grant();
  }

  /** Sends a request about the run. If the link is lost before the answer, the next one repeats the request. */
  operate(request: Request): Promise<MessageNamed<'OP_OK'>> {
    if (this.#ended) throw new SendallError('NOT_RUNNING', 'the run has ended');
    const operation = { ...request, alias: this.#alias, opId: newOpId() } as Operation;
    const answer = this.#operations.add(operation);
    this.#session?.send(operation);
    return answer;
  }

  /** Stops reading a stream. */
  stopReading(stream: number): void {
    if (this.#unread.has(stream)) return;
    this.#unread.add(stream);
    // A stream inside a log of both has no end of its own to wait for.
    const inbound = this.streams.get(stream);
    if (inbound) inbound.abandoned = true;
    if (this.#mode === 'control') this.#session?.send({ type: 'STOP', alias: this.#alias, stream });
    this.#owner.arrived();
  }

  /** Announces new credit, and acknowledges bytes the host need no longer keep. */
  grant(): void {
    const alias = this.#alias;
    for (const [stream, inbound] of this.streams) {
      const durable = this.#mode === 'control' ? inbound.acknowledge() : undefined;
      if (durable !== undefined) this.#session?.send({ type: 'ACK', alias, stream, durable });
      const limit = inbound.grant(this.#roundTripMs);
      if (limit !== undefined) this.#session?.send({ type: 'CREDIT', alias, stream, limit });
    }
  }

  /** The caller has its result, or gives up; `received` when the host need not keep the output for it. */
  end(received: boolean): void {
    if (this.#ended) return;
    this.#ended = true;
    clearTimeout(this.#ackTimer);
    if (received && this.exit) this.#acknowledgeExit();
    this.stdin.stop();
    for (const inbound of this.streams.values()) inbound.release();
    this.#leave();
  }

  /** Its caller has its result, or gave up, and every request its answer. */
  get needsNoLink(): boolean {
    return this.#ended && this.#operations.size === 0;
  }

  /** Waits for the host no longer. */
  giveUp(why: string): void {
    const session = this.#session;
    this.#session = undefined;
    this.#operations.end(why);
    if (!this.#boarded) this.#owner.failed('unreachable', `${why}, and no link to the host was made by then`);
    else if (this.exit)
      this.#owner.failed('truncated', `${why}: the command ended, but some of its output has not arrived`);
    else
      this.#owner.failed(
        'lost',
        `${why}, and the host has not reported the command's end; it may still be running: attach to the run when the host answers`,
      );
    session?.leave(this);
  }

  /** Every byte written before the command's own end has arrived. */
  get drained(): boolean {
    return this.exit?.upto.every(({ stream, offset }) => this.streams.get(stream)?.has(offset) ?? true) ?? false;
  }

  /** Every stream has ended. */
  get allEnded(): boolean {
    for (const inbound of this.streams.values())
      if (!inbound.abandoned && (inbound.final === undefined || inbound.next < inbound.final)) return false;
    return true;
  }

  /** A stream whose bytes differ from those the host read from the command. */
  get corrupt(): number | undefined {
    if (this.exit?.cause === 'lost') return undefined;
    return this.exit?.upto.find((upto) => this.streams.get(upto.stream)?.matches(upto) === false)?.stream;
  }

  // -- the session's side

  board(session: Session, alias: number): void {
    // Its caller gave up before a link was there.
    if (this.needsNoLink) {
      session.leave(this);
      return;
    }
    const { spec, runId, rawSpec, secrets, syncLog } = this.#prepared;
    const lack = this.#opens ? lackOf(this.#needs, session.greeting?.auth.features ?? []) : undefined;
    if (lack !== undefined) {
      session.leave(this);
      this.#operations.end(lack);
      if (this.#sent === 0) this.#owner.refused({ type: 'REFUSED', alias, runId, code: 'unsupported', message: lack });
      else this.#owner.failed('lost', `the host has not answered before it was changed for an older one; now ${lack}`);
      return;
    }
    this.#seenLog ??= { head: session.log?.seen };
    const again = this.#boarded || undefined;
    this.#session = session;
    this.#alias = alias;
    this.#boarded = true;
    this.#askedAt = performance.now();
    this.#stdinPlaced = false;
    this.#sent += 1;
    for (const inbound of this.streams.values()) inbound.pool ??= session.credit;
    this.#restrain();
    const [holder, mode] = [this.#holder, this.#mode];
    const echo = this.#followsEcho || undefined;
    const blocked = this.#held || undefined;
    const positions = this.#positions();
    if (!spec.stdin && this.#beginning.kind === 'open') this.stdin.stop();
    if (this.#opens) {
      this.#guessed = this.#sent === 1 && !session.link;
      const leftMs = this.#leftMs();
      const startWithin = Math.min(this.#prepared.startWithin, leftMs ?? Infinity);
      const notAfterMs = (this.#notAfterMs ??= session.hostNow() + startWithin);
      const epoch = (this.#epoch ??= session.epoch);
      // Written out: an object made of others takes as long as all the rest of this.
      session.begin({
        type: 'OPEN',
        alias,
        runId,
        spec: rawSpec,
        attach: positions,
        notAfterMs,
        epoch,
        leftMs,
        secrets: [...secrets].map(([name, value]) => ({ name, value: revealed(value) })),
        syncLog: syncLog || undefined,
        holder,
        again,
        echo,
        blocked,
      });
    } else {
      const epoch = this.#epoch;
      session.begin({ type: 'ATTACH', alias, runId, from: positions, mode, epoch, holder, again, echo, blocked });
    }
    for (const operation of this.#operations.unanswered()) session.send({ ...operation, alias });
    if (this.#mode === 'control') for (const stream of this.#unread) session.send({ type: 'STOP', alias, stream });
  }

  message(message: Message): void {
    switch (message.type) {
      case 'DATA':
        this.#receive(message.stream, message.offset, message.bytes);
        break;
      case 'OPENED':
        this.#answered();
        this.#onOpened(message);
        break;
      case 'STARTED':
        this.#owner.started(message);
        break;
      case 'REFUSED':
        if (this.#guessed && !this.#ended && WRONG_GUESS.has(message.code)) {
          this.#unsend();
          this.#session?.again(this);
          break;
        }
        this.#operations.end(message.message);
        this.#owner.refused(message);
        break;
      case 'ATTACHED':
        this.#answered();
        this.#onAttached(message);
        break;
      case 'ATTACH_REFUSED':
        this.#onAttachRefused(message);
        break;
      case 'CREDIT':
        if (message.stream === STREAM.stdin) this.stdin.allow(message.limit);
        break;
      case 'ACK':
        if (message.stream !== STREAM.stdin) break;
        if (this.stdin.acknowledge(message.durable, message.ended ?? false)) this.#progress();
        break;
      case 'STOP':
        if (message.stream === STREAM.stdin) this.stdin.stop();
        break;
      case 'EOS':
        this.streams.get(message.stream)?.endAt(message.final);
        this.#owner.arrived();
        break;
      case 'GAP':
        this.#skip(message.stream, message.from, message.to, message.reason);
        this.#owner.arrived();
        break;
      case 'EXIT':
        this.#onExit(message);
        break;
      case 'TREE_END':
        this.#onTreeEnd();
        break;
      case 'OP_OK':
        this.#operations.answer(message);
        this.#progress();
        if (this.#ended) this.#leave();
        break;
      case 'BLOCKED':
        // It cannot end before its output is taken.
        this.release();
        break;
      case 'ECHO':
        this.#owner.echo({ canonical: message.canonical, echo: message.echo });
        break;
      case 'CONTROL_LOST':
        this.#lostEpoch = Math.max(this.#lostEpoch, message.controlEpoch);
        this.#loseControl();
        break;
      default:
        throw new ProtocolError(`${message.type} does not belong to a run`);
    }
  }

  fill(): boolean {
    const session = this.#session;
    if (!session || !this.#stdinPlaced || this.#mode === 'observe') return false;
    const piece = this.stdin.take();
    if (piece) {
      session.link?.sendData(this.#alias, STREAM.stdin, 0, piece.offset, piece.bytes);
      return true;
    }
    const final = this.stdin.takeEnd();
    if (final !== undefined) session.send({ type: 'EOS', alias: this.#alias, stream: STREAM.stdin, final });
    return false;
  }

  turnedAway(): void {
    this.#sent -= 1;
    if (this.#sent === 0) this.#unsend();
  }

  linkLost(): void {
    // The host named another journal: it refuses what we sent before we knew, and that answer is lost.
    if (this.#guessed && this.#session?.link && !same(this.#session.epoch, this.#epoch)) this.#unsend();
    this.#session = undefined;
    this.#stdinPlaced = false;
    this.#owner.echo(undefined);
    this.#owner.unlinked();
  }

  abandoned(error: SendallError): void {
    this.#session = undefined;
    this.#operations.end(error.message);
    if (this.#ended) return;
    if (!this.#boarded)
      this.#owner.failed(
        error.code === 'REFUSED' || error.code === 'KEY_CHANGED' ? 'refused' : 'unreachable',
        error.message,
        error,
      );
    else if (this.exit)
      this.#owner.failed(
        'truncated',
        `the command ended, but some of its output did not arrive: ${error.message}; while the host keeps it, attach to the run to read it`,
        error,
      );
    else
      this.#owner.failed(
        'lost',
        `the link was lost and the command's end is not known: ${error.message}; it may still be running: attach to the run when the host can be reached again`,
        error,
      );
  }

  // -- internals

  /** The host took nothing of what we sent, so its id is as good as new. */
  #unsend(): void {
    this.#sent = 0;
    this.#guessed = false;
    this.#boarded = false;
    this.#epoch = undefined;
    this.#notAfterMs = undefined;
  }

  /** What is left until the deadline. */
  #leftMs(): number | undefined {
    const { deadlineAt } = this.#prepared;
    return deadlineAt === undefined ? undefined : Math.max(1, Math.ceil(deadlineAt - performance.now()));
  }

  /** Times the first answer, which the host gives itself; a process in between may answer a PING. */
  #answered(): void {
    this.#roundTripMs = performance.now() - this.#askedAt;
  }

  /** The link has achieved something. */
  #progress(): void {
    this.#burst = Infinity;
    this.#session?.progress();
  }

  /** Until the new link achieves something, we assume that it will not. */
  #restrain(): void {
    if (this.#burst !== Infinity) {
      for (const inbound of this.streams.values()) inbound.restrain(this.#burst);
      this.stdin.restrain(this.#burst);
    }
    this.#burst = this.#burst === Infinity ? LARGEST_BURST : Math.max(SMALLEST_BURST, this.#burst / 4);
  }

  /** The offsets for OPEN and ATTACH: each stream from its next byte. */
  #positions(): readonly From[] {
    const begin = this.#beginning;
    if (begin.kind === 'open' || this.#opened)
      return [...this.streams].map(([stream, { next, limit, abandoned }]) => ({
        stream,
        offset: next,
        limit: abandoned ? next : limit,
      }));
    // ATTACHED names the streams the run has; credit for all possible ones saves a round trip.
    const { from, readAhead = Infinity } = begin;
    const first = Math.min(this.#held ? FIRST_BYTES : FIRST_WINDOW, readAhead);
    const at = (wanted: Start, window = first): Omit<From, 'stream'> => {
      if (wanted === 'start') return { offset: 0, limit: window };
      if (typeof wanted === 'number') return { offset: wanted, limit: wanted + window };
      return { tail: wanted === 'end' ? 0 : wanted.tail, limit: window };
    };
    const [stdout, stderr] = startsOf(from);
    this.#wanted = [
      { stream: STREAM.stdout, ...at(stdout) },
      { stream: STREAM.stderr, ...at(stderr) },
      { stream: STREAM.pty, ...at(stdout, Math.min(TERMINAL_WINDOW, readAhead)) },
      { stream: STREAM.records, ...at('start', Math.min(FIRST_WINDOW, readAhead)) },
    ];
    return this.#wanted;
  }

  #receive(stream: number, offset: number, bytes: Buffer): void {
    const inbound = this.streams.get(stream);
    if (!inbound) throw new ProtocolError(`bytes of stream ${stream}, which this run does not have`);
    if (inbound.receive(offset, bytes)) this.#progress();
    this.grant();
    if (inbound.unacknowledged >= this.#worthAnAck && !this.#ackTimer && this.#mode === 'control')
      this.#acknowledgeSoon();
    this.#owner.arrived();
  }

  /** A host with little room may fill up before a full batch of bytes is acknowledged. */
  #acknowledgeSoon(): void {
    this.#ackTimer = setTimeout(() => {
      this.#ackTimer = undefined;
      if (!this.#ended) this.#acknowledgeAll();
    }, ACK_DELAY);
    this.#ackTimer.unref();
  }

  /** A new link begins where the last one ended; the host may free everything before. */
  #acknowledgeAll(): void {
    if (this.#mode !== 'control') return;
    for (const [stream, inbound] of this.streams) {
      const durable = inbound.acknowledgeAll();
      if (durable) this.#session?.send({ type: 'ACK', alias: this.#alias, stream, durable });
    }
  }

  #onOpened({ specHash, state, controlEpoch }: MessageNamed<'OPENED'>): void {
    this.#progress();
    this.#guessed = false;
    this.controlEpoch = controlEpoch;
    this.#mindHost();
    this.#owner.opened(Buffer.from(specHash).toString('hex'));
    // For an existing run, ATTACHED names the offset.
    if (state !== 'new') return;
    this.#opened = true;
    this.#stdinPlaced = true;
    this.#session?.reached();
    this.stdin.rewind(0, false);
    this.#owner.attached(false);
  }

  #onAttached(message: MessageNamed<'ATTACHED'>): void {
    const resumed = this.#opened;
    this.#opened = true;
    this.#guessed = false;
    this.#epoch ??= this.#session?.epoch;
    const granted = message.controlEpoch !== undefined && message.controlEpoch >= this.#lostEpoch;
    this.controlEpoch = granted ? message.controlEpoch : undefined;
    if (!granted) this.#loseControl();
    if (!resumed && this.#beginning.kind === 'attach') this.#join(message);
    this.#mindHost();
    this.#owner.attached(resumed);
    for (const state of message.streams) this.#place(state, resumed);
    if (message.started) this.#owner.started(message.started);
    if (message.exit) this.#onExit(message.exit);
    else if (message.state === 'lost')
      this.#owner.failed('lost', message.reason ?? 'the host does not know how the command ended');
    if (message.treeEnded) this.#onTreeEnd();
    this.#session?.reached();
    this.#session?.wake(this);
    this.#acknowledgeAll();
    this.#owner.arrived();
  }

  /** A host that does not say when it waits must not wait for us. */
  #mindHost(): void {
    if (this.#held && !this.#session?.greeting?.auth.features.includes(TELLS_BLOCKED)) this.release();
  }

  /** The first message about a run that others opened: its streams, and where ours begin. */
  #join({ streams, spec, screen }: MessageNamed<'ATTACHED'>): void {
    const sent = streams.map(({ stream }) => stream).filter((stream) => stream !== STREAM.stdin);
    const known = spec && decodeSpec(spec);
    this.streams = this.#owner.shape(sent.length ? sent : known ? shapeOf(known) : shapeOf(this.#prepared.spec));
    if (known) this.#keepUp(known);
    const { readAhead } = this.#beginning as Extract<Beginning, { kind: 'attach' }>;
    for (const [stream, inbound] of this.streams) {
      const state = streams.find((each) => each.stream === stream) ?? { stream, first: 0, next: 0 };
      const wanted = this.#wanted.find((each) => each.stream === stream);
      inbound.pool = this.#session?.credit;
      if (readAhead !== undefined) inbound.narrow(readAhead);
      inbound.startAt(startOffset(wanted, state));
      inbound.limit = startLimit(wanted, state);
    }
    const isLogOrTerminal = this.streams.has(STREAM.records) || this.streams.has(STREAM.pty);
    if (this.#held && (isLogOrTerminal || (known && dropsUnread(known)))) this.release();
    this.#owner.joined(streams, screen);
  }

  #place({ stream, first, next, final }: StreamState, resumed: boolean): void {
    if (stream === STREAM.stdin) {
      this.#stdinPlaced = true;
      if (!resumed && this.#beginning.kind === 'attach') this.stdin.startAt(next);
      if (this.stdin.rewind(next, final !== undefined)) this.#progress();
      return;
    }
    const inbound = this.streams.get(stream);
    if (!inbound) return;
    this.#skip(stream, inbound.next, first, 'no longer kept on the host');
    if (final !== undefined) inbound.endAt(final);
  }

  #skip(stream: number, from: number, to: number, reason: string): void {
    const gap = this.streams.get(stream)?.skip(from, to);
    if (!gap) return;
    this.#owner.gap(stream, gap.from, gap.to, reason);
    // The bytes after the gap may lie beyond our credit, and nothing else would request them.
    this.grant();
  }

  #onAttachRefused({ code, message }: MessageNamed<'ATTACH_REFUSED'>): void {
    this.#operations.end(message);
    if (this.#ended) this.#leave();
    else if (this.exit)
      this.#owner.failed('truncated', `the command ended, but some of its output did not arrive: ${message}`);
    else if (this.#opened && code === 'policy')
      this.#owner.failed('lost', `the host lets us follow this run no longer: ${message}; it may still be running`);
    else {
      const { runId } = this.#prepared;
      const refused = { type: 'REFUSED', alias: this.#alias, runId } as const;
      this.#owner.refused(
        this.#opened
          ? { ...refused, code: 'unknown', message: `the host no longer knows this run: ${message}` }
          : { ...refused, code, message },
      );
    }
  }

  #onExit(exit: Exit): void {
    if (this.#ended) this.#acknowledgeExit();
    if (this.exit) return;
    this.#progress();
    this.exit = exit;
    // Old runs of others may have ended before their host had a log.
    if (exit.log || this.#beginning.kind === 'open')
      this.logComplaint = this.#session?.log?.judge(exit, this.#seenLog?.head);
    for (const { stream, offset } of exit.upto) this.streams.get(stream)?.markAt(offset);
    this.stdin.stop();
    this.#owner.exited(exit);
    this.#owner.arrived();
  }

  #onTreeEnd(): void {
    if (this.treeEnd) return;
    this.treeEnd = true;
    this.#progress();
    this.#owner.treeEnded();
    this.#owner.arrived();
  }

  #acknowledgeExit(): void {
    const received = [...this.streams].map(([stream, { next }]) => ({ stream, offset: next }));
    if (this.#mode === 'control') this.#session?.sendLater({ type: 'EXIT_ACK', alias: this.#alias, received });
  }

  #loseControl(): void {
    if (this.#mode === 'control') this.#owner.controlLost();
    this.#mode = 'observe';
    this.controlEpoch = undefined;
    this.stdin.stop();
  }

  /** Leaves the link once every request has its answer. */
  #leave(): void {
    if (this.#operations.size) return;
    this.#session?.leave(this);
    this.#session = undefined;
  }

  #keepUp({ spoolMax = Infinity, passing }: Spec): void {
    if (passing) this.#worthAnAck = 1;
    const most = passing ? Math.min(spoolMax, PASSING) : spoolMax;
    if (most !== Infinity) for (const inbound of this.streams.values()) inbound.spoolMax = most;
  }
}

/** Where stdout and stderr begin. */
function startsOf(from: Extract<Beginning, { kind: 'attach' }>['from']): readonly [stdout: Start, stderr: Start] {
  if (typeof from === 'number') return [from, 'start'];
  if (typeof from === 'string' || 'tail' in from) return [from, from];
  const { stdout = 'start', stderr = 'start' } = from as { stdout?: number; stderr?: number };
  return [stdout, stderr];
}

const dropsUnread = ({ overflow = 'block' }: Spec): boolean => overflow !== 'block';

const same = (a: Uint8Array | undefined, b: Uint8Array | undefined): boolean =>
  a !== undefined && b !== undefined && Buffer.compare(a, b) === 0;

function shapeOf(spec: Spec): readonly number[] {
  if (spec.pty) return [STREAM.pty];
  if (spec.capture === 'merged') return [STREAM.stdout];
  if (spec.capture === 'exact' || spec.capture === 'ordered') return [STREAM.records];
  return [STREAM.stdout, STREAM.stderr];
}
