/**
 * Fault points for tests: `SENDALL_FAULT=NAME[:N]` in the keeper's environment kills it (SIGKILL, as a crash would be)
 * the N-th time it comes to that point; of several, with commas between, each counts from the one before it on. Read once
 * at start; without it `fault` does nothing.
 */
const steps = (process.env.SENDALL_FAULT ?? '').split(',').map((step) => {
  const [name = '', count = '1'] = step.split(':');
  return { name, left: Number(count) };
});

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

export const fault: (point: FaultPoint) => void = steps[0]?.name
  ? (point) => {
      const [step] = steps;
      if (point !== step?.name || --step.left > 0) return;
      steps.shift();
      if (!steps.length) process.kill(process.pid, 'SIGKILL');
    }
  : () => {};
