/** One agent's connection: its messages go to the runs they name. */
import type { Socket } from 'node:net';
import { ProtocolError, SendallError } from '../errors.js';
import { hashBase64 } from '../log/hashes.js';
import type { RecordOf } from '../log/records.js';
import type { Starter } from '../started.js';
import {
  FORWARDS,
  HAS_LOG,
  KEEPS_NOTHING,
  MAX_FRAME,
  OBEYS_LIMITS,
  PROTOCOL_VERSION,
  STREAM,
  TAKES_SECRETS,
  TELLS_BLOCKED,
  TRANSFERS,
  USES_ACCOUNT_SHELL,
  type Message,
  type MessageNamed,
  type RunInfo,
} from '../protocol/messages.js';
import { encodeGrant } from '../protocol/codec.js';
import { formatRunId, parseRunId } from '../protocol/run-id.js';
import { VERSION } from '../protocol/version.js';
import { KeeperAttachment, type KeeperAttachmentOwner } from './run/attachment.js';
import type { RunServices } from './run/services.js';
import type { KeeperRun } from './run/run.js';
import { limitsFrom, type KeeperLimits } from './door/limits.js';
import { Wire } from './door/wire.js';

/** Bytes in one RUNS message, about. */
const PAGE = 256 * 1024;

function weight({ argv, tags }: RunInfo): number {
  let size = 512;
  for (const word of argv) size += word.length + 4;
  for (const tag of tags) size += tag.length * 3 + 4;
  return size;
}

/** The keeper, as a connection sees it. */
export interface Desk extends RunServices {
  readonly live: number;
  open(agent: AgentConnection, message: MessageNamed<'OPEN'>): void;
  find(principal: string, runId: Uint8Array): KeeperRun | undefined;
  /** Tells `take` of runs behind number `after` until it has enough: the number to go on behind, if there are more. */
  list(principal: string | undefined, all: boolean, after: number, take: (run: RunInfo) => boolean): number | undefined;
  forget(principal: string, runId: Uint8Array): string;
  status(): object;
  adopt(starter: Starter): void;
  limitTo(limits: Partial<KeeperLimits>): void;
  drain(): void;
  retire(): void;
  endRuns(reason: string): void;
  left(agent: AgentConnection): void;
}

/** The part of OPEN and ATTACH that describes the attachment. */
type Hold = Pick<MessageNamed<'OPEN'>, 'alias' | 'holder' | 'again' | 'echo' | 'blocked' | 'principal' | 'caller'>;

interface Attached {
  readonly attachment: KeeperAttachment;
  readonly run: KeeperRun;
}

/** The run that a question of the agent names. */
function runIn(body: string | undefined): { principal: string; runId: Uint8Array; reason: string } {
  const {
    principal,
    runId,
    reason = '',
  } = JSON.parse(body ?? '') as { principal: string; runId: string; reason?: string };
  return { principal, runId: parseRunId(runId), reason };
}

export class AgentConnection implements KeeperAttachmentOwner {
  readonly wire: Wire;
  readonly #keeper: Desk;
  readonly #attached = new Map<number, Attached>();
  readonly #behind = new Set<KeeperAttachment>();
  /** Lists that are not told to their ends. */
  readonly #lists: MessageNamed<'LIST'>[] = [];
  #greeted = false;

