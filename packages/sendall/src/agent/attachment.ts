/** One caller's hold on one run: relays control both ways, and output from the spool. */
import { SpoolReader, spoolFolder } from '../keeper/door/door.js';
import { ProtocolError } from '../errors.js';
import type { Home } from '../home.js';
import type { Link } from '../link/link.js';
import { startLimit, startOffset } from '../protocol/flow.js';
import {
  STREAM,
  type Control,
  type From,
  type Grant,
  type Message,
  type MessageNamed,
  type StreamState,
} from '../protocol/messages.js';
import type { Verb } from '../policy/rules.js';
import type { Refusal } from './admission/admission.js';
import type { KeeperGate, Listener } from './gate.js';
import { Inflow } from './streams/inflow.js';
import { Outflow } from './streams/outflow.js';
import type { ReadAhead } from './streams/read-ahead.js';
import type { Resumes } from './streams/resumes.js';
import { viewerSpec } from './admission/viewer-spec.js';

/** What an attachment needs of its session. */
export interface AgentAttachmentOwner {
  readonly link: Link;
  readonly gate: KeeperGate;
  readonly home: Home;
  readonly principal: string;
  /** Whose link it is. */
  readonly caller: string;
  /** Names this link among all of the agent's. */
  readonly number: number;
  readonly readAhead: ReadAhead;
  readonly resumes: Resumes;
  /** Both ends of that link; see OPEN. */
  readonly connection: string | undefined;
  /** Its caller is an owner. */
  readonly isOwner: boolean;
  /** Why its caller may not do this now; undefined: it may. */
  refuses(verb: Verb): Refusal | undefined;
  /** This attachment has output to send. */
  wake(attachment: AgentAttachment): void;
  /** The keeper has answered its beginning. */
  answered(attachment: AgentAttachment): void;
  ended(attachment: AgentAttachment): void;
}

/** Signals and the like that one caller may have open on one run. */
const MOST_ASKED = 1024;

type Beginning = MessageNamed<'OPEN'> | MessageNamed<'ATTACH'>;

export class AgentAttachment implements Listener {
  readonly alias: number;
  readonly runId: Uint8Array;
  readonly #owner: AgentAttachmentOwner;
  readonly #keeperAlias: number;
  readonly #folder: string;
  readonly #inflow = new Inflow();
  readonly #outflows = new Map<number, Outflow>();
  readonly #wanted: readonly From[];
  /** Its caller has held the run on another link before. */
  readonly #again: boolean;
  /** What was asked of the run and not answered yet, by opId. */
  readonly #asked = new Map<number, Control>();
  /** It has control of the run, as far as we know. */
  #controls: boolean;
  /** What to say to the keeper: the caller's own words until they are answered, then ATTACH to the same run. */
  #beginning: Beginning;
  #next = 0;
  /** Why its caller may hold it no more, while the keeper has not answered an OPEN. */
  #dismissal: Refusal | undefined;

