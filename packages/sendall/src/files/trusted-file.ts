/** Files that only this user or root can have written, so that their content, or running them, is safe. */
import { closeSync, constants, fstatSync, openSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { UsageError } from '../errors.js';
import { othersMayWrite } from '../home.js';

const codeOf = (error: unknown) => (error as NodeJS.ErrnoException).code ?? (error as Error).message;

/**
 * The real path of a file. Links are followed: the file, and each folder on the way to it, must be safe.
 * @throws UsageError when it is not a plain file, or when another user owns it or may change it.
 */
export function trustedPath(path: string): string {
  const real = reading(path, () => realpathSync(path));
  const uid = process.getuid?.();
  for (let part = real; ; part = dirname(part)) {
    const info = reading(path, () => statSync(part));
    const isFile = part === real;
    const what = isFile && part === path ? path : `${path}: ${part}`;
    if (isFile && !info.isFile()) throw new UsageError(`${what} is not a plain file: move it away`);
    if (uid !== undefined && info.uid !== uid && info.uid !== 0)
      throw new UsageError(`${what} belongs to user ${info.uid}, not to you (${uid}): move it away, or make it yours`);
    // Only in a folder does the sticky bit protect what others own.
    const mode = isFile ? info.mode & 0o777 : info.mode;
    if (uid !== undefined && othersMayWrite({ mode, gid: info.gid }))
      throw new UsageError(`${what} can be changed by other users (mode ${(mode & 0o777).toString(8)}): chmod go-w it`);
    if (part === dirname(part)) return real;
  }
}

/**
 * The file's text.
 * @throws UsageError when it is unreadable, not safe, or larger than `maxBytes`; `limit` names that limit.
 */
export function readTrustedFile(path: string, maxBytes: number, limit: string): string {
  const real = trustedPath(path);
  return reading(path, () => {
    // O_NONBLOCK: opening a FIFO in the file's place must not hang.
    const fd = openSync(real, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    try {
      const { size } = fstatSync(fd);
      if (size > maxBytes) throw new UsageError(`${path} has ${size} bytes, more than ${maxBytes} (${limit})`);
      return readFileSync(fd, 'utf8');
    } finally {
      closeSync(fd);
    }
  });
}

function reading<T>(path: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(`${path} cannot be read (${codeOf(error)}): check its owner and mode`, { cause: error });
  }
}
