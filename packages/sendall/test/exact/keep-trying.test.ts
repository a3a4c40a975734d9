/** How long a caller tries to reach a host: once, or for as long as --connect-timeout says. */
import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { afterAll, expect, onTestFinished, test } from 'vitest';
import { connect, fleet, RefusedError, resolveHome, UnreachableError, type DialEvent } from 'sendall';
import { until } from '../../../../test/support/waits.js';
import { removeHome } from '../remove-home.js';
import { Machine, output } from './machine.js';
import { Relay } from './relay.js';

const folder = mkdtempSync(join(tmpdir(), 'sendall-trying-'));
afterAll(() => removeHome(folder));
let homes = 0;
const newHome = () => resolveHome({ SENDALL_HOME: join(folder, `home-${++homes}`) });

/** Counts the dials of this process, or those to one host, that have failed, until the test ends. */
function failedDials(of?: string): { count: number } {
  const failed = { count: 0 };
  const onDial = (event: unknown) => {
    const { host, state } = event as DialEvent;
    if (state === 'failed' && host === (of ?? host)) failed.count += 1;
  };
  subscribe('sendall:dial', onDial);
  onTestFinished(() => void unsubscribe('sendall:dial', onDial));
  return failed;
}

test('--connect-timeout rides over a restart of the agent; without it one dial decides', async () => {
  const machine = await Machine.start();
  await machine.killAgent();
  const once = await output(machine.spawn('run', 'local', '--', 'echo', 'here'));
  expect([once.code, once.stdout.toString()]).toEqual([201, '']);
  const patient = output(machine.spawn('run', '--connect-timeout', '10m', 'local', '--', 'echo', 'here'));
  const listing = output(machine.spawn('ps', '--connect-timeout', '10m', 'local'));
  await machine.startAgent();
  expect((await patient).stdout.toString()).toBe('here\n');
  expect((await listing).code).toBe(0);
});

test('a dial is tried again until the host is there', async () => {
  const machine = await Machine.start();
  await machine.killAgent();
  const failed = failedDials();
  const connecting = machine.connect({ retryFor: '10m' });
  await until(() => failed.count >= 3, 'three failed dials');
  await machine.startAgent();
  expect((await (await connecting).run(['echo', 'here'])).stdout).toBe('here\n');
});

test('it ends with the reason of the last dial when the time is over', async () => {
  const failed = failedDials();
  const connecting = connect(`unix:${join(folder, 'nothing.sock')}`, { home: newHome(), retryFor: 300 });
  await expect(connecting).rejects.toThrow(UnreachableError);
  expect(failed.count).toBeGreaterThan(1);
});

test('an abort ends it at once, with its reason', async () => {
  const failed = failedDials();
  const abort = new AbortController();
  const { signal } = abort;
  const connecting = connect(`unix:${join(folder, 'nothing.sock')}`, { home: newHome(), retryFor: '10m', signal });
  await until(() => failed.count > 0, 'a failed dial');
  abort.abort(new Error('enough'));
  await expect(connecting).rejects.toThrow('enough');
});

test('a refusal is final', async () => {
  const machine = await Machine.start();
  const relay = await Relay.to(machine.home.agentSocket);
  relay.fromCaller = (message) => (message.type === 'AUTH' ? { ...message, method: 'charm' } : message);
  await expect(connect(relay.url, { home: newHome(), retryFor: '10m' })).rejects.toThrow(RefusedError);
  expect(relay.connections).toHaveLength(1);
});

test.each(['cuts the link', 'says that it is stopping', 'has closed its door to the keeper'])(
  'an agent that %s before it lets a caller in is tried again, and a command starts once',
  async (what) => {
    const machine = await Machine.start();
    const relay = await Relay.to(machine.home.agentSocket);
    const home = newHome();
    await (await connect(relay.url, { home })).close();
    let left = 6;
    relay.fromAgent = (message, connection) => {
      if (message.type !== 'AUTH_OK' || left-- <= 0) return message;
      const words = { alias: 0, reason: 'the agent is stopping', code: 'CLOSED', message: 'the agent is stopping' };
      if (what.startsWith('says')) connection.answer({ type: 'GOAWAY', ...words });
      else if (what.startsWith('has')) connection.answer({ type: 'LINK_ERROR', ...words });
      else connection.cut();
      return undefined;
    };
    const file = join(home.state, 'starts');
    for (const early of [true, false]) {
      left = 6;
      await using host = await connect(relay.url, { home, early, retryFor: '10m' });
      expect((await host.sh(`echo ${early} >> ${file}; echo here`)).stdout).toBe('here\n');
    }
    expect(readFileSync(file, 'utf8')).toBe('true\nfalse\n');
  },
);

test('each host of a fleet is waited for', async () => {
  const home = newHome();
  const machines = [await Machine.start(), await Machine.start()];
  const [here, away] = machines.map((machine) => `unix:${machine.home.agentSocket}`);
  await machines[1]!.killAgent();
  const failed = failedDials();
  const running = fleet([here!, away!], { home, retryFor: '10m' }).run(['echo', 'here']);
  const results = running.results();
  expect((await results.next()).value).toMatchObject({ host: here, stdout: 'here\n' });
  await until(() => failed.count > 0, 'a failed dial');
  await machines[1]!.startAgent();
  expect((await results.next()).value).toMatchObject({ host: away, stdout: 'here\n' });
});

test('a fleet that is cancelled dials no more', async () => {
  const [home, away, other] = [newHome(), `unix:${join(folder, 'away.sock')}`, `unix:${join(folder, 'other.sock')}`];
  const failed = failedDials(away);
  const running = fleet([away], { home, retryFor: '10m' }).run(['true']);
  const ended = running.then();
  await until(() => failed.count > 0, 'a failed dial');
  await running.cancel();
  expect((await ended).notStarted.toString()).toBe(away);
  const before = failed.count;
  const others = failedDials(other);
  const abort = new AbortController();
  onTestFinished(() => abort.abort());
  connect(other, { home, retryFor: '10m', signal: abort.signal }).catch(() => undefined);
  // Its pauses are as long as those of the dials that were stopped.
  await until(() => others.count > before + 4, 'other failed dials');
  expect(failed.count).toBe(before);
});

test('--deadline ends the wait too', async () => {
  const machine = await Machine.start();
  await machine.killAgent();
  const words = ['--connect-timeout', '10m', '--deadline', '500ms', 'local', '--', 'true'];
  const { code, stderr } = await output(machine.spawn('run', ...words));
  expect([code, stderr]).toEqual([201, expect.stringContaining('no agent runs')]);
  // Without an agent its keeper would stay for a while.
  await machine.startAgent();
});

test('a time that is none is a mistake in the words', async () => {
  const machine = await Machine.start();
  const { code, stderr } = await output(machine.spawn('run', '--connect-timeout', 'soon', 'local', '--', 'true'));
  expect(code).toBe(200);
  expect(stderr).toContain('--connect-timeout: "soon" is not a duration');
});
