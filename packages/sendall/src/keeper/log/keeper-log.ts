/**
 * The keeper's log: a line for each decision and each event of a run, in a Merkle tree.
 *
 * A line is an entry of the journal first, so it is durable with the journal's next sync and costs none of its own. Only
 * lines that are durable are hashed and written to the log's files, which are synced when the journal is rewritten
 * without these lines. So no head ever covers a line that a power loss could take away.
 */
import type { Home } from '../../home.js';
import { Folding } from '../../log/folding.js';
import { hashBase64, hashBytes } from '../../log/hashes.js';
import type { LogFiles, LogStep, Mark } from '../../log/log-files.js';
import type { Head } from '../../log/proofs.js';
import { lineOf, type RecordKind, type RecordOf } from '../../log/records.js';
import { VERSION } from '../../protocol/version.js';
import { encodeEntry, type JournalEntry } from '../journal/entries.js';
import type { Journal } from '../journal/journal.js';
import { fault, type FaultPoint } from '../probes/faults.js';
import { recoverLog } from './recovery.js';

/** Lines that wait for room on a full disk; more are counted instead. */
const MOST_HELD = 10_000;
/** Milliseconds for which lines that are safe in the journal may wait for others before they are written to the files. */
const GATHER_MS = 50;
/** Bytes that the journal must have room for before a line that nothing was reserved for. */
const ROOM = 96 * 1024;

/** Deeds of one principal that are told apart in one minute. */
const MOST_DEEDS = 4096;

type Deed = 'attach' | 'detach' | 'signal' | 'cancel';
type Held = { readonly kind: RecordKind; readonly record: RecordOf<RecordKind>; readonly atMs: number };

const points: { readonly [step in LogStep]: FaultPoint } = {
  lines: 'after-log-lines',
  hashes: 'after-log-hashes',
  segment: 'after-log-segment',
  sync: 'after-log-sync',
  synced: 'after-log-synced',
  pruned: 'after-log-pruned',
};

export class KeeperLog {
  readonly #journal: Journal;
  readonly #files: LogFiles;
  readonly #id: Buffer;
  readonly #keepBytes: () => number;
  readonly #live: () => number;
  readonly #folding = new Folding((kind, record) => void this.note(kind, record));
  /** By principal: what it does with its runs. There are no more than have runs. */
  readonly #deeds = new Map<string, Folding>();
  /** In the journal, and not given to the files. The first of them has the index `#files.size`. */
  #pending: Buffer[] = [];
  /** Records that are on the disk, whatever happens to it. */
  #durable: number;
  #hashing = false;
  #saveTimer: NodeJS.Timeout | undefined;
  #isClosed = false;
  #failed: Error | undefined;
  /** A sync of the files has failed: what the disk has of them is not known until a keeper writes them anew. */
  #isLost = false;
  #held: Held[] = [];
  #uncounted = 0;

