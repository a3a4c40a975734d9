/** Files that exist in memory alone, sealed: what a command reads there is what was written, and stands on no disk. */
import { closeSync, fchmodSync, writeSync } from 'node:fs';
import type { Libc } from '../../../libc/libc.js';
import { SystemError } from '../../../libc/system-error.js';
import type { Native } from '../native.js';

// Source: memfd_create(2), F_ADD_SEALS in fcntl(2).
const MFD_CLOEXEC = 0x1;
const MFD_ALLOW_SEALING = 0x2;
/** From Linux 6.3 on: never executable, which some systems demand. */
const MFD_NOEXEC_SEAL = 0x8;
const F_ADD_SEALS = 1033;
/** No more seals, neither shorter nor longer, and no writes. */
const SEALS = 0x1 | 0x2 | 0x4 | 0x8;
/** As /proc/PID/fd shows it. */
const LABEL = Buffer.from('sendall-secret\0');
const OWNER_READS = 0o400;

export function memoryFileCalls(libc: Libc): Pick<Native, 'sealed'> {
  const memfdCreate = libc.plain('int memfd_create(void *name, uint flags)');
  const fcntl = libc.checked('int fcntl(int fd, int command, long value)');
  let flags = MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL;

  const create = (): number => {
    const fd = memfdCreate(LABEL, flags);
    if (fd >= 0) return fd;
    const { errno } = libc;
    if (errno !== libc.code.EINVAL || !(flags & MFD_NOEXEC_SEAL)) throw new SystemError('memfd_create', errno);
    flags &= ~MFD_NOEXEC_SEAL;
    return create();
  };

  return {
    sealed(bytes) {
      const fd = create();
      try {
        // By place: the position stays at the first byte.
        for (let at = 0; at < bytes.length;) at += writeSync(fd, bytes, at, bytes.length - at, at);
        fchmodSync(fd, OWNER_READS);
        fcntl(fd, F_ADD_SEALS, SEALS);
        return fd;
      } catch (error) {
        closeSync(fd);
        throw error;
      }
    },
  };
}
