/** The programs in hosts.d: when they run, and what is wrong with their answers. */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
  chmodSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  AllHosts,
  connect,
  fleet,
  KnownHosts,
  RefusedError,
  resolveHome,
  UsageError,
  type Home,
  type InventoryOptions,
} from 'sendall';
import { until } from '../../../../test/support/waits.js';
import { removeHome } from '../remove-home.js';

const PIN = `SHA256:${'k'.repeat(43)}`;
const OTHER_PIN = `SHA256:${'m'.repeat(43)}`;

let folder: string;
let homes = 0;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sendall-programs-'));
});
afterAll(() => removeHome(folder));

/** A home with these programs, and files, in hosts.d. */
function homeWith(files: Readonly<Record<string, string>>): Home {
  const home = resolveHome({ SENDALL_HOME: join(folder, `home${++homes}`) });
  mkdirSync(home.hostsFolder, { recursive: true, mode: 0o700 });
  chmodSync(home.config, 0o700);
  for (const [name, text] of Object.entries(files))
    writeFileSync(join(home.hostsFolder, name), text, { mode: name.endsWith('.yaml') ? 0o600 : 0o700 });
  return home;
}

/** A script that appends a line to runs.log in its home, and prints this. */
const printing = (value: unknown) =>
  `#!/bin/sh\necho run >> .runs.log\ncat <<'END'\n${typeof value === 'string' ? value : JSON.stringify(value)}\nEND\n`;
const runsOf = ({ hostsFolder }: Home) => {
  const log = join(hostsFolder, '.runs.log');
  return existsSync(log) ? readFileSync(log, 'utf8').trim().split('\n').length : 0;
};

const CLOUD = {
  hosts: { 'vm[1-3]': { url: 'tls://{host}.cloud', tags: { zone: 'a', size: 4 } }, db: { url: 'tls://db', pin: PIN } },
  groups: { vms: 'vm*', most: '@vms!vm3' },
};

