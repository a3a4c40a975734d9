/**
 * The files of a log as their one writer sees them: lines go to the newest segment, their hashes to the file of hashes.
 * Nothing here is durable before `sync` returns. The caller keeps what it has added until then, and says where to go on.
 */
import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { SendallError } from '../errors.js';
import { HASH_SIZE, leafHash, type Hash } from './hashes.js';
import { firstOf, HASHES, segmentName } from './layout.js';
import { placeOf, rootAt, storedCount } from './stored-hashes.js';
import { Tree } from './tree.js';

/** Bytes above which a segment is full. */
const SEGMENT_SIZE = 8 * 1024 * 1024;
const NEWLINE = Buffer.from('\n');

/** How far the files are durable. */
export interface Mark {
  /** Records. */
  readonly size: number;
  readonly root: Hash;
  /** The first record of the newest segment, and its bytes. */
  readonly first: number;
  readonly bytes: number;
}

/** The steps of the writer, for tests that end it at each of them. */
export type LogStep = 'lines' | 'hashes' | 'segment' | 'sync' | 'synced' | 'pruned';

const { O_RDWR, O_CREAT, O_NOFOLLOW } = constants;

export class LogFiles {
  readonly #folder: string;
  readonly #step: (step: LogStep) => void;
  readonly #hashes: number;
  #segment: number;
  #first: number;
  #bytes: number;
  /** Full segments that are not synced. */
  #full: number[] = [];
  #tree: Tree;
  /** Records whose lines and hashes are written. */
  #saved: number;
  /** Added, not written yet. */
  #lines: Buffer[] = [];
  #fresh: Hash[] = [];
  #rootOf: { readonly size: number; readonly root: Hash } | undefined;
  #isNew = true;
  /** The first record of the segment that the last mark names. */
  #marked: number;

  private constructor(folder: string, mark: Mark, step: (step: LogStep) => void) {
    this.#folder = folder;
    this.#step = step;
    this.#first = mark.first;
    this.#marked = mark.first;
    this.#bytes = mark.bytes;
    this.#saved = mark.size;
    this.#hashes = openSync(join(folder, HASHES), O_RDWR | O_CREAT | O_NOFOLLOW, 0o600);
    this.#segment = this.#openSegment(mark.first);
    this.#tree = Tree.of(mark.size, (level, n) => this.#read(placeOf(level, n)));
  }

