/**
 * The receiver of a transfer: opens the place, enters folder by folder, and puts each file, folder and link where it
 * belongs. All that it is told is checked; a name is never more than one component of a path.
 */
import { hash } from 'node:crypto';
import type { Writable } from 'node:stream';
import { ProtocolError, SendallError } from '../errors.js';
import { loadCalls, type Calls } from './files/calls.js';
import { joined, Temporaries } from './files/names.js';
import { Problem, problemOf } from './files/problem.js';
import { addPlaced, Contents } from './place/contents.js';
import { isForeign, kindOf, propertiesOf, type Entry } from './place/entry.js';
import { getsMode, hasContent, isLike, lookAt, setMode } from './place/existing.js';
import { Folders } from './place/folders.js';
import { openLanding, type Landing } from './place/landing.js';
import type { Level } from './place/level.js';
import { Outflow } from './place/outflow.js';
import { Placing } from './place/placing.js';
import { obstacle, type Reception } from './place/reception.js';
import { Settling, type Settled } from './place/settling.js';
import { SyncGroups } from './place/sync-groups.js';
import { Channel, type Streams } from './stream/channel.js';
import type { FileTransfer, Progress, TransferResult } from './stream/events.js';
import type { TransferLimits } from './stream/limits.js';
import { encodeMessage, type Body, type TransferMessage } from './stream/messages.js';
import { conduct, nextMessage, prepare, sendBegin, settingsOf, type TransferOptions } from './stream/options.js';
import type { CheckedSettings } from './stream/settings.js';
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
  const tally = new Tally(options.onFile, options.onMuch);
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
    const receiving = new Receiving(
      receptionOf(channel, calls, settings, limits, tally, destination, header, options),
      header,
    );
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

/** Opens the place where the sources land. */
function receptionOf(
  channel: Channel,
  calls: Calls,
  settings: CheckedSettings,
  limits: TransferLimits,
  tally: Tally,
  destination: string | Uint8Array | Writable,
  header: Body<'begin'>,
  options: TransferOptions,
): Reception {
  const { roots } = options;
  const sources = header.sources ?? 1;
  if (roots && settings.delete) throw new SendallError('TRANSFER', 'a rule for files does not allow delete');
  const toStream = isStream(destination);
  if (toStream && sources > 1) throw new SendallError('TRANSFER', 'one file at a time can go to a stream');
  return {
    channel,
    calls,
    settings,
    limits,
    tally,
    settling: new Settling(channel, tally, limits.maxReason),
    groups: new SyncGroups(calls, settings.fsync),
    context: {
      calls,
      temporaries: new Temporaries(options.run),
      atomic: settings.atomic,
      strict: roots !== undefined,
      writeBack: settings.fsync !== 'none',
      lent: channel.lendsMemory,
    },
    landing: toStream
      ? { folder: undefined }
      : landingOf(Buffer.from(destination as string), header, settings, limits, options),
    outflow: toStream ? new Outflow(destination) : undefined,
    maxBytes: Math.min(limits.maxFileBytes, roots?.maxBytes ?? Infinity),
  };
}

function landingOf(
  path: Buffer,
  { sources = 1, name }: Body<'begin'>,
  { dryRun, into }: CheckedSettings,
  { partialAge }: TransferLimits,
  { roots, cwd = process.cwd() }: TransferOptions,
): Landing {
  try {
    return openLanding(path, { sources, name, cwd, dryRun, into, partialAge, roots });
  } catch (error) {
    throw new SendallError('TRANSFER', problemOf(error).message, { cause: error });
  }
}

const isStream = (destination: string | Uint8Array | Writable): destination is Writable =>
  typeof destination === 'object' && 'write' in destination && !Buffer.isBuffer(destination);

/** Kinds of losses that the other side may name. */
const MOST_KINDS = 16;

