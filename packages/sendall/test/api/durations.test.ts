import { assert, constantFrom, nat, property } from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { connect, fleet, openAgent, readDuration, testHosts, type Duration, type Host } from 'sendall';
import { ownAgent, type OwnAgent } from './own-agent.js';

let own: OwnAgent;
let host: Host;
beforeAll(async () => {
  own = await ownAgent();
  host = own.host;
});
afterAll(() => own[Symbol.asyncDispose]());

test.each([
  ['500ms', 500],
  ['30s', 30_000],
  ['1.5m', 90_000],
  ['2h', 7_200_000],
  ['1d', 86_400_000],
  ['1.1s', 1100],
  ['0s', 0],
  ['0.2ms', 1],
  [0.2, 1],
  [7, 7],
])('%j is a time', (time, milliseconds) => {
  expect(readDuration(time)).toBe(milliseconds);
});

test.each([
  '30',
  '',
  's',
  '-1s',
  '1e3s',
  ' 1s',
  '1s ',
  '1 s',
  '1S',
  '1h30m',
  '.5s',
  '5.s',
  'Infinitys',
  '9007199254740992s',
])('%j is none', (time) => expect(readDuration(time)).toBeUndefined());

test('any whole number with a unit is that many units', () => {
  assert(
    property(nat(100_000), constantFrom('ms', 's', 'm', 'h', 'd'), (count, unit) => {
      const each = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }[unit]!;
      return readDuration(`${count}${unit}`) === count * each;
    }),
  );
});

test('times of a run, its calls, connect, fleet and agents may be text', async () => {
  const { home } = own;
  await expect(host.run(['sleep', '60'], { timeout: '0.1s' })).rejects.toMatchObject({ code: 'TIMEOUT' });
  await expect(host.run(['sleep', '60'], { idleTimeout: '100ms', killGrace: '1s' })).rejects.toMatchObject({
    code: 'IDLE',
  });
  const run = host.run(['sleep', '60'], {
    keep: '1h',
    startWithin: '1m',
    giveUpAfter: '10m',
    onDisconnect: { termAfter: '5m' },
    reject: false,
  });
  await run.started;
  await run.cancel({ grace: '0s' });
  expect((await run).outcome).toBe('cancelled');
  const other = await connect('local', { home, timeout: '1m', giveUpAfter: '1m', pingInterval: '15s' });
  await other.close();
  expect((await fleet('local', { home, timeout: '1m' }).run(['true'], { pause: '1s', timeout: '1m' })).ok).toBe(true);
  await using hosts = await testHosts(1, { giveUpAfter: '30s', pingDeadline: '2s' });
  expect((await hosts.hosts[0]!.run(['echo', 'x'])).stdout).toBe('x\n');
});

test('a time beyond what one timer of Node can hold is not over at once', async () => {
  const { home } = own;
  for (const options of [{ timeout: '60d' }, { timeout: '25d', retryFor: '60d' }] as const) {
    await using patient = await connect('local', { home, ...options });
    expect((await patient.run(['echo', 'x'])).stdout).toBe('x\n');
  }
});

test('an invalid time is refused by name everywhere', async () => {
  const { home } = own;
  const wrong = '5 minutes' as Duration;
  expect(() => host.run(['true'], { timeout: wrong })).toThrow(/^timeout: "5 minutes" is not a number of milliseconds/);
  expect(() => host.run(['true'], { onDisconnect: { termAfter: wrong } })).toThrow(/^onDisconnect: /);
  await expect(connect('local', { home, timeout: wrong })).rejects.toThrow(/^timeout: "5 minutes" is not/);
  await expect(openAgent({ home, keeperIdleExit: wrong })).rejects.toThrow(/^keeperIdleExit: "5 minutes" is not/);
  await expect(testHosts(1, { giveUpAfter: wrong })).rejects.toThrow(/^giveUpAfter: "5 minutes" is not/);
});