  /**
   * Opens the files as they were at `mark`; what was written behind it is dropped.
   * @throws SendallError LOG when they do not hold what the mark says, and the file system's errors.
   */
  static open(folder: string, mark: Mark, step: (step: LogStep) => void = () => {}): LogFiles {
    const damaged = (what: string): SendallError => new SendallError('LOG', `the log in ${folder} is damaged: ${what}`);
    if (statSync(folder, { throwIfNoEntry: false })?.isDirectory() === false) throw damaged('it is not a folder');
    if (mark.size === 0) mkdirSync(folder, { recursive: true, mode: 0o700 });
    for (const name of [HASHES, segmentName(mark.first)])
      if (lstatSync(join(folder, name), { throwIfNoEntry: false })?.isFile() === false)
        throw damaged(`${name} is not a plain file`);
    const size = (name: string): number => statSync(join(folder, name), { throwIfNoEntry: false })?.size ?? -1;
    if (mark.size > 0 && size(HASHES) < storedCount(mark.size) * HASH_SIZE) throw damaged('hashes are missing');
    if (mark.bytes > 0 && size(segmentName(mark.first)) < mark.bytes) throw damaged('lines are missing');
    const files = new LogFiles(folder, mark, step);
    if (files.#tree.root !== mark.root) {
      files.close();
      throw damaged('its hashes are others');
    }
    ftruncateSync(files.#hashes, storedCount(mark.size) * HASH_SIZE);
    ftruncateSync(files.#segment, mark.bytes);
    for (const name of readdirSync(folder)) if ((firstOf(name) ?? 0) > mark.first) rmSync(join(folder, name));
    return files;
  }

  /** Records, those that are not written yet included. */
  get size(): number {
    return this.#tree.size;
  }

  get root(): Hash {
    const { size } = this.#tree;
    if (this.#rootOf?.size !== size) this.#rootOf = { size, root: this.#tree.root };
    return this.#rootOf.root;
  }

  /** Records that are written, though perhaps not durable. */
  get saved(): number {
    return this.#saved;
  }

  /** Adds lines, without a newline each. They are in files after `save`. */
  add(lines: readonly Buffer[]): void {
    for (const line of lines) {
      this.#lines.push(line);
      this.#tree.add(leafHash(line), (hash) => this.#fresh.push(hash));
    }
  }

  /**
   * Writes what was added.
   * @throws the file system's errors; what was not written then is tried again by the next call.
   */
  save(): void {
    while (this.#lines.length) {
      if (this.#bytes >= SEGMENT_SIZE) this.#begin(this.#saved);
      let [count, length] = [0, 0];
      while (count < this.#lines.length && this.#bytes + length < SEGMENT_SIZE)
        length += this.#lines[count++]!.length + 1;
      const lines = this.#lines.slice(0, count);
      writeAll(this.#segment, Buffer.concat(lines.flatMap((line) => [line, NEWLINE])), this.#bytes);
      this.#step('lines');
      const before = storedCount(this.#saved);
      const hashes = storedCount(this.#saved + count) - before;
      writeAll(this.#hashes, Buffer.from(this.#fresh.slice(0, hashes).join(''), 'latin1'), before * HASH_SIZE);
      this.#step('hashes');
      // Not before both are there: until then all of it is written again.
      this.#lines.splice(0, count);
      this.#fresh.splice(0, hashes);
      this.#bytes += length;
      this.#saved += count;
    }
  }

  /** Begins a segment with the record `first`. */
  #begin(first: number): void {
    const segment = this.#openSegment(first);
    ftruncateSync(segment);
    this.#full.push(this.#segment);
    this.#segment = segment;
    this.#first = first;
    this.#bytes = 0;
    this.#isNew = true;
    this.#step('segment');
  }

  #openSegment(first: number): number {
    return openSync(join(this.#folder, segmentName(first)), O_RDWR | O_CREAT | O_NOFOLLOW, 0o600);
  }

  /**
   * Makes durable what is saved, and says how to open the files at that point.
   * @throws the file system's errors: what was written since the last mark may be lost then.
   */
  sync(): Mark {
    this.#step('sync');
    for (const fd of this.#full) {
      fsyncSync(fd);
      closeSync(fd);
    }
    this.#full = [];
    fsyncSync(this.#segment);
    fsyncSync(this.#hashes);
    if (this.#isNew) this.#syncNames();
    this.#step('synced');
    this.#marked = this.#first;
    const root = this.#saved === this.size ? this.root : rootAt(this.#saved, (place) => this.#read(place));
    return { size: this.#saved, root, first: this.#first, bytes: this.#bytes };
  }

  /** The names of the files, and that of their folder. */
  #syncNames(): void {
    for (const folder of [this.#folder, dirname(this.#folder)]) {
      const fd = openSync(folder, constants.O_RDONLY);
      try {
        fsyncSync(fd);
      } finally {
        closeSync(fd);
      }
    }
    this.#isNew = false;
  }

  /**
   * How many of the oldest records can lose their lines so that the rest takes at most `most` bytes, as far as whole
   * segments allow; that of the last mark and newer ones are needed. Undefined if there are none.
   */
  dispensable(most: number): number | undefined {
    const firsts = readdirSync(this.#folder).flatMap((name) => firstOf(name) ?? []);
    firsts.sort((a, b) => a - b);
    const sizes = firsts.map((first) => statSync(join(this.#folder, segmentName(first))).size);
    let total = sizes.reduce((sum, size) => sum + size, 0);
    let without: number | undefined;
    for (let i = 0; i < firsts.length - 1 && firsts[i]! < this.#marked && total > most; i++) {
      total -= sizes[i]!;
      without = firsts[i + 1]!;
    }
    return without;
  }

  /** Removes the lines of the first `size` records, whole segments only. Their hashes stay. */
  prune(size: number): void {
    for (const name of readdirSync(this.#folder)) {
      if ((firstOf(name) ?? size) >= size) continue;
      rmSync(join(this.#folder, name));
      this.#step('pruned');
    }
  }

  #read(place: number): Hash {
    const bytes = Buffer.alloc(HASH_SIZE);
    readSync(this.#hashes, bytes, 0, HASH_SIZE, place * HASH_SIZE);
    return bytes.toString('latin1');
  }

  close(): void {
    for (const fd of [...this.#full, this.#segment, this.#hashes]) closeSync(fd);
    this.#full = [];
  }
}

function writeAll(fd: number, bytes: Buffer, at: number): void {
  for (let done = 0; done < bytes.length;) done += writeSync(fd, bytes, done, bytes.length - done, at + done);
}

/** Whether a folder holds a log. */
export const holdsLog = (folder: string): boolean => existsSync(join(folder, HASHES));

/** Reads the hashes in a log's folder. `close` when done. */
export function openHashes(folder: string): { readonly count: number; read(place: number): Hash; close(): void } {
  const fd = openSync(join(folder, HASHES), constants.O_RDONLY | O_NOFOLLOW);
  const bytes = Buffer.alloc(HASH_SIZE);
  return {
    count: Math.floor(fstatSync(fd).size / HASH_SIZE),
    read(place) {
      if (readSync(fd, bytes, 0, HASH_SIZE, place * HASH_SIZE) < HASH_SIZE)
        throw new SendallError('LOG', `the log in ${folder} has no hash ${place}`);
      return bytes.toString('latin1');
    },
    close: () => closeSync(fd),
  };
}
