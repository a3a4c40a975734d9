/**
 * One caller's link on the agent's side: its principal, its limits and its attachments. What a state
 * does not list is not accepted in it.
 */
import { ProtocolError, RefusedError, SendallError, UnreachableError, UsageError } from '../errors.js';
import type { FairShare } from '../fair-share.js';
import type { Home } from '../home.js';
import { SHARED } from '../link/handshake.js';
import type { Link } from '../link/link.js';
import type { RecordOf } from '../log/records.js';
import type { PolicyFile } from '../policy/policy-file.js';
import type { Verb } from '../policy/rules.js';
import { printable } from '../text/printable.js';
import { afterReading } from '../timer.js';
import {
  FIRST_FLIGHT,
  MAX_FRAME,
  PROTOCOL_VERSION,
  type Control,
  type Grant,
  type Message,
  type MessageNamed,
} from '../protocol/messages.js';
import { formatRunId } from '../protocol/run-id.js';
import { VERSION } from '../protocol/version.js';
import { admit, admitRun, grantForKeeper, isOwner, isRefusal, type Refusal } from './admission/admission.js';
import { AgentAttachment, type AgentAttachmentOwner } from './attachment.js';
import type { KeeperGate, LinkShare } from './gate.js';
import { forCallers, LIST_IS_WRONG } from './callers/callers.js';
import { callerOf, type Origin, type Principal } from './callers/origin.js';
import { Questions, type Asker } from './questions.js';
import type { Membership, Principals } from './admission/principals.js';
import { ReadAhead } from './streams/read-ahead.js';
import type { Resumes } from './streams/resumes.js';
import { review } from './admission/review.js';

/** What one link may take. Times in milliseconds, sizes in bytes. */
export interface SessionLimits {
  readonly maxRunsPerLink: number;
  readonly maxQuestions: number;
  readonly maxAttachmentsPerPrincipal: number;
  readonly readAhead: number;
  readonly authTimeout: number;
  readonly pingDeadline: number;
}

/** What the agent provides to all of its sessions. */
export interface SessionServices {
  readonly home: Home;
  readonly gate: KeeperGate;
  readonly name: string;
  readonly bootId: string;
  readonly limits: SessionLimits;
  readonly resumes: Resumes;
  readonly principals: Principals;
  /** Who calls, as the list of callers has it now. @throws RefusedError when the key is not known. */
  identify(origin: Origin): Principal;
  /** What others than owners may do. */
  readonly policy: PolicyFile;
  /** PAIR_* of a peer that is not known yet. */
  /** The caller was refused something, for the log. */
  refused(record: RecordOf<'refuse'>): void;
  pairing(link: Link, message: Control, origin: Origin): void;
  answer(what: string, body: unknown, origin: Origin): Promise<unknown>;
}

/** Runs of a link whose beginnings the keeper has not answered: an answer may be a thousand times as long. */
const MOST_JOINING = 64;
/** Kept for as long as an attachment, and a hold's name for longer: see Resumes. */
const MOST_POSITIONS = 16;
const LONGEST_HOLDER = 64;

/** Links so far. */
let sessions = 0;

type State = 'hello' | 'auth' | 'open' | 'closed';

export class AgentSession implements AgentAttachmentOwner, Asker {
  readonly link: Link;
  readonly gate: KeeperGate;
  readonly home: Home;
  readonly resumes: Resumes;
  readonly number = ++sessions;
  readonly #services: SessionServices;
  /** How the link came in. */
  readonly origin: Origin;
  readonly #attachments = new Map<number, AgentAttachment>();
  readonly #ready = new Set<AgentAttachment>();
  /** Stops the wait for HELLO and AUTH. */
  readonly #endWait: () => void;
  #state: State = 'hello';
  #principal: Principal = { name: '', roles: [] };
  /** Its part of the runs that all callers may hold together. */
  #room: LinkShare | undefined;
  /** Its part of what its principal may have. */
  #membership: Membership | undefined;
  #readAhead: ReadAhead | undefined;
  /** Attachments that the keeper has not answered. */
  readonly #joining = new Set<AgentAttachment>();
  /** Several callers use this link: what is wrong with one run ends that run. */
  #shared = false;
  /** Its caller's process is at the other end of the socket itself. */
  #direct = false;
  /** Who calls was looked up by the code that runs now, without waiting. */
  #isFresh = false;
  /** The keeper is asked about a run before this caller may have it. */
  #reviewing = false;
  #lastAlias = 0;
  #pumping = false;
  readonly #questions: Questions;
  /** Resolves when the link is over. */
  readonly closed: Promise<void>;

