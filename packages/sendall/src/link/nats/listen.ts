/**
 * The agent's side of links through the broker: answers knocks and questions for its card, and takes in links.
 *
 * Any client of the broker can send us anything. Callers that we know come first; strangers share a small pool, enough
 * for pairing. We answer inboxes only, with one small message each, and only so many a second.
 */
import type { Msg } from '@nats-io/transport-node';
import { createSecureContext, TLSSocket, type SecureContext } from 'node:tls';
import { RefusedError, SendallError, UnreachableError } from '../../errors.js';
import { FairShare } from '../../fair-share.js';
import { completeEngine, type Engine } from '../../keys/engine.js';
import type { Identity } from '../../keys/identity.js';
import { idOfPin } from '../../text/nats-address.js';
import { acceptPeer, serverTls, type Peer } from '../tls.js';
import { Allowance } from './allowance.js';
import { Broker } from './broker.js';
import { writeCard, type Card } from './card.js';
import { Carrier } from './carrier.js';
import { knockAnswer, MAX_SKEW, readKnock } from './knock.js';
import { isInbox, linkIn } from './subjects.js';
import { MAX_LINKS } from './window-pool.js';

/** Handshakes of one known key that others cannot take from it. */
const FEW_HANDSHAKES = 2;
/** Signatures that are checked of one known key: others of the broker's clients may write knocks in its name. */
const CHECKS = { perSecond: 200, burst: 500 };
/** Names of links that were knocked for: a repeated knock makes no second link. */
const MOST_REMEMBERED = 20_000;
/** The longest pause between two attempts to reach the broker. */
const LONGEST_PAUSE = 30_000;
/** Milliseconds for links to end in order. */
const FAREWELL = 1000;
/** A question for cards may be answered within this many milliseconds. */
const LONGEST_WAIT = 60_000;
const LONGEST_QUESTION = 256;

export interface NatsListenOptions {
  readonly engine: Engine;
  readonly identity: Identity;
  /** Milliseconds for the TLS handshake. */
  readonly handshakeTimeout: number;
  /** Links at once. When there are as many, one of a stranger goes for a newcomer, else one that is not yet shaken on. */
  readonly maxLinks: number;
  /** Links of strangers at once; the oldest goes for a newcomer. */
  readonly maxStrangers: number;
  /** TLS handshakes of known callers at once. No key gets more than it leaves to others. */
  readonly maxHandshakes: number;
  /** True for the keys of callers that may run commands here. */
  isKnown(spki: Uint8Array): boolean;
  card(): Promise<Omit<Card, 'pin' | 'serial'>>;
  /** A link whose handshake is done. `established`: it is clear who calls. */
  accept(socket: TLSSocket, peer: Peer, established: () => void): void;
}

export class NatsListener {
  /** The address, complete. */
  readonly url: string;
  readonly #options: NatsListenOptions;
  readonly #id: string;
  readonly #context: SecureContext;
  readonly #serial = Date.now();
  readonly #carriers = new Map<string, Carrier>();
  /** Links of strangers, the oldest first, each with what makes its place free. */
  readonly #strangers = new Map<Carrier, () => void>();
  readonly #knocked = new Map<string, number>();
  /** The same for links of known callers whose handshakes are not done. */
  readonly #shaking = new Map<Carrier, () => void>();
  readonly #handshakes: FairShare;
  /** By known key. There are no more than callers.json had since the start. */
  readonly #keys = new Map<string, { readonly checks: Allowance; readonly handshakes: FairShare }>();
  #broker: Broker | undefined;
  #closed = false;
  #trouble: string | undefined;
  #wake: (() => void) | undefined;
  readonly #unknown = new Allowance(5, 16);
  readonly #lost = new Allowance(50, 100);
  readonly #cards = new Allowance(5, 20);

  private constructor(options: NatsListenOptions) {
    const engine = completeEngine(options.engine);
    this.#options = { ...options, engine };
    this.url = engine.url;
    this.#id = idOfPin(options.identity.fingerprint);
    this.#handshakes = new FairShare(options.maxHandshakes);
    this.#context = createSecureContext(serverTls(options.identity));
  }

