/**
 * One connection to the broker, shared by all links of this process. It survives the loss of a server: the library
 * connects to the next one, and links that lost no message go on.
 */
import type { Msg, NatsConnection, Subscription } from '@nats-io/transport-node';
import { UnreachableError, type SendallError } from '../../errors.js';
import type { Engine } from '../../keys/engine.js';
import { formatNatsUrl, parseNatsUrl } from '../../text/nats-address.js';
import { printable } from '../../text/printable.js';
import { after } from '../../timer.js';
import { abortable } from './abortable.js';
import { checkServer, connectTo, MIN_PAYLOAD, type Outage } from './connecting.js';
import { newInbox, Subjects } from './subjects.js';
import { MAX_LINKS, WindowPool } from './window-pool.js';

/** Bytes after which the server is asked whether it has read them. */
const FLUSH_EVERY = 1024 * 1024;
/** Bytes that the server has not read yet, above which links wait. */
const MOST_UNREAD = 8 * 1024 * 1024;
/** Milliseconds between two checks that the server still answers. */
const PING_EVERY = 20_000;
/** Milliseconds for the last messages of a connection: a server may be gone without a word. */
const FAREWELL = 1000;
/** Milliseconds for a message to the server and back. */
const ROUND_TRIP = 5000;
/** Milliseconds that a connection without links stays open for the next one. */
const LINGER = 1000;

/** A link's part that the connection speaks to. */
export interface BrokerLink {
  /** Nothing listened to a beat. */
  noReceiver(): void;
  /** The connection can take more. */
  roomy(): void;
  /** A server is connected again; messages may have been lost. */
  reconnected(): void;
  destroy(error: Error): unknown;
}

/** Learns of the connection's troubles. */
export interface BrokerWatcher {
  /** The server refuses a subject to us. */
  denied(subject: string): void;
}

export interface BrokerOptions {
  /** Our id in the subjects: see idOfPin. */
  readonly id: string;
  /**
   * Milliseconds for the first connection.
   * @default 5000
   */
  readonly timeoutMs?: number | undefined;
}

/** The library's insides that have no public name: without them, an idle connection would keep a process alive. */
interface Insides {
  readonly protocol?: {
    readonly transport?: { readonly socket?: { ref(): void; unref(): void } };
    readonly heartbeats?: { cancel(): void };
  };
}

export class Broker {
  readonly url: string;
  readonly subjects: Subjects;
  readonly windows = new WindowPool();
  readonly inbox: string;
  /** Resolves when the connection is over for good. */
  readonly closed: Promise<SendallError>;
  readonly #nats: NatsConnection;
  readonly #outage: Outage;
  readonly #carriers = new Map<string, BrokerLink>();
  readonly #names = new Map<BrokerLink, string>();
  readonly #watchers = new Set<BrokerWatcher>();
  readonly #answers = new Map<string, (message: Msg) => void>();
  readonly #holders = new Set<unknown>();
  #up = true;
  #closing = false;
  #sent = 0;
  #asked = 0;
  #read = 0;
  #pinging = false;
  #pings: NodeJS.Timeout | undefined;
  #linger: NodeJS.Timeout | undefined;
  #closedWith!: (error: SendallError) => void;

