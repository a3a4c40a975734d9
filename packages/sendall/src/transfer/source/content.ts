/** Sends the content of larger files and of streams, in pieces: one is read while the one before it is hashed and sent. */
import { createHash } from 'node:crypto';
import { fstatSync, type BigIntStats } from 'node:fs';
import type { Calls } from '../files/calls.js';
import { DATA_ROOM, type Channel } from '../stream/channel.js';
import { ContentSum } from '../stream/content-sum.js';
import { CARRIED, PIECE } from '../stream/limits.js';
import { encodeMessage } from '../stream/messages.js';
import { ended } from '../stream/options.js';
import type { Tally } from '../stream/tally.js';
import { segments } from './holes.js';
import type { Reads } from './reads.js';
import { changedProblem, idOf, type OpenFile, type Unsettled } from './unsettled.js';

/** Buffers for pieces of files that are kept for the next piece. */
const MOST_SPARE = 8;
const BLOCK = 512n;

/** What the sender does meanwhile. */
export interface Sender {
  readonly channel: Channel;
  readonly calls: Calls;
  readonly tally: Tally;
  readonly reads: Reads;
  /** Takes what the receiver has said. */
  answers(): Promise<void>;
}

export class Content {
  readonly #sender: Sender;
  readonly #spare: Buffer[] = [];
  /** How many uses of a frame's memory are not over. */
  readonly #inUse = new Map<Buffer, number>();
  /** A read that is under way; its descriptor stays open until it has ended. */
  #reading: Promise<unknown> = Promise.resolve();

  constructor(sender: Sender) {
    this.#sender = sender;
  }

  /** Resolves when nothing is being read. */
  async quiet(): Promise<void> {
    await this.#reading.catch(() => {});
  }

  /** Sends the content of a file, and its end. @throws what prevents that */
  async send(entry: Unsettled, file: OpenFile): Promise<void> {
    const { channel, tally, reads } = this.#sender;
    Object.assign(tally.progress, { path: entry.path, size: entry.size, at: file.offset });
    const sum = file.stat ? await this.#sendFile(entry, file, file.stat) : await this.#sendUnsized(entry, file);
    if (!sum || entry.settled) return;
    const digest = sum.digest();
    if (sum.exact) entry.sha256 = digest;
    if (sum.exact && file.stat) reads.keepSum?.(idOf(file.stat), digest);
    channel.send(encodeMessage('end', { file: file.number, size: entry.size, sum: digest }));
  }

  /** SHA-256 of a file. */
  async sumOf(fd: number, stat: BigIntStats): Promise<Buffer> {
    const { reads } = this.#sender;
    const id = idOf(stat);
    const known = reads.sum?.(id);
    if (known) return known;
    const sum = createHash('sha256');
    const piece = Buffer.allocUnsafe(PIECE);
    for (let at = 0; ;) {
      const length = await this.#read(fd, id, at, piece);
      if (length === 0) break;
      sum.update(piece.subarray(0, length));
      at += length;
    }
    const sha256 = sum.digest();
    reads.keepSum?.(id, sha256);
    return sha256;
  }

