/**
 * What our own program tells the keeper of the files it placed or sent: lines of JSON on a descriptor, with the first
 * files by name and counts of all.
 */
import { writeSync } from 'node:fs';

/** The program's descriptor for its report. */
export const REPORT_FD = 3;
/** Files that a report names, and bytes of the names. */
const MAX_NAMED = 100;
const MAX_NAMES = 24 * 1024;
/** Files after which the counts are told again. */
const COUNT_EVERY = 256;
/** Bytes of a line, and of a whole report. */
const MAX_LINE = 32 * 1024;
const MAX_REPORT = 4 * 1024 * 1024;

/** A file that was placed or sent. Its path as text with one character for each byte. */
export interface ReportedFile {
  readonly path: string;
  readonly bytes: number;
  /** In hex. Absent: its bytes were not all read. */
  readonly sha256?: string | undefined;
}

/** Counts of files: placed or sent, found to be the same already, and failed. Bytes of the first. */
interface Counts {
  readonly files: number;
  readonly bytes: number;
  readonly same: number;
  readonly failed: number;
}

export interface Reported extends Counts {
  /** The first ones. */
  readonly named: readonly ReportedFile[];
}

/** The program's side: it tells the keeper about its files. Nothing here fails, for a report is not worth a transfer. */
export class Reporter {
  #fd: number | undefined;
  readonly #counts = { files: 0, bytes: 0, same: 0, failed: 0 };
  #told = 0;
  #names = 0;

  /** `fd`: where the keeper listens. */
  constructor(fd: number = REPORT_FD) {
    this.#fd = fd;
  }

  /** A file was placed, or sent. */
  placed(path: Uint8Array, bytes: number, sha256: string | undefined): void {
    this.#counts.files++;
    this.#counts.bytes += bytes;
    this.#names += path.length;
    if (this.#counts.files <= MAX_NAMED && this.#names <= MAX_NAMES)
      this.#tell({ path: Buffer.from(path).toString('latin1'), bytes, sha256 });
    this.#count();
  }

  same(): void {
    this.#counts.same++;
    this.#count();
  }

  failed(): void {
    this.#counts.failed++;
    this.#count();
  }

  /** Nothing more will come. */
  end(): void {
    this.#tell(this.#counts);
  }

  #count(): void {
    if (++this.#told % COUNT_EVERY === 0) this.#tell(this.#counts);
  }

  #tell(line: object): void {
    if (this.#fd === undefined) return;
    try {
      writeSync(this.#fd, `${JSON.stringify(line)}\n`);
    } catch {
      // The keeper has gone, or wants no more.
      this.#fd = undefined;
    }
  }
}

/** The keeper's side. What comes may be anything: the program runs as another user. */
export class ReportReader {
  #rest = Buffer.alloc(0);
  #size = 0;
  #names = 0;
  #counts: Counts = { files: 0, bytes: 0, same: 0, failed: 0 };
  readonly #named: ReportedFile[] = [];
  /** The report is wrong, or too long: no more of it is wanted. */
  isOver = false;

  take(bytes: Uint8Array): void {
    this.#size += bytes.length;
    let rest = Buffer.concat([this.#rest, bytes]);
    for (let end = rest.indexOf(0x0a); end >= 0 && !this.isOver; end = rest.indexOf(0x0a)) {
      this.#line(rest.toString('utf8', 0, end));
      rest = rest.subarray(end + 1);
    }
    this.#rest = rest;
    if (rest.length > MAX_LINE || this.#size > MAX_REPORT) this.isOver = true;
  }

  #line(text: string): void {
    let line: unknown;
    try {
      line = JSON.parse(text);
    } catch {
      // Not ours.
    }
    if (isFile(line) && this.#named.length < MAX_NAMED && (this.#names += line.path.length) <= MAX_NAMES) {
      const { path, bytes, sha256 } = line;
      this.#named.push({ path, bytes, sha256 });
    } else if (isCounts(line)) {
      const { files, bytes, same, failed } = line;
      this.#counts = { files, bytes, same, failed };
    } else this.isOver = true;
  }

  /** What was reported so far; undefined: nothing. */
  get reported(): Reported | undefined {
    const named = this.#named;
    const { files, bytes, same, failed } = this.#counts;
    if (!named.length && !files && !same && !failed) return undefined;
    // Counts come after names.
    const sum = named.reduce((total, file) => total + file.bytes, 0);
    return { files: Math.max(files, named.length), bytes: Math.max(bytes, sum), same, failed, named };
  }
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
/** PATH_MAX. */
const MAX_PATH = 4096;
const isPath = (value: unknown): value is string =>
  typeof value === 'string' &&
  value.length > 0 &&
  value.length <= MAX_PATH &&
  Buffer.from(value, 'latin1').toString('latin1') === value;
const SHA256 = /^[0-9a-f]{64}$/;

function isFile(line: unknown): line is ReportedFile {
  const { path, bytes, sha256 } = (line ?? {}) as Partial<Record<keyof ReportedFile, unknown>>;
  return (
    isPath(path) && isCount(bytes) && (sha256 === undefined || (typeof sha256 === 'string' && SHA256.test(sha256)))
  );
}

function isCounts(line: unknown): line is Counts {
  const { files, bytes, same, failed } = (line ?? {}) as Partial<Record<keyof Counts, unknown>>;
  return [files, bytes, same, failed].every(isCount);
}