  /**
   * Goes on with the log of `home`; `entries` and `damaged` are what the journal was opened with, and `synced` says that all
   * of it is on the disk. `live`: commands whose
   * ends will need room. `keepBytes`: lines above so many bytes are dropped, the oldest first.
   * @throws the file system's errors.
   */
  constructor(
    home: Home,
    journal: Journal,
    opened: {
      readonly entries: readonly JournalEntry[];
      readonly damaged: boolean;
      readonly bootId: string;
      readonly synced?: boolean;
    },
    { live, keepBytes }: { live: () => number; keepBytes: () => number },
  ) {
    this.#journal = journal;
    this.#live = live;
    this.#keepBytes = keepBytes;
    const recovered = recoverLog(home, opened.entries, opened.damaged, (step) => fault(points[step]));
    this.#id = recovered.id;
    this.#files = recovered.files;
    this.#pending = recovered.lines;
    this.#durable = opened.synced ? this.size : recovered.files.size;
    journal.onSync = () => this.#syncing();
    const log = recovered.isNew ? this.id : undefined;
    if (recovered.isNew) journal.append(this.#entryOf({ size: 0, root: this.#files.root, first: 0, bytes: 0 }));
    const { before } = recovered;
    const boot = { log, before, version: VERSION, bootId: opened.bootId, pid: process.pid };
    if (journal.hasRoom(ROOM, 0)) this.append('boot', boot);
    else this.#held.push({ kind: 'boot', record: boot, atMs: Date.now() });
    try {
      // Heads are given out from now on.
      journal.syncNow();
    } catch {
      // A full or broken disk: nothing starts, and what is durable already is told.
    }
  }

  /** Names the log: one that begins anew has another. */
  get id(): string {
    return this.#id.toString('hex');
  }

  /** Records so far. */
  get size(): number {
    return this.#files.size + this.#pending.length;
  }

  /** Why nothing more may start, if the log cannot be written. */
  get failed(): Error | undefined {
    return this.#failed;
  }

  /**
   * Makes sure that what is begun now can be logged.
   * @throws when the disk is full, or journal or log have failed: nothing new may start then.
   */
  reserve(): void {
    if (this.#failed && !this.#isLost) this.#save();
    if (this.#failed) throw this.#failed;
    this.#journal.reserve(this.#live());
    this.#release();
  }

  /** Appends a record for which there is room; returns its index. It is durable after the journal's next sync. */
  append<K extends RecordKind>(kind: K, record: RecordOf<K>, atMs = Date.now()): number {
    const index = this.size;
    const line = lineOf(index, atMs, kind, record);
    this.#journal.append({ kind: 'line', index, line });
    this.#pending.push(line);
    return index;
  }

  /**
   * Appends a record of something that nothing was reserved for, and returns its index. On a full disk it waits for room,
   * and has no index yet.
   */
  note<K extends RecordKind>(kind: K, record: RecordOf<K>): number | undefined {
    if (!this.#held.length && this.#journal.hasRoom(ROOM, this.#live())) return this.append(kind, record);
    if (this.#held.length < MOST_HELD) this.#held.push({ kind, record, atMs: Date.now() });
    else this.#uncounted++;
    return undefined;
  }

  /** Something that a caller was refused before a run of it was known; folded, see Folding. */
  refused(key: string, record: RecordOf<'refuse'>): void {
    this.#folding.add(key, 'refuse', record);
  }

  /**
   * Something that a caller has done with a run, and may do thousands of times a second; folded if the same caller does the
   * same with the same run again.
   */
  deed<K extends Deed>(kind: K, record: RecordOf<K>): void {
    const { run, principal, caller, mode, signal, scope } = record as RecordOf<'attach'> & RecordOf<'signal'>;
    const whose = String(principal);
    let folding = this.#deeds.get(whose);
    if (!folding) {
      folding = new Folding((each, what) => void this.note(each, what), MOST_DEEDS, { principal });
      this.#deeds.set(whose, folding);
    }
    folding.add(JSON.stringify([kind, run, caller, mode, signal, scope]), kind, record);
  }

  #fold(): void {
    this.#folding.flush();
    for (const folding of this.#deeds.values()) folding.flush();
  }

  /** Appends what had to wait. */
  #release(): void {
    let done = 0;
    while (done < this.#held.length && this.#journal.hasRoom(ROOM, this.#live())) {
      const { kind, record, atMs } = this.#held[done++]!;
      this.append(kind, record, atMs);
    }
    if (done) this.#held.splice(0, done);
    if (!this.#uncounted || this.#held.length) return;
    this.append('note', { what: 'not logged', count: this.#uncounted, reason: 'there was no room on the disk' });
    this.#uncounted = 0;
  }

  /** The last head that is on the disk. */
  get head(): Head {
    this.#hash();
    return { size: this.#files.size, root: this.#files.root };
  }

  /** Where the record `index` is and the last durable head, as EXIT tells it. */
  place(index: number): { index: number; size: number; head: Buffer } {
    const { size, root } = this.head;
    return { index, size, head: hashBytes(root) };
  }

  #syncing(): () => void {
    const { size } = this;
    return () => {
      if (size <= this.#durable) return;
      this.#durable = size;
      this.#hashSoon();
    };
  }

  /** Hashes the lines that are durable by now. */
  #hash(): void {
    const count = this.#durable - this.#files.size;
    if (count > 0) this.#files.add(this.#pending.splice(0, count));
  }

  /** Hashes behind what callers wait for: mostly, the next exit finds its head ready. Writes a little later. */
  #hashSoon(): void {
    this.#saveTimer ??= setTimeout(() => this.#save(), GATHER_MS).unref();
    if (this.#hashing) return;
    this.#hashing = true;
    setImmediate(() => {
      this.#hashing = false;
      if (!this.#isClosed) void this.head;
    });
  }

  #save(): void {
    clearTimeout(this.#saveTimer);
    this.#saveTimer = undefined;
    this.#hash();
    try {
      this.#files.save();
      if (!this.#isLost) this.#failed = undefined;
    } catch (error) {
      this.#failed = error as Error;
    }
  }

  /** Makes all of it durable and writes it to the files, then calls back with the head; with an error if it cannot. */
  settle(done: (error: Error | undefined, head: Head) => void): void {
    this.#fold();
    this.#release();
    const tell = (error: Error | undefined): void => {
      if (!error) this.#save();
      done(error ?? this.#failed, this.head);
    };
    if (this.#durable === this.size) tell(undefined);
    else this.#journal.sync(tell);
  }

  /**
   * Makes the files durable. Returns, in frames, what the journal has to keep of the log when it is rewritten; call
   * `compacted` when that is done.
   * @throws the file system's errors: the journal must not be rewritten then.
   */
  checkpoint(): Buffer[] {
    if (this.#isLost) throw this.#failed!;
    this.#save();
    if (this.#failed) throw this.#failed;
    try {
      const mark = this.#files.sync();
      return [
        encodeEntry(this.#entryOf(mark)),
        ...this.#pending.map((line, i) => encodeEntry({ kind: 'line', index: mark.size + i, line })),
      ];
    } catch (error) {
      this.#failed = error as Error;
      this.#isLost = true;
      throw error;
    }
  }

  /**
   * The journal was rewritten. Old lines are dropped only now, for it could still send a keeper back to them, and when the
   * log's word for it is on the disk.
   */
  compacted(): void {
    const size = this.#files.dispensable(this.#keepBytes());
    if (size === undefined || this.note('note', { what: 'pruned', size }) === undefined) return;
    this.#journal.sync((error) => {
      if (!error) this.#files.prune(size);
    });
  }

  #entryOf({ size, root, first, bytes }: Mark): JournalEntry {
    return { kind: 'logged', id: this.#id, size, root: hashBytes(root), first, bytes };
  }

  /** For `status`. */
  get status(): object {
    const { size, root } = this.head;
    return { id: this.id, size, root: hashBase64(root), held: this.#held.length, failed: this.#failed?.message };
  }

  close(): void {
    this.#fold();
    this.#release();
    this.#save();
    this.#isClosed = true;
    this.#files.close();
  }
}
