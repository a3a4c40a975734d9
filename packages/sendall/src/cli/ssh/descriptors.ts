/** Standard descriptors that are let go of while we run on, so that the process at their other end sees it. */
import { closeSync, fstatSync, openSync } from 'node:fs';

/** Closes a pipe or socket. Its number stays taken, as no other descriptor may get it. */
export function letGo(fd: 0 | 1): void {
  try {
    const info = fstatSync(fd);
    if (!info.isFIFO() && !info.isSocket()) return;
    closeSync(fd);
    while (openSync('/dev/null', 'r+') < fd);
  } catch {
    // It was closed before.
  }
}
