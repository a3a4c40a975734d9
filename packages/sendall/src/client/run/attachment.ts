/**
 * What a run and its host agree on: which bytes came, which went, who is in control, what was asked, how it ended. It
 * outlives links: on each new one it says where it stands and goes on from there.
 */
import { ProtocolError, SendallError, UsageError } from '../../errors.js';
import { decodeSpec } from '../../protocol/codec.js';
import { startLimit, startOffset } from '../../protocol/flow.js';
import { randomPiece } from '../../protocol/run-id.js';
import {
  STREAM,
  type Exit,
  type From,
  type Message,
  type MessageNamed,
  type Spec,
  type Started,
  type StreamState,
} from '../../protocol/messages.js';
import { FIRST_WINDOW, TERMINAL_WINDOW, type Inbound } from '../streams/inbound.js';
import { newOpId, Operations, type Operation } from '../session/operations.js';
import { withStdin, type PreparedRun } from '../options/options.js';
import { Outbound } from '../streams/outbound.js';
import type { Rider, Session } from '../session/session.js';

/** How a run begins: by opening it, or by attaching to one that exists. */
export type Beginning =
  | { readonly kind: 'open' }
  | {
      readonly kind: 'attach';
      readonly mode: 'observe' | 'control';
      readonly from: 'start' | 'end' | number | { tail: number };
    };

/** How a terminal treats what is typed. */
export interface TerminalEcho {
  /** It hands over whole lines, and edits them itself (ICANON); else programs get each key at once. */
  readonly canonical: boolean;
  /** It shows what is typed (ECHO); else nothing does, or the program itself. */
  readonly echo: boolean;
}

/** Whose attachment it is, and hears what happens. */
export interface AttachmentOwner {
  /** The streams that the host sends: two pipes, one, a terminal, or a log of single writes. */
  shape(streams: readonly number[]): Map<number, Inbound>;
  opened(specHash: string): void;
  /** The host has taken or found the run; `resumed` when that is not the first time. */
  attached(resumed: boolean): void;
  /** Of a run that others opened: where each stream stands now, and the modes of its terminal. */
  joined(streams: readonly StreamState[], screen: string | undefined): void;
  started(started: Started): void;
  refused(message: MessageNamed<'REFUSED'>): void;
  gap(stream: number, from: number, to: number, reason: string): void;
  /** How the terminal treats what is typed; undefined when that is not known any more. */
  echo(bits: TerminalEcho | undefined): void;
  /** Another caller has taken control: this one only observes from now on. */
  controlLost(): void;
  exited(exit: Exit): void;
  treeEnded(): void;
  /** Bytes, an end or a gap have come: perhaps it was all. */
  arrived(): void;
  /** The end will never be known, or not all of the output. */
  failed(outcome: 'unreachable' | 'refused' | 'lost' | 'truncated', reason: string, cause?: Error): void;
}

/** Bytes asked for after a link that nothing came of; a quarter of it after the next such link, and so on. */
const LARGEST_BURST = 16 * 1024;
const SMALLEST_BURST = 64;
/** Bytes that are acknowledged a moment later, should there not be enough more of them to do so before. */
const WORTH_AN_ACK = 16 * 1024;
/** That moment, in milliseconds. */
const ACK_DELAY = 100;

type WithoutPlace<T> = T extends unknown ? Omit<T, 'alias' | 'opId'> : never;
export type Request = WithoutPlace<Operation>;

