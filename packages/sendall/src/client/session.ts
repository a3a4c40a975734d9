/**
 * One host's link, kept alive. Runs register here with an alias; when the link is lost it is dialled again, at once and
 * then with growing pauses, and each run takes up where it was. A run never sees a socket.
 */
import { SendallError, UnreachableError } from '../errors.js';
import { linkError, type Greeting } from '../link/handshake.js';
import type { Link } from '../link/link.js';
import type { Control, Message } from '../protocol/messages.js';

/** A dialled, authenticated link. */
export interface Dialled {
  readonly link: Link;
  readonly greeting: Greeting;
}

/** What a session tells its runs. */
export interface Rider {
  /** A link is up: open or attach under `alias`. */
  board(session: Session, alias: number): void;
  /** False until the host may have heard of the run; such a run does not wait for a link that cannot be made. */
  readonly boarded: boolean;
  message(message: Message): void;
  /** There is room for DATA. Returns true when it has more to send. */
  fill(): boolean;
  /** The link went; it is being dialled again. */
  linkLost(error: Error): void;
  /** No link came back in time, or the session was closed. */
  abandoned(error: SendallError): void;
}

export interface SessionOptions {
  /** Milliseconds without a link until its runs are given up. Default 600000. */
  giveUpAfter: number;
  /** Milliseconds of silence after which a sign of life is asked for. Default 15000; 0: never. */
  pingInterval: number;
  /** Milliseconds of silence after which the link counts as lost. Default 45000. */
  pingDeadline: number;
}

const FIRST_PAUSE = 100;
const LONGEST_PAUSE = 10_000;

interface Question {
  resolve(message: Control): void;
  reject(error: Error): void;
}

export class Session {
  readonly #dial: () => Promise<Dialled>;
  readonly #options: SessionOptions;
  readonly #riders = new Map<number, Rider>();
  readonly #questions = new Map<number, Question>();
  #link: Link | undefined;
  #greeting: Greeting;
  #nextAlias = 1;
  #nextOp = 1;
  #closed: SendallError | undefined;
  #redialling: Promise<void> | undefined;
  #wake: (() => void) | undefined;
  #pauseMs = 0;
  /** How often a lost link was made again. */
  resumes = 0;

  constructor(first: Dialled, dial: () => Promise<Dialled>, options: SessionOptions) {
    this.#dial = dial;
    this.#options = options;
    this.#greeting = first.greeting;
    this.#adopt(first);
  }

  get greeting(): Greeting {
    return this.#greeting;
  }

  get link(): Link | undefined {
    return this.#link;
  }

  get giveUpAfter(): number {
    return this.#options.giveUpAfter;
  }