  #read(fd: number, id: string, position: number, into: Buffer): Promise<number> {
    const reading = this.#sender.reads.read(fd, id, position, into);
    this.#reading = reading;
    return reading;
  }

  /** Sends a file whose size is known. Undefined when the receiver lost interest. */
  async #sendFile(entry: Unsettled, file: OpenFile, stat: BigIntStats): Promise<ContentSum | undefined> {
    const { channel, calls, tally } = this.#sender;
    const { fd, number } = file;
    const { size } = entry;
    const id = idOf(stat);
    let sum = new ContentSum();
    let from = file.offset;
    if (from > 0) {
      await this.#addPrefix(fd, id, from, sum);
      if (!sum.soFar().equals(file.prefix!)) {
        channel.send(encodeMessage('afresh', { file: number }));
        sum = new ContentSum();
        from = 0;
      } else tally.progress.bytes += from;
    }
    const isSparse = stat.blocks * BLOCK < stat.size;
    let position = from;
    const parts = segments(fd, from, size, isSparse ? calls : {}, PIECE);
    const readNext = () => {
      const part = parts.next();
      if (part.done) return undefined;
      const frame = this.#spare.pop() ?? Buffer.allocUnsafeSlow(DATA_ROOM + PIECE);
      this.#inUse.set(frame, 1);
      const { at, length } = part.value;
      return { at, frame, length, arrived: this.#readFully(fd, id, at, frame.subarray(DATA_ROOM, DATA_ROOM + length)) };
    };
    for (let next = readNext(); next;) {
      const { at, frame, length, arrived } = next;
      await arrived;
      next = readNext();
      // Its failure is seen when its turn comes.
      next?.arrived.catch(() => {});
      for (const { from: start, to } of dataIn(frame, length, isSparse && !calls.nextData)) {
        const place = at + start - DATA_ROOM;
        if (place > position) sum.hole(place - position);
        position = at + to - DATA_ROOM;
        sum.update(frame.subarray(start, to));
        this.#sendPiece(frame, start, to, number, place);
      }
      this.#release(frame);
      if (await this.#isUnwanted(entry)) return undefined;
    }
    if (position < size) sum.hole(size - position);
    const then = fstatSync(fd, { bigint: true });
    if (then.size !== stat.size || then.mtimeNs !== stat.mtimeNs) throw changedProblem();
    return sum;
  }

  #release(frame: Buffer): void {
    const users = this.#inUse.get(frame)! - 1;
    if (users > 0) return void this.#inUse.set(frame, users);
    this.#inUse.delete(frame);
    if (this.#sender.channel.returnsMemory && this.#spare.length < MOST_SPARE) this.#spare.push(frame);
  }

  /** Sends [start, to) of `frame`; the memory before it is the header's. */
  #sendPiece(frame: Buffer, start: number, to: number, file: number, offset: number): void {
    this.#sender.tally.moved(to - start);
    // Only the first stretch of a frame has room for a header before it.
    if (start !== DATA_ROOM) return this.#sendCopy(frame.subarray(start, to), file, offset);
    this.#inUse.set(frame, this.#inUse.get(frame)! + 1);
    this.#sender.channel.sendData(frame, to - start, file, offset, () => this.#release(frame));
  }

  #sendCopy(bytes: Buffer, file: number, offset: number): void {
    const frame = Buffer.allocUnsafe(DATA_ROOM + bytes.length);
    bytes.copy(frame, DATA_ROOM);
    this.#sender.channel.sendData(frame, bytes.length, file, offset, () => {});
  }

  /** Waits until there is room for more. Says whether the receiver lost interest in this file meanwhile. */
  async #isUnwanted(entry: Unsettled): Promise<boolean> {
    const { channel } = this.#sender;
    const room = channel.room();
    if (room) await room;
    channel.mustGoOn();
    await this.#sender.answers();
    return entry.settled === true;
  }

  async #readFully(fd: number, id: string, position: number, into: Buffer): Promise<void> {
    for (let done = 0; done < into.length;) {
      const length = await this.#read(fd, id, position + done, into.subarray(done));
      if (length === 0) throw changedProblem();
      done += length;
    }
  }

  async #addPrefix(fd: number, id: string, length: number, sum: ContentSum): Promise<void> {
    const piece = Buffer.allocUnsafe(PIECE);
    for (let at = 0; at < length;) {
      const part = piece.subarray(0, Math.min(PIECE, length - at));
      await this.#readFully(fd, id, at, part);
      sum.update(part);
      at += part.length;
    }
  }

  /** Sends bytes until they end. */
  async #sendUnsized(entry: Unsettled, file: OpenFile): Promise<ContentSum | undefined> {
    const { tally } = this.#sender;
    const sum = new ContentSum();
    const { stream } = file;
    const pieces = stream ? stream[Symbol.asyncIterator]() : this.#piecesOf(file.fd);
    let at = 0;
    try {
      for (;;) {
        const next = await this.#unlessUnwanted(entry, pieces.next() as Promise<IteratorResult<Buffer, undefined>>);
        if (!next) return undefined;
        if (next.done) break;
        for (let from = 0; from < next.value.length; from += PIECE) {
          const part = next.value.subarray(from, from + PIECE);
          sum.update(part);
          tally.moved(part.length);
          this.#sendCopy(part, file.number, at);
          at += part.length;
          if (await this.#isUnwanted(entry)) return undefined;
        }
      }
    } finally {
      stream?.destroy();
    }
    entry.size = at;
    tally.progress.expected += at;
    return sum;
  }

  /** What `coming` brings; undefined when the receiver loses interest before. */
  async #unlessUnwanted<T>(entry: Unsettled, coming: Promise<T>): Promise<T | undefined> {
    const arrived = coming.then((value) => ({ value }));
    for (;;) {
      const first = await Promise.race([arrived, this.#sender.channel.arrival()]);
      if (typeof first === 'object') return first.value;
      if (!first) throw ended();
      await this.#sender.answers();
      if (entry.settled) return undefined;
    }
  }

  async *#piecesOf(fd: number): AsyncGenerator<Buffer> {
    for (let at = 0; ;) {
      const piece = Buffer.allocUnsafe(CARRIED);
      const length = await this.#read(fd, '', at, piece);
      if (length === 0) return;
      yield piece.subarray(0, length);
      at += length;
    }
  }
}

const ZERO_BLOCK = 64 * 1024;
const zeros = Buffer.alloc(ZERO_BLOCK);

/** The stretches of a read piece that are to be sent: all of it, or what is not blocks of zeros. */
function* dataIn(frame: Buffer, length: number, skipZeros: boolean): Generator<{ from: number; to: number }> {
  const end = DATA_ROOM + length;
  if (!skipZeros) {
    yield { from: DATA_ROOM, to: end };
    return;
  }
  let from = DATA_ROOM;
  for (let at = DATA_ROOM; at < end; at += ZERO_BLOCK) {
    const to = Math.min(end, at + ZERO_BLOCK);
    if (frame.compare(zeros, 0, to - at, at, to) !== 0) continue;
    if (at > from) yield { from, to: at };
    from = to;
  }
  if (end > from) yield { from, to: end };
}
