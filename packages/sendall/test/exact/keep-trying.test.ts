/** How long a caller tries to reach a host: once, or for as long as --connect-timeout says. */
import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { afterAll, expect, onTestFinished, test } from 'vitest';
import {
  connect,
  fleet,
  RefusedError,
  resolveHome,
  UnreachableError,
  type ConnectOptions,
  type DialEvent,
} from 'sendall';
import { openWarmLinks } from '../../dist/internal.js';
import { loadIdentity } from '../../dist/keys/identity.js';
import { patience, until, within } from '../../../../test/support/waits.js';
import { removeHome } from '../remove-home.js';
import { Machine, output } from './machine.js';
import { Relay } from './relay.js';
import { passTime } from './support.js';

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
  // That it is tried again is told above: on a busy machine the time is over after one dial.
  expect(failed.count).toBeGreaterThan(0);
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

test.each(['local agent', 'warm-links process'])('it ends the wait for an answer of a %s, too', async (which) => {
  const [machine, home] = [await Machine.start(), newHome()];
  const abort = new AbortController();
  const options: ConnectOptions = { home, timeout: '10m', signal: abort.signal };
  const identity = await loadIdentity(newHome(), { create: true });
  const relay = await (which.startsWith('local')
    ? Relay.to(machine.home.agentSocket)
    : Relay.overTls(machine.home.agentSocket, identity));
  relay.hold();
  const warm = await openWarmLinks(home, { timeout: '10m' });
  onTestFinished(() => warm.close());
  const connecting = which.startsWith('local')
    ? connect(relay.url, options)
    : connect({ name: 'far', url: relay.url, pin: identity.fingerprint }, { ...options, share: () => undefined });
  await until(() => relay.types.includes('AUTH'), 'the question who we are');
  abort.abort(new Error('enough'));
  await expect(within(connecting, 'the end of the dial')).rejects.toThrow(/^enough$/);
});

test('it ends no link of later: a run whose link is lost after an abort goes on', async () => {
  const [machine, home, theirs] = [await Machine.start(), newHome(), newHome()];
  const identity = await loadIdentity(theirs, { create: true });
  const relay = await Relay.overTls(machine.home.agentSocket, identity);
  const abort = new AbortController();
  const { signal } = abort;
  await using host = await connect({ name: 'far', url: relay.url, pin: identity.fingerprint }, { home, signal });
  const run = host.run(['cat'], { stdin: 'pipe' });
  await run.started;
  abort.abort();
  relay.cut();
  run.stdin.end('still here');
  expect((await within(run, 'its end')).stdout).toBe('still here');
});

test('a run waits its own time, however long the link has been lost', async () => {
  const machine = await Machine.start();
  const host = await machine.connect({ retryFor: '10m', giveUpAfter: '1h', longestPause: 100 });
  const first = host.run(['cat'], { stdin: 'pipe' });
  await first.started;
  const failed = failedDials();
  await machine.killAgent();
  await until(() => failed.count >= 3, 'three failed dials');
  passTime(11 * 60_000);
  const second = host.run(['echo', 'here'], { reject: false });
  const { count } = failed;
  await until(() => failed.count > count + 1, 'another failed dial');
  await machine.startAgent();
  expect(await second).toMatchObject({ outcome: 'ok', stdout: 'here\n' });
  first.stdin.end('there');
  expect((await first).stdout).toBe('there');
});

test('no dial is made for a run that was left while its link was lost', async () => {
  const machine = await Machine.start();
  const host = await machine.connect({ giveUpAfter: '10m', longestPause: 50 });
  const run = host.run(['sleep', '600'], { reject: false });
  await run.started;
  const failed = failedDials('local');
  await machine.killAgent();
  await until(() => failed.count >= 3, 'three failed dials');
  await run.detach();
  expect((await run).reason).toContain('detached');
  // One may be under way.
  const before = failed.count + 1;
  const away = `unix:${join(folder, 'gone.sock')}`;
  const others = failedDials(away);
  const abort = new AbortController();
  onTestFinished(() => abort.abort());
  connect(away, { home: newHome(), retryFor: '10m', signal: abort.signal }).catch(() => undefined);
  // Its pauses are longer.
  await until(() => others.count > 4, 'other failed dials');
  expect(failed.count).toBeLessThanOrEqual(before);
  await machine.startAgent();
  expect((await host.run(['echo', 'here'])).stdout).toBe('here\n');
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
  const words = ['--connect-timeout', '10m', '--deadline', `${patience(500)}ms`, 'local', '--', 'true'];
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