  constructor(keeper: Desk, socket: Socket) {
    this.#keeper = keeper;
    this.wire = new Wire(
      socket,
      {
        message: (message) => this.#dispatch(message),
        paced: true,
        roomy: () => {
          for (const attachment of this.#behind) attachment.flush();
          this.#behind.clear();
          for (const list of this.#lists.splice(0)) this.#list(list);
        },
        // The journal knows a fact before a caller does.
        leaving: () => keeper.journal.flush(),
        closed: () => this.#closed(),
      },
      keeper.limits.agentBacklog,
    );
  }

  whenRoomy(attachment: KeeperAttachment): void {
    this.#behind.add(attachment);
  }

  /** Binds an alias to a run. */
  attach(run: KeeperRun, control: boolean, { alias, holder, again = false, ...more }: Hold): KeeperAttachment {
    const attachment = new KeeperAttachment(this, alias, control, more, more);
    this.#attached.set(alias, { attachment, run });
    run.attach(attachment, holder, again);
    return attachment;
  }

  released(attachment: KeeperAttachment): void {
    this.#attached.delete(attachment.alias);
    this.#behind.delete(attachment);
  }

  #closed(): void {
    for (const { attachment, run } of this.#attached.values()) run.detach(attachment);
    this.#attached.clear();
    this.#lists.length = 0;
    this.#keeper.left(this);
  }

  #dispatch(message: Message): void {
    if (!this.#greeted) {
      if (message.type !== 'HELLO') throw new ProtocolError(`${message.type} before HELLO`);
      this.#greet(message);
      return;
    }
    try {
      this.#handle(message);
    } catch (error) {
      this.#refuse(message, error as Error);
    }
  }

  #handle(message: Message): void {
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
        const { principal = '' } = message;
        const result = this.#keeper.forget(principal, message.runId);
        const run = formatRunId(message.runId);
        if (result === 'done') this.#keeper.log.note('note', { what: 'forget', run, principal });
        const { alias, opId } = message;
        return void this.wire.send({ type: 'OP_OK', alias, opId, result, signalled: [], survivors: [] });
      }
      case 'ASK':
        return this.#ask(message);
      case 'NOTE':
        return this.#note(message);
      case 'PING':
        return void this.wire.send({ type: 'PONG', alias: 0, token: message.token, runs: this.#keeper.live });
      case 'PONG':
        return undefined;
      default:
        return this.#toRun(message);
    }
  }

  #checkRoom(alias: number): void {
    const { maxAliases } = this.#keeper.limits;
    if (this.#attached.size >= maxAliases)
      throw new SendallError('busy', `the agent holds ${maxAliases} runs already (maxAliases): wait for some to end`);
    if (alias === 0 || this.#attached.has(alias)) throw new ProtocolError(`alias ${alias} cannot be used`);
  }

  /** One caller sent it, and that caller alone hears of it: the link serves all others too. */
  #refuse(message: Message, error: Error): void {
    const { alias, type } = message;
    const code = error instanceof ProtocolError ? 'protocol' : error instanceof SendallError ? error.code : 'failed';
    const why = error.message;
    if (type === 'LIST' || type === 'FORGET' || type === 'ASK')
      return void this.wire.send({ type: 'ANSWER', alias, opId: message.opId, error: why });
    const attached = this.#attached.get(alias);
    if (attached && type !== 'OPEN' && type !== 'ATTACH') {
      this.#attached.delete(alias);
      attached.run.detach(attached.attachment);
    }
    const runId = 'runId' in message ? message.runId : (attached?.run.identity.runId ?? new Uint8Array(16));
    if (type === 'OPEN') this.wire.send({ type: 'REFUSED', alias, runId, code, message: why });
    else this.wire.send({ type: 'ATTACH_REFUSED', alias, runId, code, message: why });
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
    this.wire.send({ type: 'HELLO_OK', alias: 0, proto: PROTOCOL_VERSION });
    this.wire.send({
      type: 'AUTH_OK',
      alias: 0,
      principal: '',
      roles: [],
      policyRev: 0,
      epoch: journal.epoch,
      name: 'keeper',
      bootId,
      features: [
        TELLS_BLOCKED,
        OBEYS_LIMITS,
        TAKES_SECRETS,
        HAS_LOG,
        USES_ACCOUNT_SHELL,
        KEEPS_NOTHING,
        TRANSFERS,
        FORWARDS,
      ],
      maxFrame: MAX_FRAME,
      maxRuns: limits.maxAliases,
      window: limits.stdinWindow,
      clockMs: Date.now(),
      version: VERSION,
      pid: process.pid,
    });
  }

  #attachTo(message: MessageNamed<'ATTACH'>): void {
    const { alias, runId, mode } = message;
    const refuse = (code: string, text: string): void =>
      void this.wire.send({ type: 'ATTACH_REFUSED', alias, runId, code, message: text });
    if (message.epoch && !this.#keeper.journal.epoch.equals(message.epoch))
      return refuse('unknown', 'this machine has a new run journal: the run is not known');
    const run = this.#keeper.find(message.principal ?? '', runId);
    if (!run) return refuse('unknown', 'there is no such run, or it was forgotten');
    if (run.facts.refused) return refuse(run.facts.refused.code, run.facts.refused.message);
    if (run.audience.attachments.size >= this.#keeper.limits.maxAttachments)
      return refuse('limits', `maxAttachments (${this.#keeper.limits.maxAttachments}) of this run are attached`);
    const { principal, caller, again } = message;
    this.#keeper.log.deed('attach', { run: formatRunId(runId), principal, caller, mode, again });
    run.welcome(this.attach(run, mode === 'control', message));
  }

  /** Something that only the agent knows, for the log. */
  #note({ kind, body }: MessageNamed<'NOTE'>): void {
    const record: unknown = JSON.parse(body);
    if (kind === 'refuse') this.#keeper.log.note(kind, record as RecordOf<'refuse'>);
    else if (kind === 'note') this.#keeper.log.note(kind, record as RecordOf<'note'>);
    else throw new ProtocolError(`a note of the kind "${kind}"`);
  }