  constructor(link: Link, origin: Origin, services: SessionServices) {
    this.link = link;
    this.gate = services.gate;
    this.home = services.home;
    this.resumes = services.resumes;
    this.#services = services;
    this.origin = origin;
    this.#questions = new Questions(this, services.limits.maxQuestions);
    this.#endWait = afterReading(services.limits.authTimeout, () =>
      link.fail(new ProtocolError('no valid HELLO and AUTH came in time')),
    );
    this.closed = new Promise((resolve) => {
      link.start({
        message: (message) => this.#message(message),
        roomy: () => {
          this.#pump();
          this.#questions.roomy();
        },
        closed: () => {
          this.#close();
          resolve();
        },
      });
    });
  }

  /** Whose runs it sees; empty until its key was recognized. */
  get principal(): string {
    return this.#principal.name;
  }

  /** Who shares what there is for callers: an owner's key, else the principal with all of its keys. */
  get caller(): string {
    return isOwner(this.#principal) ? callerOf(this.origin) : `principal ${this.#principal.name}`;
  }

  get readAhead(): ReadAhead {
    return this.#membership?.readAhead ?? (this.#readAhead ??= new ReadAhead(this.#services.limits.readAhead));
  }

  get questionRoom(): FairShare {
    return this.#membership!.questions;
  }

  get connection(): string | undefined {
    return this.origin.kind === 'tls' ? this.origin.connection : undefined;
  }

  get isOwner(): boolean {
    return isOwner(this.#principal);
  }

  /**
   * Who calls, looked up again: its roles may have changed, or its key may have been removed.
   * @throws RefusedError when its key is not known any more
   * @throws SendallError when the key is another principal's now, who has other runs, or an owner's no more or only now:
   * what a link may take of the agent was settled when it began
   */
  #who(): Principal {
    // What came in one read is judged by one look, and behind our own socket is one principal for ever.
    if (this.#isFresh || this.origin.kind === 'local') return this.#principal;
    const now = this.#services.identify(this.origin);
    if (now.name !== this.#principal.name)
      throw new SendallError('CLOSED', `this key belongs to ${now.name} now, and to ${this.#principal.name} no more`);
    if (isOwner(now) !== isOwner(this.#principal))
      throw new SendallError(
        'CLOSED',
        `${now.name} is ${isOwner(now) ? 'an owner now' : 'an owner no more'}: call again`,
      );
    this.#isFresh = true;
    queueMicrotask(() => (this.#isFresh = false));
    return (this.#principal = now);
  }

  /** Why the caller may not do this now; undefined: it may. */
  refuses(verb: Verb): Refusal | undefined {
    const answer = this.#decide((who) => admit(this.#services.policy, who, verb));
    if (!isRefusal(answer)) return undefined;
    this.#logRefusal(answer, { verb });
    return answer;
  }

  #logRefusal({ code, message: reason }: Refusal, record: RecordOf<'refuse'>): void {
    const source = this.origin.kind === 'tls' ? this.origin.source : undefined;
    this.#services.refused({ principal: this.principal, caller: this.caller, source, code, reason, ...record });
  }

  #admitBeginning(message: MessageNamed<'OPEN'> | MessageNamed<'ATTACH'>): Grant | Refusal {
    const { policy } = this.#services;
    if (message.type === 'OPEN') return this.#decide((who) => admitRun(policy, who, message.spec));
    const verb = message.mode === 'control' ? 'attach' : 'observe';
    return this.#decide((who) => admit(policy, who, verb));
  }

  #decide(decide: (who: Principal) => Grant | Refusal): Grant | Refusal {
    try {
      return decide(this.#who());
    } catch (error) {
      if (!(error instanceof UsageError)) throw error;
      // Rights are never guessed.
      return { code: 'policy', message: LIST_IS_WRONG };
    }
  }

  get attachments(): number {
    return this.#attachments.size;
  }

  /** Roles or rules have changed: lets go of what the caller may not hold any more. False when it may hold no link. */
  readmit(): boolean {
    if (this.#state !== 'open') return true;
    try {
      this.#isFresh = false;
      this.#who();
      for (const attachment of this.#attachments.values()) {
        const refusal = this.refuses(attachment.verb);
        if (refusal) attachment.dismiss(refusal);
      }
      return true;
    } catch (error) {
      this.link.fail(forCallers(error as SendallError));
      return false;
    }
  }

  /** Its attachments to a run. */
  *attachmentsTo(runId: Uint8Array): Generator<AgentAttachment, void, undefined> {
    for (const attachment of this.#attachments.values())
      if (Buffer.compare(attachment.runId, runId) === 0) yield attachment;
  }

  /** Says that the agent is leaving; runs go on in the keeper. */
  goAway(reason: string): void {
    this.link.send({ type: 'GOAWAY', alias: 0, reason });
    this.link.close();
  }

  wake(attachment: AgentAttachment): void {
    this.#ready.add(attachment);
    this.#pump();
  }

  answered(attachment: AgentAttachment): void {
    if (this.#joining.delete(attachment)) this.#pace();
  }

  ended(attachment: AgentAttachment): void {
    this.#ready.delete(attachment);
    this.#joining.delete(attachment);
    if (this.#attachments.delete(attachment.alias)) this.#room?.share.give();
  }

  /** One frame from each attachment in turn, while the link has room. */
  #pump(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    while (this.#ready.size && this.link.roomy)
      for (const attachment of this.#ready) {
        if (!this.link.roomy) break;
        this.#ready.delete(attachment);
        if (attachment.pump()) this.#ready.add(attachment);
      }
    this.link.flushData();
    this.#pumping = false;
  }

  #message(message: Message): void {
    if (this.#state === 'open') this.#onOpen(message);
    else if (message.type === 'LINK_ERROR') this.link.destroy(new RefusedError(message.message));
    else if (this.#state === 'hello' && message.type === 'HELLO') this.#onHello(message);
    else if (this.#state === 'auth' && message.type === 'AUTH') this.#onAuth(message);
    else if (this.#state === 'auth' && message.type !== 'DATA' && message.type.startsWith('PAIR_'))
      this.#services.pairing(this.link, message, this.origin);
    else throw new ProtocolError(`${message.type} is not accepted before AUTH_OK`);
  }

  #onHello(message: MessageNamed<'HELLO'>): void {
    if (message.protoMin > PROTOCOL_VERSION || message.protoMax < PROTOCOL_VERSION)
      throw new RefusedError(otherVersion(message, this.origin));
    this.#state = 'auth';
    this.#shared = message.features.includes(SHARED);
    // It may be a stranger: who we are comes with AUTH_OK.
    this.link.send({ type: 'HELLO_OK', alias: 0, proto: PROTOCOL_VERSION });
  }

  #onAuth(message: MessageNamed<'AUTH'>): void {
    const expected = this.origin.kind === 'tls' ? 'pin' : 'local';
    if (message.method !== expected)
      throw new RefusedError(`authentication by "${printable(message.method, 40)}" is not offered here`);
    this.#principal = this.#identify();
    this.#direct = message.ends !== undefined && message.ends === this.connection;
    this.#endWait();
    this.link.trust();
    const opened = this.gate.open();
    if (opened instanceof Promise) {
      // What the caller sends meanwhile stays in its socket, so that it takes none of our memory.
      this.link.pauseReading();
      opened.then(
        ({ epoch }) => this.#admitLate(epoch),
        (error: Error) =>
          this.link.fail(new SendallError('UNAVAILABLE', `the keeper cannot be started: ${error.message}`)),
      );
    } else this.#admit(opened.epoch);
  }

  /** Who calls, at the beginning of its link. @throws RefusedError */
  #identify(): Principal {
    try {
      return this.#services.identify(this.origin);
    } catch (error) {
      throw forCallers(error as SendallError);
    }
  }

  /** Its key may have been removed, or its roles changed, while the keeper was started. */
  #admitLate(epoch: Uint8Array): void {
    try {
      this.#principal = this.#identify();
    } catch (error) {
      return this.link.fail(error as SendallError);
    }
    this.#admit(epoch);
  }

  #admit(epoch: Uint8Array): void {
    if (this.#state !== 'auth') return;
    const { limits, name, bootId, principals } = this.#services;
    const membership = principals.enter(this.#principal);
    // Links that were lost end soon: the caller tries again.
    if (typeof membership === 'string') return this.link.fail(new UnreachableError(membership));
    this.#state = 'open';
    this.#membership = membership;
    this.#room = this.gate.share(this.caller, isOwner(this.#principal) ? undefined : limits.maxAttachmentsPerPrincipal);
    this.link.keepAlive(limits.pingDeadline / 3, limits.pingDeadline);
    this.link.send({
      type: 'AUTH_OK',
      alias: 0,
      principal: this.#principal.name,
      roles: this.#principal.roles,
      policyRev: this.#services.policy.policy.rev,
      epoch,
      name,
      bootId,
      features: [FIRST_FLIGHT, ...this.gate.features],
      maxFrame: MAX_FRAME,
      maxRuns: limits.maxRunsPerLink,
      window: 1024 * 1024,
      clockMs: Date.now(),
      version: VERSION,
    });
    this.link.continueReading();
  }

  #onOpen(message: Message): void {
    if (!this.#shared || !message.alias) this.#take(message);
    else
      try {
        this.#take(message);
      } catch (error) {
        this.#refuse(message, error as Error);
      }
    this.#pace();
  }

  #take(message: Message): void {
    if (message.type === 'OPEN' || message.type === 'ATTACH') this.#begin(message);
    else if (message.alias) {
      const attachment = this.#attachments.get(message.alias);
      if (message.type === 'DETACH') {
        attachment?.close();
        if (attachment) this.ended(attachment);
      } else if (attachment) attachment.fromCaller(message);
      else if (message.alias > this.#lastAlias)
        throw new ProtocolError(`${message.type} for a run that was not opened`);
      // What a caller sent before it learned that its run had gone is no error.
    } else this.#onLink(message);
  }

  /** Ends one run's attachment for what was wrong with a message of it. */
  #refuse(message: Message, { message: why }: Error): void {
    const { alias } = message;
    const attachment = this.#attachments.get(alias);
    const runId = 'runId' in message ? message.runId : (attachment?.runId ?? new Uint8Array(16));
    attachment?.close();
    if (attachment) this.ended(attachment);
    const type = message.type === 'OPEN' ? 'REFUSED' : 'ATTACH_REFUSED';
    this.link.send({ type, alias, runId, code: 'protocol', message: why });
  }

  /** This caller is not read while the keeper is behind, or has much of its to answer. */
  #pace(): void {
    if (this.#reviewing) this.link.pauseReading();
    else if (this.gate.congested) {
      this.link.pauseReading();
      this.gate.whenRoomy(this.#goOn);
    } else if (this.#joining.size >= MOST_JOINING) this.link.pauseReading();
    else this.link.continueReading();
  }

  readonly #goOn = (): void => this.#pace();

  #begin(message: MessageNamed<'OPEN'> | MessageNamed<'ATTACH'>): void {
    const { alias, runId } = message;
    if (alias <= this.#lastAlias)
      throw new ProtocolError(`alias ${alias} is not above ${this.#lastAlias}, the last one used on this link`);
    if (runId.length !== 16) throw new ProtocolError(`a run id of ${runId.length} bytes where 16 belong`);
    const { length: positions } = message.type === 'OPEN' ? message.attach : message.from;
    if (positions > MOST_POSITIONS)
      throw new ProtocolError(`${positions} positions in streams, more than ${MOST_POSITIONS}`);
    const holder = message.holder?.length ?? 0;
    if (holder > LONGEST_HOLDER) throw new ProtocolError(`a holder of ${holder} bytes, more than ${LONGEST_HOLDER}`);
    this.#lastAlias = alias;
    const grant = this.#admitBeginning(message);
    if (isRefusal(grant)) {
      this.#logRefusal(grant, { run: formatRunId(runId), verb: message.type === 'ATTACH' ? 'attach' : undefined });
      const type = message.type === 'OPEN' ? 'REFUSED' : 'ATTACH_REFUSED';
      this.link.send({ type, alias, runId, ...grant });
      return;
    }
    if (message.type === 'ATTACH' && !this.isOwner) void this.#review(message, grant);
    else this.#enter(message, grant);
  }

  /** What a caller who is no owner may have of a run depends on its command. This link is not read meanwhile. */
  async #review(message: MessageNamed<'ATTACH'>, grant: Grant): Promise<void> {
    this.#reviewing = true;
    const { alias } = message;
    const runId = Buffer.from(message.runId);
    const who = this.#principal;
    const { policy } = this.#services;
    try {
      const reviewed = await review({ gate: this.gate, policy }, { runId, principal: who.name, who });
      if (this.#state !== 'open') return;
      // Roles may have changed meanwhile.
      const refusal = reviewed ?? this.refuses(message.mode === 'control' ? 'attach' : 'observe');
      if (refusal) {
        this.#logRefusal(refusal, { run: formatRunId(runId), verb: 'attach' });
        this.link.send({ type: 'ATTACH_REFUSED', alias, runId, ...refusal });
      } else this.#enter(message, grant);
    } catch (error) {
      this.link.send({ type: 'ATTACH_REFUSED', alias, runId, code: 'failed', message: (error as Error).message });
    } finally {
      this.#reviewing = false;
      this.#pace();
    }
  }

  #enter(message: MessageNamed<'OPEN'> | MessageNamed<'ATTACH'>, grant: Grant): void {
    const { alias, runId } = message;
    const { maxRunsPerLink, maxAttachmentsPerPrincipal } = this.#services.limits;
    const full = this.#attachments.size >= maxRunsPerLink;
    if (full || !this.#room?.share.take()) {
      const text = full
        ? `this link holds ${maxRunsPerLink} runs already (maxRunsPerLink): wait for some to end`
        : this.#room?.isFull()
          ? `${this.principal} holds ${maxAttachmentsPerPrincipal} runs already (maxAttachmentsPerPrincipal): wait for some to end`
          : `this link holds ${this.#attachments.size} runs, and what is left is for others: wait for some to end`;
      if (message.type === 'OPEN')
        this.link.send({ type: 'REFUSED', alias, runId, code: 'busy', message: text, retryAfterMs: 1000 });
      else this.link.send({ type: 'ATTACH_REFUSED', alias, runId, code: 'busy', message: text });
      return;
    }
    const attachment = this.#attach(message, grant);
    this.#attachments.set(alias, attachment);
    if (message.type === 'ATTACH') this.#joining.add(attachment);
  }

  #attach(message: MessageNamed<'OPEN'> | MessageNamed<'ATTACH'>, grant: Grant): AgentAttachment {
    try {
      const source = this.origin.kind === 'tls' ? this.origin.source : undefined;
      return new AgentAttachment(this, message, grantForKeeper(grant, source));
    } catch (error) {
      this.#room?.share.give();
      throw error;
    }
  }

  #onLink(message: Message): void {
    switch (message.type) {
      case 'LIST':
      case 'FORGET':
      case 'ASK':
        void this.#questions.take(message);
        break;
      case 'GOAWAY':
        break;
      case 'LINK_ERROR':
        this.link.destroy(new RefusedError(message.message));
        break;
      default:
        throw new ProtocolError(`${message.type} does not belong to the link`);
    }
  }

  /** The agent's answer to ASK. */
  async answer(what: string, body: unknown): Promise<unknown> {
    try {
      return await this.#services.answer(what, body, this.origin);
    } catch (error) {
      if (error instanceof RefusedError && !this.isOwner)
        this.#logRefusal({ code: 'policy', message: error.message }, { verb: 'agent' });
      throw error;
    }
  }

  #close(): void {
    this.#state = 'closed';
    this.#endWait();
    // On this machine there is no network that could lose a link: its caller has closed it, or has died.
    const { endedByPeer } = this.link;
    const lost = this.origin.kind !== 'local' || !endedByPeer;
    for (const attachment of this.#attachments.values()) attachment.close(lost, endedByPeer && this.#direct);
    this.#attachments.clear();
    this.#joining.clear();
    this.#ready.clear();
    this.#room?.done();
    this.#room = undefined;
    this.#membership?.leave();
    this.#questions.close();
  }
}

/** Says which of the two has to be upgraded, and how. A stranger learns no more of us than our protocol. */
function otherVersion({ protoMin, protoMax, version }: MessageNamed<'HELLO'>, origin: Origin): string {
  const theirs = protoMin === protoMax ? `${protoMin}` : `${protoMin} to ${protoMax}`;
  const here =
    origin.kind === 'local' ? `end it (kill ${process.pid}) and start the new one: sendall agent` : undefined;
  const next =
    protoMin > PROTOCOL_VERSION
      ? (here ?? "upgrade sendall on the agent's machine and start its agent anew")
      : "upgrade the caller's sendall";
  const us = origin.kind === 'local' ? ` (sendall ${VERSION})` : '';
  return `this agent${us} speaks protocol ${PROTOCOL_VERSION} and its caller (sendall ${printable(version, 40)}) protocol ${theirs}: ${next}`;
}
