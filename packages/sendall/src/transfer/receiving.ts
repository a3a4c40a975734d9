/**
 * The receiver of a transfer: opens the place, enters folder by folder, and puts each file, folder and link where it
 * belongs. All that it is told is checked; a name is never more than one component of a path.
 */
import { createHash, hash } from 'node:crypto';
import {
  chmodSync,
  closeSync,
  constants,
  lstatSync,
  mkdirSync,
  fchmodSync,
  lutimesSync,
  openSync,
  readlinkSync,
  readSync,
  renameSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
  type BigIntStats,
} from 'node:fs';
import type { Writable } from 'node:stream';
import { ProtocolError, SendallError } from '../errors.js';
import { loadCalls, type Calls } from './files/calls.js';
import { Channel, type Streams } from './stream/channel.js';
import { ContentSum, hashesHoles } from './stream/content-sum.js';
import type { EntryKind, FileTransfer, Progress, TransferResult } from './stream/events.js';
import { Exclusion } from './files/exclusion.js';
import type { HeldFolder } from './files/held-folder.js';
import { openLanding, openToSync, type Landing } from './place/landing.js';
import { CARRIED, PIECE, type TransferLimits } from './stream/limits.js';
import { encodeMessage, type Body, type TransferMessage } from './stream/messages.js';
import { checkName, isTemporary, NameSet, Temporaries, UNFINISHED } from './files/names.js';
import { conduct, nextMessage, prepare, sendBegin, settingsOf, type TransferOptions } from './stream/options.js';
import { Outflow } from './place/outflow.js';
import { findPartial, temporariesIn } from './place/partial.js';
import { Placing, type PlacingContext, type Properties } from './place/placing.js';
import { failedWith, Problem, problemOf } from './files/problem.js';
import { plainReads } from './source/reads.js';
import { removeOthers } from './place/removal.js';
import type { CheckedSettings } from './stream/settings.js';
import { SyncGroups } from './place/sync-groups.js';
import { Tally } from './stream/tally.js';

/**
 * Receives what a `sendFiles` at the other end of the streams sends. `destination`: a path, or a stream for the content
 * of a single file.
 * @throws UsageError for settings that are wrong.
 */
export function receiveFiles(
  destination: string | Uint8Array | Writable,
  streams: Streams,
  options: TransferOptions = {},
): FileTransfer {
  const { limits, own } = prepare(options);
  const channel = new Channel(streams, limits.maxFrame);
  const tally = new Tally(options.onFile);
  const transfer: { progress: Readonly<Progress>; into: boolean | undefined } = {
    progress: tally.progress,
    into: own?.into,
  };
  const run = async (): Promise<TransferResult> => {
    const calls = await loadCalls();
    if (own) sendBegin(channel, own);
    const header = await nextMessage(channel);
    if (header.type !== 'begin') throw new ProtocolError(`${header.type} came where the header belongs`);
    const settings = settingsOf(own, header, limits);
    if (header.sources === undefined || header.sources < 1) throw new ProtocolError('a header without sources');
    const receiving = new Receiving(channel, calls, settings, limits, tally, destination, header, options);
    transfer.into = receiving.into;
    if (!own) sendBegin(channel, undefined, { into: receiving.into });
    try {
      await receiving.run();
    } catch (error) {
      await receiving.abandon(error);
      throw error;
    } finally {
      receiving.close();
    }
    return tally.result();
  };
  const result = conduct(channel, options.signal, run);
  // Who does not ask for the result is not told of its failure by an unhandled rejection.
  result.catch(() => {});
  return Object.assign(transfer, { result });
}

const kinds = ['file', 'folder', 'link'] as const satisfies readonly EntryKind[];
const { O_NOFOLLOW, O_NONBLOCK, O_RDONLY } = constants;
const HIGHEST_MODE = 0o777;
/** What an owner needs to fill a folder. */
const FILLING = 0o700;
const SECOND = 1_000_000_000;
const MICROSECOND = 1000n;
/** Links that wait until their folders are left. Together with open folders fewer than may be unsettled. */
const MOST_LINKS = 256;
/** Kinds of losses that the other side may name. */
const MOST_KINDS = 16;

/** A folder that was entered, or the place where the sources land. */
class Level {
  readonly number: number;
  readonly parent: Level | undefined;
  /** Undefined in a dry run for one that would be made, and for one that failed. */
  readonly folder: HeldFolder | undefined;
  /** Made by this transfer, so nothing was in it. */
  readonly fresh: boolean;
  readonly path: Buffer;
  /** Below the source's top folder. */
  readonly below: Buffer;
  readonly properties: Properties | undefined;
  /** Why nothing can be placed in it. */
  readonly problem: Problem | undefined;
  readonly names: NameSet | undefined;
  readonly links: Link[] = [];
  temporaries: Buffer[] | undefined;
  /** Things in it that are not settled. */
  pending = 0;
  left = false;