describe('a program in hosts.d', () => {
  test('is asked for hosts and groups, once in a process', () => {
    const home = homeWith({ cloud: printing(CLOUD) });
    const hosts = AllHosts.of(home);
    expect(hosts.list().map(({ name }) => name)).toEqual(['db', 'vm1', 'vm2', 'vm3']);
    expect(hosts.get('vm2')).toEqual({
      name: 'vm2',
      url: 'tls://vm2.cloud',
      tags: { zone: 'a', size: '4' },
      from: ['cloud'],
    });
    expect(hosts.at('tls://db')?.pin).toBe(PIN);
    expect(fleet('@most', { home }).set.toString()).toBe('vm[1-2]');
    expect(hosts.get('unknown')).toBeUndefined();
    expect(runsOf(home)).toBe(1);
  });

  test('is not run for a host that a file or hosts.json names, nor for a set of these', async () => {
    const home = homeWith({ cloud: printing(CLOUD), 'a.yaml': 'hosts: {"web[1-3]": {url: "tls://{host}"}}' });
    await KnownHosts.of(home).add({ name: 'vm1', url: 'tls://127.0.0.1:1', pin: PIN });
    await expect(connect('web1', { home })).rejects.toThrow(RefusedError);
    expect(fleet('web[1-3],vm1', { home }).set.size).toBe(4);
    expect(AllHosts.of(home).get('vm1')?.url).toBe('tls://127.0.0.1:1');
    expect(AllHosts.of(home).lastKnown.list()).toHaveLength(4);
    expect(runsOf(home)).toBe(0);
    expect(AllHosts.of(home).get('vm2')?.url).toBe('tls://vm2.cloud');
    expect(runsOf(home)).toBe(1);
  });

  test('adds tags to a paired host, whose address stays that of its pairing', async () => {
    const home = homeWith({ cloud: printing(CLOUD) });
    await KnownHosts.of(home).add({ name: 'vm1', url: 'tls://10.0.0.1', pin: PIN });
    const [, vm1] = AllHosts.of(home).list();
    expect(vm1).toMatchObject({
      name: 'vm1',
      url: 'tls://10.0.0.1',
      pin: PIN,
      tags: { zone: 'a' },
      from: ['hosts.json', 'cloud'],
    });
    expect(AllHosts.of(home).get('vm1')?.url).toBe('tls://10.0.0.1');
    await KnownHosts.of(home).add({ name: 'db', url: 'tls://db', pin: OTHER_PIN });
    expect(() => AllHosts.of(home).list()).toThrow(/db has two keys: .* in .*\/cloud: correct one of them/);
  });

  test('is run again when it has changed', async () => {
    const home = homeWith({ cloud: printing(CLOUD) });
    const hosts = AllHosts.of(home);
    expect(hosts.list()).toHaveLength(4);
    writeFileSync(join(home.hostsFolder, 'cloud'), printing({ hosts: { other: { url: 'tls://other' } } }));
    await Promise.resolve();
    expect(hosts.list().map(({ name }) => name)).toEqual(['other']);
  });

  test('gets no words, an empty stdin, its folder and no terminal', () => {
    const script = `#!/bin/sh
[ $# = 0 ] || exit 1
[ -z "$(cat)" ] || exit 2
(: < /dev/tty) 2>/dev/null && exit 3
printf '{"hosts": {"here": {"url": "unix:%s"}}}' "$(pwd)"
`;
    const home = homeWith({ 'my inventory.sh': script });
    expect(AllHosts.of(home).get('here')?.url).toBe(`unix:${home.hostsFolder}`);
  });

  test('is remembered with its last answer, for guesses and completion', async () => {
    const home = homeWith({ cloud: printing(CLOUD), 'a.yaml': 'hosts: {a: {url: tls://a}}' });
    const names = () =>
      AllHosts.of(home, { timeout: ++homes })
        .lastKnown.list()
        .map(({ name }) => name)
        .join();
    expect(names()).toBe('a');
    AllHosts.of(home).list();
    expect(names()).toBe('a,db,vm1,vm2,vm3');
    expect([...AllHosts.of(home).lastKnown.groups().keys()]).toEqual(['vms', 'most']);
    expect(runsOf(home)).toBe(1);
    writeFileSync(join(home.hostsFolder, 'cloud'), printing({}));
    expect(names()).toBe('a');
  });

  test('may be a link to a program elsewhere', () => {
    const elsewhere = mkdtempSync(join(folder, 'bin-'));
    writeFileSync(join(elsewhere, 'list'), '#!/bin/sh\necho "{}"', { mode: 0o755 });
    const home = homeWith({});
    symlinkSync(join(elsewhere, 'list'), join(home.hostsFolder, 'cloud'));
    expect(AllHosts.of(home).list()).toEqual([]);
  });
});

