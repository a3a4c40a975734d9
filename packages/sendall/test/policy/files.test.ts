/** What rules let callers do with files: single ones, by their whole paths, below folders that are told to the keeper. */
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { decide, verbOf } from '../../dist/policy/match.js';
import { lint } from '../../dist/policy/lint.js';
import { parsePolicy } from '../../dist/policy/parse.js';
import type { Decision } from '../../dist/policy/request.js';
import type { Spec } from '../../dist/protocol/messages.js';
import { aMachine, aSpec } from './a-policy.js';

const policy = parsePolicy(
  Buffer.from(`version: 1
rules:
  - {id: shell, who: [bob], verbs: [sh], run-as: app}
  - {id: look, who: [alice], verbs: [exec], program: /usr/bin/cat, args: [{path: '/srv/**'}], run-as: app}
  - {id: put, who: [alice], verbs: [put], paths: ['/srv/app/**', /etc/motd], run-as: app, limits: {size: 1KiB, runs: 2}}
  - {id: get, who: [alice], verbs: [get], paths: ['/var/log/*/app.log'], run-as: web}
`),
  'policy.yaml',
);

type Words = readonly (string | Uint8Array)[];
const asked = (verb: string, words: Words, part: Partial<Spec> = {}, principal = 'alice'): Decision => {
  const spec = aSpec(words, { verb, stdin: true, ...part });
  return decide(policy, { principal, roles: [], verb: verbOf(spec), spec }, aMachine);
};
const rootsOf = (decision: Decision) =>
  'grant' in decision ? decision.grant.transfer?.roots.map((root) => Buffer.from(root).toString()) : undefined;

test('a rule allows files that its patterns match, and grants the folders that they name', () => {
  expect(asked('put', ['/srv/app/a/b.conf'])).toMatchObject({
    allow: 'put',
    grant: { rule: 'put', runAs: 'app', program: undefined, runs: 2, transfer: { maxSize: 1024 } },
  });
  expect(rootsOf(asked('put', ['/srv/app/a/b.conf']))).toEqual(['/srv/app']);
  expect(rootsOf(asked('put', ['/etc/motd']))).toEqual(['/etc']);
  const several = asked('get', ['/var/log/a/app.log', '/var/log/b/app.log']);
  expect(rootsOf(several)).toEqual(['/var/log']);
  expect(several).toMatchObject({ grant: { runAs: 'web', transfer: { maxSize: undefined } } });
});

test.each<readonly [string, string, Words]>([
  ['another verb', 'get', ['/srv/app/x']],
  ['the folder itself', 'put', ['/srv/app']],
  ['the folder with a slash', 'put', ['/srv/app/']],
  ['a folder below with a slash', 'put', ['/srv/app/x/']],
  ['dots', 'put', ['/srv/app/../../etc/motd']],
  ['a dot', 'put', ['/srv/app/./x']],
  ['two slashes', 'put', ['/srv/app//x']],
  ['another folder with the same beginning', 'put', ['/srv/application']],
  ['a relative path', 'put', ['srv/app/x']],
  ['a space', 'put', ['/srv/app/a b']],
  ['a newline', 'put', ['/srv/app/a\n']],
  ['bytes that are not UTF-8', 'put', [Buffer.from('/srv/app/\xff', 'latin1')]],
  ['one of two that is not allowed', 'get', ['/var/log/a/app.log', '/etc/shadow']],
  ['a star for two folders', 'get', ['/var/log/a/b/app.log']],
  ['an option', 'get', ['--help']],
  ['no path', 'get', []],
])('%s is denied', (_, verb, words) => {
  const decision = asked(verb, words);
  expect(decision).toHaveProperty('deny');
  if ('deny' in decision) expect(decision.deny).toContain(`no rule lets alice ${verb}`);
});

test('connections are forwarded for owners', () => {
  const denied = { deny: 'connections are forwarded for owners', nearest: [] };
  expect(asked('forward', ['127.0.0.1:22'])).toMatchObject(denied);
  // A question names no connection.
  expect(decide(policy, { principal: 'alice', roles: [], verb: 'forward' }, aMachine)).toMatchObject(denied);
});

test('a denial names the nearest rule and what it does not allow', () => {
  const decision = asked('put', ['/srv/other/x']);
  expect(decision).toMatchObject({
    deny: 'no rule lets alice put /srv/other/x',
    nearest: [
      { rule: 'put', line: 5, why: 'the path "/srv/other/x" is not a path /srv/app/**, or a path /etc/motd' },
      { rule: 'get', line: 6 },
      { rule: 'look', why: 'it is not for files' },
    ],
  });
});

