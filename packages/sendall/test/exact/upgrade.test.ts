import { expect, test } from 'vitest';
import { Machine, otherVersion, output } from './machine.js';
import { alive } from '../../../../test/support/alive.js';
import { until } from '../../../../test/support/waits.js';

const OLD = '0.0.9';

test('an old keeper without commands makes room for the new one at once', async () => {
  const machine = await Machine.start({ program: otherVersion(OLD) });
  const host = await machine.connect();
  const old = await machine.status();
  expect(old).toMatchObject({ version: OLD, keeperVersion: OLD });
  const before = await host.sh('echo before; exit 3', { reject: false });
  expect((await output(machine.spawn('agent', 'restart'))).code).toBe(0);
  await until(async () => (await machine.status()).keeperVersion !== OLD, 'the new keeper', 40_000);
  await until(() => !alive(old.keeperPid!), 'the end of the old one');
  expect((await host.run(['echo', 'new'])).stdout).toBe('new\n');
  expect(await host.attach(before.runId).nothrow()).toMatchObject({ code: 3, stdout: 'before\n' });
});

test('one with commands goes on with them, takes new ones, and makes room when they have ended', async () => {
  const machine = await Machine.start({ program: otherVersion(OLD) });
  const host = await machine.connect();
  const { keeperPid: old } = await machine.status();
  const sleeper = host.run(['sleep', '600'], { reject: false });
  const cat = host.run(['cat'], { stdin: 'pipe', reject: false });
  await Promise.all([sleeper.started, cat.started]);
  expect((await output(machine.spawn('agent', 'restart'))).code).toBe(0);
  const status = await machine.status();
  expect(status).toMatchObject({ keeperPid: old, keeperVersion: OLD, runs: 2 });
  expect(status.version).not.toBe(OLD);
  const late = await host.sh('echo late; exit 7', { reject: false });
  expect(late).toMatchObject({ code: 7, stdout: 'late\n' });
  cat.stdin.end('over the upgrade');
  expect((await cat).stdout).toBe('over the upgrade');
  expect((await machine.status()).keeperPid).toBe(old);
  await sleeper.cancel();
  expect((await sleeper).outcome).toBe('cancelled');
  // It ends with its last command, and the next one takes over its knowledge.
  await until(async () => (await machine.status()).keeperVersion === status.version, 'the new keeper', 40_000);
  await until(() => !alive(old!), 'the end of the old one');
  expect(await host.attach(late.runId).nothrow()).toMatchObject({ code: 7, stdout: 'late\n' });
  expect(await host.attach(cat.runId).nothrow()).toMatchObject({ code: 0, stdout: 'over the upgrade' });
  expect((await host.run(['echo', 'new'])).stdout).toBe('new\n');
});

test('commands opened while the keepers change start once each', async () => {
  const machine = await Machine.start({ program: otherVersion(OLD) });
  const host = await machine.connect();
  const sleeper = host.run(['sleep', '600'], { reject: false });
  await sleeper.started;
  expect((await output(machine.spawn('agent', 'restart'))).code).toBe(0);
  const runs = Array.from({ length: 200 }, (_, i) => {
    if (i === 100) void sleeper.cancel();
    return host.sh(`mkdir ${machine.home.state}/once-${i} && echo ${i}`, { reject: false });
  });
  expect((await Promise.all(runs)).map(({ stdout }) => stdout)).toEqual(runs.map((_, i) => `${i}\n`));
  await until(async () => (await machine.status()).keeperVersion !== OLD, 'the new keeper', 40_000);
});
