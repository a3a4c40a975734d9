/** Outputs of runs on disk, each stored once under its SHA-256. A blob's time is that of its last use. */
import { hash } from 'node:crypto';
import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { ensureFolder, type HistoryFolder } from './folder.js';

/** Bytes of the largest blob; a Buffer's own limit is not far above. */
export const MAX_BLOB = 1024 * 1024 * 1024;

export class Blobs {
  readonly #path: string;
  #isReady = false;
  /** What was read last: most hosts have the same output. */
  #last: { readonly sha256: string; readonly bytes: Buffer } | undefined;

  constructor({ blobs }: HistoryFolder) {
    this.#path = blobs;
  }

  /**
   * Stores an output, unless it is there. Returns the bytes that this added.
   * @throws the file system's errors.
   */
  put(sha256: string, chunks: readonly Buffer[], now: number): number {
    const path = join(this.#path, sha256);
    const size = chunks.reduce((sum, { length }) => sum + length, 0);
    if (this.has(sha256, size)) {
      this.touch(sha256, now);
      return 0;
    }
    if (!this.#isReady) ensureFolder(this.#path);
    this.#isReady = true;
    // A torn one was left by a process that died.
    rmSync(path, { force: true });
    try {
      writeFileSync(path, chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks), { mode: 0o600, flag: 'wx' });
      this.touch(sha256, now);
      return size;
    } catch (error) {
      // Another process stores it at this moment.
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') return 0;
      rmSync(path, { force: true });
      throw error;
    }
  }

  /** Whether it is there, whole. */
  has(sha256: string, size: number): boolean {
    const info = lstatSync(join(this.#path, sha256), { throwIfNoEntry: false });
    return info !== undefined && info.isFile() && info.size === size;
  }

  /** A run uses it: it lives as long as that run's history. */
  touch(sha256: string, now: number): void {
    utimesSync(join(this.#path, sha256), now / 1000, now / 1000);
  }

  /** The output; undefined when it is not kept or was damaged. */
  get(sha256: string, size: number): Buffer | undefined {
    if (this.#last?.sha256 === sha256) return this.#last.bytes;
    const bytes = this.#read(sha256, size);
    if (bytes) this.#last = { sha256, bytes };
    return bytes;
  }

  #read(sha256: string, size: number): Buffer | undefined {
    if (size > MAX_BLOB) return undefined;
    let fd: number | undefined;
    try {
      fd = openSync(join(this.#path, sha256), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
      const info = fstatSync(fd);
      if (!info.isFile() || info.size !== size) return undefined;
      const bytes = readFileSync(fd);
      return hash('sha256', bytes, 'hex') === sha256 ? bytes : undefined;
    } catch {
      return undefined;
    } finally {
      if (fd !== undefined) closeSync(fd);
    }
  }

  /** When each of these was used last. Those that are not there are left out. */
  uses(digests: Iterable<string>): Map<string, number> {
    const uses = new Map<string, number>();
    for (const sha256 of digests) {
      const usedMs = this.#usedMs(sha256);
      if (usedMs !== undefined) uses.set(sha256, usedMs);
    }
    return uses;
  }

  /** Removes blobs, unless they were used since; those that are gone already are no fault. */
  remove(uses: Iterable<readonly [sha256: string, usedMs: number]>): void {
    for (const [sha256, usedMs] of uses)
      if (this.#usedMs(sha256) === usedMs) rmSync(join(this.#path, sha256), { force: true });
  }

  #usedMs(sha256: string): number | undefined {
    return lstatSync(join(this.#path, sha256), { throwIfNoEntry: false })?.mtimeMs;
  }
}
