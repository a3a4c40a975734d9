/**
 * Keeps the link to one host alive. Runs register here with an alias. A lost link is dialled again, immediately and
 * then with growing pauses, and each run continues where it was. A run never sees a socket.
 *
 * Before the host has let us in (AUTH_OK), a link carries the first flight only: the beginnings of runs that the host may
 * read twice, and lists. The rest waits.
 */
import { ProtocolError, SendallError, UnreachableError } from '../../errors.js';
import { isLinkError, linkError, rememberedOf, type Greeting, type Remembered } from '../../link/handshake.js';
import type { Link } from '../../link/link.js';
import {
  MAX_FLIGHT,
  type Control,
  type Exit,
  type Message,
  type MessageNamed,
  type RunInfo,
} from '../../protocol/messages.js';
import { CreditPool } from '../../protocol/flow.js';
import { newOpId } from './operations.js';
import { after } from '../../timer.js';

/** A dialled link, on which we have said who we are. */
export interface Dialled {
  readonly link: Link;
  /** From an earlier link to the same key. Without it there is no first flight. */
  readonly remembered?: Remembered | undefined;
  /** The host's log, as this user has seen it. */
  readonly log?: HostLog | undefined;
  /** Resolves when the host has let us in. */
  readonly greeting: Promise<Greeting>;
}

/** Compares heads of a host's log; see `client/kept-heads.ts`. */
export interface HostLog {
  /** The host's fingerprint, or the address of the local agent. */
  readonly key: string;
  readonly seen: Seen | undefined;
  judge(exit: Exit, seen: Seen | undefined): string | undefined;
}
/** A head that was seen. */
export interface Seen {
  readonly size: number;
  readonly root: string;
  readonly atMs: number;
}

/** A run, as its session sees it. */
export interface Rider {
  /** False until the host may know the run. Such a run does not wait for a link that cannot be made. */
  readonly boarded: boolean;
  /** Milliseconds without a link before this run gives up; undefined: the session's value. */
  readonly giveUpAfter: number | undefined;
  /** Bytes that its beginning takes in a first flight; undefined if it must wait until the host has let us in. */
  readonly flight: number | undefined;
  /** A link is up: open or attach under `alias`, with `session.begin`. */
  board(session: Session, alias: number): void;
  /** The host ended the link before it read what this run sent on it. */
  turnedAway(): void;
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
   * Milliseconds for which runs that the host does not know wait for a link. Three dials are made in any case.
   * @default 0
   */
  retryFor?: number;
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
  /** Makes a link that no other caller uses, where links are shared. */
  dialOwn?: ((stop: AbortSignal) => Promise<Dialled>) | undefined;
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
  /** The host's log, as this user has seen it. */
  log: HostLog | undefined;
  #dial: (stop: AbortSignal) => Promise<Dialled>;
  /** Ends the dial that is under way. */
  #stopDial: AbortController | undefined;
  /** Ends the move to a link of its own; undefined before the only try. */
  #stopMove: AbortController | undefined;
  /** The shared link that was left. It stays until the host has the run on its own one: else its caller would be gone. */
  #left: Link | undefined;
  readonly #options: Required<Omit<SessionOptions, 'dialOwn'>> & Pick<SessionOptions, 'dialOwn'>;
  readonly #riders = new Map<number, Rider>();
  readonly #aliases = new Map<Rider, number>();
  /** When each run has come: it may have come long after the link was lost. */
  readonly #joinedAt = new WeakMap<Rider, number>();
  readonly #ready = new Set<Rider>();
  readonly #questions = new Map<number, Question>();
  /** Resolves when the host has let us in for the first time; rejects if the first link ends before. */
  readonly ready: Promise<void>;
  #link: Link | undefined;
  /** The host has let us in on this link. */
  #admitted = false;
  #greeting: Greeting | undefined;
  #remembered: Remembered | undefined;
  /** Bytes that may still join the first flight of this link. */
  #room = 0;
  /** Runs that wait until the host has let us in, and messages that do. */
  readonly #grounded = new Set<Rider>();
  #held: Control[] = [];
  /** The host may not take first flights: the last one ended without an answer. */
  #waits = false;
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