  /** `grant`: what an OPEN was granted; none for owners. */
  constructor(owner: AgentAttachmentOwner, message: Beginning, grant?: Grant) {
    this.#owner = owner;
    this.#controls = message.type === 'OPEN' || message.mode === 'control';
    this.alias = message.alias;
    this.#wanted = message.type === 'OPEN' ? message.attach : message.from;
    this.#again = message.again ?? false;
    if (this.#again) owner.resumes.count++;
    this.#keeperAlias = owner.gate.enter(this);
    this.#folder = spoolFolder(owner.home, owner.principal, message.runId);
    this.runId = Buffer.from(message.runId);
    this.#beginning = {
      ...message,
      // Views of the link's buffer would keep all of it.
      runId: this.runId,
      holder: message.holder && Buffer.from(message.holder),
      alias: this.#keeperAlias,
      principal: owner.principal,
      caller: owner.caller,
      ...(message.type === 'OPEN' ? { link: owner.number, grant, connection: owner.connection } : {}),
    };
    try {
      owner.gate.send(this.#beginning);
    } catch (error) {
      owner.gate.drop(this.#keeperAlias);
      throw error;
    }
  }

  fromCaller(message: Message): void {
    switch (message.type) {
      case 'DATA':
        this.#onInput(message);
        break;
      case 'EOS':
        this.#mustBeStdin(message);
        if (this.#inflow.end(message.final)) this.#forward(message);
        break;
      case 'CREDIT':
        this.#outflow(message.stream)?.allow(message.limit);
        break;
      case 'STOP':
        this.#outflow(message.stream)?.stop();
        this.#forward(message);
        break;
      case 'SIGNAL':
      case 'CANCEL':
      case 'RESIZE':
        if (this.#asked.size >= MOST_ASKED)
          throw new ProtocolError(`${MOST_ASKED} operations on one run are not answered yet`);
        this.#operate(message);
        break;
      case 'ACK':
      case 'EXIT_ACK':
        this.#forward(message);
        break;
      default:
        throw new ProtocolError(`${message.type} is not for callers to send`);
    }
  }

  #operate(message: MessageNamed<'SIGNAL'> | MessageNamed<'CANCEL'> | MessageNamed<'RESIZE'>): void {
    const refusal = this.#owner.refuses(this.verb === 'attach' ? 'attach' : 'signal');
    if (!refusal) {
      this.#asked.set(message.opId, message);
      this.#forward(message);
      return;
    }
    const answer = { opId: message.opId, result: refusal.message, signalled: [], survivors: [] };
    this.#owner.link.send({ type: 'OP_OK', alias: this.alias, ...answer });
  }

  /** What its caller does with the run now. */
  get verb(): 'attach' | 'observe' {
    return this.#controls ? 'attach' : 'observe';
  }

  /** Passes on what is the caller's business alone; anything else comes by `fromKeeper`. */
  forward(frame: Buffer): void {
    this.#owner.link.forward(this.alias, frame);
  }

  fromKeeper(message: Message): void {
    const { link } = this.#owner;
    switch (message.type) {
      case 'DATA':
        if (this.#outflow(message.stream)?.fresh(message, link))
          link.sendData(this.alias, message.stream, message.gseq, message.offset, message.bytes);
        return;
      case 'SPOOLED':
        this.#outflow(message.stream)?.grow(message.next);
        return;
      case 'GAP':
        this.#outflow(message.stream)?.skip(message.to, message.reason);
        return;
      case 'OPENED':
        if (message.state === 'new') this.#inflow.place(0, undefined);
        else this.#controls = message.controlEpoch !== undefined;
        this.#answered();
        break;
      case 'ATTACHED':
        this.#onAttached(message);
        return;
      case 'CREDIT':
        this.#inflow.allow(message.limit);
        break;
      case 'OP_OK':
        this.#asked.delete(message.opId);
        break;
      case 'CONTROL_LOST':
        this.#controls = false;
        if (this.#beginning.type === 'ATTACH') this.#beginning = { ...this.#beginning, mode: 'observe' };
        break;
      case 'REFUSED':
      case 'ATTACH_REFUSED':
        this.#owner.answered(this);
        this.#owner.gate.drop(this.#keeperAlias);
        this.#owner.ended(this);
        this.#stop();
        break;
      default:
    }
    link.send(message, this.alias);
    if (message.type === 'OPENED' && this.#dismissal) this.dismiss(this.#dismissal);
  }

  /** There is a keeper again: says where this attachment belongs, and repeats what may have been lost on the way. */
  keeperBack(): void {
    this.#inflow.unplace();
    this.#owner.gate.send(this.#beginning);
    for (const operation of this.#asked.values()) this.#forward(operation);
    for (const [stream, outflow] of this.#outflows)
      if (outflow.stopped) this.#forward({ type: 'STOP', alias: this.alias, stream });
  }

  /** The keeper is gone and cannot be started again. */
  keeperLost(reason: string): void {
    const now = Date.now();
    this.#owner.answered(this);
    this.#owner.link.send({
      type: 'EXIT',
      alias: this.alias,
      cause: 'lost',
      reason,
      upto: [...this.#outflows].map(([stream, { known }]) => ({ stream, offset: known, crc32: 0 })),
      startMs: now,
      endMs: now,
      survivors: [],
    });
  }

  /** Sends one frame of output. True when there is more. */
  pump(): boolean {
    const flows = [...this.#outflows.values()];
    // Streams take turns, so that stderr never waits for stdout.
    for (let i = 0; i < flows.length; i++) {
      const flow = flows[(this.#next + i) % flows.length]!;
      if (!flow.ready) continue;
      flow.send(this.#owner.link, this.alias);
      this.#next = (this.#next + i + 1) % flows.length;
      break;
    }
    return flows.some((flow) => flow.ready);
  }

  /** Its caller may hold it no more. It is told so when the keeper has said whether the run began. */
  dismiss(refusal: Refusal): void {
    if (this.#beginning.type === 'OPEN') {
      this.#dismissal = refusal;
      return;
    }
    const { code, message } = refusal;
    this.close();
    this.#owner.ended(this);
    this.#owner.link.send({ type: 'ATTACH_REFUSED', alias: this.alias, runId: this.runId, code, message });
  }

  /** The caller has left, or its link was `lost`; `gone`: its process has closed it. */
  close(lost = false, gone = false): void {
    const { holder } = this.#beginning;
    if (lost && holder)
      this.#owner.resumes.left(holder, new Map([...this.#outflows].map(([stream, { sent }]) => [stream, sent])));
    this.#stop();
    this.#owner.gate.leave(this.#keeperAlias, !lost, lost && gone);
  }

  #stop(): void {
    for (const outflow of this.#outflows.values()) outflow.stop();
  }

  #onInput(message: MessageNamed<'DATA'>): void {
    this.#mustBeStdin(message);
    const piece = this.#inflow.take(message.offset, message.bytes);
    if (piece) this.#owner.gate.sendData(this.#keeperAlias, piece.offset, piece.bytes);
  }

  #mustBeStdin({ type, stream }: { type: string; stream: number }): void {
    if (stream !== STREAM.stdin) throw new ProtocolError(`${type} for stream ${stream}, where only stdin goes out`);
  }

  #onAttached(message: MessageNamed<'ATTACHED'>): void {
    for (const state of message.streams) {
      if (state.stream === STREAM.stdin) this.#inflow.place(state.next, state.final);
      else if (!this.#outflows.has(state.stream)) this.#begin(state);
    }
    this.#controls = message.controlEpoch !== undefined;
    this.#answered();
    const { spec } = message;
    this.#owner.link.send(this.#owner.isOwner || !spec ? message : { ...message, spec: viewerSpec(spec) }, this.alias);
    // Not before: what is sent follows from what the caller was told.
    for (const { stream, next } of message.streams) this.#outflows.get(stream)?.grow(next);
  }

  /** The keeper knows the run: from now on it is enough to attach to it. */
  #answered(): void {
    this.#owner.answered(this);
    const { alias, runId, principal, caller, epoch, holder, echo, blocked } = this.#beginning;
    const mode = this.#beginning.type === 'ATTACH' ? this.#beginning.mode : 'control';
    this.#beginning = {
      type: 'ATTACH',
      alias,
      runId,
      from: [],
      mode,
      principal,
      caller,
      epoch: epoch && Buffer.from(epoch),
      holder,
      again: true,
      echo,
      blocked,
    };
  }

  #forward(message: Control): void {
    this.#owner.gate.send(message, this.#keeperAlias);
  }

  /** The flow of a stream; a run that was opened here starts each at its first byte. */
  #outflow(stream: number): Outflow | undefined {
    return (
      this.#outflows.get(stream) ?? (stream === STREAM.stdin ? undefined : this.#begin({ stream, first: 0, next: 0 }))
    );
  }

  #begin(state: StreamState): Outflow | undefined {
    const { stream } = state;
    const wanted = this.#wanted.find((each) => each.stream === stream);
    if (!wanted) return undefined;
    const start = { offset: startOffset(wanted, state), limit: startLimit(wanted, state) };
    if (this.#again && this.#beginning.holder) this.#owner.resumes.back(this.#beginning.holder, stream, start.offset);
    const reader = new SpoolReader(this.#folder, stream);
    const outflow = new Outflow(stream, reader, this.#owner.readAhead, start, () => this.#owner.wake(this));
    this.#outflows.set(stream, outflow);
    return outflow;
  }
}
