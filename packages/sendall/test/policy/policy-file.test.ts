import { chmodSync, chownSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { PolicyFile } from '../../dist/policy/policy-file.js';
import { rootTest } from '../../../../test/support/root.js';
import { aMachine, asks } from './a-policy.js';

let folder: string;
let path: string;
let file: PolicyFile;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sendall-policy-'));
  path = join(folder, 'policy.yaml');
  file = new PolicyFile(path, aMachine);
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const rules = (id: string) =>
  `version: 1\nrules:\n  - {id: ${id}, who: [alice], verbs: [exec, attach], program: /usr/bin/true, run-as: app}\n`;
/** As editors do it: a new file in the old one's place. */
function write(text: string, mode = 0o600): void {
  writeFileSync(`${path}.new`, text, { mode });
  renameSync(`${path}.new`, path);
}
const decision = () => {
  const made = file.decide(asks(['true']));
  return 'allow' in made ? made.allow : made.deny;
};

test('without a file nothing is allowed', () => {
  expect(decision()).toBe('no rule lets alice exec true');
  expect(file.problem).toBeUndefined();
});

test('the file is read again when it has changed', () => {
  write(rules('first'));
  expect(decision()).toBe('first');
  expect(file.refresh()).toBe(false);
  const { rev } = file.policy;
  write(rules('second'));
  expect(file.refresh()).toBe(true);
  expect(decision()).toBe('second');
  expect(file.policy.rev).toBe(rev + 1);
  rmSync(path);
  expect(decision()).toMatch(/^no rule/);
});

test('a broken file keeps the rules before it, starts nothing for others than owners, and says why', () => {
  write(rules('first'));
  expect(decision()).toBe('first');
  write('version: 1\nrules: {}\n');
  expect(decision()).toMatch(/^the policy of this agent is broken/);
  expect(file.problem?.message).toBe(`${path}:2: rules is a map, not a list: write [a, b]`);
  expect(file.decide({ principal: 'alice', roles: [], verb: 'attach' })).toMatchObject({ allow: 'first' });
  expect(file.decide({ ...asks(['true']), roles: ['owner'] })).toMatchObject({ allow: 'owner' });
  write(rules('second'));
  expect(decision()).toBe('second');
  expect(file.problem).toBeUndefined();
});

test('a file that others may read, a link and a folder are not obeyed', () => {
  write(rules('first'), 0o644);
  chmodSync(path, 0o644);
  expect(decision()).toMatch(/broken/);
  expect(file.problem?.message).toMatch(/is open to other users \(mode 644\)/);
  chmodSync(path, 0o600);
  expect(decision()).toBe('first');
  renameSync(path, `${path}.real`);
  symlinkSync(`${path}.real`, path);
  expect(file.problem?.message).toMatch(/is a symbolic link/);
});

test('a file above 1 MiB is not obeyed', () => {
  write(`${rules('first')}#${'x'.repeat(1024 * 1024)}`);
  expect(file.problem?.message).toMatch(/more than 1048576/);
});

rootTest("another user's file is not obeyed", () => {
  write(rules('first'));
  chownSync(path, 65534, 65534);
  expect(file.problem?.message).toMatch(/belongs to user 65534, not to you/);
});
