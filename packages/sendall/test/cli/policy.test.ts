/** `sendall policy`: what it shows, finds and decides, and what it tells whom. */
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { rootTest } from '../../../../test/support/root.js';
import { connect, resolveHome } from 'sendall';
import { until } from '../../../../test/support/waits.js';
import { Machine, User } from './support.js';

let machine: Machine;
let far: User;
let file: string;
beforeAll(async () => {
  machine = await Machine.start();
  far = machine.pairedUser('web1');
  file = join(machine.user.home, 'policy.yaml');
});
afterAll(async () => {
  far[Symbol.dispose]();
  await machine[Symbol.asyncDispose]();
});
const call = (...words: string[]) => machine.user.call(['policy', ...words]);

const RULES = `version: 1
rules:
  - id: restart-web
    who: [role:deploy, alice]
    verbs: [exec]
    program: /usr/bin/printf
    args: [{one-of: [restart, status]}, {like: 'web-*'}]
    run-as: bin
    cwd: [/srv]
    stdin: yes
    limits: {memory: 64MiB, cpu: 1m}
  - {id: own-runs, who: [alice], verbs: [list, signal]}
  - {id: shell, who: [role:admin], verbs: [sh], run-as: daemon, pty: yes}
`;
/** As editors do it: a new file in the old one's place. */
function write(text: string): void {
  writeFileSync(`${file}.new`, text, { mode: 0o600 });
  renameSync(`${file}.new`, file);
}
beforeEach(() => write(RULES));

test('show lists the rules', () => {
  const { code, stdout } = call('show');
  expect(code).toBe(0);
  expect(stdout).toMatch(/: 3 rules, sha256 [\da-f]{64}\n/);
  expect(stdout).toMatch(
    /3 +restart-web +alice role:deploy +exec +bin +\/usr\/bin\/printf <one of restart, status> <like web-\*>/,
  );
  const [shown] = machine.user.events(['policy', 'show', '--json']);
  expect(shown).toMatchObject({ file, rules: [{ id: 'restart-web', line: 3 }, { id: 'own-runs' }, { id: 'shell' }] });
});

test('lint names each finding with its line, and ends with 1', () => {
  const { code, stdout } = call('lint');
  expect(code).toBe(1);
  expect(stdout).toContain(`${file}:13: shell: shell text can start anything that daemon may start`);
  const [found] = machine.user.events(['policy', 'lint', '--json']);
  expect(found).toMatchObject({ ok: false, file });
  write('version: 1\nrules: [{id: own, who: [alice], verbs: [list]}]\n');
  expect(call('lint')).toEqual({ code: 0, stdout: '1 rule, nothing found\n', stderr: '' });
});

test('check reads any file, and names all of its mistakes', () => {
  expect(call('check', file)).toMatchObject({ code: 0, stderr: '' });
  const bad = join(machine.user.home, 'hosts.d-bad.yaml');
  writeFileSync(bad, 'version: 1\nrules:\n  - {id: a}\n  - {id: b, who: [x], verbs: [run]}\n');
  const { code, stdout } = call('check', bad);
  expect(code).toBe(1);
  expect(stdout).toMatch(/:3: a rule has no verbs: .*\n.*:4: "run" is no verb/);
  const [said] = machine.user.events(['policy', 'check', bad, '--json']);
  expect(said).toMatchObject({ ok: false, problems: [{ line: 3 }, { line: 4, what: expect.any(String) as string }] });
  expect(call('check', join(machine.user.home, 'nothing')).code).toBe(200);
});

test('a broken policy is shown as that', () => {
  write('version: 1\nrules: {}\n');
  expect(call('show')).toMatchObject({ code: 1, stdout: `${file}:2: rules is a map, not a list: write [a, b]\n` });
  expect(call('lint').code).toBe(1);
  const { code, stdout } = call('test', 'alice', 'exec', 'local', '--', 'id');
  expect(code).toBe(202);
  expect(stdout).toContain('denied: ');
  const problem = `${file}:2: rules is a map, not a list: write [a, b]`;
  expect(machine.user.call(['agent', 'status']).stdout).toContain(problem);
  expect(machine.user.call(['doctor']).stdout).toContain(problem);
});

