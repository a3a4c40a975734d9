/**
 * The sender of a transfer: walks the sources, announces what it finds, and sends what the receiver wants. Small files
 * go with their entry; larger ones wait for the receiver's word while others flow.
 */
import { createHash, hash } from 'node:crypto';
import { closeSync, fstatSync, readSync, type BigIntStats } from 'node:fs';
import type { Readable } from 'node:stream';
import { ProtocolError, SendallError } from '../errors.js';
import { loadCalls, type Calls } from './files/calls.js';
import { Channel, DATA_ROOM, type Streams } from './stream/channel.js';
import { ContentSum } from './stream/content-sum.js';
import type { EntryKind, FileTransfer, TransferResult } from './stream/events.js';
import { Exclusion } from './files/exclusion.js';
import { segments } from './source/holes.js';
import { CARRIED, PIECE, type TransferLimits } from './stream/limits.js';
import { encodeEntry, encodeMessage, type Body, type TransferMessage } from './stream/messages.js';
import { conduct, ended, nextMessage, prepare, sendBegin, settingsOf, type TransferOptions } from './stream/options.js';
import { Problem, problemOf } from './files/problem.js';
import { plainReads, type Reads } from './source/reads.js';
import type { CheckedSettings } from './stream/settings.js';
import { Tally } from './stream/tally.js';
import { lastName, Walk, type Found, type Source, type WalkedFolder } from './source/walk.js';

/** Options of a sender. */
export interface SendOptions extends TransferOptions {
  /** How files are read. */
  reads?: Reads;
}

/**
 * Sends files, folders with all they have, and links, to a `receiveFiles` at the other end of the streams.
 * @throws UsageError for settings that are wrong.
 */
export function sendFiles(sources: readonly Source[], streams: Streams, options: SendOptions = {}): FileTransfer {
  const { limits, own } = prepare(options);
  const channel = new Channel(streams, limits.maxFrame);
  const tally = new Tally(options.onFile);
  const transfer: Opened = { progress: tally.progress, into: own?.into };
  const run = async (): Promise<TransferResult> => {
    const calls = await loadCalls();
    sendBegin(channel, own, { sources: sources.length, name: nameOfSingle(sources) });
    const header = own ? undefined : await headerOf(channel);
    const settings = own ?? settingsOf(own, header!, limits);
    transfer.into = settings.into ?? header?.into;
    const sending = new Sending(
      channel,
      calls,
      settings,
      limits,
      tally,
      sources,
      options,
      header !== undefined,
      (into) => {
        transfer.into = into;
      },
    );
    try {
      await sending.run();
    } finally {
      await sending.close();
    }
    return tally.result();
  };
  const result = conduct(channel, options.signal, run);
  // Who does not ask for the result is not told of its failure by an unhandled rejection.
  result.catch(() => {});
  transfer.result = result;
  return transfer as FileTransfer;
}

/** A transfer that is being started. */
type Opened = { -readonly [K in keyof Omit<FileTransfer, 'result'>]: FileTransfer[K] } & {
  result?: Promise<TransferResult>;
};

/** The name of the single source, if it has one. */
function nameOfSingle(sources: readonly Source[]): Buffer | undefined {
  const [source] = sources;
  if (source === undefined || sources.length > 1 || (typeof source === 'object' && 'stream' in source))
    return undefined;
  return lastName(source);
}

async function headerOf(channel: Channel): Promise<Body<'begin'>> {
  const message = await nextMessage(channel);
  if (message.type !== 'begin') throw new ProtocolError(`${message.type} came where the header belongs`);
  return message;
}

const kinds = ['file', 'folder', 'link'] as const satisfies readonly EntryKind[];
const NANO = 1_000_000_000n;
/** Things that are announced in a row before the streams get a turn. */
const IN_A_ROW = 32;
/** How often a small file that changes under our hands is read again. */
const ATTEMPTS = 3;
/** Buffers for pieces of files that are kept for the next piece. */
const MOST_SPARE = 8;
const SLAB = 512 * 1024;
const PERMISSIONS = 0o777n;
const SPECIAL_BITS = 0o7000n;
const BLOCK = 512n;

