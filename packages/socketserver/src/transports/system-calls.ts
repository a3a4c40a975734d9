/** System calls through koffi, for what Node cannot do. */
import { SocketServerError } from '../errors.js';

/**
 * The few system calls that Node has no way to, through the optional package koffi. Linux on 64 bits only: the
 * constants below are its.
 */
export interface SystemCalls {
  /** A non-blocking Unix socket that is closed on exec. */
  socket(type: 'datagram' | 'seqpacket'): number;
  bind(fd: number, path: string): void;
  listen(fd: number, backlog: number): void;
  connect(fd: number, path: string): void;
  dup(fd: number): number;
  dup2(from: number, to: number): void;
  close(fd: number): void;
  /** One datagram into `into`, with its real size (it may be more than `into` holds); undefined when there is none. */
  receive(fd: number, into: Buffer): { size: number; path: string } | undefined;
  send(fd: number, data: Uint8Array, path: string): void;
  /** Calls back whenever there is something to read, until closed. */
  watch(fd: number, readable: () => void): { close(): void };
}

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_SEQPACKET = 5;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const F_DUPFD_CLOEXEC = 1030;
/** recv: tell the real size of what was cut off. */
const MSG_TRUNC = 0x20;
const MSG_NOSIGNAL = 0x4000;
const LONGEST_NAME = 110;

let loaded: Promise<SystemCalls | undefined> | undefined;

/** The calls, or undefined where koffi is not installed or the platform is another. */
export function findSystemCalls(): Promise<SystemCalls | undefined> {
  loaded ??= load();
  return loaded;
}

/** As `findSystemCalls()`, with a clear error. */
export async function systemCalls(what: string): Promise<SystemCalls> {
  const calls = await findSystemCalls();
  if (calls !== undefined) return calls;
  throw new SocketServerError(
    'UNSUPPORTED_TRANSPORT',
    process.platform === 'linux'
      ? `${what} need the optional package koffi, as Node has no such sockets: npm install koffi`
      : `${what} are there on Linux only`,
  );
}

async function load(): Promise<SystemCalls | undefined> {
  if (process.platform !== 'linux') return undefined;
  let koffi: typeof import('koffi');
  try {
    koffi = (await import('koffi')).default as unknown as typeof import('koffi');
  } catch {
    return undefined;
  }
  const libc = koffi.load(null);
  const call = {
    socket: libc.func('int socket(int, int, int)'),
    bind: libc.func('int bind(int, const uint8_t *, unsigned int)'),
    listen: libc.func('int listen(int, int)'),
    connect: libc.func('int connect(int, const uint8_t *, unsigned int)'),
    fcntl: libc.func('int fcntl(int, int, int)'),
    dup2: libc.func('int dup2(int, int)'),
    close: libc.func('int close(int)'),
    recvfrom: libc.func('intptr_t recvfrom(int, void *, size_t, int, void *, void *)'),
    sendto: libc.func('intptr_t sendto(int, const uint8_t *, size_t, int, const uint8_t *, unsigned int)'),
  };
  // Some numbers have two names; the first of the alphabet is the usual one (EAGAIN, not EWOULDBLOCK).
  const names = new Map(
    Object.entries(koffi.os.errno)
      .toSorted(([a], [b]) => (a < b ? 1 : -1))
      .map(([name, number]) => [number, name]),
  );
  const failure = (syscall: string): NodeJS.ErrnoException => {
    const errno = koffi.errno();
    const code = names.get(errno) ?? `errno ${errno}`;
    return Object.assign(new Error(`${syscall}: ${code}`), { code, errno: -errno, syscall });
  };
  const checked = (syscall: string, result: number): number => {
    if (result < 0) throw failure(syscall);
    return result;
  };
  const from = Buffer.alloc(LONGEST_NAME + 2);
  const fromLength = new Uint32Array(1);
  const again = koffi.os.errno['EAGAIN'];

  return {
    socket: (type) =>
      checked(
        'socket',
        call.socket(AF_UNIX, (type === 'datagram' ? SOCK_DGRAM : SOCK_SEQPACKET) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0),
      ),
    bind(fd, path) {
      const name = unixName(path);
      checked('bind', call.bind(fd, name, name.length));
    },
    listen: (fd, backlog) => void checked('listen', call.listen(fd, backlog)),
    connect(fd, path) {
      const name = unixName(path);
      checked('connect', call.connect(fd, name, name.length));
    },
    dup: (fd) => checked('dup', call.fcntl(fd, F_DUPFD_CLOEXEC, 3)),
    dup2: (from, to) => void checked('dup2', call.dup2(from, to)),
    close: (fd) => void call.close(fd),
    receive(fd, into) {
      fromLength[0] = LONGEST_NAME;
      const size = Number(call.recvfrom(fd, into, into.length, MSG_TRUNC, from, fromLength));
      if (size < 0) {
        if (koffi.errno() === again) return undefined;
        throw failure('recvfrom');
      }
      return { size, path: pathOf(from, fromLength[0]) };
    },
    send(fd, data, path) {
      const name = unixName(path);
      checked('sendto', Number(call.sendto(fd, data, data.length, MSG_NOSIGNAL, name, name.length)));
    },
    watch: (fd, readable) => koffi.node.poll(fd, { readable: true }, () => readable()),
  };
}

/** A `sockaddr_un`: a path ends with a NUL; an abstract name has exactly its bytes, without padding. */
function unixName(path: string): Buffer {
  const bytes = Buffer.from(path);
  const name = Buffer.alloc(2 + bytes.length + (bytes[0] === 0 ? 0 : 1));
  name.writeUInt16LE(AF_UNIX, 0);
  bytes.copy(name, 2);
  return name;
}

function pathOf(name: Buffer, length: number): string {
  if (length <= 2) return '';
  const end = name[2] === 0 ? length : name.indexOf(0, 2);
  return name.toString('utf8', 2, end < 0 ? length : Math.min(end, length));
}
