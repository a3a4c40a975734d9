/**
 * The run journal: which runs exist and what became of them. An INTENT is on disk (fdatasync) before its command
 * starts; everything later is in the page cache when `append` returns, so it survives the keeper but not a power loss.
 *
 * The file is records in length-prefixed frames with a CRC-32, followed by zeros written ahead: a full disk cannot
 * refuse an exit record, and fdatasync has no metadata to write. After a restart of the machine the last frames may be
 * torn: what was never synced was never promised. Anything else that cannot be read is damage: reading goes on behind
 * it, the damaged file is set aside, and the journal gets a new epoch.
 */
import { randomBytes, randomFillSync } from 'node:crypto';
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
import { crc32 } from 'node:zlib';
import { lengthPrefixed } from '@sendall/framing';
import { SendallError } from '../../errors.js';
import type { Home } from '../../home.js';
import { bool, bytes, decodeFields, encodeFields, list, message, opt, text, uint } from '../../protocol/fields.js';
import type { Fields, MessageOf } from '../../protocol/fields.js';
import { messageTable } from '../../protocol/messages.js';
import { publish } from '../probes/events.js';
import { fault } from '../probes/faults.js';

export const journalFile = (home: Home): string => join(home.state, 'journal');

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
      /** The words `ps` shows; "sh -c" alone for shell text. */
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
const VERSION = 2;
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

/**
 * Callers choose words that stand in records. Each record is masked by bytes that they cannot know, so that a part of one
 * never passes for a whole one when reading goes on behind damage.
 */
const MASK = 4;
const HEAD = 1 + MASK;
const masks = Buffer.alloc(MASK * 1024);
let nextMask = masks.length;

/** Writes a new mask behind a record's kind. */
function drawMask(payload: Buffer): void {
  if (nextMask === masks.length) {
    randomFillSync(masks);
    nextMask = 0;
  }
  masks.copy(payload, 1, nextMask, (nextMask += MASK));
}

/** Masks `from` into `to`, or unmasks it, by the mask in `payload`. */
function applyMask(payload: Buffer, from: Uint8Array, to: Uint8Array): void {
  for (let i = 0; i < from.length; i++) to[i] = from[i]! ^ payload[1 + (i & (MASK - 1))]!;
}

function encodeRecord(record: JournalRecord): Buffer {
  const [code, fields] = recordTable[record.kind];
  const body = encodeFields(fields as Fields, record as unknown as MessageOf<Fields>);
  const payload = Buffer.allocUnsafe(HEAD + body.length);
  payload[0] = code;
  drawMask(payload);
  applyMask(payload, body, payload.subarray(HEAD));
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
  const body = new Uint8Array(Math.max(payload.length - HEAD, 0));
  applyMask(payload, payload.subarray(HEAD), body);
  const record = decodeFields(fields as Fields, body, kind);
  return { kind, ...record } as unknown as JournalRecord;
}

/** What a journal file says. */
export interface Reading {
  /** Its sound records. */
  readonly records: JournalRecord[];
  /** Where the last of them ends. */
  readonly end: number;
  /** Something that cannot be read stands between them. */
  readonly broken: boolean;
  /** Something that cannot be read follows the last of them. */
  readonly torn: boolean;
}

/** Reads a journal file; behind what is damaged it goes on with the next sound record. */
export function readJournal(file: Uint8Array): Reading {
  const records: JournalRecord[] = [];
  const bytes = Buffer.from(file.buffer, file.byteOffset, file.length);
  const search: Search = { left: LONGEST_SEARCH };
  let end = readSound(bytes, 0, records);
  let broken = false;
  for (;;) {
    if (isBlank(bytes, end)) return { records, end, broken, torn: false };
    const next = nextSound(bytes, end, search);
    if (next === undefined) return { records, end, broken, torn: true };
    broken = true;
    end = readSound(bytes, next, records);
  }
}

/** Reads sound frames from `from` on; returns where the last one ends. */
function readSound(file: Buffer, from: number, records: JournalRecord[]): number {
  const decoder = framing.decoder();
  let end = from;
  try {
    decoder.push(file.subarray(from), (payload) => {
      // Zeros written ahead look like empty frames, whose CRC-32 is zero too.
      if (payload.length === 0) return false;
      records.push(decodeRecord(payload));
      end += 4 + payload.length + 4;
      return undefined;
    });
  } catch (error) {
    // A frame that is not sound is looked at by the caller; a sound one that we cannot read is another matter.
    if (error instanceof SendallError) throw error;
  }
  return end;
}