  /**
   * Connects, and stays connected. A broker that does not answer now is tried again and again.
   * @throws RefusedError or UsageError when trying again would not help: wrong credentials, a server that cannot be used.
   */
  static async open(options: NatsListenOptions): Promise<NatsListener> {
    const listener = new NatsListener(options);
    try {
      await listener.#connect();
    } catch (error) {
      if (!(error instanceof UnreachableError)) throw error;
      listener.#trouble = error.message;
    }
    void listener.#stay();
    return listener;
  }

  /** Why callers cannot reach us through the broker now; undefined while they can. */
  get trouble(): string | undefined {
    if (this.#broker && !this.#broker.connected) return 'the connection to the broker was lost';
    return this.#trouble;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#wake?.();
    const ended = [...this.#carriers.values()].map(
      (carrier) => new Promise((resolve) => carrier.once('close', resolve)),
    );
    await Promise.race([Promise.all(ended), this.#pause(FAREWELL)]);
    this.#wake?.();
    await this.#broker?.close();
  }

  async #connect(): Promise<void> {
    const broker = await Broker.connect(this.#options.engine, { id: this.#id });
    try {
      await this.#listen(broker);
    } catch (error) {
      await broker.close();
      throw error;
    }
  }

  async #listen(broker: Broker): Promise<void> {
    broker.hold(this);
    const { subjects } = broker;
    broker.addWatcher({ denied: (subject) => (this.#trouble = `the broker forbids us the subject ${subject}`) });
    broker.subscribe(subjects.knock(this.#id), (message) => this.#knock(broker, message));
    broker.subscribe(subjects.link(this.#id, '*', 'u'), (message) => this.#message(broker, message));
    broker.subscribe(subjects.discovery, (message) => this.#asked(broker, message));
    await broker.roundTrip();
    if (this.#closed) return await broker.close();
    this.#broker = broker;
    this.#trouble = undefined;
  }

  /** Connects again after a loss that the library gave up on. */
  async #stay(): Promise<void> {
    for (let tries = 0; !this.#closed; tries++) {
      if (this.#broker) {
        const { message } = await this.#broker.closed;
        this.#broker = undefined;
        this.#trouble = message;
        tries = 0;
      }
      await this.#pause(Math.random() * Math.min(LONGEST_PAUSE, 500 * 2 ** tries));
      if (this.#closed) return;
      try {
        await this.#connect();
      } catch (error) {
        this.#trouble = (error as Error).message;
      }
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  // -- knocks

  #knock(broker: Broker, { data, reply }: Msg): void {
    if (!reply || !isInbox(reply)) return;
    const knock = readKnock(data);
    const key = this.#options.isKnown(knock.spki) ? this.#keyOf(knock.fingerprint) : undefined;
    if (!(key?.checks ?? this.#unknown).take()) return;
    const answer = (refusal?: string): void => broker.publish(reply, knockAnswer(refusal));
    // Our answer may have been lost. A knock of long ago is a replay.
    if (this.#carriers.has(knock.link)) return answer();
    if (this.#knocked.has(knock.link)) return;
    try {
      knock.verify(this.#id);
    } catch (error) {
      if (error instanceof RefusedError) answer(error.message);
      return;
    }
    this.#remember(knock.link);
    if (key && !key.handshakes.take()) return answer('it has too many handshakes to do: try again');
    if (this.#carriers.size >= Math.min(this.#options.maxLinks, MAX_LINKS) && !this.#displace(key !== undefined)) {
      key?.handshakes.give();
      return answer(`it has ${this.#carriers.size} links already`);
    }
    this.#begin(broker, knock.link, knock.fingerprint, key?.handshakes);
    answer();
  }

  #keyOf(fingerprint: string): { readonly checks: Allowance; readonly handshakes: FairShare } {
    let key = this.#keys.get(fingerprint);
    if (!key) {
      const checks = new Allowance(CHECKS.perSecond, CHECKS.burst);
      key = { checks, handshakes: new FairShare(this.#handshakes, FEW_HANDSHAKES) };
      this.#keys.set(fingerprint, key);
    }
    return key;
  }

  /** Ends a link for a newcomer: one of a stranger; for a known caller also one whose handshake is not done. */
  #displace(known: boolean): boolean {
    const [oldest] = this.#strangers.size || !known ? this.#strangers : this.#shaking;
    if (!oldest) return false;
    const [carrier, free] = oldest;
    free();
    carrier.destroy(new UnreachableError('another caller came: try again'));
    return true;
  }

  #remember(link: string): void {
    const now = Date.now();
    this.#knocked.set(link, now);
    for (const [oldest, at] of this.#knocked) {
      if (this.#knocked.size <= MOST_REMEMBERED && now - at < 2 * MAX_SKEW) break;
      this.#knocked.delete(oldest);
    }
  }

  // -- links

  #message(broker: Broker, { subject, data, reply }: Msg): void {
    const link = linkIn(subject);
    if (link === undefined) return;
    const carrier = this.#carriers.get(link);
    if (carrier) carrier.receive(data);
    // The beat of a link from before this agent's start: its caller need not wait for silence.
    else if (reply && isInbox(reply) && this.#lost.take()) broker.publish(reply, knockAnswer('unknown link'));
  }

  /** `handshakes`: where its handshake counts; undefined for a stranger. */
  #begin(broker: Broker, link: string, fingerprint: string, handshakes: FairShare | undefined): void {
    const { handshakeTimeout, maxStrangers } = this.#options;
    if (!handshakes && this.#strangers.size >= maxStrangers) this.#displace(false);
    const out = broker.subjects.link(this.#id, link, 'd');
    const carrier = new Carrier({ broker, link, out, peer: 'the caller' }).start();
    this.#carriers.set(link, carrier);
    const shaken = (): void => {
      clearTimeout(timer);
      if (this.#shaking.delete(carrier)) handshakes!.give();
    };
    const free = (): void => {
      shaken();
      this.#carriers.delete(link);
      this.#strangers.delete(carrier);
    };
    (handshakes ? this.#shaking : this.#strangers).set(carrier, free);
    const socket = new TLSSocket(carrier, {
      ...serverTls(this.#options.identity),
      secureContext: this.#context,
      isServer: true,
    });
    const timer = setTimeout(
      () => carrier.destroy(new UnreachableError('no TLS handshake came in time')),
      handshakeTimeout,
    );
    // Never removed: an error before the link listens must not end the agent.
    socket.on('error', () => carrier.destroy());
    carrier.on('error', () => socket.destroy());
    socket.once('close', () => carrier.destroy());
    carrier.once('close', () => {
      free();
      socket.destroy();
    });
    socket.once('secure', () => {
      shaken();
      try {
        const peer = acceptPeer(socket);
        if (peer.fingerprint !== fingerprint) throw new RefusedError('the key in TLS is not the one that knocked');
        this.#options.accept(socket, peer, () => this.#strangers.delete(carrier));
      } catch (error) {
        carrier.destroy(error instanceof SendallError ? error : undefined);
      }
    });
  }

  // -- cards

  #asked(broker: Broker, { data, reply }: Msg): void {
    if (this.#closed) return;
    if (!reply || !isInbox(reply) || data.length > LONGEST_QUESTION || !this.#cards.take()) return;
    const { question, waitMs } = JSON.parse(Buffer.from(data).toString()) as Record<string, unknown>;
    if (typeof question !== 'string' || typeof waitMs !== 'number') return;
    void this.#options.card().then(
      (card) => {
        const bytes = writeCard(this.#options.identity, question, { ...card, serial: this.#serial });
        // All hosts of a fleet answer the same question: not at the same moment.
        const delay = (Math.random() * Math.min(Math.max(0, waitMs), LONGEST_WAIT)) / 3;
        setTimeout(() => broker.publish(reply, bytes), delay).unref();
      },
      () => undefined,
    );
  }
}
