import { readdirSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { alive } from '../../../../test/support/alive.js';
import { KeeperClient, type Attached } from './keeper-client.js';
import { rootDescribe } from '../../../../test/support/root.js';
import { until } from '../../../../test/support/waits.js';

/** Waits until the command has printed this many pids, one a line, and returns them. */
async function pidsOf(run: Attached, count: number): Promise<number[]> {
  let pids: number[] = [];
  await until(async () => {
    pids = (await run.read(1, 0, run.next(1))).toString().trim().split('\n').filter(Boolean).map(Number);
    return pids.length >= count;
  }, `${count} pids`);
  return pids;
}

/** Waits until an orphan has come to the keeper, and is the program that it stays. */
async function settled(pid: number, keeper: KeeperClient): Promise<void> {
  const isThere = (): boolean =>
    new RegExp(`^PPid:\\t${keeper.link.pid}$`, 'm').test(readFileSync(`/proc/${pid}/status`, 'latin1')) &&
    readFileSync(`/proc/${pid}/cmdline`, 'latin1').startsWith('/bin/sleep\0');
  await until(isThere, 'an orphan that sleeps');
}

/** Children that try to escape. Each prints its pid. */
const nasty = {
  'a plain child': 'sh -c "echo \\$\\$; exec sleep 300" &',
  setsid: 'setsid sh -c "echo \\$\\$; exec sleep 300" &',
  'a double fork': '(setsid sh -c "echo \\$\\$; exec sleep 300" & exit) &',
  nohup: 'nohup sh -c "echo \\$\\$; exec sleep 300" 2> /dev/null &',
  'deaf to TERM, HUP and INT': 'sh -c "trap \\"\\" TERM HUP INT; echo \\$\\$; while :; do sleep 300; done" &',
  stopped: 'sh -c "echo \\$\\$; kill -STOP \\$\\$; exec sleep 300" &',
};
/** Only a cgroup finds this one without its parents. */
const clean = { 'env -i setsid': 'env -i setsid /bin/sh -c "echo \\$\\$; exec /bin/sleep 300" &' };

interface Way {
  readonly name: string;
  readonly options: { cgroups?: boolean; plain?: boolean };
  readonly proof: string;
  readonly children: Record<string, string>;
}
const ways: Way[] = [
  { name: 'without a cgroup', options: { cgroups: false }, proof: 'unproven', children: { ...nasty, ...clean } },
  { name: 'without koffi and cgroup', options: { cgroups: false, plain: true }, proof: 'unproven', children: nasty },
];
// Only root may make cgroups everywhere.
const root: Way = { name: 'with a cgroup', options: {}, proof: 'cgroup', children: { ...nasty, ...clean } };

rootDescribe.each([root])('$name', reaches);
describe.each(ways)('$name', reaches);

function reaches({ options, proof, children }: Way): void {
  let keeper: KeeperClient;
  beforeAll(async () => {
    keeper = await KeeperClient.start(options);
  });
  afterAll(() => keeper[Symbol.asyncDispose]());

  test.each(Object.entries(children))('cancel reaches %s', async (_, child) => {
    const run = keeper.sh(`${child}\necho $$; wait; sleep 300`);
    const pids = await pidsOf(run, 2);
    const report = await run.operate({ type: 'CANCEL', graceMs: 100, reason: 'enough' });
    expect(report).toMatchObject({ result: 'done', proof, survivors: [] });
    expect(pids.filter(alive)).toEqual([]);
    expect(await run.exit).toMatchObject({ cause: 'cancelled', reason: 'enough', survivors: [], killProof: proof });
    await run.wait('TREE_END');
  });

  test('cancel reaches processes the leader left behind', async () => {
    const run = keeper.sh('setsid sh -c "echo \\$\\$; exec sleep 300" & sleep 0.1');
    await run.exit;
    const pids = await pidsOf(run, 1);
    expect(pids.filter(alive)).toHaveLength(1);
    await run.operate({ type: 'CANCEL', graceMs: 1000 });
    expect(pids.filter(alive)).toEqual([]);
    await run.wait('TREE_END');
  });

  test('cancel outruns a storm of forks', async () => {
    const run = keeper.sh(
      'trap "" TERM; storm() { while :; do (sleep 5 &) ; sleep 0.002; done; }; storm & storm & storm',
    );
    await run.wait('STARTED');
    await new Promise((resolve) => setTimeout(resolve, 200));
    const report = await run.operate({ type: 'CANCEL', graceMs: 0 });
    expect(report.survivors).toEqual([]);
    await run.wait('TREE_END');
  });

  test('TERM comes first, and a command that obeys ends with its own code', async () => {
    const run = keeper.sh('trap "echo bye; exit 3" TERM; echo ready; while :; do sleep 0.01; done');
    await run.reaches(1, 6);
    await run.operate({ type: 'CANCEL', graceMs: 10_000 });
    expect(await run.exit).toMatchObject({ code: 3, cause: 'cancelled' });
    expect(await run.text()).toBe('ready\nbye\n');
  });

  test('KILL follows after the grace', async () => {
    const run = keeper.sh('trap "" TERM; echo ready; while :; do sleep 1; done');
    await run.reaches(1, 6);
    await run.operate({ type: 'CANCEL', graceMs: 50 });
    expect(await run.exit).toMatchObject({ signal: 'SIGKILL' });
  });

  test('a second cancel may only bring KILL nearer', async () => {
    const run = keeper.sh('trap "" TERM; echo ready; while :; do sleep 1; done');
    await run.reaches(1, 6);
    run.send({ type: 'CANCEL', opId: 9001, graceMs: 600_000 });
    await run.operate({ type: 'CANCEL', graceMs: 0 });
    expect(await run.wait('OP_OK', ({ opId }) => opId === 9001)).toMatchObject({ result: 'done' });
  });

  test('timeout and idle timeout end the tree here, with or without callers', async () => {
    const timed = keeper.sh('sleep 300 & wait', { timeoutMs: 100 });
    expect(await timed.exit).toMatchObject({ cause: 'timeout', signal: 'SIGTERM' });
    const idle = keeper.sh('echo a; sleep 300', { idleMs: 100 });
    expect(await idle.exit).toMatchObject({ cause: 'idle' });
  });
}

rootDescribe('a child that leaves its cgroup', () => {
  const ROOT = `R=$(awk '/ - cgroup2 /{print $5}' /proc/self/mountinfo | head -1)`;
  /** Moves to `group`, prints its pid, and sleeps. */
  const leaver = (group: string, program = 'setsid sh -c') =>
    `${ROOT}; ${program} 'echo $$ > '${group}'/cgroup.procs; echo $$; exec /bin/sleep 300' &`;
  const outermost = '"$R"';

  test.each([
    ['in a session of its own', leaver(outermost)],
    ['without its tag', leaver(outermost, 'env -i setsid /bin/sh -c')],
    ['into the keeper’s own group', leaver('"$R$(sed -n "s/^0:://p" /proc/self/cgroup | xargs dirname)"')],
    [
      'and has a child there',
      `${ROOT}; setsid sh -c 'echo $$ > '"$R"'/cgroup.procs; (echo $BASHPID; exec sleep 300) & wait' &`,
    ],
  ])('%s is killed, and the report claims no more than that', async (_, child) => {
    await using keeper = await KeeperClient.start();
    const run = keeper.sh(`${child.replace('$BASHPID', '$(exec sh -c "echo \\$PPID")')}\nsleep 300`);
    const pids = await pidsOf(run, 1);
    const report = await run.operate({ type: 'CANCEL', graceMs: 100 });
    expect(report).toMatchObject({ result: 'done', proof: 'unproven', survivors: [] });
    expect(pids.filter(alive)).toEqual([]);
    expect(await run.exit).toMatchObject({ killProof: 'unproven', survivors: [] });
  });

  test('without its tag, when another run could own it, is reported', async () => {
    await using keeper = await KeeperClient.start();
    const other = keeper.sh('sleep 300');
    await other.wait('STARTED');
    const run = keeper.sh(`${leaver(outermost, 'env -i setsid /bin/sh -c')}\nsleep 300`);
    const [pid] = await pidsOf(run, 1);
    const report = await run.operate({ type: 'CANCEL', graceMs: 100 });
    expect(report).toMatchObject({ proof: 'unproven', survivors: [{ pid }] });
    process.kill(pid!, 'SIGKILL');
  });

  test('and had a keeper that died is found by its tag', async () => {
    await using keeper = await KeeperClient.start();
    const run = keeper.sh(`${leaver(outermost)}\nsleep 300`);
    const pids = await pidsOf(run, 1);
    await keeper.crash();
    const again = keeper.attach(run.runId, 'control');
    await again.wait('ATTACHED');
    expect(await again.operate({ type: 'CANCEL', graceMs: 0 })).toMatchObject({ proof: 'unproven', survivors: [] });
    expect(pids.filter(alive)).toEqual([]);
  });

  test('takes nothing from the proof of another run', async () => {
    await using keeper = await KeeperClient.start();
    const leaving = keeper.sh(`${leaver(outermost)}\nsleep 0.1`);
    const pids = await pidsOf(leaving, 1);
    await leaving.exit;
    await settled(pids[0]!, keeper);
    const run = keeper.sh('sleep 300');
    await run.wait('STARTED');
    expect(await run.operate({ type: 'CANCEL', graceMs: 0 })).toMatchObject({ proof: 'cgroup', survivors: [] });
    expect(pids.filter(alive)).toHaveLength(1);
    for (const pid of pids) process.kill(pid, 'SIGKILL');
  });
});

describe('without a cgroup, a child that hides from group, session and tag and has no parent left', () => {
  const hiding = '(env -i setsid /bin/sh -c "echo \\$\\$; exec /bin/sleep 300" & exit); sleep 300';

  test('is killed when no other run could own it', async () => {
    await using keeper = await KeeperClient.start({ cgroups: false });
    const run = keeper.sh(hiding);
    const pids = await pidsOf(run, 1);
    await settled(pids[0]!, keeper);
    expect(await run.operate({ type: 'CANCEL', graceMs: 100 })).toMatchObject({ survivors: [], proof: 'unproven' });
    expect(pids.filter(alive)).toEqual([]);
  });

  test('is reported when another run could own it', async () => {
    await using keeper = await KeeperClient.start({ cgroups: false });
    const other = keeper.sh('sleep 300');
    await other.wait('STARTED');
    const run = keeper.sh(hiding);
    const [pid] = await pidsOf(run, 1);
    await settled(pid!, keeper);
    const report = await run.operate({ type: 'CANCEL', graceMs: 100 });
    expect(report.survivors.map((each) => each.pid)).toEqual([pid]);
    expect(Buffer.from(report.survivors[0]!.argv[0]!).toString()).toBe('/bin/sleep');
    expect((await run.exit).survivors).toHaveLength(1);
    process.kill(pid!, 'SIGKILL');
  });
});

describe('signals', () => {
  let keeper: KeeperClient;
  beforeAll(async () => {
    keeper = await KeeperClient.start();
  });
  afterAll(() => keeper[Symbol.asyncDispose]());

  test('reach the leader, its group or the whole tree', async () => {
    const script =
      'trap "echo leader" USR1; sh -c "trap \\"echo child; exit\\" USR1; echo up; while :; do sleep 0.01; done" & ' +
      'while :; do sleep 0.01; done';
    for (const [scope, expected] of [
      ['leader', ['leader']],
      ['group', ['child', 'leader']],
      ['tree', ['child', 'leader']],
    ] as const) {
      const run = keeper.sh(script, { capture: 'merged' });
      await run.reaches(1, 3);
      expect((await run.operate({ type: 'SIGNAL', signal: 10, scope })).result).toBe('done');
      const heard = async (): Promise<string[]> => {
        const words = (await run.read(1, 3, run.next(1))).toString().split('\n');
        // The shells' own children (sleep) die of it, and a shell may report that.
        return words.filter((word) => word === 'leader' || word === 'child').toSorted();
      };
      await until(async () => (await heard()).length === expected.length, expected.join(' and '));
      expect(await heard()).toEqual([...expected]);
      await run.operate({ type: 'CANCEL', graceMs: 0 });
    }
  });

  test('a repeat of an operation is answered from memory and done once', async () => {
    const run = keeper.sh('trap "echo hit" USR1; echo up; while :; do sleep 0.01; done');
    await run.reaches(1, 3);
    for (let i = 0; i < 3; i++) run.send({ type: 'SIGNAL', opId: 77, signal: 10, scope: 'leader' });
    await until(() => run.messages.filter(({ type }) => type === 'OP_OK').length === 3, 'three answers');
    await run.reaches(1, 7);
    await run.operate({ type: 'CANCEL', graceMs: 0 });
    expect(await run.text()).toBe('up\nhit\n');
  });

  test('a reason longer than a record of the journal is shortened', async () => {
    const run = keeper.exec('sleep', '100');
    await run.operate({ type: 'CANCEL', graceMs: 0, reason: 'y'.repeat(100_000) });
    const { cause, reason } = await run.exit;
    expect(cause).toBe('cancelled');
    expect(reason).toMatch(/^y{100,2000}…$/);
  });

  test('one that comes before the start waits for it', async () => {
    const run = keeper.sh('sleep 300');
    await run.operate({ type: 'SIGNAL', signal: 15, scope: 'leader' });
    expect(await run.exit).toMatchObject({ signal: 'SIGTERM' });
  });

  test('a cancel together with the OPEN ends the run before it starts, and closes what was opened for it', async () => {
    const descriptors = (): number => readdirSync(`/proc/${keeper.link.pid}/fd`).length;
    await keeper.exec('true').wait('TREE_END');
    const before = descriptors();
    for (let i = 0; i < 20; i++) {
      const run = keeper.open({ argv: [Buffer.from('cat')], stdin: true });
      run.send({ type: 'CANCEL', opId: keeper.nextOp++ });
      expect((await run.wait('REFUSED')).code).toBe('cancelled');
    }
    await keeper.exec('true').wait('TREE_END');
    await until(
      () => descriptors() <= before,
      () => `${before} descriptors, not ${descriptors()}`,
    );
  });

  test('to an ended run, or unknown ones, say so', async () => {
    const run = keeper.exec('true');
    await run.wait('TREE_END');
    expect(await run.operate({ type: 'SIGNAL', signal: 15, scope: 'leader' })).toMatchObject({
      result: 'already over',
    });
    expect(await run.operate({ type: 'CANCEL' })).toMatchObject({ result: 'already over' });
    const live = keeper.sh('sleep 300');
    expect((await live.operate({ type: 'SIGNAL', signal: 99, scope: 'leader' })).result).toContain('no signal 99');
    expect((await live.operate({ type: 'RESIZE', cols: 1, rows: 1 })).result).toContain('no terminal');
    await live.operate({ type: 'CANCEL', graceMs: 0 });
  });

  test('wake a stopped command so that it can act on them', async () => {
    const run = keeper.sh('kill -STOP $$; echo never');
    const { pid } = await run.wait('STARTED');
    await until(() => /^State:\s+T/m.test(readFileSync(`/proc/${pid}/status`, 'utf8')), 'the stop');
    await run.operate({ type: 'SIGNAL', signal: 15, scope: 'leader' });
    expect(await run.exit).toMatchObject({ signal: 'SIGTERM' });
  });

  test('an exit carries what the command used', async () => {
    const exit = await keeper.sh('i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done').exit;
    expect(exit.userUs! + exit.systemUs!).toBeGreaterThan(10_000);
    expect(exit.endMs).toBeGreaterThanOrEqual(exit.startMs);
  });
});
