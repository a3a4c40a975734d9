/** Identities by name, principals and pins, on the command line. */
import { readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { connect, fleet, resolveHome } from 'sendall';
import { rootTest } from '../../../../test/support/root.js';
import { Machine, User } from './support.js';

let machine: Machine;
let user: User;
beforeAll(async () => {
  machine = await Machine.start();
  user = machine.pairedUser('web1');
});
afterAll(async () => {
  user[Symbol.dispose]();
  await machine[Symbol.asyncDispose]();
});

const code = (...options: string[]): string =>
  String(machine.user.events(['pair', '--new', '--json', ...options])[0]!.code);

describe('an identity', () => {
  test('is made, listed with the hosts it has paired with, and removed', () => {
    const [made] = user.events(['identity', 'new', 'ci', '--json']);
    expect(made).toEqual({ name: 'ci', fingerprint: expect.stringMatching(/^SHA256:/) });
    expect(statSync(join(user.home, 'identities', 'ci.pem')).mode & 0o777).toBe(0o600);
    expect(user.call(['identity', 'new', 'ci'])).toMatchObject({
      code: 200,
      stderr: expect.stringContaining('already'),
    });
    expect(user.call(['--identity', 'ci', 'pair', machine.url, '--code', code(), '--name', 'web1']).code).toBe(0);
    const [own, ci] = user.events(['identity', '--json']);
    expect(own).toMatchObject({ name: 'default', hosts: ['web1'] });
    expect(ci).toEqual({ ...made, hosts: ['web1'] });
    expect(user.call(['identity']).stdout).toMatch(
      /^NAME +KEY +PAIRED WITH\ndefault +SHA256:\S+ +web1\nci +SHA256:\S+ +web1\n$/,
    );
    const listed = machine.user.events(['pair', '--list', '--json']).map(({ fingerprint }) => fingerprint);
    expect(listed).toContain(made!.fingerprint);
    expect(user.call(['run', '--identity=ci', 'web1', '--', 'echo', 'x']).stdout).toBe('x\n');
    const removed = user.call(['identity', 'rm', 'ci']);
    expect(removed.stdout).toContain(`sendall pair --remove ${String(made!.fingerprint)}`);
    expect(user.call(['run', '--identity', 'ci', 'web1', '--', 'true'])).toMatchObject({
      code: 200,
      stderr: expect.stringContaining('there is no identity "ci": sendall identity new ci makes it'),
    });
    expect(user.events(['identity', '--json'])).toHaveLength(1);
    expect(JSON.parse(readFileSync(join(user.home, 'hosts.json'), 'utf8'))).toMatchObject({
      web1: { identities: ['default'] },
    });
  });

  test('that the host does not know is refused, also where a warm link of another one is open', () => {
    user.call(['identity', 'new', 'stranger']);
    // A link that stays.
    user.bash('until sendall run -n web1 -- true && sendall links --json | grep -q tls:; do :; done');
    for (const words of [
      ['--identity', 'stranger', 'run', 'web1', '--', 'true'],
      ['--identity=stranger', 'run', 'web1', '--', 'true'],
      ['ps', '--identity', 'stranger', 'web1'],
    ])
      expect(user.call(words)).toMatchObject({ stderr: expect.stringContaining('does not know the key') });
    const env = { SENDALL_IDENTITY: 'stranger' };
    expect(user.call(['run', '-n', 'web1', '--', 'true'], { env }).code).toBe(202);
    expect(user.call(['run', '-n', 'web1', '--', 'true']).code).toBe(0);
    expect(user.call(['run', '--identity', 'default', '-n', 'web1', '--', 'true'], { env }).code).toBe(0);
  });

  test('is used by programs too, for one host and for many', async () => {
    user.call(['identity', 'new', 'robot']);
    user.call(['--identity', 'robot', 'pair', machine.url, '--code', code(), '--name', 'web1']);
    const home = resolveHome({ SENDALL_HOME: user.home });
    await using host = await connect('web1', { home, identity: 'robot' });
    expect((await host.run(['echo', 'x'])).stdout).toBe('x\n');
    for await (const result of fleet('web1', { home, identity: 'robot' }).run(['echo', 'y']).results())
      expect(result).toMatchObject({ ok: true, stdout: 'y\n' });
    await expect(connect('web1', { home, identity: 'nobody' })).rejects.toThrow(/no identity "nobody"/);
    await expect(connect('local', { home, identity: 'robot' })).rejects.toThrow(/for hosts on the network/);
    for await (const result of fleet('web1', { home, identity: 'nobody' }).run(['true']).results())
      expect(result).toMatchObject({ ok: false, reason: expect.stringContaining('no identity "nobody"') });
    user.call(['identity', 'rm', 'robot']);
  });

  test.each([
    [['identity', 'new', '../x'], /cannot name an identity/],
    [['identity', 'new', 'default'], /own identity/],
    [['identity', 'rm', 'default'], /own identity/],
    [['identity', 'rm', 'none'], /no identity "none"/],
    [['identity', 'new'], /takes one name/],
    [['identity', 'show', 'x'], /no verb "show"/],
    [['--identity', '../x', 'run', 'web1', '--', 'true'], /cannot name an identity/],
    [['--identity', 'ci', 'hosts', 'nodeset', '--nosuch'], /no option --nosuch/],
  ])('%j is refused', (words, message) => {
    const { code: ended, stderr } = user.call(words);
    expect([ended, stderr]).toEqual([200, expect.stringMatching(message)]);
  });

  test('is for the network: on this machine itself it is refused, and SENDALL_IDENTITY has no effect', () => {
    machine.user.call(['identity', 'new', 'ci']);
    expect(machine.user.call(['--identity', 'ci', 'run', 'local', '--', 'true'])).toMatchObject({
      code: 200,
      stderr: expect.stringContaining('is for hosts on the network'),
    });
    const env = { SENDALL_IDENTITY: 'ci' };
    expect(machine.user.call(['run', '-n', 'local', '--', 'true'], { env }).code).toBe(0);
  });
});

describe('pairing with a principal', () => {
  rootTest('lets in a caller who may do what the policy allows, which is nothing without one', () => {
    using alice = new User();
    const [made] = machine.user.events([
      'pair',
      '--new',
      '--json',
      '--principal',
      'alice',
      '--role',
      'deploy',
      '--role',
      'audit',
    ]);
    expect(made).toMatchObject({ principal: 'alice', roles: ['deploy', 'audit'] });
    alice.call(['pair', machine.url, '--code', String(made!.code), '--name', 'web1']);
    expect(machine.user.call(['pair', '--list']).stdout).toMatch(
      /NAME +PRINCIPAL +ROLES +KEY +PAIRED\n(.*\n)*\S+ +alice +deploy,audit +SHA256/,
    );
    const refused = alice.call(['run', '-n', 'web1', '--', 'id', '-u']);
    expect(refused).toMatchObject({ code: 202, stderr: expect.stringContaining('no rule lets alice exec id -u') });
    const [event] = alice.events(['run', '-n', '--json', 'web1', '--', 'id']);
    expect(event).toMatchObject({ event: 'result', outcome: 'refused' });
    expect(alice.call(['ps', 'web1'])).toMatchObject({ stderr: expect.stringContaining('no rule lets alice list') });
    expect(alice.call(['hosts', 'ping', 'web1']).code).toBe(0);
  });

  test('says whom a code lets in, and shows it to nobody else', () => {
    const said = machine.user.call(['pair', '--new']).stdout;
    expect(said).toContain('lets in      an owner, who may run anything here, as you may\n');
    expect(Object.keys(machine.user.events(['pair', '--new', '--json'])[0]!)).toEqual([
      'code',
      'fingerprint',
      'expires',
    ]);
    const bob = machine.user.call(['pair', '--new', '--principal', 'bob', '--role', 'owner']).stdout;
    expect(bob).toContain('lets in      bob, an owner, who may run anything here, as you may\n');
  });

  test.each([
    [['--new', '--role', 'deploy'], /--role needs --principal/],
    [['--new', '--principal', 'owner', '--role', 'deploy'], /"owner" is this machine's own user/],
    [['--new', '--principal', 'role:x'], /"role:x" is not a principal/],
    [['--list', '--principal', 'x'], /--principal goes with --new/],
  ])('%j is refused', (words, message) => {
    const { code: ended, stderr } = machine.user.call(['pair', ...words]);
    expect([ended !== 0, stderr]).toEqual([true, expect.stringMatching(message)]);
  });
});

test('pins are listed with the names that have them, and forgotten by name or key', () => {
  using other = machine.pairedUser('a', 'b', 'c');
  const pins = other.events(['pins', 'list', '--json']);
  expect(pins.map(({ name }) => name)).toEqual(['a', 'b', 'c']);
  expect(other.call(['pins', 'list']).stdout).toContain(`${String(pins[0]!.pin)}  a`);
  expect(other.call(['pins', 'rm', 'a']).stdout).toContain(`forgot a, key ${String(pins[0]!.pin)}`);
  expect(other.call(['run', '-n', 'a', '--', 'true']).code).toBe(200);
  expect(other.call(['pins', 'rm', String(pins[0]!.pin)]).code).toBe(0);
  expect(other.call(['pins', 'list'])).toMatchObject({ stdout: expect.stringContaining('no key is pinned') });
  expect(other.call(['pins', 'rm', 'a'])).toMatchObject({
    code: 200,
    stderr: expect.stringContaining('there is no host "a"'),
  });
});

test('a policy or a list of callers that is broken is told by doctor and status', () => {
  const findings = (): Record<string, unknown>[] => machine.user.events(['doctor', '--json']);
  const findingOf = (name: string) => findings().find(({ check }) => check === name);
  expect(findingOf('policy')).toMatchObject({ ok: true, found: 'none: owners may do everything, and others nothing' });
  const policy = join(machine.user.home, 'policy.yaml');
  writeFileSync(policy, 'version: 1\nrules: {}\n', { mode: 0o600 });
  expect(findingOf('policy')).toMatchObject({
    ok: false,
    found: expect.stringContaining('policy.yaml:2: rules is a map'),
  });
  expect(machine.user.call(['agent', 'status']).stdout).toContain('the policy is broken');
  rmSync(policy);
  expect(findingOf('policy')).toMatchObject({ ok: true });
  const callers = join(machine.user.home, 'callers.json');
  const before = readFileSync(callers, 'utf8');
  writeFileSync(callers, '{');
  expect(findingOf('callers')).toMatchObject({ ok: false, found: expect.stringContaining('callers.json is not JSON') });
  expect(machine.user.call(['agent', 'status']).stdout).toContain('nobody is let in over the network');
  writeFileSync(callers, before);
  expect(findingOf('callers')).toBeUndefined();
});
