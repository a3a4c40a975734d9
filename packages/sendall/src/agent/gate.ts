/**
 * The agent's side of the keeper: one link for all sessions, made again when it goes. Each attachment of a caller has an
 * alias of its own here.
 */
import { DEFAULT_LIMITS, ensureKeeper, type KeeperLink, type KeeperOptions } from '../keeper/door/door.js';
import { ProtocolError, SendallError } from '../errors.js';
import type { Home } from '../home.js';
import { FairShare } from '../fair-share.js';
import { starter } from '../started.js';
import type { Control, Message } from '../protocol/messages.js';
import { VERSION } from '../protocol/version.js';

/** Who hears what the keeper says of one attachment. */
export interface Listener {
  /** A frame that is only to be passed on; see `isForCallers`. */
  forward(frame: Buffer): void;
  fromKeeper(message: Message): void;
  /** The keeper's link was lost and made again, perhaps to another keeper. */
  keeperBack(): void;
  keeperLost(reason: string): void;
}

/** What one link has of the runs that can be held. */
export interface LinkShare {
  readonly share: FairShare;
  isFull(): boolean;
  done(): void;
}

interface Question {
  readonly message: Control;
  /** Links on which it was asked. */
  asked: number;
  resolve(message: Control): void;
  reject(error: Error): void;
}

/**
 * Links on which a question is asked. A keeper that makes room for a newer one can end two: the second was made while it
 * ended. A question that ends its keeper shall not end many.
 */
const MOST_ASKED = 3;
/** What may be told and not known to have been read; more is dropped. */
const MOST_TOLD = 10_000;
/** Milliseconds before a keeper is started again that has died twice within this time. */
const CRASH_PAUSE = 1000;
const LARGEST_ALIAS = 0xffff_ffff;
/** Runs that each link may hold even where the other links of its caller hold all that this caller may. */
const FEW_PLACES = 4;

export class KeeperGate {
  readonly #home: Home;
  readonly #options: KeeperOptions;
  #link: KeeperLink | undefined;
  #connecting: Promise<KeeperLink> | undefined;
  #listeners = new Map<number, Listener>();
  #questions = new Map<number, Question>();
  /** What was told and may not have been read yet, the oldest first, and how much was told in all. */
  readonly #told: Control[] = [];
  #toldInAll = 0;
  readonly #waitForRoom = new Set<() => void>();
  #lastAlias = 0;
  #nextOp = 1;
  #closed = false;
  #lostAt = -Infinity;
  /** Runs that all callers of all agents here may hold at once. */
  readonly #places: FairShare;
  /** What each caller has of them, while it has a link. */
  readonly #callers = new Map<string, { readonly share: FairShare; links: number }>();

  constructor(home: Home, options: KeeperOptions = {}) {
    this.#home = home;
    this.#options = options;
    this.#places = new FairShare(options.limits?.maxAliases ?? DEFAULT_LIMITS.maxAliases);
  }

  /**
   * A link of this caller's begins: its share of the runs that can be held, of which all its links have at most `most`
   * together. `isFull`: they have as many. `done` gives all of it back.
   */
  share(caller: string, most = Infinity): LinkShare {
    const known = this.#callers.get(caller) ?? { share: new FairShare(this.#places, 0, most), links: 0 };
    this.#callers.set(caller, known);
    known.links++;
    const share = new FairShare(known.share, FEW_PLACES);
    const done = (): void => {
      share.give(share.held);
      if (--known.links === 0) this.#callers.delete(caller);
    };
    return { share, isFull: () => known.share.held >= most, done };
  }

  get pid(): number | undefined {
    return this.#link?.pid;
  }

  /** The version of the keeper: another than ours until it had no command for a moment. */
  get version(): string | undefined {
    return this.#link?.version;
  }

  /** What the keeper can do for callers; see AUTH_OK. */
  get features(): readonly string[] {
    return this.#link?.features ?? [];
  }

