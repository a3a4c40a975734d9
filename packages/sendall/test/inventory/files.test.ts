/** The files in hosts.d: what they say, what is wrong with them, and where. */
import fs, {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { AllHosts, connect, fleet, KnownHosts, RefusedError, resolveHome, UsageError, type Home } from 'sendall';
import { patience } from '../../../../test/support/waits.js';
import { rootTest } from '../../../../test/support/root.js';
import { removeHome } from '../remove-home.js';

const PIN = `SHA256:${'k'.repeat(43)}`;
const OTHER_PIN = `SHA256:${'m'.repeat(43)}`;

let folder: string;
let homes = 0;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sendall-inventory-'));
});
afterAll(() => removeHome(folder));

/** A home with these files in hosts.d. */
function homeWith(files: Readonly<Record<string, string>> = {}): Home {
  const home = resolveHome({ SENDALL_HOME: join(folder, `home${++homes}`) });
  mkdirSync(home.hostsFolder, { recursive: true, mode: 0o700 });
  chmodSync(home.config, 0o700);
  for (const [name, text] of Object.entries(files)) writeFileSync(join(home.hostsFolder, name), text);
  return home;
}
const hostsOf = (text: string) => AllHosts.of(homeWith({ 'a.yaml': text }));

const CLUSTER = `# our machines
hosts:
  web[001-200]: {url: "tls://{host}.lan:7433", tags: {role: web}}
  db1:
    url: tls://10.0.0.1
    pin: ${PIN}
    tags: {role: db, rack: 3, on: true}
  here: {url: "unix:/run/sendall/agent.sock"}
groups:
  front: "@web!web007"
  back: [db1, "@db"]
  site: "@front,@back"
  empty: ""
`;

