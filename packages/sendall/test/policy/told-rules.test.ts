/** The rules of a host as it tells them: whole, of one state of its file, and from a host that tells anything. */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { gatherRules, type RulesPart } from '../../src/policy/told-rules.js';

const rule = (id: string) => ({
  id,
  line: 1,
  who: ['alice'],
  verbs: ['list'],
  runAs: null,
  command: null,
  trustsProgram: false,
});
const part = (ids: readonly string[], next: number | null, sha256 = 'one'): RulesPart => ({
  file: 'policy.yaml',
  sha256,
  problem: null,
  rules: ids.map(rule),
  next,
});

/** A host that gives these answers, and what it was asked. */
function host(...answers: readonly RulesPart[]) {
  const asked: number[] = [];
  const ask = (from: number): Promise<RulesPart> => Promise.resolve(answers[asked.push(from) - 1]!);
  return { asked, ask };
}
const idsOf = async (ask: (from: number) => Promise<RulesPart>) => (await gatherRules(ask)).rules.map(({ id }) => id);

describe('rules that come in parts', () => {
  test('are gathered in their order', async () => {
    const { ask, asked } = host(part(['a', 'b'], 2), part(['c'], 3), part(['d'], null));
    expect(await idsOf(ask)).toEqual(['a', 'b', 'c', 'd']);
    expect(asked).toEqual([0, 2, 3]);
  });

  test('and change meanwhile are asked for again', async () => {
    const { ask, asked } = host(
      part(['a'], 1),
      part(['y'], null, 'two'),
      part(['x'], 1, 'two'),
      part(['y'], null, 'two'),
    );
    expect(await idsOf(ask)).toEqual(['x', 'y']);
    expect(asked).toEqual([0, 1, 0, 1]);
  });

  test('and change again and again are given up', async () => {
    let state = 0;
    const ask = () => Promise.resolve(part(['a'], 1, `${state++}`));
    await expect(
      gatherRules((from) => (from === 0 ? ask() : Promise.resolve(part([], null, `${state++}`)))),
    ).rejects.toThrow('the rules change faster than they can be read');
  });

  test('become none when the file goes', async () => {
    const gone = { ...part([], null), sha256: null };
    const { ask } = host(part(['a'], 1), gone, gone);
    expect(await gatherRules(ask)).toEqual({ file: 'policy.yaml', sha256: null, problem: null, rules: [] });
  });
});

test.each([
  ['nothing', undefined],
  ['a word', 'rules'],
  ['no list', { ...part([], null), rules: {} }],
  ['a rule that is none', { ...part([], null), rules: [null] }],
  ['a rule without a name', { ...part([], null), rules: [{ ...rule('a'), id: 7 }] }],
  ['a rule that neither trusts nor not', { ...part([], null), rules: [{ ...rule('a'), trustsProgram: 1 }] }],
  ['callers that are no words', { ...part([], null), rules: [{ ...rule('a'), who: [{}] }] }],
  ['a number for a file', { ...part([], null), file: 1 }],
  ['a next place at the same one', part([], 0)],
  ['a next place behind a gap', part(['a'], 7)],
  ['a next place before this one', part(['a'], -1)],
])('a host that tells %s is an error', async (_what, answer) => {
  await expect(gatherRules(() => Promise.resolve(answer as RulesPart))).rejects.toMatchObject({ code: 'PROTOCOL' });
});

test('a host that tells rules without end is an error', async () => {
  const many = Array.from({ length: 20_000 }, (_, i) => `${i}`);
  const ask = (from: number) => Promise.resolve(part(many, from + many.length));
  await expect(gatherRules(ask)).rejects.toMatchObject({ code: 'PROTOCOL' });
});

test('a host that tells long rules without end is an error', async () => {
  const long = { ...part(['a'], null), rules: [{ ...rule('a'), command: 'c'.repeat(1_000_000) }] };
  let asked = 0;
  const ask = (from: number) => Promise.resolve({ ...long, next: from + 1, asked: asked++ });
  await expect(gatherRules(ask)).rejects.toThrow('more rules than a file can have');
  expect(asked).toBeLessThan(20);
});

test('a host that tells anything at all is an error, and no other than that', async () => {
  const piece = fc.oneof(fc.jsonValue(), fc.constant(part(['a'], null)), fc.constant(part(['a'], 1)));
  const field = fc.constantFrom('file', 'sha256', 'problem', 'rules', 'next');
  const answer = fc.oneof(
    piece,
    fc.tuple(field, fc.jsonValue()).map(([name, value]) => ({ ...part(['a'], null), [name]: value })),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(answer, { minLength: 1, maxLength: 6 }), async (answers) => {
      let asked = 0;
      const told = gatherRules(() => Promise.resolve(answers[asked++ % answers.length] as RulesPart));
      const { rules } = await told.catch((error: { code: string }) => {
        expect(error.code).toBe('PROTOCOL');
        return { rules: [] };
      });
      for (const { id } of rules) expect(typeof id).toBe('string');
    }),
  );
});
