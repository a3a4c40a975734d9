/** Dials a host through the broker: a knock, then TLS inside the messages of a new link. */
import type { Msg } from '@nats-io/transport-node';
import type { TLSSocket } from 'node:tls';
import { RefusedError, UnreachableError } from '../../errors.js';
import type { Engine } from '../../keys/engine.js';
import type { Identity } from '../../keys/identity.js';
import { idOfPin, parseNatsHost } from '../../text/nats-address.js';
import { printable } from '../../text/printable.js';
import { dialTls, type Peer } from '../tls.js';
import { abortable } from './abortable.js';
import { isNoResponders, type Broker } from './broker.js';
import { Carrier } from './carrier.js';
import { refusalIn, writeKnock } from './knock.js';
import { brokerFor } from './shared-brokers.js';
import { newLinkName } from './subjects.js';
import { Turns } from '../../turns.js';
import { afterReading } from '../../timer.js';

/** Handshakes at once: after an outage of the broker, many links want to come back. */
const MOST_HANDSHAKES = 32;
/** Milliseconds after which an unanswered knock is repeated: a host answers only so many strangers a second. */
const REPEAT = 1000;
const turns = new Turns(MOST_HANDSHAKES);

export interface NatsDialOptions {
  /** nats:ID */
  readonly url: string;
  readonly engine: Engine;
  readonly identity: Identity;
  /** The agent's fingerprint. Without it any key with this id is accepted, for pairing only. */
  readonly pin?: string | undefined;
  /**
   * Milliseconds for all of it. 0: no limit.
   * @default 5000
   */
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Runs wait for this link: it goes before the others when many are dialled. */
  readonly urgent?: boolean | undefined;
}

/**
 * Connects to an agent and checks its key before sending anything inside the link.
 * @throws UnreachableError when the broker or the agent does not answer in time, or the agent is not there.
 * @throws RefusedError when the broker, the agent or the check of its key says no.
 * @throws the signal's reason when the signal was aborted.
 */
export async function dialNats(options: NatsDialOptions): Promise<{ socket: TLSSocket; peer: Peer }> {
  const { engine, identity, pin, timeoutMs = 5000, signal, urgent = false } = options;
  const host = parseNatsHost(options.url);
  const url = `nats:${host}`;
  if (pin !== undefined && idOfPin(pin) !== host)
    throw new RefusedError(`the key pinned for ${url} is another host's: pair with it again`);
  const done = await nextTurn(urgent, signal);
  // Waiting for a turn is not the host's fault.
  const started = performance.now();
  const left = (): number => timeoutMs && Math.max(1, timeoutMs - (performance.now() - started));
  const broker = await brokerFor(engine, { id: idOfPin(identity.fingerprint), timeoutMs, signal }).catch((error) => {
    done();
    throw error as Error;
  });
  const link = newLinkName();
  const carrier = new Carrier({ broker, link, out: broker.subjects.link(host, link, 'u'), peer: url });
  // Before the knock, so that the agent's first message finds us.
  const subject = broker.subjects.link(host, link, 'd');
  const subscription = broker.subscribe(subject, (message) => carrier.receive(message.data));
  carrier.once('close', () => subscription.unsubscribe());
  // The promises below report errors.
  carrier.on('error', () => undefined);
  try {
    await knock({ broker, carrier, url, host, link, identity, ms: left(), signal });
    carrier.start();
    const { socket, peer } = await dialTls({
      stream: carrier,
      url,
      identity,
      pin,
      timeoutMs: left(),
      signal,
    });
    if (idOfPin(peer.fingerprint) !== host) {
      socket.destroy();
      throw new RefusedError(`the key behind ${url} is not that host's: the broker may have led us to another host`);
    }
    return { socket: keptAliveBy(carrier, socket), peer };
  } catch (error) {
    carrier.destroy();
    throw error;
  } finally {
    done();
  }
}

/** @throws the signal's reason when it is aborted first: the turn passes on. */
async function nextTurn(urgent: boolean, signal: AbortSignal | undefined): Promise<() => void> {
  const coming = turns.take(urgent);
  return await abortable(coming, signal).catch((reason: unknown) => {
    void coming.then((done) => done());
    throw reason;
  });
}

/** A TLS socket over a stream does not know what keeps a process alive. */
function keptAliveBy(carrier: Carrier, socket: TLSSocket): TLSSocket {
  socket.once('close', () => carrier.destroy());
  return Object.assign(socket, {
    ref: () => (carrier.ref(), socket),
    unref: () => (carrier.unref(), socket),
  });
}

interface Knocking {
  readonly broker: Broker;
  readonly carrier: Carrier;
  readonly url: string;
  readonly host: string;
  readonly link: string;
  readonly identity: Identity;
  readonly ms: number;
  readonly signal: AbortSignal | undefined;
}

function knock({ broker, carrier, url, host, link, identity, ms, signal }: Knocking): Promise<void> {
  const { subjects } = broker;
  return new Promise((resolve, reject) => {
    const settle = (): void => {
      cease?.();
      clearInterval(repeats);
      signal?.removeEventListener('abort', abort);
      forget();
      unwatch();
      carrier.off('close', closed);
    };
    const fail = (error: unknown): void => {
      settle();
      reject(error as Error);
    };
    const abort = (): void => fail(signal?.reason);
    const closed = (): void => fail(carrier.errored ?? new UnreachableError(`the link to ${url} was closed`));
    const answered = (message: Msg): void => {
      if (isNoResponders(message))
        return fail(
          new UnreachableError(
            `${url} is not connected to the broker: check that its agent runs, with --listen and the broker's address`,
          ),
        );
      const refusal = refusalIn(message.data);
      if (refusal !== undefined) return fail(new UnreachableError(`${url} gives us no link: ${printable(refusal)}`));
      settle();
      resolve();
    };
    const silent = (): void =>
      fail(
        new UnreachableError(
          `${url} is connected to the broker but did not answer within ${Math.round(ms)} ms; try again, or give it more time`,
        ),
      );
    const cease = ms ? afterReading(ms, silent) : undefined;
    signal?.addEventListener('abort', abort, { once: true });
    carrier.once('close', closed);
    const own = new Set([
      subjects.knock(host),
      subjects.link(host, link, 'u'),
      subjects.link(host, link, 'd'),
      `${broker.inbox}.*`,
    ]);
    const unwatch = broker.addWatcher({
      denied: (subject) => {
        if (own.has(subject)) fail(new RefusedError(`the broker at ${broker.url} forbids us the subject ${subject}`));
      },
    });
    const bytes = writeKnock(identity, host, link);
    const ask = (): (() => void) => broker.ask(`k${link}`, subjects.knock(host), bytes, answered);
    const forget = ask();
    const repeats = setInterval(ask, REPEAT);
    if (signal?.aborted) abort();
  });
}
