/**
 * Fault points for tests: `SENDALL_FAULT=NAME[:N]` in the keeper's environment kills it (SIGKILL, as a crash would be)
 * the N-th time it comes to that point. Read once at start; without it `fault` does nothing.
 */
const [name, count] = (process.env.SENDALL_FAULT ?? '').split(':');
let left = Number(count ?? 1);

export type FaultPoint =
  | 'before-intent'
  | 'after-intent'
  | 'after-sync'
  | 'after-spawn'
  | 'after-started'
  | 'before-exit'
  | 'after-flush'
  | 'before-passing'
  | 'after-log-lines'
  | 'after-log-hashes'
  | 'after-log-segment'
  | 'after-log-sync'
  | 'after-log-synced'
  | 'after-log-pruned'
  | 'before-compaction-rename'
  | 'after-compaction-rename';

export const fault: (point: FaultPoint) => void = name
  ? (point) => {
      if (point === name && --left === 0) process.kill(process.pid, 'SIGKILL');
    }
  : () => {};
