/**
 * One output stream on its way from the spool to a caller, under the caller's credit. The keeper says how far the
 * stream has grown; small fresh pieces come along with that word, everything else is read from the spool.
 */
import type { SpoolReader } from '../../keeper/door/door.js';
import { PIECE, type Link } from '../../link/link.js';
import type { MessageNamed } from '../../protocol/messages.js';
import type { ReadAhead } from './read-ahead.js';

/** Bytes this near to the end of the stream are in the page cache, and reading them takes no longer than copying. */
const RECENT = 256 * 1024 * 1024;
/** Older bytes read from the spool at once; two such blocks may wait to be sent. */
const READ = 4 * PIECE;
/** Milliseconds until a read is tried again that the machine had no room for. */
const RETRY = 200;
const NO_ROOM = new Set(['EMFILE', 'ENFILE', 'ENOMEM', 'EAGAIN']);

type Block =
  | { readonly kind: 'bytes'; readonly offset: number; readonly bytes: Buffer }
  | { readonly kind: 'gap'; readonly from: number; readonly to: number; readonly reason: string };

export class Outflow {
  readonly stream: number;
  readonly #reader: SpoolReader;
  readonly #readAhead: ReadAhead;
  readonly #wake: () => void;
  /** Bytes below this offset exist. */
  #known: number;
  /** Bytes below this offset may be sent. */
  #limit: number;
  /** Bytes below this offset were read (or dropped) and wait in `#blocks`, or were sent. */
  #fetched: number;
  #blocks: Block[] = [];
  #state: 'idle' | 'reading' | 'waiting' | 'stopped' = 'idle';
  readonly #again = (): void => {
    if (this.#state === 'waiting') this.#state = 'idle';
    if (this.ready) this.#wake();
  };

  /** `wake` is called when there is something to send. */
  constructor(
    stream: number,
    reader: SpoolReader,
    readAhead: ReadAhead,
    start: { readonly offset: number; readonly limit: number },
    wake: () => void,
  ) {
    this.stream = stream;
    this.#reader = reader;
    this.#readAhead = readAhead;
    this.#known = start.offset;
    this.#fetched = start.offset;
    this.#limit = start.limit;
    this.#wake = wake;
  }

  get ready(): boolean {
    return this.#blocks.length > 0 || (this.#state === 'idle' && this.#fetched < this.#end);
  }

  /** Bytes below this offset exist. */
  get known(): number {
    return this.#known;
  }

  /** Bytes below this offset were sent. */
  get sent(): number {
    let sent = this.#fetched;
    for (const block of this.#blocks) sent -= block.kind === 'bytes' ? block.bytes.length : block.to - block.from;
    return sent;
  }

  /** The reader is gone, or the attachment. */
  get stopped(): boolean {
    return this.#state === 'stopped';
  }

  /** The caller may be sent bytes below `limit`. */
  allow(limit: number): void {
    this.#limit = Math.max(this.#limit, limit);
    if (this.ready) this.#wake();
  }

  /** The stream has grown to `next`. */
  grow(next: number): void {
    this.#known = Math.max(this.#known, next);
    if (this.ready) this.#wake();
  }

  /** A piece came with the word. True when it may be sent at once; otherwise it will be read from the spool. */
  fresh({ offset, bytes }: MessageNamed<'DATA'>, link: Link): boolean {
    const end = offset + bytes.length;
    const next = this.#state === 'idle' && this.#blocks.length === 0 && offset === this.#fetched;
    if (!next || end > this.#limit || !link.roomy) {
      this.grow(end);
      return false;
    }
    this.#known = Math.max(this.#known, end);
    this.#fetched = end;
    return true;
  }

  /** The bytes below `to` are gone. */
  skip(to: number, reason: string): void {
    if (this.stopped || this.#fetched >= to) return;
    const last = this.#blocks.at(-1);
    // A reader that is slow for a day finds one gap, and not each step of it.
    if (last?.kind === 'gap') this.#blocks[this.#blocks.length - 1] = { ...last, to };
    else this.#blocks.push({ kind: 'gap', from: this.#fetched, to, reason });
    this.#fetched = to;
    this.#known = Math.max(this.#known, to);
    this.#wake();
  }

  stop(): void {
    if (this.stopped) return;
    // A read that is under way would open what is closed here.
    if (this.#state !== 'reading') void this.#reader.close();
    this.#state = 'stopped';
    let waiting = 0;
    for (const block of this.#blocks) if (block.kind === 'bytes') waiting += block.bytes.length;
    this.#blocks = [];
    this.#readAhead.give(waiting);
  }

  /** Sends one frame and reads ahead. */
  send(link: Link, alias: number): void {
    const block = this.#blocks.shift();
    if (!block && this.#sendRecent(link, alias)) return;
    if (block?.kind === 'gap') {
      const { from, to, reason } = block;
      link.send({ type: 'GAP', alias, stream: this.stream, from, to, reason });
    } else if (block) {
      const { offset, bytes } = block;
      const piece = bytes.subarray(0, PIECE);
      link.sendData(alias, this.stream, 0, offset, piece);
      const rest = bytes.subarray(piece.length);
      if (rest.length) this.#blocks.unshift({ kind: 'bytes', offset: offset + piece.length, bytes: rest });
      this.#readAhead.give(piece.length);
    }
    if (this.#blocks.length < 2) this.#fetch();
  }

  /** Sends a frame straight from the page cache. False when that cannot be done: reading the slow way tells why. */
  #sendRecent(link: Link, alias: number): boolean {
    const offset = this.#fetched;
    const length = Math.min(this.#end - offset, PIECE);
    if (this.#state !== 'idle' || length <= 0 || this.#known - offset > RECENT) return false;
    try {
      this.#fetched += link.sendFilled(alias, this.stream, offset, length, (room) =>
        this.#reader.readNow(offset, room),
      );
    } catch {
      return false;
    }
    return this.#fetched > offset;
  }

  get #end(): number {
    return Math.min(this.#known, this.#limit);
  }

  #fetch(): void {
    const offset = this.#fetched;
    const length = Math.min(this.#end - offset, READ);
    if (this.#state !== 'idle' || length <= 0) return;
    if (!this.#readAhead.take(length, this.#again)) {
      this.#state = 'waiting';
      return;
    }
    this.#state = 'reading';
    this.#reader.read(offset, length).then(
      (bytes) => {
        const used = !this.stopped && this.#fetched === offset ? bytes.length : 0;
        this.#readAhead.give(length - used);
        if (this.stopped) void this.#reader.close();
        if (this.stopped) return;
        this.#state = 'idle';
        if (used) {
          this.#blocks.push({ kind: 'bytes', offset, bytes });
          this.#fetched = offset + used;
        } else if (this.#fetched === offset) this.skip(this.#known, 'its file is gone from the spool');
        this.#wake();
      },
      (error: NodeJS.ErrnoException & { first?: number }) => {
        this.#readAhead.give(length);
        if (this.stopped) void this.#reader.close();
        if (this.stopped) return;
        if (NO_ROOM.has(error.code ?? '')) {
          this.#state = 'waiting';
          setTimeout(this.#again, RETRY);
          return;
        }
        this.#state = 'idle';
        this.skip(Math.max(error.first ?? this.#known, offset + 1), error.message);
        // The keeper may have told of a larger gap meanwhile: what lies behind that waits for nothing else.
        if (this.ready) this.#wake();
      },
    );
  }
}
