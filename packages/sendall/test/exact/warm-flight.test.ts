/** The first flight of a link that the warm-links process makes for its callers. */
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { connect, KnownHosts, openAgent, resolveHome, type Agent, type Home, type Host } from 'sendall';
import { openWarmLinks } from '../../dist/internal.js';
import { loadIdentity } from '../../dist/keys/identity.js';
import { dialWarm } from '../../dist/link/warm/client.js';
import { patience, until } from '../../../../test/support/waits.js';
import { removeHome } from '../remove-home.js';
import { asLocal, Relay } from './relay.js';

const folder = mkdtempSync(join(tmpdir(), 'sendall-warm-flight-'));
let homes = 0;
const newHome = (): Home => {
  const home = join(folder, `home-${++homes}`);
  mkdirSync(home, { mode: 0o700 });
  writeFileSync(join(home, '.sendall'), '', { mode: 0o600 });
  return resolveHome({ SENDALL_HOME: home });
};

const machine = newHome();
let agent: Agent;
beforeAll(async () => {
  agent = await openAgent({ home: machine, keeperIdleExit: 200 });
});
afterAll(async () => {
  await using host = await connect('local', { home: machine });
  await host.ask('stop', { runs: true });
  await agent.close();
  await removeHome(machine.state);
  await removeHome(folder);
});

/** How often this run has started. */
async function starts(runId: string): Promise<number> {
  await using host = await connect('local', { home: machine });
  let count = 0;
  for await (const run of host.runs({ all: true })) if (run.runId === runId && run.startMs !== undefined) count++;
  return count;
}

/** A user with a warm-links process, and the host web1 behind a relay. */
async function site() {
  const home = newHome();
  // The user's own key, as after pairing, and the host's.
  await loadIdentity(home, { create: true });
  const identity = await loadIdentity(newHome(), { create: true });
  const relay = await Relay.overTls(machine.agentSocket, identity);
  await KnownHosts.of(home).add({ name: 'web1', url: relay.url, pin: identity.fingerprint });
  const warm = await openWarmLinks(home);
  onTestFinished(() => warm.close());
  const host = async (early = true): Promise<Host> => {
    const connected = await connect('web1', { home, early, share: () => undefined });
    onTestFinished(() => connected.close());
    return connected;
  };
  return { home, relay, warm, host };
}

/** The same, after a link of before, which is gone. */
async function acquainted() {
  const all = await site();
  await (await all.host(false)).close();
  const before = all.relay.connections.length;
  all.relay.cut();
  await until(async () => (await all.warm.status()).links.length === 0, 'the end of the link');
  expect(before).toBe(1);
  return all;
}

test('a command leaves before the host has let the process in', async () => {
  const { relay, host } = await acquainted();
  relay.hold();
  const run = (await host()).run(['echo', 'hello']);
  await until(() => relay.types.includes('OPEN'), 'the flight');
  expect(relay.types).toEqual(['HELLO', 'AUTH', 'OPEN']);
  relay.release();
  expect((await run).stdout).toBe('hello\n');
  expect(relay.opens).toHaveLength(1);
});

test('the commands of several callers leave so, each with its own output', async () => {
  const { relay, host } = await acquainted();
  relay.hold();
  const hosts = await Promise.all(Array.from({ length: 8 }, () => host()));
  const runs = hosts.map((each, n) => each.run(['sh', '-c', `cat; echo ${n}`], { stdin: `${n} ` }));
  await until(() => relay.opens.length === 8, 'the flight');
  relay.release();
  const outputs = (await Promise.all(runs)).map(({ stdout }) => stdout);
  expect(outputs).toEqual(hosts.map((_, n) => `${n} ${n}\n`));
  expect(relay.connections).toHaveLength(2);
});

test('a host that nothing is remembered of, and a warm one, are waited for', async () => {
  const { relay, host } = await site();
  relay.hold();
  const connecting = host();
  await until(() => relay.types.includes('AUTH'), 'AUTH');
  relay.release();
  // Only after AUTH_OK.
  expect((await connecting).info.roles).toEqual(['owner']);
  expect((await host()).info.roles).toEqual(['owner']);
  expect(relay.connections).toHaveLength(1);
});

test('a flight whose link is cut is sent again, and its command starts once', async () => {
  const { home, relay, host } = await acquainted();
  const file = join(home.state, 'starts');
  for (let i = 1; i <= 10; i++) {
    relay.hold();
    const before = relay.connections.length;
    const caller = await host();
    const run = caller.sh(`echo >> ${file}`);
    await until(() => relay.connections.length > before && relay.types.includes('OPEN'), 'the flight');
    // Some of these OPENs have reached the agent by now, and some have not.
    relay.cut();
    relay.release();
    expect((await run).ok).toBe(true);
    await caller.close();
    relay.cut();
    expect(readFileSync(file)).toHaveLength(i);
  }
});

test('the process may end before the host has let it in: the command starts once', async () => {
  const { relay, warm, host } = await acquainted();
  relay.hold();
  const run = (await host()).run(['echo', 'direct']);
  await until(() => relay.types.includes('OPEN'), 'the flight');
  await warm.close();
  relay.release();
  expect((await run).stdout).toBe('direct\n');
  expect(await starts(run.runId)).toBe(1);
});

test('the end of a link that was closed leaves the next one in its place', async () => {
  const { home, warm } = await site();
  const { url, pin } = KnownHosts.of(home).get('web1')!;
  const closed = await warm.linkTo({ url, pin });
  expect(await warm.closeLinksTo(url)).toBe(1);
  // Before the first one has ended.
  const next = warm.linkTo({ url, pin });
  await until(() => closed.link.closed, 'the end of the first link');
  expect(await warm.linkTo({ url, pin })).toBe(await next);
  expect(await warm.closeLinksTo(url)).toBe(1);
});

test('a caller that comes while the process ends gets none of its links', async () => {
  const { home, warm } = await site();
  const { url, pin } = KnownHosts.of(home).get('web1')!;
  await warm.linkTo({ url, pin });
  const dialled = dialWarm(home, { url, pin }, { timeoutMs: patience(5000) });
  await warm.close();
  expect(await dialled).toBeUndefined();
});

test('behind a refused AUTH the run is refused, and nothing starts', async () => {
  const { relay, host } = await acquainted();
  relay.fromCaller = (message) => (message.type === 'AUTH' ? { ...message, method: 'charm' } : message);
  const run = (await host()).run(['echo', 'never'], { reject: false });
  expect((await run).outcome).toBe('refused');
  expect(await starts(run.runId)).toBe(0);
});

test('an agent that takes no flights is asked again without one', async () => {
  const { relay, host } = await acquainted();
  relay.hold();
  relay.fromCaller = (message, connection) => {
    if (message.type !== 'OPEN' || connection !== relay.connections[1]) return asLocal(message, connection);
    const text = 'OPEN is not accepted before AUTH_OK';
    connection.answer({ type: 'LINK_ERROR', alias: 0, code: 'PROTOCOL', message: text });
    return undefined;
  };
  const run = (await host()).run(['echo', 'at last']);
  await until(() => relay.connections.length === 3, 'another link');
  relay.release();
  expect((await run).stdout).toBe('at last\n');
  expect(await starts(run.runId)).toBe(1);
});
