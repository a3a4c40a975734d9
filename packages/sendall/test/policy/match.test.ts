import { expect, test } from 'vitest';
import { decide } from '../../dist/policy/match.js';
import { likeOf as like, type Pattern } from '../../dist/policy/patterns.js';
import { Policy, VERBS, type Verb } from '../../dist/policy/rules.js';
import type { Decision } from '../../dist/policy/request.js';
import { aMachine, aRule, asks } from './a-policy.js';

const one = (...args: Pattern[]) => new Policy([aRule({ program: '/usr/bin/systemctl', args })], { rev: 3 });
const oneOf = (...words: string[]): Pattern => ({ kind: 'one-of', words: new Set(words) });
const isAllowed = (decision: Decision) => 'allow' in decision;

test('without rules only owners may do anything', () => {
  const policy = new Policy();
  expect(decide(policy, asks(['true']), aMachine)).toMatchObject({ deny: 'no rule lets alice exec true', nearest: [] });
  expect(decide(policy, { ...asks(['true']), roles: ['owner'] }, aMachine)).toMatchObject({ allow: 'owner' });
  for (const verb of ['attach', 'observe', 'signal', 'list', 'forget', 'agent', 'put', 'get', 'forward'] as const)
    expect(decide(policy, { principal: 'alice', roles: [], verb }, aMachine)).toHaveProperty('deny');
});

test('a rule that allows says what is granted', () => {
  const policy = new Policy([aRule({ limits: { timeoutMs: 1000, memory: 4096, runs: 2 } })], { rev: 7 });
  expect(decide(policy, asks(['true']), aMachine)).toEqual({
    allow: 'a-rule',
    line: 1,
    grant: {
      rule: 'a-rule',
      policyRev: 7,
      program: Buffer.from('/usr/bin/true'),
      device: 1,
      inode: 2,
      runAs: 'app',
      limits: { memory: 4096 },
      timeoutMs: 1000,
      output: undefined,
      runs: 2,
    },
  });
});

test('the first rule that allows counts', () => {
  const second = aRule({ id: 'second', line: 9 });
  const policy = new Policy([aRule({ id: 'first', args: [like('x')] }), second, aRule({ id: 'third' })]);
  expect(decide(policy, asks(['true']), aMachine)).toMatchObject({ allow: 'second', line: 9 });
});

test('a role counts, and a principal with the name of a role does not', () => {
  const policy = new Policy([aRule({ principals: new Set(), roles: new Set(['deploy']) })]);
  expect(isAllowed(decide(policy, { ...asks(['true']), roles: ['deploy'] }, aMachine))).toBe(true);
  expect(isAllowed(decide(policy, { ...asks(['true']), principal: 'deploy' }, aMachine))).toBe(false);
  expect(isAllowed(decide(policy, { ...asks(['true']), principal: 'role:deploy' }, aMachine))).toBe(false);
});

test('a denial names the nearest rule and the word that it does not allow', () => {
  const decision = decide(
    one(oneOf('restart', 'status'), like('web-*')),
    asks(['systemctl', 'stop', 'web-1']),
    aMachine,
  );
  expect(decision).toMatchObject({
    deny: 'no rule lets alice exec systemctl stop web-1',
    nearest: [{ rule: 'a-rule', line: 1, why: 'argument 1 "stop" is not one of restart, status' }],
  });
});

test('an agent that is not root runs commands for owners only', () => {
  const decision = decide(new Policy([aRule()]), asks(['true']), { ...aMachine, uid: 1000 });
  expect(decision).toMatchObject({ deny: expect.stringContaining('for owners only') as string });
});

test('root is for owners only, by whatever name, unless the rule trusts its program', () => {
  for (const runAs of ['root', 'toor']) {
    expect(isAllowed(decide(new Policy([aRule({ runAs })]), asks(['true']), aMachine))).toBe(false);
    expect(isAllowed(decide(new Policy([aRule({ runAs, trustsProgram: true })]), asks(['true']), aMachine))).toBe(true);
  }
  for (const runAs of ['nemo', undefined])
    expect(isAllowed(decide(new Policy([aRule({ runAs })]), asks(['true']), aMachine))).toBe(false);
});

