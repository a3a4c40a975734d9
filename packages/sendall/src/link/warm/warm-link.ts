/**
 * One warm link to a host, and which caller has which part of it: run aliases and operation numbers of its own stand for
 * those of many callers.
 */
import { RefusedError } from '../../errors.js';
import { decode, isRefusal } from '../../protocol/codec.js';
import type { Control, Message, MessageNamed } from '../../protocol/messages.js';
import { FairShare } from '../../fair-share.js';
import type { Greeting } from '../handshake.js';
import type { Link } from '../link.js';
import type { WarmLinksStatus } from './client.js';

const PING_INTERVAL = 15_000;
const PING_DEADLINE = 45_000;
/** Questions that one link carries at once; an agent takes 64 of one link. */
const MOST_ASKED = 48;
/** Runs that each caller may hold even where others hold very many. */
const FEW_RUNS = 4;
/** Runs of all callers of one link where the host does not say how many it takes. */
const MOST_RUNS = 8192;

export type Question = MessageNamed<'LIST'> | MessageNamed<'FORGET'> | MessageNamed<'ASK'>;
export type Answer = MessageNamed<'RUNS'> | MessageNamed<'OP_OK'> | MessageNamed<'ANSWER'>;
export type Refusal = MessageNamed<'REFUSED'> | MessageNamed<'ATTACH_REFUSED'>;

/** A caller that shares the link. */
export interface LinkSharer {
  readonly link: Link;
  /** What it wants to know next; undefined while it has no question, or does not take the answers that it has. */
  nextQuestion(): Question | undefined;
  answer(answer: Answer): void;
  refused(alias: number, refusal: Refusal): void;
}

export class WarmLink {
  readonly link: Link;
  readonly #url: string;
  readonly #greeting: Greeting;
  readonly #greetedAt = performance.now();
  readonly #runs = new Map<number, { caller: LinkSharer; alias: number }>();
  readonly #questions = new Map<number, { caller: LinkSharer; opId: number }>();
  readonly #callers = new Set<LinkSharer>();
  /** Callers who wait until they may ask. */
  readonly #askers = new Set<LinkSharer>();
  /** Callers who are not read until the host has taken what they sent. */
  readonly #waiting = new Set<LinkSharer>();
  /** Runs that the link can hold. */
  readonly #room: FairShare;
  #nextAlias = 1;
  #nextOp = 1;

  constructor(url: string, link: Link, greeting: Greeting, gone: () => void) {
    this.#url = url;
    this.link = link;
    this.#greeting = greeting;
    this.#room = new FairShare(greeting.auth.maxRuns ?? MOST_RUNS);
    link.handOver({
      forward: (alias, frame) => this.#toCaller(alias, frame),
      message: (message) => this.#message(message),
      roomy: () => this.#roomy(),
      closed: () => {
        gone();
        for (const caller of this.#callers) caller.link.close();
      },
    });
    link.keepAlive(PING_INTERVAL, PING_DEADLINE);
  }

  get status(): WarmLinksStatus['links'][number] {
    return { url: this.#url, callers: this.#callers.size, rttMs: this.link.rttMs };
  }

  /** The host's greeting as it would be now. */
  get greeting(): Greeting {
    const { auth } = this.#greeting;
    const clockMs = Math.round(this.#greeting.clockMs + performance.now() - this.#greetedAt);
    return { auth: { ...auth, clockMs }, clockMs };
  }

  /** Returns the caller's share of the runs that the link can hold. */
  join(caller: LinkSharer): FairShare {
    this.#callers.add(caller);
    return new FairShare(this.#room, FEW_RUNS);
  }

  /** A caller leaves, and with it its hold on its runs: they go on. */
  leave(caller: LinkSharer): void {
    this.#callers.delete(caller);
    this.#askers.delete(caller);
    this.#waiting.delete(caller);
    for (const [alias, run] of this.#runs)
      if (run.caller === caller) {
        this.#runs.delete(alias);
        this.link.send({ type: 'DETACH', alias });
      }
    // The answers still come: until then they count as asked.
  }

  /** A new run of a caller's: its alias here. */
  board(caller: LinkSharer, alias: number): number {
    const own = this.#nextAlias++;
    this.#runs.set(own, { caller, alias });
    return own;
  }

  forget(alias: number): void {
    this.#runs.delete(alias);
  }

  /** A caller sent something for the host. While too much waits for that, it is not read. */
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

  /** A caller has questions. One of each in turn is asked. */
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
    // One that was let go of may still be spoken of.
    if (!run) return true;
    if (isRefusal(frame)) run.caller.refused(run.alias, decode(frame) as Refusal);
    else run.caller.link.forward(run.alias, frame);
    return true;
  }

  #message(message: Message): void {
    if ('opId' in message) {
      const question = this.#questions.get(message.opId);
      if (!question) return;
      // A host that knows no pages tells its whole list.
      if (message.type !== 'RUNS' || message.last || message.next !== undefined) this.#questions.delete(message.opId);
      question.caller.answer({ ...message, opId: question.opId } as Answer);
      this.ask(question.caller);
    } else if (message.type === 'LINK_ERROR') this.link.destroy(new RefusedError(message.message));
    else for (const caller of this.#callers) caller.link.send({ ...message, alias: 0 } as Control);
  }
}