  private constructor(engine: Engine, nats: NatsConnection, id: string, outage: Outage) {
    this.#outage = outage;
    const address = parseNatsUrl(engine.url);
    this.url = formatNatsUrl(address);
    this.subjects = new Subjects(address.fleet);
    this.inbox = newInbox(id);
    this.#nats = nats;
    this.closed = new Promise((resolve) => (this.#closedWith = resolve));
    this.subscribe(`${this.inbox}.*`, (message) => this.#answer(message));
    this.#pings = setInterval(() => this.#ping(), PING_EVERY).unref();
    this.#settle();
    void this.#watch();
    void nats.closed().then((error) => this.#over(error ?? undefined));
  }

  /**
   * Connects to one of the servers.
   * @throws UnreachableError when none answers in time.
   * @throws RefusedError when the servers do not let us in, are too old or allow too small messages.
   * @throws UsageError when a file of credentials is missing or wrong.
   */
  static async connect(engine: Engine, { id, timeoutMs = 5000 }: BrokerOptions): Promise<Broker> {
    const { nats, outage } = await connectTo(engine, timeoutMs);
    return new Broker(engine, nats, id, outage);
  }

  /** False while no server is connected; what is published then is lost. */
  get connected(): boolean {
    return this.#up;
  }

  /** True while links may send. */
  get roomy(): boolean {
    return this.#up && this.#sent - this.#read < MOST_UNREAD;
  }

  get hasRoom(): boolean {
    return !this.#closing && this.#names.size < MAX_LINKS;
  }

  /** Most bytes of one message. */
  get maxMessage(): number {
    return this.#nats.info?.max_payload ?? MIN_PAYLOAD;
  }

  /** The server in use: its address and version. */
  get server(): { readonly address: string; readonly version: string; readonly name: string } {
    const { version = '', server_name: name = '' } = this.#nats.info ?? {};
    return { address: this.#nats.getServer(), version, name: printable(name, 64) };
  }

  /**
   * Milliseconds of a message to the server and back.
   * @throws UnreachableError when that takes longer than `timeoutMs`.
   */
  async roundTrip(timeoutMs = ROUND_TRIP): Promise<number> {
    const before = performance.now();
    const late = new AbortController();
    const why = `the broker at ${this.url} did not answer within ${timeoutMs} ms`;
    const cease = after(timeoutMs, () => late.abort(new UnreachableError(why)));
    try {
      await abortable(this.#nats.flush(), late.signal);
    } finally {
      cease();
    }
    return performance.now() - before;
  }

  subscribe(subject: string, take: (message: Msg) => void): Subscription {
    return this.#nats.subscribe(subject, {
      callback(error, message) {
        // Errors of a subscription come as a status too.
        if (error) return;
        try {
          take(message);
        } catch {
          // What is no message of ours came from another client of the broker. The library must not stop reading.
        }
      },
    });
  }

  publish(subject: string, bytes: Uint8Array, reply?: string): void {
    if (!this.#up || this.#closing) return;
    this.#nats.publish(subject, bytes, reply === undefined ? undefined : { reply });
    this.#sent += bytes.length;
    if (this.#sent - this.#asked < FLUSH_EVERY) return;
    const upTo = (this.#asked = this.#sent);
    const read = (): void => {
      const waited = !this.roomy;
      this.#read = Math.max(this.#read, upTo);
      if (waited) for (const carrier of this.#names.keys()) carrier.roomy();
    };
    this.#nats.flush().then(read, read);
  }

  /** Publishes a question; `take` gets the answers, and the server's word that nothing listens, until it is removed. */
  ask(token: string, subject: string, bytes: Uint8Array, take: (message: Msg) => void): () => void {
    this.#answers.set(token, take);
    this.publish(subject, bytes, `${this.inbox}.${token}`);
    return () => this.#answers.delete(token);
  }

  /** @internal A new carrier. Returns the subject for answers to its beats. */
  watch(link: string, carrier: BrokerLink): string {
    clearTimeout(this.#linger);
    this.#carriers.set(link, carrier);
    this.#names.set(carrier, link);
    this.hold(carrier);
    return `${this.inbox}.${link}`;
  }

  /** @internal The carrier is gone. */
  forget(carrier: BrokerLink): void {
    const link = this.#names.get(carrier);
    if (link === undefined) return;
    this.#names.delete(carrier);
    if (this.#carriers.get(link) === carrier) this.#carriers.delete(link);
    this.letGo(carrier);
  }

  /** Keeps the process alive, and the connection open, until `letGo`. */
  hold(holder: unknown): void {
    clearTimeout(this.#linger);
    this.#holders.add(holder);
    if (this.#holders.size === 1) this.#settle();
  }

  letGo(holder: unknown): void {
    this.#holders.delete(holder);
    if (this.#holders.size) return;
    this.#settle();
    clearTimeout(this.#linger);
    if (!this.#names.size) this.#linger = setTimeout(() => void this.close(), LINGER).unref();
  }

  addWatcher(watcher: BrokerWatcher): () => void {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  /** Sends what is queued, then ends the connection. Its links end with it. */
  async close(): Promise<void> {
    if (this.#closing) return;
    this.#closing = true;
    clearTimeout(this.#linger);
    clearInterval(this.#pings);
    if (this.#up) await abortable(this.#nats.flush(), AbortSignal.timeout(FAREWELL)).catch(() => undefined);
    await this.#nats.close();
  }

  #answer(message: Msg): void {
    const token = message.subject.slice(this.inbox.length + 1);
    const take = this.#answers.get(token);
    if (take) take(message);
    // An agent that does not know the link, or nothing at all, received a beat.
    else if (isNoResponders(message)) this.#carriers.get(token)?.noReceiver();
    else this.#carriers.get(token)?.destroy(new UnreachableError('the other side does not know the link any more'));
  }

  async #watch(): Promise<void> {
    for await (const status of this.#nats.status()) {
      if (status.type === 'disconnect') this.#lost();
      else if (status.type === 'reconnect') this.#found();
      else if (status.type === 'error') this.#complained(status.error);
    }
  }

  #lost(): void {
    this.#outage.since = performance.now();
    this.#up = false;
    this.#read = this.#asked = this.#sent;
  }

  #found(): void {
    if (this.#closing) return;
    try {
      checkServer(this.url, this.#nats);
    } catch {
      // This server cannot be used; another one may do.
      void this.#nats.reconnect();
      return;
    }
    this.#up = true;
    this.#settle();
    for (const carrier of this.#names.keys()) carrier.reconnected();
  }

  #complained(error: Error): void {
    const subject = (error as { subject?: unknown }).subject;
    if (typeof subject === 'string') for (const watcher of this.#watchers) watcher.denied(subject);
  }

  #over(cause: Error | undefined): void {
    this.#up = false;
    this.#closing = true;
    clearInterval(this.#pings);
    clearTimeout(this.#linger);
    const error = new UnreachableError('the connection to the broker is closed', cause ? { cause } : {});
    for (const carrier of this.#names.keys()) carrier.destroy(error);
    this.#closedWith(error);
  }

  /** The library's own pings would keep an idle process alive. */
  #ping(): void {
    if (!this.#up) return;
    if (this.#pinging) {
      this.#pinging = false;
      void this.#nats.reconnect();
      return;
    }
    this.#pinging = true;
    const done = (): void => void (this.#pinging = false);
    this.#nats.flush().then(done, done);
  }

  #settle(): void {
    const { transport, heartbeats } = (this.#nats as unknown as Insides).protocol ?? {};
    heartbeats?.cancel();
    if (this.#holders.size) transport?.socket?.ref();
    else transport?.socket?.unref();
  }
}

/** The server's own answer when nothing listens to a subject. */
export const isNoResponders = (message: Msg): boolean => message.data.length === 0 && message.headers?.code === 503;
