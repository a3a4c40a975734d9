/** Children and other processes: waited for, reaped, signalled. */
import type { Native, Status } from '../native.js';
import { ROOM, type Libc } from '../../../libc/libc.js';

const WNOHANG = 1;
const WEXITED = 4;
const WNOWAIT = 0x01000000;
const P_ALL = 0;
/** Where si_pid stands in siginfo_t. */
const SI_PID = 16;
const PR_SET_CHILD_SUBREAPER = 36;
/** The same number on every architecture. */
const PIDFD_SEND_SIGNAL = 424;
const PIDFD_OPEN = 434;

type Processes = Pick<Native, 'onChildEnded' | 'endedChild' | 'reap' | 'kill' | 'signalExactly' | 'becomeSubreaper'>;

export function processCalls(libc: Libc): Processes {
  const waitid = libc.plain('int waitid(int kind, int id, void *info, int options)');
  const wait4 = libc.plain('int wait4(int pid, void *status, int options, void *usage)');
  const kill = libc.plain('int kill(int pid, int signal)');
  const close = libc.plain('int close(int fd)');
  const prctl = libc.plain('int prctl(int option, ulong a, ulong b, ulong c, ulong d)');
  const syscall = libc.plain('long syscall(long number, long a, long b, long c, long d)');
  const info = Buffer.alloc(ROOM);
  const word = Buffer.alloc(8);
  const usage = Buffer.alloc(ROOM);

  return {
    onChildEnded(callback) {
      process.on('SIGCHLD', callback);
      return () => process.off('SIGCHLD', callback);
    },
    endedChild() {
      info.writeInt32LE(0, SI_PID);
      return waitid(P_ALL, 0, info, WEXITED | WNOHANG | WNOWAIT) === 0 ? info.readInt32LE(SI_PID) : 0;
    },
    reap: (pid) => (wait4(pid, word, WNOHANG, usage) === pid ? statusOf(word.readInt32LE(0), usage) : undefined),
    kill: (pid, signal) => kill(pid, signal) === 0,
    signalExactly(pid, signal, same) {
      const fd = syscall(PIDFD_OPEN, pid, 0, 0, 0);
      if (fd < 0) return false;
      try {
        return same() && syscall(PIDFD_SEND_SIGNAL, fd, signal, 0, 0) === 0;
      } finally {
        close(fd);
      }
    },
    becomeSubreaper() {
      prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    },
  };
}

/** From the status word of wait(2) and struct rusage. */
function statusOf(raw: number, usage: Buffer): Status {
  const signal = raw & 0x7f;
  const micros = (at: number) => Number(usage.readBigInt64LE(at)) * 1e6 + Number(usage.readBigInt64LE(at + 8));
  const status: Status = {
    core: (raw & 0x80) !== 0,
    userUs: micros(0),
    systemUs: micros(16),
    maxRssKb: Number(usage.readBigInt64LE(32)),
  };
  if (signal === 0) status.code = (raw >> 8) & 0xff;
  else status.signal = signal;
  return status;
}