  constructor(first: Dialled, dial: (stop: AbortSignal) => Promise<Dialled>, options: SessionOptions) {
    this.#dial = dial;
    this.#options = { retryFor: 0, firstPause: 100, longestPause: 10_000, ...options };
    this.ready = this.#adopt(first);
    this.ready.catch((error: Error) => this.#firstFailed(asSendallError(error)));
  }

  /** The newest; undefined until the host has let us in. */
  get greeting(): Greeting | undefined {
    return this.#greeting;
  }

  /** The link, once the host has let us in on it. */
  get link(): Link | undefined {
    return this.#admitted ? this.#link : undefined;
  }

  /** A link is up, and takes the beginnings of runs now. */
  get takesBeginnings(): boolean {
    return this.#admitted || this.#room > 0;
  }

  /** The host's journal, as far as we know it. */
  get epoch(): Uint8Array | undefined {
    return this.#remembered?.epoch;
  }

  /** The host's clock, estimated from one exchange, in milliseconds since the epoch. */
  hostNow(): number {
    return Math.floor((this.#remembered?.clockAheadMs ?? 0) + performance.now());
  }

  /** Adds a run. If a link is up, the run boards immediately. */
  join(rider: Rider): void {
    if (this.#closed) {
      rider.abandoned(this.#closed);
      return;
    }
    // No run has waited so far.
    if (!this.#aliases.size) this.#troubleSince = undefined;
    this.#joinedAt.set(rider, performance.now());
    this.#seat(rider);
    this.#ref();
    if (this.#link) this.#board(rider);
    else void this.#redial('at once');
  }

  /** Begins a run anew on this link: the host has refused its first try. */
  again(rider: Rider): void {
    const alias = this.#aliases.get(rider);
    if (alias === undefined) return;
    this.#riders.delete(alias);
    rider.board(this, this.#seat(rider));
  }

  leave(rider: Rider): void {
    const alias = this.#aliases.get(rider);
    if (alias === undefined) return;
    const hasBegun = !this.#grounded.has(rider);
    this.#unseat(rider, alias);
    if (hasBegun) this.sendLater({ type: 'DETACH', alias });
    if (!this.#aliases.size) this.#wakeUp?.();
    this.#ref();
  }

  /** Sends the beginning of a run, also in a first flight. */
  begin(message: MessageNamed<'OPEN'> | MessageNamed<'ATTACH'>): void {
    this.#link?.send(message);
  }

  /** Sends a message; in a first flight it waits until the host has let us in. */
  send(message: Control): void {
    if (this.#admitted) this.#link?.send(message);
    else if (this.#link) this.#held.push(message);
  }

  /** Like `send`, for messages that need no quick answer. */
  sendLater(message: Control): void {
    if (this.#admitted) this.#link?.sendLater(message);
    else this.send(message);
  }

  /** The host has answered a run, so no run waits for a link any more. */
  reached(): void {
    this.#troubleSince = undefined;
    this.#left?.close();
    this.#left = undefined;
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
      if (message.type === 'LIST' && this.takesBeginnings) link.send(message);
      else this.send(message);
    });
  }

  /** This run has DATA to send. */
  wake(rider: Rider): void {
    this.#ready.add(rider);
    this.#fill();
  }

  /**
   * Moves its only run from a shared link to one of its own, on which it goes on at its next byte: where much travels,
   * each process on the way costs as much as ours. Where there is no such link, it stays.
   */
  async moveToOwnLink(): Promise<void> {
    const { dialOwn } = this.#options;
    const shared = this.link;
    if (!dialOwn || !shared || this.#stopMove) return;
    this.#stopMove = new AbortController();
    try {
      const dialled = await dialOwn(this.#stopMove.signal);
      const greeting = await dialled.greeting;
      if (this.link !== shared || this.#closed || this.#questions.size || this.#aliases.size !== 1) {
        dialled.link.close();
        return;
      }
      this.#dial = dialOwn;
      for (const rider of this.#aliases.keys()) rider.linkLost();
      this.#drop();
      this.#left = shared;
      (shared.stream as { unref?: () => void }).unref?.();
      // It is not counted as a loss.
      this.resumes -= 1;
      await this.#adopt({ ...dialled, greeting: Promise.resolve(greeting) });
    } catch {
      // The shared one does as well.
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = new SendallError('CLOSED', 'the connection to the host was closed by this program');
    this.#wakeUp?.();
    this.#stopDial?.abort(this.#closed);
    this.#stopMove?.abort(this.#closed);
    this.#abandon(this.#closed);
    this.#link?.close();
    this.#left?.close();
    this.#drop();
  }

  /** One frame from each run in turn, while the link has room. */
  #fill(): void {
    while (this.#ready.size && this.link?.roomy)
      for (const rider of this.#ready) {
        if (!this.link.roomy) break;
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
    this.#grounded.delete(rider);
  }

  /** Begins a run on the link, as soon as it may be sent. */
  #board(rider: Rider): void {
    const alias = this.#aliases.get(rider);
    if (alias === undefined) return;
    if (!this.#admitted) {
      const bytes = rider.flight;
      if (bytes === undefined || bytes > this.#room) {
        this.#grounded.add(rider);
        return;
      }
      this.#room -= bytes;
    }
    rider.board(this, alias);
  }

  /** Takes over a new link. Resolves when the host has let us in. */
  #adopt({ link, remembered, log, greeting }: Dialled): Promise<void> {
    this.#link = link;
    this.log = log;
    this.#linkedAt = performance.now();
    this.#remembered = remembered ?? this.#remembered;
    this.#room = remembered && !this.#waits ? MAX_FLIGHT : 0;
    // Aliases belong to one link.
    const waiting = [...this.#aliases.keys()];
    this.#riders.clear();
    this.#lastAlias = 0;
    for (const rider of waiting) this.#seat(rider);
    for (const rider of waiting) this.#board(rider);
    return greeting.then(
      (greeted) => this.#admit(link, greeted),
      (error: Error) => {
        this.#turnAway(link, error, isLinkError(asSendallError(error)));
        throw error;
      },
    );
  }

  /** The host has let us in: what waited leaves. */
  #admit(link: Link, greeting: Greeting): void {
    if (link !== this.#link) return;
    if (this.#greeting) this.resumes += 1;
    this.#greeting = greeting;
    this.#remembered = rememberedOf(greeting);
    this.#linkedAt = greeting.at;
    this.#admitted = true;
    this.#waits = false;
    for (const message of this.#held.splice(0)) link.send(message);
    const grounded = [...this.#grounded];
    this.#grounded.clear();
    // An alias must be above all that were used before it.
    for (const rider of grounded) {
      this.#riders.delete(this.#aliases.get(rider)!);
      this.#seat(rider);
    }
    for (const rider of grounded) this.#board(rider);
    link.handOver({
      message: (message) => {
        // Nothing of a link that was left counts.
        if (link === this.#link) this.#message(message);
      },
      roomy: () => this.#fill(),
      closed: (error) => this.#lost(link, error ?? new UnreachableError('the host closed the link')),
    });
    link.keepAlive(this.#options.pingInterval, this.#options.pingDeadline);
    this.#ref();
  }

  /** The link ended before the host has let us in. `unread`: the host has taken nothing of the first flight. */
  #turnAway(link: Link, error: Error, unread: boolean): void {
    if (link !== this.#link) return;
    const flown = [...this.#aliases.keys()].filter((rider) => !this.#grounded.has(rider));
    this.#waits = true;
    this.#drop();
    this.#failQuestions(asSendallError(error));
    for (const rider of flown) {
      rider.linkLost();
      if (unread) rider.turnedAway();
    }
  }

  /** The first link has ended before the host has let us in. */
  #firstFailed(error: SendallError): void {
    if (this.#closed) return;
    this.#lastError = error;
    if (isFinal(error)) this.#abandon(error);
    if (this.#riders.size) void this.#redial('soon');
  }

  /** There is no link any more. */
  #drop(): void {
    this.#link = undefined;
    this.#admitted = false;
    this.#room = 0;
    this.#held = [];
    this.#grounded.clear();
    this.#ready.clear();
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
    if (!this.#admitted || this.#riders.size || this.#questions.size) stream?.ref?.();
    else stream?.unref?.();
  }

  #lost(link: Link, error: Error): void {
    if (link !== this.#link || this.#closed) return;
    this.#lastError = asSendallError(error);
    const now = performance.now();
    if (now - this.#linkedAt >= this.#options.longestPause) this.progress();
    if (this.#aliases.size) this.#troubleSince ??= now;
    this.#broken = error instanceof ProtocolError ? this.#broken + 1 : 0;
    this.#failQuestions(this.#lastError);
    for (const rider of this.#aliases.keys()) rider.linkLost();
    this.#drop();
    if (this.#broken === MOST_BROKEN) this.#abandon(this.#lastError);
    if (this.#riders.size) void this.#redial('soon');
  }

  /** Dials until a link is up or no run waits for one. "soon": immediately, unless the last link achieved nothing. */
  #redial(when: 'soon' | 'at once'): Promise<void> {
    if (when === 'at once') this.#wakeUp?.();
    this.#redialling ??= this.#dialAgain(when).finally(() => {
      this.#redialling = undefined;
      // The new link may be lost already.
      if (!this.#link && this.#riders.size) void this.#redial('soon');
    });
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
        await this.#linkWithin(this.#nextDeadline(since));
        return;
      } catch (error) {
        this.#lastError = asSendallError(error as Error);
        if (isFinal(this.#lastError)) {
          this.#abandon(this.#lastError);
          return;
        }
        if (tries + 1 >= FIRST_TRIES)
          for (const [rider, alias] of this.#aliases)
            if (!rider.boarded && this.#waited(rider, since) >= this.#options.retryFor) this.#dismiss(rider, alias);
        if (this.#closed || this.#giveUp(since)) return;
      }
    }
  }

  /** Dials, and waits until the host has let us in, both within `ms`. A link that is ready later is closed. */
  async #linkWithin(ms: number): Promise<void> {
    let link: Link | undefined;
    let isLate = false;
    // A dial that nothing waits for must not keep this process alive.
    const stop = (this.#stopDial = new AbortController());
    const linking = this.#dial(stop.signal).then((dialled) => {
      ({ link } = dialled);
      if (!isLate && !this.#closed) return this.#adopt(dialled);
      dialled.greeting.catch(() => undefined);
      link.close();
      return undefined;
    });
    let cease: (() => void) | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      if (ms !== Infinity) cease = after(ms, () => reject(this.#lastError));
    });
    try {
      await Promise.race([linking, late]);
    } catch (error) {
      isLate = true;
      if (link) this.#turnAway(link, error as Error, false);
      link?.destroy();
      linking.catch(() => undefined);
      stop.abort(error);
      throw error;
    } finally {
      this.#stopDial = undefined;
      cease?.();
    }
  }

  /** Milliseconds until the first run gives up. */
  #nextDeadline(since: number): number {
    let left = Infinity;
    for (const rider of this.#aliases.keys()) left = Math.min(left, this.#patience(rider) - this.#waited(rider, since));
    return Math.max(0, left);
  }

  #patience({ giveUpAfter = this.#options.giveUpAfter }: Rider): number {
    return giveUpAfter;
  }

  /** Milliseconds that a run has waited for a link. `since`: when the link was lost. */
  #waited(rider: Rider, since: number): number {
    return performance.now() - Math.max(since, this.#joinedAt.get(rider)!);
  }

  /** Gives up runs that have waited long enough. True when no waiting run is left. */
  #giveUp(since: number): boolean {
    for (const [rider, alias] of this.#aliases)
      if (this.#waited(rider, since) >= this.#patience(rider)) this.#dismiss(rider, alias);
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
        cease();
        this.#wakeUp = undefined;
        resolve();
      };
      const cease = after(ms, done);
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

/** A host that refuses us (its key changed, or we were removed) will go on refusing. */
const isFinal = ({ code }: SendallError): boolean => code === 'REFUSED' || code === 'KEY_CHANGED';

function asSendallError(error: Error): SendallError {
  return error instanceof SendallError ? error : new UnreachableError(error.message, { cause: error });
}
