/** Every host of a fleet run is in exactly one state, and the last one says what became of it. */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  fleet,
  newRunId,
  openAgent,
  resolveHome,
  UsageError,
  type Agent,
  type ConnectOptions,
  type FleetRun,
  type FleetRunOptions,
  type Home,
  type HostEvent,
  type HostStateEvent,
} from 'sendall';
import { until, within } from '../../../../test/support/waits.js';
import { removeHome } from '../remove-home.js';

const names = Array.from({ length: 5 }, (_, i) => `a${i + 1}`);
let home: Home;
let agent: Agent;
/** Five names of one machine, and one of a machine without an agent. */
let options: ConnectOptions;

beforeAll(async () => {
  home = resolveHome({ SENDALL_HOME: mkdtempSync(join(tmpdir(), 'sendall-states-')) });
  agent = await openAgent({ home, keeperIdleExit: 200 });
  const hosts = [...names, 'gone'].map((name) => ({
    name,
    url: `unix:${name === 'gone' ? join(home.config, 'gone.sock') : home.agentSocket}`,
  }));
  const get = (name: string) => hosts.find((host) => host.name === name);
  options = { home, inventory: { list: () => hosts, get, at: () => undefined } };
});
afterAll(async () => {
  await agent.close();
  await removeHome(home.config);
});

const isState = (event: HostEvent): event is HostStateEvent => event.event === 'host';

/** The states of each host, in order, and the last event of each. */
async function statesOf(run: FleetRun) {
  const states: Record<string, string[]> = {};
  const last: Record<string, HostStateEvent> = {};
  for await (const event of run) {
    if (!isState(event)) continue;
    (states[event.host] ??= []).push(event.state);
    last[event.host] = event;
  }
  return { states, last };
}

const sh = (targets: string | string[], script: string, more: FleetRunOptions = {}) =>
  fleet(targets, options).sh(script, more);

test.each([
  ['exit 0', {}, { state: 'exited', outcome: 'ok' }],
  ['exit 3', {}, { state: 'exited', outcome: 'failed', reason: 'the command ended with code 3' }],
  ['kill -9 $$', {}, { state: 'exited', outcome: 'signalled', reason: 'the command was killed by SIGKILL' }],
  ['sleep 60', { timeout: 50, killGrace: 0 }, { state: 'timeout' }],
  ['sleep 60', { idleTimeout: 50, killGrace: 0 }, { state: 'idle' }],
  ['yes', { maxOutput: 10, killGrace: 0 }, { state: 'limits' }],
  ['true', { cwd: '/no-such-folder' }, { state: 'refused' }],
] as const)('%s with %j ends as %j', async (script, more, end) => {
  const run = sh('a1', script, more);
  const { states, last } = await statesOf(run);
  // A host that refuses may do so before it has answered otherwise.
  const begun = end.state === 'refused' ? states.a1?.filter((state) => state === 'queued') : ['queued', 'running'];
  expect(states.a1).toEqual(['waiting', 'connecting', ...begun!, end.state]);
  expect(last.a1).toMatchObject({ event: 'host', host: 'a1', runId: run.runId, ...end });
  expect(last.a1?.reason === undefined).toBe(script === 'exit 0');
  expect(run.progress.states).toEqual({ [end.state]: 1 });
  expect(run.states.get('a1')).toMatchObject(end);
});

test('a host without an agent is unreachable, a taken run id a conflict; both count as failed', async () => {
  const runId = newRunId();
  await sh('a1', 'true', { runId });
  const run = sh('a1,a2,gone', 'false', { runId });
  const { states, last } = await statesOf(run);
  expect(states.gone).toEqual(['waiting', 'connecting', 'unreachable']);
  expect(last.gone?.reason).toContain('no agent runs');
  expect(states.a1).toEqual(['waiting', 'connecting', 'conflict']);
  expect(run.progress).toEqual({
    total: 3,
    started: 3,
    running: 0,
    ok: 0,
    failed: 3,
    states: { conflict: 1, unreachable: 1, exited: 1 },
  });
  expect(run.notStarted.size).toBe(0);
});