  constructor(fields: Partial<Level> & Pick<Level, 'number' | 'path' | 'below'>) {
    this.number = fields.number;
    this.parent = fields.parent;
    this.folder = fields.folder;
    this.fresh = fields.fresh ?? false;
    this.path = fields.path;
    this.below = fields.below;
    this.properties = fields.properties;
    this.problem = fields.problem;
    this.names = fields.names;
  }
}

interface Link {
  readonly number: number;
  readonly name: Buffer;
  readonly path: Buffer;
  readonly target: Buffer;
  readonly properties: Properties;
}

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

class Receiving {
  readonly #channel: Channel;
  readonly #calls: Calls;
  readonly #settings: CheckedSettings;
  readonly #limits: TransferLimits;
  readonly #tally: Tally;
  readonly #exclusion: Exclusion;
  readonly #groups: SyncGroups;
  readonly #context: PlacingContext;
  readonly #landing: Landing;
  readonly #outflow: Outflow | undefined;
  readonly #maxBytes: number;
  readonly #sources: number;
  readonly #levels: Level[] = [];
  readonly #files = new Map<number, Incoming>();
  /** Folders of levels, until these are complete. */
  readonly #held = new Set<HeldFolder>();
  readonly #sourceName: Uint8Array | undefined;
  /** The destination, made by this transfer or an unfinished one before. */
  #marked: { readonly folder: HeldFolder; readonly properties: Properties } | undefined;
  #linksWaiting = 0;
  #count = 0;
  #settledCount = 0;
  #topLevel = 0;
  #over = false;
  #abandoned = false;
  /** Comparing and hashing of what is there, one file after the other. */
  #preparing: Promise<void> = Promise.resolve();
  readonly #ending = new Set<Promise<void>>();

