/** One stream of a command: read from its source, summed, written to the spool, announced. */
import { createHash, type Hash } from 'node:crypto';
import { crc32 } from '../../protocol/crc32.js';
import type { SpoolBudget } from './budget.js';
import { CHUNK, type Source } from '../system/source.js';
import { SpoolWriter } from './spool.js';
import type { Watch } from '../system/native.js';

/** How often a write to a full disk is tried again. */
const RETRY_MS = 500;
/** Errors of a disk without room, for all users or for this one. */
const FULL = new Set<string | undefined>(['ENOSPC', 'EDQUOT']);

export type Overflow = 'block' | 'stop' | 'drop-old';

/** What a stream tells its run. */
export interface OutputEvents {
  /** How many of these new bytes the run may keep; the others are dropped, and never were. */
  allowed(output: Output, bytes: Buffer): number;
  /** Bytes `offset`… are in the spool; the buffer is valid inside the call only. */
  grew(output: Output, offset: number, bytes: Buffer): void;
  /** Bytes `from` to `to` were dropped without having been acknowledged. */
  dropped(output: Output, from: number, to: number, reason: string): void;
  /** No more will come. */
  ended(output: Output): void;
  /** More than the run may hold waits, and its spec says to stop it then. */
  overflowed(output: Output): void;
  /** `blocked` or the end of it. */
  changed(output: Output): void;
}

export interface OutputOptions {
  readonly stream: number;
  readonly folder: string;
  readonly spoolMax: number;
  readonly overflow: Overflow;
  readonly sha256: boolean;
  /** What is acknowledged is given back at once. */
  readonly passing: boolean;
  /**
   * While a caller is in control, nothing more is read when so many bytes are on their way to it: a person who presses
   * Ctrl-C at a terminal wants to see that.
   * @default no such limit
   */
  readonly ahead?: number;
}

export class Output {
  readonly stream: number;
  readonly spool: SpoolWriter;
  readonly #source: Source;
  readonly #events: OutputEvents;
  readonly #budget: SpoolBudget;
  readonly #spoolMax: number;
  readonly #overflow: Overflow;
  readonly #sha: Hash | undefined;
  readonly #ahead: number;
  #attended = false;
  #watch: Watch | undefined;
  #watching = false;
  #acked = 0;
  #crc = 0;
  /** Read and summed, not yet stored: the disk is full. */
  #pending: Buffer | undefined;
  #retry: NodeJS.Timeout | undefined;
  /** What is acknowledged is given back at once: nothing is to be kept, or the room of all runs or of the disk was used up. */
  #tight: boolean;
  /** What still comes has no reader. */
  #unclaimed = false;
  #atEnd = false;
  #closed = false;

  constructor(source: Source, budget: SpoolBudget, options: OutputOptions, events: OutputEvents) {
    this.#source = source;
    this.#budget = budget;
    this.#events = events;
    this.stream = options.stream;
    this.spool = new SpoolWriter(options.folder, options.stream, options.spoolMax);
    this.#spoolMax = options.spoolMax;
    this.#overflow = options.overflow;
    this.#tight = options.passing;
    this.#ahead = options.ahead ?? Infinity;
    this.#sha = options.sha256 ? createHash('sha256') : undefined;
  }

  /** Where the next byte goes. */
  get next(): number {
    return this.spool.next;
  }

  get ended(): boolean {
    return this.#atEnd && this.#pending === undefined;
  }

  /** Bytes wait in the pipe because the ones before were not taken yet, or because the disk is full. */
  get blocked(): boolean {
    return !this.ended && !this.#watching && this.#watch !== undefined;
  }

  get stored(): boolean {
    return this.#pending === undefined;
  }

  get crc(): number {
    return this.#crc;
  }

  /** The digest of all bytes so far, when it was asked for. */
  get sha256(): Buffer | undefined {
    return this.#sha?.copy().digest();
  }

