import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { spoolFolder } from '../../dist/keeper/door/door.js';
import { newRunId } from '../../dist/protocol/run-id.js';
import { alive } from '../../../../test/support/alive.js';
import { bytes, KeeperClient, PRINCIPAL } from './keeper-client.js';
import { until } from '../../../../test/support/waits.js';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'survive-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('the death of an agent', () => {
  test('takes no command, no output and no exit code with it', async () => {
    await using keeper = await KeeperClient.start();
    const runs = Array.from({ length: 20 }, (_, i) => keeper.sh(`echo a; sleep 0.2; echo b; exit ${i}`));
    await Promise.all(runs.map((run) => run.wait('STARTED')));
    // As the kernel does for a killed process: its sockets close.
    keeper.link.close();
    await keeper.link.closed;
    const { pid } = keeper.link;
    await keeper.connect();
    expect(keeper.link.pid).toBe(pid);
    for (const [i, { runId }] of runs.entries()) {
      const again = keeper.attach(runId, 'control');
      const { exit } = await again.wait('ATTACHED');
      expect((exit ?? (await again.exit)).code).toBe(i);
      expect((await again.read(1, 0, 4)).toString()).toBe('a\nb\n');
    }
  });
});

describe('the death of the keeper', () => {
  test('finished runs stay unchanged; running ones are reported lost, and their processes can be killed', async () => {
    await using keeper = await KeeperClient.start();
    const done = keeper.sh('echo out; exit 3');
    await done.wait('TREE_END');
    const running = keeper.sh('trap "" PIPE; echo partial; setsid sleep 300 & wait');
    await running.reaches(1, 8);
    const { pid } = await running.wait('STARTED');
    const { epoch } = keeper.link;
    await keeper.crash();
    expect(keeper.link.epoch).toEqual(epoch);

    const old = await keeper.attach(done.runId).wait('ATTACHED');
    expect(old).toMatchObject({ state: 'exited', treeEnded: true, exit: { code: 3 } });
    expect(old.streams).toContainEqual({ stream: 1, first: 0, next: 4, final: 4 });

    const lost = keeper.attach(running.runId, 'control');
    const attached = await lost.wait('ATTACHED');
    expect(attached).toMatchObject({ state: 'lost', exit: { cause: 'lost', reason: 'the keeper died while it ran' } });
    expect(attached.exit!.survivors.map((each) => each.pid)).toContain(pid);
    expect((await lost.read(1, 0, 8)).toString()).toBe('partial\n');
    expect((await keeper.list()).find((run) => run.pid === pid)).toMatchObject({ state: 'lost' });

    const report = await lost.operate({ type: 'CANCEL', graceMs: 200 });
    expect(report).toMatchObject({ result: 'done', survivors: [] });
    expect(alive(pid)).toBe(false);
  });

  test('without a cgroup too: leader, tag and descendants are found again', async () => {
    await using keeper = await KeeperClient.start({ cgroups: false });
    const run = keeper.sh('trap "" PIPE; setsid sleep 300 & sleep 301');
    const { pid } = await run.wait('STARTED');
    await until(() => readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().includes(' '), 'two children');
    await keeper.crash({ cgroups: false });
    const lost = keeper.attach(run.runId, 'control');
    expect((await lost.wait('ATTACHED')).exit!.survivors).toHaveLength(3);
    expect(await lost.operate({ type: 'CANCEL', graceMs: 200 })).toMatchObject({ survivors: [], proof: 'unproven' });
  });

  test('a tree of more and longer processes than an entry of the journal holds: some are named', async () => {
    await using keeper = await KeeperClient.start();
    const run = keeper.sh(`for i in $(seq 150); do sh -c ': ${'z'.repeat(600)}; sleep 300' & done; echo; wait`, {
      cwd: Buffer.from(keeper.home.state),
    });
    await run.reaches(1, 1);
    await keeper.crash();
    const lost = keeper.attach(run.runId, 'control');
    const { survivors } = (await lost.wait('ATTACHED')).exit!;
    expect(survivors.length).toBeGreaterThan(10);
    expect(await lost.operate({ type: 'CANCEL', graceMs: 0 })).toMatchObject({ survivors: [] });
  });

  test('a used id is not started again', async () => {
    await using keeper = await KeeperClient.start();
    const runId = newRunId();
    const spec = { verb: 'sh', script: bytes(`mkdir ${folder}/once-$$`) };
    await keeper.open(spec, { runId }).wait('TREE_END');
    await keeper.crash();
    const again = keeper.open(spec, { runId });
    expect(await again.wait('OPENED')).toMatchObject({ state: 'existing' });
    expect((await again.wait('ATTACHED')).exit).toMatchObject({ code: 0 });
    expect(readdirSync(folder).filter((name) => name.startsWith('once-'))).toHaveLength(1);
  });

  test('output of unknown runs is removed', async () => {
    await using keeper = await KeeperClient.start();
    const run = keeper.sh('echo out');
    await run.wait('TREE_END');
    const stray = spoolFolder(keeper.home, PRINCIPAL, run.runId);
    expect(existsSync(stray)).toBe(true);
    await keeper.forget(run.runId);
    expect(existsSync(stray)).toBe(false);
    await keeper.crash();
    expect(await keeper.list()).toEqual([]);
  });

  test('a grown journal is rewritten, and nothing is forgotten', async () => {
    await using keeper = await KeeperClient.start({ limits: { maxEnded: 50 } });
    const argv = ['true', ...Array<string>(3).fill('x'.repeat(600))].map(bytes);
    const ids: Uint8Array[] = [];
    const journal = join(keeper.home.state, 'journal');
    for (let round = 0; round < 13; round++) {
      const runs = Array.from({ length: 200 }, () => keeper.open({ argv }));
      await Promise.all(runs.map((run) => run.wait('TREE_END')));
      ids.push(runs[0]!.runId);
      for (const run of runs) run.send({ type: 'DETACH' });
    }
    // 2,600 runs with 5 KB of entries and lines each would be more than 12 MiB.
    expect(readFileSync(journal).length).toBeLessThan(7 * 1024 * 1024);
    await keeper.crash({ limits: { maxEnded: 50 } });
    expect((await keeper.list()).length).toBeLessThanOrEqual(50);
    // Any of the last round may be among those kept.
    for (const runId of ids.slice(0, -1))
      expect(await keeper.open({ argv }, { runId }).wait('REFUSED')).toMatchObject({ code: 'expired' });
  });
});

