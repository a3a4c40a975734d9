/**
 * Keeps the link to one host alive. Runs register here with an alias. A lost link is dialled again, immediately and
 * then with growing pauses, and each run continues where it was. A run never sees a socket.
 */
import { ProtocolError, SendallError, UnreachableError } from '../../errors.js';
import { linkError, type Greeting } from '../../link/handshake.js';
import type { Link } from '../../link/link.js';
import type { Control, Message, MessageNamed, RunInfo } from '../../protocol/messages.js';
import { CreditPool } from '../../protocol/flow.js';
import { newOpId } from './operations.js';

/** A dialled, authenticated link. */
export interface Dialled {
  readonly link: Link;
  readonly greeting: Greeting;
}

/** A run, as its session sees it. */
export interface Rider {
  /** False until the host may know the run. Such a run does not wait for a link that cannot be made. */
  readonly boarded: boolean;
  /** Milliseconds without a link before this run gives up; undefined: the session's value. */
  readonly giveUpAfter: number | undefined;
  /** A link is up: open or attach under `alias`. */
  board(session: Session, alias: number): void;
  message(message: Message): void;
  /** There is room for DATA. Returns true if the run has more to send. */
  fill(): boolean;
  /** The link is lost and being dialled again. */
  linkLost(): void;
  /** No link returned in time, or the session was closed. */
  abandoned(error: SendallError): void;
}

export interface SessionOptions {
  /**
   * Milliseconds without a link before its runs are given up.
   * @default 600_000
   */
  giveUpAfter: number;
  /**
   * Milliseconds of silence after which the link is pinged. 0: never.
   * @default 15_000
   */
  pingInterval: number;
  /**
   * Milliseconds of silence after which the link counts as lost.
   * @default 45_000
   */
  pingDeadline: number;
  /**
   * Milliseconds before the second attempt to restore a lost link; each later pause is twice as long.
   * @default 100
   */
  firstPause?: number;
  /**
   * Upper limit of these pauses, approximately.
   * @default 10_000
   */
  longestPause?: number;
}

/** Bytes that all runs of one link together may have in flight, beyond a megabyte each. */
const CREDIT = 256 * 1024 * 1024;

/** Dials that may fail before giving up runs that the host does not know. */
const FIRST_TRIES = 3;
/** Protocol violations in a row after which another link is pointless. */
const MOST_BROKEN = 16;

/** A request to the host itself, and its answer. */
type Ask = MessageNamed<'LIST'> | MessageNamed<'FORGET'> | MessageNamed<'ASK'>;
type Unnumbered<T> = T extends unknown ? Omit<T, 'opId' | 'alias'> : never;

interface Question {
  readonly runs: RunInfo[];
  resolve(message: Control): void;
  reject(error: Error): void;
}

export class Session {
  /** The pool from which streams of this link draw larger windows. */
  readonly credit = new CreditPool(CREDIT);
  /** How often the link was lost and restored. */
  resumes = 0;
  readonly #dial: () => Promise<Dialled>;
  readonly #options: Required<SessionOptions>;
  readonly #riders = new Map<number, Rider>();
  readonly #aliases = new Map<Rider, number>();
  readonly #ready = new Set<Rider>();
  readonly #questions = new Map<number, Question>();
  #link: Link | undefined;
  #greeting!: Greeting;
  #greetedAt = 0;
  #lastAlias = 0;
  #closed: SendallError | undefined;
  #redialling: Promise<void> | undefined;
  #wakeUp: (() => void) | undefined;
  #pauseMs = 0;
  #lastError: SendallError = new UnreachableError('the link to the host was lost');
  /** Since when runs have waited for an answer of the host. */
  #troubleSince: number | undefined;
  /** Links in a row that ended with a protocol violation and achieved nothing. */
  #broken = 0;
  #linkedAt = 0;

  constructor(first: Dialled, dial: () => Promise<Dialled>, options: SessionOptions) {
    this.#dial = dial;
    this.#options = { firstPause: 100, longestPause: 10_000, ...options };
    this.#adopt(first);
  }

  get greeting(): Greeting {
    return this.#greeting;
  }

  get link(): Link | undefined {
    return this.#link;
  }