export class ClientAttachment implements Rider {
  readonly stdin = new Outbound();
  /** What the host sends, by stream number. */
  streams: Map<number, Inbound>;
  exit: Exit | undefined;
  treeEnd = false;
  /** The newest epoch of control that was granted; undefined while observing. */
  controlEpoch: number | undefined;
  #prepared: PreparedRun;
  readonly #beginning: Beginning;
  readonly #owner: AttachmentOwner;
  /** Tells the host, on another link, that it is still us. */
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
  /** The host has said on this link where stdin stands. */
  #stdinPlaced = false;
  #ended = false;
  /** Streams that are not read any more. */
  readonly #unread = new Set<number>();
  #ackTimer: NodeJS.Timeout | undefined;
  /** What the host is asked for at once on a new link; smaller after each one that nothing came of. */
  #burst = Infinity;
  #epoch: Uint8Array | undefined;
  #notAfterMs: number | undefined;
  #wanted: readonly From[] = [];
  /** Control of this epoch was lost. */
  #lostEpoch = 0;

  constructor(prepared: PreparedRun, beginning: Beginning, owner: AttachmentOwner) {
    this.#prepared = prepared;
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

  /** Milliseconds that the host's first answer took on the present link. */
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

  // -- what the run wants

  /**
   * Something will be written to its stdin.
   * @throws UsageError when the host has been told otherwise.
   */
  takeStdin(): void {
    const { spec } = this.#prepared;
    if (spec.stdin || this.#beginning.kind === 'attach') return;
    if (this.#boarded)
      throw new UsageError("this run was started without stdin: give it stdin: 'pipe', or pipe into it at once");
    this.#prepared = withStdin(this.#prepared);
  }

  /**
   * The host is asked how the terminal treats what is typed.
   * @throws UsageError when it is too late for that.
   */
  followEcho(): void {
    if (this.#boarded) throw new UsageError('followEcho() comes too late: call it as soon as the run is made');
    this.#followsEcho = true;
  }

  /** Asks something of the run; repeated on the next link when this one goes before the answer. */
  operate(request: Request): Promise<MessageNamed<'OP_OK'>> {
    if (this.#ended) throw new SendallError('NOT_RUNNING', 'the run has ended');
    const operation = { ...request, alias: this.#alias, opId: newOpId() } as Operation;
    const answer = this.#operations.add(operation);
    this.#session?.send(operation);
    return answer;
  }

  /** This stream is not read any more. */
  stopReading(stream: number): void {
    if (this.#unread.has(stream)) return;
    this.#unread.add(stream);
    // One that comes in a log of both has nothing of its own to wait for.
    const inbound = this.streams.get(stream);
    if (inbound) inbound.abandoned = true;
    if (this.#mode === 'control') this.#session?.send({ type: 'STOP', alias: this.#alias, stream });
    this.#owner.arrived();
  }

  /** Announces new credit, and to the host that it may let go of what has safely arrived. */
  grant(): void {
    const alias = this.#alias;
    for (const [stream, inbound] of this.streams) {
      const durable = this.#mode === 'control' ? inbound.acknowledge() : undefined;
      if (durable !== undefined) this.#session?.send({ type: 'ACK', alias, stream, durable });
      const limit = inbound.grant(this.#roundTripMs);
      if (limit !== undefined) this.#session?.send({ type: 'CREDIT', alias, stream, limit });
    }
  }

  /** The caller has its result, or wants no more; `received` when the host may let go of the run. */
  end(received: boolean): void {
    if (this.#ended) return;
    this.#ended = true;
    clearTimeout(this.#ackTimer);
    if (received && this.exit) this.#acknowledgeExit();
    this.stdin.stop();
    for (const inbound of this.streams.values()) inbound.release();
    this.#leave();
  }

  /** Every byte before the command's own end is here. */
  get drained(): boolean {
    return this.exit?.upto.every(({ stream, offset }) => this.streams.get(stream)?.has(offset) ?? true) ?? false;
  }

  /** Every stream has come to its end. */
  get allEnded(): boolean {
    for (const inbound of this.streams.values())
      if (!inbound.abandoned && (inbound.final === undefined || inbound.next < inbound.final)) return false;
    return true;
  }

  /** The stream whose bytes are not those that the host read from the command. */
  get corrupt(): number | undefined {
    if (this.exit?.cause === 'lost') return undefined;
    return this.exit?.upto.find((upto) => this.streams.get(upto.stream)?.matches(upto) === false)?.stream;
  }

  // -- the session's side

  board(session: Session, alias: number): void {
    const again = this.#boarded || undefined;
    this.#session = session;
    this.#alias = alias;
    this.#boarded = true;
    this.#askedAt = performance.now();
    this.#stdinPlaced = false;
    this.#notAfterMs ??= session.hostNow() + this.#prepared.startWithin;
    for (const inbound of this.streams.values()) inbound.pool ??= session.credit;
    this.#restrain();
    const { runId, rawSpec: spec } = this.#prepared;
    const [holder, notAfterMs, mode] = [this.#holder, this.#notAfterMs, this.#mode];
    const echo = this.#followsEcho || undefined;
    const known = this.#epoch;
    this.#epoch ??= session.greeting.auth.epoch;
    const positions = this.#positions();
    if (!this.#prepared.spec.stdin && this.#beginning.kind === 'open') this.stdin.stop();
    if (this.#beginning.kind === 'open' && !this.#opened) {
      const { epoch } = session.greeting.auth;
      const named = { epoch: known ?? epoch, notAfterMs, holder, again, echo };
      session.send({ type: 'OPEN', alias, runId, spec, attach: positions, ...named });
    } else session.send({ type: 'ATTACH', alias, runId, from: positions, mode, epoch: known, holder, again, echo });
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

  linkLost(): void {
    this.#session = undefined;
    this.#stdinPlaced = false;
    this.#owner.echo(undefined);
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
        `the command ended, but its output did not all arrive: ${error.message}; while the host keeps it, attach to the run to read it`,
        error,
      );
    else
      this.#owner.failed(
        'lost',
        `the link was lost and the command's end is not known: ${error.message}; it may still be running: attach to the run when the host can be reached again`,
        error,
      );
  }

  // -- inside

  /** The first word of the host took as long as any: all the way, where a process in between would answer a PING itself. */
  #answered(): void {
    this.#roundTripMs = performance.now() - this.#askedAt;
  }

  /** Something came of this link. */
  #progress(): void {
    this.#burst = Infinity;
    this.#session?.progress();
  }

  /** Until something comes of the link that begins, it is taken for one that will not. */
  #restrain(): void {
    if (this.#burst !== Infinity) {
      for (const inbound of this.streams.values()) inbound.restrain(this.#burst);
      this.stdin.restrain(this.#burst);
    }
    this.#burst = this.#burst === Infinity ? LARGEST_BURST : Math.max(SMALLEST_BURST, this.#burst / 4);
  }

  /** What OPEN and ATTACH ask for: each stream from its next byte. */
  #positions(): readonly From[] {
    const begin = this.#beginning;
    if (begin.kind === 'open' || this.#opened)
      return [...this.streams].map(([stream, { next, limit, abandoned }]) => ({
        stream,
        offset: next,
        limit: abandoned ? next : limit,
      }));
    // Which streams the run has is told by ATTACHED; credit for those it may have spares a round trip.
    const { from } = begin;
    const at = (wanted: typeof from, window = FIRST_WINDOW): Omit<From, 'stream'> => {
      if (wanted === 'start') return { offset: 0, limit: window };
      if (typeof wanted === 'number') return { offset: wanted, limit: wanted + window };
      return { tail: wanted === 'end' ? 0 : wanted.tail, limit: window };
    };
    this.#wanted = [
      { stream: STREAM.stdout, ...at(from) },
      { stream: STREAM.stderr, ...at(typeof from === 'number' ? 'start' : from) },
      { stream: STREAM.pty, ...at(from, TERMINAL_WINDOW) },
      { stream: STREAM.records, ...at('start') },
    ];
    return this.#wanted;
  }

  #receive(stream: number, offset: number, bytes: Buffer): void {
    const inbound = this.streams.get(stream);
    if (!inbound) throw new ProtocolError(`bytes of stream ${stream}, which this run does not have`);
    if (inbound.receive(offset, bytes)) this.#progress();
    this.grant();
    if (inbound.unacknowledged >= WORTH_AN_ACK && !this.#ackTimer && this.#mode === 'control') this.#acknowledgeSoon();
    this.#owner.arrived();
  }

  /** A host with little room may not have enough of it for as many bytes as are acknowledged together otherwise. */
  #acknowledgeSoon(): void {
    this.#ackTimer = setTimeout(() => {
      this.#ackTimer = undefined;
      if (!this.#ended) this.#acknowledgeAll();
    }, ACK_DELAY);
    this.#ackTimer.unref();
  }

  /** A new link begins where the last one ended: the host may let go of what came before. */
  #acknowledgeAll(): void {
    if (this.#mode !== 'control') return;
    for (const [stream, inbound] of this.streams) {
      const durable = inbound.acknowledgeAll();
      if (durable) this.#session?.send({ type: 'ACK', alias: this.#alias, stream, durable });
    }
  }

  #onOpened({ specHash, state, controlEpoch }: MessageNamed<'OPENED'>): void {
    this.#progress();
    this.controlEpoch = controlEpoch;
    this.#owner.opened(Buffer.from(specHash).toString('hex'));
    // Of a run that exists ATTACHED will tell where it stands.
    if (state !== 'new') return;
    this.#opened = true;
    this.#stdinPlaced = true;
    this.stdin.rewind(0, false);
    this.#owner.attached(false);
  }

  #onAttached(message: MessageNamed<'ATTACHED'>): void {
    const resumed = this.#opened;
    this.#opened = true;
    const granted = message.controlEpoch !== undefined && message.controlEpoch >= this.#lostEpoch;
    this.controlEpoch = granted ? message.controlEpoch : undefined;
    if (!granted) this.#loseControl();
    if (!resumed && this.#beginning.kind === 'attach') this.#join(message);
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

  /** The first word about a run that others opened: its streams, and where ours begin. */
  #join({ streams, spec, screen }: MessageNamed<'ATTACHED'>): void {
    const sent = streams.map(({ stream }) => stream).filter((stream) => stream !== STREAM.stdin);
    const known = spec && decodeSpec(spec);
    this.streams = this.#owner.shape(sent.length ? sent : known ? shapeOf(known) : shapeOf(this.#prepared.spec));
    if (known) this.#keepUp(known);
    for (const [stream, inbound] of this.streams) {
      const state = streams.find((each) => each.stream === stream) ?? { stream, first: 0, next: 0 };
      const wanted = this.#wanted.find((each) => each.stream === stream);
      inbound.pool = this.#session?.credit;
      inbound.startAt(startOffset(wanted, state));
      inbound.limit = startLimit(wanted, state);
    }
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
    // What comes behind it may lie beyond the credit that was given, and nothing else would bring more.
    this.grant();
  }

  #onAttachRefused({ code, message }: MessageNamed<'ATTACH_REFUSED'>): void {
    this.#operations.end(message);
    if (this.#ended) this.#leave();
    else if (this.exit)
      this.#owner.failed('truncated', `the command ended, but its output did not all arrive: ${message}`);
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

  /** Leaves the link, but not before what was asked has its answer. */
  #leave(): void {
    if (this.#operations.size) return;
    this.#session?.leave(this);
    this.#session = undefined;
  }

  #keepUp(spec: Spec): void {
    if (spec.spoolMax !== undefined) for (const inbound of this.streams.values()) inbound.spoolMax = spec.spoolMax;
  }
}

function shapeOf(spec: Spec): readonly number[] {
  if (spec.pty) return [STREAM.pty];
  if (spec.capture === 'merged') return [STREAM.stdout];
  if (spec.capture === 'exact' || spec.capture === 'ordered') return [STREAM.records];
  return [STREAM.stdout, STREAM.stderr];
}
