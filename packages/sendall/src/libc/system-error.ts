/** Failed system calls as errors, with the name of the errno. */
import { constants } from 'node:os';

// Some numbers have two names. The first is the usual one: EAGAIN, not EWOULDBLOCK.
const ERRNO_NAMES = new Map(
  Object.entries(constants.errno)
    .toReversed()
    .map(([name, code]) => [code, name]),
);
/** The name of an errno, such as "ENOENT". */
export const errnoName = (code: number): string => ERRNO_NAMES.get(code) ?? `E${code}`;

/** A system call failed. `errno` is its name, such as "ENOENT". */
export class SystemError extends Error {
  readonly errno: string;
  constructor(call: string, code: number) {
    const name = errnoName(code);
    super(`${call}: ${name}`);
    this.name = 'SystemError';
    this.errno = name;
  }
}

/** The call that failed and its errno, as "pipe2: EMFILE", of an error of ours or of Node's; else its message. */
export function failedCall(error: unknown): string {
  const { message, syscall, code } = error as NodeJS.ErrnoException;
  if (error instanceof SystemError || code === undefined) return message;
  return syscall === undefined ? code : `${syscall}: ${code}`;
}
