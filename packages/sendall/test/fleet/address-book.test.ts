/** Names and keys of hosts: read once a process, looked up at each dial, or brought along by the caller. */
import { execFile } from 'node:child_process';
import fs, { mkdtempSync, writeFileSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import {
  connect,
  fleet,
  KnownHosts,
  openAgent,
  pair,
  RefusedError,
  resolveHome,
  UnreachableError,
  UsageError,
  type Agent,
  type Home,
  type Inventory,
  type InventoryHost,
} from 'sendall';
import { patience } from '../../../../test/support/waits.js';
import { removeHome } from '../remove-home.js';

const PIN = `SHA256:${'k'.repeat(43)}`;

let folder: string;
let agent: Agent;
let url: string;
let agentHome: Home;
let homes = 0;
const newHome = (): Home => resolveHome({ SENDALL_HOME: mkdtempSync(join(folder, `home${++homes}-`)) });

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sendall-book-'));
  agentHome = resolveHome({ SENDALL_HOME: join(folder, 'agent') });
  agent = await openAgent({ home: agentHome, listen: ['tls://127.0.0.1:0'], keeperIdleExit: 200 });
  url = agent.listening.find((each) => each.startsWith('tls:'))!;
});
afterAll(async () => {
  await agent.close();
  await removeHome(agentHome.config, 0);
  await removeHome(folder);
});

/** An address of the loopback at which nothing listens. */
const NOTHING = 'tls://127.0.0.1:1';

/** Counts how often files whose name ends so are opened in this process, until `stop`. */
function countOpens(ending: string): { readonly count: number; stop: () => void } {
  const spy = vi.spyOn(fs, 'openSync');
  syncBuiltinESMExports();
  return {
    get count() {
      return spy.mock.calls.filter(([path]) => String(path).endsWith(ending)).length;
    },
    stop() {
      spy.mockRestore();
      syncBuiltinESMExports();
    },
  };
}

describe('the list of known hosts', () => {
  test('is read once for ten thousand names and hundreds of dials', { timeout: patience(60_000) }, async () => {
    const home = newHome();
    const entry = { url: NOTHING, pin: PIN, tags: {}, addedAt: '' };
    const names = Array.from({ length: 10_000 }, (_, i) => `web${i + 1}`);
    writeFileSync(home.hostsFile, JSON.stringify(Object.fromEntries(names.map((name) => [name, entry]))), {
      mode: 0o600,
    });
    const parse = vi.spyOn(JSON, 'parse');
    const opens = countOpens('hosts.json');
    try {
      const run = fleet('web[1-10000]', { home }).run(['true'], { maxFail: 500 });
      const outcomes: string[] = [];
      for await (const result of run.results()) outcomes.push(result.outcome);
      expect(outcomes.length).toBeGreaterThan(500);
      expect(outcomes.length + run.notStarted.size).toBe(names.length);
      expect(new Set(outcomes)).toEqual(new Set(['unreachable']));
      expect(opens.count).toBe(1);
      expect(parse.mock.calls.filter(([text]) => text.includes('"web9999"'))).toHaveLength(1);
    } finally {
      opens.stop();
      parse.mockRestore();
    }
  });

  test('is one instance a home, so that a change made anywhere in a process is seen everywhere', async () => {
    const home = newHome();
    const known = KnownHosts.of(home);
    expect(KnownHosts.of({ ...home })).toBe(known);
    expect(KnownHosts.of(newHome())).not.toBe(known);
    await expect(connect('web1', { home })).rejects.toThrow(/there is no host "web1"/);
    await known.add({ name: 'web1', url: NOTHING, pin: PIN });
    await expect(connect('web1', { home })).rejects.toThrow(UnreachableError);
    await pair(home, url, { code: agent.issueCode().code, name: 'web1' });
    await using host = await connect('web1', { home });
    expect((await host.run(['echo', 'paired anew'])).stdout).toBe('paired anew\n');
  });

  test('shows what another process changed', async () => {
    const home = newHome();
    const known = KnownHosts.of(home);
    await known.add({ name: 'web1', url, pin: PIN });
    expect(known.get('p-1')).toBeUndefined();
    const program = fileURLToPath(new URL('../dist/add-hosts.js', import.meta.url));
    await promisify(execFile)(process.execPath, [program, 'p', '2'], { env: { SENDALL_HOME: home.config } });
    expect(known.get('p-1')).toMatchObject({ name: 'p-1', url: 'tls://127.0.0.1' });
    expect(fleet('all', { home }).set.toString()).toBe('p-[0-1],web1');
  });

  test('is looked at for each host of a fleet when its turn comes', async () => {
    const home = newHome();
    await pair(home, url, { code: agent.issueCode().code, name: 'web1' });
    const { pin } = KnownHosts.of(home).get('web1')!;
    await KnownHosts.of(home).add({ name: 'web2', url: NOTHING, pin: PIN });
    const outcomes: Record<string, string> = {};
    for await (const { host, outcome } of fleet('web[1-2]', { home }).run(['true'], { batch: 1 }).results()) {
      outcomes[host] = outcome;
      await KnownHosts.of(home).pair({ name: 'web2', url, pin });
    }
    expect(outcomes).toEqual({ web1: 'ok', web2: 'ok' });
  });
});

