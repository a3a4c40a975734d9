/** The thread that checks one text of a policy. */
import { parentPort, workerData } from 'node:worker_threads';
import { parsePolicy, PolicyError, type PolicyProblem } from './parse.js';
import type { Rule } from './rules.js';

/** What it has found. */
export type Checked =
  | { readonly rules: readonly Rule[]; readonly sha256: string }
  | { readonly problems: readonly PolicyProblem[] };

function check(bytes: Uint8Array, file: string): Checked {
  try {
    const { rules, sha256 } = parsePolicy(bytes, file);
    return { rules, sha256 };
  } catch (error) {
    if (error instanceof PolicyError) return { problems: error.problems };
    throw error;
  }
}

const { bytes, file } = workerData as { readonly bytes: Uint8Array; readonly file: string };
parentPort!.postMessage(check(bytes, file));
