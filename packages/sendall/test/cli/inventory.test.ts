/** Inventories on the command line: hosts, hosts import and export, groups as targets, completion. */
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Machine, User } from './support.js';

const PIN = `SHA256:${'A'.repeat(43)}`;

let user: User;
let elsewhere: string;
beforeEach(() => {
  user = new User();
  elsewhere = mkdtempSync(join(tmpdir(), 'sendall-elsewhere-'));
});
afterEach(() => {
  user[Symbol.dispose]();
  rmSync(elsewhere, { recursive: true, force: true });
});

const inFolder = (name: string) => join(user.home, 'hosts.d', name);
function write(name: string, text: string, mode = 0o600): string {
  mkdirSync(join(user.home, 'hosts.d'), { recursive: true, mode: 0o700 });
  writeFileSync(inFolder(name), text, { mode });
  return inFolder(name);
}
const CLUSTER = `hosts:
  web[1-3]: {url: "tls://{host}.lan:7433", tags: {role: web}}
  www: {url: "tls://web1.lan"}
groups:
  front: "@web!web3"
`;
const CLOUD =
  '#!/bin/sh\necho ran >> "$0.log.bak"\necho \'{"hosts": {"vm1": {"url": "tls://vm1"}}, "groups": {"cloud": "vm*"}}\'\n';

describe('hosts', () => {
  test('lists where each host comes from, which are not paired, and names of one machine', () => {
    write('cluster.yaml', CLUSTER);
    write('cloud', CLOUD, 0o700);
    user.call(['hosts', 'add', 'web1', 'tls://10.0.0.1', '--pin', PIN]);
    const { stdout } = user.call(['hosts']);
    expect(stdout.split('\n').map((line) => line.split(/ {2,}/))).toEqual([
      ['NAME', 'ADDRESS', 'KEY', 'FROM', 'TAGS'],
      ['vm1', 'tls://vm1', 'not paired', 'cloud'],
      ['web1', 'tls://web1.lan:7433', PIN, 'cluster.yaml:2 hosts.json', 'role=web'],
      ['web2', 'tls://web2.lan:7433', 'not paired', 'cluster.yaml:2', 'role=web'],
      ['web3', 'tls://web3.lan:7433', 'not paired', 'cluster.yaml:2', 'role=web'],
      ['www', 'tls://web1.lan', 'not paired', 'cluster.yaml:3'],
      ['one machine: web1, www'],
      [''],
    ]);
    const [vm1, web1] = user.events(['hosts', '--json']);
    expect(vm1).toEqual({ name: 'vm1', url: 'tls://vm1', pin: null, tags: {}, from: ['cloud'], sameMachineAs: [] });
    expect(web1).toMatchObject({ pin: PIN, from: ['cluster.yaml:2', 'hosts.json'], sameMachineAs: ['www'] });
  });

  test('says where a host of a file is changed', () => {
    write('cluster.yaml', CLUSTER);
    for (const words of [
      ['rm', 'web1'],
      ['set', 'web1', 'a=b'],
    ])
      expect(user.call(['hosts', ...words])).toMatchObject({
        code: 200,
        stderr: 'sendall: web1 is stated in cluster.yaml:2: change it there\n',
      });
  });

  test('names the file and the line of a mistake', () => {
    const path = write('cluster.yaml', 'groups:\n  a: "@b"\n  b: "@a"\n');
    const { code, stderr } = user.call(['run', 'web1', '--', 'true']);
    expect([code, stderr]).toEqual([
      200,
      `sendall: ${path}, line 2: the group @a holds itself (@a in @b in @a): remove it from one of them\n`,
    ]);
  });
});

