/**
 * The run journal: which runs exist and what became of them. An INTENT is on disk (fdatasync) before its command
 * starts; everything later is in the page cache when `append` returns, so it survives the keeper but not a power loss.
 *
 * The file is records in length-prefixed frames with a CRC-32, followed by zeros written ahead: a full disk cannot
 * refuse an exit record, and fdatasync has no metadata to write. Reading stops at the first frame that is not whole
 * and sound; as one fdatasync covers everything before it, nothing behind such a frame was ever promised.
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
import { dirname } from 'node:path';
import { crc32 } from 'node:zlib';
import { lengthPrefixed } from '@sendall/framing';
import { SendallError } from '../errors.js';
import { bool, bytes, decodeFields, encodeFields, list, message, opt, text, uint } from '../protocol/fields.js';
import type { Fields, MessageOf } from '../protocol/fields.js';
import { messageTable } from '../protocol/messages.js';
import { publish } from './events.js';
import { fault } from './faults.js';

/** Every kind of record. `no` is the run's number in this journal, given by its intent. */
const recordTable = {
  /** First in the file. OPENs whose notAfter is at or below forgottenBefore are refused: their ids may be forgotten. */
  header: [1, { version: uint(1), epoch: bytes(2), forgottenBeforeMs: uint(3) }],
  /** A keeper began to write here. */
  keeper: [2, { bootId: text(1), pid: uint(2), startMs: uint(3) }],
  intent: [
    3,
    {
      no: uint(1),
      principal: text(2),
      runId: bytes(3),
      specHash: bytes(4),
      notAfterMs: uint(5),
      openedMs: uint(6),
      /** The words `ps` shows; "sh" alone for shell text. */
      argv: list(bytes(7)),
      name: opt(text(8)),
      tags: list(text(9)),
      keepMs: uint(10),
    },
  ],
  started: [
    4,
    {
      no: uint(1),
      pid: uint(2),
      startMs: uint(3),
      program: bytes(4),
      /** Kernel clock ticks at the leader's start: a pid that is used again has another. */
      ticks: opt(uint(5)),
      cgroup: opt(text(6)),
      bootId: text(7),
    },
  ],
  refused: [5, { no: uint(1), code: text(2), message: text(3) }],
  /** Without `drained` the command ended while its last output could not be stored. */
  exit: [6, { no: uint(1), exit: message(2, messageTable.EXIT[1]), drained: bool(3) }],
  treeEnd: [7, { no: uint(1) }],
  acked: [8, { no: uint(1) }],
  /** The run's output and result are gone; its id is still refused until it expires. */
  dropped: [9, { no: uint(1) }],
  /** The id itself is forgotten. */
  forgotten: [10, { no: uint(1), notAfterMs: uint(2) }],
} as const satisfies { [kind: string]: readonly [number, Fields] };

type Table = typeof recordTable;
export type RecordKind = keyof Table;
export type JournalRecord = { [K in RecordKind]: { kind: K } & MessageOf<Table[K][1]> }[RecordKind];
export type RecordOf<K extends RecordKind> = Extract<JournalRecord, { kind: K }>;

const byCode = new Map<number, readonly [string, Fields]>(
  Object.entries(recordTable).map(([kind, [code, fields]]) => [code, [kind, fields]]),
);

/** A record is at most this long; what outsiders can make long in it is cut before. */
export const MAX_RECORD = 64 * 1024;
/** Characters of a text that others have made. */
const LONGEST_TEXT = 1000;
/** A text as a record takes it. */
export const cutText = (text: string): string =>
  text.length > LONGEST_TEXT ? `${text.slice(0, LONGEST_TEXT)}…` : text;
/** Room an exit record needs in the worst case. */
const EXIT_ROOM = 4 * 1024;
const STEP = 1024 * 1024;
const VERSION = 1;
/** Syncs that usually take less than this are done in place: the way through the thread pool takes longer. */
const QUICK_MS = 0.5;
/** What a single slow sync counts for at most. */
const OUTLIER_MS = 2;
/** How long a disk that has been slow is left to the thread pool before it is tried in place again. */
const TRUST_MS = 250;