describe('at most once', () => {
  const points = [
    'before-intent:2',
    'after-intent:2',
    'after-sync:2',
    'after-spawn:2',
    'after-started:2',
    'before-exit:2',
  ];
  // The flush with the exit of the second command.
  points.push('before-exit:2,after-flush');

  test.each(points)(
    'a crash %s: the command ran once or not at all, and the journal tells the truth',
    async (fault) => {
      const point = fault.split(',').at(-1)!.split(':')[0]!;
      const marks = mkdtempSync(join(folder, 'marks-'));
      await using keeper = await KeeperClient.start({ env: { SENDALL_FAULT: fault } });
      const spec = { verb: 'sh', script: bytes(`mkdir ${marks}/$SENDALL_RUN || echo twice >> ${marks}/twice; exit 6`) };
      await keeper.open(spec).exit;
      const runId = newRunId();
      const notAfterMs = Date.now() + 60_000;
      keeper.open(spec, { runId, notAfterMs });
      await keeper.link.closed;
      await keeper.connect();
      const again = keeper.open(spec, { runId, notAfterMs });
      const opened = await again.wait('OPENED');
      if (opened.state === 'new') {
        // Nothing was recorded, so nothing was started, and starting it now is the first time.
        expect(point).toBe('before-intent');
        expect(await again.exit).toMatchObject({ code: 6 });
      } else {
        const { exit, state } = await again.wait('ATTACHED');
        expect(exit).toMatchObject(point === 'after-flush' ? { code: 6 } : { cause: 'lost' });
        expect(state).toBe(point === 'after-flush' ? 'exited' : 'lost');
        if (point === 'after-intent' || point === 'after-sync')
          expect(exit!.reason).toBe('the keeper died before its start was recorded: it may or may not have run');
      }
      await until(() => readdirSync(marks).length >= 1, 'the first run');
      expect(existsSync(join(marks, 'twice'))).toBe(false);
    },
  );

  test('fdatasync has returned before each start, and commands that come together share one', async () => {
    const trace = join(folder, 'trace');
    const program = fileURLToPath(new URL('../dist/traced-keeper.js', import.meta.url));
    await using keeper = await KeeperClient.start({ program, env: { TRACE: trace } });
    const together = Array.from({ length: 30 }, () => keeper.exec('true'));
    await Promise.all(together.map((run) => run.exit));
    for (let i = 0; i < 5; i++) await keeper.exec('true').exit;
    const events = readFileSync(trace, 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { what: string; no?: number });
    const synced = new Set<number>();
    let waiting: number[] = [];
    let starts = 0;
    for (const { what, no } of events) {
      if (what === 'intent') waiting.push(no!);
      else if (what === 'synced') {
        for (const each of waiting) synced.add(each);
        waiting = [];
      } else if (what === 'spawn') {
        starts++;
        expect(synced.has(no!)).toBe(true);
      }
    }
    expect(starts).toBe(35);
    expect(events.filter(({ what }) => what === 'synced').length).toBeLessThan(20);
  });
});