describe('hosts whose turn never comes', () => {
  test('are never started once too many have failed', async () => {
    const run = sh(names, 'false', { batch: 2, window: 1, maxFail: 1 });
    const { states, last } = await statesOf(run);
    expect(states.a2).toContain('exited');
    for (const name of ['a3', 'a4', 'a5']) {
      expect(states[name]).toEqual(['waiting', 'neverStarted']);
      expect(last[name]?.reason).toBe('2 of 5 hosts had failed before');
    }
    expect(run.progress).toMatchObject({ total: 5, started: 2, failed: 2, states: { exited: 2, neverStarted: 3 } });
  });

  test('are never started unless all canaries are ok', async () => {
    const run = sh(names, 'false', { canary: 2, window: 1, maxFail: 4 });
    expect(run.plan.batches).toEqual([
      ['a1', 'a2'],
      ['a3', 'a4', 'a5'],
    ]);
    const { last } = await statesOf(run);
    expect(names.map((name) => last[name]?.state)).toEqual(['exited', ...Array(4).fill('neverStarted')]);
    expect(last.a5?.reason).toBe('the canary a1 was not ok');
    const { ok, notStarted } = await sh(names, 'true', { canary: 2 });
    expect([ok, notStarted.size]).toEqual([true, 0]);
  });

  test('are never started after a cancellation, which also ends a pause of any length', async () => {
    const run = sh(names, 'true', { canary: 1, pause: '30d' });
    const ended = statesOf(run);
    await until(() => run.progress.ok === 1, 'the canary');
    expect(run.progress.states).toEqual({ exited: 1, waiting: 4 });
    await run.cancel({ reason: 'cancelled by hand' });
    const { last } = await within(ended, 'the end of the pause');
    expect(last.a2).toMatchObject({ state: 'neverStarted', reason: 'cancelled by hand' });
  });

  test('a host that is being dialled when the run is cancelled is never started', async () => {
    const run = sh('a1', 'true');
    const reading = run[Symbol.asyncIterator]();
    const seen: string[] = [];
    for (let next = await reading.next(); !next.done; next = await reading.next()) {
      if (!isState(next.value)) continue;
      seen.push(next.value.state);
      if (next.value.state === 'connecting') await run.cancel();
    }
    expect(seen).toEqual(['waiting', 'connecting', 'neverStarted']);
  });
});

test('a command that its caller leaves stays in its state', async () => {
  const run = sh('a1', 'sleep 60');
  for await (const event of run.launch()) expect(event.event === 'result').toBe(false);
  expect(run.states.get('a1')).toMatchObject({ state: 'running' });
  const again = fleet('a1', options).attach([{ target: 'a1', runId: run.runId }], { reject: false });
  const ended = statesOf(again);
  await until(() => again.progress.states.running === 1, 'the attachment');
  await again.cancel();
  expect((await ended).last.a1).toMatchObject({ state: 'cancelled' });
});

test.each([
  [{ batch: 0 }, /^batch: 0 is not/],
  [{ batch: '0%' }, /^batch: "0%" is not/],
  [{ batch: '150%' }, /^batch: "150%" is not .* 100%/],
  [{ maxFail: '101%' }, /^maxFail: "101%" is not/],
  [{ maxFail: -1 }, /^maxFail: -1 is not/],
  [{ canary: 6 }, /^canary: 6 is more than the 5 hosts of the set$/],
  [{ canary: 1.5 }, /^canary: 1.5 is not/],
  [{ pause: 'soon' }, /^pause: "soon" is not/],
  [{ order: 'reverse' }, /^order: "reverse" is not/],
  [{ window: 0 }, /^window: 0 is not/],
])('%j is refused by name before anything starts', (wrong, message) => {
  const start = () => sh(names, 'true', wrong as object);
  expect(start).toThrow(UsageError);
  expect(start).toThrow(message);
});

test('an empty set is refused', () => {
  expect(() => fleet([], options)).toThrow(/^the set names no host$/);
  expect(() => fleet('a1&a2', options)).toThrow(/names no host/);
});
