/**
 * Output on disk: one folder a run, segments of at most 16 MiB a stream, each named by the offset of its first byte. The
 * keeper appends, agents read the same files; only offsets travel between them. Survives processes, not power loss.
 */
import { hash } from 'node:crypto';
import {
  closeSync,
  constants,
  existsSync,
  ftruncateSync,
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
import { SendallError } from '../../errors.js';
import type { Home } from '../../home.js';

/** Room is given back in whole segments: small ones where there is little, large ones where files would be many. */
const LARGEST_SEGMENT = 16 * 1024 * 1024;
const SMALLEST_SEGMENT = 64 * 1024;
/** So many segments of a stream make up what its run may keep. */
const SHARES = 8;
/** The next segment may be larger: the file system's own limit on a file was met (RLIMIT_FSIZE and the like). */
const TOO_LARGE = 'EFBIG';

const CREATE = constants.O_WRONLY | constants.O_CREAT | constants.O_NOFOLLOW;

export const spoolRoot = (home: Home): string => join(home.state, 'spool');

/** The principal that was asked for last, and its name on disk: most often it is the same again. */
let last: string | undefined;
let lastOwner = '';

/** The name of a run's folder. It tells principals apart without their names on disk. */
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
  #size: number;
  #fd = -1;
  /** Where the segments that are kept begin, the one that is being written last. */
  #starts: number[] = [];
  /** Oldest byte kept, and where the next one goes. */
  first = 0;
  next = 0;

  /** `spoolMax`: bytes of this stream that are to be kept. */
  constructor(folder: string, stream: number, spoolMax: number) {
    this.#folder = folder;
    this.#stream = stream;
    this.#size = Math.min(Math.max(Math.floor(spoolMax / SHARES), SMALLEST_SEGMENT), LARGEST_SEGMENT);
  }

  /** Bytes of the segments to come. */
  get segment(): number {
    return this.#size;
  }

  /**
   * Appends what it can and returns how many bytes that were.
   * @throws the file system's error (ENOSPC and so on) only when not a single byte could be written.
   */
  append(bytes: Uint8Array): number {
    let done = 0;
    try {
      while (done < bytes.length) {
        const inSegment = this.next - (this.#starts.at(-1) ?? -Infinity);
        if (inSegment >= this.#size) this.#openSegment(this.next);
        else if (this.#fd < 0) this.#openSegment(this.next - inSegment);
        else done += this.#write(bytes.subarray(done, done + this.#size - inSegment), inSegment);
      }
    } catch (error) {
      if (done === 0) throw error;
    }
    return done;
  }

  #write(bytes: Uint8Array, at: number): number {
    try {
      const n = writeSync(this.#fd, bytes, 0, bytes.length, at);
      this.next += n;
      return n;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== TOO_LARGE || at === 0) throw error;
      this.#size = at;
      return 0;
    }
  }

  #openSegment(start: number): void {
    this.rest();
    const file = segmentFile(this.#folder, this.#stream, start);
    try {
      this.#fd = openSync(file, CREATE, 0o600);
    } catch (error) {
      if (!isGone(error)) throw error;
      mkdirSync(this.#folder, { recursive: true, mode: 0o700 });
      this.#fd = openSync(file, CREATE, 0o600);
    }
    if (this.#starts.at(-1) !== start) this.#starts.push(start);
  }

  /** There is little room: from now on it is to be given back in small pieces. */
  divide(): void {
    this.#size = Math.min(this.#size, SMALLEST_SEGMENT);
  }

  /** Removes whole segments below `offset` and returns how many bytes that freed. */
  dropBelow(offset: number): number {
    const before = this.first;
    for (;;) {
      const [start, end = this.next] = this.#starts;
      if (start === undefined || end > offset || start === end) return this.first - before;
      // The one that is being written, when all of it may go.
      if (this.#starts.length === 1) this.rest();
      removeSegment(segmentFile(this.#folder, this.#stream, start));
      this.#starts.shift();
      this.first = end;
    }
  }

  /** Gives the descriptor back; the next append opens the segment again. */
  rest(): void {
    if (this.#fd >= 0) closeSync(this.#fd);
    this.#fd = -1;
  }
}

/**
 * Its room is free at once, also while a reader has it open. First the name: an empty file that a crash leaves would say
 * that the stream ends where it begins.
 */
function removeSegment(file: string): void {
  const fd = openSync(file, constants.O_WRONLY | constants.O_NOFOLLOW);
  unlinkSync(file);
  ftruncateSync(fd);
  closeSync(fd);
}

const isGone = (error: unknown): boolean => (error as NodeJS.ErrnoException).code === 'ENOENT';

/** Where the segments of a stream begin, in order. */
function segmentStarts(folder: string, stream: number): number[] {
  const prefix = `${stream}.`;
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((name) => name.startsWith(prefix))
    .map((name) => Number(name.slice(prefix.length)))
    .sort((a, b) => a - b);
}

/** Where a stream's bytes on disk begin and end, as the files say. Undefined when there are none. */
export function spooledRange(folder: string, stream: number): { first: number; next: number } | undefined {
  const starts = segmentStarts(folder, stream);
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
   * Reads at most `length` bytes at `offset`; fewer when the stream is not that long yet or a segment ends there,
   * none when nothing is written at `offset` so far. One read at a time.
   * @throws TrimmedError when `offset` is no longer kept.
   */
  async read(offset: number, length: number): Promise<Buffer> {
    const into = Buffer.allocUnsafe(Math.min(length, LARGEST_SEGMENT));
    for (let start: number | undefined = this.#start; start !== undefined; start = this.#startOf(offset, start)) {
      if (start < 0 || start > offset) continue;
      if (!this.#file || this.#start !== start) {
        await this.#file?.close();
        this.#file = undefined;
        try {
          this.#file = await open(segmentFile(this.#folder, this.#stream, start), 'r');
        } catch (error) {
          if (isGone(error)) continue;
          throw error;
        }
        this.#start = start;
      }
      const { bytesRead } = await this.#file.read(into, 0, into.length, offset - start);
      if (bytesRead > 0) return bytesRead === into.length ? into : into.subarray(0, bytesRead);
    }
    return into.subarray(0, 0);
  }

  /** As `read`, into a buffer of the caller's and at once: for bytes just written, which memory still holds. */
  readNow(offset: number, into: Uint8Array): number {
    for (let start: number | undefined = this.#fdStart; start !== undefined; start = this.#startOf(offset, start)) {
      if (start < 0 || start > offset) continue;
      if (this.#fd < 0 || this.#fdStart !== start) {
        if (this.#fd >= 0) closeSync(this.#fd);
        this.#fd = -1;
        try {
          this.#fd = openSync(segmentFile(this.#folder, this.#stream, start), 'r');
        } catch (error) {
          if (isGone(error)) continue;
          throw error;
        }
        this.#fdStart = start;
      }
      const n = readSync(this.#fd, into, 0, into.length, offset - start);
      if (n > 0) return n;
    }
    return 0;
  }

  /**
   * Where the segment that has `offset` begins, after the one at `seen` turned out to have nothing there. Undefined
   * when there is none yet.
   * @throws TrimmedError when it is gone.
   */
  #startOf(offset: number, seen: number): number | undefined {
    const starts = segmentStarts(this.#folder, this.#stream);
    const start = starts.findLast((each) => each <= offset);
    const later = starts.find((each) => each > offset);
    if (start === undefined ? offset > 0 || later !== undefined : start === seen && later !== undefined)
      throw new TrimmedError(this.#stream, offset, later);
    return start === seen ? undefined : start;
  }

  async close(): Promise<void> {
    if (this.#fd >= 0) closeSync(this.#fd);
    this.#fd = -1;
    await this.#file?.close();
    this.#file = undefined;
  }
}