test('test tells what is denied, and what came nearest', () => {
  const denied = call('test', 'alice', 'exec', 'local', '--', '/usr/bin/printf', 'stop', 'web-1');
  expect(denied.code).toBe(202);
  if (process.getuid?.() === 0)
    expect(denied.stdout).toBe(
      'denied: no rule lets alice exec /usr/bin/printf stop web-1\n' +
        'nearest: restart-web (policy.yaml:3): argument 1 "stop" is not one of restart, status\n',
    );
  else expect(denied.stdout).toMatch(/^denied: this agent is not root, so it runs commands for owners only/);
  expect(call('test', 'bob', 'list', 'local')).toMatchObject({
    code: 202,
    stdout: 'denied: no rule lets bob list\nnearest: restart-web (policy.yaml:3): it is for alice, role:deploy\n',
  });
});

test('test refuses what no run can have, as run does', () => {
  for (const option of ['--limit=files=0', '--limit=memory=0', '--as=', '--cwd=']) {
    const asked = far.call(['policy', 'test', option, 'alice', 'exec', 'web1', '--', 'printf']);
    const run = far.call(['run', option, 'web1', '--', 'printf']);
    expect(asked).toEqual({ ...run, code: 200, stdout: '' });
  }
});

test('test tells what is allowed, and by which rule', () => {
  expect(call('test', 'alice', 'list', 'local')).toEqual({
    code: 0,
    stdout: 'allowed: own-runs (policy.yaml:12)\n',
    stderr: '',
  });
  expect(call('test', 'owner', 'exec', 'local', '--', 'rm').stdout).toBe(
    'allowed: owner is an owner, and owners are not asked\n',
  );
});

rootTest('test decides on files', () => {
  write("version: 1\nrules: [{id: drop, who: [alice], verbs: [put], paths: ['/srv/in/**'], run-as: bin}]\n");
  expect(call('test', 'alice', 'put', 'local', '--', '/srv/in/x')).toEqual({
    code: 0,
    stdout: 'allowed: drop (policy.yaml:2) as bin\n',
    stderr: '',
  });
  expect(call('test', 'alice', 'put', 'local', '--', '/srv/x')).toMatchObject({
    code: 202,
    stdout:
      'denied: no rule lets alice put /srv/x\n' +
      'nearest: drop (policy.yaml:2): the path "/srv/x" is not a path /srv/in/**\n',
  });
  expect(call('test', 'alice', 'put', 'local').stderr).toContain('put needs paths of the host');
  expect(call('show').stdout).toContain('/srv/in/**');
});

rootTest('test decides on what a run would say', () => {
  const asked = (user: string, verb: string, ...words: string[]) =>
    machine.user.events(['policy', 'test', '--json', user, verb, 'local', ...words])[0]!;
  const command = ['--', 'printf', 'status', 'web-1'];
  expect(asked('alice', 'exec', ...command)).toEqual({
    decision: 'allow',
    rule: 'restart-web',
    line: 3,
    program: '/usr/bin/printf',
    runAs: 'bin',
    nearest: [],
  });
  expect(asked('role:deploy', 'exec', ...command)).toMatchObject({ decision: 'allow' });
  const words = ['--cwd', '/srv', '--stdin', '--limit', 'memory=1M,cpu=2s', ...command];
  expect(asked('alice', 'exec', ...words)).toMatchObject({ decision: 'allow' });
  for (const wrong of [
    ['--cwd', '/etc'],
    ['--as', 'root'],
    ['--pty'],
    ['--env', 'LANG=C'],
    ['--secret', 'DB=@no-such-file'],
    ['--limit', 'memory=999G'],
    ['--limit', 'files=9,cpu=1h'],
  ])
    expect(asked('alice', 'exec', ...wrong, ...command)).toMatchObject({
      decision: 'deny',
      rule: null,
      nearest: [{ rule: 'restart-web', line: 3 }, expect.anything(), expect.anything()],
    });
  expect(asked('role:admin', 'sh', '-c', 'id')).toMatchObject({ decision: 'allow', rule: 'shell', runAs: 'daemon' });
  expect(asked('alice', 'pty', ...command)).toMatchObject({ decision: 'deny' });
  expect(asked('role:admin', 'pty')).toMatchObject({ decision: 'allow' });
  expect(asked('role:admin', 'sh', '--pty')).toMatchObject({ decision: 'allow' });
});