  /** Takes a run aboard. It is told at once when a link is up. */
  join(rider: Rider): void {
    if (this.#closed) {
      rider.abandoned(this.#closed);
      return;
    }
    const alias = this.#nextAlias++;
    this.#riders.set(alias, rider);
    this.#ref();
    if (this.#link) rider.board(this, alias);
    else void this.#redial(new UnreachableError('the link to the host was lost'));
  }

  leave(rider: Rider): void {
    for (const [alias, each] of this.#riders)
      if (each === rider) {
        this.#riders.delete(alias);
        this.#link?.send({ type: 'DETACH', alias });
      }
    this.#ref();
  }

  send(message: Control): void {
    this.#link?.send(message);
  }

  /** A number that no other operation of this session has. */
  newOp(): number {
    return this.#nextOp++;
  }

  /** Sends a question that is answered under its opId; rejects when the link goes before the answer. */
  async ask(message: Extract<Control, { opId: number }>): Promise<Control> {
    if (!this.#link && !this.#closed) await this.#redial(new UnreachableError('the link to the host was lost'));
    const link = this.#link;
    if (!link) throw this.#closed ?? new UnreachableError('there is no link to the host right now');
    return await new Promise((resolve, reject) => {
      this.#questions.set(message.opId, { resolve, reject });
      this.#ref();
      link.send(message);
    });
  }

  /** Asks riders for DATA while the link has room. */
  fill(): void {
    let more = true;
    while (more && this.#link?.roomy) {
      more = false;
      for (const rider of this.#riders.values()) {
        if (!this.#link.roomy) return;
        if (rider.fill()) more = true;
      }
    }
  }

  close(): void {
    this.#end(new SendallError('CLOSED', 'the connection to the host was closed by this program'));
  }

  #end(error: SendallError): void {
    if (this.#closed) return;
    this.#closed = error;
    this.#wake?.();
    this.#abandon(error);
    this.#link?.close();
    this.#link = undefined;
  }

  #adopt({ link, greeting }: Dialled): void {
    this.#link = link;
    this.#greeting = greeting;
    link.handOver({
      message: (message) => this.#message(message),
      roomy: () => this.fill(),
      closed: (error) => this.#lost(link, error ?? new UnreachableError('the host closed the link')),
    });
    link.keepAlive(this.#options.pingInterval, this.#options.pingDeadline);
    const waiting = [...this.#riders.values()];
    this.#riders.clear();
    for (const rider of waiting) {
      const alias = this.#nextAlias++;
      this.#riders.set(alias, rider);
      rider.board(this, alias);
    }
    this.#ref();
  }

  #message(message: Message): void {
    if (message.alias) {
      this.#pauseMs = 0;
      // A run that has left may still be spoken to; that is no error.
      this.#riders.get(message.alias)?.message(message);
    } else if (message.type === 'LINK_ERROR') throw linkError(message);
    else if (message.type === 'RUNS' || message.type === 'ANSWER' || message.type === 'OP_OK') {
      const question = this.#questions.get(message.opId);
      this.#questions.delete(message.opId);
      this.#ref();
      question?.resolve(message);
    }
  }

  /** An idle session does not keep the process alive; one with runs or questions does. */
  #ref(): void {
    const stream = this.#link?.stream as { ref?: () => void; unref?: () => void } | undefined;
    if (this.#riders.size || this.#questions.size) stream?.ref?.();
    else stream?.unref?.();
  }

  #failQuestions(error: Error): void {
    for (const question of this.#questions.values()) question.reject(error);
    this.#questions.clear();
  }

  #lost(link: Link, error: Error): void {
    if (link !== this.#link || this.#closed) return;
    this.#link = undefined;
    this.#failQuestions(error);
    for (const rider of this.#riders.values()) rider.linkLost(error);
    if (this.#riders.size) void this.#redial(error);
  }

  /** Dials until a link is up or it is time to give up. The first try is at once unless the last link did nothing. */
  #redial(cause: Error): Promise<void> {
    this.#redialling ??= this.#tryAgain(cause).finally(() => (this.#redialling = undefined));
    return this.#redialling;
  }

  async #tryAgain(cause: Error): Promise<void> {
    let last = cause;
    const giveUpAt = performance.now() + this.#options.giveUpAfter;
    while (!this.#closed) {
      const left = giveUpAt - performance.now();
      if (left <= 0) break;
      const wait = Math.min(left, this.#pauseMs * (0.5 + Math.random()));
      this.#pauseMs = Math.min(Math.max(FIRST_PAUSE, this.#pauseMs * 2), LONGEST_PAUSE);
      if (wait) await this.#sleep(wait);
      if (this.#closed) return;
      try {
        const dialled = await this.#dial();
        if (this.#closed) dialled.link.close();
        else {
          this.resumes += 1;
          this.#adopt(dialled);
        }
        return;
      } catch (error) {
        last = error as Error;
        this.#turnAway(last);
        // A host that refuses us now (its key changed, we were removed) will not change its mind by itself.
        if (error instanceof SendallError && (error.code === 'REFUSED' || error.code === 'KEY_CHANGED')) break;
        if (!this.#riders.size) return;
      }
    }
    this.#abandon(last instanceof SendallError ? last : new UnreachableError(last.message, { cause: last }));
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  /** Runs that the host has not heard of fail now; the others wait for the link. */
  #turnAway(error: Error): void {
    const known = error instanceof SendallError ? error : new UnreachableError(error.message, { cause: error });
    for (const [alias, rider] of this.#riders)
      if (!rider.boarded) {
        this.#riders.delete(alias);
        rider.abandoned(known);
      }
  }

  #abandon(error: SendallError): void {
    const riders = [...this.#riders.values()];
    this.#riders.clear();
    for (const rider of riders) rider.abandoned(error);
    this.#failQuestions(error);
  }
}
