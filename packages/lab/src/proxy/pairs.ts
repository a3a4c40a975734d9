/** Pairs requests with their answers, from the events of an inspector. */
import type { Direction } from '../faults/fault.js';
import { identifyAs, type Identify } from '../messages/identities.js';
import type { TapMessage } from '../messages/tap.js';
import { milliseconds } from '../wire/trace.js';
import type { Framings, InspectEvent, InspectRead } from './inspector.js';

/** A message of a pair. */
export interface PairedMessage {
  readonly direction: Direction;
  readonly index: number;
  readonly atMs: number;
  readonly length: number;
  /** Its first bytes. */
  readonly payload: Buffer;
}

/** What became of a request. Times are those of the reads in which messages ended. */
export type PairEvent =
  | {
      readonly event: 'pair';
      readonly atMs: number;
      readonly connection: number;
      readonly request: PairedMessage;
      /** The last answer. */
      readonly answer: PairedMessage;
      /** Answers to this request. */
      readonly answers: number;
      readonly tookMs: number;
    }
  | {
      readonly event: 'unanswered';
      readonly atMs: number;
      readonly connection: number;
      readonly request: PairedMessage;
      /** Answers that came, though not the last. */
      readonly answers: number;
      readonly waitedMs: number;
      readonly reason: string;
    }
  | {
      /** An answer to no request that was seen. */
      readonly event: 'unasked';
      readonly atMs: number;
      readonly connection: number;
      readonly answer: PairedMessage;
    };

/** Bytes of each message that a pair keeps. */
const KEPT_BYTES = 256;
/** Most requests of a connection that wait for an answer, unless an option says otherwise. */
export const MOST_OUTSTANDING = 10_000;
/** Their messages are parts of others, or frames of many dialogues. */
const unpaired = new Set(['TLS', 'HTTP/2', 'AMQP 0-9-1', 'AMQP 1.0']);

interface Asked {
  readonly message: PairedMessage;
  answers: number;
}

interface Dialogue {
  identify: Identify | undefined;
  /** Requests that wait, by their id, the oldest first. */
  readonly waiting: Map<string, Asked[]>;
  count: number;
}

/** How requests and answers are paired. */
export interface PairOptions {
  /** How a protocol names its requests; undefined: as fits the framing and the first request. */
  readonly identify?: Identify | undefined;
  /** Most requests of a connection that wait; the oldest counts as unanswered then. @default 10_000 */
  readonly outstanding?: number | undefined;
}

/** Follows the requests of each connection until they are answered. */
export class Pairs {
  readonly #options: PairOptions;
  readonly #onPair: (event: PairEvent) => void;
  readonly #dialogues = new Map<number, Dialogue>();
  /** The framing and protocol of the clients, once known. */
  #framing: string;
  #protocol: string | undefined;
  #atMs = 0;

  constructor({ framing }: Framings, options: PairOptions, onPair: (event: PairEvent) => void) {
    this.#framing = framing;
    this.#options = options;
    this.#onPair = onPair;
  }

  see(event: InspectEvent): void {
    this.#atMs = event.atMs;
    switch (event.event) {
      case 'guess':
        if (event.direction === 'up') {
          this.#framing = event.framing;
          this.#protocol = event.guesses[0]?.protocol;
        }
        return;
      case 'read':
        if (this.#protocol !== undefined && unpaired.has(this.#protocol)) return;
        for (const message of event.messages) this.#message(event, message);
        return;
      case 'close':
        this.#end(event.connection, 'the connection closed');
        return;
      default:
    }
  }

  /** Nothing more comes: what waits is unanswered. */
  end(): void {
    for (const connection of this.#dialogues.keys()) this.#end(connection, 'the view ended');
  }

  #message({ connection, direction, atMs }: InspectRead, { index, payload }: TapMessage): void {
    let dialogue = this.#dialogues.get(connection);
    if (!dialogue) {
      dialogue = { identify: this.#options.identify, waiting: new Map(), count: 0 };
      this.#dialogues.set(connection, dialogue);
    }
    if (!dialogue.identify && direction === 'up') dialogue.identify = identifyAs(this.#framing, payload);
    const role = (dialogue.identify ?? identifyAs(this.#framing, Buffer.alloc(0)))(payload, direction);
    if (!role || role.oneWay) return;
    const kept = Buffer.from(payload.subarray(0, KEPT_BYTES));
    const message = { direction, index, atMs, length: payload.length, payload: kept };
    if (role.kind === 'request') {
      const same = dialogue.waiting.get(role.id);
      if (same) same.push({ message, answers: 0 });
      else dialogue.waiting.set(role.id, [{ message, answers: 0 }]);
      const most = this.#options.outstanding ?? MOST_OUTSTANDING;
      if (++dialogue.count > most) this.#dropOldest(connection, dialogue, `more than ${most} requests waited`);
      return;
    }
    const asked = dialogue.waiting.get(role.id)?.[0];
    if (!asked) {
      if (!role.spontaneous) this.#onPair({ event: 'unasked', atMs, connection, answer: message });
      return;
    }
    asked.answers++;
    if (role.more) return;
    this.#remove(dialogue, role.id);
    this.#onPair({
      event: 'pair',
      atMs,
      connection,
      request: asked.message,
      answer: message,
      answers: asked.answers,
      tookMs: milliseconds(atMs - asked.message.atMs),
    });
  }

  #end(connection: number, reason: string): void {
    const dialogue = this.#dialogues.get(connection);
    if (!dialogue) return;
    while (dialogue.count > 0) this.#dropOldest(connection, dialogue, reason);
    this.#dialogues.delete(connection);
  }

  #dropOldest(connection: number, dialogue: Dialogue, reason: string): void {
    const [id, [asked]] = dialogue.waiting.entries().next().value as [string, [Asked]];
    this.#remove(dialogue, id);
    const { message, answers } = asked;
    const waitedMs = milliseconds(this.#atMs - message.atMs);
    this.#onPair({ event: 'unanswered', atMs: this.#atMs, connection, request: message, answers, waitedMs, reason });
  }

  #remove(dialogue: Dialogue, id: string): void {
    const same = dialogue.waiting.get(id)!;
    same.shift();
    dialogue.count--;
    if (same.length === 0) dialogue.waiting.delete(id);
  }
}