test('a far host answers its owners', () => {
  const words = ['policy', 'test', 'alice', 'list', 'web1'];
  expect(far.call(words)).toMatchObject({ code: 0, stdout: 'allowed: own-runs (policy.yaml:12)\n' });
});

test('a question that fits into no message is a mistake, and says so', () => {
  const words = Array.from({ length: 8 }, () => 'w'.repeat(120_000));
  const { code, stderr } = far.call(['policy', 'test', 'alice', 'exec', 'web1', '--', ...words]);
  expect(code).toBe(200);
  expect(stderr).toMatch(/what is asked of the agent is \d+ bytes, and at most \d+ can be sent/);
});

test('a far host shows its rules to its owners', () => {
  const { code, stdout } = far.call(['policy', 'show', 'web1']);
  expect(code).toBe(0);
  expect(stdout).toContain(`web1: ${file}: 3 rules, sha256 `);
  expect(stdout).toMatch(/13 +shell +role:admin +sh +daemon +shell text/);
  const [told] = far.events(['policy', 'show', 'web1', '--json']);
  const [own] = machine.user.events(['policy', 'show', '--json']);
  expect(told).toEqual({ host: 'web1', problem: null, ...own });
  expect(far.call(['policy', 'show', 'web1,web2']).stderr).toContain('policy show asks one host');
});

test('the rules that hold are shown while the file is broken, and that it is', () => {
  // The agent has the rules before.
  expect(far.call(['policy', 'show', 'web1']).code).toBe(0);
  write('version: 1\nrules: {}\n');
  const { code, stdout } = far.call(['policy', 'show', 'web1']);
  expect(code).toBe(1);
  expect(stdout).toContain('restart-web');
  expect(stdout).toContain(`not obeyed: ${file}:2: rules is a map, not a list: write [a, b]`);
});

test('a file that never was obeyed is not called missing', async () => {
  await using other = await Machine.start();
  using near = other.pairedUser('web2');
  const own = join(other.user.home, 'policy.yaml');
  expect(near.call(['policy', 'show', 'web2']).stdout).toBe(`web2 has no ${own}: its agent serves owners only\n`);
  writeFileSync(own, 'version: 1\nrules: {}\n', { mode: 0o600 });
  const { code, stdout } = near.call(['policy', 'show', 'web2']);
  expect({ code, stdout }).toEqual({
    code: 1,
    stdout: `not obeyed: ${own}:2: rules is a map, not a list: write [a, b]\n`,
  });
});

test('rules of any number come whole', async () => {
  const rules = Array.from(
    { length: 2000 },
    (_, i) => `  - {id: r${i}, who: [alice], verbs: [put], paths: ['/srv/${'p'.repeat(50)}/${i}/**'], run-as: bin}`,
  );
  write(`version: 1\nrules:\n${rules.join('\n')}\n`);
  const told = () => far.events(['policy', 'show', 'web1', '--json'])[0]!;
  // A large file is checked beside.
  await until(() => told().problem === null, 'the file to be obeyed');
  const [own] = machine.user.events(['policy', 'show', '--json']);
  expect(told()).toEqual({ host: 'web1', problem: null, ...own });
  expect(told().rules).toHaveLength(2000);
});

/** Who is alice there, with the role deploy. */
function newAlice(): User {
  const alice = new User();
  const [made] = machine.user.events(['pair', '--new', '--json', '--principal', 'alice', '--role', 'deploy']);
  alice.call(['pair', machine.url, '--code', String(made!.code), '--name', 'web1']);
  return alice;
}

rootTest('others may ask about themselves, and learn no more than a try tells', () => {
  using alice = newAlice();
  const ask = (...words: string[]) => alice.call(['policy', 'test', ...words]);
  // A rule with the verb "agent" gives no more rights here.
  for (const rules of [RULES, `${RULES}  - {id: ask, who: [alice], verbs: [agent]}\n`]) {
    write(rules);
    expect(ask('alice', 'list', 'web1')).toEqual({ code: 0, stdout: 'allowed: own-runs\n', stderr: '' });
    const command = ['web1', '--', 'printf', 'status', 'web-1'];
    expect(ask('alice', 'exec', ...command).stdout).toBe('allowed: restart-web starts /usr/bin/printf as bin\n');
    expect(alice.events(['policy', 'test', '--json', 'alice', 'exec', ...command])[0]).toMatchObject({
      decision: 'allow',
      rule: 'restart-web',
      line: null,
    });
    expect(ask('alice', 'exec', 'web1', '--', 'printf', 'stop')).toEqual({
      code: 202,
      stdout: 'denied: no rule lets alice exec printf stop\n',
      stderr: '',
    });
  }
  write('version: 1\nrules: {}\n');
  const { stdout } = ask('alice', 'exec', 'web1', '--', 'printf', 'status', 'web-1');
  expect(stdout).toBe('denied: the policy of this agent is broken, so it starts commands for owners only\n');
});

