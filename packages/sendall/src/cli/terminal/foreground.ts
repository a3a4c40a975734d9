/** Job control: a process group in the background must leave the terminal alone, for touching it would stop all of it. */
import { readFileSync } from 'node:fs';

/** Whether the terminal listens to us; true where there is none, and where it cannot be told. */
export function isInForeground(): boolean {
  try {
    const stat = readFileSync('/proc/self/stat', 'latin1');
    // Behind the program's name, which may hold anything: state, parent, group, session, terminal, its foreground group.
    const [, , group, , terminal, foreground] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return terminal === '0' || group === foreground;
  } catch {
    return true;
  }
}
