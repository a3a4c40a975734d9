/** Lists of hosts of other tools, read as those tools read them; and ours, written and read again. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { NodeSet, UsageError } from 'sendall';
import { inventoryLimits } from '../../dist/client/inventories/limits.js';
import { convert, FORMATS, type Format } from '../../dist/exchange/formats.js';
import { jsonOf, yamlText } from '../../dist/exchange/our-text.js';
import { askClusterShellFile } from '../fleet/cluster-shell.js';

const limits = inventoryLimits({}, {});
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sendall-exchange-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function imported(text: string, from?: Format, file = '/x/list') {
  const { format, listing, notes, text: ours } = convert({ text, file, folder, from }, limits);
  const lookUp = (word: string): Iterable<string> | undefined => {
    if (word.startsWith('@')) return listing.groups.get(word.slice(1))?.expression ?? [];
    return /[=*?]/.test(word) ? [] : undefined;
  };
  const groups = [...listing.groups.keys()].map((name) => [name, [...new NodeSet(`@${name}`, { lookUp })]] as const);
  return {
    format,
    urls: Object.fromEntries([...listing.hosts].map(([name, { url }]) => [name, url])),
    groups: Object.fromEntries(groups),
    notes,
    ours,
  };
}

const urlOf = (address: string) => `tls://${address.includes(':') ? `[${address}]` : address}:7433`;

interface AnsibleCase {
  readonly name: string;
  readonly text: string;
  readonly addresses: Readonly<Record<string, string>>;
  readonly groups: Readonly<Record<string, readonly string[]>>;
}
/** Inventories as Ansible's documentation has them, and what `ansible-inventory` of ansible-core 2.14.18 makes of each. */
const ansible = JSON.parse(readFileSync(new URL('../fixtures/ansible.json', import.meta.url), 'utf8')) as AnsibleCase[];

