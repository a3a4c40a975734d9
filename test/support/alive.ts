/** Whether a process lives. One that has ended stays in /proc until its parent, or init, asks for its end. */
import { readdirSync, readFileSync } from 'node:fs';

export function alive(pid: number): boolean {
  try {
    if (!/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'latin1'))) return true;
    // Its first thread may end before the others, which still hold its files.
    return readdirSync(`/proc/${pid}/task`).length > 1;
  } catch {
    return false;
  }
}
