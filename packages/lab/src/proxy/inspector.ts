/** Finds out which reads carried which messages, from the events of a proxy or a record. */
import type { FramingError } from '@sendall/framing';
import type { Direction } from '../faults/fault.js';
import { GUESS_BYTES, guessFraming, scoreFraming, type Guess } from '../messages/guess.js';
import type { ProxyEvent } from './proxy.js';
import { checkFraming, Tap, type TapRead } from '../messages/tap.js';
import { milliseconds } from '../wire/trace.js';

/** What an inspector reports, in order. Times are milliseconds since it began. */
export type InspectEvent =
  | { readonly event: 'open'; readonly atMs: number; readonly connection: number; readonly client: string }
  | InspectRead
  | {
      /** The given framing is wrong, or probably wrong. */
      readonly event: 'misfit';
      readonly atMs: number;
      readonly connection: number;
      readonly direction: Direction;
      readonly framing: string;
      readonly reason: string;
      readonly guesses: readonly Guess[];
    }
  | {
      /** With the framing `guess`: the framing used from here on, and other candidates. */
      readonly event: 'guess';
      readonly atMs: number;
      readonly connection: number;
      readonly direction: Direction;
      readonly framing: string;
      readonly guesses: readonly Guess[];
    }
  | {
      readonly event: 'end';
      readonly atMs: number;
      readonly connection: number;
      readonly direction: Direction;
      /** Set if it ended inside a message. */
      readonly truncated?: string;
    }
  | {
      readonly event: 'close';
      readonly atMs: number;
      readonly connection: number;
      readonly up: number;
      readonly down: number;
      readonly error?: string;
    }
  | { readonly event: 'refused'; readonly atMs: number; readonly client: string; readonly reason: string };

/** One read, and the messages it carried. */
export interface InspectRead extends Omit<TapRead, 'error'> {
  readonly event: 'read';
  readonly atMs: number;
  readonly connection: number;
  readonly direction: Direction;
  readonly bytes: Buffer;
  /** More than one message ended in it. */
  readonly glued: boolean;
  /** Its first message had begun in an earlier read. */
  readonly split: boolean;
}

/** The framings of both directions. */
export interface Framings {
  /** A spec of `parseFraming`, `raw` (none) or `guess`. */
  readonly framing: string;
  /** The server's framing, if it differs. */
  readonly framingBack?: string | undefined;
}

/** A guess with a lower score is not used. */
const CONFIDENT = 0.7;
/** A framing is doubted when another one scores this much higher. */
const MUCH_BETTER = 0.5;
/**
 * The first reads are judged one by one; later, only when the bytes have doubled, as each judgement examines all of
 * them.
 */
const JUDGED_SINGLY = 8;

/** The state of one direction of a connection. */
interface Follower {
  framing: string;
  tap: Tap;
  /** The first reads, for guesses. */
  readonly first: Buffer[];
  firstBytes: number;
  /** The number of bytes at the last judgement. */
  judgedBytes: number;
  messages: number;
  warned: boolean;
}

/** Matches the reads seen by a proxy (or in its record) with their messages. */
export class Inspector {
  readonly #framings: Record<Direction, string>;
  readonly #onEvent: (event: InspectEvent) => void;
  readonly #followers = new Map<string, Follower>();
  /** The framing a guess settled on, for later connections. Their preface may have another length. */
  readonly #settled: Partial<Record<Direction, string>> = {};

  constructor({ framing, framingBack = framing }: Framings, onEvent: (event: InspectEvent) => void) {
    this.#framings = { up: framing, down: framingBack };
    this.#onEvent = onEvent;
    for (const spec of [framing, framingBack]) if (spec !== 'guess') checkFraming(spec);
  }

  see(event: ProxyEvent, atMs: number): void {
    const at = { atMs: milliseconds(atMs) };
    switch (event.type) {
      case 'open':
        this.#onEvent({ event: 'open', ...at, connection: event.connection, client: event.client });
        return;
      case 'read':
        this.#read(event.connection, event.direction, event.bytes, at.atMs);
        return;
      case 'end': {
        const { connection, direction } = event;
        const error = this.#followers.get(`${connection} ${direction}`)?.tap.end();
        this.#onEvent({ event: 'end', ...at, connection, direction, ...(error && { truncated: error.message }) });
        return;
      }
      case 'close': {
        const { type: _, ...rest } = event;
        for (const direction of ['up', 'down']) this.#followers.delete(`${event.connection} ${direction}`);
        this.#onEvent({ event: 'close', ...at, ...rest });
        return;
      }
      case 'refused':
        this.#onEvent({ event: 'refused', ...at, client: event.client, reason: event.reason });
        return;
      case 'fault':
    }
  }