describe('an Ansible inventory', () => {
  test.each(ansible)('is read as Ansible reads it: $name', ({ text, addresses, groups }) => {
    for (const from of [undefined, 'ansible'] as const) {
      const found = imported(text, from);
      expect(found).toMatchObject({ format: 'ansible', notes: [] });
      expect(found.urls).toEqual(Object.fromEntries(Object.entries(addresses).map(([name, at]) => [name, urlOf(at)])));
      const sorted = Object.entries(found.groups).map(([name, hosts]) => [
        name,
        [...hosts].sort((a, b) => (a < b ? -1 : 1)),
      ]);
      expect(Object.fromEntries(sorted)).toEqual(groups);
    }
  });

  test('leaves its variables behind, as they may hold secrets', () => {
    const { ours } = imported('[web]\nw1 ansible_password=geheim1 ansible_host=10.0.0.1\n[web:vars]\ntoken=geheim2\n');
    expect(ours).not.toContain('geheim');
    expect(ours).toBe(
      '# From "/x/list" (ansible).\nhosts:\n  w1: {url: "tls://10.0.0.1:7433"}\ngroups:\n  web: "w1"\n',
    );
  });

  test('comes without the names that ours cannot have, and says so', () => {
    const { urls, groups, notes } = imported(
      '2001:db8::1\nlocal\n[web]\nok\nx ansible_host="{{ vault }}"\n',
      'ansible',
    );
    expect(urls).toEqual({ ok: 'tls://ok:7433' });
    expect(groups).toEqual({ web: ['ok'] });
    expect(notes).toEqual([
      expect.stringMatching(/^"2001:db8::1" cannot name a host/),
      expect.stringMatching(/^"local" is reserved/),
      expect.stringMatching(/^"tls:\/\/\{\{ vault \}\}:7433" is not an address/),
    ]);
  });

  test.each([
    ['[web:hostz]\nx', /^\/x\/list, line 1: the section \[web:hostz\] is none of/],
    ['[web\nx', /line 1: "\[web" is no section$/],
    ['[web]\nw[3:1]', /line 2: the range \[3:1\] runs backwards$/],
    ['[web]\nw[1:2:0]', /line 2: the range \[1:2:0\] has a step that is not a number of 1 or more$/],
    ['[web]\nw[01:100]', /line 2: the range \[01:100\] has ends of different widths$/],
    ['[web]\nw[a:9]', /line 2: the range \[a:9\] has ends that are neither numbers nor letters$/],
    ['[web]\nw[1-3]', /line 2: the range \[1-3\] is not BEGIN:END or BEGIN:END:STEP$/],
    ['[web]\nw[1:999999999]', /line 2: the range .* more than a million$/],
    ['[web]\nw[1:1000]n[1:1000]', /line 2: it names too many hosts \(maxHosts/],
    ['[a:children]\nb\n[b:children]\na', /the group @a holds itself/],
    ['all:\n  hosts:\n    a:\n  host:\n', /line 4: the group "all" has no key "host": it has hosts, children, vars$/],
    ['all:\n  hosts:\n    a: 1\n', /line 3: a host's variables are the text "1", not a map$/],
  ])('%j is an error with its place', (text, message) => {
    expect(() => imported(text, 'ansible')).toThrow(UsageError);
    expect(() => imported(text, 'ansible')).toThrow(message);
  });
});

/** The files that ClusterShell installs as examples. */
const FLAT = `# ClusterShell groups config local.cfg
adm: example0
oss: example4 example5
mds: example6
io: example[4-6]
compute: example[32-159]
gpu: example[156-159]
all: example[4-6,32-159]
`;
const SOURCES = `roles:
    adm: 'example0'
    io: '@racks:rack2,example2'
    compute: '@racks:rack[3-4]'
    gpu: '@racks:rack4'
    all: '@io,@compute'
racks:
    rack1: 'example[0,2]'
    rack2: 'example[4-5]'
    rack3: 'example[32-159]'
    rack4: 'example[156-159]'
    old: '@rack[1,3]'
    new: '@rack[2,4]'
    rack5:
        - 'example[200-205]'  # some comment about example[200-205]
        - 'example245'
        - 'example300,example[401-406]'
cpu:
    ivy: 'example[32-63]'
    hsw: '@roles:compute!@ivy'
`;

describe('groups of ClusterShell', () => {
  test.each([
    ['a flat file', 'local.cfg', FLAT, 'local'],
    ['sources in YAML', 'cluster.yaml', SOURCES, 'roles'],
  ])('hold the nodes that ClusterShell finds: %s', (_, file, text, first) => {
    const found = imported(text);
    expect(found).toMatchObject({ format: 'clustershell', notes: [] });
    const names = Object.keys(found.groups);
    const asked = names.map((name) => `@${name.includes(':') ? name : `${first}:${name}`}`);
    const answers = askClusterShellFile(file, text, first, asked);
    expect(names.map((name) => [...found.groups[name]!].sort((a, b) => (a < b ? -1 : 1)))).toEqual(
      answers.map((nodes) => [...nodes].sort((a, b) => (a < b ? -1 : 1))),
    );
    expect(found.urls.example4).toBe('tls://example4:7433');
  });

  test('may stand for all of a source', () => {
    expect(imported("a:\n  x: 'n1'\n  z: '@b:*'\nb:\n  all: 'n[2-3]'\n  q: n4\nc:\n  w: '@a:*!n1'\n").groups).toEqual({
      x: ['n1'],
      z: ['n2', 'n3'],
      'b:all': ['n2', 'n3'],
      'b:q': ['n4'],
      'c:w': ['n2', 'n3'],
      all: ['n1', 'n2', 'n3'],
    });
  });

  test.each([
    ['a: n[3-1]', /^\/x\/list, line 1: the set "n\[3-1\]" is wrong at character 3/],
    ['a: b\nnothing', /line 2/],
    ['a:\n  b: {c: d}', /line 2: the group "b" is a map, not text/],
  ])('%j is an error with its place', (text, message) => {
    expect(() => imported(text, 'clustershell')).toThrow(message);
  });
});

describe('an ssh configuration', () => {
  test('names its hosts without wildcards, each at the HostName that ssh finds', () => {
    mkdirSync(join(folder, 'config.d'), { recursive: true });
    writeFileSync(join(folder, 'config.d/one'), 'Host inner "quoted name" inner2\n  HostName %h.inner.lan\n');
    const text = `# mine
Include config.d/*
Host web1
    HostName 10.0.0.1
    User root
Host web2 web3 !web4 *.test
    HostName=%h.example.org  # not the end
host=db
  hostname db.lan
Match host web5
  HostName wrong
Host v6
  HostName 2001:db8::1
Host plain
Host *.lan
  HostName wrong
Match all
Host *
  HostName fallback
`;
    const { format, urls, groups, notes } = imported(text);
    expect([format, groups]).toEqual(['ssh', {}]);
    expect(urls).toEqual({
      inner: 'tls://inner.inner.lan:7433',
      inner2: 'tls://inner2.inner.lan:7433',
      web1: 'tls://10.0.0.1:7433',
      web2: 'tls://web2.example.org:7433',
      web3: 'tls://web3.example.org:7433',
      db: 'tls://db.lan:7433',
      v6: 'tls://[2001:db8::1]:7433',
      plain: 'tls://fallback:7433',
    });
    expect(notes).toEqual([expect.stringContaining('"quoted name" cannot name a host')]);
  });

  test('that includes itself is an error with its place', () => {
    writeFileSync(join(folder, 'loop'), 'Include loop\n');
    expect(() => imported('Include loop\nHost a\n')).toThrow(
      /loop, line 1: files include each other more than 16 levels deep/,
    );
  });
});

describe('the format of a text', () => {
  test.each<[text: string, format: Format]>([
    ['hosts: {a: {url: tls://a}}', 'yaml'],
    ['groups: {a: b}', 'yaml'],
    ['{"hosts": {}, "groups": {}}', 'yaml'],
    ['a: n1\nhosts: n2', 'clustershell'],
    ['a.example.com\nb.example.com', 'ansible'],
    ['Host *\n  User x\nHost a', 'ssh'],
  ])('%j is told by its content: %s', (text, format) => expect(imported(text).format).toBe(format));

  test.each([
    '<!DOCTYPE html>\n<html>\n<p>x',
    '',
    '- a\n- b',
    'a: {b: {c: d}}',
    '{"a": 1',
    '\u0000\u0001',
    'Lorem ipsum dolor sit.',
  ])('%j is none: the error says how to name it', (text) =>
    expect(() => imported(text)).toThrow(
      /^\/x\/list is not a list of hosts that we know by its content: say what it is with --from yaml\|ansible\|clustershell\|ssh$/,
    ),
  );

  test('is ours with a mistake if it begins so', () => {
    expect(() => imported('hosts:\n  a: {url: [}')).toThrow(/^\/x\/list, line 2: it is not YAML/);
    expect(() => imported('hosts:\n  a: {}')).toThrow(/^\/x\/list, line 2: the host "a" has no url/);
  });

  test('does not matter for an error: any text is read or refused by a sentence that names its file', () => {
    const piece = fc.oneof(
      fc.constantFrom(
        '[web]',
        '[a:children]',
        '\n',
        '  ',
        'w[1:3]',
        'Host ',
        'HostName ',
        'Include x',
        '@a',
        'a:',
        ' ',
        'hosts:',
        'children:',
        '{',
        '}',
        '[',
        ']',
        '"',
        '#',
        ',',
        '!',
        'all',
        '=',
        '- ',
      ),
      fc.string({ maxLength: 4 }),
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 30 }), fc.constantFrom(undefined, ...FORMATS), (pieces, from) => {
        try {
          imported(pieces.join(''), from);
        } catch (error) {
          expect(error).toBeInstanceOf(UsageError);
          expect((error as Error).message).toContain('/x/list');
        }
      }),
      { numRuns: 500 },
    );
  });
});