/** An entry that is announced and not settled. */
interface Unsettled {
  readonly kind: EntryKind;
  readonly path: Buffer;
  size: number;
  sha256?: Buffer | undefined;
  readonly walked?: WalkedFolder;
  /** Of a file whose content has not been sent. */
  file?: OpenFile | undefined;
  settled?: boolean;
}

interface OpenFile {
  readonly number: number;
  readonly fd: number;
  readonly stat: BigIntStats | undefined;
  readonly stream?: Readable;
  /** Bytes that the receiver has, and their hash. */
  offset: number;
  prefix?: Buffer;
}

class Sending {
  readonly #channel: Channel;
  readonly #calls: Calls;
  readonly #settings: CheckedSettings;
  readonly #limits: TransferLimits;
  readonly #tally: Tally;
  readonly #walk: Walk;
  readonly #reads: Reads;
  readonly #shared: boolean;
  readonly #unsettled = new Map<number, Unsettled>();
  readonly #wanted: Unsettled[] = [];
  #waiting = 0;
  #count = 0;
  #walked = false;
  #begun: boolean;
  readonly #onInto: (into: boolean) => void;
  #over: Body<'done'> | undefined;
  #spare: Buffer[] = [];
  #slab = Buffer.alloc(0);
  /** A read that is under way; its descriptor stays open until it has ended. */
  #reading: Promise<unknown> = Promise.resolve();

  constructor(
    channel: Channel,
    calls: Calls,
    settings: CheckedSettings,
    limits: TransferLimits,
    tally: Tally,
    sources: readonly Source[],
    options: SendOptions,
    begun: boolean,
    onInto: (into: boolean) => void,
  ) {
    this.#channel = channel;
    this.#calls = calls;
    this.#settings = settings;
    this.#limits = limits;
    this.#tally = tally;
    this.#reads = options.reads ?? plainReads;
    this.#shared = options.reads !== undefined;
    this.#begun = begun;
    this.#onInto = onInto;
    const exclusion = new Exclusion(settings.exclude);
    this.#walk = new Walk(sources, { exclusion, maxDepth: limits.maxDepth, roots: options.roots, cwd: options.cwd });
  }