describe('a file in hosts.d', () => {
  test('names hosts, alone and as sets, with addresses, pins and tags', () => {
    const hosts = hostsOf(CLUSTER);
    expect(hosts.list()).toHaveLength(202);
    const at = 'a.yaml:3';
    expect(hosts.get('web007')).toEqual({
      name: 'web007',
      url: 'tls://web007.lan:7433',
      tags: { role: 'web' },
      from: [at],
    });
    expect(hosts.get('db1')).toMatchObject({
      url: 'tls://10.0.0.1',
      pin: PIN,
      tags: { role: 'db', rack: '3', on: 'true' },
    });
    expect(hosts.at('tls://10.0.0.1:7433')?.name).toBe('db1');
    expect(hosts.at('tls://WEB007.lan')?.name).toBe('web007');
    expect(hosts.get('here')?.url).toBe('unix:/run/sendall/agent.sock');
    for (const missing of ['web201', 'constructor', '__proto__']) expect(hosts.get(missing)).toBeUndefined();
  });

  test('names groups, which hold hosts, tags and other groups', () => {
    const inventory = hostsOf(CLUSTER);
    const set = (targets: string) => fleet(targets, { inventory }).set.toString();
    expect(set('@front')).toBe('web[001-006,008-200]');
    expect(set('@site&web[001-010]')).toBe('web[001-006,008-010]');
    expect(set('@back')).toBe('db1');
    expect(set('role=db,web001')).toBe('db1,web001');
    expect(() => set('@empty')).toThrow('"@empty" names no host');
    expect(() => set('@nothing')).toThrow('there is no group "nothing", and no host has a tag of this name');
  });

  test('gives a group more say than a tag of the same name', () => {
    const inventory = hostsOf('hosts: {a: {url: tls://a, tags: {role: web}}, b: {url: tls://b}}\ngroups: {web: b}');
    expect(fleet('@web', { inventory }).set.toString()).toBe('b');
  });

  test('may use anchors and JSON, may be empty, and may be one of several', () => {
    const anchors =
      'hosts:\n  a: &one {url: "tls://{host}", tags: &t {k: v}}\n  b: *one\n  c: {url: tls://c, tags: *t}\n';
    const json = JSON.stringify({ hosts: { 'd[1-2]': { url: 'tls://{host}' } }, groups: { all2: 'a,d1' } });
    const hosts = AllHosts.of(
      homeWith({ 'a.yaml': anchors, 'b.yml': json, 'c.yaml': '', 'd.yaml': '# nothing\n', 'e.yaml': 'hosts:' }),
    );
    expect(hosts.list().map(({ name, url }) => `${name} ${url}`)).toEqual(
      ['a', 'b', 'c', 'd1', 'd2'].map((name) => `${name} tls://${name}`),
    );
    expect(hosts.get('c')?.tags).toEqual({ k: 'v' });
    expect(fleet('@all2', { inventory: hosts }).set.toString()).toBe('a,d1');
  });

  test('is used by connect and fleet; a host that is not paired is refused, with the next step', async () => {
    const home = homeWith({ 'a.yaml': CLUSTER });
    await expect(connect('web001', { home })).rejects.toThrow(RefusedError);
    await expect(connect('tls://web001.lan:7433', { home })).rejects.toThrow(
      /^web001 is not paired: "sendall pair --new" there shows a code, then sendall pair tls:\/\/web001\.lan:7433 --code … --name web001$/,
    );
    const { results } = await fleet('web[001-003]', { home }).run(['true']);
    expect(results.map(({ host, outcome }) => [host, outcome])).toEqual(
      ['web001', 'web002', 'web003'].map((name) => [name, 'refused']),
    );
  });

  test('gives a paired host its address and further tags; the pin comes from pairing', async () => {
    const home = homeWith({ 'a.yaml': CLUSTER });
    await KnownHosts.of(home).pair({ name: 'web001', url: 'tls://10.9.9.9:1', pin: PIN });
    await KnownHosts.of(home).set('web001', { role: 'canary', own: 'yes' });
    const hosts = AllHosts.of(home);
    expect(hosts.get('web001')).toMatchObject({
      url: 'tls://web001.lan:7433',
      pin: PIN,
      tags: { role: 'canary', own: 'yes' },
      from: ['a.yaml:3', 'hosts.json'],
    });
    expect(fleet('role=web', { home }).set.has('web001')).toBe(false);
    expect(fleet('own=yes', { home }).set.toString()).toBe('web001');
  });

  test('with another pin than the pairing of a host makes that host an error, and no other', async () => {
    const home = homeWith({ 'a.yaml': CLUSTER });
    await KnownHosts.of(home).pair({ name: 'db1', url: 'tls://10.0.0.1', pin: OTHER_PIN });
    const hosts = AllHosts.of(home);
    expect(() => hosts.get('db1')).toThrow(
      /^db1 has two keys: SHA256:m+ in hosts\.json, from its pairing, and SHA256:k+ in .*a\.yaml, line 4: correct one of them$/,
    );
    expect(hosts.get('web001')?.name).toBe('web001');
    expect(() => hosts.list()).toThrow('db1 has two keys');
  });

  test('may give two names to one machine; an address finds the paired one', () => {
    const hosts = hostsOf(`hosts: {a: {url: tls://m}, b: {url: "tls://m:7433", pin: "${PIN}"}}`);
    expect(hosts.at('tls://m')?.name).toBe('b');
  });

  test('is read again when it has changed, was added or removed', async () => {
    const home = homeWith({ 'a.yaml': 'hosts: {a: {url: tls://a}}' });
    const hosts = AllHosts.of(home);
    const names = () =>
      hosts
        .list()
        .map(({ name }) => name)
        .join();
    expect(names()).toBe('a');
    writeFileSync(join(home.hostsFolder, 'b.yaml'), 'hosts: {b: {url: tls://b}}');
    await Promise.resolve();
    expect(names()).toBe('a,b');
    writeFileSync(join(home.hostsFolder, 'new'), 'hosts: {c: {url: tls://c}}');
    renameSync(join(home.hostsFolder, 'new'), join(home.hostsFolder, 'a.yaml'));
    await Promise.resolve();
    expect(names()).toBe('b,c');
    rmSync(home.hostsFolder, { recursive: true });
    await Promise.resolve();
    expect(names()).toBe('');
  });

  test('is read once for ten thousand names and hundreds of dials', { timeout: patience(60_000) }, async () => {
    const home = homeWith({ 'a.yaml': 'hosts: {"web[1-10000]": {url: "tls://{host}.invalid"}}' });
    const spy = vi.spyOn(fs, 'openSync');
    syncBuiltinESMExports();
    try {
      const run = fleet('web[1-10000]', { home }).run(['true'], { maxFail: 500 });
      const outcomes: string[] = [];
      for await (const result of run.results()) outcomes.push(result.outcome);
      expect(outcomes.length).toBeGreaterThan(500);
      expect(outcomes.length + run.notStarted.size).toBe(10_000);
      expect(new Set(outcomes)).toEqual(new Set(['refused']));
      expect(spy.mock.calls.filter(([path]) => String(path).endsWith('a.yaml'))).toHaveLength(1);
    } finally {
      spy.mockRestore();
      syncBuiltinESMExports();
    }
  });
});

