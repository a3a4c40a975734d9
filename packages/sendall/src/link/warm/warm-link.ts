/**
 * One warm link to a host, shared by callers: it maps the run aliases and operation numbers of many callers to its own.
 * Until the host has let us in, it carries what its callers send as a first flight.
 */
import type { SendallError } from '../../errors.js';
import { decode, isRefusal } from '../../protocol/codec.js';
import type { Control, Message, MessageNamed } from '../../protocol/messages.js';
import { FairShare } from '../../fair-share.js';
import { linkError, type Greeting } from '../handshake.js';
import type { Link } from '../link.js';
import type { WarmLinksStatus } from './client.js';

const PING_INTERVAL = 15_000;
const PING_DEADLINE = 45_000;
/** Most questions that one link carries at a time; an agent accepts 64 from one link. */
const MOST_ASKED = 48;
/** Runs that each caller may hold even if others hold very many. */
const FEW_RUNS = 4;
/** Most runs of all callers of one link, if the host does not state its limit. */
const MOST_RUNS = 8192;

export type Question = MessageNamed<'LIST'> | MessageNamed<'FORGET'> | MessageNamed<'ASK'>;
export type Answer = MessageNamed<'RUNS'> | MessageNamed<'OP_OK'> | MessageNamed<'ANSWER'>;
export type Refusal = MessageNamed<'REFUSED'> | MessageNamed<'ATTACH_REFUSED'>;

/** A caller that shares the link. */
export interface LinkSharer {
  readonly link: Link;
  /** Its next question; undefined while it has none, or does not read the answers it has. */
  nextQuestion(): Question | undefined;
  answer(answer: Answer): void;
  /** The host has let us in. */
  welcome(greeting: Greeting): void;
  /** The link ended before the host has let us in. */
  turnedAway(error: SendallError): void;
  /** The link ended later. */
  linkLost(error: Error | undefined): void;
  refused(alias: number, refusal: Refusal): void;
}

export class WarmLink {
  readonly link: Link;
  readonly #url: string;
  #greeting: Greeting | undefined;
  readonly #runs = new Map<number, { caller: LinkSharer; alias: number }>();
  readonly #questions = new Map<number, { caller: LinkSharer; opId: number }>();
  readonly #callers = new Set<LinkSharer>();
  /** Callers waiting for their turn to ask. */
  readonly #askers = new Set<LinkSharer>();
  /** Callers we do not read until the host has taken what they sent. */
  readonly #waiting = new Set<LinkSharer>();
  /** Room for runs on the link. */
  readonly #room = new FairShare(MOST_RUNS);
  #nextAlias = 1;
  #nextOp = 1;

  constructor(url: string, link: Link, greeting: Promise<Greeting>, gone: () => void) {
    this.#url = url;
    this.link = link;
    greeting.then(
      (greeted) => this.#admit(greeted, gone),
      (error: SendallError) => {
        gone();
        for (const caller of this.#callers) caller.turnedAway(error);
      },
    );
  }

  #admit(greeting: Greeting, gone: () => void): void {
    this.#greeting = greeting;
    this.#room.resize(greeting.auth.maxRuns ?? MOST_RUNS);
    for (const caller of this.#callers) caller.welcome(greeting);
    this.link.handOver({
      forward: (alias, frame) => this.#toCaller(alias, frame),
      message: (message) => this.#message(message),
      roomy: () => this.#roomy(),
      closed: (error) => {
        gone();
        for (const caller of this.#callers) caller.linkLost(error);
      },
    });
    this.link.keepAlive(PING_INTERVAL, PING_DEADLINE);
    this.#roomy();
  }

  get status(): WarmLinksStatus['links'][number] {
    return { url: this.#url, callers: this.#callers.size, rttMs: this.link.rttMs };
  }

  /** Adds a caller. Returns its share of the link's room for runs. */
  join(caller: LinkSharer): FairShare {
    this.#callers.add(caller);
    if (this.#greeting) caller.welcome(upToDate(this.#greeting));
    return new FairShare(this.#room, FEW_RUNS);
  }

  /** A caller leaves and gives up its runs, which go on. */
  leave(caller: LinkSharer): void {
    this.#callers.delete(caller);
    this.#askers.delete(caller);
    this.#waiting.delete(caller);
    for (const [alias, run] of this.#runs)
      if (run.caller === caller) {
        this.#runs.delete(alias);
        this.link.send({ type: 'DETACH', alias });
      }
    // The answers still arrive; until then the questions count as open.
  }

  /** Registers a caller's new run; returns its alias here. */
  board(caller: LinkSharer, alias: number): number {
    const own = this.#nextAlias++;
    this.#runs.set(own, { caller, alias });
    return own;
  }

  forget(alias: number): void {
    this.#runs.delete(alias);
  }

  /** A caller sent something for the host. It is not read while too much is queued. */
  pace(caller: LinkSharer): void {
    if (this.link.roomy) return;
    caller.link.pauseReading();
    this.#waiting.add(caller);
  }

  #roomy(): void {
    for (const caller of this.#waiting) {
      if (!this.link.roomy) return;
      this.#waiting.delete(caller);
      caller.link.continueReading();
    }
  }

  /** A caller has questions. Callers take turns, one question each. */
  ask(caller: LinkSharer): void {
    this.#askers.add(caller);
    for (const asker of this.#askers) {
      if (this.#questions.size >= MOST_ASKED) return;
      this.#askers.delete(asker);
      const message = asker.nextQuestion();
      if (!message) continue;
      const opId = this.#nextOp++;
      this.#questions.set(opId, { caller: asker, opId: message.opId });
      this.link.send({ ...message, opId });
      this.#askers.add(asker);
    }
  }

  #toCaller(alias: number, frame: Buffer): boolean {
    const run = this.#runs.get(alias);
    // Messages about a released run may still arrive.
    if (!run) return true;
    if (isRefusal(frame)) run.caller.refused(run.alias, decode(frame) as Refusal);
    else run.caller.link.forward(run.alias, frame);
    return true;
  }

  #message(message: Message): void {
    if ('opId' in message) {
      const question = this.#questions.get(message.opId);
      if (!question) return;
      // A host without pages sends its whole list.
      if (message.type !== 'RUNS' || message.last || message.next !== undefined) this.#questions.delete(message.opId);
      question.caller.answer({ ...message, opId: question.opId } as Answer);
      this.ask(question.caller);
    } else if (message.type === 'LINK_ERROR') this.link.destroy(linkError(message));
    else for (const caller of this.#callers) caller.link.send({ ...message, alias: 0 } as Control);
  }
}

/** A greeting, with the host's clock as it is now. */
function upToDate({ auth, clockMs: then, at: before }: Greeting): Greeting {
  const at = performance.now();
  const clockMs = Math.round(then + at - before);
  return { auth: { ...auth, clockMs }, clockMs, at };
}