  /** Reads whenever there is something, from now on. */
  start(): void {
    if (this.#watch || this.#closed) return;
    this.#watch = this.#source.watch(() => this.#read(this.#room()));
    this.#watching = true;
  }

  /** Whether a caller is in control. */
  set attended(attended: boolean) {
    if (this.#attended === attended) return;
    this.#attended = attended;
    this.update();
  }

  /** How much may be read now under the run's limits. */
  #room(): number {
    const ahead = this.#attended ? this.#ahead : Infinity;
    const limit = Math.min(this.#overflow === 'drop-old' ? Infinity : this.#spoolMax, ahead);
    return Math.min(CHUNK, Math.max(limit - (this.next - this.#acked), 1));
  }

  /** Reads once. Returns how many bytes were taken; 0 when there are no bytes now, and at the end. */
  #read(most: number): number {
    const bytes = this.#source.read(most);
    if (bytes === 'none') return 0;
    if (bytes === 'end') {
      this.#end();
      return 0;
    }
    this.#take(bytes);
    return bytes.length;
  }

  #take(read: Buffer): void {
    const bytes = read.subarray(0, this.#events.allowed(this, read));
    if (bytes.length === 0) return;
    this.#crc = crc32(bytes, this.#crc);
    this.#sha?.update(bytes);
    this.#store(bytes);
  }

  #store(bytes: Buffer): void {
    let rest = bytes;
    while (rest.length > 0) {
      const offset = this.next;
      let n: number;
      try {
        n = this.spool.append(rest);
      } catch (error) {
        // A full disk: what readers already have makes room. Else nothing is lost, the command waits, and we try again.
        if (FULL.has((error as NodeJS.ErrnoException).code)) {
          this.#save();
          if (this.#budget.makeRoom()) continue;
        }
        this.#pending = Buffer.from(rest);
        this.#retry = setTimeout(() => this.#storePending(), RETRY_MS);
        break;
      }
      this.#budget.add(n);
      this.#events.grew(this, offset, rest.subarray(0, n));
      rest = rest.subarray(n);
    }
    this.update();
  }

  #storePending(): void {
    clearTimeout(this.#retry);
    const bytes = this.#pending;
    this.#pending = undefined;
    if (!bytes) return;
    this.#store(bytes);
    if (this.#pending !== undefined) return;
    if (this.#atEnd) this.#events.ended(this);
    this.#events.changed(this);
  }

  /** Controllers have everything below this offset. */
  acknowledge(durable: number): void {
    if (durable <= this.#acked) return;
    this.#give(Math.min(durable, this.next));
    this.update();
  }

  #give(acked: number): void {
    this.#acked = acked;
    if (this.#tight && this.#free() > 0 && this.#pending) this.#storePending();
  }

  /** The caller has the run's end and wants no more: from now on all that comes counts as acknowledged. */
  disclaim(): void {
    this.#unclaimed = true;
    this.acknowledge(this.next);
  }

  /** Removes what is acknowledged: the room is needed. */
  trim(): void {
    this.#save();
    this.#free();
  }

  #save(): void {
    this.#tight = true;
    this.spool.divide();
  }

  #free(): number {
    const freed = this.spool.dropBelow(this.#acked);
    this.#budget.free(freed);
    return freed;
  }

  /** Applies the limits anew: trims, drops, stops reading or starts again. */
  update(): void {
    // In whole segments: to begin a file for every few bytes would be work for nothing.
    if (this.#unclaimed && this.next - this.#acked >= this.spool.segment) this.#give(this.next);
    const unacked = this.next - this.#acked;
    if (this.next - this.spool.first > this.#spoolMax) {
      // Acknowledged bytes go first, and only because the room is needed.
      this.#budget.free(this.spool.dropBelow(Math.min(this.#acked, this.next - this.#spoolMax)));
      if (this.#overflow === 'drop-old') {
        const from = this.spool.first;
        this.#budget.free(this.spool.dropBelow(this.next - this.#spoolMax));
        if (this.spool.first > from) {
          this.#acked = Math.max(this.#acked, this.spool.first);
          this.#events.dropped(this, from, this.spool.first, 'the run keeps no more than its spool limit');
        }
      }
    }
    const over = unacked >= this.#spoolMax && this.#overflow !== 'drop-old';
    if (over && this.#overflow === 'stop') this.#events.overflowed(this);
    const ahead = this.#attended && unacked >= this.#ahead;
    const { full } = this.#budget;
    const wait = this.#pending !== undefined || (over && this.#overflow === 'block') || ahead || full;
    if (!this.#watch || this.#atEnd) return;
    // Also when it waits for something else: that may be over before there is room.
    if (full) this.#budget.wait(this);
    if (this.#watching !== wait) return;
    if (wait) this.#watch.stop();
    else this.#watch.start();
    this.#watching = !wait;
    this.#events.changed(this);
  }

  /**
   * Takes what the pipe holds at this moment, limits or not: room for one pipe is always granted. True when it is all
   * stored.
   */
  takeRest(): boolean {
    if (this.#atEnd || this.#pending) return this.#pending === undefined;
    let left: number | undefined;
    for (;;) {
      // One read more than there are bytes, so that the end is seen when it is there.
      const n = this.#read(CHUNK);
      if (n === 0 || this.#pending || (left !== undefined && left <= 0)) break;
      left = left === undefined ? this.#source.available() : left - n;
    }
    return this.#pending === undefined;
  }

  #end(): void {
    this.#close();
    this.#atEnd = true;
    if (this.#pending === undefined) this.#events.ended(this);
  }

  #close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#watch?.close();
    this.#watch = undefined;
    this.#watching = false;
    this.#source.close();
    this.#budget.leave(this);
    this.spool.rest();
  }

  /** As `stop`, for one of the streams that this one brings. */
  stopOne(stream: number): void {
    if (!this.#atEnd && this.#source.stop?.(stream) === false) this.#end();
  }

  /** It ends by `finish` only. */
  get endless(): boolean {
    return this.#source.endless ?? false;
  }

  /** No process is left that could write: takes the rest, then ends. */
  finish(): void {
    this.takeRest();
    if (!this.#atEnd) this.#end();
  }

  /** The reader has gone: the command gets SIGPIPE at its next write, as in a shell's pipe. */
  stop(): void {
    if (!this.#atEnd) this.#end();
  }

  /** Gives everything back. The files stay. */
  destroy(): void {
    clearTimeout(this.#retry);
    this.#pending = undefined;
    this.#close();
    this.#atEnd = true;
  }
}