  async run(): Promise<void> {
    const channel = this.#channel;
    for (let row = 0; ;) {
      await this.#answers();
      const room = channel.room();
      if (room) await room;
      else if (this.#wanted.length) await this.#sendContent(this.#wanted.shift()!);
      else if (this.#mayAnnounce()) {
        const found = this.#walk.next();
        if (found) await this.#announce(found);
        else {
          this.#walked = true;
          this.#tally.progress.complete = true;
        }
        if (++row % IN_A_ROW === 0) await new Promise(setImmediate);
      } else if (this.#walked && this.#unsettled.size === 0) break;
      else if (!(await channel.arrival())) throw ended();
    }
    channel.send(encodeMessage('done', { entries: this.#count, leftOut: this.#leftOut() }));
    channel.flush();
    while (!this.#over) {
      await this.#answers();
      if (!this.#over && !(await channel.arrival())) throw ended();
    }
    if (this.#over.entries !== this.#count)
      throw new ProtocolError(`the receiver has settled ${this.#over.entries} entries of ${this.#count}`);
    for (const { what, count } of this.#over.leftOut.slice(0, MOST_KINDS)) this.#tally.leaveOut(what, count);
  }

  /** Lets go of all files. */
  async close(): Promise<void> {
    this.#walk.close();
    await this.#reading.catch(() => {});
    for (const entry of this.#unsettled.values()) this.#closeFile(entry);
  }

  #mayAnnounce(): boolean {
    const { maxUnsettled, maxOpenFiles } = this.#limits;
    return !this.#walked && this.#unsettled.size < maxUnsettled && this.#waiting < maxOpenFiles;
  }

  #leftOut(): { what: string; count: number }[] {
    return this.#tally.leftOut.map(([what, count]) => ({ what, count }));
  }

  // --- What the receiver says.

  async #answers(): Promise<void> {
    for (let message; (message = this.#channel.take());) {
      this.#answer(message);
      if (this.#tally.pending) await this.#tally.pending;
    }
  }

  #answer(message: TransferMessage): void {
    switch (message.type) {
      case 'placed':
        return this.#settle(message.file, 'placed');
      case 'same':
        return this.#settle(message.file, 'same');
      case 'problem':
        if (message.file === undefined) return this.#foreignProblem(message);
        return this.#settle(message.file, 'failed', message);
      case 'want':
      case 'have':
        return this.#want(message);
      case 'deleted':
        return this.#tally.report({
          state: 'deleted',
          path: Buffer.from(message.path),
          kind: kinds[message.kind],
          bytes: 0,
        });
      case 'begin':
        if (this.#begun) throw new ProtocolError('a second header');
        this.#begun = true;
        // The settings are ours: this checks the version.
        settingsOf(this.#settings, message, this.#limits);
        if (message.into !== undefined) this.#onInto(message.into);
        return;
      case 'done':
        this.#over = message;
        return undefined;
      case 'fatal':
        throw new SendallError('TRANSFER', cut(message.reason, this.#limits));
      default:
        throw new ProtocolError(`${message.type} is not for senders`);
    }
  }

  #entry(file: number): Unsettled {
    const entry = this.#unsettled.get(file);
    if (!entry) throw new ProtocolError(`an answer to entry ${file}, which waits for none`);
    return entry;
  }

  #settle(file: number, state: 'placed' | 'same' | 'failed', why?: Body<'problem'>): void {
    const entry = this.#entry(file);
    if (state === 'placed' && entry.file && !this.#settings.dryRun)
      throw new ProtocolError(`entry ${file} is placed before it was sent`);
    this.#unsettled.delete(file);
    entry.settled = true;
    if (why && entry.walked) entry.walked.unwanted = true;
    const { kind, path, size, sha256 } = entry;
    if (entry.file && !this.#sendingNow(entry)) this.#closeFile(entry);
    if (state === 'same' && kind === 'file') this.#tally.progress.bytes += size;
    return this.#tally.report({
      state,
      path,
      kind,
      bytes: kind === 'file' ? size : 0,
      sha256: state === 'failed' ? undefined : sha256,
      ...(why && { reason: cut(why.reason, this.#limits), errno: errnoOf(why.errno) }),
    });
  }

  #foreignProblem({ path, reason, errno }: Body<'problem'>): void {
    return this.#tally.report({
      state: 'failed',
      path: Buffer.from(path ?? ''),
      bytes: 0,
      reason: cut(reason, this.#limits),
      errno: errnoOf(errno),
    });
  }

  #want(message: Extract<TransferMessage, { type: 'want' | 'have' }>): void {
    const entry = this.#entry(message.file);
    const { file } = entry;
    if (!file || file.offset >= 0) throw new ProtocolError(`entry ${message.file} is not there to be wanted`);
    file.offset = message.type === 'have' ? message.offset : 0;
    if (message.type === 'have') {
      if (message.offset > entry.size) throw new ProtocolError(`more of entry ${message.file} than it has`);
      file.prefix = Buffer.from(message.sha256);
    }
    this.#wanted.push(entry);
  }

  // --- What is announced.

  async #announce(found: Found): Promise<void> {
    const channel = this.#channel;
    switch (found.kind) {
      case 'leave':
        channel.send(encodeMessage('leave', { complete: found.complete || undefined }));
        return;
      case 'special':
        channel.send(encodeMessage('skipped', { path: found.path, reason: found.reason }));
        this.#tally.report({ state: 'skipped', path: found.path, bytes: 0, reason: found.reason });
        await this.#tally.pending;
        return;
      case 'problem':
        return this.#failed(found.path, found.problem);
      case 'folder': {
        const { path, walked, stat, name, contents } = found;
        this.#sendEntry(
          { ...this.#fields(name, 1, stat), nameless: contents || undefined },
          { kind: 'folder', path, size: 0, walked },
        );
        return;
      }
      case 'link': {
        const { name, path, stat, target } = found;
        if (target.length > this.#limits.maxLinkTarget) return this.#failed(path, new Problem('the link is too long'));
        this.#sendEntry({ ...this.#fields(name, 2, stat), target }, { kind: 'link', path, size: 0 });
        return;
      }
      case 'stream':
        return this.#announceStream(found);
      default:
        return this.#announceFile(found);
    }
  }

  /** What could not be sent has no number. */
  async #failed(path: Buffer, problem: Problem, kind?: EntryKind): Promise<void> {
    const { message: reason, errno } = problem;
    this.#channel.send(encodeMessage('problem', { path, reason, errno }));
    this.#tally.report({ state: 'failed', path, kind, bytes: 0, reason, errno });
    await this.#tally.pending;
  }

  #fields(name: Buffer, kind: number, stat: BigIntStats): Body<'entry'> {
    const { mtimeNs } = stat;
    const nanoseconds = ((mtimeNs % NANO) + NANO) % NANO;
    const seconds = Number((mtimeNs - nanoseconds) / NANO);
    if (stat.mode & SPECIAL_BITS && kind === 0) this.#tally.leaveOut('setuid');
    return {
      name,
      kind,
      mode: Number(stat.mode & PERMISSIONS),
      seconds: seconds < 0 ? -2 * seconds - 1 : 2 * seconds,
      nanoseconds: Number(nanoseconds),
      uid: Number(stat.uid),
      gid: Number(stat.gid),
    };
  }

  #sendEntry(fields: Body<'entry'>, entry: Unsettled, content?: Uint8Array): number {
    const number = this.#count++;
    if (number >= this.#limits.maxEntries)
      throw new SendallError('TRANSFER', `more than ${this.#limits.maxEntries} entries (maxEntries)`);
    this.#unsettled.set(number, entry);
    this.#tally.announced(entry.size);
    this.#channel.send(encodeEntry(fields), content);
    return number;
  }

  async #announceStream({ name, path, stream, mode }: Extract<Found, { kind: 'stream' }>): Promise<void> {
    const now = Date.now();
    const fields = {
      name: name.length ? name : Buffer.from('-'),
      nameless: name.length ? undefined : true,
      kind: 0,
      mode,
      seconds: 2 * Math.floor(now / 1000),
      nanoseconds: (now % 1000) * 1_000_000,
    };
    const entry: Unsettled = { kind: 'file', path, size: 0 };
    const number = this.#sendEntry(fields, entry);
    entry.file = { number, fd: -1, stat: undefined, stream, offset: -1 };
    this.#waiting++;
  }

  async #announceFile({ name, path, fd, stat }: Extract<Found, { kind: 'file' }>): Promise<void> {
    const size = Number(stat.size);
    let open = true;
    try {
      if (size > this.#limits.maxFileBytes)
        throw new Problem(`its ${size} bytes are more than ${this.#limits.maxFileBytes} (maxFileBytes)`, 'EFBIG');
      this.#noteLosses(fd, stat);
      const fields = { ...this.#fields(name, 0, stat), size };
      const { checksum, dryRun } = this.#settings;
      if (size <= CARRIED && !dryRun) {
        const small = await this.#readSmall(fd, stat);
        if (small) {
          const { content, changed } = small;
          const sha256 = sha256Of(content);
          const now = changed ? { ...this.#fields(name, 0, changed), size: content.length } : fields;
          const entry: Unsettled = { kind: 'file', path, size: content.length, sha256 };
          this.#sendEntry({ ...now, carried: true, sha256 }, entry, content);
          this.#tally.moved(content.length);
          return;
        }
        // Like those of /proc: its size is known when all was read.
        const entry: Unsettled = { kind: 'file', path, size: 0 };
        const number = this.#sendEntry({ ...fields, size: undefined }, entry);
        entry.file = { number, fd, stat: undefined, offset: -1 };
      } else {
        const entry: Unsettled = { kind: 'file', path, size };
        const taken = stat.blocks * BLOCK;
        const holes = taken < stat.size ? Number(stat.size - taken) : undefined;
        const sha256 = checksum ? await this.#sumOf(fd, stat) : undefined;
        const number = this.#sendEntry({ ...fields, holes, sha256 }, entry);
        entry.file = { number, fd, stat, offset: -1 };
      }
      open = false;
      this.#waiting++;
    } catch (error) {
      await this.#failed(path, problemOf(error), 'file');
    } finally {
      if (open) closeSync(fd);
    }
  }

  /** Counts what does not travel. */
  #noteLosses(fd: number, stat: BigIntStats): void {
    if (stat.nlink > 1n) this.#tally.leaveOut('hardLink');
    const names = this.#calls.attributes?.(fd) ?? [];
    if (names.some((name) => name.startsWith('system.posix_acl'))) this.#tally.leaveOut('acl');
    if (names.some((name) => name.startsWith('user.') || name === 'security.capability')) this.#tally.leaveOut('xattr');
  }

  /** The whole of a small file, as it was at one moment; undefined for one whose size says nothing. */
  async #readSmall(fd: number, stat: BigIntStats): Promise<{ content: Buffer; changed?: BigIntStats } | undefined> {
    let now = stat;
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const size = Number(now.size);
      if (size > CARRIED) break;
      const into = this.#room(size + 1);
      let length = 0;
      for (let more = -1; more !== 0 && length <= size; length += more) {
        const rest = into.subarray(length);
        more = this.#shared
          ? await this.#reads.read(fd, idOf(now), length, rest)
          : readSync(fd, rest, 0, rest.length, length);
        if (length + more === size && size > 0) {
          length = size;
          break;
        }
      }
      if (size === 0 && length > 0 && now.blocks === 0n) return undefined;
      const then = fstatSync(fd, { bigint: true });
      if (length === size && then.size === now.size && then.mtimeNs === now.mtimeNs) {
        const content = into.subarray(0, length);
        return now === stat ? { content } : { content, changed: now };
      }
      now = then;
    }
    throw changedProblem();
  }

  /** Memory for a small file, behind that of the last one. */
  #room(size: number): Buffer {
    if (this.#slab.length < size) this.#slab = Buffer.allocUnsafeSlow(SLAB);
    const room = this.#slab.subarray(0, size);
    this.#slab = this.#slab.subarray(size);
    return room;
  }

  async #sumOf(fd: number, stat: BigIntStats): Promise<Buffer> {
    const id = idOf(stat);
    const known = this.#reads.sum?.(id);
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
    this.#reads.keepSum?.(id, sha256);
    return sha256;
  }

  #read(fd: number, id: string, position: number, into: Buffer): Promise<number> {
    const reading = this.#reads.read(fd, id, position, into);
    this.#reading = reading;
    return reading;
  }

  // --- Content of larger files.

  #now: Unsettled | undefined;
  #sendingNow = (entry: Unsettled): boolean => entry === this.#now;

  async #sendContent(entry: Unsettled): Promise<void> {
    const { file } = entry;
    // It failed at the receiver meanwhile.
    if (!file || entry.settled) return;
    this.#now = entry;
    const { progress } = this.#tally;
    Object.assign(progress, { path: entry.path, size: entry.size, at: file.offset });
    try {
      const sum = file.stat ? await this.#sendFile(entry, file, file.stat) : await this.#sendUnsized(entry, file);
      if (!sum || entry.settled) return;
      const digest = sum.digest();
      if (sum.exact) entry.sha256 = digest;
      if (sum.exact && file.stat) this.#reads.keepSum?.(idOf(file.stat), digest);
      this.#channel.send(encodeMessage('end', { file: file.number, size: entry.size, sum: digest }));
    } catch (error) {
      if (error instanceof SendallError) throw error;
      const { message: reason, errno } = problemOf(error);
      this.#channel.send(encodeMessage('problem', { file: file.number, reason, errno }));
      if (!entry.settled) this.#settle(file.number, 'failed', { reason, errno });
    } finally {
      this.#now = undefined;
      await this.#reading.catch(() => {});
      this.#closeFile(entry);
    }
  }

