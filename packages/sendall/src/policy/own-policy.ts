/** A policy as its owner looks at it: the file of a home, its rules as text, and what lint finds on this machine. */
import { readPrivateBytes } from '../files/private-file.js';
import { lint, type Finding } from './lint.js';
import { MAX_POLICY, parsePolicy } from './parse.js';
import { bytesOfWord, describe, pathText } from './patterns.js';
import type { Policy, Rule } from './rules.js';
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

/** A rule in words. */
export interface RuleText {
  readonly id: string;
  readonly line: number;
  readonly who: readonly string[];
  readonly verbs: readonly string[];
  readonly runAs: string | null;
  /** The program with what its arguments may be, or the files that may be moved; null: neither. */
  readonly command: string | null;
  readonly trustsProgram: boolean;
}

export function ruleText(rule: Rule): RuleText {
  const { id, line, principals, roles, verbs, runAs = null, trustsProgram } = rule;
  const who = [...principals, ...[...roles].map((role) => `role:${role}`)];
  return { id, line, who, verbs: [...verbs], runAs, command: commandOf(rule), trustsProgram };
}

function commandOf({ program, args, rest, paths, runAs }: Rule): string | null {
  if (paths.length) return paths.map((path) => bytesOfWord(pathText(path)).toString()).join(' ');
  if (program === undefined) return runAs === undefined ? null : 'shell text';
  const words = args.map((arg) => (arg.kind === 'literal' ? bytesOfWord(arg.word).toString() : `<${describe(arg)}>`));
  const more = rest ? [`<up to ${rest.max}, each ${describe(rest.each)}>`] : [];
  return [bytesOfWord(program).toString(), ...words, ...more].join(' ');
}
