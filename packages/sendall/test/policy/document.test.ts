import { expect, test } from 'vitest';
import { policy } from 'sendall';

const TEXT = `version: 1
rules:
  - id: restart
    who: [role:deploy]
    verbs: [exec]
    program: /usr/bin/systemctl
    args: [{one-of: [restart, status]}, web.service]
    run-as: app
    env: [LANG]
  - {id: shell, who: [alice], verbs: [sh], run-as: app, pty: yes}
`;

test('a program reads the rules of a policy and tests what they allow', async () => {
  const ours = await policy(TEXT);
  expect(ours.sha256).toMatch(/^[\da-f]{64}$/);
  expect(ours.rules.map(({ id, line }) => [id, line])).toEqual([
    ['restart', 3],
    ['shell', 10],
  ]);
  const deploy = { principal: 'bob', roles: ['deploy'] };
  const argv = ['systemctl', 'restart', 'web.service'];
  const allowed = { decision: 'allow', rule: 'restart', line: 3, nearest: [] };
  expect(ours.decide({ ...deploy, argv })).toEqual(allowed);
  expect(ours.decide({ ...deploy, argv, env: { LANG: 'C' }, runAs: 'app' })).toEqual(allowed);
  expect(ours.decide({ ...deploy, argv: ['systemctl', 'stop', 'web.service'] })).toEqual({
    decision: 'deny',
    rule: undefined,
    line: undefined,
    nearest: [
      { rule: 'restart', line: 3, why: 'argument 1 "stop" is not one of restart, status' },
      { rule: 'shell', line: 10, why: 'it is for alice' },
    ],
  });
  for (const wrong of [{ cwd: '/tmp' }, { env: { PATH: '/tmp' } }, { runAs: 'root' }, { stdin: true }, { pty: true }])
    expect(ours.decide({ ...deploy, argv, ...wrong })).toMatchObject({ decision: 'deny' });
  expect(ours.decide({ principal: 'alice', script: 'id', pty: true })).toMatchObject({ rule: 'shell' });
  expect(ours.decide({ principal: 'alice', verb: 'attach' })).toMatchObject({ decision: 'allow' });
  expect(ours.decide({ principal: 'alice', verb: 'signal' })).toMatchObject({ decision: 'deny' });
});

test('the words of a rule are told apart', async () => {
  const commandOf = async (keys: string) => {
    const ours = await policy(`version: 1\nrules: [{id: a, who: [alice], run-as: app, ${keys}}]`);
    return ours.rules[0]!.command;
  };
  const exec = 'verbs: [exec], program: /usr/bin/systemctl';
  expect(await commandOf(`${exec}, args: [restart, web]`)).toBe('/usr/bin/systemctl restart web');
  expect(await commandOf(`${exec}, args: [restart web]`)).toBe('/usr/bin/systemctl "restart web"');
  expect(await commandOf(`${exec}, args: ['', a]`)).toBe('/usr/bin/systemctl "" a');
  expect(await commandOf(`${exec}, args: [{number: 1..9}]`)).toBe('/usr/bin/systemctl <a number from 1 to 9>');
  expect(await commandOf(`${exec}, args: ['<a number from 1 to 9>']`)).toBe(
    '/usr/bin/systemctl "<a number from 1 to 9>"',
  );
  expect(await commandOf(`${exec}, args: ['"a"']`)).toBe('/usr/bin/systemctl "\\"a\\""');
  expect(await commandOf(`verbs: [put], paths: [/srv/a b/**, /srv/c]`)).toBe('"/srv/a b/**" /srv/c');
});

test('a policy that cannot be obeyed is an error with all mistakes', async () => {
  await expect(policy('version: 1\nrules: [{id: a}]')).rejects.toMatchObject({
    code: 'USAGE',
    message: 'policy:2: a rule has no verbs: it needs id, who and verbs',
    problems: [{ line: 2, what: expect.any(String) as string }],
  });
  await expect(policy(Buffer.from('\xff', 'latin1'))).rejects.toThrow('it is not UTF-8');
});
