/** A large policy is checked in a thread: nothing else waits, and meanwhile it holds what a broken file would let hold. */
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, onTestFinished, test } from 'vitest';
import { connect, openAgent, resolveHome } from 'sendall';
import { PolicyFile } from '../../dist/policy/policy-file.js';
import { until, within } from '../../../../test/support/waits.js';
import { removeHome } from '../remove-home.js';
import { aMachine, asks } from './a-policy.js';

let folder: string;
beforeEach(() => void (folder = mkdtempSync(join(tmpdir(), 'large-policy-'))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const rules = (id: string, count: number): string => {
  const rule = (name: string, who: string) =>
    `  - {id: ${name}, who: [${who}], verbs: [exec, attach], program: /usr/bin/true, run-as: app}\n`;
  const others = Array.from({ length: count }, (_, i) => rule(`other-${i}`, `other-${i}`));
  return `version: 1\nrules:\n${rule(id, 'alice')}${others.join('')}`;
};
const large = (id: string): string => rules(id, 600);
/** Of the kind that takes longest. */
const worst = `version: 1\nrules: ${'a\n'.repeat(30_000)}`;
function write(path: string, text: string): void {
  writeFileSync(`${path}.new`, text, { mode: 0o600 });
  renameSync(`${path}.new`, path);
}

test('the rules before it hold until it is checked, and no command of others than owners starts', async () => {
  const path = join(folder, 'policy.yaml');
  const file = new PolicyFile(path, aMachine);
  onTestFinished(() => file.close());
  let changes = 0;
  file.onChange = () => changes++;
  const decision = () => {
    const made = file.decide(asks(['true']));
    return 'allow' in made ? made.allow : made.deny;
  };
  write(path, rules('small', 0));
  expect(decision()).toBe('small');
  write(path, large('large'));
  expect(decision()).toBe('the policy of this agent is being checked, which takes some seconds: try again');
  expect(file.problem?.message).toBe(`${path} is being checked, which takes some seconds`);
  expect(file.decide({ principal: 'alice', roles: [], verb: 'attach' })).toMatchObject({ allow: 'small' });
  expect(file.decide({ ...asks(['true']), roles: ['owner'] })).toMatchObject({ allow: 'owner' });
  await within(file.settled(), 'the check');
  expect([decision(), changes, file.policy.rules.length]).toEqual(['large', 1, 601]);

  // A mistake in it is named as in a small one.
  write(path, `${large('wrong')}  - {id: x}\n`);
  expect(decision()).toMatch(/being checked/);
  await within(file.settled(), 'the check');
  expect(file.problem?.message).toBe(`${path}:604: a rule has no verbs: it needs id, who and verbs`);
  expect(decision()).toMatch(/is broken/);

  // One that is replaced before it is checked does not count.
  write(path, worst);
  expect(decision()).toMatch(/being checked/);
  write(path, rules('next', 0));
  expect(decision()).toBe('next');
  write(path, worst);
  expect(decision()).toMatch(/being checked/);
  rmSync(path);
  expect(decision()).toBe('no rule lets alice exec true');
  await file.settled();
  expect([decision(), changes]).toEqual(['no rule lets alice exec true', 2]);
});

test('an agent that starts has its rules before it listens, and takes up others as it runs', async () => {
  const home = resolveHome({ SENDALL_HOME: join(folder, 'home') });
  await (await openAgent({ home, keeperIdleExit: 200 })).close();
  write(home.policyFile, large('first'));
  const agent = await openAgent({ home, keeperIdleExit: 200 });
  // Not in onTestFinished, which comes after afterEach has removed the folder.
  await using _ = {
    async [Symbol.asyncDispose]() {
      await agent.close();
      await removeHome(home.state);
    },
  };
  expect((await agent.status).policy).toMatchObject({ rules: 601, problem: undefined });
  await using host = await connect('local', { home });
  write(home.policyFile, worst);
  expect((await host.run(['echo', 'meanwhile'])).stdout).toBe('meanwhile\n');
  await until(async () => (await agent.status).policy.problem?.includes('it is not YAML'), 'the check', 120_000);
  expect((await agent.status).policy.rules).toBe(601);
});
