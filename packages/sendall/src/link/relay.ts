/**
 * Warm links: one process of a user's holds links to hosts, so that a command pays no handshake. Callers come over a
 * private Unix socket and speak to it as to an agent; it passes their messages on, under run aliases and operation
 * numbers of its own, because many callers share one link. It keeps nothing: when it is killed, callers dial anew and
 * their runs go on at the next byte.
 */
import { statSync } from 'node:fs';
import { dirname } from 'node:path';
import { readInto, serve, type Connection } from '@sendall/socketserver';
import { ProtocolError, RefusedError, SendallError, UnreachableError, UsageError } from '../errors.js';
import { ensurePrivateFolder, type Home } from '../home.js';
import { PROTOCOL_VERSION, type Control, type Message, type MessageNamed } from '../protocol/messages.js';
import { bindsAlias, decode, isRefusal } from '../protocol/codec.js';
import { VERSION } from '../protocol/version.js';
import { dial } from './dial.js';
import { durationOption, type Duration } from './duration.js';
import { greet, SHARED, type Greeting } from './handshake.js';
import { loadIdentity } from './identity.js';
import { Link } from './link.js';
import { Share } from './share.js';
import type { Wanted } from './relay-client.js';

export interface RelayOptions {
  /** Milliseconds without callers after which it ends. Default 300000. */
  idleExit?: Duration;
  /** Milliseconds for dialling a host. Default 5000. */
  timeout?: Duration;
}

const OPTION_NAMES: Record<keyof RelayOptions, true> = { idleExit: true, timeout: true };
const PING_INTERVAL = 15_000;
const PING_DEADLINE = 45_000;
/** Questions that one link carries at once; an agent takes 64 of one link. */
const MOST_ASKED = 48;
/** Questions that one caller may have open; those that the link does not carry yet wait here. */
const MOST_OPEN = 64;
/** Runs that each caller may hold even where others hold very many. */
const FEW_RUNS = 4;
/** Runs of all callers of one link where the host does not say how many it takes. */
const MOST_RUNS = 8192;

/** What the holder says of itself. */
export interface RelayStatus {
  readonly pid: number;
  readonly version: string;
  readonly links: readonly { readonly url: string; readonly callers: number; readonly rttMs: number | undefined }[];
}

/** Starts holding links for the user of `home`. Throws UsageError when another process does already. */
export async function openRelay(home: Home, options: RelayOptions = {}): Promise<Relay> {
  for (const name of Object.keys(options))
    if (!(name in OPTION_NAMES)) throw new UsageError(`there is no relay option "${name}"`);
  const relay = new Relay(home, options);
  await relay.open();
  return relay;
}

export class Relay {
  /** Resolves when it has ended: asked to, or idle. */
  readonly stopped: Promise<void>;
  readonly #home: Home;
  readonly #idleExit: number;
  readonly #timeout: number;
  readonly #trunks = new Map<string, Promise<Trunk>>();
  readonly #callers = new Set<Caller>();
  #server: Awaited<ReturnType<typeof serve>> | undefined;
  #idle: NodeJS.Timeout | undefined;
  #stopped!: () => void;

