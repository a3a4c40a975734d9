/** Checks the text of a large policy in a thread of its own: that may take seconds, and the agent has callers meanwhile. */
import { Worker } from 'node:worker_threads';
import { UsageError } from '../errors.js';
import type { Checked } from './apart-thread.js';
import { PolicyError } from './parse.js';
import type { Rule } from './rules.js';

/** Milliseconds for a check: more than ten times what the worst text of the largest size takes. */
const LONGEST = 120_000;
/** Megabytes of memory for a check. */
const MOST_MEMORY = 1024;

/** A check that runs. */
export interface Checking {
  /** Rejects with a UsageError when the text cannot be obeyed. */
  readonly done: Promise<{ readonly rules: readonly Rule[]; readonly sha256: string }>;
  stop(): void;
}

/** Begins to check a text. */
export function checkApart(bytes: Uint8Array, file: string): Checking {
  const thread = new Worker(new URL('./apart-thread.js', import.meta.url), {
    execArgv: [],
    workerData: { bytes, file },
    resourceLimits: { maxOldGenerationSizeMb: MOST_MEMORY },
  });
  thread.unref();
  const stop = (): void => void thread.terminate();
  const timer = setTimeout(stop, LONGEST).unref();
  const done = new Promise<Checked>((resolve, reject) => {
    thread.once('message', resolve);
    thread.once('error', reject);
    thread.once('exit', () => reject(new Error(`it takes more than ${LONGEST / 1000} s`)));
  });
  return {
    stop,
    done: done.then(
      (checked) => {
        clearTimeout(timer);
        if ('problems' in checked) throw new PolicyError(file, checked.problems);
        return checked;
      },
      (cause: Error) => {
        clearTimeout(timer);
        throw new UsageError(`${file} cannot be checked: ${cause.message}`, { cause });
      },
    ),
  };
}