  /** The link to the keeper; starts a keeper when none runs. */
  open(): Promise<KeeperLink> | KeeperLink {
    if (this.#link) return this.#link;
    if (this.#closed) throw new SendallError('CLOSED', 'the agent is stopping');
    this.#connecting ??= this.#connect().finally(() => (this.#connecting = undefined));
    return this.#connecting;
  }

  /** An alias of the keeper's link that leads to `listener`. */
  enter(listener: Listener): number {
    do this.#lastAlias = this.#lastAlias === LARGEST_ALIAS ? 1 : this.#lastAlias + 1;
    while (this.#listeners.has(this.#lastAlias));
    this.#listeners.set(this.#lastAlias, listener);
    return this.#lastAlias;
  }

  /** `left`: for good. `gone`: perhaps, see DETACH. */
  leave(alias: number, left: boolean, gone: boolean): void {
    if (!this.#listeners.delete(alias)) return;
    this.#link?.send({ type: 'DETACH', alias, left: left || undefined, gone: gone || undefined });
  }

  /** Forgets the alias without a word to the keeper, which has refused it. */
  drop(alias: number): void {
    this.#listeners.delete(alias);
  }

  /** @throws ProtocolError for a message that is too long for the keeper's link. */
  send(message: Control, alias = message.alias): void {
    if (this.#link?.send(message, alias) === false)
      throw new ProtocolError(`${message.type} is too long to be passed on`);
  }

  sendData(alias: number, offset: number, bytes: Uint8Array): void {
    this.#link?.sendData(alias, 0, 0, offset, bytes);
  }

  /** Too much waits for the keeper: a sender should wait for `whenRoomy`. */
  get congested(): boolean {
    return this.#link?.congested ?? false;
  }

  /** Calls back once, when the keeper has taken what waits for it or is gone. */
  whenRoomy(then: () => void): void {
    this.#waitForRoom.add(then);
  }

  /**
   * Asks the keeper something that has one answer and may be asked twice; `make` gets the number to use. When the link goes
   * before the answer, it is asked again on the next one, at most three times in all.
   */
  async ask(make: (opId: number) => Control): Promise<Control> {
    const link = await this.open();
    const opId = this.#nextOp++;
    return await new Promise((resolve, reject) => {
      const message = make(opId);
      if ((this.#link ?? link).send(message)) this.#questions.set(opId, { message, asked: 1, resolve, reject });
      else reject(new ProtocolError(`${message.type} is too long to be passed on`));
    });
  }

  /**
   * Tells the keeper something that has no answer. One that has to be started hears it then, and one that follows a keeper
   * which ended before it had read it, as one does that makes room for a newer one.
   */
  tell(message: Control): void {
    if (this.#closed || this.#told.length >= MOST_TOLD) return;
    this.#told.push(message);
    this.#toldInAll++;
    if (this.#link) this.#sendTold(this.#link, [message]);
    else void Promise.resolve(this.open()).catch(() => undefined);
  }

  /** Its answer to the PING says that it has read all that was told so far. */
  #sendTold(link: KeeperLink, told: readonly Control[]): void {
    for (const message of told) link.send(message);
    link.send({ type: 'PING', alias: 0, token: this.#toldInAll });
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#connecting?.catch(() => undefined);
    this.#link?.close();
  }

  async #connect(): Promise<KeeperLink> {
    const link = await ensureKeeper(this.#home, {
      ...this.#options,
      onForward: (alias, frame) => this.#listeners.get(alias)?.forward(frame),
      onMessage: (message) => this.#message(message),
      onRoomy: () => this.#roomy(),
    });
    this.#link = link;
    // A keeper from before an upgrade keeps its commands, and makes room for ours when they have ended.
    if (link.version !== VERSION) link.send({ type: 'ASK', alias: 0, opId: this.#nextOp++, what: 'retire' });
    // One that was started by an agent before this one gives commands what our starter had.
    link.send({ type: 'ASK', alias: 0, opId: this.#nextOp++, what: 'starter', body: JSON.stringify(starter()) });
    // It obeys this agent's limits from now on.
    const limits = JSON.stringify(this.#options.limits ?? {});
    link.send({ type: 'ASK', alias: 0, opId: this.#nextOp++, what: 'limits', body: limits });
    void link.closed.then((error) => this.#lost(link, error));
    if (this.#told.length) this.#sendTold(link, this.#told);
    // At once: a listener that enters after this speaks to this link already.
    for (const listener of this.#listeners.values()) listener.keeperBack();
    for (const question of this.#questions.values()) {
      question.asked++;
      link.send(question.message);
    }
    return link;
  }

  #roomy(): void {
    const waiting = [...this.#waitForRoom];
    this.#waitForRoom.clear();
    for (const then of waiting) then();
  }

  #message(message: Message): void {
    if (message.alias) this.#listeners.get(message.alias)?.fromKeeper(message);
    else if (message.type === 'PONG') this.#told.splice(0, this.#told.length - (this.#toldInAll - message.token));
    else if ('opId' in message) this.#answer(message);
  }

  #answer(message: Extract<Control, { opId: number }>): void {
    const question = this.#questions.get(message.opId);
    if (!question) return;
    this.#questions.delete(message.opId);
    question.resolve(message);
  }

  #lost(link: KeeperLink, error: Error | undefined): void {
    if (link !== this.#link) return;
    this.#link = undefined;
    const why = error ? ` (${error.message})` : '';
    const reason = `the keeper process on the host has gone${why}`;
    this.#rejectQuestions(reason, ({ asked }) => asked >= MOST_ASKED || this.#closed);
    this.#roomy();
    if (this.#closed) return;
    // The next keeper reads the journal: it knows what became of each run, and finds what still lives of it.
    const now = performance.now();
    const pause = now - this.#lostAt < CRASH_PAUSE ? CRASH_PAUSE : 0;
    this.#lostAt = now;
    new Promise((resolve) => setTimeout(resolve, pause))
      .then(() => this.open())
      .catch((failure: Error) => {
        const listeners = [...this.#listeners.values()];
        this.#listeners.clear();
        this.#rejectQuestions(`${reason} and cannot be started again (${failure.message})`);
        const hint = 'the command may still be running there';
        for (const listener of listeners)
          listener.keeperLost(`${reason} and cannot be started again (${failure.message}); ${hint}`);
      });
  }

  #rejectQuestions(reason: string, which: (question: Question) => boolean = () => true): void {
    for (const [opId, question] of this.#questions) {
      if (!which(question)) continue;
      this.#questions.delete(opId);
      question.reject(new SendallError('LOST', reason));
    }
  }
}
