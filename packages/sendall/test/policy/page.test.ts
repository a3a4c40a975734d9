/** The examples of docs/sendall/policy.md are policies, and decide as the page says. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { decide, verbOf } from '../../dist/policy/match.js';
import { parsePolicy } from '../../dist/policy/parse.js';
import { VERBS } from '../../dist/policy/rules.js';
import { aMachine, aSpec } from './a-policy.js';

const page = readFileSync(new URL('../../../../docs/sendall/policy.md', import.meta.url), 'utf8');
const policies = [...page.matchAll(/^```yaml\n(.*?)^```$/gms)].map(([, text]) => text!);

test('the page has examples', () => {
  expect(policies.length).toBeGreaterThan(4);
});

test.each(policies)('this is a policy, and decides as it says: %s', (text) => {
  const policy = parsePolicy(Buffer.from(text), 'policy.yaml');
  const [first] = policy.rules;
  const principal = [...first!.principals][0] ?? 'someone';
  const said = [...text.matchAll(/^# (?:(put|get) )?(allowed|denied): (.+)$/gm)];
  expect(said.length).toBeGreaterThan(0);
  for (const [, verb = 'exec', verdict, words] of said) {
    const spec = aSpec(words!.split(' '), verb === 'exec' ? {} : { verb, stdin: true });
    const decision = decide(policy, { principal, roles: [...first!.roles], verb: verbOf(spec), spec }, aMachine);
    expect([words, 'allow' in decision ? 'allowed' : 'denied']).toEqual([words, verdict]);
  }
});

test('every key, verb, pattern and limit of the page is read, and the page has all of them', () => {
  for (const verb of VERBS) expect(page).toContain(`\`${verb}\``);
  const keysOf = (text: string) => [.../it has ([\w, -]+)/.exec(text)![1]!.matchAll(/[\w-]+/g)].map(([key]) => key);
  const wrong = (yaml: string) => {
    try {
      parsePolicy(Buffer.from(yaml), 'policy.yaml');
    } catch (error) {
      return keysOf((error as Error).message);
    }
    return [];
  };
  const rule = 'version: 1\nrules:\n  - {id: a, who: [a], verbs: [exec], program: /a, run-as: b, ';
  for (const key of [...wrong(`${rule}x: y}`), ...wrong(`${rule}args: [{x: y}]}`), ...wrong(`${rule}limits: {x: y}}`)])
    expect([key, page.includes(key)]).toEqual([key, true]);
});