test('a program that is trusted has no limits of the caller', () => {
  const limited = { memory: 1e9, cpuMs: 1e6, files: 99, processes: 99 };
  for (const limits of [limited, { files: 3 }, {}]) {
    const asked = asks(['true'], { limits });
    const trusted = aRule({ runAs: 'root', trustsProgram: true, limits: limited });
    expect(isAllowed(decide(new Policy([trusted]), asked, aMachine))).toBe(false);
    expect(isAllowed(decide(new Policy([aRule({ limits: limited })]), asked, aMachine))).toBe(true);
  }
});

test.each(['MODE', '=x', '', '\0=x', 'A B=c', '1A=x'])(
  'the malformed variable %j is denied, whatever the rule',
  (pair) => {
    const policy = new Policy([
      aRule({
        env: [
          { name: 'MODE', open: false },
          { name: 'A', open: true },
        ],
      }),
    ]);
    expect(isAllowed(decide(policy, asks(['true'], { env: [Buffer.from(pair)] }), aMachine))).toBe(false);
  },
);

test.each(['LD_PRELOAD', 'PATH', 'BASH_ENV', 'GIT_DIR', 'HOME', 'TZDIR', 'TMPDIR', 'XDG_CONFIG_HOME', 'LESSKEYIN'])(
  '%s is denied, even if a rule names it',
  (name) => {
    const policy = new Policy([
      aRule({
        env: [
          { name, open: false },
          { name: name[0]!, open: true },
        ],
      }),
    ]);
    expect(isAllowed(decide(policy, asks(['true'], { env: [Buffer.from(`${name}=x`)] }), aMachine))).toBe(false);
  },
);

test('a secret goes by the names of env, as a descriptor too, and not where values are stated', () => {
  const secret = (name: string, as: string) => asks(['true'], { secrets: [{ name, as }] });
  const open = new Policy([aRule({ env: [{ name: 'DB', open: false }] })]);
  for (const as of ['fd', 'env']) {
    expect(isAllowed(decide(open, secret('DB', as), aMachine))).toBe(true);
    expect(isAllowed(decide(open, secret('OTHER', as), aMachine))).toBe(false);
    expect(isAllowed(decide(open, secret('LD_PRELOAD', as), aMachine))).toBe(false);
  }
  expect(isAllowed(decide(open, secret('DB', 'file'), aMachine))).toBe(false);
  const short = new Policy([aRule({ env: [{ name: 'LD', open: false }] })]);
  expect(isAllowed(decide(short, secret('LD', 'fd'), aMachine))).toBe(false);
  const stated = new Policy([aRule({ env: [{ name: 'DB', open: false, value: { kind: 'literal', word: 'x' } }] })]);
  expect(isAllowed(decide(stated, secret('DB', 'env'), aMachine))).toBe(false);
});

test('no rule allows text of the account’s own shell, and the denial says what to do', () => {
  const policy = new Policy([aRule({ verbs: new Set(['sh', 'pty']), program: undefined, pty: true })]);
  const text = (accountShell: boolean) =>
    asks([], { verb: 'sh', script: Buffer.from('true'), accountShell: accountShell || undefined });
  expect(isAllowed(decide(policy, text(false), aMachine))).toBe(true);
  for (const machine of [aMachine, { ...aMachine, uid: 1000 }])
    for (const pty of [undefined, { cols: 80, rows: 24 }])
      expect(decide(policy, asks([], { ...text(true).spec, pty }), machine)).toMatchObject({
        deny: 'pair as an owner, or let a rule name the program',
      });
});

test('a terminal needs pty, as a key or a verb, and a harmless name', () => {
  const terminal = (term?: string) => asks(['true'], { pty: { cols: 80, rows: 24, term } });
  for (const rule of [aRule({ pty: true }), aRule({ verbs: new Set(['pty']) })]) {
    expect(isAllowed(decide(new Policy([rule]), terminal('xterm-256color'), aMachine))).toBe(true);
    expect(isAllowed(decide(new Policy([rule]), terminal('../x'), aMachine))).toBe(false);
  }
  expect(isAllowed(decide(new Policy([aRule()]), terminal(), aMachine))).toBe(false);
  expect(isAllowed(decide(new Policy([aRule({ verbs: new Set(['pty']) })]), asks(['true']), aMachine))).toBe(false);
});

test('who may start commands may come back to its own, and no verb starts one without its words', () => {
  const policy = new Policy([aRule()]);
  const ask = (verb: Verb) => isAllowed(decide(policy, { principal: 'alice', roles: [], verb }, aMachine));
  expect(VERBS.filter(ask)).toEqual(['attach', 'observe']);
});