describe('parsed files', () => {
  const counting = () => {
    const spy = vi.spyOn(fs, 'openSync');
    syncBuiltinESMExports();
    return {
      get yaml() {
        return spy.mock.calls.filter(([path]) => String(path).endsWith('.yaml')).length;
      },
      stop() {
        spy.mockRestore();
        syncBuiltinESMExports();
      },
    };
  };
  /** Another limit makes another instance, as another process would have. */
  let instance = 0;
  const anew = (home: Home) => AllHosts.of(home, { timeout: ++instance });
  const everything = (hosts: AllHosts) => [hosts.list(), [...hosts.groups()], hosts.at('tls://10.0.0.1')];

  test('are kept for later processes until a file changes; damage does not matter', async () => {
    const home = homeWith({ 'a.yaml': CLUSTER, 'b.yaml': 'hosts: {b: {url: tls://b}}' });
    const clock = vi.spyOn(Date, 'now').mockReturnValue(Date.now() + 10_000);
    const first = everything(anew(home));
    const opens = counting();
    try {
      expect(everything(anew(home))).toEqual(first);
      expect(opens.yaml).toBe(0);
      await KnownHosts.of(home).pair({ name: 'db1', url: 'tls://10.0.0.1', pin: OTHER_PIN });
      expect(() => anew(home).get('db1')).toThrow(/a\.yaml, line 4: correct one of them/);
      await KnownHosts.of(home).remove('db1');
      for (const text of ['', '{', '{"key":', readFileSync(join(home.state, 'inventory.json'), 'utf8').slice(0, 200)]) {
        writeFileSync(join(home.state, 'inventory.json'), text);
        expect(everything(anew(home))).toEqual(first);
      }
      expect(opens.yaml).toBe(8);
      writeFileSync(join(home.hostsFolder, 'b.yaml'), 'hosts: {c: {url: tls://c}}');
      expect(anew(home).get('c')?.url).toBe('tls://c');
      writeFileSync(join(home.hostsFolder, 'b.yaml'), 'hosts: {c: {}}');
      for (let i = 0; i < 2; i++) expect(() => anew(home).get('c')).toThrow('has no url');
    } finally {
      opens.stop();
      clock.mockRestore();
    }
  });

  test('are not kept while a file has just changed: a second change could look like none', () => {
    const clock = vi.spyOn(Date, 'now').mockReturnValue(Date.now());
    const home = homeWith({ 'a.yaml': CLUSTER });
    expect(anew(home).list()).toHaveLength(202);
    expect(fs.existsSync(join(home.state, 'inventory.json'))).toBe(false);
    clock.mockRestore();
  });
});

