/** The plan of a fleet run, and what the run makes of it. */
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { connect, fleet, openAgent, resolveHome, type Agent, type ConnectOptions, type Home, type Host } from 'sendall';
import { Turn } from '../../dist/client/turn.js';
import { Broadcast } from '../../dist/fleet/broadcast.js';
import { Dialling } from '../../dist/fleet/dialling.js';
import { Fleet } from '../../dist/fleet/fleet.js';
import { within } from '../../../../test/support/waits.js';
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

test('stdin that fails is whole on no host, whenever its turn comes', async () => {
  async function* failing(): AsyncGenerator<string> {
    yield 'a part';
    throw new Error('the disk is gone');
  }
  const run = fleet(names, options).run(['cat'], { stdin: failing(), window: 1 });
  const { results } = await run;
  expect(results.map(({ outcome }) => outcome)).toEqual(names.map(() => 'cancelled'));
});

test('nor is stdin that is longer than what is kept of it', async () => {
  async function* source(): AsyncGenerator<string> {
    for (const part of ['four', 'more', 'last']) yield part;
  }
  const stdin = new Broadcast(source(), 4);
  for (const _ of names) {
    const read: string[] = [];
    const reading = (async () => {
      for await (const part of stdin) read.push(Buffer.from(part).toString());
    })();
    await expect(reading).rejects.toThrow('it exceeds 4 bytes');
    expect(read).toEqual(['four']);
  }
});

test('a host whose turn came just before the end is not dialled', async () => {
  const dialled: string[] = [];
  const dialling = new Dialling(async (name) => {
    dialled.push(name);
    return await new Promise(() => undefined);
  });
  dialling.stop();
  expect(await within(dialling.hostUnlessStopped('a1', new Turn(undefined)), 'its answer')).toBeUndefined();
  expect(dialled).toEqual([]);
});

test('a pull that is cancelled while its folder is made does not begin', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'sendall-pulls-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, 'source'), 'content');
  const reach = async (name: string): Promise<Host> => {
    const host = await connect(name, options);
    void cancelSoon();
    return host;
  };
  const pull = new Fleet(['a1'], options, reach).pull(join(folder, 'source'), join(folder, '{host}/copy'));
  // The link is there by then, and the disk cannot have answered: it is the same turn of the loop.
  const cancelSoon = async (): Promise<void> => {
    for (let i = 0; i < 200; i++) await Promise.resolve();
    await pull.cancel();
  };
  const { results, notStarted } = await pull;
  expect([results, notStarted.toString()]).toEqual([[], 'a1']);
  expect(readdirSync(join(folder, 'a1'))).toEqual([]);
});
