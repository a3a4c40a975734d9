/** Descriptors: pipes, reading and writing, readiness, locks, write-back. */
import { constants } from 'node:fs';
import type { Libc } from '../../../libc/libc.js';
import { errnoName, SystemError } from '../../../libc/system-error.js';
import type { Native } from '../native.js';

const O_NONBLOCK = 0o4000;
const O_CLOEXEC = 0o2000000;
/** Of a pipe: packet mode. */
const { O_DIRECT } = constants;
const F_DUPFD_CLOEXEC = 1030;
const F_SETFL = 4;
const F_SETPIPE_SZ = 1031;
const FIONREAD = 0x541b;
const LOCK_EX = 2;
const LOCK_NB = 4;
const SYNC_FILE_RANGE_WRITE = 2;
const X_OK = 1;
/** By the effective ids. */
const AT_EACCESS = 0x200;
/** Descriptors that are copied get numbers above the standard ones. */
const FIRST_FREE = 3;

type Files = Pick<
  Native,
  | 'pipe'
  | 'packetPipe'
  | 'read'
  | 'write'
  | 'close'
  | 'available'
  | 'enlarge'
  | 'watch'
  | 'executable'
  | 'duplicate'
  | 'startWriting'
  | 'lock'
>;

export function fileCalls(libc: Libc): Files {
  const pipe2 = libc.checked('int pipe2(void *fds, int flags)');
  const read = libc.plain('long read(int fd, void *into, size_t length)');
  const write = libc.plain('long write(int fd, void *from, size_t length)');
  const close = libc.plain('int close(int fd)');
  const fcntl = libc.checked('int fcntl(int fd, int command, long value)');
  const tryFcntl = libc.plain('int fcntl(int fd, int command, long value)');
  const ioctl = libc.plain('int ioctl(int fd, ulong request, void *value)');
  const faccessat = libc.plain('int faccessat(int folder, void *path, int mode, int flags)');
  const flock = libc.plain('int flock(int fd, int operation)');
  const syncFileRange = libc.plain('int sync_file_range(int fd, int64 offset, int64 length, uint flags)');
  const two = Buffer.alloc(8);

  const pipeOf = (flags: number, ours: 0 | 1): [number, number] => {
    pipe2(two, O_CLOEXEC | flags);
    const ends: [number, number] = [two.readInt32LE(0), two.readInt32LE(4)];
    fcntl(ends[ours], F_SETFL, O_NONBLOCK);
    return ends;
  };

  return {
    pipe: (ours) => pipeOf(0, ours === 'read' ? 0 : 1),
    packetPipe: () => pipeOf(O_DIRECT, 0),
    read(fd, into) {
      const n = read(fd, into, into.length);
      return n >= 0 ? n : libc.wouldBlock('read');
    },
    write(fd, bytes) {
      const n = write(fd, bytes, bytes.length);
      return n >= 0 ? n : libc.wouldBlock('write');
    },
    close(fd) {
      close(fd);
    },
    available: (fd) => (ioctl(fd, FIONREAD, two) === 0 ? two.readInt32LE(0) : 0),
    enlarge(fd, size) {
      tryFcntl(fd, F_SETPIPE_SZ, size);
    },
    watch(fd, mode, ready) {
      const events = mode === 'read' ? { readable: true, disconnect: true } : { writable: true, disconnect: true };
      const handle = libc.koffi.node.poll(fd, events, ready);
      return {
        stop: () => handle.stop(),
        start: () => handle.start(events, ready),
        close: () => handle.close(),
      };
    },
    executable: (folder, path) => (faccessat(folder, path, X_OK, AT_EACCESS) === 0 ? 0 : errnoName(libc.errno)),
    duplicate: (fd) => fcntl(fd, F_DUPFD_CLOEXEC, FIRST_FREE),
    startWriting: (fd) => void syncFileRange(fd, 0, 0, SYNC_FILE_RANGE_WRITE),
    lock(fd) {
      if (flock(fd, LOCK_EX | LOCK_NB) === 0) return true;
      const { errno } = libc;
      if (errno === libc.code.EWOULDBLOCK) return false;
      throw new SystemError('flock', errno);
    },
  };
}
