/** The rules that an agent tells its owners, a part in each answer: what an answer has, and how all are gathered. */
import { ProtocolError } from '../errors.js';
import type { RuleText } from './rule-text.js';

/** What an agent says of its rules. */
export interface ToldRules {
  readonly file: string;
  /** Of the file whose rules hold; null: there is none. */
  readonly sha256: string | null;
  /** Why the file as it is now is not obeyed; null: it is. */
  readonly problem: string | null;
  readonly rules: readonly RuleText[];
}

/** One answer. */
export interface RulesPart extends ToldRules {
  /** The place of the next rule, to be asked for; null: there are no more. */
  readonly next: number | null;
}

/** A file of the largest size has fewer. */
const MOST_RULES = 100_000;
/** Characters of them, as JSON. */
const MOST_TEXT = 16 * 1024 * 1024;
/** How often the rules may change while they are told. */
const MOST_CHANGES = 5;

/**
 * All rules. `ask` brings those from a place on. What changes meanwhile is asked for again from the start.
 * @throws ProtocolError for an answer that no agent of ours gives.
 */
export async function gatherRules(ask: (from: number) => Promise<RulesPart>): Promise<ToldRules> {
  for (let changes = 0; ; changes++) {
    const first = checked(await ask(0), 0);
    const rules = [...first.rules];
    let part = first;
    let left = MOST_TEXT;
    while (part.next !== null && part.sha256 === first.sha256) {
      part = checked(await ask(part.next), rules.length);
      left -= JSON.stringify(part.rules).length;
      if (left < 0) throw new ProtocolError('the host tells more rules than a file can have');
      rules.push(...part.rules);
    }
    const { file, sha256, problem } = first;
    if (part.sha256 === sha256) return { file, sha256, problem, rules };
    if (changes === MOST_CHANGES) throw new ProtocolError('the rules change faster than they can be read: try again');
  }
}

/** A host may answer anything, and without end. */
function checked(part: RulesPart, have: number): RulesPart {
  const isText = (value: unknown) => typeof value === 'string';
  const isTextOrNull = (value: unknown) => value === null || isText(value);
  const isRule = ({ id, line, who, verbs, runAs, command, trustsProgram }: RuleText) =>
    isText(id) &&
    typeof trustsProgram === 'boolean' &&
    Number.isSafeInteger(line) &&
    [who, verbs].every((words) => Array.isArray(words) && words.every(isText)) &&
    [runAs, command].every(isTextOrNull);
  const isGood =
    typeof part === 'object' &&
    part !== null &&
    isText(part.file) &&
    [part.sha256, part.problem].every(isTextOrNull) &&
    Array.isArray(part.rules) &&
    part.rules.every((rule) => typeof rule === 'object' && rule !== null && isRule(rule)) &&
    (part.next === null || (part.rules.length > 0 && part.next === have + part.rules.length)) &&
    have + part.rules.length <= MOST_RULES;
  if (!isGood) throw new ProtocolError('the host does not tell its rules as an agent does');
  return part;
}
