/**
 * The system calls Node lacks, through koffi: real pipes, posix_spawn, waiting for one child, readiness of a
 * descriptor. Loaded once, when the keeper starts; where it cannot be loaded `plain.ts` stands in.
 *
 * Sources: the Linux manual pages of each call; structure sizes of glibc 2.36 and musl 1.2 on x86-64 and arm64.
 */
import { constants, rmSync } from 'node:fs';
import { Inheritance, OomScore, type Starter } from './inheritance.js';
import { errnoName, SystemError, type Native, type SpawnCall, type Status } from './native.js';

const O_NONBLOCK = 0o4000;
const O_CLOEXEC = 0o2000000;
const O_RDWR = 2;
/** Of a pipe: packet mode. */
const { O_DIRECT } = constants;
const O_NOCTTY = 0o400;
const F_DUPFD_CLOEXEC = 1030;
const TIOCSWINSZ = 0x5414;
const TCGETS = 0x5401;
const TCSETS = 0x5402;
/** In c_iflag, the first word of struct termios: erasing takes a whole character of UTF-8. */
const IUTF8 = 0o40000;
/** Where c_lflag stands in struct termios, and two of its bits. */
const LFLAG = 12;
const ICANON = 0o2;
const ECHO = 0o10;
const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOL_SOCKET = 1;
const SO_SNDBUF = 7;
const SO_SNDBUFFORCE = 32;
const MSG_DONTWAIT = 0x40;
/** What is asked for; the kernel doubles it, and gives less where it may not. */
const RECORD_SNDBUF = 1024 * 1024;
const F_SETFL = 4;
const F_SETPIPE_SZ = 1031;
const FIONREAD = 0x541b;
const WNOHANG = 1;
const WEXITED = 4;
const WNOWAIT = 0x01000000;
const P_ALL = 0;
const PR_SET_CHILD_SUBREAPER = 36;
const LOCK_EX = 2;
const LOCK_NB = 4;
const SYNC_FILE_RANGE_WRITE = 2;
const X_OK = 1;
/** By the effective ids. */
const AT_EACCESS = 0x200;
const SPAWN_SETSIGDEF = 0x04;
const SPAWN_SETSIGMASK = 0x08;
const SPAWN_SETSID = 0x80;
/** setgroups, setresuid, setresgid: libc's own would change all threads of the process. */
const CREDENTIAL_CALLS: { [arch: string]: readonly [number, number, number] } = {
  x64: [116, 117, 119],
  arm64: [159, 147, 149],
};
const MOST_GROUPS = 1024;
/** The same number on every architecture. */
const PIDFD_SEND_SIGNAL = 424;
const PIDFD_OPEN = 434;
// Larger than these structures are in any libc.
const ROOM = 1024;

/** Loads koffi and binds the calls. Undefined where that is not possible. */
export async function loadNative(starter: Starter): Promise<Native | undefined> {
  if (process.platform !== 'linux') return undefined;
  try {
    return bind((await import('koffi')).default, starter);
  } catch {
    // Not installed, or not for this machine: it is optional.
    return undefined;
  }
}

/** posix_spawn for a thread that is given its calls by another. Call only where `loadNative` has succeeded. */
export async function loadSpawnCall(): Promise<(call: SpawnCall) => { errno: number; pid: number }> {
  const koffi = (await import('koffi')).default;
  const libc = koffi.load(null);
  const posixSpawn = libc.func(POSIX_SPAWN);
  const attr = spawnAttributes(libc);
  const pid = Buffer.alloc(8);
  return ({ path, actions, argv, env }) => {
    const errno = posixSpawn(pid, path, actions, attr, argv, env) as number;
    return { errno, pid: pid.readInt32LE(0) };
  };
}

type Library = ReturnType<Koffi['load']>;
const POSIX_SPAWN = 'int posix_spawn(void *pid, void *path, void *actions, void *attr, void *argv, void *env)';