  #read(connection: number, direction: Direction, bytes: Buffer, atMs: number): void {
    const follower = this.#follower(connection, direction);
    const where = { atMs, connection, direction };
    if (follower.firstBytes < GUESS_BYTES && this.#framings[direction] !== 'raw') {
      follower.first.push(Buffer.from(bytes));
      follower.firstBytes += bytes.length;
    }
    const { error, ...read } = follower.tap.read(bytes);
    follower.messages += read.messages.length;
    this.#onEvent({
      event: 'read',
      ...where,
      ...read,
      bytes,
      glued: read.messages.length > 1,
      split: (read.messages[0]?.start ?? read.offset) < read.offset,
    });
    if (this.#framings[direction] === 'guess') this.#guess(follower, where, error);
    else if (error) this.#misfit(follower, where, error.message);
    else this.#doubt(follower, where);
  }

  #follower(connection: number, direction: Direction): Follower {
    const key = `${connection} ${direction}`;
    let follower = this.#followers.get(key);
    if (!follower) {
      const named = this.#framings[direction];
      const framing = named === 'guess' ? (this.#settled[direction] ?? 'raw') : named;
      follower = {
        framing,
        tap: new Tap(framing),
        first: [],
        firstBytes: 0,
        judgedBytes: 0,
        messages: 0,
        warned: false,
      };
      this.#followers.set(key, follower);
    }
    return follower;
  }

  /** Whether enough bytes have arrived since the last judgement. */
  #mayJudge(follower: Follower): boolean {
    const { first, firstBytes, judgedBytes } = follower;
    if (firstBytes >= GUESS_BYTES || (first.length > JUDGED_SINGLY && firstBytes < 2 * judgedBytes)) return false;
    follower.judgedBytes = firstBytes;
    return true;
  }

  /** Settles on a framing that fits well, and drops it when it fails. */
  #guess(
    follower: Follower,
    where: { atMs: number; connection: number; direction: Direction },
    error?: FramingError,
  ): void {
    if (error) {
      delete this.#settled[where.direction];
      follower.framing = 'raw';
    }
    if (follower.framing !== 'raw' || !this.#mayJudge(follower)) return;
    const guesses = guessFraming(follower.first).slice(0, 3);
    const best = guesses[0];
    if (!best || best.score < CONFIDENT) return;
    follower.framing = best.framing;
    if (!best.framing.includes('preface=')) this.#settled[where.direction] = best.framing;
    follower.tap = new Tap(best.framing);
    for (const chunk of follower.first) follower.tap.read(chunk); // what has passed already
    this.#onEvent({ event: 'guess', ...where, framing: best.framing, guesses });
  }

  /** A framing that finds nothing, or much less than another one, is probably wrong. */
  #doubt(follower: Follower, where: { atMs: number; connection: number; direction: Direction }): void {
    const { framing, first, firstBytes } = follower;
    if (follower.warned || framing === 'raw' || !this.#mayJudge(follower)) return;
    // No guess scores above 1, so most named framings are done here, without trying all others.
    const own = scoreFraming(framing, first);
    if (follower.messages > 0 && own >= 1 - MUCH_BETTER) return;
    const best = guessFraming(first)[0];
    if (!best || best.framing === framing || best.score < CONFIDENT) return;
    const known = best.protocol !== undefined;
    if (follower.messages === 0 && (known || best.messages > 1)) {
      this.#misfit(follower, where, `${framing} finds no message in the first ${firstBytes} bytes`);
    } else if (follower.messages > 0 && (known || best.messages > 2) && best.score - own > MUCH_BETTER) {
      this.#misfit(follower, where, `${framing} finds messages that do not look like any`);
    }
  }

  #misfit(follower: Follower, where: { atMs: number; connection: number; direction: Direction }, reason: string): void {
    if (follower.warned) return;
    follower.warned = true;
    const guesses = guessFraming(follower.first)
      .filter((guess) => guess.framing !== follower.framing)
      .slice(0, 3);
    this.#onEvent({ event: 'misfit', ...where, framing: follower.framing, reason, guesses });
  }
}
