/**
 * The sender of a transfer: walks the sources, announces what it finds, and sends what the receiver wants. Small files
 * go with their entry; larger ones wait for the receiver's word while others flow.
 */
import { hash } from 'node:crypto';
import { closeSync } from 'node:fs';
import { ProtocolError, SendallError } from '../errors.js';
import { loadCalls, type Calls } from './files/calls.js';
import { Exclusion } from './files/exclusion.js';
import { Problem, problemOf } from './files/problem.js';
import { Content } from './source/content.js';
import { fieldsOf, KIND, lossesOf } from './source/fields.js';
import { plainReads, type Reads } from './source/reads.js';
import { SmallFiles } from './source/small-files.js';
import type { Unsettled } from './source/unsettled.js';
import { lastName, Walk, type Found, type Source } from './source/walk.js';
import { Channel, type Streams } from './stream/channel.js';
import type { EntryKind, FileTransfer, TransferResult } from './stream/events.js';
import { CARRIED, type TransferLimits } from './stream/limits.js';
import { encodeEntry, encodeMessage, type Body, type TransferMessage } from './stream/messages.js';
import { conduct, ended, nextMessage, prepare, sendBegin, settingsOf, type TransferOptions } from './stream/options.js';
import type { CheckedSettings } from './stream/settings.js';
import { Tally } from './stream/tally.js';

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
  const tally = new Tally(options.onFile, options.onMuch);
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
/** Things that are announced in a row before the streams get a turn. */
const IN_A_ROW = 32;
const BLOCK = 512n;

class Sending {
  readonly #channel: Channel;
  readonly #calls: Calls;
  readonly #settings: CheckedSettings;
  readonly #limits: TransferLimits;
  readonly #tally: Tally;
  readonly #walk: Walk;
  readonly #content: Content;
  readonly #small: SmallFiles;
  readonly #unsettled = new Map<number, Unsettled>();
  readonly #wanted: Unsettled[] = [];
  #waiting = 0;
  #count = 0;
  #walked = false;
  #begun: boolean;
  readonly #onInto: (into: boolean) => void;
  #over: Body<'done'> | undefined;
  /** The one whose content is being sent. */
  #now: Unsettled | undefined;

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
    this.#small = new SmallFiles(options.reads);
    this.#content = new Content({
      channel,
      calls,
      tally,
      reads: options.reads ?? plainReads,
      answers: () => this.#answers(),
    });
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
    await this.#content.quiet();
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
    if (entry.file && entry !== this.#now) this.#closeFile(entry);
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
          { ...fieldsOf(name, 'folder', stat), nameless: contents || undefined },
          { kind: 'folder', path, size: 0, walked },
        );
        return;
      }
      case 'link': {
        const { name, path, stat, target } = found;
        if (target.length > this.#limits.maxLinkTarget) return this.#failed(path, new Problem('the link is too long'));
        this.#sendEntry({ ...fieldsOf(name, 'link', stat), target }, { kind: 'link', path, size: 0 });
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
      kind: KIND.file,
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
      for (const loss of lossesOf(fd, stat, this.#calls)) this.#tally.leaveOut(loss);
      const fields = { ...fieldsOf(name, 'file', stat), size };
      const { checksum, dryRun } = this.#settings;
      if (size <= CARRIED && !dryRun) {
        const small = await this.#small.read(fd, stat);
        if (small) {
          const { content, changed } = small;
          const sha256 = sha256Of(content);
          const now = changed ? { ...fieldsOf(name, 'file', changed), size: content.length } : fields;
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
        const sha256 = checksum ? await this.#content.sumOf(fd, stat) : undefined;
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

  // --- Content of larger files.

  async #sendContent(entry: Unsettled): Promise<void> {
    const { file } = entry;
    // It failed at the receiver meanwhile.
    if (!file || entry.settled) return;
    this.#now = entry;
    try {
      await this.#content.send(entry, file);
    } catch (error) {
      if (error instanceof SendallError) throw error;
      const { message: reason, errno } = problemOf(error);
      this.#channel.send(encodeMessage('problem', { file: file.number, reason, errno }));
      if (!entry.settled) this.#settle(file.number, 'failed', { reason, errno });
    } finally {
      this.#now = undefined;
      await this.#content.quiet();
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
}

/** Kinds of losses that the other side may name. */
const MOST_KINDS = 16;

const cut = (reason: string, { maxReason }: TransferLimits): string => reason.slice(0, maxReason);
const errnoOf = (errno: string | undefined): string | undefined => errno?.slice(0, 32);

const sha256Of = (bytes: Uint8Array): Buffer => hash('sha256', bytes, 'buffer');
