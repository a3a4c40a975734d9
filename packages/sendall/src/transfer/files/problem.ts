/** Why one file failed, in words for people and with the errno for programs. */

import { errnoName } from '../../libc/system-error.js';

/** A file failed; the transfer goes on. */
export class Problem extends Error {
  readonly errno: string | undefined;
  constructor(reason: string, errno?: string, options?: ErrorOptions) {
    super(reason, options);
    this.name = 'Problem';
    this.errno = errno;
  }
}

const words: Readonly<Record<string, string>> = {
  EACCES: 'permission denied',
  EBUSY: 'it is in use',
  EDQUOT: 'the disk quota is used up',
  EFBIG: 'it is too large',
  EIO: 'the disk failed',
  EISDIR: 'a folder is there',
  ELOOP: 'a link is in the way, and links are not followed here',
  EMFILE: 'too many files are open',
  EMLINK: 'too many links',
  ENAMETOOLONG: 'the name is too long',
  ENOENT: 'there is no such file or folder',
  ENOSPC: 'the disk is full',
  ENOTDIR: 'a part of its path is no folder',
  ENOTEMPTY: 'the folder is not empty',
  EPERM: 'this is not permitted',
  EROFS: 'the file system is read-only',
  ETXTBSY: 'the program is running',
};

/** The errno's name of an error of a system call; undefined for another error. */
export function errnoOf(error: unknown): string | undefined {
  const { code, errno } = error as { code?: unknown; errno?: unknown };
  // Node has no name for some, and a negative number for all; our own calls have the name there.
  const name = typeof errno === 'number' ? errnoName(-errno) : (errno ?? code);
  return typeof name === 'string' && /^E[A-Z0-9]+$/.test(name) ? name : undefined;
}

/** The problem that an error of a system call is. */
export function problemOf(error: unknown): Problem {
  if (error instanceof Problem) return error;
  const { syscall, message } = error as NodeJS.ErrnoException;
  const name = errnoOf(error);
  if (name === undefined) return new Problem(message, undefined, { cause: error });
  const call = syscall ?? message.split(':')[0]!;
  const what = words[name];
  return new Problem(what ? `${what} (${call}: ${name})` : `${call}: ${name}`, name, { cause: error });
}

/** Whether a system call failed with this errno. */
export const failedWith = (error: unknown, ...names: string[]): boolean => names.includes(errnoOf(error) ?? '');
