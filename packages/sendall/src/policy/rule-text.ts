/** Rules in words, as their owner reads them. */
import { bytesOfWord, describe, pathText, type Word } from './patterns.js';
import type { Rule } from './rules.js';

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
  if (paths.length) return paths.map((path) => literal(pathText(path))).join(' ');
  if (program === undefined) return runAs === undefined ? null : 'shell text';
  const words = args.map((arg) => (arg.kind === 'literal' ? literal(arg.word) : `<${describe(arg)}>`));
  const more = rest ? [`<up to ${rest.max}, each ${describe(rest.each)}>`] : [];
  return [literal(program), ...words, ...more].join(' ');
}

/** A word, in quotes if it could be read as several, as none or as a pattern. */
function literal(word: Word): string {
  const text = bytesOfWord(word).toString();
  return /^[^\s"<>]+$/.test(text) ? text : JSON.stringify(text);
}
