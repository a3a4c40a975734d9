import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { fleetOf, oneHost, sha256, watch } from './support.js';
import { until } from '../../../../test/support/waits.js';

test('two callers read the same run at once, each from its own offset', async () => {
  const { fleet, host } = await oneHost();
  const other = await fleet.connect(0);
  const data = randomBytes(3_000_000);
  const run = host.run(['cat'], { stdin: 'pipe' });
  await run.started;
  run.stdin.write(data.subarray(0, 1_000_000));
  const fromStart = other.attach(run.runId, { mode: 'observe' });
  const fromMiddle = other.attach(run.runId, { mode: 'observe', from: 500_001 });
  await Promise.all([fromStart.attached, fromMiddle.attached]);
  run.stdin.end(data.subarray(1_000_000));
  const results = await Promise.all([run, fromStart, fromMiddle]);
  expect(results.map(({ outcome }) => outcome)).toEqual(['ok', 'ok', 'ok']);
  expect(results.map(({ raw }) => sha256(raw.stdout))).toEqual([
    sha256(data),
    sha256(data),
    sha256(data.subarray(500_001)),
  ]);
});

test('control moves to the newer caller, and the older one becomes an observer', async () => {
  const { fleet, host } = await oneHost();
  const other = await fleet.connect(0);
  const first = host.run(['cat'], { stdin: 'pipe' });
  await first.started;
  expect(first.controlEpoch).toBe(1);
  first.stdin.write('first ');
  await until(() => first.offsets.stdout === 6, 'the first word');
  const second = other.attach(first.runId, { mode: 'control' });
  await second.attached;
  expect(second.controlEpoch).toBe(2);
  await until(() => first.controlEpoch === undefined, 'the loss of control');
  first.stdin.end('ignored');
  second.stdin.end('second');
  expect((await first).stdout).toBe('first second');
  expect((await second).stdout).toBe('first second');
});

test('a caller that lost its link does not take control back from its successor', async () => {
  const fleet = await fleetOf(1);
  const host = fleet.hosts[0]!;
  const first = host.run(['cat'], { stdin: 'pipe' });
  await first.started;
  fleet.unplug(true);
  await new Promise((resolve) => setImmediate(resolve));
  fleet.unplug(false);
  const other = await fleet.connect(0);
  const second = other.attach(first.runId, { mode: 'control' });
  await second.attached;
  await until(() => host.resumes >= 1, 'the resumed link');
  for (let i = 0; i < 3; i++) {
    const links = fleet.links;
    fleet.cut();
    await until(() => fleet.links >= links + 2, 'both links again');
  }
  second.stdin.end('mine');
  expect((await second).stdout).toBe('mine');
  expect((await first).stdout).toBe('mine');
});

test('a caller keeps control over all of its own links', async () => {
  const { fleet, host } = await oneHost({ faults: { cutEvery: 4000, seed: 11 }, firstPause: 1 });
  const data = randomBytes(100_000);
  const result = await host.run(['cat'], { stdin: data, reject: false });
  expect(result.outcome).toBe('ok');
  expect(sha256(result.raw.stdout)).toBe(sha256(data));
  expect(fleet.links).toBeGreaterThan(10);
});

test('operations of two callers do not answer for each other', async () => {
  const { fleet, host } = await oneHost();
  const other = await fleet.connect(0);
  const run = host.sh('trap "echo usr1" USR1; trap "echo usr2" USR2; echo ready; while :; do sleep 0.02; done', {
    reject: false,
  });
  const seen = watch(run);
  await until(() => seen.stdout().toString() === 'ready\n', 'the traps');
  const second = other.attach(run.runId, { mode: 'observe', reject: false });
  await second.attached;
  const reports = await Promise.all([
    run.kill('SIGUSR1', { scope: 'leader' }),
    second.kill('SIGUSR2', { scope: 'leader' }),
  ]);
  expect(reports.map(({ result }) => result)).toEqual(['done', 'done']);
  await until(() => /usr1/.test(seen.stdout().toString()) && /usr2/.test(seen.stdout().toString()), 'both traps');
  await run.cancel({ grace: 0 });
  await seen.over;
  expect((await second).outcome).toBe('cancelled');
});

test.each(['start', 'end', 'tail', 'an offset', 'behind the end'])(
  'a finished run is replayed from %s',
  async (from) => {
    const { host } = await oneHost();
    const { runId } = await host.run(['seq', '1', '1000']);
    const all = Array.from({ length: 1000 }, (_, i) => `${i + 1}\n`).join('');
    const where = {
      start: 'start',
      end: 'end',
      tail: { tail: 10 },
      'an offset': 100,
      'behind the end': 99_999,
    } as const;
    const want = { start: all, end: '', tail: all.slice(-10), 'an offset': all.slice(100), 'behind the end': '' };
    const result = await host.attach(runId, { from: where[from as keyof typeof where] });
    expect(result.stdout).toBe(want[from as keyof typeof want]);
    expect(result.finals.stdout).toBe(all.length);
  },
);

test('a run that waits for its turn can be joined before it has streams', async () => {
  const { fleet, host } = await oneHost();
  const other = await fleet.connect(0);
  const run = host.run(['cat'], { stdin: 'pipe' });
  const joined = other.attach(run.runId, { mode: 'observe', reject: false });
  run.stdin.end('early');
  expect((await run).stdout).toBe('early');
  const result = await joined;
  expect(['early', '']).toContain(result.stdout);
  if (result.outcome === 'lost') expect(result.reason).toMatch(/no such run/);
  else expect(result.stdout).toBe('early');
});

test('detaching leaves the command to itself, and another connection finds it', async () => {
  const { fleet, host } = await oneHost();
  const run = host.sh('echo one; read word; echo "$word"', { stdin: 'pipe' });
  run.nothrow();
  await until(() => run.offsets.stdout === 4, 'the first line');
  const left = await run.detach();
  await host.close();
  const other = await fleet.connect(0);
  const back = other.attach(left.runId, { from: left.offsets.stdout });
  await back.attached;
  back.stdin.end('two\n');
  expect((await back).stdout).toBe('two\n');
});

test('the same id with the same words joins the run; with other words it is a conflict', async () => {
  const { fleet, host } = await oneHost();
  const other = await fleet.connect(0);
  const run = host.run(['cat'], { stdin: 'pipe' });
  await run.started;
  const conflict = await other.run(['cat', '-'], { runId: run.runId, stdin: 'pipe', reject: false });
  expect(conflict.outcome).toBe('conflict');
  run.stdin.write('one ');
  await until(() => run.offsets.stdout === 4, 'the first word');
  // The repeat of a crashed caller sends the same stdin from its start: the host takes no byte twice.
  const repeat = other.run(['cat'], { runId: run.runId, stdin: 'pipe' });
  repeat.stdin.end('one two');
  expect((await repeat).stdout).toBe('one two');
  expect((await run).stdout).toBe('one two');
});
