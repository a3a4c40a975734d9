/** The files of a log to be read: in a folder, or through an agent on another machine. */
import { closeSync, constants, fstatSync, openSync, readdirSync, readSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { SendallError } from '../errors.js';
import { firstOf, HASHES } from './layout.js';

/** A file of a log. */
export interface LogFile {
  readonly name: string;
  readonly size: number;
}

export interface LogSource {
  /** The file of hashes and the segments, in any order. */
  files(): Promise<readonly LogFile[]>;
  /** Bytes of a file: fewer at its end, and none behind it. */
  read(name: string, at: number, length: number): Promise<Uint8Array>;
}

/** Whether a name is that of a file which others may read: no key is among them. */
export const isReadable = (name: string): boolean => name === HASHES || firstOf(name) !== undefined;

/** A log in a folder of this machine. */
export function folderSource(folder: string): LogSource {
  return {
    files: async () =>
      readdirSync(folder)
        .filter(isReadable)
        .flatMap((name) => {
          // Old lines may be dropped just now.
          const info = statSync(join(folder, name), { throwIfNoEntry: false });
          return info ? [{ name, size: info.size }] : [];
        }),
    read: async (name, at, length) => readPart(join(folder, name), at, length),
  };
}

/**
 * Bytes of a file from `at` on, at most `length`.
 * @throws SendallError LOG when it is no plain file that can be read.
 */
export function readPart(path: string, at: number, length: number): Buffer {
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (cause) {
    throw new SendallError('LOG', `${path} cannot be read (${(cause as NodeJS.ErrnoException).code})`, { cause });
  }
  try {
    if (!fstatSync(fd).isFile()) throw new SendallError('LOG', `${path} is not a plain file, as those of a log are`);
    const bytes = Buffer.allocUnsafe(Math.max(0, Math.min(length, fstatSync(fd).size - at)));
    let have = 0;
    while (have < bytes.length) {
      const got = readSync(fd, bytes, have, bytes.length - have, at + have);
      if (got === 0) break;
      have += got;
    }
    return bytes.subarray(0, have);
  } finally {
    closeSync(fd);
  }
}