const BLANK = Buffer.alloc(64 * 1024);

/** Whether only zeros follow. */
function isBlank(file: Buffer, from: number): boolean {
  for (let at = from; at < file.length; at += BLANK.length) {
    const part = file.subarray(at, at + BLANK.length);
    if (!part.equals(BLANK.subarray(0, part.length))) return false;
  }
  return true;
}

/** How many bytes may still be summed up in search of frames: bytes can be made so that each of them looks like one. */
interface Search {
  left: number;
}
const LONGEST_SEARCH = 1024 * 1024 * 1024;

/** Where the next sound frame begins, behind a damaged one at `from`. */
function nextSound(file: Buffer, from: number, search: Search): number | undefined {
  for (let at = from + 1; at + 8 < file.length; at++) if (isSound(file, at, search)) return at;
  return undefined;
}

function isSound(file: Buffer, at: number, search: Search): boolean {
  if (at + 8 >= file.length || !byCode.has(file[at + 4]!)) return false;
  const length = file.readUInt32BE(at);
  const end = at + 4 + length;
  if (length === 0 || length > MAX_RECORD || end + 4 > file.length || length > search.left) return false;
  search.left -= length;
  return crc32(file.subarray(at + 4, end)) === file.readUInt32BE(end);
}

/** As readJournal, and says what to do about sound records that mean nothing to us: a version before ours wrote them. */
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
  /** Whether there is output of runs that these records do not know. */
  hasStrays(records: readonly JournalRecord[]): boolean;
  /** Sets such output and the journal's file aside, before the journal is written anew. Throws when it cannot. */
  setAside(records: readonly JournalRecord[]): void;
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
   * SendallError JOURNAL when the file is of another version.
   *
   * What no crash explains is damage: something unreadable between records, or at the end in the same boot; an end
   * without the zeros that were written ahead; output of runs that the journal does not know. The file is set aside
   * then, its sound records are written anew, and the epoch changes: callers hear "unknown" about runs that are not found
   * instead of starting one twice.
   */
  static open(path: string, bootId: string, keeping: Keeping): { journal: Journal; records: JournalRecord[] } {
    let file: Buffer | undefined;
    try {
      file = readFileSync(path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
    const { records, end, broken, torn } = readOf(path, file);
    const headers = records.filter((record) => record.kind === 'header');
    const header = headers[0];
    if (header && header.version !== VERSION)
      throw new SendallError(
        'JOURNAL',
        `${path} has version ${header.version}, this keeper writes ${VERSION}: move it away to begin a new one`,
      );
    const sameBoot = records.some((record) => record.kind === 'keeper' && record.bootId === bootId);
    const damaged =
      (file && (broken || !header || (torn && sameBoot) || end === file.length)) || keeping.hasStrays(records);
    if (damaged) {
      keeping.setAside(records);
      const forgottenBeforeMs = headers.reduce((latest, each) => Math.max(latest, each.forgottenBeforeMs), 0);
      const renewed = { ...newHeader(), forgottenBeforeMs };
      const others = records.filter((record) => record.kind !== 'header');
      return { journal: Journal.#create(path, renewed, [encodeRecords(others)]), records };
    }
    if (!file || !header) return { journal: Journal.#create(path, newHeader(), []), records };
    const fd = openSync(path, constants.O_RDWR | constants.O_NOFOLLOW);
    const journal = new Journal(path, fd, end, torn ? end : file.length, Buffer.from(header.epoch));
    // What is torn must not be read again behind new records. Otherwise nothing is written here: the disk may be full.
    if (torn) journal.#fit(file.length - end - 1);
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

  /**
   * Writes zeros ahead and makes them durable, so that later records only overwrite. Throws when not even `length` bytes
   * of records fit, with a zero behind them.
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
   * Makes sure that an intent and the exits of `running` commands fit whatever the disk does later. Throws when the
   * disk is full or the journal has failed: nothing new may start then.
   */
  reserve(running: number): void {
    if (this.#failed) throw this.#failed;
    const needed = MAX_RECORD + (running + 1) * EXIT_ROOM;
    if (this.#size - this.#end <= needed) this.#fit(needed);
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
      const bytes = Buffer.concat(frames);
      // First the room: a record that stands there in part would be damage to the next keeper.
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