test('what a rule does not say of a transfer is refused', () => {
  const fine = ['/srv/app/x'];
  expect(asked('put', fine, {}, 'bob')).toHaveProperty('deny');
  for (const part of [
    { runAs: 'web' },
    { env: [Buffer.from('NODE_OPTIONS=--import=/tmp/x')] },
    { cwd: Buffer.from('/srv') },
    { pty: { cols: 1, rows: 1 } },
    { script: Buffer.from('id') },
    { accountShell: true },
    { limits: { memory: 1 }, keepMs: 1e12 },
    { secrets: [{ name: 'A', as: 'fd' }] },
  ])
    expect(asked('put', fine, part)).toHaveProperty('deny');
  expect(asked('put', fine, { passing: true, runAs: 'app', name: 'mine' })).toHaveProperty('grant');
  // The same words as a command, or as text, are not what a rule about files allows.
  expect(asked('exec', ['/srv/app/x'])).toHaveProperty('deny');
  expect(asked('exec', ['put', '/srv/app/x'])).toHaveProperty('deny');
  expect(asked('sh', [], { script: Buffer.from('x'), argv: [] })).toHaveProperty('deny');
});

test('who may move files may come back to the transfer, and no more', () => {
  const may = (verb: 'attach' | 'observe' | 'signal' | 'list' | 'put' | 'forward') =>
    'allow' in decide(policy, { principal: 'alice', roles: [], verb }, aMachine);
  expect([may('attach'), may('observe'), may('signal'), may('list'), may('put'), may('forward')]).toEqual([
    true,
    true,
    false,
    false,
    false,
    false,
  ]);
});

test('random paths are allowed only below the folders of the rule, and every allowed one lies below a granted folder', () => {
  const part = fc.oneof(
    fc.constantFrom('srv', 'app', 'etc', 'motd', '..', '.', '', '-x', 'a b'),
    fc.string({ maxLength: 4 }),
  );
  fc.assert(
    fc.property(fc.array(part, { maxLength: 6 }), (parts) => {
      const path = `/${parts.join('/')}`;
      const decision = asked('put', [path]);
      if (!('grant' in decision)) return;
      expect(path).toMatch(/^\/(?:etc\/motd|srv\/app(?:\/(?!\.{1,2}(?:\/|$))[\w.@:+=,-]+)+)$/);
      const [root] = rootsOf(decision)!;
      expect(path.startsWith(`${root}/`)).toBe(true);
    }),
    { numRuns: 2000 },
  );
});

const findings = (rules: string, machine = aMachine) =>
  lint(parsePolicy(Buffer.from(`version: 1\nrules:\n${rules}`), 'policy.yaml'), machine).map(
    ({ rule, kind }) => `${rule} ${kind}`,
  );
const rule = (id: string, verb: string, path: string, more = '') =>
  `  - {id: ${id}, who: [alice], verbs: [${verb}], paths: ['${path}'], run-as: app${more}}\n`;

test('lint finds what a rule about files grants beyond its words', () => {
  expect(findings(rule('a', 'put', '/srv/app/**'))).toEqual([]);
  const atHome = { ...aMachine, account: (name: string) => ({ name, uid: 1234, home: '/home/app' }) };
  expect(findings(rule('a', 'put', '/home/app/**'), atHome)).toEqual(['a launches']);
  expect(findings(rule('a', 'put', '/home/app/.*'), atHome)).toEqual(['a launches']);
  expect(findings(rule('a', 'put', '/home/app/in/**'), atHome)).toEqual([]);
  expect(findings(rule('a', 'get', '/home/app/**'), atHome)).toEqual([]);
  // A link of every Linux.
  expect(findings(rule('a', 'get', '/proc/self/**'))).toEqual(['a never']);
  expect(findings(rule('a', 'put', '/srv/app/**') + rule('b', 'put', '/srv/app/x/*'))).toEqual(['b never']);
  expect(findings(rule('a', 'put', '/srv/app/**', ', limits: {size: 1KiB}') + rule('b', 'put', '/srv/app/*'))).toEqual(
    [],
  );
  expect(findings(rule('a', 'put', '/srv/app/**') + rule('b', 'get', '/srv/app/*'))).toEqual([]);
  expect(findings(rule('a', 'put', '/srv/app/**').replace('run-as: app', 'run-as: toor'))).toEqual(['a never']);
  expect(findings(rule('a', 'put', '/srv/app/**') + rule('b', 'get', '/srv/b/*').replace('alice', 'bob'))).toEqual([
    'a shared-account',
  ]);
});
