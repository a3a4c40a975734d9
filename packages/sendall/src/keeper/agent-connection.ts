/** One agent's connection: its messages go to the runs they name. */
import type { Socket } from 'node:net';
import { ProtocolError } from '../errors.js';
import {
  MAX_FRAME,
  PROTOCOL_VERSION,
  STREAM,
  type Message,
  type MessageNamed,
  type RunInfo,
} from '../protocol/messages.js';
import { VERSION } from '../protocol/version.js';
import { Attachment, type AttachmentOwner } from './attachment.js';
import type { Machine } from './machine.js';
import type { Run } from './run.js';
import { Wire } from './wire.js';

/** Bytes in one RUNS message, about. */
const PAGE = 256 * 1024;

function weight({ argv, tags }: RunInfo): number {
  let size = 512;
  for (const word of argv) size += word.length + 4;
  for (const tag of tags) size += tag.length * 3 + 4;
  return size;
}

/** The keeper, as a connection sees it. */
export interface Desk extends Machine {
  readonly live: number;
  open(agent: AgentConnection, message: MessageNamed<'OPEN'>): void;
  find(principal: string, runId: Uint8Array): Run | undefined;
  list(principal: string | undefined, all: boolean): RunInfo[];
  forget(principal: string, runId: Uint8Array): string;
  status(): object;
  drain(): void;
  retire(): void;
  endRuns(reason: string): void;
  left(agent: AgentConnection): void;
}

/** What OPEN and ATTACH say of who comes. */
type Hold = Pick<MessageNamed<'OPEN'>, 'alias' | 'holder' | 'again' | 'echo'>;

interface Attached {
  readonly attachment: Attachment;
  readonly run: Run;
}

export class AgentConnection implements AttachmentOwner {
  readonly wire: Wire;
  readonly #keeper: Desk;
  readonly #attached = new Map<number, Attached>();
  readonly #behind = new Set<Attachment>();
  #greeted = false;

