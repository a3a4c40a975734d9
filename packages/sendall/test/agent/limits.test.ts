/** The limits of an agent and its keeper: each is shown and can be set, and a keeper that runs obeys the next agent's. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { connect, openAgent, resolveHome, UsageError, type Agent, type AgentOptions, type Home } from 'sendall';
import { ALL_LIMITS } from '../../dist/agent/limits.js';
import { DEFAULT_LIMITS } from '../../dist/keeper/door/limits.js';
import { readDuration } from '../../dist/text/duration.js';
import { readSize } from '../../dist/text/size.js';
import { until, within } from '../../../../test/support/waits.js';
import { removeHome } from '../remove-home.js';

let folder: string;
let home: Home;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sendall-limits-'));
  home = resolveHome({ SENDALL_HOME: join(folder, 'home') });
});
afterAll(async () => {
  await removeHome(home.state);
  rmSync(folder, { recursive: true, force: true });
});

async function agentWith(options: AgentOptions): Promise<Agent> {
  const agent = await openAgent({ home, keeperIdleExit: 500, ...options });
  onTestFinished(async () => await agent.close());
  return agent;
}

/** A value of each limit's own. */
const value = (place: number): number => 100_000 + place;

test('every limit of the agent and the keeper has a name, is an option, and is in the status', async () => {
  const keeper = ALL_LIMITS.filter(({ of }) => of === 'keeper').map(({ option }) => option);
  expect(keeper.sort()).toEqual(Object.keys(DEFAULT_LIMITS).sort());
  expect(new Set(ALL_LIMITS.map(({ name }) => name)).size).toBe(ALL_LIMITS.length);
  const options: Record<string, number> = {};
  const keeperLimits: Record<string, number> = {};
  for (const [place, { of, option }] of ALL_LIMITS.entries())
    (of === 'agent' ? options : keeperLimits)[option] = value(place);
  const given = await agentWith({ ...options, keeperIdleExit: keeperLimits.idleExitMs!, keeperLimits });
  const expected = Object.fromEntries(ALL_LIMITS.map(({ name }, place) => [name, value(place)]));
  expect(await given.status).toMatchObject({ limits: expected, givenLimits: expected });
  await given.close();

  // The same keeper has the defaults of the next agent, and none is without a value.
  const next = await agentWith({});
  const { limits, givenLimits } = await next.status;
  expect(Object.keys(limits).sort()).toEqual(ALL_LIMITS.map(({ name }) => name).sort());
  const own: Readonly<Record<string, number>> = DEFAULT_LIMITS;
  for (const { name, of, option } of ALL_LIMITS)
    if (of === 'keeper' && option !== 'idleExitMs') expect([name, limits[name]]).toEqual([name, own[option]]);
  expect(givenLimits).toEqual({ idleExit: 500 });
  for (const [name, number] of Object.entries(limits)) expect([name, number]).toEqual([name, expect.any(Number)]);

  const page = readFileSync(new URL('../../../../docs/sendall/limits.md', import.meta.url), 'utf8');
  const rows = [...page.matchAll(/^\| `(\w+)` \| (.*?) \| (.*?) \| `(\w+)` \|$/gm)];
  expect(rows.map(([, name, , about, option]) => [name, about, option])).toEqual(
    ALL_LIMITS.map(({ name, about, option }) => [name, about, option]),
  );
  for (const [, name = '', shown = ''] of rows) {
    const { unit } = ALL_LIMITS.find((each) => each.name === name)!;
    const plain = shown.replaceAll(/[ ,]/g, '');
    const number = { NUMBER: Number, SIZE: readSize, TIME: readDuration }[unit](plain);
    if (name !== 'idleExit') expect([name, number]).toEqual([name, limits[name as keyof typeof limits]]);
  }
});

test('a keeper that runs obeys the limits of the agent that comes to it: more run, and results go', async () => {
  const first = await agentWith({ keeperLimits: { maxRunning: 1 } });
  await using host = await connect('local', { home });
  for (let i = 0; i < 5; i++) await host.run(['true']);
  const runs = [1, 2].map(() => host.run(['cat'], { stdin: 'pipe' }));
  await until(async () => (await first.status).runs === 2, 'both runs');
  const { keeperPid } = await first.status;
  await first.close();
  const second = await agentWith({ keeperLimits: { maxRunning: 4, maxEnded: 3 } });
  expect((await second.status).keeperPid).toBe(keeperPid);
  // One caller has at most half of the places.
  for (const run of runs) await within(run.started, 'the start of both');
  for (const run of runs) run.stdin.end('both');
  for (const run of runs) expect((await run).stdout).toBe('both');
  await until(async () => {
    let count = 0;
    for await (const _ of host.runs({ all: true })) count++;
    return count <= 3;
  }, 'the oldest results to go');
});

test('a wrong limit is refused by its name', async () => {
  for (const [options, message] of [
    [{ maxQuestions: 0 }, 'maxQuestions: 0 is not a whole number above 0'],
    [{ keeperLimits: { maxRunning: 1.5 } }, 'the keeper limit maxRunning must be a whole number, not 1.5'],
    [{ keeperLimits: { running: 1 } }, 'unknown keeper limit "running"'],
    [{ keeperLimits: { constructor: 1 } }, 'unknown keeper limit "constructor"'],
    [{ maxKnownSourcse: 1 }, 'there is no agent option "maxKnownSourcse"'],
  ] as const) {
    const error: unknown = await openAgent({ home, ...(options as AgentOptions) }).catch((error: unknown) => error);
    expect(error).toBeInstanceOf(UsageError);
    expect((error as Error).message).toContain(message);
  }
});