const framing = lengthPrefixed({
  maxFrameLength: MAX_RECORD,
  checksum: { bytes: 4, compute: (payload) => crc32(payload) },
});

function encodeRecord(record: JournalRecord): Buffer {
  const [code, fields] = recordTable[record.kind];
  const body = encodeFields(fields as Fields, record as unknown as MessageOf<Fields>);
  const payload = Buffer.allocUnsafe(1 + body.length);
  payload[0] = code;
  payload.set(body, 1);
  return payload;
}

const encoder = framing.encoder();

/** Records in frames, as they stand in a journal. */
export const encodeRecords = (records: Iterable<JournalRecord>): Buffer =>
  encoder.encodeAll(Array.from(records, encodeRecord));

function decodeRecord(payload: Buffer): JournalRecord {
  const entry = byCode.get(payload[0]!);
  if (!entry) throw new SendallError('JOURNAL', `the journal holds a record of unknown kind ${payload[0]}`);
  const [kind, fields] = entry;
  // Copies: a view would keep the whole file in memory.
  const record = decodeFields(fields as Fields, Uint8Array.from(payload.subarray(1)), kind);
  return { kind, ...record } as unknown as JournalRecord;
}

/** What a journal file says: its sound records, where they end, and whether something unreadable follows. */
export function readJournal(file: Uint8Array): { records: JournalRecord[]; end: number; torn: boolean } {
  const records: JournalRecord[] = [];
  const decoder = framing.decoder();
  let end = 0;
  try {
    decoder.push(file, (payload) => {
      // Zeros written ahead look like empty frames, whose CRC-32 is zero too.
      if (payload.length === 0) return false;
      records.push(decodeRecord(payload));
      end += 4 + payload.length + 4;
      return undefined;
    });
  } catch (error) {
    // A frame that is not sound is the end of what was promised; a sound one that we cannot read is another matter.
    if (error instanceof SendallError) throw error;
  }
  return { records, end, torn: file.subarray(end).some((byte) => byte !== 0) };
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
  #keeper: RecordOf<'keeper'> | undefined;
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

  private constructor(path: string, fd: number, end: number, size: number, epoch: Buffer) {
    this.path = path;
    this.#fd = fd;
    this.#end = end;
    this.#size = size;
    this.epoch = epoch;
  }

  /**
   * Opens or creates the journal at `path` and returns it with what it holds. Throws the file system's errors, and
   * SendallError JOURNAL when the file is of another version. When `sameBoot` says that the records are from this boot
   * and some cannot be read, the disk lost data that no crash explains: the epoch is changed, so that callers hear
   * "unknown" about older runs instead of starting one twice.
   */
  static open(path: string, bootId: string): { journal: Journal; records: JournalRecord[] } {
    let file: Buffer;
    try {
      file = readFileSync(path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      return { journal: Journal.#create(path, newHeader(), []), records: [] };
    }
    const { records, end, torn } = readJournal(file);
    const header = records[0];
    if (header?.kind !== 'header') {
      if (file.some((byte) => byte !== 0))
        throw new SendallError('JOURNAL', `${path} is not a run journal: move it away to begin a new one`);
      return { journal: Journal.#create(path, newHeader(), []), records: [] };
    }
    if (header.version !== VERSION)
      throw new SendallError('JOURNAL', `${path} has version ${header.version}, this keeper writes ${VERSION}`);
    const lastKeeper = records.findLast((record) => record.kind === 'keeper');
    if (torn && lastKeeper?.bootId === bootId) {
      const renewed = { ...header, epoch: randomBytes(16) };
      return { journal: Journal.#create(path, renewed, [encodeRecords(records.slice(1))]), records };
    }
    const fd = openSync(path, constants.O_RDWR | constants.O_NOFOLLOW);
    const journal = new Journal(path, fd, end, end, Buffer.from(header.epoch));
    // What is torn must not be read again behind new records.
    journal.#size = end;
    journal.#extend(Math.max(file.length - end, 1));
    return { journal, records };
  }

  static #create(path: string, header: RecordOf<'header'>, records: Iterable<Buffer>): Journal {
    const fresh = `${path}.new`;
    const fd = openSync(fresh, constants.O_RDWR | constants.O_CREAT | constants.O_TRUNC | constants.O_NOFOLLOW, 0o600);
    const journal = new Journal(path, fd, 0, 0, Buffer.from(header.epoch));
    let folder = -1;
    try {
      let frames = [encodeRecords([header])];
      let length = 0;
      for (const frame of records) {
        frames.push(frame);
        length += frame.length;
        if (length < STEP) continue;
        journal.#write(Buffer.concat(frames));
        frames = [];
        length = 0;
      }
      journal.#write(Buffer.concat(frames));
      journal.#extend(1);
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
    // It is in its place now, whatever comes: who went on with the old one would write to a file without a name.
    try {
      fsyncSync(folder);
    } catch (error) {
      journal.#failed = error as Error;
    }
    closeSync(folder);
    return journal;
  }

  /** Bytes of records. */
  get length(): number {
    return this.#end;
  }

  /** Why nothing can be promised any more, when a write or sync failed. */
  get failed(): Error | undefined {
    return this.#failed;
  }

  /** Writes zeros ahead and makes them durable, so that later records only overwrite. */
  #extend(atLeast: number): void {
    const zeros = Buffer.alloc(STEP);
    let left = Math.ceil(atLeast / STEP) * STEP;
    while (left > 0) {
      this.#size += writeSync(this.#fd, zeros, 0, STEP, this.#size);
      left -= STEP;
    }
    fsyncSync(this.#fd);
  }

  /**
   * Makes sure that an intent and the exits of `running` commands fit whatever the disk does later. Throws when the
   * disk is full or the journal has failed: nothing new may start then.
   */
  reserve(running: number): void {
    if (this.#failed) throw this.#failed;
    const needed = MAX_RECORD + (running + 1) * EXIT_ROOM;
    const free = this.#size - this.#end;
    if (free < needed) this.#extend(needed - free);
  }

  /**
   * Appends a record, and returns it in its frame. It is written at the end of the tick, or by `flush` before somebody
   * hears of it.
   */
  append(record: JournalRecord): Buffer {
    if (record.kind === 'keeper') this.#keeper = record;
    if (this.#frames.length === 0) queueMicrotask(() => this.flush());
    const frame = encoder.encode(encodeRecord(record));
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
      this.#write(Buffer.concat(frames));
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
    if (this.#inPlace) {
      const begun = performance.now();
      let error: Error | null = null;
      try {
        fdatasyncSync(this.#fd);
      } catch (thrown) {
        error = thrown as Error;
      }
      this.#judge(performance.now() - begun);
      this.#synced(waiting, error);
      return;
    }
    this.#syncing = true;
    fdatasync(this.#fd, (error) => {
      this.#syncing = false;
      this.#synced(waiting, error);
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

  #synced(waiting: Synced[], error: Error | null): void {
    // After a failed sync the kernel may call the pages clean: nothing can be promised again.
    if (error) this.#failed ??= error;
    publish({ what: 'synced' });
    for (const done of waiting) done(this.#failed);
  }

  /**
   * Rewrites the journal with these records only (in frames, see `encodeRecords`), in one atomic step. Throws when the
   * disk is full; nothing changed then.
   */
  compact(forgottenBeforeMs: number, records: Iterable<Buffer>): void {
    this.flush();
    const header = { kind: 'header', version: VERSION, epoch: this.epoch, forgottenBeforeMs } as const;
    const fresh = Journal.#create(this.path, header, this.#withKeeper(records));
    const old = this.#fd;
    this.#fd = fresh.#fd;
    this.#end = fresh.#end;
    this.#size = fresh.#size;
    this.#failed ??= fresh.#failed;
    // A sync that is under way still needs the old descriptor.
    if (this.#syncing) this.sync(() => closeSync(old));
    else closeSync(old);
  }

  *#withKeeper(records: Iterable<Buffer>): Iterable<Buffer> {
    if (this.#keeper) yield encodeRecords([this.#keeper]);
    yield* records;
  }

  close(): void {
    this.flush();
    closeSync(this.#fd);
  }
}

function newHeader(): RecordOf<'header'> {
  return { kind: 'header', version: VERSION, epoch: randomBytes(16), forgottenBeforeMs: 0 };
}