describe('targets', () => {
  test('may be groups of files and programs', () => {
    write('cluster.yaml', CLUSTER);
    write('cloud', CLOUD, 0o700);
    const set = (...words: string[]) => user.call(['hosts', 'nodeset', ...words]).stdout;
    expect(set('@front,@cloud')).toBe('vm1,web[1-2]\n');
    expect(set('all')).toBe('vm1,web[1-3],www\n');
    expect(set('-lll')).toBe('@cloud vm1 1\n@front web[1-2] 2\n@role web[1-3] 3\n@web web[1-3] 3\n');
    expect(set('-ll', 'web[2-3]')).toBe('@front web2\n@role web[2-3]\n@web web[2-3]\n');
  });

  test('that are not paired are refused with 202 and the next step', () => {
    write('cluster.yaml', CLUSTER);
    const next = '"sendall pair --new" there shows a code, then sendall pair tls://web2.lan:7433 --code … --name web2';
    expect(user.call(['run', 'web2', '--', 'true'])).toEqual({
      code: 202,
      stdout: '',
      stderr: `sendall: web2 is not paired: ${next}\n`,
    });
    const { stderr } = user.call(['run', '@front', '--', 'true']);
    expect(stderr).toContain(next);
  });

  test('run no program if a file names the host, and show its failure if one is needed', () => {
    write('cluster.yaml', CLUSTER);
    const path = write('cloud', '#!/bin/sh\necho "no token" >&2\nexit 3\n', 0o700);
    expect(user.call(['run', '--no-share', 'web2', '--', 'true']).code).toBe(202);
    const message = `sendall: the inventory program ${path} exited with 3: no token\n`;
    for (const words of [['run', 'all', '--', 'true'], ['run', 'vm1', '--', 'true'], ['hosts']])
      expect(user.call(words)).toEqual({ code: 200, stdout: '', stderr: message });
    write('cloud', '#!/bin/sh\nsleep 1000\n', 0o700);
    const slow = user.call(['hosts'], { env: { SENDALL_INVENTORY_TIMEOUT: '300ms' } });
    expect(slow).toMatchObject({
      code: 200,
      stderr: expect.stringContaining('did not end within 0.3 s (timeout, SENDALL_INVENTORY_TIMEOUT)'),
    });
  });

  test('are completed with the names and groups of files, and of the last answers of programs; none runs', () => {
    write('cluster.yaml', CLUSTER);
    write('cloud', CLOUD, 0o700);
    const complete = (...words: string[]) =>
      user
        .call(['complete', '--', ...words])
        .stdout.split('\n')
        .filter(Boolean);
    expect(complete('run', 'all!w')).toEqual(['all!web1', 'all!web2', 'all!web3', 'all!www']);
    expect(complete('run', '@')).toEqual(['@front', '@role', '@web']);
    expect(complete('hosts', 'import', '--from', '')).toEqual(['yaml', 'ansible', 'clustershell', 'ssh']);
    expect(complete('hosts', 'import', '')).toEqual([':file']);
    expect(existsSync(inFolder('cloud.log.bak'))).toBe(false);
    user.call(['hosts']);
    expect(complete('run', 'v')).toEqual(['vm1']);
    expect(complete('run', '@c')).toEqual(['@cloud']);
    expect(readFileSync(inFolder('cloud.log.bak'), 'utf8')).toBe('ran\n');
  });

  test('reach a machine that a file names, once it is paired', async () => {
    await using machine = await Machine.start();
    using caller = machine.pairedUser('web1');
    mkdirSync(join(caller.home, 'hosts.d'), { mode: 0o700 });
    const [known] = caller.events(['hosts', '--json']);
    caller.call(['hosts', 'rm', 'web1']);
    const file = join(caller.home, 'hosts.d/cluster.yaml');
    writeFileSync(file, `hosts: {web1: {url: "${machine.url}"}}\ngroups: {front: web1}\n`);
    expect(caller.call(['run', '--no-share', 'web1', '--', 'true']).code).toBe(202);
    writeFileSync(
      file,
      `hosts: {web1: {url: "${machine.url}", pin: "${String(known!.pin)}"}}\ngroups: {front: web1}\n`,
    );
    expect(caller.call(['run', '--no-share', '@front', '--', 'echo', 'here'])).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('here'),
    });
  });
});