rootTest('a far host tells others nothing of its rules, nor of other callers', () => {
  using alice = newAlice();
  for (const rules of [RULES, `${RULES}  - {id: ask, who: [alice], verbs: [agent]}\n`]) {
    write(rules);
    for (const words of [
      ['show', 'web1'],
      ['test', 'bob', 'list', 'web1'],
      ['test', 'owner', 'list', 'web1'],
      ['test', 'role:deploy', 'exec', 'web1', '--', 'printf', 'status', 'web-1'],
    ]) {
      const { code, stdout, stderr } = alice.call(['policy', ...words]);
      expect({ code, stdout }).toEqual({ code: 202, stdout: '' });
      expect(stderr).toContain('sendall: web1: the policy is shown to owners only');
      expect(stderr).not.toMatch(/own-runs|restart-web/);
    }
  }
});

rootTest(
  'what others ask costs little, tells nothing of the list of callers, and a refusal is in the log',
  async () => {
    using alice = newAlice();
    await using host = await connect('web1', { home: resolveHome({ SENDALL_HOME: alice.home }) });
    const many = (length: number) => Array.from({ length }, (_, i) => Buffer.from(`LC_A${i}=`).toString('base64'));
    const ask = (question: object) =>
      host.ask<{ sentence: string }>('policy-test', question).then(
        ({ sentence }) => sentence,
        ({ message }: Error) => message,
      );
    expect(await ask({ verb: 'exec', argv: [], env: many(30_000) })).toContain(
      'the question about the policy has 30000 words, and at most 10000 are looked at',
    );
    expect(await ask({ verb: 'sh', script: '', env: many(5000) })).toBe('no rule lets alice sh shell text');
    const long = ['echo', 'x'.repeat(300_000)].map((word) => Buffer.from(word).toString('base64'));
    expect(await ask({ verb: 'exec', argv: long })).toMatch(
      /^the command and its environment are \d+ bytes, and callers who are no owners may send 262144$/,
    );
    expect(await ask({ verb: 'exec', argv: [], limits: { memory: -1 } })).toContain('has no good limits');
    expect(await ask({ user: 'bob', verb: 'list' })).toContain(
      'the policy is shown to owners only: alice may ask about alice',
    );
    const callers = join(machine.user.home, 'callers.json');
    const before = readFileSync(callers);
    writeFileSync(`${callers}.new`, '{"of another": "kind"}', { mode: 0o600 });
    renameSync(`${callers}.new`, callers);
    expect(await ask({ verb: 'list' })).toContain(
      'the list of callers cannot be read: "sendall doctor" on the host says why',
    );
    writeFileSync(`${callers}.new`, before, { mode: 0o600 });
    renameSync(`${callers}.new`, callers);
    const refused = machine.user.events(['audit', 'tail', '--json']).filter(({ kind }) => kind === 'refuse');
    expect(refused.at(-1)).toMatchObject({ principal: 'alice', verb: 'agent' });
  },
);

test.each([
  [['test', 'alice', 'exec', 'local'], 'exec needs a command'],
  [['test', 'alice', 'exec'], 'policy test takes USER VERB TARGET'],
  [['test', 'alice', 'run', 'local', '--', 'x'], '"run" is no verb of a policy'],
  [['test', 'alice', 'list', 'local', '--', 'x'], 'list takes no command'],
  [['test', 'alice', 'list', 'a,b'], 'policy test asks one host'],
  [['show', 'web1', 'x'], 'policy does not know what "x" means here'],
  [['lint', 'x'], 'policy does not know what "x" means here'],
  [['check'], 'policy check takes one file'],
  [['shwo'], 'did you mean "show"?'],
])('policy %j is a mistake', (words, message) => {
  const { code, stderr } = call(...words);
  expect(code).toBe(200);
  expect(stderr).toContain(message);
});
