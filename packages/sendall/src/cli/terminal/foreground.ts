/** Job control: a background process group must not touch the terminal, or the whole group would be stopped. */
import { readFileSync } from 'node:fs';

/** Whether we are in the foreground; true without a terminal, and when it is unknown. */
export function isInForeground(): boolean {
  try {
    const stat = readFileSync('/proc/self/stat', 'latin1');
    // After the program's name, which may contain any character: state, parent, group, session, terminal, its
    // foreground group.
    const [, , group, , terminal, foreground] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return terminal === '0' || group === foreground;
  } catch {
    return true;
  }
}