test('npm yaml is loaded only to parse a file that has changed', () => {
  const [preload, list] = ['preload.cjs', 'list'].map((name) => join(elsewhere, name)) as [string, string];
  writeFileSync(
    preload,
    `const { now } = Date;
Date.now = () => now() + 10_000;
process.on('exit', () => {
  const isLoaded = Object.keys(require.cache).some((path) => path.includes('/node_modules/yaml/'));
  require('node:fs').writeFileSync(process.env.LIST, String(isLoaded));
});`,
  );
  const loadsYaml = () => {
    user.call(['run', '--no-share', 'web1', '--', 'true'], {
      env: { NODE_OPTIONS: `--require ${preload}`, LIST: list },
    });
    return readFileSync(list, 'utf8') === 'true';
  };
  expect(loadsYaml()).toBe(false);
  write('cloud', CLOUD, 0o700);
  expect(loadsYaml()).toBe(false);
  write('cluster.yaml', CLUSTER);
  expect([loadsYaml(), loadsYaml()]).toEqual([true, false]);
  write('cluster.yaml', CLUSTER.replace('web[1-3]', 'web[1-9]'));
  expect([loadsYaml(), loadsYaml()]).toEqual([true, false]);
});

describe('hosts import', () => {
  const list = (words: string[] = []) => user.call(['hosts', 'export', ...words]).stdout;

  test('writes a file in hosts.d from another tool’s list, and says what was left out', () => {
    const source = join(elsewhere, 'inventory.ini');
    writeFileSync(source, 'mail\n[web]\nwww[01:03]\nlocal\n');
    const { code, stdout, stderr } = user.call(['hosts', 'import', source]);
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout).toMatch(
      /^imported 4 hosts and 1 group \(ansible\) into .*\/hosts\.d\/inventory\.yaml\nleft out: "local" is reserved/,
    );
    expect(readFileSync(inFolder('inventory.yaml'), 'utf8')).toBe(
      `# From ${JSON.stringify(source)} (ansible).\nhosts:\n  mail: {url: "tls://mail:7433"}\n  www[01-03]: {url: "tls://{host}:7433"}\ngroups:\n  web: "www[01-03]"\n`,
    );
    expect(statSync(inFolder('inventory.yaml')).mode & 0o777).toBe(0o600);
    expect(user.call(['hosts', 'nodeset', '@web']).stdout).toBe('www[01-03]\n');
  });

  test('replaces nothing unless told to, and takes another name', () => {
    const input = 'Host a b\n  HostName %h.lan\n';
    const call = (...words: string[]) => user.call(['hosts', 'import', '-', ...words], { input });
    expect(call().stdout).toBe(`imported 2 hosts and 0 groups (ssh) into ${inFolder('ssh.yaml')}\n`);
    expect(call()).toMatchObject({
      code: 200,
      stderr: `sendall: ${inFolder('ssh.yaml')} is there already: add --replace to replace it, or choose another name (--as)\n`,
    });
    expect(call('--as', 'other').stderr).toMatch(
      /^sendall: stdin: a stands in .*\/ssh\.yaml, line 3 already: remove one of them\n$/,
    );
    const [event] = user.events(['hosts', 'import', '-', '--replace', '--json'], { input: 'Host c' });
    expect(event).toEqual({
      event: 'imported',
      format: 'ssh',
      file: inFolder('ssh.yaml'),
      hosts: 1,
      groups: 0,
      leftOut: [],
    });
    expect(list()).toBe('hosts:\n  c: {url: "tls://c:7433"}\n');
    expect(readdirSync(join(user.home, 'hosts.d'))).toEqual(['ssh.yaml']);
  });

  test('takes what export prints, with pins and groups: as YAML and as JSON', () => {
    write('cluster.yaml', CLUSTER);
    user.call(['hosts', 'add', 'web1', 'tls://10.0.0.1', '--pin', PIN, '--tag', 'own=yes']);
    for (const words of [['--yaml'], ['--json']]) {
      using other = new User();
      expect(other.call(['hosts', 'import', '-'], { input: list(words) }).stdout).toMatch(
        /^imported 4 hosts and 1 group \(yaml\)/,
      );
      expect(other.call(['hosts', 'export']).stdout).toBe(list());
      expect(other.call(['hosts', 'nodeset', '@front,own=yes']).stdout).toBe('web[1-2]\n');
      expect(other.call(['run', '--no-share', 'web2', '--', 'true']).code).toBe(202);
    }
    expect(list()).toContain(`web1: {url: "tls://web1.lan:7433", pin: "${PIN}", tags: {role: "web", own: "yes"}}`);
  });

  test('with --exec registers a program, after asking it once', () => {
    const program = join(elsewhere, 'my-cloud');
    writeFileSync(program, CLOUD, { mode: 0o700 });
    expect(user.call(['hosts', 'import', '--exec', program]).stdout).toBe(
      `${inFolder('my-cloud')} will be asked for hosts; now it has 1 host and 1 group\n`,
    );
    expect(lstatSync(inFolder('my-cloud')).isSymbolicLink()).toBe(true);
    expect(user.call(['hosts', 'nodeset', '@cloud']).stdout).toBe('vm1\n');
    const failing = join(elsewhere, 'failing');
    writeFileSync(failing, '#!/bin/sh\nexit 3\n', { mode: 0o700 });
    expect(user.call(['hosts', 'import', '--exec', failing])).toMatchObject({
      code: 200,
      stderr: `sendall: the inventory program ${failing} exited with 3\n`,
    });
    expect(existsSync(inFolder('failing'))).toBe(false);
    chmodSync(failing, 0o777);
    expect(user.call(['hosts', 'import', '--exec', failing]).stderr).toContain('can be changed by other users');
  });

  test.each<[words: string[], message: string, input?: string]>([
    [[], 'hosts import needs one file: sendall hosts import ~/.ssh/config, or - for stdin, or --exec PROGRAM'],
    [['/nowhere/file'], '/nowhere/file cannot be read (ENOENT)'],
    [['/'], '/ is a folder: name a file in it'],
    [['-'], 'stdin is not a list of hosts that we know by its content', '<html>'],
    [['-', '--from', 'csv'], '--from: "csv" is not one of yaml, ansible, clustershell, ssh', 'x'],
    [['-', '--as', '../x'], '"../x" cannot name a file in hosts.d', 'hosts: {}'],
    [['-'], 'stdin, line 2: the host "a" has no url', 'hosts:\n  a: {}'],
    [['x', '--exec', 'y'], '--exec takes the place of a file'],
    [['--exec', '/nowhere/program'], '/nowhere/program cannot be read (ENOENT)'],
    [['--exec', '/bin/true', '--as', 'x.yaml'], 'a program cannot be called x.yaml, as it would be read as YAML'],
    [['--exec', '/bin/true'], 'the inventory program /usr/bin/true printed what is not JSON: it is empty'],
    [['/dev/zero'], '/dev/zero has more than 4194304 bytes (maxBytes, SENDALL_INVENTORY_MAX_BYTES)'],
  ])('refuses %j: %s', (words, message, input = '') => {
    const { code, stdout, stderr } = user.call(['hosts', 'import', ...words], { input });
    expect([code, stdout]).toEqual([200, '']);
    expect(stderr).toContain(message);
    expect(existsSync(join(user.home, 'hosts.d'))).toBe(false);
  });

  test('refuses another pin than that of a pairing', () => {
    user.call(['hosts', 'add', 'web1', 'tls://10.0.0.1', '--pin', PIN]);
    const { code, stderr } = user.call(['hosts', 'import', '-'], {
      input: `hosts: {web1: {url: tls://x, pin: "${PIN.replaceAll('A', 'B').replace('SHB', 'SHA')}"}}`,
    });
    expect([code, stderr]).toEqual([200, expect.stringContaining('web1 has two keys')]);
  });
});

describe('hosts export', () => {
  test('takes no words and one format', () => {
    expect(user.call(['hosts', 'export', 'x']).stderr).toContain('hosts export takes no words');
    expect(user.call(['hosts', 'export', '--yaml', '--json']).stderr).toContain('contradict each other');
    expect(user.call(['hosts', 'export'])).toEqual({ code: 0, stdout: '', stderr: '' });
  });
});
