/** What a host tells of its decision: taken from an agent, and from a host that tells anything only if it is one. */
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { checkedAnswer } from '../../src/policy/told-decision.js';

const denied = {
  decision: 'deny',
  sentence: 'no rule lets alice exec id',
  rule: null,
  line: null,
  program: null,
  runAs: null,
  nearest: [{ rule: 'a', line: 3, why: 'it is for bob' }],
};
const allowed = { ...denied, decision: 'allow', rule: 'a', line: 3, program: '/usr/bin/id', runAs: 'app', nearest: [] };
const refusal = 'the host does not say what its policy decides as an agent does';

test('an answer of an agent is taken as it is', () => {
  for (const answer of [denied, allowed]) expect(checkedAnswer(answer)).toEqual(answer);
});

test('any other answer is refused with one sentence', () => {
  for (const part of [
    { decision: 'perhaps' },
    { sentence: undefined },
    { sentence: 'x'.repeat(100_000) },
    { rule: 7 },
    { line: 'three' },
    { nearest: undefined },
    { nearest: [null] },
    { nearest: [{ rule: 'a', line: 3 }] },
    { nearest: Array.from({ length: 1000 }, () => denied.nearest[0]) },
  ])
    expect(() => checkedAnswer({ ...denied, ...part })).toThrow(refusal);
  fc.assert(
    fc.property(fc.anything(), (answer) => {
      expect(() => checkedAnswer(answer)).toThrow(refusal);
    }),
  );
});
