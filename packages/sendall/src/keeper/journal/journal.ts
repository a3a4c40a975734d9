/**
 * The run journal: which runs exist and what became of them. An INTENT is on disk (fdatasync) before its command
 * starts; everything later is in the page cache when `append` returns, so it survives the keeper but not a power loss.
 *
 * The file is entries in length-prefixed frames with a CRC-32, followed by zeros written ahead: a full disk cannot
 * refuse an exit entry, and fdatasync has no metadata to write. After a restart of the machine the last frames may be
 * torn: what was never synced was never promised. Anything else that cannot be read is damage: reading goes on behind
 * it, the damaged file is set aside, and the journal gets a new epoch.
 */
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  constants,
  fdatasync,
  fdatasyncSync,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { SendallError } from '../../errors.js';
import type { Home } from '../../home.js';
import { publish } from '../probes/events.js';
import { fault } from '../probes/faults.js';
import { encodeEntries, encodeEntry, MAX_ENTRY, type EntryOf, type JournalEntry } from './entries.js';
import { readJournal, type Reading } from './reading.js';

export const journalFile = (home: Home): string => join(home.state, 'journal');

/** Room that a run's start, exit and their lines in the log need in the worst case. */
const EXIT_ROOM = 8 * 1024;
const STEP = 1024 * 1024;
const VERSION = 2;
/** Syncs that usually take less than this are done in place: the way through the thread pool takes longer. */
const QUICK_MS = 0.5;
/** What a single slow sync counts for at most. */
const OUTLIER_MS = 2;
/** How long a disk that has been slow is left to the thread pool before it is tried in place again. */
const TRUST_MS = 250;

/** As readJournal, and says what to do about sound entries that mean nothing to us: a version before ours wrote them. */
function readOf(path: string, file: Uint8Array | undefined): Reading {
  try {
    return readJournal(file ?? Buffer.alloc(0));
  } catch (cause) {
    const { message } = cause as Error;
    throw new SendallError(
      'JOURNAL',
      `${path} is of another version of sendall, this keeper writes ${VERSION} (${message}): move it away to begin a new one`,
      { cause },
    );
  }
}

/** Keeps what a damaged journal no longer leads to. */
export interface Keeping {
  /** Whether there is output of runs that these entries do not know. */
  hasStrays(entries: readonly JournalEntry[]): boolean;
  /**
   * Sets such output and the journal's file aside, before the journal is written anew.
   * @throws when it cannot.
   */
  setAside(entries: readonly JournalEntry[]): void;
}

/** Called when a sync is over; with the reason when nothing can be promised any more. */
type Synced = (error: Error | undefined) => void;

/** An open journal: one writer, appending. */
export class Journal {
  readonly path: string;
  #fd: number;
  #end: number;
  #size: number;
  /** Appended, not yet written. */
  #frames: Buffer[] = [];
  #keeper: EntryOf<'keeper'> | undefined;
  #syncing = false;
  /** Moving average of syncs in place. */
  #usualSyncMs = 0;
  #inPlaceFrom = 0;
  #waiting: Synced[] = [];
  #failed: Error | undefined;
  /** Names this journal; a machine that was set up anew has another. */
  readonly epoch: Buffer;
  /** fdatasync calls so far. */
  syncs = 0;

  /**
   * Tells the disk to begin with what was written (sync_file_range), without waiting: other work can be done before the
   * sync, which then takes half as long. Promises nothing by itself.
   */
  startWriting: ((fd: number) => void) | undefined;

  /** Called when a sync begins; what it returns is called once all that was appended before is on the disk. */
  onSync: (() => () => void) | undefined;

  private constructor(path: string, fd: number, end: number, size: number, epoch: Buffer) {
    this.path = path;
    this.#fd = fd;
    this.#end = end;
    this.#size = size;
    this.epoch = epoch;
  }