  #closeFile(entry: Unsettled): void {
    const { file } = entry;
    if (!file) return;
    entry.file = undefined;
    this.#waiting--;
    if (file.fd >= 0) closeSync(file.fd);
  }

  /** Sends a file whose size is known. Undefined when the receiver lost interest. */
  async #sendFile(entry: Unsettled, file: OpenFile, stat: BigIntStats): Promise<ContentSum | undefined> {
    const { fd, number } = file;
    const { size } = entry;
    const id = idOf(stat);
    let sum = new ContentSum();
    let from = file.offset;
    if (from > 0) {
      await this.#addPrefix(fd, id, from, sum);
      if (!sum.soFar().equals(file.prefix!)) {
        this.#channel.send(encodeMessage('afresh', { file: number }));
        sum = new ContentSum();
        from = 0;
      } else this.#tally.progress.bytes += from;
    }
    const isSparse = stat.blocks * BLOCK < stat.size;
    let position = from;
    // One piece is read while the one before it is hashed and sent.
    const parts = segments(fd, from, size, isSparse ? this.#calls : {}, PIECE);
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
      for (const { from: start, to } of dataIn(frame, length, isSparse && !this.#calls.nextData)) {
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

  /** How many uses of a frame's memory are not over. */
  readonly #inUse = new Map<Buffer, number>();

  #release(frame: Buffer): void {
    const users = this.#inUse.get(frame)! - 1;
    if (users > 0) return void this.#inUse.set(frame, users);
    this.#inUse.delete(frame);
    if (this.#channel.returnsMemory && this.#spare.length < MOST_SPARE) this.#spare.push(frame);
  }

  /** Sends [start, to) of `frame`; the memory before it is the header's. */
  #sendPiece(frame: Buffer, start: number, to: number, file: number, offset: number): void {
    this.#tally.moved(to - start);
    // Only the first stretch of a frame has room for a header before it.
    if (start !== DATA_ROOM) return this.#sendCopy(frame.subarray(start, to), file, offset);
    this.#inUse.set(frame, this.#inUse.get(frame)! + 1);
    this.#channel.sendData(frame, to - start, file, offset, () => this.#release(frame));
  }

  #sendCopy(bytes: Buffer, file: number, offset: number): void {
    const frame = Buffer.allocUnsafe(DATA_ROOM + bytes.length);
    bytes.copy(frame, DATA_ROOM);
    this.#channel.sendData(frame, bytes.length, file, offset, () => {});
  }

  /** Waits until there is room for more. Says whether the receiver lost interest in this file meanwhile. */
  async #isUnwanted(entry: Unsettled): Promise<boolean> {
    const room = this.#channel.room();
    if (room) await room;
    this.#channel.mustGoOn();
    await this.#answers();
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
          this.#tally.moved(part.length);
          this.#sendCopy(part, file.number, at);
          at += part.length;
          if (await this.#isUnwanted(entry)) return undefined;
        }
      }
    } finally {
      stream?.destroy();
    }
    entry.size = at;
    this.#tally.progress.expected += at;
    return sum;
  }

  /** What `coming` brings; undefined when the receiver loses interest before. */
  async #unlessUnwanted<T>(entry: Unsettled, coming: Promise<T>): Promise<T | undefined> {
    const arrived = coming.then((value) => ({ value }));
    for (;;) {
      const first = await Promise.race([arrived, this.#channel.arrival()]);
      if (typeof first === 'object') return first.value;
      if (!first) throw ended();
      await this.#answers();
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

/** Kinds of losses that the other side may name. */
const MOST_KINDS = 16;

const changedProblem = (): Problem => new Problem('it changed while it was read: try it again');
const idOf = (stat: BigIntStats): string => `${stat.dev}:${stat.ino}:${stat.size}:${stat.mtimeNs}`;
const cut = (reason: string, { maxReason }: TransferLimits): string => reason.slice(0, maxReason);
const errnoOf = (errno: string | undefined): string | undefined => errno?.slice(0, 32);

const sha256Of = (bytes: Uint8Array): Buffer => hash('sha256', bytes, 'buffer');

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
