/**
 * Output on disk: one folder a run, segments of 16 MiB a stream. The keeper appends, agents read the same files; only
 * offsets travel between them. Survives processes, not power loss.
 */
import { hash } from 'node:crypto';
import {
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  rmSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { SendallError } from '../errors.js';
import type { Home } from '../home.js';

/** Segments begin at multiples of this offset. */
export const SEGMENT = 16 * 1024 * 1024;

const CREATE = constants.O_WRONLY | constants.O_CREAT | constants.O_NOFOLLOW;

export const spoolRoot = (home: Home): string => join(home.state, 'spool');

/** The principal that was asked for last, and its name on disk: most often it is the same again. */
let last: string | undefined;
let lastOwner = '';

/** The name of a run's folder: principals are told apart without their names on disk. */
export function spoolFolderName(principal: string, runId: Uint8Array): string {
  if (principal !== last) {
    lastOwner = hash('sha256', principal).slice(0, 16);
    last = principal;
  }
  return `${lastOwner}-${Buffer.from(runId).toString('hex')}`;
}

/** Whether a name is one that `spoolFolderName` gives: others are not ours. */
export const isSpoolName = (name: string): boolean => /^[0-9a-f]{16}-[0-9a-f]{32}$/.test(name);

/** The folder of a run's output. */
export function spoolFolder(home: Home, principal: string, runId: Uint8Array): string {
  return join(spoolRoot(home), spoolFolderName(principal, runId));
}

const segmentFile = (folder: string, stream: number, start: number): string =>
  join(folder, `${stream}.${String(start).padStart(16, '0')}`);

/** The bytes wanted are not kept any more. */
export class TrimmedError extends SendallError {
  /** The oldest byte that is still there; undefined when nothing is. */
  readonly first: number | undefined;
  constructor(stream: number, offset: number, first: number | undefined) {
    super(
      'TRIMMED',
      `stream ${stream} is no longer kept at ${offset}${first === undefined ? '' : `, only from ${first}`}`,
    );
    this.first = first;
  }
}

/** One stream's bytes being written. */
export class SpoolWriter {
  readonly #folder: string;
  readonly #stream: number;
  #fd = -1;
  /** Oldest byte kept, and where the next one goes. */
  first = 0;
  next = 0;

  constructor(folder: string, stream: number) {
    this.#folder = folder;
    this.#stream = stream;
  }

  /**
   * Appends what it can and returns how many bytes that were. Throws the file system's error (ENOSPC and so on) only
   * when not a single byte could be written.
   */
  append(bytes: Uint8Array): number {
    let done = 0;
    try {
      while (done < bytes.length) {
        const inSegment = this.next % SEGMENT;
        if (this.#fd < 0 || inSegment === 0) this.#openSegment(this.next - inSegment);
        const length = Math.min(bytes.length - done, SEGMENT - inSegment);
        const n = writeSync(this.#fd, bytes, done, length, inSegment);
        this.next += n;
        done += n;
      }
    } catch (error) {
      if (done === 0) throw error;
    }
    return done;
  }

  #openSegment(start: number): void {
    this.rest();
    const file = segmentFile(this.#folder, this.#stream, start);
    try {
      this.#fd = openSync(file, CREATE, 0o600);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      mkdirSync(this.#folder, { recursive: true, mode: 0o700 });
      this.#fd = openSync(file, CREATE, 0o600);
    }
  }

  /** Removes whole segments below `offset` and returns how many bytes that freed. */
  dropBelow(offset: number): number {
    const before = this.first;
    while (this.first + SEGMENT <= offset && this.first + SEGMENT <= this.next) {
      unlinkSync(segmentFile(this.#folder, this.#stream, this.first));
      this.first += SEGMENT;
    }
    return this.first - before;
  }

  /** Gives the descriptor back; the next append opens the segment again. */
  rest(): void {
    if (this.#fd >= 0) closeSync(this.#fd);
    this.#fd = -1;
  }
}

/** Where a stream's bytes on disk begin and end, as the files say. Undefined when there are none. */
export function spooledRange(folder: string, stream: number): { first: number; next: number } | undefined {
  const prefix = `${stream}.`;
  if (!existsSync(folder)) return undefined;
  const starts = readdirSync(folder)
    .filter((name) => name.startsWith(prefix))
    .map((name) => Number(name.slice(prefix.length)))
    .sort((a, b) => a - b);
  const first = starts[0];
  const last = starts.at(-1);
  if (first === undefined || last === undefined) return undefined;
  return { first, next: last + statSync(segmentFile(folder, stream, last)).size };
}

/** Removes a run's output. */
export function removeSpool(folder: string): void {
  rmSync(folder, { recursive: true, force: true });
}

/**
 * Reads one stream of one run while it may still grow. Knows nothing of its end: read up to where the keeper said the
 * stream is (`SPOOLED`, `DATA`, `EXIT`, `EOS`, `ATTACHED`).
 */
export class SpoolReader {
  readonly #folder: string;
  readonly #stream: number;
  #start = -1;
  #file: FileHandle | undefined;
  #fd = -1;
  #fdStart = -1;

  constructor(folder: string, stream: number) {
    this.#folder = folder;
    this.#stream = stream;
  }

  /**
   * Reads at most `length` bytes at `offset`; fewer when the stream is not that long yet or a segment ends there, none
   * when nothing is written at `offset` so far. One read at a time. Throws TrimmedError when `offset` is no longer kept.
   */
  async read(offset: number, length: number): Promise<Buffer> {
    const inSegment = offset % SEGMENT;
    const start = offset - inSegment;
    if (!this.#file || this.#start !== start) {
      await this.#file?.close();
      this.#file = undefined;
      try {
        this.#file = await open(segmentFile(this.#folder, this.#stream, start), 'r');
        this.#start = start;
      } catch (error) {
        return this.#absent(offset, error);
      }
    }
    const into = Buffer.allocUnsafe(Math.min(length, SEGMENT - inSegment));
    const { bytesRead } = await this.#file.read(into, 0, into.length, inSegment);
    return bytesRead === into.length ? into : into.subarray(0, bytesRead);
  }

  /** As `read`, into a buffer of the caller's and at once: for bytes just written, which memory still holds. */
  readNow(offset: number, into: Uint8Array): number {
    const inSegment = offset % SEGMENT;
    const start = offset - inSegment;
    if (this.#fd < 0 || this.#fdStart !== start) {
      if (this.#fd >= 0) closeSync(this.#fd);
      this.#fd = -1;
      try {
        this.#fd = openSync(segmentFile(this.#folder, this.#stream, start), 'r');
        this.#fdStart = start;
      } catch (error) {
        return this.#absent(offset, error).length;
      }
    }
    return readSync(this.#fd, into, 0, Math.min(into.length, SEGMENT - inSegment), inSegment);
  }

  #absent(offset: number, error: unknown): Buffer {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    const range = spooledRange(this.#folder, this.#stream);
    if (range ? offset < range.first : offset > 0) throw new TrimmedError(this.#stream, offset, range?.first);
    return Buffer.alloc(0);
  }

  async close(): Promise<void> {
    if (this.#fd >= 0) closeSync(this.#fd);
    this.#fd = -1;
    await this.#file?.close();
    this.#file = undefined;
  }
}
