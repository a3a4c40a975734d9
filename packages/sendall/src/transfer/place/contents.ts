/** Files whose content comes in pieces: asked for, written as it comes, and compared with the sender's sum at its end. */
import { ProtocolError } from '../../errors.js';
import { failedWith, Problem, problemOf } from '../files/problem.js';
import { readAt } from '../files/read-at.js';
import { ContentSum, hashesHoles } from '../stream/content-sum.js';
import { CARRIED, PIECE } from '../stream/limits.js';
import { encodeMessage, type Body } from '../stream/messages.js';
import { isForeign, propertiesOf, type Entry } from './entry.js';
import { hasSum, setMode } from './existing.js';
import type { Level } from './level.js';
import type { Outflow } from './outflow.js';
import { findPartial, temporariesIn } from './partial.js';
import { Placing, type Properties } from './placing.js';
import type { Reception } from './reception.js';
import type { Settled } from './settling.js';

/** A file whose content comes in pieces. */
interface Incoming {
  readonly number: number;
  readonly level: Level;
  readonly name: Buffer;
  readonly path: Buffer;
  readonly size: number | undefined;
  readonly sparse: boolean;
  readonly properties: Properties;
  readonly sha256: Buffer | undefined;
  readonly foreign: boolean;
  placing?: Placing;
  outflow?: Outflow;
  sum: ContentSum;
  position: number;
  /** Whether the sender may send it. */
  wanted: boolean;
  ending: boolean;
}

export class Contents {
  readonly #reception: Reception;
  readonly #files = new Map<number, Incoming>();
  #abandoned = false;
  /** Comparing and hashing of what is there, one file after the other. */
  #preparing: Promise<void> = Promise.resolve();
  readonly #ending = new Set<Promise<void>>();
  readonly #isKnown: (file: number) => boolean;

  /** `isKnown`: whether there was an entry of this number. */
  constructor(reception: Reception, isKnown: (file: number) => boolean) {
    this.#reception = reception;
    this.#isKnown = isKnown;
  }

  // --- Beginnings.

  /** A file is to come. `compare`: what is there has its size, and may be the same. */
  add(level: Level, name: Buffer, path: Buffer, entry: Entry, number: number, compare: boolean): void {
    const { maxOpenFiles } = this.#reception.limits;
    if (this.#files.size - this.#ending.size >= maxOpenFiles)
      throw new ProtocolError(`more than ${maxOpenFiles} files wait (maxOpenFiles)`);
    const incoming = this.#incoming(level, name, path, entry, number);
    const { sha256, size, properties } = incoming;
    if (!compare || !sha256) return this.#offer(incoming);
    const { dryRun } = this.#reception.settings;
    this.#prepare(incoming, async () => {
      const isSame =
        (await hasSum(level.folder!, name, size!, sha256, () => this.#abandoned)) &&
        (dryRun || setMode(level.folder!, name, properties.mode));
      if (isSame) this.#dropAs(incoming, 'same');
      else this.#offer(incoming);
    });
  }

  /** A file that goes to a stream. */
  pour(outflow: Outflow, level: Level, name: Buffer, path: Buffer, entry: Entry, number: number): void | Promise<void> {
    const { settings, channel, tally } = this.#reception;
    const incoming = this.#incoming(level, name, path, entry, number);
    incoming.outflow = outflow;
    if (settings.dryRun) return this.#dropAs(incoming, 'placed');
    incoming.wanted = true;
    if (!entry.carried) return channel.send(encodeMessage('want', { file: number }));
    incoming.sum.update(entry.content);
    incoming.position = entry.content.length;
    tally.moved(entry.content.length);
    const sum = Buffer.from(entry.sha256!);
    incoming.ending = true;
    return outflow
      .write(Buffer.from(entry.content), 0)
      .then(() => this.#complete(incoming, entry.content.length, incoming.sum.digest(), sum))
      .catch((error: unknown) => this.#drop(incoming, problemOf(error)));
  }

  #incoming(level: Level, name: Buffer, path: Buffer, entry: Entry, number: number): Incoming {
    const incoming: Incoming = {
      number,
      level,
      name,
      path,
      size: entry.size,
      sparse: entry.holes !== undefined,
      properties: propertiesOf(entry, this.#reception.settings.mode),
      sha256: entry.sha256 && Buffer.from(entry.sha256),
      foreign: isForeign(entry),
      sum: new ContentSum(),
      position: 0,
      wanted: false,
      ending: false,
    };
    this.#files.set(number, incoming);
    return incoming;
  }

  /** Runs behind what is being prepared. A failure is the file's. */
  #prepare(incoming: Incoming, act: () => Promise<void>): void {
    this.#preparing = this.#preparing.then(async () => {
      try {
        if (this.#files.has(incoming.number) && !this.#abandoned) await act();
      } catch (error) {
        this.#drop(incoming, problemOf(error));
      }
    });
  }

  /** Asks for a file, or for what is missing of it. */
  #offer(incoming: Incoming): void {
    const { level, name, properties, size } = incoming;
    const { settings, context, channel } = this.#reception;
    if (settings.dryRun) return this.#dropAs(incoming, 'placed');
    try {
      const folder = level.folder!;
      const partial = this.#mayResume(incoming) && !level.fresh ? this.#findPartial(level, name, size!) : undefined;
      const adopted = partial && Placing.adopt(folder, name, properties, context, partial);
      incoming.placing = adopted ?? Placing.open(folder, name, properties, context, this.#mayResume(incoming));
      if (adopted) return this.#prepare(incoming, () => this.#offerRest(incoming, adopted));
      incoming.wanted = true;
      channel.send(encodeMessage('want', { file: incoming.number }));
    } catch (error) {
      this.#drop(incoming, problemOf(error));
    }
  }

  #mayResume({ size, sparse, outflow }: Incoming): boolean {
    const { resume, atomic } = this.#reception.settings;
    return resume && atomic && !outflow && size !== undefined && size > CARRIED && (!sparse || hashesHoles(size));
  }

