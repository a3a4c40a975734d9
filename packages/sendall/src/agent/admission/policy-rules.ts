/** What `sendall policy show HOST` asks: the rules that hold, in words, a part at a time. For owners. */
import { ProtocolError } from '../../errors.js';
import { ruleText, type RuleText } from '../../policy/rule-text.js';
import type { PolicyFile } from '../../policy/policy-file.js';
import type { RulesPart } from '../../policy/told-rules.js';

/** Characters of rules in one answer: a frame has room for more. */
const MOST = 128 * 1024;
/** Characters of a rule's command, and callers in it, that are shown. */
const LONGEST = 32 * 1024;
const MOST_CALLERS = 500;

/** The rules from a place on. */
export function answerRules(policyFile: PolicyFile, body: unknown): RulesPart {
  const { from = 0 } = (typeof body === 'object' && body ? body : {}) as { from?: unknown };
  if (typeof from !== 'number' || !Number.isSafeInteger(from) || from < 0)
    throw new ProtocolError('the question about the rules has no good place to begin from');
  const { policy, problem, path } = policyFile;
  const rules: RuleText[] = [];
  let at = from;
  for (let length = 0; at < policy.rules.length && length < MOST; at++) {
    const rule = shortened(ruleText(policy.rules[at]!));
    rules.push(rule);
    length += JSON.stringify(rule).length;
  }
  return {
    file: path,
    sha256: policy.sha256 || null,
    problem: problem?.message ?? null,
    rules,
    next: at < policy.rules.length ? at : null,
  };
}

function shortened(rule: RuleText): RuleText {
  const { who, command } = rule;
  return {
    ...rule,
    who: who.length > MOST_CALLERS ? [...who.slice(0, MOST_CALLERS), '…'] : who,
    command: command !== null && command.length > LONGEST ? `${command.slice(0, LONGEST)}…` : command,
  };
}
