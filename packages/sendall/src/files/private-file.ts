/**
 * Files that hold keys and pins: private to this user (0600), never followed through a link, replaced atomically. They
 * are small, so reads and writes are synchronous.
 */
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  linkSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { UsageError } from '../errors.js';
import { ensurePrivateFolder } from '../home.js';
import { LockFile, lockFile } from './lock-file.js';

/** The largest file we read; a thousand hosts take a few hundred KiB. */
const MAX_SIZE = 16 * 1024 * 1024;
/** A lock is held for a few file operations only. An older one of another machine was left by a process that died. */
const LOCK_STALE_MS = 5000;

const codeOf = (error: unknown) => (error as NodeJS.ErrnoException).code;

/**
 * The file's text, or undefined when the file does not exist.
 * @throws UsageError when it is a link, not a plain file, another user's, readable by others, above 16 MiB or
 * unreadable.
 */
export function readPrivateFile(path: string): string | undefined {
  return readPrivateBytes(path, MAX_SIZE)?.toString('utf8');
}

/** The file's bytes, as readPrivateFile has its text. `most`: bytes that it may have. */
export function readPrivateBytes(path: string, most: number): Buffer | undefined {
  let fd: number;
  try {
    // O_NONBLOCK: opening a FIFO in the file's place must not hang.
    fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    if (codeOf(error) === 'ELOOP')
      throw new UsageError(`${path} is a symbolic link, which is not followed here: put the file itself in its place`);
    throw new UsageError(`${path} cannot be read (${codeOf(error)}): check its owner and mode`, { cause: error });
  }
  try {
    const info = fstatSync(fd);
    const uid = process.getuid?.();
    if (!info.isFile()) throw new UsageError(`${path} is not a plain file: move it away`);
    if (uid !== undefined && info.uid !== uid)
      throw new UsageError(`${path} belongs to user ${info.uid}, not to you (${uid}): move it away`);
    if (uid !== undefined && info.mode & 0o077)
      throw new UsageError(
        `${path} is open to other users (mode ${(info.mode & 0o777).toString(8)}): if no other user has used it, chmod 600 it`,
      );
    if (info.size > most) throw new UsageError(`${path} has ${info.size} bytes, more than ${most}`);
    return readFileSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Writes `text` to a temporary file beside `path`, calls `place` to move it there, and cleans up. */
function write(path: string, text: string, place: (beside: string) => void, isDurable = true): void {
  const beside = `${path}.${process.pid}.${randomBytes(6).toString('hex')}`;
  try {
    const fd = openSync(beside, 'wx', 0o600);
    try {
      writeFileSync(fd, text);
      if (isDurable) fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    place(beside);
  } catch (error) {
    throw cannotWrite(path, error);
  } finally {
    rmSync(beside, { force: true });
  }
  if (isDurable) syncFolder(path);
}

/** Makes a new name durable, if the file system can. */
function syncFolder(path: string): void {
  try {
    const fd = openSync(dirname(path), constants.O_RDONLY);
    try {
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
  } catch {
    // Some file systems refuse; the file itself is complete either way.
  }
}

function cannotWrite(path: string, error: unknown): UsageError {
  return new UsageError(`${path} cannot be written (${codeOf(error) ?? (error as Error).message})`, { cause: error });
}

/** Creates the file with `text` atomically, unless it exists. True when this call created it. */
export function createPrivateFile(path: string, text: string): boolean {
  ensurePrivateFolder(dirname(path));
  return placePrivateFile(path, text);
}

/** Replaces the file, or creates it, in a folder that exists. */
export function replacePrivateFile(path: string, text: string): void {
  write(path, text, (beside) => renameSync(beside, path));
}

/** The same without waiting for the disk: after a crash of the machine the file may be damaged. For what can be lost. */
export function replacePrivateCache(path: string, text: string): void {
  write(path, text, (beside) => renameSync(beside, path), false);
}

/** Like createPrivateFile, in a folder that exists. */
export function placePrivateFile(path: string, text: string): boolean {
  let created = true;
  write(path, text, (beside) => {
    try {
      // Unlike rename, link fails if another process was first.
      linkSync(beside, path);
    } catch (error) {
      if (codeOf(error) !== 'EEXIST') throw error;
      created = false;
    }
  });
  return created;
}

async function lock(path: string): Promise<LockFile> {
  let lock: Awaited<ReturnType<typeof lockFile>>;
  try {
    lock = await lockFile(path, { patience: 2 * LOCK_STALE_MS, stale: LOCK_STALE_MS });
  } catch (error) {
    throw cannotWrite(path, error);
  }
  if (lock instanceof LockFile) return lock;
  throw new UsageError(
    `${path} is held by another process${lock.pid === undefined ? '' : ` (pid ${lock.pid})`}: try again, or remove it when no sendall runs`,
  );
}

/**
 * Replaces the file with what `change` returns for its text (undefined: no file yet). Concurrent processes take turns,
 * so no change is lost. When `change` throws, the file stays as it was.
 */
export async function updatePrivateFile(path: string, change: (text: string | undefined) => string): Promise<void> {
  ensurePrivateFolder(dirname(path));
  const held = await lock(`${path}.lock`);
  try {
    write(path, change(readPrivateFile(path)), (beside) => renameSync(beside, path));
  } finally {
    held.release();
  }
}