class Receiving {
  readonly #reception: Reception;
  readonly #folders: Folders;
  readonly #contents: Contents;
  readonly #sources: number;
  /** Entries that have come. */
  #count = 0;
  #topLevel = 0;
  #over = false;

  constructor(reception: Reception, { sources = 1, name }: Body<'begin'>) {
    this.#reception = reception;
    this.#folders = new Folders(reception, name);
    this.#contents = new Contents(reception, (file) => file < this.#count);
    this.#sources = sources;
  }

  /** Whether sources land in the destination. */
  get into(): boolean {
    const { landing, outflow } = this.#reception;
    return landing.name === undefined && !outflow;
  }

  async run(): Promise<void> {
    const { channel, tally, groups } = this.#reception;
    while (!this.#over) {
      const wait = tally.pending ?? groups.room() ?? channel.room();
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
    await tally.pending;
    await this.#contents.ended();
    channel.check();
    this.#folders.unmark();
    const leftOut = tally.leftOut.map(([what, count]) => ({ what, count }));
    channel.send(encodeMessage('done', { entries: this.#count, leftOut }));
  }

  /** The transfer ended early: files that are whole are placed, and the first bytes of others kept. */
  async abandon(error: unknown): Promise<void> {
    await this.#contents.abandon(error);
  }

  close(): void {
    this.#reception.outflow?.close();
    this.#folders.close();
  }

  #handle(message: TransferMessage): void | Promise<void> {
    const { tally, limits } = this.#reception;
    switch (message.type) {
      case 'entry':
        return this.#onEntry(message);
      case 'data':
        return this.#contents.take(message.file, message.offset, message.bytes);
      case 'leave':
        return this.#folders.leave(message.complete === true);
      case 'end':
        return this.#contents.end(message);
      case 'afresh':
        return this.#contents.afresh(message.file);
      case 'problem':
        return this.#onProblem(message);
      case 'skipped': {
        const { path, reason } = message;
        return tally.report({
          state: 'skipped',
          path: Buffer.from(path),
          bytes: 0,
          reason: reason.slice(0, limits.maxReason),
        });
      }
      case 'done':
        return this.#onDone(message);
      case 'fatal':
        throw new SendallError('TRANSFER', message.reason.slice(0, limits.maxReason));
      default:
        throw new ProtocolError(`${message.type} is not for receivers`);
    }
  }

  #onDone({ entries, leftOut }: Body<'done'>): void {
    const { settling, tally } = this.#reception;
    if (entries !== this.#count) throw new ProtocolError(`${entries} entries were sent, and ${this.#count} arrived`);
    if (settling.count !== this.#count || !this.#folders.areLeft)
      throw new ProtocolError('the sender ended before all was settled');
    for (const { what, count } of leftOut.slice(0, MOST_KINDS)) tally.leaveOut(what, count);
    tally.progress.complete = true;
    this.#over = true;
  }

  #onProblem({ file, path, reason, errno }: Body<'problem'>): void {
    const { tally, limits } = this.#reception;
    const problem = new Problem(reason.slice(0, limits.maxReason), errno?.slice(0, 32));
    if (file !== undefined) return this.#contents.failed(file, problem);
    const { message, errno: code } = problem;
    tally.report({ state: 'failed', path: Buffer.from(path ?? ''), bytes: 0, reason: message, errno: code });
  }

  #onEntry(entry: Entry): void | Promise<void> {
    const { limits, landing, tally, settling } = this.#reception;
    const level = this.#folders.current;
    const number = this.#count++;
    if (number >= limits.maxEntries) throw new ProtocolError(`more than ${limits.maxEntries} entries (maxEntries)`);
    if (this.#count - settling.count > limits.maxUnsettled)
      throw new ProtocolError(`more than ${limits.maxUnsettled} unsettled entries (maxUnsettled)`);
    const kind = kindOf(entry, limits);
    if (level.isTop && ++this.#topLevel > this.#sources) throw new ProtocolError('more sources than were announced');
    // The frame's memory is not ours to keep.
    const own = Buffer.from(entry.name);
    const path = level.path.length ? joined(level.path, own) : own;
    const name = (level.isTop && landing.name) || own;
    level.pending++;
    level.names?.add(name);
    tally.announced(kind === 'file' ? (entry.size ?? 0) : 0);
    if (kind === 'folder') return this.#folders.enter(level, name, path, entry, number);
    if (kind === 'link') return this.#folders.addLink(level, name, path, entry, number);
    return this.#onFile(level, name, path, entry, number);
  }

  #onFile(level: Level, name: Buffer, path: Buffer, entry: Entry, number: number): void | Promise<void> {
    const { landing, outflow, maxBytes, settings, settling, tally } = this.#reception;
    const { size, content, carried, sha256 } = entry;
    const event = { path, kind: 'file', bytes: size ?? 0, sha256: sha256 && Buffer.from(sha256) } as const;
    try {
      const problem = obstacle(level, name);
      if (problem) throw problem;
      if (level.isTop && entry.nameless && !landing.name && !outflow)
        throw new Problem('a stream has no name: name the file', 'EISDIR');
      if ((size ?? 0) > maxBytes) throw new Problem(`its ${size} bytes are more than ${maxBytes}`, 'EFBIG');
      if (carried && !hash('sha256', content, 'buffer').equals(sha256!)) throw new Problem('it arrived damaged');
      if (outflow) return this.#contents.pour(outflow, level, name, path, entry, number);
      const there = lookAt(level, name);
      const compare = settings.checksum && there?.size === BigInt(size ?? -1) && sha256 !== undefined;
      const isSame =
        there !== undefined &&
        (settings.checksum
          ? carried && compare && this.#hasContent(level, name, entry)
          : this.#isLike(level, name, there, entry));
      if (isSame) {
        tally.progress.bytes += size ?? 0;
        return settling.settle(number, level, { ...event, state: 'same' });
      }
      if (carried) return this.#placeSmall(level, name, entry, number, event);
      this.#contents.add(level, name, path, entry, number, compare);
    } catch (error) {
      if (error instanceof ProtocolError) throw error;
      settling.settle(number, level, { ...event, state: 'failed' }, problemOf(error));
    }
  }

  /** Whether a file is there already by its size and time. It gets the permissions that it should have. */
  #isLike(level: Level, name: Buffer, there: NonNullable<ReturnType<typeof lookAt>>, entry: Entry): boolean {
    const { calls, settings } = this.#reception;
    const properties = propertiesOf(entry, settings.mode);
    if (!isLike(there, entry.size, properties, calls.exactTimes)) return false;
    return settings.dryRun || getsMode(level.folder!, name, there, properties.mode);
  }

  /** Whether what is there has the content that an entry carries. */
  #hasContent(level: Level, name: Buffer, entry: Entry): boolean {
    const { settings } = this.#reception;
    if (!hasContent(level.folder!, name, entry.content)) return false;
    return settings.dryRun || setMode(level.folder!, name, settings.mode ?? entry.mode);
  }

  #placeSmall(level: Level, name: Buffer, entry: Entry, number: number, event: Settled): void {
    const { settings, settling, context, tally } = this.#reception;
    const placed = { ...event, state: 'placed' } as const;
    if (settings.dryRun) return settling.settle(number, level, placed);
    const { content } = entry;
    let placing: Placing | undefined;
    try {
      placing = Placing.open(level.folder!, name, propertiesOf(entry, settings.mode), context, false);
      placing.writeAll(content);
      placing.finish(content.length);
      if (isForeign(entry)) tally.leaveOut('owner');
      tally.moved(content.length);
      addPlaced(this.#reception, placing, number, level, placed);
    } catch (error) {
      placing?.discard();
      settling.settle(number, level, { ...placed, state: 'failed' }, problemOf(error));
    }
  }
}
