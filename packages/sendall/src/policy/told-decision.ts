/** What an agent tells of its decision on a question, and whether a host's answer is one. */
import { ProtocolError } from '../errors.js';
import type { Near } from './request.js';

export interface PolicyAnswer {
  readonly decision: 'allow' | 'deny';
  /** What is decided, in a sentence. */
  readonly sentence: string;
  readonly rule: string | null;
  readonly line: number | null;
  readonly program: string | null;
  readonly runAs: string | null;
  readonly nearest: readonly Near[];
}

/** Characters of a text; an agent says less. */
const LONGEST = 64 * 1024;
/** Rules that came nearest; an agent names three. */
const MOST_NEAREST = 100;

/**
 * An answer as it has come. A host may answer anything.
 * @throws ProtocolError for one that no agent of ours gives.
 */
export function checkedAnswer(answer: unknown): PolicyAnswer {
  const isText = (value: unknown) => typeof value === 'string' && value.length <= LONGEST;
  const isTextOrNull = (value: unknown) => value === null || isText(value);
  const isNear = (near: Near | null) =>
    typeof near === 'object' &&
    near !== null &&
    isText(near.rule) &&
    Number.isSafeInteger(near.line) &&
    isText(near.why);
  const { decision, sentence, rule, line, program, runAs, nearest } = (answer ?? {}) as PolicyAnswer;
  const isGood =
    (decision === 'allow' || decision === 'deny') &&
    isText(sentence) &&
    [rule, program, runAs].every(isTextOrNull) &&
    (line === null || Number.isSafeInteger(line)) &&
    Array.isArray(nearest) &&
    nearest.length <= MOST_NEAREST &&
    nearest.every(isNear);
  if (!isGood) throw new ProtocolError('the host does not say what its policy decides as an agent does');
  return { decision, sentence, rule, line, program, runAs, nearest };
}