  /** The host's clock, estimated from one exchange, in milliseconds since the epoch. */
  hostNow(): number {
    return Math.floor(this.#greeting.clockMs + performance.now() - this.#greetedAt);
  }

  /** Adds a run. If a link is up, the run boards immediately. */
  join(rider: Rider): void {
    if (this.#closed) {
      rider.abandoned(this.#closed);
      return;
    }
    // No run has waited so far.
    if (!this.#aliases.size) this.#troubleSince = undefined;
    const alias = this.#seat(rider);
    this.#ref();
    if (this.#link) rider.board(this, alias);
    else void this.#redial('at once');
  }

  leave(rider: Rider): void {
    const alias = this.#aliases.get(rider);
    if (alias === undefined) return;
    this.#unseat(rider, alias);
    this.#link?.sendLater({ type: 'DETACH', alias });
    this.#ref();
  }

  send(message: Control): void {
    this.#link?.send(message);
  }

  /** Like `send`, for messages that need no quick answer. */
  sendLater(message: Control): void {
    this.#link?.sendLater(message);
  }

  /** The host has answered a run, so no run waits for a link any more. */
  reached(): void {
    this.#troubleSince = undefined;
  }

  /** The link has achieved something: if it is lost, the next dial need not wait. */
  progress(): void {
    this.#pauseMs = 0;
    this.#broken = 0;
  }

  /** Asks the host; rejects if the link is lost before the answer. */
  async ask(question: Unnumbered<Ask>): Promise<Control> {
    if (!this.#link && !this.#closed) await this.#redial('at once');
    const link = this.#link;
    if (!link) throw this.#closed ?? this.#lastError;
    return await new Promise((resolve, reject) => {
      const message = { ...question, alias: 0, opId: newOpId() } as Ask;
      this.#questions.set(message.opId, { runs: [], resolve, reject });
      this.#ref();
      link.send(message);
    });
  }

  /** This run has DATA to send. */
  wake(rider: Rider): void {
    this.#ready.add(rider);
    this.#fill();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = new SendallError('CLOSED', 'the connection to the host was closed by this program');
    this.#wakeUp?.();
    this.#abandon(this.#closed);
    this.#link?.close();
    this.#link = undefined;
  }

  /** One frame from each run in turn, while the link has room. */
  #fill(): void {
    while (this.#ready.size && this.#link?.roomy)
      for (const rider of this.#ready) {
        if (!this.#link.roomy) break;
        if (!rider.fill()) this.#ready.delete(rider);
      }
  }

  #seat(rider: Rider): number {
    const alias = ++this.#lastAlias;
    this.#riders.set(alias, rider);
    this.#aliases.set(rider, alias);
    return alias;
  }

  #unseat(rider: Rider, alias: number): void {
    this.#riders.delete(alias);
    this.#aliases.delete(rider);
    this.#ready.delete(rider);
  }

  #adopt({ link, greeting }: Dialled): void {
    this.#link = link;
    this.#greeting = greeting;
    this.#greetedAt = performance.now();
    this.#linkedAt = this.#greetedAt;
    link.handOver({
      message: (message) => this.#message(message),
      roomy: () => this.#fill(),
      closed: (error) => this.#lost(link, error ?? new UnreachableError('the host closed the link')),
    });
    link.keepAlive(this.#options.pingInterval, this.#options.pingDeadline);
    // Aliases belong to one link.
    const waiting = [...this.#aliases.keys()];
    this.#riders.clear();
    this.#lastAlias = 0;
    for (const rider of waiting) this.#seat(rider);
    for (const rider of waiting) {
      const alias = this.#aliases.get(rider);
      if (alias !== undefined) rider.board(this, alias);
    }
    this.#ref();
  }

  #message(message: Message): void {
    // A message for a run that has left is no error.
    if (message.alias) this.#riders.get(message.alias)?.message(message);
    else if (message.type === 'LINK_ERROR') throw linkError(message);
    else if (message.type === 'RUNS' || message.type === 'ANSWER' || message.type === 'OP_OK') this.#answer(message);
  }

  #answer(message: MessageNamed<'RUNS'> | MessageNamed<'ANSWER'> | MessageNamed<'OP_OK'>): void {
    const question = this.#questions.get(message.opId);
    if (!question) return;
    if (message.type === 'RUNS') {
      question.runs.push(...message.runs);
      if (!message.last && message.next === undefined) return;
    }
    this.#questions.delete(message.opId);
    this.#ref();
    question.resolve(message.type === 'RUNS' ? { ...message, runs: question.runs } : message);
  }

  /** An idle session does not keep the process alive; one with runs or questions does. */
  #ref(): void {
    const stream = this.#link?.stream as { ref?: () => void; unref?: () => void } | undefined;
    if (this.#riders.size || this.#questions.size) stream?.ref?.();
    else stream?.unref?.();
  }

  #lost(link: Link, error: Error): void {
    if (link !== this.#link || this.#closed) return;
    this.#link = undefined;
    this.#lastError = asSendallError(error);
    const now = performance.now();
    if (now - this.#linkedAt >= this.#options.longestPause) this.progress();
    if (this.#aliases.size) this.#troubleSince ??= now;
    this.#broken = error instanceof ProtocolError ? this.#broken + 1 : 0;
    this.#failQuestions(this.#lastError);
    this.#ready.clear();
    for (const rider of this.#aliases.keys()) rider.linkLost();
    if (this.#broken === MOST_BROKEN) this.#abandon(this.#lastError);
    if (this.#riders.size) void this.#redial('soon');
  }

  /** Dials until a link is up or no run waits for one. "soon": immediately, unless the last link achieved nothing. */
  #redial(when: 'soon' | 'at once'): Promise<void> {
    if (when === 'at once') this.#wakeUp?.();
    this.#redialling ??= this.#dialAgain(when).finally(() => (this.#redialling = undefined));
    return this.#redialling;
  }

  async #dialAgain(when: 'soon' | 'at once'): Promise<void> {
    const { firstPause, longestPause } = this.#options;
    const since = (this.#troubleSince ??= performance.now());
    for (let tries = 0; ; tries++) {
      const wait = when === 'at once' && tries === 0 ? 0 : this.#pauseMs * (0.5 + Math.random());
      this.#pauseMs = Math.min(Math.max(firstPause, this.#pauseMs * 2), longestPause);
      if (wait) {
        await this.#sleep(Math.min(wait, this.#nextDeadline(since)));
        if (this.#closed || this.#giveUp(since)) return;
      }
      try {
        const dialled = await this.#within(this.#nextDeadline(since));
        if (this.#closed) dialled.link.close();
        else {
          this.resumes += 1;
          this.#adopt(dialled);
        }
        return;
      } catch (error) {
        this.#lastError = asSendallError(error as Error);
        // A host that refuses us (its key changed, or we were removed) will go on refusing.
        if (this.#lastError.code === 'REFUSED' || this.#lastError.code === 'KEY_CHANGED') {
          this.#abandon(this.#lastError);
          return;
        }
        if (tries + 1 >= FIRST_TRIES)
          for (const [rider, alias] of this.#aliases) if (!rider.boarded) this.#dismiss(rider, alias);
        if (this.#closed || this.#giveUp(since)) return;
      }
    }
  }

  /** A dial limited to `ms`; a link that is ready later is closed. */
  async #within(ms: number): Promise<Dialled> {
    const dialling = this.#dial();
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      if (ms !== Infinity) timer = setTimeout(() => reject(this.#lastError), ms);
    });
    try {
      return await Promise.race([dialling, late]);
    } catch (error) {
      dialling.then(
        ({ link }) => link.close(),
        () => undefined,
      );
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Milliseconds until the first run gives up. */
  #nextDeadline(since: number): number {
    let shortest = Infinity;
    for (const { giveUpAfter } of this.#aliases.keys())
      shortest = Math.min(shortest, giveUpAfter ?? this.#options.giveUpAfter);
    return Math.max(0, since + shortest - performance.now());
  }

  /** Gives up runs that have waited long enough. True when no waiting run is left. */
  #giveUp(since: number): boolean {
    const waited = performance.now() - since;
    for (const [rider, alias] of this.#aliases)
      if (waited >= (rider.giveUpAfter ?? this.#options.giveUpAfter)) this.#dismiss(rider, alias);
    if (this.#aliases.size) return false;
    // The next run's wait starts afresh.
    this.#troubleSince = undefined;
    return true;
  }

  #dismiss(rider: Rider, alias: number): void {
    this.#unseat(rider, alias);
    rider.abandoned(this.#lastError);
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#wakeUp = undefined;
        resolve();
      };
      const timer = setTimeout(done, Math.min(ms, 0x7fffffff));
      this.#wakeUp = done;
    });
  }

  #failQuestions(error: Error): void {
    for (const question of this.#questions.values()) question.reject(error);
    this.#questions.clear();
  }

  #abandon(error: SendallError): void {
    const riders = [...this.#aliases.keys()];
    this.#riders.clear();
    this.#aliases.clear();
    this.#ready.clear();
    for (const rider of riders) rider.abandoned(error);
    this.#failQuestions(error);
  }
}

function asSendallError(error: Error): SendallError {
  return error instanceof SendallError ? error : new UnreachableError(error.message, { cause: error });
}
