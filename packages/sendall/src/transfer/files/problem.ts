/** Why one file failed, in words for people and with the errno for programs. */

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

/** The problem that an error of a system call is. */
export function problemOf(error: unknown): Problem {
  if (error instanceof Problem) return error;
  const { code, errno, syscall, message } = error as NodeJS.ErrnoException;
  // Errors of Node have a number there, those of our own calls a name.
  const name = typeof (errno as unknown) === 'string' ? (errno as unknown as string) : code;
  if (name === undefined || !/^E[A-Z0-9]+$/.test(name)) return new Problem(message, undefined, { cause: error });
  const call = syscall ?? message.split(':')[0]!;
  const what = words[name];
  return new Problem(what ? `${what} (${call}: ${name})` : `${call}: ${name}`, name, { cause: error });
}

/** Whether a system call failed with this errno. */
export const failedWith = (error: unknown, ...names: string[]): boolean =>
  names.includes((error as NodeJS.ErrnoException).code ?? '');