describe('a program that fails', () => {
  const json = (value: unknown) => printing(value);
  test.each<[what: string, script: string, message: RegExp, options?: InventoryOptions]>([
    [
      'exits with 3',
      '#!/bin/sh\necho "no token" >&2\nexit 3',
      /^the inventory program .*\/hosts\.d\/cloud exited with 3: no token$/,
    ],
    ['is killed', '#!/bin/sh\nkill -9 $$', /cloud was killed by SIGKILL$/],
    [
      'hangs',
      '#!/bin/sh\nsleep 1000',
      /cloud did not end within 0\.2 s \(timeout, SENDALL_INVENTORY_TIMEOUT\)$/,
      { timeout: 200 },
    ],
    [
      'leaves its output open',
      '#!/bin/sh\nsleep 1000 &\necho "{}"',
      /cloud did not end within 0\.2 s/,
      { timeout: 200 },
    ],
    ['prints HTML', json('<!DOCTYPE html>\n<html>'), /cloud printed what is not JSON: it begins with "<!DOCTYPE html>/],
    ['prints nothing', '#!/bin/sh\n', /cloud printed what is not JSON: it is empty$/],
    [
      'prints without end',
      '#!/bin/sh\nexec yes',
      /cloud printed more than 100000 bytes \(maxBytes, SENDALL_INVENTORY_MAX_BYTES\)$/,
      { maxBytes: 100_000 },
    ],
    ['complains without end', '#!/bin/sh\nexec yes >&2', /cloud printed more than/],
    ['prints escapes', '#!/bin/sh\nprintf "\\033[31mred\\n" >&2; exit 1', /exited with 1: \\u\{1b\}\[31mred$/],
    [
      'has no interpreter',
      '#!/nowhere/sh\n',
      /cloud cannot be started: its interpreter, named in its first line, is not there$/,
    ],
    [
      'is no program',
      'hosts: {}',
      /cloud is neither a binary nor a script whose first line begins with "#!": nothing says what runs it$/,
    ],
    ['prints a list', json([]), /\/cloud: the whole is a list, not a map$/],
    ['prints an unknown key', json({ host: {} }), /\/cloud: an inventory has no key "host": it has hosts, groups$/],
    ['prints a wrong host', json({ hosts: { a: { url: 'x' } } }), /\/cloud: "x" is not an address/],
    ['prints a wrong group', json({ groups: { c: 1, b: '@a,,' } }), /\/cloud: the set "@a,," is wrong/],
    ['prints deep JSON', json('['.repeat(200) + ']'.repeat(200)), /\/cloud: it is nested more than 100 levels deep$/],
    [
      'prints too many hosts',
      json({ hosts: { 'a[1-100001]': { url: 'tls://a' } } }),
      /\/cloud: the inventories name too many hosts/,
    ],
    [
      'prints a host of a file',
      json({ hosts: { own: { url: 'tls://own' } } }),
      /\/cloud: own stands in .*\/a\.yaml, line 1 already: remove one of them$/,
    ],
    [
      'holds a file’s group',
      json({ groups: { b: '@a' } }),
      /a\.yaml, line 1: the group @a holds itself \(@a in @b in @a\)/,
    ],
  ])('(%s) is named, with the reason, and asked only once', (_, script, message, options) => {
    const home = homeWith({
      cloud: script,
      'a.yaml':
        'hosts: {own: {url: tls://own}}\ngroups: {a: "@b,own"}'.replace('\n', ', ').replace('hosts:', '{hosts:') + '}',
    });
    const hosts = AllHosts.of(home, options);
    for (const ask of [() => hosts.list(), () => hosts.get('x'), () => hosts.groups()]) {
      expect(ask).toThrow(UsageError);
      expect(ask).toThrow(message);
    }
    expect(runsOf(home)).toBeLessThanOrEqual(1);
    expect(hosts.get('own')?.url).toBe('tls://own');
  });

  test('leaves no process behind when it hangs', async () => {
    const own = `1000.${process.pid}${++homes}`;
    const home = homeWith({ cloud: `#!/bin/sh\nsleep ${own} &\nsleep ${own} &\nwait` });
    expect(() => AllHosts.of(home, { timeout: 1000 }).list()).toThrow('did not end within');
    const isThere = (pid: string) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(own);
      } catch {
        return false;
      }
    };
    await until(
      () => !readdirSync('/proc').some((pid) => /^\d+$/.test(pid) && isThere(pid)),
      'the end of what it started',
    );
  });

  test('is not run if another user may change it, or its folder', () => {
    const home = homeWith({ cloud: printing(CLOUD) });
    chmodSync(join(home.hostsFolder, 'cloud'), 0o777);
    expect(() => AllHosts.of(home).list()).toThrow(/cloud can be changed by other users \(mode 777\): chmod go-w it$/);
    const second = homeWith({ cloud: printing(CLOUD) });
    chmodSync(second.hostsFolder, 0o777);
    expect(() => AllHosts.of(second).list()).toThrow(/hosts\.d can be changed by other users \(mode 777\)/);
    expect(runsOf(home) + runsOf(second)).toBe(0);
  });

  test('fails a command that needs it, and no other', async () => {
    const home = homeWith({ cloud: '#!/bin/sh\nexit 3' });
    await KnownHosts.of(home).add({ name: 'web1', url: 'tls://127.0.0.1:1', pin: PIN });
    expect(fleet('web1', { home }).set.size).toBe(1);
    expect(() => fleet('all', { home })).toThrow('exited with 3');
    await expect(connect('vm1', { home })).rejects.toThrow('exited with 3');
  });
});
