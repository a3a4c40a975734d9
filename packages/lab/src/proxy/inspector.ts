/** Finds out which reads carried which messages, from the events of a proxy or a record. */
import type { FramingError } from '@sendall/framing';
import type { Direction } from '../faults/fault.js';
import { GUESS_BYTES, guessFraming, scoreFraming, type Guess } from '../messages/guess.js';
import type { ProxyEvent } from './proxy.js';
import { checkFraming, Tap, type TapRead } from '../messages/tap.js';
import { milliseconds } from '../wire/trace.js';

/** What an inspector reports, in order. Times are milliseconds since it began. */
export type InspectEvent =
  | {
      readonly event: 'open';
      readonly atMs: number;
      readonly connection: number;
      readonly client: string;
      /** What follows is of connections in a capture. */
      readonly server?: string;
      readonly protocol?: 'tcp' | 'udp';
      readonly midway?: true;
    }
  | InspectRead
  | {
      /** In a capture: bytes that came once more, that wait for bytes before them, or that are missing. */
      readonly event: 'wire';
      readonly atMs: number;
      readonly connection: number;
      readonly direction: Direction;
      readonly what: 'repeated' | 'early' | 'gap';
      readonly offset: number;
      readonly length: number;
      readonly reason?: string;
    }
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
      /** In a capture: who reset it. */
      readonly reset?: Direction;
    }
  | { readonly event: 'refused'; readonly atMs: number; readonly client: string; readonly reason: string };

/** One read, and the messages it carried. */
export interface InspectRead extends Omit<TapRead, 'error'> {
  readonly event: 'read';
  readonly atMs: number;
  readonly connection: number;
  readonly direction: Direction;
  readonly bytes: Buffer;
  /** In a capture: a piece that TCP sent, or a datagram, instead of a read. */
  readonly seen?: 'segment' | 'datagram';
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
  /** The first reads, for guesses; behind a gap, the first ones behind it. */
  readonly first: Buffer[];
  from: { readonly offset: number; readonly index: number } | undefined;
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
      case 'open': {
        const { type, ...rest } = event;
        this.#onEvent({ event: type, ...at, ...rest });
        return;
      }
      case 'read':
        if (event.seen === 'datagram') this.#datagram(event.connection, event.direction, event.bytes, at.atMs);
        else this.#read(event.connection, event.direction, event.bytes, at.atMs, event.seen);
        return;
      case 'wire': {
        const { type, ...rest } = event;
        if (event.what === 'gap') this.#gap(event.connection, event.direction, event.offset + event.length);
        this.#onEvent({ event: type, ...at, ...rest });
        return;
      }
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
      case 'write':
      case 'fault':
    }
  }

  /** Each datagram is a message. */
  #datagram(connection: number, direction: Direction, bytes: Buffer, atMs: number): void {
    const follower = this.#follower(connection, direction);
    if (follower.messages === 0) follower.tap = new Tap('raw');
    const index = follower.messages++;
    const { offset } = follower.tap.read(bytes);
    const message = { index, start: offset, end: offset + bytes.length, payload: bytes, payloadAt: offset };
    this.#onEvent({
      event: 'read',
      atMs,
      connection,
      direction,
      offset,
      length: bytes.length,
      messages: [message],
      bytes,
      seen: 'datagram',
      glued: false,
      split: false,
    });
  }

  /** Bytes are missing: the framing begins again behind them, as if a message began there. */
  #gap(connection: number, direction: Direction, offset: number): void {
    const follower = this.#follower(connection, direction);
    const framing = follower.framing.replace(/,preface=\d+/, '');
    const from = { offset, index: follower.tap.index };
    follower.tap = new Tap(framing, from);
    follower.from = from;
    follower.first.length = follower.firstBytes = follower.judgedBytes = 0;
    follower.warned = true; // what is wrong from here on may be the gap's doing
  }

  #read(connection: number, direction: Direction, bytes: Buffer, atMs: number, seen?: 'segment'): void {
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
      ...(seen && { seen }),
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
        from: undefined,
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
    follower.tap = new Tap(best.framing, follower.from);
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