const name = fc.oneof(
  fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,8}$/),
  fc
    .tuple(fc.constantFrom('web', 'n', 'r1n', 'on', '1e'), fc.nat(120))
    .map(([prefix, number]) => prefix + String(number).padStart(2, '0')),
);
const tags = fc.dictionary(
  fc.stringMatching(/^[A-Za-z北][A-Za-z0-9._-]{0,5}$/),
  fc.stringMatching(/^[A-Za-z0-9北._:/+-]{0,6}$/),
  {
    maxKeys: 3,
    noNullPrototype: true,
  },
);
const host = fc.record(
  {
    url: fc.constantFrom(
      'tls://{host}:7433',
      'tls://{host}.lan:1',
      'tls://10.0.0.1:7433',
      'tls://x-{host}:1',
      'unix:/{host}/a b"\\',
    ),
    tags,
    pin: fc.constantFrom(`SHA256:${'k'.repeat(43)}`, `SHA256:${'m'.repeat(43)}`),
  },
  { requiredKeys: ['url', 'tags'] },
);

test('what is exported is the same when it is imported', () => {
  const all = fc.uniqueArray(fc.tuple(name, host), { maxLength: 30, selector: ([each]) => each });
  const groups = fc.uniqueArray(
    fc.tuple(fc.stringMatching(/^[A-Za-z北_][A-Za-z0-9._:/+-]{0,8}$/), fc.array(name, { maxLength: 5 })),
    {
      maxLength: 5,
      selector: ([each]) => each,
    },
  );
  fc.assert(
    fc.property(all, groups, (hosts, groupWords) => {
      const valid = hosts.filter(([each]) => each !== 'all' && each !== 'local' && each !== '__proto__');
      const written = {
        hosts: new Map(
          valid.map(([each, { url, pin, tags: own }]) => [
            each,
            {
              url: url.replaceAll('{host}', each),
              tags: own,
              ...(pin !== undefined && !url.startsWith('unix:') && { pin }),
            },
          ]),
        ),
        groups: new Map(groupWords.map(([each, words]) => [each, words.join(',')])),
      };
      for (const text of [yamlText(written), JSON.stringify(jsonOf(written))]) {
        const { listing } = convert({ text, file: 'x', folder, from: 'yaml' }, limits);
        const hostsRead = [...listing.hosts].map(
          ([each, { url, pin, tags: own }]) => [each, { url, pin, tags: own }] as const,
        );
        expect(new Map(hostsRead)).toEqual(written.hosts);
        expect(new Map([...listing.groups].map(([each, { expression }]) => [each, expression]))).toEqual(
          written.groups,
        );
      }
    }),
    { numRuns: 300 },
  );
});

test('hosts that differ by their names only are exported as one set', () => {
  const hosts = new Map(
    Array.from({ length: 200 }, (_, i) => [
      `web${String(i + 1).padStart(3, '0')}`,
      { url: `tls://web${String(i + 1).padStart(3, '0')}.lan:7433` },
    ]),
  );
  expect(yamlText({ hosts, groups: new Map() })).toBe('hosts:\n  web[001-200]: {url: "tls://{host}.lan:7433"}\n');
});
