/**
 * One output stream on its way from the spool to a caller, under the caller's credit. The keeper says how far the
 * stream has grown; small fresh pieces come along with that word, everything else is read from the spool.
 */
import type { SpoolReader } from '../keeper/door.js';
import type { Link } from '../link/link.js';
import { MAX_DATA, type MessageNamed } from '../protocol/messages.js';

/** Bytes read from the spool at once; two such blocks may wait to be sent. */
const READ = 4 * MAX_DATA;

type Block =
  | { readonly kind: 'bytes'; readonly offset: number; readonly bytes: Buffer }
  | { readonly kind: 'gap'; readonly from: number; readonly to: number; readonly reason: string };

export class Outflow {
  readonly stream: number;
  readonly #reader: SpoolReader;
  readonly #wake: () => void;
  /** Bytes below this offset exist. */
  #known: number;
  /** Bytes below this offset may be sent. */
  #limit: number;
  /** Bytes below this offset were read (or dropped) and wait in `#blocks`, or were sent. */
  #fetched: number;
  #blocks: Block[] = [];
  #reading = false;
  #stopped = false;

  /** `wake` is called when there is something to send. */
  constructor(stream: number, reader: SpoolReader, start: number, limit: number, wake: () => void) {
    this.stream = stream;
    this.#reader = reader;
    this.#known = start;
    this.#fetched = start;
    this.#limit = limit;
    this.#wake = wake;
  }

  get ready(): boolean {
    return !this.#stopped && (this.#blocks.length > 0 || (!this.#reading && this.#fetched < this.#end));
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
  fresh({ offset, bytes }: MessageNamed<'DATA'>): boolean {
    const end = offset + bytes.length;
    const next = !this.#stopped && !this.#reading && this.#blocks.length === 0 && offset === this.#fetched;
    if (!next || end > this.#limit) {
      this.grow(end);
      return false;
    }
    this.#known = Math.max(this.#known, end);
    this.#fetched = end;
    return true;
  }

  /** The bytes below `to` are gone. */
  skip(to: number, reason: string): void {
    if (this.#fetched >= to) return;
    this.#blocks.push({ kind: 'gap', from: this.#fetched, to, reason });
    this.#fetched = to;
    this.#known = Math.max(this.#known, to);
    this.#wake();
  }

  /** The reader is gone, or the attachment. */
  stop(): void {
    this.#stopped = true;
    this.#blocks = [];
    void this.#reader.close();
  }

  /** Sends one frame and reads ahead. True when something was sent. */
  send(link: Link, alias: number): boolean {
    const block = this.#blocks.shift();
    if (this.#blocks.length < 2) this.#fetch();
    if (!block) return false;
    if (block.kind === 'gap') {
      const { from, to, reason } = block;
      link.send({ type: 'GAP', alias, stream: this.stream, from, to, reason });
    } else {
      const piece = block.bytes.subarray(0, MAX_DATA);
      link.sendData(alias, this.stream, 0, block.offset, piece);
      if (piece.length < block.bytes.length)
        this.#blocks.unshift({
          kind: 'bytes',
          offset: block.offset + piece.length,
          bytes: block.bytes.subarray(piece.length),
        });
    }
    return true;
  }

  get #end(): number {
    return Math.min(this.#known, this.#limit);
  }

  #fetch(): void {
    const offset = this.#fetched;
    const length = Math.min(this.#end - offset, READ);
    if (this.#reading || this.#stopped || length <= 0) return;
    this.#reading = true;
    this.#reader.read(offset, length).then(
      (bytes) => {
        this.#reading = false;
        if (this.#stopped) return;
        if (this.#fetched === offset && bytes.length) {
          this.#blocks.push({ kind: 'bytes', offset, bytes });
          this.#fetched = offset + bytes.length;
        }
        this.#wake();
      },
      (error: Error & { first?: number }) => {
        this.#reading = false;
        if (!this.#stopped) this.skip(Math.max(error.first ?? this.#known, offset + 1), error.message);
      },
    );
  }
}
