import { chmodSync, mkdirSync, mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { changeableFolder } from '../../dist/policy/folders.js';
import { lint } from '../../dist/policy/lint.js';
import { parsePolicy } from '../../dist/policy/parse.js';
import { aMachine } from './a-policy.js';

/** The findings for rules in YAML, each "rule kind". */
function findings(rules: string, machine = aMachine): string[] {
  const policy = parsePolicy(Buffer.from(`version: 1\nrules:\n${rules}`), 'policy.yaml');
  return lint(policy, machine).map(({ rule, kind }) => `${rule} ${kind}`);
}
/** A rule of alice's in one line. */
const rule = (program: string, rest = '', id = 'a') =>
  `  - {id: ${id}, who: [alice], verbs: [exec], program: ${program}, run-as: app${rest && `, ${rest}`}}\n`;

test.each([
  ['/usr/bin/python3.11', "args: [{like: '*.py'}]"],
  ['/bin/bash', 'stdin: yes'],
  ['/usr/bin/sudo', 'args: [{one-of: [-l]}, {like: "*"}]'],
  ['/usr/bin/env', "rest: {each: {like: '*'}, max: 3}"],
  ['/usr/bin/find', 'args: [{path: "/srv/**"}, {one-of: [-exec, -print]}]'],
  ['/usr/bin/tar', "args: ['--checkpoint-action=exec=x']"],
  ['/usr/bin/tar', "args: [{like: '--*'}]"],
  ['/usr/bin/tar', "args: [-x, -f, /srv/a.tar, -C, {path: '/srv/**'}]"],
  ['/usr/bin/tar', 'args: [xf, /srv/a.tar, -C, /srv]'],
  ['/usr/bin/sort', "args: [{like: '-*'}]"],
  ['/usr/bin/rsync', "args: ['-ave']"],
  ['/usr/bin/less', 'pty: yes, args: [/var/log/syslog]'],
  ['/usr/bin/git', 'args: [{one-of: [pull, status]}]'],
  ['/usr/bin/systemctl', "args: [{like: '*'}, {one-of: [web]}]"],
  ['/usr/bin/tee', "args: [{path: '/srv/**'}]"],
  ['/usr/bin/make', "args: [{like: '*'}]"],
])('%s with %s can start or write what the caller chooses', (program, words) => {
  expect(findings(rule(program, words))).toContain('a launches');
});

test.each([
  ['/usr/bin/python3.11', 'args: [/opt/job.py]'],
  ['/usr/bin/find', "args: [{path: '/srv/**'}, -name, x]"],
  ['/usr/bin/tar', 'args: [tf, /srv/a.tar]'],
  ['/usr/bin/tar', "args: [-c, -h, -f, '-', -C, /etc, {one-of: [hostname, os-release]}]"],
  ['/usr/bin/less', 'args: [/var/log/syslog]'],
  ['/usr/bin/systemctl', 'args: [{one-of: [restart, status]}, web.service]'],
  ['/usr/bin/git', 'args: [status]'],
  ['/usr/bin/id', "args: [{like: '*'}]"],
])('%s with %s starts nothing else', (program, words) => {
  expect(findings(rule(program, words))).not.toContain('a launches');
});

test('like is noted for programs that make more of a word', () => {
  expect(findings(rule('/usr/bin/systemctl', "args: [restart, {like: 'web-*'}]"))).toEqual(['a expands']);
  expect(findings(rule('/usr/bin/id', "args: [{like: 'web-*'}]"))).toEqual([]);
});

test('two principals with one account are noted, also in one rule', () => {
  const bob = rule('/usr/bin/id', '', 'b').replace('alice', 'bob');
  expect(findings(rule('/usr/bin/true') + bob)).toEqual(['a shared-account']);
  expect(findings(rule('/usr/bin/true').replace('alice', 'alice, role:x'))).toEqual(['a shared-account']);
  expect(findings(rule('/usr/bin/true') + bob.replace('run-as: app', 'run-as: web'))).toEqual([]);
});

test('an account in a group that is as good as root is noted', () => {
  const groups = (name: string) => (name === 'app' ? ['app', 'docker', 'users'] : []);
  expect(findings(rule('/usr/bin/true'), { ...aMachine, groups })).toEqual(['a powerful-group']);
});

test('shell text and trusted programs are noted', () => {
  expect(findings('  - {id: a, who: [x], verbs: [sh], run-as: app}\n')).toEqual(['a shell-text']);
  expect(findings(rule('/usr/bin/id', 'trusts-program: yes').replace('app', 'root'))).toEqual(['a trust']);
});

test.each([
  ['', ''],
  ["args: [{like: 'web-*'}]", 'args: [{one-of: [web-1, web-2]}]'],
  ['args: [{number: 1..9}]', 'args: [{number: 2..3}]'],
  ["args: [{path: '/a/**'}]", "args: [{path: '/a/b/**'}]"],
  ["args: [x], rest: {each: {like: '*'}, max: 3}", 'args: [x, y, z]'],
  ["env: ['APP_*']", 'env: [APP_A, {APP_B: c}]'],
  ['cwd: [/, /srv]', 'cwd: [/srv]'],
  ['stdin: yes', 'stdin: no'],
])('a rule behind one that allows as much never matches (%s before %s)', (wide, narrow) => {
  expect(findings(rule('/usr/bin/id', wide) + rule('/usr/bin/id', narrow, 'b'))).toEqual(['b never']);
  if (wide !== narrow)
    expect(findings(rule('/usr/bin/id', narrow) + rule('/usr/bin/id', wide, 'b'))).not.toContain('b never');
});

test('a rule without its account, without its program, or for an agent that is not root never matches', () => {
  expect(findings(rule('/usr/bin/id').replace('app', 'nemo'))).toEqual(['a never']);
  expect(findings(rule('/usr/bin/id').replace('app', 'toor'))).toEqual(['a never']);
  expect(findings(rule('/usr/bin/id'), { ...aMachine, program: () => ({ problem: 'it is not there' }) })).toEqual([
    'a never',
  ]);
  expect(findings(rule('/usr/bin/id'), { ...aMachine, uid: 1000 })).toEqual(['a never']);
});

let folder: string;
beforeAll(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), 'sendall-lint-')));
  mkdirSync(join(folder, 'a/b'), { recursive: true });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test('a path through folders that others can change is noted', () => {
  const uids = new Set([0, process.getuid!()]);
  // The temporary folder itself is everyone's.
  expect(findings(rule('/usr/bin/cat', `args: [{path: '${folder}/**'}]`))).toContain('a changeable-path');
  expect(changeableFolder('/usr/bin', true, uids)).toBeUndefined();
  expect(changeableFolder(folder, true, uids)).toMatch(/^\/tmp has the mode|has the mode/);
  chmodSync(join(folder, 'a/b'), 0o777);
  expect(changeableFolder('/usr/share/no-such-folder', true, uids)).toBeUndefined();
});