  #findPartial(level: Level, name: Buffer, size: number): ReturnType<typeof findPartial> {
    const { calls, limits } = this.#reception;
    try {
      level.temporaries ??= temporariesIn(level.folder!, calls, limits.partialAge);
      return findPartial(level.folder!, name, level.temporaries, size, calls);
    } catch {
      // A folder that we may not read: the file comes from its start.
      level.temporaries = [];
      return undefined;
    }
  }

  async #offerRest(incoming: Incoming, placing: Placing): Promise<void> {
    const { tally, channel } = this.#reception;
    const piece = Buffer.allocUnsafe(PIECE);
    const length = placing.size;
    for (let at = 0; at < length;) {
      if (this.#abandoned) return;
      const read = await readAt(placing.fd, piece.subarray(0, Math.min(PIECE, length - at)), at);
      if (read === 0) throw new Problem('another process changed the partial file');
      incoming.sum.update(piece.subarray(0, read));
      at += read;
    }
    incoming.position = length;
    incoming.wanted = true;
    tally.progress.bytes += length;
    channel.send(encodeMessage('have', { file: incoming.number, offset: length, sha256: incoming.sum.soFar() }));
  }

  // --- What the sender says of them.

  #wanted(file: number): Incoming | undefined {
    const incoming = this.#files.get(file);
    // It failed here while its content was on its way.
    if (!incoming) {
      this.#mustBeKnown(file);
      return undefined;
    }
    if (!incoming.wanted || incoming.ending)
      throw new ProtocolError(`content of entry ${file}, which was not asked for`);
    return incoming;
  }

  #mustBeKnown(file: number): void {
    if (!this.#isKnown(file)) throw new ProtocolError(`there is no entry ${file}`);
  }

  /** The sender has failed with a file. */
  failed(file: number, problem: Problem): void {
    const incoming = this.#files.get(file);
    // It failed here first.
    if (!incoming) return this.#mustBeKnown(file);
    // The sender knows, and has settled it.
    this.#drop(incoming, problem, false);
  }

  /** The first bytes that are here are not those of the source. */
  afresh(file: number): void {
    const incoming = this.#wanted(file);
    if (!incoming) return;
    this.#reception.tally.progress.bytes -= incoming.position;
    incoming.position = 0;
    incoming.sum = new ContentSum();
    try {
      incoming.placing?.restart();
    } catch (error) {
      this.#drop(incoming, problemOf(error));
    }
  }

  /** A piece. Returns a promise when the disk is behind. */
  take(file: number, offset: number, bytes: Buffer): void | Promise<void> {
    const incoming = this.#wanted(file);
    if (!incoming) return;
    const { tally, maxBytes } = this.#reception;
    const { size, position } = incoming;
    const end = offset + bytes.length;
    if (offset < position || (offset > position && !incoming.sparse))
      throw new ProtocolError(`data: entry ${file} goes on at ${offset} where ${position} is next`);
    if (end > (size ?? Number.MAX_SAFE_INTEGER)) throw new ProtocolError(`data: more of entry ${file} than it has`);
    if (end > maxBytes) return this.#drop(incoming, new Problem(`it has more than ${maxBytes} bytes`, 'EFBIG'));
    if (offset > position) incoming.sum.hole(offset - position);
    incoming.sum.update(bytes);
    incoming.position = end;
    tally.moved(bytes.length);
    try {
      const room = incoming.outflow ? incoming.outflow.write(bytes, offset) : incoming.placing!.write(bytes, offset);
      return room?.catch((error: unknown) => this.#drop(incoming, problemOf(error)));
    } catch (error) {
      this.#drop(incoming, problemOf(error));
    }
  }

  end(message: Body<'end'>): void {
    const incoming = this.#wanted(message.file);
    if (!incoming) return;
    const { position, size = message.size } = incoming;
    if (message.size !== size || position > size || (position < size && !incoming.sparse))
      throw new ProtocolError(`end: entry ${message.file} has ${message.size} bytes, and ${position} came`);
    incoming.ending = true;
    if (position < size) incoming.sum.hole(size - position);
    const digest = incoming.sum.digest();
    const sum = Buffer.from(message.sum);
    this.#untilOver(this.#complete(incoming, size, digest, sum));
  }

  // --- Ends.

  async #complete(incoming: Incoming, size: number, digest: Buffer, sum: Buffer): Promise<void> {
    const { number, level, path, placing, outflow } = incoming;
    const { tally, settling } = this.#reception;
    const sha256 = incoming.sum.exact ? digest : undefined;
    const event = { state: 'placed', path, kind: 'file', bytes: size, sha256 } as const;
    try {
      await (outflow ? outflow.fill(size) : placing!.written());
      if (!digest.equals(sum)) throw new Problem('it arrived damaged');
      if (incoming.foreign) tally.leaveOut('owner');
      placing?.finish(size);
      this.#files.delete(number);
      if (placing) addPlaced(this.#reception, placing, number, level, event);
      else settling.settle(number, level, event);
    } catch (error) {
      this.#drop(incoming, problemOf(error));
    }
  }

  /** The transfer does not end before this has. It does not fail. */
  #untilOver(work: Promise<void>): void {
    this.#ending.add(work);
    void work.finally(() => this.#ending.delete(work));
  }

  #dropAs(incoming: Incoming, state: 'placed' | 'same'): void {
    const { number, level, path, size = 0, sha256 } = incoming;
    const { tally, settling } = this.#reception;
    this.#files.delete(number);
    if (state === 'same') tally.progress.bytes += size;
    settling.settle(number, level, { state, path, kind: 'file', bytes: size, sha256 });
  }

  /** Gives a file up. `tell`: the sender does not know yet. */
  #drop(incoming: Incoming, problem: Problem, tell = true): void {
    const { number, level, path, placing, size = 0 } = incoming;
    if (!this.#files.delete(number)) return;
    if (placing) this.#untilOver(this.#discard(placing));
    const event = { state: 'failed', path, kind: 'file', bytes: size } as const;
    this.#reception.settling.settle(number, level, event, problem, tell);
  }

  async #discard(placing: Placing): Promise<void> {
    await placing.written().catch(() => {});
    placing.discard();
  }

  /** Resolves when the files whose content has come are placed, or failed. */
  async ended(): Promise<void> {
    await Promise.all(this.#ending);
  }

  /** The transfer ended early: files that are whole are placed, and the first bytes of others kept. */
  async abandon(error: unknown): Promise<void> {
    this.#abandoned = true;
    await this.#preparing;
    await this.ended();
    await this.#reception.groups.idle();
    for (const incoming of this.#files.values()) {
      await incoming.placing?.written().catch(() => {});
      incoming.placing?.discard(this.#mayResume(incoming) && !failedWith(error, 'ENOSPC', 'EDQUOT'));
    }
    this.#files.clear();
  }
}

/** A file that is written waits for its group's turn to be placed. */
export function addPlaced(
  { groups, settling }: Reception,
  placing: Placing,
  number: number,
  level: Level,
  event: Settled & { state: 'placed' },
): void {
  groups.add({
    folder: placing.folder,
    fd: placing.fd,
    place: () => {
      placing.place();
      placing.close();
    },
    settled: (error) => {
      if (error !== undefined) placing.discard();
      settling.settle(number, level, event, error);
    },
  });
}
