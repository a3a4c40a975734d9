/** The plan of a fleet run, and what the run makes of it. */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { fleet, openAgent, resolveHome, type Agent, type ConnectOptions, type Home } from 'sendall';
import { removeHome } from '../remove-home.js';

const names = Array.from({ length: 7 }, (_, i) => `a${i + 1}`);
let home: Home;
let agent: Agent;
/** Seven names of one machine. */
let options: ConnectOptions;

beforeAll(async () => {
  home = resolveHome({ SENDALL_HOME: mkdtempSync(join(tmpdir(), 'sendall-rollout-')) });
  agent = await openAgent({ home, keeperIdleExit: 200 });
  const hosts = names.map((name) => ({ name, url: `unix:${home.agentSocket}` }));
  const get = (name: string) => hosts.find((host) => host.name === name);
  options = { home, inventory: { list: () => hosts, get, at: () => undefined } };
});
afterAll(async () => {
  await agent.close();
  await removeHome(home.config);
});

test.each(['listed', 'random'] as const)('hosts start in the batches of the plan, in the order %s', async (order) => {
  const run = fleet('all', options).run(['true'], { order, batch: 3, window: 1, maxFail: '50%' });
  const { batches, window, maxFail } = run.plan;
  expect([batches.map(({ length }) => length), window, maxFail]).toEqual([[3, 3, 1], 1, 3]);
  expect(batches.flat().toSorted()).toEqual(names);
  if (order === 'listed') expect(batches.flat()).toEqual(names);
  expect(run.progress.started).toBe(0);
  const started: string[] = [];
  for await (const { host, event } of run) if (event === 'started') started.push(host);
  expect(started).toEqual(batches.flat());
});

test('a plan without limits is one batch, and all may fail', async () => {
  const run = fleet(['a2', 'a1'], options).run(['false']);
  expect(run.plan).toEqual({ batches: [['a2', 'a1']], window: 64, maxFail: undefined });
  const { results, notStarted } = await run;
  expect([results.length, notStarted.size]).toEqual([2, 0]);
});
