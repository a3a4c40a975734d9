/** Asks all hosts of a fleet for their cards. */
import { randomBytes } from 'node:crypto';
import type { Engine } from '../../keys/engine.js';
import type { Identity } from '../../keys/identity.js';
import { base32, idOfPin } from '../../text/nats-address.js';
import { brokerFor } from './shared-brokers.js';
import { readCard, type Card } from './card.js';
import { after } from '../../timer.js';

/** Cards kept; more hosts than this are no fleet for one caller. */
const MOST_CARDS = 100_000;

/** What an engine shows of itself. */
export interface EngineStatus {
  /** Our id in the broker's subjects. */
  readonly id: string;
  readonly url: string;
  /** The server in use. */
  readonly server: string;
  readonly version: string;
  /** Milliseconds to the server and back. */
  readonly roundTripMs: number;
  /** Hosts that answered in time, by the key that signed. */
  readonly cards: readonly Card[];
}

/**
 * Collects cards for `waitMs` milliseconds.
 * @throws UnreachableError, RefusedError or UsageError when the broker cannot be used.
 */
export async function discover(engine: Engine, identity: Identity, waitMs: number): Promise<EngineStatus> {
  const id = idOfPin(identity.fingerprint);
  const broker = await brokerFor(engine, { id });
  const asking = {};
  broker.hold(asking);
  try {
    const roundTripMs = await broker.roundTrip();
    const { address, version } = broker.server;
    const cards = new Map<string, Card>();
    const question = base32(randomBytes(16));
    const bytes = Buffer.from(JSON.stringify({ question, waitMs }));
    const stop = broker.ask(`d${question}`, broker.subjects.discovery, bytes, ({ data }) => {
      try {
        const card = readCard(data, question);
        if (cards.size < MOST_CARDS && (cards.get(card.pin)?.serial ?? 0) <= card.serial) cards.set(card.pin, card);
      } catch {
        // Other clients of the broker may send anything.
      }
    });
    await new Promise<void>((resolve) => after(waitMs, resolve));
    stop();
    return { id, url: broker.url, server: address, version, roundTripMs, cards: [...cards.values()] };
  } finally {
    broker.letGo(asking);
  }
}
