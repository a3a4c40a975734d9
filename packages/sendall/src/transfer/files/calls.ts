/**
 * System calls of a transfer that Node lacks: times to the nanosecond, holes, locks, names of attributes, a whole file
 * system's sync. Where koffi cannot be loaded they are missing, and what happens then stands beside each.
 *
 * Sources: futimens(3), lseek(2), flock(2), listxattr(2), syncfs(2), sync_file_range(2); the structures of 64-bit Linux.
 */
import { futimesSync } from 'node:fs';
import { Libc } from '../../libc/libc.js';

export interface Calls {
  /** Whether times are set to the nanosecond; else to the microsecond. */
  readonly exactTimes: boolean;
  /** Sets the time of a file's last change. @throws SystemError */
  setTime(fd: number, seconds: number, nanoseconds: number): void;
  /** Where data begins at or behind `from`; undefined when there is only a hole left. Absent: all may be data. */
  readonly nextData?: (fd: number, from: number) => number | undefined;
  /** Where the next hole begins at or behind `from`; the end of the file is one. */
  readonly nextHole?: (fd: number, from: number) => number;
  /**
   * Takes the lock that tells other transfers that this file is being written; false when another one has it. Absent: it
   * cannot be known.
   */
  readonly lock?: (fd: number) => boolean;
  /** Names of a file's extended attributes. Absent: they are not reported. */
  readonly attributes?: (fd: number) => string[];
  /** Lets the disk begin with a file's written bytes, without waiting. */
  readonly startWriting?: (fd: number) => void;
  /** Writes all of a file system to its disk; false when that failed. Absent: each file is synced by itself. */
  readonly syncFileSystem?: (fd: number) => Promise<boolean>;
}

const plain: Calls = {
  exactTimes: false,
  setTime(fd, seconds, nanoseconds) {
    futimesSync(fd, Date.now() / 1000, seconds + nanoseconds / 1e9);
  },
};

const SEEK_DATA = 3;
const SEEK_HOLE = 4;
const LOCK_EX = 2;
const LOCK_NB = 4;
const UTIME_OMIT = (1 << 30) - 2;
const SYNC_FILE_RANGE_WRITE = 2;
/** Bytes of names that are looked at; a file with more of them has attributes all the same. */
const MOST_NAMES = 4096;
/** Little-endian machines whose time_t has 64 bits. */
const machines: ReadonlySet<string> = new Set(['x64', 'arm64', 'riscv64', 'loong64']);

let loaded: Promise<Calls> | undefined;

/** Loads koffi on the first call. */
export const loadCalls = (): Promise<Calls> => (loaded ??= load());

async function load(): Promise<Calls> {
  if (process.platform !== 'linux' || !machines.has(process.arch)) return plain;
  try {
    return bind(new Libc((await import('koffi')).default));
  } catch {
    // Not installed, or not for this machine: it is optional.
    return plain;
  }
}

function bind(libc: Libc): Calls {
  const futimens = libc.checked('int futimens(int fd, void *times)');
  const lseek = libc.plain('int64 lseek(int fd, int64 offset, int whence)');
  const flock = libc.plain('int flock(int fd, int operation)');
  const flistxattr = libc.plain('long flistxattr(int fd, void *names, size_t size)');
  const syncFileRange = libc.plain('int sync_file_range(int fd, int64 offset, int64 length, uint flags)');
  const syncfs = libc.plain('int syncfs(int fd)');
  const times = Buffer.alloc(32);
  times.writeBigInt64LE(BigInt(UTIME_OMIT), 8);
  const names = Buffer.alloc(MOST_NAMES);

  return {
    exactTimes: true,
    setTime(fd, seconds, nanoseconds) {
      times.writeBigInt64LE(BigInt(seconds), 16);
      times.writeBigInt64LE(BigInt(nanoseconds), 24);
      futimens(fd, times);
    },
    nextData(fd, from) {
      const at = lseek(fd, from, SEEK_DATA);
      if (at >= 0) return at;
      if (libc.errno === libc.code.ENXIO) return undefined;
      // A file system without holes: all is data.
      return from;
    },
    nextHole(fd, from) {
      const at = lseek(fd, from, SEEK_HOLE);
      return at >= 0 ? at : Number.MAX_SAFE_INTEGER;
    },
    lock: (fd) => flock(fd, LOCK_EX | LOCK_NB) === 0 || libc.errno !== libc.code.EWOULDBLOCK,
    attributes(fd) {
      const length = flistxattr(fd, names, MOST_NAMES);
      if (length === 0) return [];
      if (length < 0) return libc.errno === libc.code.ERANGE ? ['user.'] : [];
      return names.toString('latin1', 0, length - 1).split('\0');
    },
    startWriting: (fd) => void syncFileRange(fd, 0, 0, SYNC_FILE_RANGE_WRITE),
    syncFileSystem: async (fd) => (await libc.later(syncfs, fd)) === 0,
  };
}
