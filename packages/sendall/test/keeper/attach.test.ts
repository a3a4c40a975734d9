import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { newRunId } from '../../dist/protocol/run-id.js';
import { bytes, KeeperClient } from './keeper-client.js';

let keeper: KeeperClient;
beforeAll(async () => {
  keeper = await KeeperClient.start();
});
afterAll(() => keeper[Symbol.asyncDispose]());

const has = (runs: readonly { runId: Uint8Array }[], id: Uint8Array): boolean =>
  runs.some(({ runId }) => Buffer.from(runId).equals(id));

describe('attaching', () => {
  test('reports all offsets and goes on live', async () => {
    const run = keeper.sh('echo one; read x; echo two; exit 4', { stdin: true });
    await run.reaches(1, 4);
    const other = keeper.attach(run.runId);
    const attached = await other.wait('ATTACHED');
    expect(attached).toMatchObject({ state: 'running', started: { pid: (await run.wait('STARTED')).pid } });
    expect(attached.controlEpoch).toBeUndefined();
    expect(attached.streams).toContainEqual({ stream: 1, first: 0, next: 4 });
    await other.reaches(1, 4);
    run.input(0, bytes('\n'));
    expect(await other.text()).toBe('one\ntwo\n');
    expect(await other.exit).toMatchObject({ code: 4 });
    run.send({ type: 'EOS', stream: 0, final: 1 });
  });

  test('to a finished run gives its exit and the end of its output', async () => {
    const run = keeper.sh('echo out; echo error >&2; exit 9');
    await run.wait('TREE_END');
    const attached = await keeper.attach(run.runId).wait('ATTACHED');
    expect(attached).toMatchObject({ state: 'exited', treeEnded: true, exit: { code: 9 } });
    expect(attached.streams.filter(({ stream }) => stream > 0)).toEqual([
      { stream: 1, first: 0, next: 4, final: 4 },
      { stream: 2, first: 0, next: 6, final: 6 },
    ]);
    expect(attached.spec).toBeDefined();
  });

  test('to a run that is not there, or of another principal, is refused alike', async () => {
    const run = keeper.exec('true');
    await run.exit;
    const nobody = await keeper.attach(newRunId()).wait('ATTACH_REFUSED');
    const foreign = await keeper.attach(run.runId, 'observe', { principal: 'stranger' }).wait('ATTACH_REFUSED');
    expect(nobody.code).toBe('unknown');
    expect(foreign).toMatchObject({ code: nobody.code, message: nobody.message });
  });

  test('the runs of a keeper are listed, finished ones only when asked for', async () => {
    const done = keeper.open({ argv: ['echo', 'a b'].map(bytes), name: 'backup', tags: ['x=1'] });
    await done.wait('TREE_END');
    const live = keeper.sh('sleep 100');
    await live.wait('STARTED');
    const running = await keeper.list(false);
    expect([has(running, live.runId), has(running, done.runId)]).toEqual([true, false]);
    const info = (await keeper.list()).find(({ runId }) => Buffer.from(runId).equals(done.runId))!;
    expect(info).toMatchObject({ name: 'backup', tags: ['x=1'], state: 'exited', code: 0, stdoutBytes: 4 });
    expect(info.argv.map(String)).toEqual(['echo', 'a b']);
    await live.operate({ type: 'CANCEL', graceMs: 0 });
  });

  test('a thousand finished runs are listed page by page', async () => {
    const runs = Array.from({ length: 1000 }, () => keeper.open({ argv: ['true', 'x'.repeat(1500)].map(bytes) }));
    await Promise.all(runs.map((run) => run.exit));
    expect((await keeper.list()).length).toBeGreaterThanOrEqual(1000);
  });
});

