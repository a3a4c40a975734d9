/** The datagram sockets of ordered capture. */
import { rmSync } from 'node:fs';
import { ROOM, type Libc } from '../../../libc/libc.js';
import { SystemError } from '../../../libc/system-error.js';
import type { Native } from '../native.js';

const O_CLOEXEC = 0o2000000;
const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOL_SOCKET = 1;
const SO_SNDBUF = 7;
const SO_SNDBUFFORCE = 32;
const MSG_DONTWAIT = 0x40;
/** Where the path stands in struct sockaddr_un. */
const SUN_PATH = 2;
/** What is asked for; the kernel doubles it, and gives less where it may not. */
const SEND_BUFFER = 1024 * 1024;

export function recordSocketCalls(libc: Libc): Pick<Native, 'recordSockets' | 'receive'> {
  const socket = libc.checked('int socket(int domain, int type, int protocol)');
  const bind = libc.checked('int bind(int fd, void *address, uint length)');
  const connect = libc.checked('int connect(int fd, void *address, uint length)');
  const getsockname = libc.checked('int getsockname(int fd, void *address, void *length)');
  const setsockopt = libc.plain('int setsockopt(int fd, int level, int option, void *value, uint length)');
  const getsockopt = libc.checked('int getsockopt(int fd, int level, int option, void *value, void *length)');
  const recvfrom = libc.plain(
    'long recvfrom(int fd, void *into, size_t length, int flags, void *from, void *fromLength)',
  );
  const close = libc.plain('int close(int fd)');
  const info = Buffer.alloc(ROOM);
  const word = Buffer.alloc(8);

  return {
    recordSockets(path) {
      const opened: number[] = [];
      // Without a path it is bound to an abstract address of the kernel's choice.
      const bound = (name = ''): { fd: number; address: Buffer } => {
        const fd = socket(AF_UNIX, SOCK_DGRAM | O_CLOEXEC, 0);
        opened.push(fd);
        info.writeUInt16LE(AF_UNIX, 0);
        const length = SUN_PATH + info.write(`${name}\0`, SUN_PATH);
        bind(fd, info, name ? length : SUN_PATH);
        word.writeUInt32LE(info.length, 0);
        getsockname(fd, info, word);
        return { fd, address: Buffer.from(info.subarray(0, word.readUInt32LE(0))) };
      };
      try {
        const receiver = bound(path);
        let longest = Infinity;
        const senders = [bound(), bound()].map(({ fd, address }) => {
          connect(fd, receiver.address, receiver.address.length);
          word.writeInt32LE(SEND_BUFFER, 0);
          if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, word, 4) !== 0) setsockopt(fd, SOL_SOCKET, SO_SNDBUF, word, 4);
          word.writeUInt32LE(4, 4);
          getsockopt(fd, SOL_SOCKET, SO_SNDBUF, word, word.subarray(4));
          longest = Math.min(longest, word.readInt32LE(0));
          return { fd, address: address.toString('latin1', SUN_PATH) };
        });
        return { receiver: receiver.fd, senders, longest };
      } catch (error) {
        for (const fd of opened) close(fd);
        throw error;
      } finally {
        rmSync(path, { force: true });
      }
    },
    receive(fd, into) {
      word.writeUInt32LE(info.length, 0);
      const length = recvfrom(fd, into, into.length, MSG_DONTWAIT, info, word);
      if (length >= 0) return { length, from: info.toString('latin1', SUN_PATH, word.readUInt32LE(0)) };
      const { errno } = libc;
      if (errno === libc.code.EAGAIN || errno === libc.code.EINTR) return undefined;
      throw new SystemError('recvfrom', errno);
    },
  };
}
