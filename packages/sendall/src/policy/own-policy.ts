/** A policy as its owner looks at it: the file of a home, and what lint finds on this machine. */
import { readPrivateBytes } from '../files/private-file.js';
import { lint, type Finding } from './lint.js';
import { MAX_POLICY, parsePolicy } from './parse.js';
import type { Policy } from './rules.js';
import { ThisMachine } from './this-machine.js';

/**
 * The file's policy; none if there is no file.
 * @throws PolicyError, or UsageError when the file is not private.
 */
export function readPolicyFile(file: string): { readonly file: string; readonly policy: Policy | undefined } {
  const bytes = readPrivateBytes(file, MAX_POLICY);
  return { file, policy: bytes && parsePolicy(bytes, file) };
}

export const lintPolicy = (policy: Policy): Finding[] => lint(policy, new ThisMachine());