  /** @internal Use openRelay. */
  constructor(home: Home, { idleExit, timeout }: RelayOptions) {
    this.#home = home;
    this.#idleExit = durationOption('idleExit', idleExit) ?? 300_000;
    this.#timeout = durationOption('timeout', timeout) ?? 5000;
    this.stopped = new Promise((resolve) => (this.#stopped = resolve));
  }

  /** @internal */
  async open(): Promise<void> {
    ensurePrivateFolder(dirname(this.#home.linksSocket));
    const path = this.#home.linksSocket;
    const accept = async (connection: Connection): Promise<void> => await this.#accept(connection);
    try {
      this.#server = await serve({ path, mode: 0o600, stale: 'replace' }, accept, {
        readTimeout: 0,
        writeTimeout: 0,
        drainTimeout: 1000,
      });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
      throw new UsageError(`another process holds warm links on ${path}`, { cause: error });
    }
    this.#rest();
  }

  /** Lets go of every link. Callers dial anew by themselves. */
  async close(): Promise<void> {
    clearTimeout(this.#idle);
    for (const trunk of this.#trunks.values()) void trunk.then((each) => each.link.close()).catch(() => undefined);
    for (const caller of this.#callers) caller.link.close();
    await this.#server?.shutdown({ timeout: 1000 });
    this.#stopped();
  }

  async status(): Promise<RelayStatus> {
    const settled = await Promise.allSettled(this.#trunks.values());
    const links = settled.flatMap((each) => (each.status === 'fulfilled' ? [each.value.status] : []));
    return { pid: process.pid, version: VERSION, links };
  }

  /** A link to a host; every caller that wants the same host, key and own key gets the same one. */
  async trunk(wanted: Wanted): Promise<Trunk> {
    const { identityFile } = this.#home;
    const own = statSync(identityFile, { throwIfNoEntry: false })?.ino ?? 0;
    const key = `${wanted.url} ${wanted.pin} ${own}`;
    const known = this.#trunks.get(key);
    if (known) return await known;
    const fresh = this.#dial(wanted, () => this.#trunks.delete(key));
    this.#trunks.set(key, fresh);
    try {
      return await fresh;
    } catch (error) {
      this.#trunks.delete(key);
      throw error;
    }
  }

  async #dial({ url, pin }: Wanted, gone: () => void): Promise<Trunk> {
    const identity = async () => await loadIdentity(this.#home, { create: true });
    const link = await dial(url, { pin, identity, timeoutMs: this.#timeout });
    const timeoutMs = this.#timeout;
    const greeting = await greet(link, { method: 'pin', name: 'links', timeoutMs, features: [SHARED] });
    return new Trunk(url, link, greeting, gone);
  }

  async #accept(connection: Connection): Promise<void> {
    clearTimeout(this.#idle);
    const caller = new Caller(new Link(connection.socket, readInto), this);
    this.#callers.add(caller);
    await caller.closed;
    this.#callers.delete(caller);
    if (!this.#callers.size) this.#rest();
  }

  #rest(): void {
    clearTimeout(this.#idle);
    this.#idle = setTimeout(() => void this.close(), this.#idleExit);
  }
}

/** One link to a host, and who has which part of it. */
class Trunk {
  readonly link: Link;
  readonly #url: string;
  readonly #greeting: Greeting;
  readonly #greetedAt = performance.now();
  readonly #runs = new Map<number, { caller: Caller; alias: number }>();
  readonly #questions = new Map<number, { caller: Caller; opId: number }>();
  readonly #callers = new Set<Caller>();
  /** Callers who wait until they may ask. */
  readonly #askers = new Set<Caller>();
  /** Callers who are not read until the host has taken what they sent. */
  readonly #waiting = new Set<Caller>();
  /** Runs that the link can hold. */
  readonly #room: Share;
  #nextAlias = 1;
  #nextOp = 1;

  constructor(url: string, link: Link, greeting: Greeting, gone: () => void) {
    this.#url = url;
    this.link = link;
    this.#greeting = greeting;
    this.#room = new Share(greeting.auth.maxRuns ?? MOST_RUNS);
    link.handOver({
      relay: (alias, frame) => this.#toCaller(alias, frame),
      message: (message) => this.#message(message),
      roomy: () => this.#roomy(),
      closed: () => {
        gone();
        for (const caller of this.#callers) caller.link.close();
      },
    });
    link.keepAlive(PING_INTERVAL, PING_DEADLINE);
  }

  get status(): RelayStatus['links'][number] {
    return { url: this.#url, callers: this.#callers.size, rttMs: this.link.rttMs };
  }

  /** The host's greeting as it would be now. */
  get greeting(): Greeting {
    const { auth } = this.#greeting;
    const clockMs = Math.round(this.#greeting.clockMs + performance.now() - this.#greetedAt);
    return { auth: { ...auth, clockMs }, clockMs };
  }

  /** Returns the caller's share of the runs that the link can hold. */
  join(caller: Caller): Share {
    this.#callers.add(caller);
    return new Share(this.#room, FEW_RUNS);
  }

  /** Whoever leaves lets go of its runs: they go on. */
  leave(caller: Caller): void {
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
  board(caller: Caller, alias: number): number {
    const own = this.#nextAlias++;
    this.#runs.set(own, { caller, alias });
    return own;
  }

  forget(alias: number): void {
    this.#runs.delete(alias);
  }

  /** A caller sent something for the host. While too much waits for that, it is not read. */
  pace(caller: Caller): void {
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
  ask(caller: Caller): void {
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
    else run.caller.link.relay(run.alias, frame);
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

type Question = MessageNamed<'LIST'> | MessageNamed<'FORGET'> | MessageNamed<'ASK'>;
type Answer = MessageNamed<'RUNS'> | MessageNamed<'OP_OK'> | MessageNamed<'ANSWER'>;
type Refusal = MessageNamed<'REFUSED'> | MessageNamed<'ATTACH_REFUSED'>;

/** A caller's connection to us. What is wrong with a frame of it ends this connection, and reaches no host. */
class Caller {
  readonly link: Link;
  readonly closed: Promise<void>;
  readonly #relay: Relay;
  readonly #aliases = new Map<number, number>();
  /** Lists that are told page by page, by their numbers. */
  readonly #lists = new Map<number, MessageNamed<'LIST'>>();
  readonly #questions: Question[] = [];
  #open = 0;
  #trunk: Trunk | undefined;
  #share: Share | undefined;
  #lastAlias = 0;
  #admitted = false;
  #turnedAway = false;

  constructor(link: Link, relay: Relay) {
    this.link = link;
    this.#relay = relay;
    this.closed = new Promise((resolve) => {
      link.start({
        relay: (alias, frame) => this.#toHost(alias, frame),
        message: (message) => this.#message(message),
        roomy: () => {
          if (this.#questions.length) this.#trunk?.ask(this);
        },
        closed: () => {
          this.#questions.length = 0;
          this.#share?.give(this.#share.held);
          this.#trunk?.leave(this);
          resolve();
        },
      });
    });
  }

  #toHost(alias: number, frame: Buffer): boolean {
    if (!this.#trunk || !this.#admitted || bindsAlias(frame)) return false;
    // One bad frame would end the link for the others.
    decode(frame);
    const own = this.#aliases.get(alias);
    if (own !== undefined) this.#trunk.link.relay(own, frame, 'lent');
    else if (alias > this.#lastAlias) throw new ProtocolError('a message for a run that was not opened');
    this.#trunk.pace(this);
    return true;
  }

  #message(message: Message): void {
    if (!this.#admitted) this.#greet(message);
    else if (!this.#trunk) this.#onOwn(message);
    else if (message.type === 'OPEN' || message.type === 'ATTACH') this.#board(this.#trunk, message);
    else if (message.type === 'DETACH') this.#detach(this.#trunk, message);
    else if (message.type === 'LIST' || message.type === 'FORGET' || message.type === 'ASK')
      this.#ask(this.#trunk, message);
    else if (message.type === 'LINK_ERROR') this.link.destroy(new RefusedError(message.message));
    else if (message.type !== 'GOAWAY') throw new ProtocolError(`${message.type} does not belong to the link`);
  }

  #board(trunk: Trunk, message: MessageNamed<'OPEN'> | MessageNamed<'ATTACH'>): void {
    const { alias, runId } = message;
    if (alias <= this.#lastAlias)
      throw new ProtocolError(`alias ${alias} is not above ${this.#lastAlias}, the last one used on this link`);
    this.#lastAlias = alias;
    if (!this.#share?.take()) {
      const text = `${this.#share?.held ?? 0} runs are held through this warm link, and what is left is for others`;
      if (message.type === 'OPEN')
        this.link.send({ type: 'REFUSED', alias, runId, code: 'busy', message: text, retryAfterMs: 1000 });
      else this.link.send({ type: 'ATTACH_REFUSED', alias, runId, code: 'busy', message: text });
      return;
    }
    const own = trunk.board(this, alias);
    this.#aliases.set(alias, own);
    trunk.link.send(message, own);
    trunk.pace(this);
  }

  #detach(trunk: Trunk, message: MessageNamed<'DETACH'>): void {
    const alias = this.#letGo(message.alias);
    if (alias !== undefined) trunk.link.send(message, alias);
  }

  /** An alias leads nowhere from now on. Returns what it was to the host. */
  #letGo(alias: number): number | undefined {
    const own = this.#aliases.get(alias);
    if (own === undefined) return undefined;
    this.#aliases.delete(alias);
    this.#trunk?.forget(own);
    this.#share?.give();
    return own;
  }

  /** The host refuses a run. For what it would have ended a link of this caller's own for, we end this one. */
  refused(alias: number, refusal: Refusal): void {
    this.#letGo(alias);
    if (refusal.code === 'protocol') this.link.fail(new ProtocolError(refusal.message));
    else this.link.send(refusal, alias);
  }

  #ask(trunk: Trunk, message: Question): void {
    const { opId } = message;
    if (this.#open >= MOST_OPEN) {
      const error = `${MOST_OPEN} questions are open already: wait for an answer`;
      this.link.send({ type: 'ANSWER', alias: 0, opId, error });
      return;
    }
    this.#open++;
    this.#questions.push(message);
    trunk.ask(this);
  }

  /** What it wants to know next. It is not asked while this caller does not take the answers that it has. */
  nextQuestion(): Question | undefined {
    if (!this.link.roomy) return undefined;
    const question = this.#questions.shift();
    if (question?.type !== 'LIST' || question.page) return question;
    this.#lists.set(question.opId, question);
    return { ...question, page: true };
  }

  answer(answer: Answer): void {
    const list = this.#lists.get(answer.opId);
    if (answer.type === 'RUNS' && !answer.last && (list || answer.next === undefined)) {
      const { next, ...page } = answer;
      this.link.send(page);
      if (list && next !== undefined) this.#questions.unshift({ ...list, after: next });
      return;
    }
    this.#lists.delete(answer.opId);
    this.#open--;
    this.link.send(answer);
  }

  #greet(message: Message): void {
    if (message.type === 'HELLO') {
      // Another version's caller does without us, and we make room for one of its own.
      if (message.version === VERSION) return;
      this.#turnedAway = true;
      this.link.destroy();
      void this.#relay.close();
    } else if (this.#turnedAway) return;
    else if (message.type === 'AUTH' && message.method === 'relay') void this.#admit(message);
    else throw new ProtocolError(`${message.type} is not what a caller of warm links begins with`);
  }

  async #admit({ proof }: MessageNamed<'AUTH'>): Promise<void> {
    try {
      const trunk = proof && (await this.#relay.trunk(wantedOf(proof)));
      const { auth } = trunk?.greeting ?? ownGreeting();
      if (this.link.closed) return;
      this.#trunk = trunk;
      this.#share = trunk?.join(this);
      this.#admitted = true;
      this.link.trust();
      this.link.send({ type: 'HELLO_OK', alias: 0, proto: PROTOCOL_VERSION });
      this.link.send(auth);
    } catch (error) {
      this.link.fail(error instanceof SendallError ? error : new UnreachableError((error as Error).message));
    }
  }

  /** Questions to ourselves. */
  #onOwn(message: Message): void {
    if (message.type !== 'ASK') throw new ProtocolError(`${message.type} is for a host, and none was named`);
    const answer = (body: unknown) =>
      this.link.send({ type: 'ANSWER', alias: 0, opId: message.opId, body: JSON.stringify(body) });
    if (message.what === 'stop') {
      answer({ pid: process.pid });
      setImmediate(() => void this.#relay.close());
    } else void this.#relay.status().then(answer);
  }
}

function wantedOf(proof: Uint8Array): Wanted {
  const { url, pin } = JSON.parse(Buffer.from(proof).toString()) as Partial<Wanted>;
  if (typeof url !== 'string' || typeof pin !== 'string') throw new ProtocolError('a warm link needs a url and a pin');
  return { url, pin };
}

function ownGreeting(): Greeting {
  const words = { principal: 'owner', roles: ['owner'], policyRev: 0, epoch: new Uint8Array(16), features: [] };
  return { auth: { type: 'AUTH_OK', alias: 0, ...words, name: 'links', version: VERSION }, clockMs: Date.now() };
}