  /** One page, or all of them, each when there is room for it. */
  #list(message: MessageNamed<'LIST'>): void {
    const { alias, opId, principal, all, page } = message;
    for (let after: number | undefined = message.after ?? 0; after !== undefined;) {
      if (this.wire.congested) return void this.#lists.push({ ...message, after });
      const runs: RunInfo[] = [];
      let size = 0;
      after = this.#keeper.list(principal, all, after, (run) => {
        runs.push(run);
        size += weight(run);
        return size < PAGE;
      });
      const next = page ? after : undefined;
      this.wire.send({ type: 'RUNS', alias, opId, runs, last: after === undefined, next });
      if (page) return;
    }
  }

  #ask(message: MessageNamed<'ASK'>): void {
    const { alias, opId, what } = message;
    const answer = (body: object): void =>
      void this.wire.send({ type: 'ANSWER', alias, opId, body: JSON.stringify(body) });
    if (what === 'status') answer(this.#keeper.status());
    else if (what === 'look') answer(this.#look(message.body));
    else if (what === 'refuse-queued') answer(this.#refuseQueued(message.body));
    else if (what === 'starter') {
      this.#keeper.adopt(JSON.parse(message.body ?? '') as Starter);
      answer({});
    } else if (what === 'limits') {
      this.#keeper.limitTo(limitsFrom(JSON.parse(message.body ?? '{}')));
      answer({});
    } else if (what === 'drain') {
      answer({ draining: true });
      this.wire.flush();
      this.#keeper.drain();
    } else if (what === 'retire') {
      answer({ retiring: true });
      this.wire.flush();
      this.#keeper.retire();
    } else if (what === 'log') {
      this.#keeper.log.settle((error, { size, root }) =>
        error
          ? this.wire.send({ type: 'ANSWER', alias, opId, error: `the log cannot be written: ${error.message}` })
          : answer({ id: this.#keeper.log.id, size, root: hashBase64(root) }),
      );
    } else if (what === 'end-runs') {
      this.#keeper.log.note('note', { what: 'end-runs' });
      this.#keeper.endRuns(message.body ?? 'the agent was told to end all runs');
      answer({ ending: this.#keeper.live });
    } else this.wire.send({ type: 'ANSWER', alias, opId, error: `the keeper cannot answer "${what}"` });
  }

  /** What admission must know of a run when roles or rules have changed. */
  #look(body: string | undefined): object {
    const { principal, runId } = runIn(body);
    const run = this.#keeper.find(principal, runId);
    if (!run) return {};
    const base64 = (bytes: Uint8Array | undefined) => bytes && Buffer.from(bytes).toString('base64');
    return { state: run.state, spec: base64(run.rawSpec), grant: base64(run.grant && encodeGrant(run.grant)) };
  }

  /** Refuses a run that still waits for its turn. */
  #refuseQueued(body: string | undefined): object {
    const { principal, runId, reason } = runIn(body);
    return { refused: this.#keeper.find(principal, runId)?.refuseQueued(reason) ?? false };
  }

  #toRun(message: Message): void {
    const attached = this.#attached.get(message.alias);
    // An alias that was just refused or detached may still be spoken to.
    if (!attached) return;
    const { attachment, run } = attached;
    switch (message.type) {
      case 'DETACH':
        this.#attached.delete(attachment.alias);
        // After its end every caller leaves.
        if (!run.over) this.#keeper.log.deed('detach', { run: formatRunId(run.identity.runId), ...attachment.by });
        return run.detach(attachment, message);
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

  #control(run: KeeperRun, attachment: KeeperAttachment, message: Message): void {
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
