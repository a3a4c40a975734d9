/** Pseudo-terminals. */
import type { Native } from '../native.js';
import { ROOM, type Libc } from '../../../libc/libc.js';

const O_RDWR = 2;
const O_NOCTTY = 0o400;
const O_NONBLOCK = 0o4000;
const O_CLOEXEC = 0o2000000;
const TIOCSWINSZ = 0x5414;
const TCGETS = 0x5401;
const TCSETS = 0x5402;
/** In c_iflag, the first word of struct termios: erasing takes a whole character of UTF-8. */
const IUTF8 = 0o40000;
/** Where c_lflag stands in struct termios, and two of its bits. */
const LFLAG = 12;
const ICANON = 0o2;
const ECHO = 0o10;

export function terminalCalls(libc: Libc): Pick<Native, 'openTerminal' | 'setTerminalSize' | 'terminalBits'> {
  const openpt = libc.checked('int posix_openpt(int flags)');
  const unlockpt = libc.checked('int unlockpt(int fd)');
  const ptsname = libc.checkedByResult('int ptsname_r(int fd, void *name, size_t length)');
  const ioctl = libc.plain('int ioctl(int fd, ulong request, void *value)');
  const close = libc.plain('int close(int fd)');
  const info = Buffer.alloc(ROOM);
  const size = Buffer.alloc(8);

  return {
    openTerminal() {
      const master = openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
      try {
        unlockpt(master);
        ptsname(master, info, info.length);
      } catch (error) {
        close(master);
        throw error;
      }
      const path = info.toString('latin1', 0, info.indexOf(0));
      if (ioctl(master, TCGETS, info) === 0) {
        info.writeUInt32LE((info.readUInt32LE(0) | IUTF8) >>> 0, 0);
        ioctl(master, TCSETS, info);
      }
      return { master, path };
    },
    setTerminalSize(fd, cols, rows) {
      size.writeUInt16LE(rows, 0);
      size.writeUInt16LE(cols, 2);
      size.writeUInt32LE(0, 4);
      ioctl(fd, TIOCSWINSZ, size);
    },
    terminalBits(fd) {
      if (ioctl(fd, TCGETS, info) !== 0) return undefined;
      const bits = info.readUInt32LE(LFLAG);
      return { canonical: (bits & ICANON) !== 0, echo: (bits & ECHO) !== 0 };
    },
  };
}
