/**
 * Warm links: one process of a user's holds links to hosts, so that a command pays no handshake. Callers come over a
 * private Unix socket and speak to it as to an agent; it passes their messages on, under run aliases and operation
 * numbers of its own, because many callers share one link. It keeps nothing: when it is killed, callers dial anew and
 * their runs go on at the next byte.
 */
import { statSync } from 'node:fs';
import { serve, type Connection } from '@sendall/socketserver';
import { ProtocolError, RefusedError, SendallError, UnreachableError, UsageError } from '../errors.js';
import { ensurePrivateFolder, type Home } from '../home.js';
import { MAX_FRAME, type Control, type Message, type MessageNamed } from '../protocol/messages.js';
import { bindsAlias } from '../protocol/codec.js';
import { VERSION } from '../protocol/version.js';
import { dial } from './dial.js';
import { greet, type Greeting } from './handshake.js';
import { loadIdentity } from './identity.js';
import { Link } from './link.js';
import type { Wanted } from './relay-client.js';

export interface RelayOptions {
  /** Milliseconds without callers after which it ends. Default 300000. */
  idleExit?: number;
  /** Milliseconds for dialling a host. Default 5000. */
  timeout?: number;
}

const OPTION_NAMES: Record<keyof RelayOptions, true> = { idleExit: true, timeout: true };
const PING_INTERVAL = 15_000;
const PING_DEADLINE = 45_000;

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
  constructor(home: Home, { idleExit = 300_000, timeout = 5000 }: RelayOptions) {
    this.#home = home;
    this.#idleExit = idleExit;
    this.#timeout = timeout;
    this.stopped = new Promise((resolve) => (this.#stopped = resolve));
  }

  /** @internal */
  async open(): Promise<void> {
    ensurePrivateFolder(this.#home.runtime);
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
    const greeting = await greet(link, { method: 'pin', name: 'links', timeoutMs: this.#timeout });
    return new Trunk(url, link, greeting, gone);
  }

  async #accept(connection: Connection): Promise<void> {
    clearTimeout(this.#idle);
    const caller = new Caller(new Link(connection.socket), this);
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
  #nextAlias = 1;
  #nextOp = 1;

  constructor(url: string, link: Link, greeting: Greeting, gone: () => void) {
    this.#url = url;
    this.link = link;
    this.#greeting = greeting;
    link.handOver({
      relay: (alias, frame) => this.#toCaller(alias, frame),
      message: (message) => this.#message(message),
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
    const { hello, auth } = this.#greeting;
    return { hello: { ...hello, clockMs: Math.round(hello.clockMs + performance.now() - this.#greetedAt) }, auth };
  }

  join(caller: Caller): void {
    this.#callers.add(caller);
  }

  /** Whoever leaves lets go of its runs: they go on. */
  leave(caller: Caller): void {
    this.#callers.delete(caller);
    for (const [alias, run] of this.#runs)
      if (run.caller === caller) {
        this.#runs.delete(alias);
        this.link.send({ type: 'DETACH', alias });
      }
    for (const [opId, question] of this.#questions) if (question.caller === caller) this.#questions.delete(opId);
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

  ask(caller: Caller, message: Extract<Control, { opId: number }>): void {
    const opId = this.#nextOp++;
    this.#questions.set(opId, { caller, opId: message.opId });
    this.link.send({ ...message, opId } as Control);
  }

  #toCaller(alias: number, frame: Buffer): boolean {
    const run = this.#runs.get(alias);
    // One that was let go of may still be spoken of.
    run?.caller.link.relay(run.alias, frame);
    return true;
  }

  #message(message: Message): void {
    if ('opId' in message) {
      const question = this.#questions.get(message.opId);
      if (!question) return;
      if (message.type !== 'RUNS' || message.last) this.#questions.delete(message.opId);
      question.caller.link.send({ ...message, opId: question.opId } as Control);
    } else if (message.type === 'LINK_ERROR') this.link.destroy(new RefusedError(message.message));
    else for (const caller of this.#callers) caller.link.send({ ...message, alias: 0 } as Control);
  }
}

/** A caller's connection to us. */
class Caller {
  readonly link: Link;
  readonly closed: Promise<void>;
  readonly #relay: Relay;
  readonly #aliases = new Map<number, number>();
  #trunk: Trunk | undefined;
  #admitted = false;
  #turnedAway = false;

  constructor(link: Link, relay: Relay) {
    this.link = link;
    this.#relay = relay;
    this.closed = new Promise((resolve) => {
      link.start({
        relay: (alias, frame) => this.#toHost(alias, frame),
        message: (message) => this.#message(message),
        closed: () => {
          this.#trunk?.leave(this);
          resolve();
        },
      });
    });
  }

  #toHost(alias: number, frame: Buffer): boolean {
    if (!this.#trunk || !this.#admitted || bindsAlias(frame)) return false;
    const own = this.#aliases.get(alias);
    if (own !== undefined) this.#trunk.link.relay(own, frame);
    return true;
  }

  #message(message: Message): void {
    if (!this.#admitted) this.#greet(message);
    else if (!this.#trunk) this.#onOwn(message);
    else if (message.type === 'OPEN' || message.type === 'ATTACH') {
      const alias = this.#trunk.board(this, message.alias);
      this.#aliases.set(message.alias, alias);
      this.#trunk.link.send(message, alias);
    } else if (message.type === 'DETACH') this.#detach(this.#trunk, message);
    else if ('opId' in message) this.#trunk.ask(this, message);
  }

  #detach(trunk: Trunk, message: MessageNamed<'DETACH'>): void {
    const alias = this.#aliases.get(message.alias);
    if (alias === undefined) return;
    trunk.link.send(message, alias);
    this.#aliases.delete(message.alias);
    trunk.forget(alias);
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
      const { hello, auth } = trunk?.greeting ?? ownGreeting();
      if (this.link.closed) return;
      this.#trunk = trunk;
      trunk?.join(this);
      this.#admitted = true;
      this.link.trust();
      this.link.send(hello);
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
  return {
    hello: {
      type: 'HELLO_OK',
      alias: 0,
      proto: 1,
      name: 'links',
      bootId: '',
      features: [],
      maxFrame: MAX_FRAME,
      maxRuns: 0,
      window: 0,
      clockMs: Date.now(),
      version: VERSION,
    },
    auth: { type: 'AUTH_OK', alias: 0, principal: 'owner', roles: ['owner'], policyRev: 0, epoch: new Uint8Array(16) },
  };
}