describe('one controller at a time', () => {
  test('a caller that attaches before a run is opened learns of a run, and its opener of a new one', async () => {
    const spec = { argv: [bytes('cat')], stdin: true };
    const run = keeper.open(spec);
    // In the same write: the run's intent is not on the disk yet.
    const again = keeper.open(spec, { runId: run.runId });
    const next = keeper.attach(run.runId, 'control');
    await next.wait('STARTED');
    const opened = [run, again, next].map(({ messages }) =>
      messages.flatMap((each) => (each.type === 'OPENED' ? [[each.state, each.controlEpoch]] : [])),
    );
    expect(opened).toEqual([[['new', undefined]], [['existing', 2]], []]);
    next.input(0, bytes('taken'));
    next.send({ type: 'EOS', stream: 0, final: 5 });
    expect(await next.text()).toBe('taken');
  });

  test('a new one takes over and the old one hears of it', async () => {
    const run = keeper.sh('cat', { stdin: true });
    const { controlEpoch } = await run.wait('OPENED');
    const next = keeper.attach(run.runId, 'control');
    const attached = await next.wait('ATTACHED');
    expect(attached.controlEpoch).toBeGreaterThan(controlEpoch!);
    expect(await run.wait('CONTROL_LOST')).toMatchObject({ controlEpoch: attached.controlEpoch });
    run.input(0, bytes('ignored'));
    next.input(0, bytes('taken'));
    next.send({ type: 'EOS', stream: 0, final: 5 });
    expect(await next.text()).toBe('taken');
  });

  test('a caller that returns after a cut does not take it back from another', async () => {
    const [first, second] = [randomBytes(8), randomBytes(8)];
    const run = keeper.open({ argv: ['sleep', '100'].map(bytes) }, { holder: first });
    await run.wait('OPENED');
    run.send({ type: 'DETACH' });
    const same = keeper.attach(run.runId, 'control', { holder: first, again: true });
    expect((await same.wait('ATTACHED')).controlEpoch).toBeDefined();
    const other = keeper.attach(run.runId, 'control', { holder: second });
    expect((await other.wait('ATTACHED')).controlEpoch).toBeDefined();
    await same.wait('CONTROL_LOST');
    same.send({ type: 'DETACH' });
    const late = keeper.attach(run.runId, 'control', { holder: first, again: true });
    expect((await late.wait('ATTACHED')).controlEpoch).toBeUndefined();
    await other.operate({ type: 'CANCEL', graceMs: 0 });
  });

  test('without one a command may be ended, if its spec says so', async () => {
    const run = keeper.sh('sleep 100', { termAfterMs: 50 });
    await run.wait('STARTED');
    const watcher = keeper.attach(run.runId);
    await watcher.wait('ATTACHED');
    run.send({ type: 'DETACH' });
    expect(await watcher.exit).toMatchObject({ signal: 'SIGTERM', cause: 'cancelled' });
  });

  test('a command of an account’s shell ends with its caller, and outlives a lost link', async () => {
    const start = async (script: string) => {
      const run = keeper.sh(script, { accountShell: true, stdin: true, termAfterMs: 1_000_000 });
      await run.wait('STARTED');
      const watcher = keeper.attach(run.runId);
      await watcher.wait('ATTACHED');
      return { run, watcher };
    };
    const left = await start('cat; echo finished');
    left.run.send({ type: 'DETACH', left: true });
    expect(await left.watcher.exit).toMatchObject({ signal: 'SIGTERM', reason: 'its caller has left' });
    const lost = await start('cat; exit 3');
    lost.run.send({ type: 'DETACH' });
    const again = keeper.attach(lost.run.runId, 'control');
    await again.wait('ATTACHED');
    // One that only watched is not its caller.
    lost.watcher.send({ type: 'DETACH', left: true });
    again.send({ type: 'EOS', stream: 0, final: 0 });
    expect(await again.exit).toMatchObject({ code: 3 });
  });

  test('a caller that is gone has one grace to come back, with or without watchers, and before the start too', async () => {
    await using own = await KeeperClient.start({ limits: { callerGraceMs: 100 } });
    const spec = { accountShell: true, termAfterMs: 1_000_000 };
    const end = { cause: 'cancelled', reason: 'its caller has gone, and did not come back for 100 ms' };
    const run = own.sh('sleep 100', spec);
    const watcher = own.attach(run.runId);
    await Promise.all([run.wait('STARTED'), watcher.wait('ATTACHED')]);
    run.send({ type: 'DETACH', gone: true });
    own.attach(run.runId).send({ type: 'DETACH' });
    expect(await watcher.exit).toMatchObject(end);
    const early = own.sh('sleep 100', spec);
    early.send({ type: 'DETACH', gone: true });
    expect(await own.attach(early.runId).exit).toMatchObject(end);
  });

  test('otherwise it goes on alone, even without an agent', async () => {
    const run = keeper.sh('sleep 0.2; echo alone');
    await run.wait('STARTED');
    keeper.link.close();
    await keeper.link.closed;
    await keeper.connect();
    const again = keeper.attach(run.runId);
    await again.wait('ATTACHED');
    expect(await again.text()).toBe('alone\n');
  });
});