  constructor(keeper: Desk, socket: Socket) {
    this.#keeper = keeper;
    this.wire = new Wire(
      socket,
      {
        message: (message) => this.#dispatch(message),
        drained: () => {
          for (const attachment of this.#behind) attachment.flush();
          this.#behind.clear();
        },
        // Nobody hears of anything that the journal does not know.
        leaving: () => keeper.journal.flush(),
        closed: () => this.#closed(),
      },
      keeper.limits.agentBacklog,
    );
  }

  whenDrained(attachment: Attachment): void {
    this.#behind.add(attachment);
  }

  /** Binds an alias to a run. Throws ProtocolError when the alias was used before or there are too many. */
  attach(run: Run, control: boolean, { alias, holder, again = false, echo }: Hold): Attachment {
    if (alias === 0) throw new ProtocolError('alias 0 is the link itself');
    if (this.#attached.has(alias)) throw new ProtocolError(`alias ${alias} is in use`);
    const attachment = new Attachment(this, alias, control, echo);
    this.#attached.set(alias, { attachment, run });
    run.attach(attachment, holder, again);
    return attachment;
  }

  #closed(): void {
    for (const { attachment, run } of this.#attached.values()) run.detach(attachment);
    this.#attached.clear();
    this.#keeper.left(this);
  }

  #dispatch(message: Message): void {
    if (!this.#greeted) {
      if (message.type !== 'HELLO') throw new ProtocolError(`${message.type} before HELLO`);
      this.#greet(message);
      return;
    }
    switch (message.type) {
      case 'OPEN':
        this.#checkRoom(message.alias);
        return this.#keeper.open(this, message);
      case 'ATTACH':
        this.#checkRoom(message.alias);
        return this.#attachTo(message);
      case 'LIST':
        return this.#list(message);
      case 'FORGET': {
        const result = this.#keeper.forget(message.principal ?? '', message.runId);
        const { alias, opId } = message;
        return this.wire.send({ type: 'OP_OK', alias, opId, result, signalled: [], survivors: [] });
      }
      case 'ASK':
        return this.#ask(message);
      case 'PING':
        return this.wire.send({ type: 'PONG', alias: 0, token: message.token, runs: this.#keeper.live });
      case 'PONG':
        return undefined;
      default:
        return this.#toRun(message);
    }
  }

  #checkRoom(alias: number): void {
    if (this.#attached.size >= this.#keeper.limits.maxAliases)
      throw new ProtocolError(`more than ${this.#keeper.limits.maxAliases} runs on one connection`);
    if (alias === 0 || this.#attached.has(alias)) throw new ProtocolError(`alias ${alias} cannot be used`);
  }

  #greet(hello: MessageNamed<'HELLO'>): void {
    if (hello.protoMin > PROTOCOL_VERSION || hello.protoMax < PROTOCOL_VERSION) {
      // A newer agent wants a newer keeper: this one ends with its last command, and takes no new ones.
      if (hello.protoMin > PROTOCOL_VERSION) this.#keeper.drain();
      throw new ProtocolError(
        `this keeper (pid ${process.pid}, ${this.#keeper.live} commands) speaks protocol ${PROTOCOL_VERSION}, ` +
          `the agent ${hello.protoMin} to ${hello.protoMax}`,
      );
    }
    this.#greeted = true;
    const { limits, bootId, journal } = this.#keeper;
    this.wire.send({
      type: 'HELLO_OK',
      alias: 0,
      proto: PROTOCOL_VERSION,
      name: 'keeper',
      bootId,
      features: [],
      maxFrame: MAX_FRAME,
      maxRuns: limits.maxAliases,
      window: limits.stdinWindow,
      clockMs: Date.now(),
      version: VERSION,
      pid: process.pid,
    });
    this.wire.send({ type: 'AUTH_OK', alias: 0, principal: '', roles: [], policyRev: 0, epoch: journal.epoch });
  }

  #attachTo(message: MessageNamed<'ATTACH'>): void {
    const { alias, runId, mode } = message;
    const refuse = (code: string, text: string): void =>
      this.wire.send({ type: 'ATTACH_REFUSED', alias, runId, code, message: text });
    if (message.epoch && !this.#keeper.journal.epoch.equals(message.epoch))
      return refuse('unknown', 'this machine has a new run journal: the run is not known');
    const run = this.#keeper.find(message.principal ?? '', runId);
    if (!run) return refuse('unknown', 'there is no such run, or it was forgotten');
    if (run.facts.refused) return refuse(run.facts.refused.code, run.facts.refused.message);
    if (run.audience.attachments.size >= this.#keeper.limits.maxAttachments)
      return refuse('limits', `maxAttachments (${this.#keeper.limits.maxAttachments}) of this run are attached`);
    run.welcome(this.attach(run, mode === 'control', message));
  }

  #list({ alias, opId, principal, all }: MessageNamed<'LIST'>): void {
    let page: RunInfo[] = [];
    let size = 0;
    const send = (last: boolean): void => this.wire.send({ type: 'RUNS', alias, opId, runs: page, last });
    for (const run of this.#keeper.list(principal, all)) {
      page.push(run);
      size += weight(run);
      if (size < PAGE) continue;
      send(false);
      page = [];
      size = 0;
    }
    send(true);
  }

  #ask(message: MessageNamed<'ASK'>): void {
    const { alias, opId, what } = message;
    const answer = (body: object): void => this.wire.send({ type: 'ANSWER', alias, opId, body: JSON.stringify(body) });
    if (what === 'status') answer(this.#keeper.status());
    else if (what === 'drain') {
      answer({ draining: true });
      this.wire.flush();
      this.#keeper.drain();
    } else if (what === 'retire') {
      answer({ retiring: true });
      this.wire.flush();
      this.#keeper.retire();
    } else if (what === 'end-runs') {
      this.#keeper.endRuns(message.body ?? 'the agent was told to end all runs');
      answer({ ending: this.#keeper.live });
    } else this.wire.send({ type: 'ANSWER', alias, opId, error: `the keeper cannot answer "${what}"` });
  }

  #toRun(message: Message): void {
    const attached = this.#attached.get(message.alias);
    // An alias that was just refused or detached may still be spoken to.
    if (!attached) return;
    const { attachment, run } = attached;
    switch (message.type) {
      case 'DETACH':
        this.#attached.delete(attachment.alias);
        return run.detach(attachment);
      case 'SIGNAL':
      case 'CANCEL':
        return run.operate(attachment, message);
      case 'EXIT_ACK':
        return attachment.control ? run.acknowledgeExit() : undefined;
      default:
        // Observers neither feed, trim, block nor stop anything.
        if (attachment.control) this.#control(run, attachment, message);
        else attachment.send({ type: 'CONTROL_LOST', controlEpoch: run.audience.controlEpoch });
    }
  }

  #control(run: Run, attachment: Attachment, message: Message): void {
    switch (message.type) {
      case 'DATA':
        if (message.stream !== STREAM.stdin) throw new ProtocolError(`DATA for stream ${message.stream}`);
        return run.takeInput(message.offset, message.bytes);
      case 'EOS':
        if (message.stream !== STREAM.stdin) throw new ProtocolError(`EOS for stream ${message.stream}`);
        return run.endInput(message.final);
      case 'STOP':
        return run.stopStream(message.stream);
      case 'ACK':
        return run.acknowledge(message.stream, message.durable);
      case 'RESIZE':
        return run.operate(attachment, message);
      default:
        throw new ProtocolError(`${message.type} is not for the keeper`);
    }
  }
}
