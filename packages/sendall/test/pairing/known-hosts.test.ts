import { execFile } from 'node:child_process';
import { chmodSync, existsSync, readFileSync, statSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import { checkHostName } from '../../dist/client/inventory.js';
import { KnownHosts, parseTag } from '../../dist/client/known-hosts.js';
import { filesOf, newHome } from './support.js';

const pin = `SHA256:${'k'.repeat(43)}`;
const otherPin = `SHA256:${'m'.repeat(43)}`;
const url = 'tls://web1:7433';

describe('known hosts', () => {
  test('are kept in a file for this user alone', async () => {
    const home = newHome();
    const hosts = KnownHosts.of(home);
    expect(hosts.list()).toEqual([]);
    const added = await hosts.add({ name: 'web1', url, pin, tags: { role: 'web' } });
    await hosts.add({ name: 'db.1', url: 'tls://[::1]:9', pin: otherPin });
    expect(added).toMatchObject({ name: 'web1', url, pin, tags: { role: 'web' } });
    expect(KnownHosts.of(home).get('web1')).toEqual(added);
    expect(hosts.list().map(({ name }) => name)).toEqual(['db.1', 'web1']);
    expect(statSync(home.hostsFile).mode & 0o777).toBe(0o600);
    expect(filesOf(home)).toEqual(['hosts.json']);
  });

  test('are removed, tagged and paired anew; tags stay', async () => {
    const hosts = KnownHosts.of(newHome());
    await hosts.add({ name: 'web1', url, pin, tags: { role: 'web' } });
    await hosts.set('web1', { 机房: '北京', role: 'db' });
    expect(hosts.get('web1')?.tags).toEqual({ role: 'db', 机房: '北京' });
    expect(await hosts.pair({ name: 'web1', url: 'tls://new:1', pin: otherPin })).toMatchObject({ url, pin });
    expect(hosts.get('web1')).toMatchObject({ url: 'tls://new:1', pin: otherPin, tags: { role: 'db', 机房: '北京' } });
    await hosts.remove('web1');
    expect(hosts.list()).toEqual([]);
  });

  test('that do not exist, or exist already, are named in the error', async () => {
    const hosts = KnownHosts.of(newHome());
    await hosts.add({ name: 'web1', url, pin });
    await expect(hosts.add({ name: 'web1', url, pin: otherPin })).rejects.toThrow(/"web1" is known already/);
    await expect(hosts.remove('web2')).rejects.toThrow(/there is no host "web2"/);
    await expect(hosts.set('web2', {})).rejects.toThrow(/there is no host "web2"/);
    expect(hosts.get('web1')?.pin).toBe(pin);
    expect(hosts.get('constructor')).toBeUndefined();
  });

  test('with a bad address, pin or tag are not added', async () => {
    const home = newHome();
    const hosts = KnownHosts.of(home);
    await expect(hosts.add({ name: 'a', url: 'http://x', pin })).rejects.toThrow(/is not an address/);
    await expect(hosts.add({ name: 'a', url, pin: 'SHA256:x' })).rejects.toThrow(/is not a fingerprint/);
    await expect(hosts.add({ name: 'a', url, pin, tags: { 'a b': 'c' } })).rejects.toThrow(/is not a tag/);
    expect(existsSync(home.hostsFile)).toBe(false);
  });

  test('added by many processes at once are all kept', async () => {
    const home = newHome();
    const program = fileURLToPath(new URL('../dist/add-hosts.js', import.meta.url));
    const names = Array.from({ length: 5 }, (_, i) => `p${i}`);
    await Promise.all(
      names.map((name) =>
        promisify(execFile)(process.execPath, [program, name, '20'], { env: { SENDALL_HOME: home.config } }),
      ),
    );
    expect(KnownHosts.of(home).list()).toHaveLength(100);
    expect(filesOf(home)).toEqual(['hosts.json']);
  });

  test('can be changed after a process died while changing them', async () => {
    const home = newHome();
    writeFileSync(`${home.hostsFile}.lock`, '');
    utimesSync(`${home.hostsFile}.lock`, new Date(0), new Date(0));
    await KnownHosts.of(home).add({ name: 'web1', url, pin });
    expect(filesOf(home)).toEqual(['hosts.json']);
  });
});

describe('a hosts file that is wrong', () => {
  const entry = { url, pin, tags: {}, addedAt: '' };
  test.each([
    ['no JSON', '{"web1":', /hosts\.json is not JSON/],
    ['nothing', '', /hosts\.json is not JSON/],
    ['a list', '[]', /does not hold records by name/],
    ['null', 'null', /does not hold records by name/],
    ['a bad name', JSON.stringify({ 'a b': entry }), /the entry "a b" is wrong: "a b" cannot name a host/],
    ['the name __proto__', '{"__proto__":{}}', /"__proto__" cannot name a host/],
    ['an entry that is no object', '{"a":1}', /the entry "a" is wrong: it is not an object/],
    ['no address', JSON.stringify({ a: { ...entry, url: undefined } }), /it has no url/],
    ['a bad address', JSON.stringify({ a: { ...entry, url: 'x' } }), /"x" is not an address/],
    ['no pin', JSON.stringify({ a: { ...entry, pin: undefined } }), /it has no pin/],
    ['a bad pin', JSON.stringify({ a: { ...entry, pin: 'x' } }), /"x" is not a fingerprint/],
    ['bad tags', JSON.stringify({ a: { ...entry, tags: [] } }), /its tags are not an object/],
  ])('(%s) is reported, and left unchanged', async (_, text, message) => {
    const home = newHome();
    writeFileSync(home.hostsFile, text, { mode: 0o600 });
    const hosts = KnownHosts.of(home);
    expect(() => hosts.list()).toThrow(message);
    await expect(hosts.add({ name: 'web2', url, pin })).rejects.toThrow(message);
    expect(readFileSync(home.hostsFile, 'utf8')).toBe(text);
    expect(filesOf(home)).toEqual(['hosts.json']);
  });

  test('is not read when others may write it, nor through a link', async () => {
    const home = newHome();
    const hosts = KnownHosts.of(home);
    await hosts.add({ name: 'web1', url, pin });
    chmodSync(home.hostsFile, 0o666);
    expect(() => hosts.get('web1')).toThrow(/open to other users \(mode 666\)/);
    chmodSync(home.hostsFile, 0o600);
    const linked = newHome();
    symlinkSync(home.hostsFile, linked.hostsFile);
    expect(() => KnownHosts.of(linked).list()).toThrow(/is a symbolic link/);
  });
});

test('names of hosts are letters, digits, dots, dashes and underscores', () => {
  for (const good of ['a', 'web-01.example.org', '9', 'A_b', 'a'.repeat(63)]) expect(checkHostName(good)).toBe(good);
  for (const bad of ['', '-a', '.a', 'a b', 'a/b', 'a\n', 'é', 'a'.repeat(64)])
    expect(() => checkHostName(bad)).toThrow(/cannot name a host/);
  for (const word of ['local', 'all']) expect(() => checkHostName(word)).toThrow(/is reserved/);
});

test('a tag is NAME=VALUE', () => {
  expect(parseTag('role=web')).toEqual(['role', 'web']);
  expect(parseTag('role=')).toEqual(['role', '']);
  expect(parseTag('地域=华东/1')).toEqual(['地域', '华东/1']);
  for (const bad of ['role', '=x', '1=x', 'a b=c', 'a=b c', 'a=b,c', '__proto__=x', `a=${'b'.repeat(129)}`])
    expect(() => parseTag(bad)).toThrow(/is not a tag/);
});