  constructor(
    channel: Channel,
    calls: Calls,
    settings: CheckedSettings,
    limits: TransferLimits,
    tally: Tally,
    destination: string | Uint8Array | Writable,
    header: Body<'begin'>,
    options: TransferOptions,
  ) {
    const sources = header.sources ?? 1;
    this.#channel = channel;
    this.#calls = calls;
    this.#settings = settings;
    this.#limits = limits;
    this.#tally = tally;
    this.#sources = sources;
    this.#sourceName = header.name && Buffer.from(header.name);
    this.#exclusion = new Exclusion(settings.exclude);
    this.#groups = new SyncGroups(calls, settings.fsync);
    const { roots } = options;
    this.#maxBytes = Math.min(limits.maxFileBytes, roots?.maxBytes ?? Infinity);
    this.#context = {
      calls,
      temporaries: new Temporaries(options.run),
      atomic: settings.atomic,
      strict: roots !== undefined,
      writeBack: settings.fsync !== 'none',
    };
    if (roots && settings.delete) throw new SendallError('TRANSFER', 'a rule for files does not allow delete');
    if (isStream(destination)) {
      if (sources > 1) throw new SendallError('TRANSFER', 'one file at a time can go to a stream');
      this.#outflow = new Outflow(destination);
      this.#landing = { folder: undefined };
    } else {
      const path = typeof destination === 'string' ? Buffer.from(destination) : Buffer.from(destination);
      try {
        this.#landing = openLanding(path, {
          sources,
          name: header.name,
          cwd: options.cwd ?? process.cwd(),
          dryRun: settings.dryRun,
          into: settings.into,
          partialAge: limits.partialAge,
          roots,
        });
      } catch (error) {
        throw new SendallError('TRANSFER', problemOf(error).message, { cause: error });
      }
    }
    const nothing = Buffer.alloc(0);
    this.#push(new Level({ number: -1, folder: this.#landing.folder, path: nothing, below: nothing }));
  }

  /** Whether sources land in the destination. */
  get into(): boolean {
    return this.#landing.name === undefined && !this.#outflow;
  }

  async run(): Promise<void> {
    const channel = this.#channel;
    while (!this.#over) {
      const wait = this.#tally.pending ?? this.#groups.room() ?? channel.room();
      if (wait) {
        await wait;
        continue;
      }
      const message = channel.take();
      if (message) {
        const work = this.#handle(message);
        if (work) await work;
      } else if (!(await channel.arrival()))
        throw new SendallError('ENDED', 'the stream ended before the transfer did');
    }
    await this.#tally.pending;
    await Promise.all(this.#ending);
    channel.check();
    this.#unmark();
    const leftOut = this.#tally.leftOut.map(([what, count]) => ({ what, count }));
    channel.send(encodeMessage('done', { entries: this.#count, leftOut }));
  }

  /** The transfer ended early: files that are whole are placed, and the first bytes of others kept. */
  async abandon(error: unknown): Promise<void> {
    this.#abandoned = true;
    await this.#preparing;
    await Promise.all(this.#ending);
    await this.#groups.idle();
    for (const incoming of this.#files.values()) {
      await incoming.placing?.written().catch(() => {});
      incoming.placing?.discard(this.#mayResume(incoming) && !failedWith(error, 'ENOSPC', 'EDQUOT'));
    }
    this.#files.clear();
  }

  close(): void {
    this.#outflow?.close();
    this.#marked?.folder.release();
    for (const folder of this.#held) folder.release();
    this.#held.clear();
  }

  // --- Messages.

  #handle(message: TransferMessage): void | Promise<void> {
    switch (message.type) {
      case 'entry':
        return this.#onEntry(message);
      case 'data':
        return this.#onData(message.file, message.offset, message.bytes);
      case 'leave':
        return this.#onLeave(message.complete === true);
      case 'end':
        return this.#onEnd(message);
      case 'afresh':
        return this.#onAfresh(message.file);
      case 'problem':
        return this.#onProblem(message);
      case 'skipped':
        return this.#tally.report({
          state: 'skipped',
          path: Buffer.from(message.path),
          bytes: 0,
          reason: message.reason.slice(0, this.#limits.maxReason),
        });
      case 'done':
        return this.#onDone(message);
      case 'fatal':
        throw new SendallError('TRANSFER', message.reason.slice(0, this.#limits.maxReason));
      default:
        throw new ProtocolError(`${message.type} is not for receivers`);
    }
  }

  #onDone({ entries, leftOut }: Body<'done'>): void {
    if (entries !== this.#count) throw new ProtocolError(`${entries} entries were sent, and ${this.#count} arrived`);
    if (this.#settledCount !== this.#count || this.#levels.length > 1)
      throw new ProtocolError('the sender ended before all was settled');
    for (const { what, count } of leftOut.slice(0, MOST_KINDS)) this.#tally.leaveOut(what, count);
    this.#tally.progress.complete = true;
    this.#over = true;
  }

  #onProblem({ file, path, reason, errno }: Body<'problem'>): void {
    const why = reason.slice(0, this.#limits.maxReason);
    if (file === undefined) {
      this.#tally.report({
        state: 'failed',
        path: Buffer.from(path ?? ''),
        bytes: 0,
        reason: why,
        errno: errno?.slice(0, 32),
      });
      return;
    }
    const incoming = this.#files.get(file);
    // It failed here first.
    if (!incoming) return this.#mustBeKnown(file);
    // The sender knows, and has settled it.
    this.#drop(incoming, new Problem(why, errno?.slice(0, 32)), false);
  }

  #mustBeKnown(file: number): void {
    if (file >= this.#count) throw new ProtocolError(`there is no entry ${file}`);
  }

  // --- Entries.

  #onEntry(entry: Extract<TransferMessage, { type: 'entry' }>): void | Promise<void> {
    const level = this.#levels.at(-1)!;
    const limits = this.#limits;
    const number = this.#count++;
    if (number >= limits.maxEntries) throw new ProtocolError(`more than ${limits.maxEntries} entries (maxEntries)`);
    if (this.#count - this.#settledCount > limits.maxUnsettled)
      throw new ProtocolError(`more than ${limits.maxUnsettled} unsettled entries (maxUnsettled)`);
    checkName(entry.name, limits.maxName);
    const kind = kinds[entry.kind];
    if (!kind || entry.mode > HIGHEST_MODE || entry.nanoseconds >= SECOND)
      throw new ProtocolError('entry: a kind, mode or time that there is not');
    if (entry.content.length && !entry.carried) throw new ProtocolError('entry: content that was not announced');
    const isTop = level.number < 0;
    if (isTop && ++this.#topLevel > this.#sources) throw new ProtocolError('more sources than were announced');
    // The frame's memory is not ours to keep.
    const own = Buffer.from(entry.name);
    const path = level.path.length ? join(level.path, own) : own;
    const name = (isTop && this.#landing.name) || own;
    level.pending++;
    level.names?.add(name);
    this.#tally.announced(kind === 'file' ? (entry.size ?? 0) : 0);
    if (kind === 'folder') return this.#enter(level, name, path, entry, number);
    if (kind === 'link') return this.#queueLink(level, name, path, entry, number);
    return this.#onFile(level, name, path, entry, number, isTop);
  }

  /** What prevents anything of this name in this folder. */
  #obstacle(level: Level, name: Buffer): Problem | undefined {
    if (level.problem) return new Problem(`its folder failed: ${level.problem.message}`, level.problem.errno);
    if (isTemporary(name)) return new Problem('names like this are for files on their way');
    return undefined;
  }

  #properties(entry: Body<'entry'>, isFile: boolean): Properties {
    const { seconds, nanoseconds } = entry;
    return {
      mode: (isFile ? this.#settings.mode : undefined) ?? entry.mode,
      seconds: seconds % 2 ? -(seconds + 1) / 2 : seconds / 2,
      nanoseconds,
    };
  }

  // --- Folders.

  #enter(parent: Level, name: Buffer, path: Buffer, entry: Body<'entry'>, number: number): void {
    if (this.#levels.length > this.#limits.maxDepth)
      throw new ProtocolError(`more than ${this.#limits.maxDepth} folders below each other (maxDepth)`);
    const isTop = parent.number < 0;
    const below = isTop ? Buffer.alloc(0) : parent.below.length ? join(parent.below, name) : name;
    const properties = this.#properties(entry, false);
    const common = { number, parent, path, below, properties };
    let level: Level;
    try {
      const problem = this.#obstacle(parent, name);
      if (problem) throw problem;
      if (this.#outflow) throw new Problem('a folder cannot go to a stream', 'EISDIR');
      if (this.#landing.exact) throw new Problem('a rule for files allows no folders', 'EACCES');
      const names = this.#settings.delete ? new NameSet() : undefined;
      if (isTop && entry.nameless && !this.#landing.name)
        level = new Level({ ...common, folder: parent.folder?.child(HERE), names, fresh: !parent.folder });
      else level = new Level({ ...common, ...this.#openFolder(parent, name, properties), names });
    } catch (error) {
      const problem = problemOf(error);
      level = new Level({ ...common, problem });
      this.#settle(number, parent, { state: 'failed', path, kind: 'folder', bytes: 0 }, problem);
    }
    this.#push(level);
  }

  #push(level: Level): void {
    this.#levels.push(level);
    if (level.folder) this.#held.add(level.folder);
  }

  #letGo(folder: HeldFolder | undefined): void {
    if (folder && this.#held.delete(folder)) folder.release();
  }

  #openFolder(parent: Level, name: Buffer, properties: Properties): { folder?: HeldFolder; fresh: boolean } {
    const { folder } = parent;
    // A dry run in a folder that would have been made.
    if (!folder) return { fresh: true };
    const mode = properties.mode | FILLING;
    let fresh = false;
    if (this.#settings.dryRun) {
      if (!folder.look(name)) return { fresh: true };
    } else {
      try {
        mkdirSync(folder.at(name), mode);
        fresh = true;
      } catch (error) {
        if (!failedWith(error, 'EEXIST')) throw error;
      }
    }
    try {
      const child = folder.child(name);
      // The umask may have taken something away.
      if (fresh) chmodSync(child.self, mode);
      if (parent.number < 0 && this.#landing.name) this.#mark(child, fresh, properties);
      return { folder: child, fresh };
    } catch (error) {
      if (!failedWith(error, 'ENOTDIR', 'ELOOP')) throw error;
      throw new Problem('what is there is no folder; a link to one is not followed', 'ENOTDIR');
    }
  }

  /** Marks the destination as one that this transfer makes, or goes on making, and has not completed. */
  #mark(folder: HeldFolder, fresh: boolean, properties: Properties): void {
    if (this.#settings.dryRun || !this.#sourceName) return;
    if (fresh) writeFileSync(folder.at(UNFINISHED), this.#sourceName, { flag: 'wx', mode: 0o600 });
    else if (!folder.look(UNFINISHED)) return;
    this.#marked = { folder: folder.hold(), properties };
  }

  /** The sender knows that all is there. */
  #unmark(): void {
    if (!this.#marked) return;
    const { folder, properties } = this.#marked;
    try {
      unlinkSync(folder.at(UNFINISHED));
    } catch (error) {
      if (!failedWith(error, 'ENOENT')) throw error;
    }
    setFolderProperties(folder, properties, this.#calls);
  }

  async #onLeave(complete: boolean): Promise<void> {
    const level = this.#levels.at(-1)!;
    if (level.number < 0) throw new ProtocolError('leave: no folder was entered');
    this.#makeLinks(level);
    if (level.names && complete && !level.problem && level.folder && !level.fresh)
      await this.#removeOthers(level, level.names, level.folder);
    this.#levels.pop();
    level.left = true;
    this.#finishFolder(level);
  }

  async #removeOthers(level: Level, names: NameSet, folder: HeldFolder): Promise<void> {
    const keeps = (name: Buffer, isFolder: boolean): boolean =>
      names.has(name) || this.#exclusion.has(level.below.length ? join(level.below, name) : name, name, isFolder);
    for await (const { name, kind, problem } of removeOthers(
      folder,
      keeps,
      this.#settings.dryRun,
      this.#limits.maxDepth,
    )) {
      const path = join(level.path, name);
      if (problem) this.#refuse(path, kind, problem);
      else {
        this.#channel.send(encodeMessage('deleted', { path, kind: kinds.indexOf(kind) }));
        this.#tally.report({ state: 'deleted', path, kind, bytes: 0 });
      }
      await (this.#tally.pending ?? this.#channel.room());
      this.#channel.check();
    }
  }

  /** A failure of something without a number. */
  #refuse(path: Buffer, kind: EntryKind, { message: reason, errno }: Problem): void {
    this.#channel.send(encodeMessage('problem', { path, reason, errno }));
    this.#tally.report({ state: 'failed', path, kind, bytes: 0, reason, errno });
  }

  /** Completes a folder that was left, once all in it is settled. */
  #finishFolder(level: Level): void {
    if (!level.left || level.pending > 0) return;
    const { folder, fresh, parent, properties, number, path } = level;
    // Its failure was told when it was entered.
    if (level.problem) return;
    const event = { state: fresh ? 'placed' : 'same', path, kind: 'folder', bytes: 0 } as const;
    if (!folder || !fresh || !parent?.folder) {
      this.#letGo(folder);
      this.#settle(number, parent!, event);
      return;
    }
    this.#groups.add({
      folder: parent.folder,
      fd: undefined,
      place: () => {
        if (folder !== this.#marked?.folder) setFolderProperties(folder, properties!, this.#calls);
      },
      settled: (error) => {
        this.#letGo(folder);
        this.#settle(number, parent, event, error);
      },
    });
  }

  // --- Links.

  #queueLink(level: Level, name: Buffer, path: Buffer, entry: Body<'entry'>, number: number): void {
    const { target } = entry;
    if (!target?.length || target.length > this.#limits.maxLinkTarget || target.includes(0))
      throw new ProtocolError(
        `a link to ${target?.length ?? 0} bytes; it has 1 to ${this.#limits.maxLinkTarget} (maxLinkTarget)`,
      );
    level.links.push({ number, name, path, target: Buffer.from(target), properties: this.#properties(entry, false) });
    this.#linksWaiting++;
    // Those to the top level have no later moment, as no folder is left there.
    if (level.number < 0) this.#makeLinks(level);
    else if (this.#linksWaiting >= MOST_LINKS) for (const each of this.#levels) this.#makeLinks(each);
  }

  #makeLinks(level: Level): void {
    const links = level.links.splice(0);
    this.#linksWaiting -= links.length;
    for (const link of links) this.#makeLink(level, link);
  }

  #makeLink(level: Level, link: Link): void {
    const { number, name, path, target } = link;
    const event = { path, kind: 'link', bytes: 0 } as const;
    try {
      const problem = this.#obstacle(level, name);
      if (problem) throw problem;
      if (this.#outflow || this.#landing.exact) throw new Problem('only a regular file can be placed here', 'EACCES');
      const { folder } = level;
      const there = level.fresh ? undefined : folder?.look(name);
      if (there?.isDirectory()) throw new Problem('a folder is there', 'EISDIR');
      if (there && !there.isSymbolicLink() && !there.isFile())
        throw new Problem('a device, FIFO or socket is there', 'EEXIST');
      if (there?.isSymbolicLink() && readlinkSync(folder!.at(name), { encoding: 'buffer' }).equals(target))
        return this.#settle(number, level, { ...event, state: 'same' });
      if (this.#settings.dryRun) return this.#settle(number, level, { ...event, state: 'placed' });
      this.#putLink(folder!, link);
      this.#groups.add({
        folder: folder!.hold(),
        fd: undefined,
        place() {},
        settled: (error) => {
          folder!.release();
          this.#settle(number, level, { ...event, state: 'placed' }, error);
        },
      });
    } catch (error) {
      this.#settle(number, level, { ...event, state: 'failed' }, problemOf(error));
    }
  }

  #putLink(folder: HeldFolder, { name, target, properties }: Link): void {
    const temporary = folder.at(this.#context.temporaries.next());
    symlinkSync(target, temporary);
    try {
      setLinkTime(temporary, properties);
      renameSync(temporary, folder.at(name));
    } catch (error) {
      unlinkSync(temporary);
      throw error;
    }
  }

  // --- Files.

  #onFile(
    level: Level,
    name: Buffer,
    path: Buffer,
    entry: Extract<TransferMessage, { type: 'entry' }>,
    number: number,
    isTop: boolean,
  ): void | Promise<void> {
    const { size, content, carried, sha256 } = entry;
    if (carried && (size !== content.length || size > CARRIED || !sha256))
      throw new ProtocolError('entry: content that does not fit its fields');
    const event = { path, kind: 'file', bytes: size ?? 0, sha256: sha256 && Buffer.from(sha256) } as const;
    try {
      const problem = this.#obstacle(level, name);
      if (problem) throw problem;
      if (isTop && entry.nameless && !this.#landing.name && !this.#outflow)
        throw new Problem('a stream has no name: name the file', 'EISDIR');
      if ((size ?? 0) > this.#maxBytes) throw new Problem(`its ${size} bytes are more than ${this.#maxBytes}`, 'EFBIG');
      if (carried && !hash('sha256', content, 'buffer').equals(sha256!)) throw new Problem('it arrived damaged');
      if (this.#outflow) return this.#toOutflow(this.#outflow, level, name, path, entry, number);
      const there = this.#lookAt(level, name);
      const compare = this.#settings.checksum && there?.size === BigInt(size ?? -1) && sha256 !== undefined;
      const isSame =
        there !== undefined &&
        (this.#settings.checksum
          ? carried && compare && this.#hasContent(level, name, content, entry)
          : this.#isSame(level, name, there, entry));
      if (isSame) {
        this.#tally.progress.bytes += size ?? 0;
        return this.#settle(number, level, { ...event, state: 'same' });
      }
      if (carried) return this.#placeSmall(level, name, entry, number, event);
      if (this.#files.size - this.#ending.size >= this.#limits.maxOpenFiles)
        throw new ProtocolError(`more than ${this.#limits.maxOpenFiles} files wait (maxOpenFiles)`);
      const incoming = this.#incoming(level, name, path, entry, number);
      if (!compare) return this.#offer(incoming);
      this.#prepare(incoming, async () => {
        if (await this.#hasSum(incoming, event.sha256!)) this.#dropAs(incoming, 'same');
        else this.#offer(incoming);
      });
    } catch (error) {
      if (error instanceof ProtocolError) throw error;
      this.#settle(number, level, { ...event, state: 'failed' }, problemOf(error));
    }
  }

  #incoming(level: Level, name: Buffer, path: Buffer, entry: Body<'entry'>, number: number): Incoming {
    const incoming: Incoming = {
      number,
      level,
      name,
      path,
      size: entry.size,
      sparse: entry.holes !== undefined,
      properties: this.#properties(entry, true),
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

  /** What is there already. @throws Problem when no file can take its place */
  #lookAt(level: Level, name: Buffer): BigIntStats | undefined {
    if (level.fresh || !level.folder) return undefined;
    const there = lstatSync(level.folder.at(name), { bigint: true, throwIfNoEntry: false });
    if (!there || there.isSymbolicLink()) return undefined;
    if (there.isDirectory()) throw new Problem('a folder is there', 'EISDIR');
    if (!there.isFile()) throw new Problem('a device, FIFO or socket is there', 'EEXIST');
    return there;
  }

  /** Whether a file is there already by its size and time. It gets the permissions that it should have. */
  #isSame(level: Level, name: Buffer, there: BigIntStats, entry: Body<'entry'>): boolean {
    if (entry.size === undefined || there.size !== BigInt(entry.size)) return false;
    const { mode, seconds, nanoseconds } = this.#properties(entry, true);
    const apart = there.mtimeNs - (BigInt(seconds) * BigInt(SECOND) + BigInt(nanoseconds));
    if (this.#calls.exactTimes ? apart !== 0n : apart > MICROSECOND || apart < -MICROSECOND) return false;
    return Number(there.mode & 0o777n) === mode || this.#settings.dryRun || setMode(level.folder!, name, mode);
  }

  /** Whether what is there is the same as this small content. */
  #hasContent(level: Level, name: Buffer, content: Buffer, entry: Body<'entry'>): boolean {
    const fd = openSync(level.folder!.at(name), O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    try {
      const there = Buffer.allocUnsafe(content.length + 1);
      if (readSync(fd, there, 0, there.length, 0) !== content.length) return false;
      if (there.compare(content, 0, content.length, 0, content.length) !== 0) return false;
    } finally {
      closeSync(fd);
    }
    return this.#settings.dryRun || setMode(level.folder!, name, this.#properties(entry, true).mode);
  }

  /** Whether what is there has this SHA-256. */
  async #hasSum({ level, name, properties, size }: Incoming, sha256: Buffer): Promise<boolean> {
    const fd = openSync(level.folder!.at(name), O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    try {
      const sum = createHash('sha256');
      const piece = Buffer.allocUnsafe(PIECE);
      for (let at = 0; !this.#abandoned;) {
        const length = await plainReads.read(fd, '', at, piece);
        if (length === 0) break;
        sum.update(piece.subarray(0, length));
        at += length;
        if (at > size!) return false;
      }
      if (!sum.digest().equals(sha256)) return false;
      return this.#settings.dryRun || setMode(level.folder!, name, properties.mode);
    } finally {
      closeSync(fd);
    }
  }

  #placeSmall(
    level: Level,
    name: Buffer,
    entry: Body<'entry'> & { content: Buffer },
    number: number,
    event: Settled,
  ): void {
    const placed = { ...event, state: 'placed' } as const;
    if (this.#settings.dryRun) return this.#settle(number, level, placed);
    const { content } = entry;
    let placing: Placing | undefined;
    try {
      placing = Placing.open(level.folder!, name, this.#properties(entry, true), this.#context, false);
      placing.writeAll(content);
      placing.finish(content.length);
      if (isForeign(entry)) this.#tally.leaveOut('owner');
      this.#tally.moved(content.length);
      this.#addPlaced(placing, number, level, placed);
    } catch (error) {
      placing?.discard();
      this.#settle(number, level, { ...placed, state: 'failed' }, problemOf(error));
    }
  }

  #addPlaced(placing: Placing, number: number, level: Level, event: Settled & { state: 'placed' }): void {
    this.#groups.add({
      folder: placing.folder,
      fd: placing.fd,
      place: () => placing.place(),
      settled: (error) => {
        if (error === undefined) placing.close();
        else placing.discard();
        this.#settle(number, level, event, error);
      },
    });
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
    if (this.#settings.dryRun) return this.#dropAs(incoming, 'placed');
    try {
      const folder = level.folder!;
      const partial = this.#mayResume(incoming) && !level.fresh ? this.#findPartial(level, name, size!) : undefined;
      const adopted = partial && Placing.adopt(folder, name, properties, this.#context, partial);
      incoming.placing = adopted ?? Placing.open(folder, name, properties, this.#context, this.#mayResume(incoming));
      if (adopted) return this.#prepare(incoming, () => this.#offerRest(incoming, adopted));
      incoming.wanted = true;
      this.#channel.send(encodeMessage('want', { file: incoming.number }));
    } catch (error) {
      this.#drop(incoming, problemOf(error));
    }
  }

  #mayResume({ size, sparse, outflow }: Incoming): boolean {
    const { resume, atomic } = this.#settings;
    return resume && atomic && !outflow && size !== undefined && size > CARRIED && (!sparse || hashesHoles(size));
  }

  #findPartial(level: Level, name: Buffer, size: number): ReturnType<typeof findPartial> {
    try {
      level.temporaries ??= temporariesIn(level.folder!, this.#calls, this.#limits.partialAge);
      return findPartial(level.folder!, name, level.temporaries, size, this.#calls);
    } catch {
      // A folder that we may not read: the file comes from its start.
      level.temporaries = [];
      return undefined;
    }
  }

  async #offerRest(incoming: Incoming, placing: Placing): Promise<void> {
    const piece = Buffer.allocUnsafe(PIECE);
    const length = placing.size;
    for (let at = 0; at < length;) {
      if (this.#abandoned) return;
      const read = await plainReads.read(placing.fd, '', at, piece.subarray(0, Math.min(PIECE, length - at)));
      if (read === 0) throw new Problem('another process changed the partial file');
      incoming.sum.update(piece.subarray(0, read));
      at += read;
    }
    incoming.position = length;
    incoming.wanted = true;
    this.#tally.progress.bytes += length;
    this.#channel.send(encodeMessage('have', { file: incoming.number, offset: length, sha256: incoming.sum.soFar() }));
  }

  // --- Content.

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

  #onAfresh(file: number): void {
    const incoming = this.#wanted(file);
    if (!incoming) return;
    this.#tally.progress.bytes -= incoming.position;
    incoming.position = 0;
    incoming.sum = new ContentSum();
    try {
      incoming.placing?.restart();
    } catch (error) {
      this.#drop(incoming, problemOf(error));
    }
  }

  #onData(file: number, offset: number, bytes: Buffer): void | Promise<void> {
    const incoming = this.#wanted(file);
    if (!incoming) return;
    const { size, position } = incoming;
    const end = offset + bytes.length;
    if (offset < position || (offset > position && !incoming.sparse))
      throw new ProtocolError(`data: entry ${file} goes on at ${offset} where ${position} is next`);
    if (end > (size ?? Number.MAX_SAFE_INTEGER)) throw new ProtocolError(`data: more of entry ${file} than it has`);
    if (end > this.#maxBytes)
      return this.#drop(incoming, new Problem(`it has more than ${this.#maxBytes} bytes`, 'EFBIG'));
    if (offset > position) incoming.sum.hole(offset - position);
    incoming.sum.update(bytes);
    incoming.position = end;
    this.#tally.moved(bytes.length);
    try {
      const room = incoming.outflow ? incoming.outflow.write(bytes, offset) : incoming.placing!.write(bytes, offset);
      return room?.catch((error: unknown) => this.#drop(incoming, problemOf(error)));
    } catch (error) {
      this.#drop(incoming, problemOf(error));
    }
  }

  #onEnd(message: Body<'end'>): void {
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

  /** The transfer does not end before this has. It does not fail. */
  #untilOver(work: Promise<void>): void {
    this.#ending.add(work);
    void work.finally(() => this.#ending.delete(work));
  }

  async #discard(placing: Placing): Promise<void> {
    await placing.written().catch(() => {});
    placing.discard();
  }

  async #complete(incoming: Incoming, size: number, digest: Buffer, sum: Buffer): Promise<void> {
    const { number, level, path, placing, outflow } = incoming;
    const sha256 = incoming.sum.exact ? digest : undefined;
    const event = { state: 'placed', path, kind: 'file', bytes: size, sha256 } as const;
    try {
      await (outflow ? outflow.fill(size) : placing!.written());
      if (!digest.equals(sum)) throw new Problem('it arrived damaged');
      if (incoming.foreign) this.#tally.leaveOut('owner');
      placing?.finish(size);
      this.#files.delete(number);
      if (placing) this.#addPlaced(placing, number, level, event);
      else this.#settle(number, level, event);
    } catch (error) {
      this.#drop(incoming, problemOf(error));
    }
  }

  #toOutflow(
    outflow: Outflow,
    level: Level,
    name: Buffer,
    path: Buffer,
    entry: Extract<TransferMessage, { type: 'entry' }>,
    number: number,
  ): void | Promise<void> {
    const incoming = this.#incoming(level, name, path, entry, number);
    incoming.outflow = outflow;
    if (this.#settings.dryRun) return this.#dropAs(incoming, 'placed');
    incoming.wanted = true;
    if (!entry.carried) return this.#channel.send(encodeMessage('want', { file: number }));
    incoming.sum.update(entry.content);
    incoming.position = entry.content.length;
    this.#tally.moved(entry.content.length);
    const sum = Buffer.from(entry.sha256!);
    incoming.ending = true;
    return outflow
      .write(Buffer.from(entry.content), 0)
      .then(() => this.#complete(incoming, entry.content.length, incoming.sum.digest(), sum))
      .catch((error: unknown) => this.#drop(incoming, problemOf(error)));
  }

  // --- Ends.

  #dropAs(incoming: Incoming, state: 'placed' | 'same'): void {
    const { number, level, path, size = 0, sha256 } = incoming;
    this.#files.delete(number);
    if (state === 'same') this.#tally.progress.bytes += size;
    this.#settle(number, level, { state, path, kind: 'file', bytes: size, sha256 });
  }

  /** Gives a file up. `tell`: the sender does not know yet. */
  #drop(incoming: Incoming, problem: Problem, tell = true): void {
    const { number, level, path, placing, size = 0 } = incoming;
    if (!this.#files.delete(number)) return;
    if (placing) this.#untilOver(this.#discard(placing));
    this.#settle(number, level, { state: 'failed', path, kind: 'file', bytes: size }, problem, tell);
  }

  /** The end of an entry: both sides report it. */
  #settle(number: number, level: Level, event: Settled & { state: SettledState }, error?: unknown, tell = true): void {
    this.#settledCount++;
    let { state } = event;
    let why: { reason: string; errno: string | undefined } | undefined;
    if (error !== undefined) {
      const { message: reason, errno } = problemOf(error);
      state = 'failed';
      why = { reason: reason.slice(0, this.#limits.maxReason), errno };
    }
    if (why) {
      if (tell) this.#channel.send(encodeMessage('problem', { file: number, ...why }));
    } else this.#channel.send(encodeMessage(state === 'same' ? 'same' : 'placed', { file: number }));
    try {
      this.#tally.report({ ...event, state, ...why, sha256: why ? undefined : event.sha256 });
    } catch (failure) {
      this.#channel.fail(failure as Error);
    }
    level.pending--;
    if (level.number >= 0) this.#finishFolder(level);
  }
}

type SettledState = 'placed' | 'same' | 'failed';
interface Settled {
  readonly path: Buffer;
  readonly kind: EntryKind;
  readonly bytes: number;
  readonly sha256?: Buffer | undefined;
}

const HERE = Buffer.from('.');
const SLASH = Buffer.from('/');
const join = (folder: Buffer, name: Buffer): Buffer => Buffer.concat([folder, SLASH, name]);

const isStream = (destination: string | Uint8Array | Writable): destination is Writable =>
  typeof destination === 'object' && 'write' in destination && !Buffer.isBuffer(destination);

/** Whether a file belonged to another user than the one that it will belong to. */
const isForeign = ({ uid, gid }: Body<'entry'>): boolean =>
  (uid !== undefined && uid !== process.geteuid?.()) || (gid !== undefined && gid !== process.getegid?.());

/** Gives a file of ours these permissions. False when that is not possible. */
function setMode(folder: HeldFolder, name: Buffer, mode: number): boolean {
  try {
    const fd = openSync(folder.at(name), O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    try {
      fchmodSync(fd, mode);
      return true;
    } finally {
      closeSync(fd);
    }
  } catch {
    return false;
  }
}

function setFolderProperties(folder: HeldFolder, { mode, seconds, nanoseconds }: Properties, calls: Calls): void {
  const fd = openToSync(folder);
  if (fd !== undefined)
    try {
      calls.setTime(fd, seconds, nanoseconds);
    } finally {
      closeSync(fd);
    }
  if ((mode | FILLING) !== mode) chmodSync(folder.self, mode);
}

/** Node sets the times of links to the microsecond only. */
const setLinkTime = (path: Buffer, { seconds, nanoseconds }: Properties): void =>
  lutimesSync(path, Date.now() / 1000, seconds + nanoseconds / SECOND);