  /**
   * Opens or creates the journal at `path` and returns it with what it holds.
   *
   * What no crash explains is damage: something unreadable between entries, or at the end in the same boot; an end
   * without the zeros that were written ahead; output of runs that the journal does not know. The file is set aside
   * then, its sound entries are written anew, and the epoch changes: callers hear "unknown" about runs that are not
   * found instead of starting one twice.
   * @throws the file system's errors, and SendallError JOURNAL when the file is of another version.
   */
  static open(
    path: string,
    bootId: string,
    keeping: Keeping,
  ): { journal: Journal; entries: JournalEntry[]; damaged: boolean } {
    let file: Buffer | undefined;
    try {
      file = readFileSync(path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
    const { entries, end, broken, torn } = readOf(path, file);
    const headers = entries.filter((entry) => entry.kind === 'header');
    const header = headers[0];
    if (header && header.version !== VERSION)
      throw new SendallError(
        'JOURNAL',
        `${path} has version ${header.version}, this keeper writes ${VERSION}: move it away to begin a new one`,
      );
    const sameBoot = entries.some((entry) => entry.kind === 'keeper' && entry.bootId === bootId);
    const damaged =
      (file && (broken || !header || (torn && sameBoot) || end === file.length)) || keeping.hasStrays(entries);
    if (damaged) {
      keeping.setAside(entries);
      const forgottenBeforeMs = headers.reduce((latest, each) => Math.max(latest, each.forgottenBeforeMs), 0);
      const renewed = { ...newHeader(), forgottenBeforeMs };
      const others = entries.filter((entry) => entry.kind !== 'header');
      return { journal: Journal.#create(path, renewed, [encodeEntries(others)]), entries, damaged };
    }
    if (!file || !header) return { journal: Journal.#create(path, newHeader(), []), entries, damaged: false };
    const fd = openSync(path, constants.O_RDWR | constants.O_NOFOLLOW);
    const journal = new Journal(path, fd, end, torn ? end : file.length, Buffer.from(header.epoch));
    // What is torn must not be read again behind new entries. Otherwise nothing is written here: the disk may be full.
    if (torn) journal.#fit(file.length - end - 1);
    return { journal, entries, damaged: false };
  }

  static #create(path: string, header: EntryOf<'header'>, entries: Iterable<Buffer>): Journal {
    const fresh = `${path}.new`;
    const fd = openSync(fresh, constants.O_RDWR | constants.O_CREAT | constants.O_TRUNC | constants.O_NOFOLLOW, 0o600);
    const journal = new Journal(path, fd, 0, 0, Buffer.from(header.epoch));
    let folder = -1;
    try {
      let frames = [encodeEntries([header])];
      let length = 0;
      for (const frame of entries) {
        frames.push(frame);
        length += frame.length;
        if (length < STEP) continue;
        journal.#write(Buffer.concat(frames));
        frames = [];
        length = 0;
      }
      journal.#write(Buffer.concat(frames));
      journal.#fit(0);
      fsyncSync(fd);
      folder = openSync(dirname(path), 'r');
      fault('before-compaction-rename');
      renameSync(fresh, path);
      fault('after-compaction-rename');
    } catch (error) {
      // On a full disk every byte counts, and it will be tried again.
      closeSync(fd);
      if (folder >= 0) closeSync(folder);
      rmSync(fresh, { force: true });
      throw error;
    }
    // The new file is in its place now. To go on with the old one would be to write to a file without a name.
    try {
      fsyncSync(folder);
    } catch (error) {
      journal.#failed = error as Error;
    }
    closeSync(folder);
    return journal;
  }

  /** Bytes of entries. */
  get length(): number {
    return this.#end;
  }

  /** Why nothing can be promised any more, when a write or sync failed. */
  get failed(): Error | undefined {
    return this.#failed;
  }

  /**
   * Writes zeros ahead and makes them durable, so that later entries only overwrite.
   * @throws when not even `length` bytes of entries fit, with a zero behind them.
   */
  #fit(length: number): void {
    const missing = this.#end + length + 1 - this.#size;
    const goal = this.#size + Math.ceil(missing / STEP) * STEP;
    try {
      const zeros = Buffer.alloc(STEP);
      while (this.#size < goal)
        this.#size += writeSync(this.#fd, zeros, 0, Math.min(STEP, goal - this.#size), this.#size);
    } catch (error) {
      if (this.#size - this.#end <= length) throw error;
    }
    fsyncSync(this.#fd);
  }

  /**
   * Makes sure that an intent and the exits of `running` commands fit whatever the disk does later.
   * @throws when the disk is full or the journal has failed: nothing new may start then.
   */
  reserve(running: number): void {
    if (this.#failed) throw this.#failed;
    // The intent, and the line that lets it in.
    const needed = 2 * MAX_ENTRY + (running + 1) * EXIT_ROOM;
    if (this.#size - this.#end <= needed) this.#fit(needed);
  }

  /** Whether `bytes` more fit beside the exits of `running` commands. */
  hasRoom(bytes: number, running: number): boolean {
    if (this.#failed) return false;
    const needed = bytes + this.#waitingBytes + (running + 1) * EXIT_ROOM;
    if (this.#size - this.#end > needed) return true;
    try {
      this.#fit(needed);
      return true;
    } catch {
      return false;
    }
  }

  get #waitingBytes(): number {
    return this.#frames.reduce((bytes, frame) => bytes + frame.length, 0);
  }

  /**
   * Appends an entry, and returns it in its frame. It is written at the end of the tick, or by `flush` before a
   * caller hears of it.
   */
  append(entry: JournalEntry): Buffer {
    if (entry.kind === 'keeper') this.#keeper = entry;
    if (this.#frames.length === 0) queueMicrotask(() => this.flush());
    const frame = encodeEntry(entry);
    this.#frames.push(frame);
    return frame;
  }

  /** Writes what was appended: it survives the death of this process when the call returns. */
  flush(): void {
    if (this.#frames.length === 0) return;
    const frames = this.#frames;
    this.#frames = [];
    if (this.#failed) return;
    try {
      const bytes = Buffer.concat(frames);
      // First the room: an entry that stands there in part would be damage to the next keeper.
      if (this.#size - this.#end <= bytes.length) this.#fit(bytes.length);
      this.#write(bytes);
      fault('after-flush');
    } catch (error) {
      this.#failed = error as Error;
    }
  }

  #write(frames: Buffer): void {
    let done = 0;
    while (done < frames.length) done += writeSync(this.#fd, frames, done, frames.length - done, this.#end + done);
    this.#end += frames.length;
    if (this.#end > this.#size) this.#size = this.#end;
  }

  /**
   * Makes durable what was appended so far, at once.
   * @throws when it cannot: nothing can be promised any more.
   */
  syncNow(): void {
    this.flush();
    const covered = this.onSync?.();
    try {
      fdatasyncSync(this.#fd);
    } catch (error) {
      this.#failed ??= error as Error;
    }
    if (this.#failed) throw this.#failed;
    covered?.();
  }

  /** Calls back when everything appended so far is on the disk. Calls made while one sync runs share the next one. */
  sync(done: Synced): void {
    this.#waiting.push(done);
    // At the end of the tick, so that commands that came together are synced together.
    if (!this.#syncing && this.#waiting.length === 1) queueMicrotask(() => this.#beginSync());
  }

  #beginSync(): void {
    if (this.#syncing) return;
    if (!this.#inPlace || !this.startWriting) return this.#sync();
    this.flush();
    this.startWriting(this.#fd);
    // Behind what the callers do meanwhile.
    queueMicrotask(() => this.#sync());
  }

  #sync(): void {
    if (this.#syncing) return;
    this.flush();
    fault('after-intent');
    this.syncs++;
    const waiting = this.#waiting;
    this.#waiting = [];
    const covered = this.onSync?.();
    if (this.#inPlace) {
      const begun = performance.now();
      let error: Error | null = null;
      try {
        fdatasyncSync(this.#fd);
      } catch (thrown) {
        error = thrown as Error;
      }
      this.#judge(performance.now() - begun);
      this.#synced(waiting, error, covered);
      return;
    }
    this.#syncing = true;
    fdatasync(this.#fd, (error) => {
      this.#syncing = false;
      this.#synced(waiting, error, covered);
      if (this.#waiting.length) this.#sync();
    });
  }

  get #inPlace(): boolean {
    return this.#usualSyncMs < QUICK_MS || performance.now() > this.#inPlaceFrom;
  }

  #judge(tookMs: number): void {
    if (this.#usualSyncMs >= QUICK_MS && tookMs < QUICK_MS) this.#usualSyncMs = tookMs;
    else this.#usualSyncMs = this.#usualSyncMs * 0.8 + Math.min(tookMs, OUTLIER_MS) * 0.2;
    this.#inPlaceFrom = performance.now() + TRUST_MS;
  }

  #synced(waiting: Synced[], error: Error | null, covered: (() => void) | undefined): void {
    // After a failed sync the kernel may call the pages clean: nothing can be promised again.
    if (error) this.#failed ??= error;
    if (!this.#failed) covered?.();
    publish({ what: 'synced' });
    for (const done of waiting) done(this.#failed);
  }

  /**
   * Rewrites the journal with these entries only (in frames, see `encodeEntries`), in one atomic step.
   * @throws when the disk is full; nothing changed then.
   */
  compact(forgottenBeforeMs: number, entries: Iterable<Buffer>): void {
    this.flush();
    const header = { kind: 'header', version: VERSION, epoch: this.epoch, forgottenBeforeMs } as const;
    const fresh = Journal.#create(this.path, header, this.#withKeeper(entries));
    const old = this.#fd;
    this.#fd = fresh.#fd;
    this.#end = fresh.#end;
    this.#size = fresh.#size;
    this.#failed ??= fresh.#failed;
    // A sync that is under way still needs the old descriptor.
    if (this.#syncing) this.sync(() => closeSync(old));
    else closeSync(old);
  }

  *#withKeeper(entries: Iterable<Buffer>): Iterable<Buffer> {
    if (this.#keeper) yield encodeEntries([this.#keeper]);
    yield* entries;
  }

  close(): void {
    this.flush();
    closeSync(this.#fd);
  }
}

function newHeader(): EntryOf<'header'> {
  return { kind: 'header', version: VERSION, epoch: randomBytes(16), forgottenBeforeMs: 0 };
}