describe('a file that is wrong', () => {
  const deep = (open: string) => open.repeat(50_000);
  test.each([
    ['no YAML', 'hosts: {a: [\n', /a\.yaml, line \d: it is not YAML: /],
    ['a tab', 'hosts:\n\ta: {}', /line 2: it is not YAML: tabs are not allowed/],
    ['an @ without quotes', 'groups:\n  a: @b', /line 2: it is not YAML: .*: put it in quotes$/],
    ['two documents', 'hosts: {}\n---\nhosts: {}', /line 2: a second document begins: a file holds one$/],
    ['HTML', '<!DOCTYPE html>\n<html>', /line 1: the whole is the text "<!DOCTYPE html> <html>", not a map$/],
    ['a list', '- a', /line 1: the whole is a list, not a map$/],
    ['an unknown key', 'hosts: {}\nhost: {}', /line 2: an inventory has no key "host": it has hosts, groups$/],
    ['a key twice', 'hosts: {}\nhosts: {}', /line 2: an inventory has the key "hosts" twice, first in line 1$/],
    ['hosts as a list', 'hosts:\n  - a', /line 2: hosts is a list, not a map$/],
    [
      'a host without url',
      'hosts:\n  web1:\n',
      /line 2: the host "web1" has no url: write for example url: "tls:\/\/\{host\}:7433"$/,
    ],
    ['a host as text', 'hosts: {a: tls://a}', /the host "a" is the text "tls:\/\/a", not a map$/],
    [
      'an unknown key of a host',
      'hosts:\n  a: {url: tls://a,\n    port: 1}',
      /line 3: the host "a" has no key "port": it has url, pin, tags$/,
    ],
    ['a wrong url', 'hosts:\n  a:\n    url: http://a', /line 3: "http:\/\/a" is not an address/],
    ['a url without quotes', 'hosts: {a: {url: {host}}}', /line 1: url is a map, not text: put it in quotes$/],
    ['a wrong pin', 'hosts: {a: {url: tls://a, pin: x}}', /line 1: "?x"? is not a fingerprint/],
    [
      'one pin for several',
      `hosts: {"a[1-2]": {url: "tls://{host}", pin: "${PIN}"}}`,
      /one pin stands for 2 hosts: each machine has its own$/,
    ],
    [
      'a pin for unix',
      `hosts: {a: {url: "unix:/a", pin: "${PIN}"}}`,
      /has a pin, but a unix: address has none: remove it$/,
    ],
    ['tags as a list', 'hosts: {a: {url: tls://a, tags: [x]}}', /tags is a list, not a map$/],
    ['a tag as a map', 'hosts: {a: {url: tls://a, tags: {x: {}}}}', /the tag "x" is a map, not text/],
    ['a wrong tag', 'hosts: {a: {url: tls://a, tags: {x: "a b"}}}', /"x=a b" is not a tag/],
    ['a reserved name', 'hosts: {all: {url: tls://a}}', /"all" is reserved/],
    ['a wrong name', 'hosts: {"-a": {url: tls://a}}', /"-a" cannot name a host/],
    ['the name __proto__', 'hosts: {__proto__: {url: tls://a}}', /"__proto__" cannot name a host/],
    ['an empty set', 'hosts: {"a!a": {url: tls://a}}', /"a!a" names no host$/],
    [
      'a wrong set',
      'hosts:\n  "a[3-1]": {url: tls://a}',
      /line 2: the set "a\[3-1\]" is wrong at character 3: the range 3-1 runs backwards/,
    ],
    ['a group as a name of a host', 'hosts: {"@x": {url: tls://a}}', /"@x" names a group of hosts/],
    [
      'a host twice',
      'hosts:\n  a: {url: tls://a}\n  b: {url: tls://b}\n  a: {url: tls://c}',
      /line 4: a stands in line 2 already: remove one of them$/,
    ],
    [
      'a host in two sets',
      'hosts:\n  "a[1-3]": {url: tls://a}\n  "a[3-5]": {url: tls://b}',
      /line 3: a3 stands in line 2 already/,
    ],
    ['a group twice', 'groups:\n  a: x\n  a: y', /line 3: the group "a" stands in line 2 already/],
    ['a wrong name of a group', 'groups:\n  "a b": x', /line 2: "a b" cannot name a group/],
    ['a group as a map', 'groups:\n  a: {b: c}', /line 2: the group "a" is a map, not text: put it in quotes$/],
    [
      'a wrong group',
      'groups:\n  a: "x,,y"',
      /line 2: the set "x,,y" is wrong at character 3: a name is missing between/,
    ],
    [
      'a group that holds itself',
      'groups:\n  a: "x,@a"',
      /line 2: the group @a holds itself \(@a in @a\): remove it from one of them$/,
    ],
    [
      'groups that hold each other',
      'groups:\n  x: "@a"\n  a: "n[1-2],@b"\n  b: "c,@a"',
      /line 3: the group @a holds itself \(@a in @b in @a\)/,
    ],
    [
      'groups nested too deep',
      `groups:\n${Array.from({ length: 102 }, (_, i) => `  g${i}: "@g${i + 1}"`).join('\n')}`,
      /line 102: the group @g100 is nested more than 100 levels deep$/,
    ],
    ['flow nested too deep', deep('['), /line 1: it is nested more than 100 levels deep$/],
    ['maps nested too deep', deep('{a: '), /line 1: it is nested more than 100 levels deep$/],
    ['lists nested too deep', `${deep('- ')}a`, /line 1: it is nested more than 100 levels deep$/],
    ['an unknown alias', 'hosts: *x', /line 1: (?:it is not YAML|an alias)/],
    [
      'aliases that multiply',
      `a: &a [x,x,x,x,x,x,x,x,x,x]\n${'bcdefghij'.replace(/./g, (c, i: number) => `${c}: &${c} [${`*${'abcdefghij'[i]},`.repeat(10)}]\n`)}`,
      /its aliases \(\*name\) make it too large$/,
    ],
    ['a key that is a list', '? [a]\n: b', /line 1: a key is not text: put it in quotes$/],
    [
      'more hosts than the limit',
      'hosts:\n  "a[1-100001]": {url: tls://a}',
      /line 2: the inventories name too many hosts \(maxHosts, SENDALL_INVENTORY_MAX_HOSTS\)$/,
    ],
    [
      'far more hosts than the limit',
      'hosts:\n  "a[1-999999999999]": {url: tls://a}',
      /line 2: the inventories name too many hosts/,
    ],
  ])('(%s) is an error with file and line', (_, text, message) => {
    const hosts = hostsOf(text);
    for (const ask of [() => hosts.list(), () => hosts.get('zz'), () => hosts.at('tls://zz')]) {
      expect(ask).toThrow(UsageError);
      expect(ask).toThrow(message);
      expect(ask).toThrow(/\/hosts\.d\/a\.yaml, line \d+: /);
    }
  });

  test('says so also for a paired host', async () => {
    const home = homeWith({ 'a.yaml': 'hosts: [' });
    await KnownHosts.of(home).add({ name: 'web1', url: 'tls://a', pin: PIN });
    await expect(connect('web1', { home })).rejects.toThrow(/a\.yaml, line 1: it is not YAML/);
  });

  test('is named with the other file that states the same host or group', () => {
    const two = (a: string, b: string) => AllHosts.of(homeWith({ 'a.yaml': a, 'b.yaml': b }));
    expect(() => two('hosts:\n  x: {url: tls://x}', 'hosts: {"x": {url: tls://x}}').list()).toThrow(
      /b\.yaml, line 1: x stands in .*\/a\.yaml, line 2 already: remove one of them$/,
    );
    expect(() => two('groups: {g: x}', 'groups: {g: y}').list()).toThrow(
      /b\.yaml, line 1: the group "g" stands in .*a\.yaml, line 1 already/,
    );
    expect(() => two('groups: {a: "@b"}', 'groups: {b: "@a"}').list()).toThrow(/the group @a holds itself/);
    expect(() => two('hosts: {"a[1-60000]": {url: tls://a}}', 'hosts: {"b[1-60000]": {url: tls://a}}').list()).toThrow(
      /too many hosts/,
    );
  });

  test('that another user may change, a folder, or a file of no kind we know is refused by name', () => {
    const home = homeWith({ 'a.yaml': '' });
    chmodSync(join(home.hostsFolder, 'a.yaml'), 0o646);
    expect(() => AllHosts.of(home).list()).toThrow(
      /a\.yaml can be changed by other users \(mode 646\): chmod go-w it$/,
    );
    const folderInside = homeWith();
    mkdirSync(join(folderInside.hostsFolder, 'a.yaml'));
    expect(() => AllHosts.of(folderInside).list()).toThrow(/a\.yaml is not a plain file/);
    const other = homeWith({ 'hosts.txt': 'x', '.hidden': '', 'a.yaml~': 'x', 'b.yaml.bak': 'x' });
    expect(() => AllHosts.of(other).list()).toThrow(/hosts\.txt is neither a file \*\.yaml nor a program: /);
    const noFolder = homeWith();
    rmSync(noFolder.hostsFolder, { recursive: true });
    writeFileSync(noFolder.hostsFolder, '');
    expect(() => AllHosts.of(noFolder).list()).toThrow(/hosts\.d cannot be read \(ENOTDIR\)/);
  });

  rootTest('that belongs to another user is refused', () => {
    const home = homeWith({ 'a.yaml': '' });
    fs.chownSync(join(home.hostsFolder, 'a.yaml'), 12_345, 0);
    expect(() => AllHosts.of(home).list()).toThrow(/a\.yaml belongs to user 12345, not to you \(0\)/);
  });

  test('behind a link is read, if no other user may change it', () => {
    const home = homeWith();
    const elsewhere = mkdtempSync(join(folder, 'elsewhere-'));
    writeFileSync(join(elsewhere, 'hosts'), 'hosts: {a: {url: tls://a}}');
    symlinkSync(join(elsewhere, 'hosts'), join(home.hostsFolder, 'a.yaml'));
    expect(AllHosts.of(home).get('a')?.url).toBe('tls://a');
    chmodSync(elsewhere, 0o777);
    const again = homeWith();
    symlinkSync(join(elsewhere, 'hosts'), join(again.hostsFolder, 'a.yaml'));
    expect(() => AllHosts.of(again).list()).toThrow(/elsewhere-\w+ can be changed by other users \(mode 777\)/);
  });

  test('has limits with names', () => {
    const home = homeWith({ 'a.yaml': CLUSTER });
    expect(() => AllHosts.of(home, { maxBytes: 100 }).list()).toThrow(
      /a\.yaml has \d+ bytes, more than 100 \(maxBytes, SENDALL_INVENTORY_MAX_BYTES\)$/,
    );
    expect(() => AllHosts.of(home, { maxHosts: 199 }).list()).toThrow(
      /line 3: the inventories name too many hosts \(maxHosts/,
    );
    expect(AllHosts.of(home, { maxHosts: 202 }).list()).toHaveLength(202);
    expect(() => AllHosts.of(home, { maxHost: 1 } as object)).toThrow('there is no inventory option "maxHost"');
    expect(() => AllHosts.of(home, { maxHosts: 0 })).toThrow(
      /^maxHosts, SENDALL_INVENTORY_MAX_HOSTS: 0 is not a whole number/,
    );
    vi.stubEnv('SENDALL_INVENTORY_TIMEOUT', 'soon');
    expect(() => AllHosts.of(home)).toThrow(
      /^timeout, SENDALL_INVENTORY_TIMEOUT: "soon" is not a number of milliseconds/,
    );
    vi.unstubAllEnvs();
  });
});

test('any text is either read, or an error of ours that names the file', () => {
  const piece = fc.oneof(
    fc.constantFrom(
      'hosts:',
      'groups:',
      '\n',
      '  ',
      'a',
      'web[1-3]',
      ': ',
      '{',
      '}',
      '[',
      ']',
      'url: tls://a',
      '"',
      "'",
      '&x ',
      '*x',
      '- ',
      '? ',
      '!!',
      '|',
      '>',
      '%',
      '#',
      '@',
      '---',
      '\t',
      ',',
    ),
    fc.string({ maxLength: 4 }),
  );
  const home = homeWith();
  const path = join(home.hostsFolder, 'a.yaml');
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 40 }), (pieces) => {
      writeFileSync(path, pieces.join(''));
      try {
        const hosts = AllHosts.of(home, { maxHosts: 1000 + homes++ });
        expect(hosts.list().length + hosts.groups().size).toBeGreaterThanOrEqual(0);
      } catch (error) {
        expect(error).toBeInstanceOf(UsageError);
        expect((error as Error).message).toContain(path);
      }
    }),
    { numRuns: 400 },
  );
  expect(readFileSync(path, 'utf8')).toBeTypeOf('string');
});
