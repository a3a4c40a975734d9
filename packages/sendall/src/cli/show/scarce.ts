/** Explains which resource the system lacks, and suggests the next step. */

const SCARCE: Readonly<Record<string, string>> = {
  EMFILE: 'this process may not open more files; raise its limit, for example with "ulimit -n 1024"',
  ENFILE: 'this machine may not open more files; raise fs.file-max, or end processes that hold many',
  ENOSPC: 'the disk is full or has no inodes left; make room (df, df -i) and try again',
  EDQUOT: 'your share of the disk is used up; make room and try again',
  EROFS: 'that disk is read-only; set SENDALL_HOME to a folder on another one',
  EIO: 'that disk has failed; look at the kernel’s log, and set SENDALL_HOME to a folder on another one',
  EFBIG: 'the file would exceed the size limit; raise the limit, for example with "ulimit -f unlimited"',
  EAGAIN: 'no more processes may be started; raise "ulimit -u" or the limit of the container (pids)',
  ENOMEM: 'no memory is left; end some processes, or raise the limit of the container',
};

/** An error's message in one sentence, with the next step when the system refused a resource. */
export function withNextStep(message: string): string {
  const code = /\b(E[A-Z]{2,})\b/.exec(message)?.[1];
  const why = code && Object.hasOwn(SCARCE, code) ? SCARCE[code] : undefined;
  if (!why) return message;
  // The name of a module of ours does not help the user.
  return code === 'EMFILE' || code === 'ENFILE' ? `${why} (${code})` : `${message}: ${why}`;
}

/** The fewest open files with which an agent and its keeper can serve. */
const LEAST_FILES = 128;

/** Why this process can open too few files for an agent; undefined when it can open enough. */
export function tooFewFiles(limits: string): string | undefined {
  // Node has already raised the soft limit to the hard one.
  const most = Number(/^Max open files\s+(\d+)/m.exec(limits)?.[1] ?? Infinity);
  return most < LEAST_FILES
    ? `an agent needs at least ${LEAST_FILES} open files, and this process may have ${most}: raise its limit, for example with "ulimit -n 1024"`
    : undefined;
}
