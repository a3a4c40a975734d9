/**
 * A file of JSON records, one a line, to which several processes append without a lock. Each record begins with a
 * newline instead of ending with one, so a record that was torn by a full disk or a crash damages no other.
 */
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  constants,
  fstatSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';

const { O_APPEND, O_CREAT, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_WRONLY } = constants;

/** The records of a file, and how many lines were none. */
export interface Records {
  readonly records: readonly unknown[];
  /** Lines that are not JSON, except for a torn last one. */
  readonly damaged: number;
}

/** Bytes of a file that are read at most; the rest is not looked at. */
const MAX_READ = 256 * 1024 * 1024;
/** Times that a record is written again because the file was replaced at that moment. */
const MOST_REPLACED = 3;

export class RecordLog {
  readonly path: string;
  #fd: number | undefined;

  constructor(path: string) {
    this.path = path;
  }

  /**
   * Appends a record in one write, without a sync. Returns the file's size and how much of it is the record.
   * @throws the file system's errors, also for a record that the disk took only in part.
   */
  append(record: object): { size: number; added: number } {
    const bytes = Buffer.from(`\n${JSON.stringify(record)}`);
    for (let times = 0; ; times++) {
      this.#fd ??= openSync(this.path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0o600);
      if (writeSync(this.#fd, bytes) < bytes.length)
        throw Object.assign(new Error('the disk took only a part of the record'), { code: 'ENOSPC' });
      const { ino, size } = fstatSync(this.#fd);
      // If the file was replaced before the write, `replace` has not seen the record.
      if (times === MOST_REPLACED || statSync(this.path, { throwIfNoEntry: false })?.ino === ino)
        return { size, added: bytes.length };
      this.close();
    }
  }

  /** The records in the order of their lines. There are none when the file cannot be read. */
  read(): Records {
    let fd: number;
    try {
      fd = openSync(this.path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    } catch {
      return { records: [], damaged: 0 };
    }
    try {
      return parse(readFrom(fd, 0).toString());
    } catch {
      return { records: [], damaged: 1 };
    } finally {
      closeSync(fd);
    }
  }

  /**
   * Replaces the file by one with the records that `select` returns. Records that other processes append meanwhile are
   * kept, some of them twice. Only one process may do so at a time.
   * @throws the file system's errors; the file is unchanged then.
   */
  replace(select: (records: readonly unknown[]) => readonly unknown[]): void {
    const beside = `${this.path}.${process.pid}.${randomBytes(6).toString('hex')}`;
    const fd = openSync(this.path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    try {
      const bytes = readFrom(fd, 0);
      const { records } = parse(bytes.toString());
      const lines = select(records).map((record) => `\n${JSON.stringify(record)}`);
      writeFileSync(beside, lines.join(''), { mode: 0o600, flag: 'wx' });
      renameSync(beside, this.path);
      // What arrived in the old file since it was read. A writer that comes later sees the new file.
      const rest = wholeLines(readFrom(fd, wholeLines(bytes).length));
      if (rest.length) writeFileSync(this.path, rest, { flag: 'a' });
    } finally {
      closeSync(fd);
      rmSync(beside, { force: true });
    }
  }

  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }
}

/** All bytes from an offset to the present end. */
function readFrom(fd: number, from: number): Buffer {
  const info = fstatSync(fd);
  if (!info.isFile()) throw new Error('it is not a plain file');
  const bytes = Buffer.allocUnsafe(Math.max(0, Math.min(info.size - from, MAX_READ)));
  let have = 0;
  while (have < bytes.length) {
    const got = readSync(fd, bytes, have, bytes.length - have, from + have);
    if (got === 0) break;
    have += got;
  }
  return bytes.subarray(0, have);
}

/**
 * The bytes without a last line that is no record, or empty, and without the newline before it: it may still be being
 * written. Its writer finds that the file was replaced, and writes the record again.
 */
function wholeLines(bytes: Buffer): Buffer {
  const end = bytes.lastIndexOf(0x0a);
  return isJson(bytes.toString('utf8', end + 1)) ? bytes : bytes.subarray(0, Math.max(end, 0));
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

function parse(text: string): Records {
  const records: unknown[] = [];
  let damaged = 0;
  let whole = true;
  for (const line of text.split('\n')) {
    if (!line.trim()) continue;
    try {
      records.push(JSON.parse(line));
      whole = true;
    } catch {
      damaged++;
      whole = false;
    }
  }
  // A torn last line is not counted.
  return { records, damaged: whole ? damaged : damaged - 1 };
}