describe('a resolved host', () => {
  test('is dialled without a list: a known host, or name, url and pin', async () => {
    const home = newHome();
    await pair(home, url, { code: agent.issueCode().code, name: 'web1' });
    const known = KnownHosts.of(home).get('web1')!;
    await KnownHosts.of(home).remove('web1');
    await using host = await connect(known, { home });
    expect(host.id).toBe('web1');
    expect(await host.run(['echo', 'x'])).toMatchObject({ host: 'web1', stdout: 'x\n' });
    await using other = await connect({ name: 'here', url: `unix:${agentHome.agentSocket}` }, { home });
    expect(await other.run(['echo', 'y'])).toMatchObject({ host: 'here', stdout: 'y\n' });
    await expect(connect({ ...known, pin: PIN }, { home })).rejects.toThrow(RefusedError);
  });

  test.each([
    [null, /^the host to connect to: null is not a name, an address, or \{ name, url, pin \}$/],
    [[], /^the host to connect to: an array is not/],
    [{ url: 'tls://a', pin: PIN }, /^name of the host to connect to: null is not a host’s name/],
    [{ name: 'local', url: 'tls://a', pin: PIN }, /^name of the host to connect to: "local" is not/],
    [{ name: 'a\n', url: 'tls://a', pin: PIN }, /^name of the host to connect to: "a\\n" is not/],
    [{ name: 'a', pin: PIN }, /^url of the host to connect to: null is not tls:\/\/HOST:PORT, nats:ID or unix:\/path$/],
    [{ name: 'a', url: 'http://a', pin: PIN }, /^url of the host to connect to: "http:\/\/a" is not/],
    [{ name: 'a', url: 'tls://a' }, /^pin of the host to connect to: null is not a fingerprint/],
    [{ name: 'a', url: 'tls://a', pin: 'x' }, /^pin of the host to connect to: "x" is not a fingerprint/],
    [{ name: 'a', url: 'unix:/a', pin: PIN }, /^pin of the host to connect to: .* a unix: address has no pin$/],
  ])('%j is refused by the field that is wrong', async (host, message) => {
    const dial = connect(host as never, { home: newHome() });
    await expect(dial).rejects.toThrow(UsageError);
    await expect(dial).rejects.toThrow(message);
  });
});

describe('an inventory of the caller', () => {
  const inventory = (...hosts: readonly InventoryHost[]): Inventory => ({
    list: () => hosts,
    get: (name) => hosts.find((host) => host.name === name),
    at: (address) => hosts.find((host) => host.url === address),
  });

  test('stands in the place of the known hosts: names, tags and addresses', async () => {
    const here = `unix:${agentHome.agentSocket}`;
    const own = inventory({ name: 'a1', url: here, tags: { role: 'web' } }, { name: 'b1', url: 'unix:/nowhere' });
    const options = { home: newHome(), inventory: own };
    const { ok, results } = await fleet('@web', options).run(['echo', 'x']);
    expect([ok, results.map(({ host }) => host)]).toEqual([true, ['a1']]);
    await using host = await connect('a1', options);
    expect((await host.run(['true'])).ok).toBe(true);
    await expect(connect('web1', options)).rejects.toThrow(/there is no host "web1"/);
    expect(() => fleet('a1,c1', options)).toThrow(/^c1 is not known/);
  });

  test('with two names of one machine gives each a run of its own', async () => {
    const here = `unix:${agentHome.agentSocket}`;
    const options = { home: newHome(), inventory: inventory({ name: 'a', url: here }, { name: 'b', url: here }) };
    const { results } = await fleet('a,b', options).run(['sh', '-c', 'echo $$']);
    expect(new Set(results.map(({ stdout }) => stdout)).size).toBe(2);
  });

  test('that is none, or holds what is no host, is refused by name', async () => {
    const home = newHome();
    await expect(connect('a', { home, inventory: {} as Inventory })).rejects.toThrow(
      /^inventory: \{\} is not an object with list\(\), get\(\) and at\(\)$/,
    );
    const wrong = inventory({ name: 'a', url: 'tls://a', pin: 'x' });
    await expect(connect('a', { home, inventory: wrong })).rejects.toThrow(/^pin of the host "a": "x" is not/);
  });

  test('may name hosts that are not paired, and groups', async () => {
    const here = `unix:${agentHome.agentSocket}`;
    const own: Inventory = {
      ...inventory({ name: 'a', url: here }, { name: 'b', url: 'tls://b' }),
      groups: () =>
        new Map([
          ['one', 'a'],
          ['both', '@one,b'],
        ]),
    };
    const options = { home: newHome(), inventory: own };
    const { results } = await fleet('@both', options).run(['true']);
    expect(Object.fromEntries(results.map(({ host, outcome }) => [host, outcome]))).toEqual({ a: 'ok', b: 'refused' });
    await expect(connect('b', options)).rejects.toThrow(
      /^b is not paired: .* sendall pair tls:\/\/b --code … --name b$/,
    );
  });
});