/** Every signal back to its default, none blocked: a child would inherit Node's ignored SIGPIPE. */
function spawnAttributes(libc: Library): Buffer {
  const attr = Buffer.alloc(ROOM);
  libc.func('int posix_spawnattr_init(void *attr)')(attr);
  const flags = SPAWN_SETSIGDEF | SPAWN_SETSIGMASK | SPAWN_SETSID;
  libc.func('int posix_spawnattr_setflags(void *attr, short flags)')(attr, flags);
  libc.func('int posix_spawnattr_setsigdefault(void *attr, void *set)')(attr, Buffer.alloc(128, 0xff));
  libc.func('int posix_spawnattr_setsigmask(void *attr, void *set)')(attr, Buffer.alloc(128));
  return attr;
}

/** gid_t[], as setgroups takes it. */
function groupsOf(ids: readonly number[]): Buffer {
  const bytes = Buffer.alloc(Math.max(ids.length * 4, 4));
  for (const [i, id] of ids.entries()) bytes.writeUInt32LE(id, i * 4);
  return bytes;
}

type Koffi = (typeof import('koffi'))['default'];

function bind(koffi: Koffi, starter: Starter): Native {
  const libc = koffi.load(null);
  const c = {
    pipe2: libc.func('int pipe2(void *fds, int flags)'),
    read: libc.func('long read(int fd, void *into, size_t length)'),
    write: libc.func('long write(int fd, void *from, size_t length)'),
    close: libc.func('int close(int fd)'),
    fcntl: libc.func('int fcntl(int fd, int command, long value)'),
    ioctl: libc.func('int ioctl(int fd, ulong request, void *value)'),
    faccessat: libc.func('int faccessat(int folder, void *path, int mode, int flags)'),
    waitid: libc.func('int waitid(int kind, int id, void *info, int options)'),
    wait4: libc.func('int wait4(int pid, void *status, int options, void *usage)'),
    kill: libc.func('int kill(int pid, int signal)'),
    prctl: libc.func('int prctl(int option, ulong a, ulong b, ulong c, ulong d)'),
    flock: libc.func('int flock(int fd, int operation)'),
    syncFileRange: libc.func('int sync_file_range(int fd, int64 offset, int64 length, uint flags)'),
    prlimit: libc.func('int prlimit(int pid, int resource, void *value, void *old)'),
    syscall: libc.func('long syscall(long number, long a, long b, long c, long d)'),
    syscallList: libc.func('long syscall(long number, long count, void *list)'),
    getpwnam: libc.func('int getpwnam_r(void *name, void *entry, void *text, size_t length, void *result)'),
    getgrouplist: libc.func('int getgrouplist(void *name, uint gid, void *groups, void *count)'),
    openpt: libc.func('int posix_openpt(int flags)'),
    unlockpt: libc.func('int unlockpt(int fd)'),
    ptsname: libc.func('int ptsname_r(int fd, void *name, size_t length)'),
    socket: libc.func('int socket(int domain, int type, int protocol)'),
    bind: libc.func('int bind(int fd, void *address, uint length)'),
    connect: libc.func('int connect(int fd, void *address, uint length)'),
    getsockname: libc.func('int getsockname(int fd, void *address, void *length)'),
    setsockopt: libc.func('int setsockopt(int fd, int level, int option, void *value, uint length)'),
    getsockopt: libc.func('int getsockopt(int fd, int level, int option, void *value, void *length)'),
    recvfrom: libc.func('long recvfrom(int fd, void *into, size_t length, int flags, void *from, void *fromLength)'),
    posixSpawn: libc.func(POSIX_SPAWN),
    actionsInit: libc.func('int posix_spawn_file_actions_init(void *actions)'),
    actionsDestroy: libc.func('int posix_spawn_file_actions_destroy(void *actions)'),
    addDup2: libc.func('int posix_spawn_file_actions_adddup2(void *actions, int from, int to)'),
    addOpen: libc.func('int posix_spawn_file_actions_addopen(void *actions, int fd, void *path, int flags, int mode)'),
    addFchdir: libc.func('int posix_spawn_file_actions_addfchdir_np(void *actions, int fd)'),
    addCloseFrom: libc.func('int posix_spawn_file_actions_addclosefrom_np(void *actions, int from)'),
  };
  const { EAGAIN, EINTR } = koffi.os.errno as { EAGAIN: number; EINTR: number };
  const fail = (call: string): never => {
    throw new SystemError(call, koffi.errno());
  };

  const succeed = (result: unknown): void => {
    if (Number(result) !== 0) fail('setresuid');
  };

  const int = Buffer.alloc(8);
  const usage = Buffer.alloc(ROOM);
  const info = Buffer.alloc(ROOM);
  /** Not in use now. */
  const actionLists: Buffer[] = [];

  const attr = spawnAttributes(libc);

  const limit = Buffer.alloc(16);
  const inheritance = new Inheritance(
    {
      get(resource) {
        c.prlimit(0, resource, null, limit);
        return { soft: limit.readBigUInt64LE(0), hard: limit.readBigUInt64LE(8) };
      },
      set(resource, { soft, hard }) {
        limit.writeBigUInt64LE(soft, 0);
        limit.writeBigUInt64LE(hard, 8);
        return c.prlimit(0, resource, limit, null) === 0;
      },
    },
    starter,
  );
  const oomScore = OomScore.lower();

  function statusOf(raw: number): Status {
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

  const discard = (actions: Buffer): void => {
    c.actionsDestroy(actions);
    actionLists.push(actions);
  };

  return {
    subreaper: true,
    pipe(ours) {
      if (c.pipe2(int, O_CLOEXEC) !== 0) fail('pipe2');
      const ends: [number, number] = [int.readInt32LE(0), int.readInt32LE(4)];
      c.fcntl(ours === 'read' ? ends[0] : ends[1], F_SETFL, O_NONBLOCK);
      return ends;
    },
    packetPipe() {
      if (c.pipe2(int, O_CLOEXEC | O_DIRECT) !== 0) fail('pipe2');
      const ends: [number, number] = [int.readInt32LE(0), int.readInt32LE(4)];
      c.fcntl(ends[0], F_SETFL, O_NONBLOCK);
      return ends;
    },
    read(fd, into) {
      const n = Number(c.read(fd, into, into.length));
      if (n >= 0) return n;
      const code = koffi.errno();
      if (code === EAGAIN || code === EINTR) return -1;
      throw new SystemError('read', code);
    },
    write(fd, bytes) {
      const n = Number(c.write(fd, bytes, bytes.length));
      if (n >= 0) return n;
      const code = koffi.errno();
      if (code === EAGAIN || code === EINTR) return -1;
      throw new SystemError('write', code);
    },
    close(fd) {
      c.close(fd);
    },
    available(fd) {
      return c.ioctl(fd, FIONREAD, int) === 0 ? int.readInt32LE(0) : 0;
    },
    enlarge(fd, size) {
      c.fcntl(fd, F_SETPIPE_SZ, size);
    },
    watch(fd, mode, ready) {
      const events = mode === 'read' ? { readable: true, disconnect: true } : { writable: true, disconnect: true };
      const handle = koffi.node.poll(fd, events, ready);
      return {
        stop: () => handle.stop(),
        start: () => handle.start(events, ready),
        close: () => handle.close(),
      };
    },
    executable(folder, path) {
      return c.faccessat(folder, path, X_OK, AT_EACCESS) === 0 ? 0 : errnoName(koffi.errno());
    },
    words(argv, env) {
      const slots = argv.length + env.length + 2;
      let size = slots * 8;
      for (const word of argv) size += word.length + 1;
      for (const word of env) size += word.length + 1;
      // Not from the pool: its address must not change and its pages must be ours.
      const block = Buffer.allocUnsafeSlow(Math.max(size, 128));
      const base = koffi.address(block);
      let at = slots * 8;
      let slot = 0;
      for (const list of [argv, env]) {
        for (const word of list) {
          block.writeBigUInt64LE(base + BigInt(at), slot++ * 8);
          block.set(word, at);
          at += word.length;
          block[at++] = 0;
        }
        block.writeBigUInt64LE(0n, slot++ * 8);
      }
      return { block, argv: block, env: block.subarray((argv.length + 1) * 8) };
    },
    arrange(plan) {
      const actions = actionLists.pop() ?? Buffer.alloc(ROOM);
      c.actionsInit(actions);
      c.addFchdir(actions, plan.cwd);
      if (plan.terminal) {
        c.addOpen(actions, 0, plan.terminal, O_RDWR, 0);
        c.addDup2(actions, 0, 1);
        c.addDup2(actions, 0, 2);
      } else {
        c.addDup2(actions, plan.stdin, 0);
        c.addDup2(actions, plan.stdout, 1);
        c.addDup2(actions, plan.stderr, 2);
      }
      c.addCloseFrom(actions, 3);
      return { plan, actions };
    },
    callOf({ plan, actions }) {
      if (!inheritance.isShared) return undefined;
      oomScore?.lend();
      const { argv, env } = plan.words;
      const [path, argvAt, envAt] = [plan.path, argv, env].map((each) => koffi.address(each)) as [
        bigint,
        bigint,
        bigint,
      ];
      return { path, actions: koffi.address(actions), argv: argvAt, env: envAt };
    },
    callDone: () => oomScore?.giveBack(),
    expectRuns: (count) => inheritance.expect(count),
    isLastToGo: oomScore !== undefined,
    spawn({ plan, actions }) {
      oomScore?.lend();
      const code = inheritance.lend(
        () => c.posixSpawn(int, plan.path, actions, attr, plan.words.argv, plan.words.env) as number,
      );
      oomScore?.giveBack();
      const pid = int.readInt32LE(0);
      discard(actions!);
      if (code !== 0) throw new SystemError('posix_spawn', code);
      return pid;
    },
    discard: ({ actions }) => discard(actions!),
    onChildEnded(callback) {
      process.on('SIGCHLD', callback);
      return () => process.off('SIGCHLD', callback);
    },
    endedChild() {
      info.writeInt32LE(0, 16);
      if (c.waitid(P_ALL, 0, info, WEXITED | WNOHANG | WNOWAIT) !== 0) return 0;
      return info.readInt32LE(16);
    },
    reap(pid) {
      if (c.wait4(pid, int, WNOHANG, usage) !== pid) return undefined;
      return statusOf(int.readInt32LE(0));
    },
    kill: (pid, signal) => c.kill(pid, signal) === 0,
    signalExactly(pid, signal, same) {
      const fd = Number(c.syscall(PIDFD_OPEN, pid, 0, 0, 0));
      if (fd < 0) return false;
      try {
        return same() && Number(c.syscall(PIDFD_SEND_SIGNAL, fd, signal, 0, 0)) === 0;
      } finally {
        c.close(fd);
      }
    },
    becomeSubreaper() {
      c.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    },
    account(name) {
      const entry = Buffer.alloc(64);
      const text = Buffer.alloc(64 * 1024);
      const cname = Buffer.from(`${name}\0`);
      if (name.includes('\0') || c.getpwnam(cname, entry, text, text.length, int) !== 0) return undefined;
      if (int.readBigUInt64LE(0) === 0n) return undefined;
      // struct passwd: name, password, uid, gid, comment, home, shell; its strings stand in `text`.
      const base = koffi.address(text);
      const string = (at: number): string => {
        const start = Number(entry.readBigUInt64LE(at) - base);
        return text.toString('utf8', start, text.indexOf(0, start));
      };
      const uid = entry.readUInt32LE(16);
      const gid = entry.readUInt32LE(20);
      const groups = Buffer.alloc(MOST_GROUPS * 4);
      int.writeInt32LE(MOST_GROUPS, 0);
      c.getgrouplist(cname, gid, groups, int);
      const count = Math.min(int.readInt32LE(0), MOST_GROUPS);
      return {
        name,
        uid,
        gid,
        groups: Array.from({ length: count }, (_, i) => groups.readUInt32LE(i * 4)),
        home: string(32),
        shell: string(40) || '/bin/sh',
      };
    },
    as(user, act) {
      const calls = CREDENTIAL_CALLS[process.arch];
      if (!calls) throw new SystemError('setresuid', koffi.os.errno.ENOSYS!);
      const [setgroups, setresuid, setresgid] = calls;
      const own = process.getgroups!();
      // The effective ids only: a process whose real one were the user's could be killed by the user's commands.
      try {
        succeed(c.syscallList(setgroups, user.groups.length, groupsOf(user.groups)));
        succeed(c.syscall(setresgid, -1, user.gid, -1, 0));
        succeed(c.syscall(setresuid, -1, user.uid, -1, 0));
        return act();
      } finally {
        c.syscall(setresuid, -1, 0, -1, 0);
        c.syscall(setresgid, -1, 0, -1, 0);
        c.syscallList(setgroups, own.length, groupsOf(own));
        // Better no keeper than one that goes on as somebody else.
        if (process.geteuid!() !== 0) process.abort();
      }
    },
    duplicate(fd) {
      const copy = c.fcntl(fd, F_DUPFD_CLOEXEC, 3) as number;
      return copy >= 0 ? copy : fail('fcntl');
    },
    openTerminal() {
      const master = c.openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK) as number;
      if (master < 0) fail('posix_openpt');
      if (c.unlockpt(master) !== 0 || c.ptsname(master, info, info.length) !== 0) {
        const error = new SystemError('unlockpt', koffi.errno());
        c.close(master);
        throw error;
      }
      const path = info.toString('latin1', 0, info.indexOf(0));
      if (c.ioctl(master, TCGETS, info) === 0) {
        info.writeUInt32LE((info.readUInt32LE(0) | IUTF8) >>> 0, 0);
        c.ioctl(master, TCSETS, info);
      }
      return { master, path };
    },
    setTerminalSize(fd, cols, rows) {
      int.writeUInt16LE(rows, 0);
      int.writeUInt16LE(cols, 2);
      int.writeUInt32LE(0, 4);
      c.ioctl(fd, TIOCSWINSZ, int);
    },
    terminalBits(fd) {
      if (c.ioctl(fd, TCGETS, info) !== 0) return undefined;
      const bits = info.readUInt32LE(LFLAG);
      return { canonical: (bits & ICANON) !== 0, echo: (bits & ECHO) !== 0 };
    },
    recordSockets(path) {
      const opened: number[] = [];
      // Without a path it is bound to an abstract address of the kernel's choice.
      const bound = (name = ''): { fd: number; address: Buffer } => {
        const fd = c.socket(AF_UNIX, SOCK_DGRAM | O_CLOEXEC, 0) as number;
        if (fd < 0) fail('socket');
        opened.push(fd);
        info.writeUInt16LE(AF_UNIX, 0);
        const length = 2 + info.write(`${name}\0`, 2);
        if (c.bind(fd, info, name ? length : 2) !== 0) fail('bind');
        int.writeUInt32LE(info.length, 0);
        if (c.getsockname(fd, info, int) !== 0) fail('getsockname');
        return { fd, address: Buffer.from(info.subarray(0, int.readUInt32LE(0))) };
      };
      try {
        const receiver = bound(path);
        let longest = Infinity;
        const senders = [bound(), bound()].map(({ fd, address }) => {
          if (c.connect(fd, receiver.address, receiver.address.length) !== 0) fail('connect');
          int.writeInt32LE(RECORD_SNDBUF, 0);
          if (c.setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, int, 4) !== 0)
            c.setsockopt(fd, SOL_SOCKET, SO_SNDBUF, int, 4);
          int.writeUInt32LE(4, 4);
          if (c.getsockopt(fd, SOL_SOCKET, SO_SNDBUF, int, int.subarray(4)) !== 0) fail('getsockopt');
          longest = Math.min(longest, int.readInt32LE(0));
          return { fd, address: address.toString('latin1', 2) };
        });
        return { receiver: receiver.fd, senders, longest };
      } catch (error) {
        for (const fd of opened) c.close(fd);
        throw error;
      } finally {
        rmSync(path, { force: true });
      }
    },
    receive(fd, into) {
      int.writeUInt32LE(info.length, 0);
      const length = Number(c.recvfrom(fd, into, into.length, MSG_DONTWAIT, info, int));
      if (length >= 0) return { length, from: info.toString('latin1', 2, int.readUInt32LE(0)) };
      const code = koffi.errno();
      if (code === EAGAIN || code === EINTR) return undefined;
      throw new SystemError('recvfrom', code);
    },
    startWriting: (fd) => void c.syncFileRange(fd, 0, 0, SYNC_FILE_RANGE_WRITE),
    lock: (fd) => c.flock(fd, LOCK_EX | LOCK_NB) === 0,
    dispose() {},
  };
}
