import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statfsSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { connect, openAgent, resolveHome } from 'sendall';
import { Journal } from '../../dist/keeper/journal/journal.js';
import { KeeperClient } from './keeper-client.js';
import { until } from '../../../../test/support/waits.js';
import { rootDescribe } from '../../../../test/support/root.js';

/** Where a descriptor of this process leads; empty if it is closed by now. */
const targetOf = (fd: string): string => {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return '';
  }
};

const cli = fileURLToPath(new URL('../../bin/sendall.js', import.meta.url));

// Only root may mount a disk small enough to be filled.
rootDescribe('a full disk', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'full-'));
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=8m,mode=0700', 'tmpfs', folder]);
  });
  afterEach(() => {
    execFileSync('umount', ['-l', folder]);
    rmSync(folder, { recursive: true, force: true });
  });

  /** Does it until the disk has no room: agent and keeper take some of it, or give it back, meanwhile. */
  const untilFull = (act: () => void): void => {
    try {
      for (;;) act();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
    }
  };

  /** Uses up the bytes. */
  const fill = (): string => {
    const filler = join(folder, 'filler');
    const { bsize } = statfsSync(folder);
    for (const size of [256 * bsize, bsize]) untilFull(() => appendFileSync(filler, Buffer.alloc(size)));
    return filler;
  };

  /**
   * Waits until the log's first lines are in its files, which have room for a few more then. A keeper writes them a moment
   * after its start, and without room for them nothing starts.
   */
  const logged = async (keeper: KeeperClient): Promise<void> => {
    const answer = await (await keeper.ask({ type: 'ASK', what: 'log' })).wait('ANSWER');
    expect(answer.error).toBeUndefined();
  };

  /** Uses up the inodes. */
  const fillInodes = (): string => {
    const filler = join(folder, 'spool', 'filler');
    mkdirSync(filler);
    let count = 0;
    untilFull(() => writeFileSync(join(filler, String(count++)), ''));
    return filler;
  };

  test('output waits for room and nothing is lost', async () => {
    const keeper = await KeeperClient.start({}, folder);
    await logged(keeper);
    const filler = fill();
    const run = keeper.sh('head -c 3000000 /dev/zero; echo end >&2; exit 3');
    await until(async () => (await keeper.list()).some(({ blocked }) => blocked === 'disk'), 'a blocked run');
    expect(run.find('EXIT')).toBeUndefined();
    rmSync(filler);
    expect(await run.exit).toMatchObject({ code: 3 });
    expect(await run.output(1)).toHaveLength(3_000_000);
    expect(await run.text(2)).toBe('end\n');
    await keeper.end();
  });

  test('acknowledged output makes room for more of the same run', async () => {
    execFileSync('mount', ['-o', 'remount,size=40m', folder]);
    const keeper = await KeeperClient.start({}, folder);
    const run = keeper.sh('head -c 100000000 /dev/zero; exit 3');
    for (let have = 0; have < 100_000_000;) {
      await run.reaches(1, have + 1);
      have = run.next(1);
      run.send({ type: 'ACK', stream: 1, durable: have });
    }
    expect(await run.exit).toMatchObject({ code: 3, upto: [{ stream: 1, offset: 100_000_000 }, { stream: 2 }] });
    await keeper.end();
  });

  test('more output than the disk holds, of both streams, goes through it as its reader takes it', async () => {
    const keeper = await KeeperClient.start({}, folder);
    const run = keeper.sh('head -c 30000000 /dev/zero; head -c 30000000 /dev/zero >&2; exit 3');
    const have = new Map([
      [1, 0],
      [2, 0],
    ]);
    const take = async (stream: number) => {
      for (let from = 0; from < 30_000_000; from = have.get(stream)!) {
        await run.reaches(stream, from + 1);
        have.set(stream, run.next(stream));
        expect((await run.read(stream, from, have.get(stream)!)).every((byte) => byte === 0)).toBe(true);
        run.send({ type: 'ACK', stream, durable: have.get(stream) });
      }
    };
    await Promise.all([take(1), take(2)]);
    expect(await run.exit).toMatchObject({ code: 3, upto: [{ offset: 30_000_000 }, { offset: 30_000_000 }] });
    await keeper.end();
  });

  test('an agent and a caller that keep reading suffice for that, whatever they hold open', async () => {
    const home = resolveHome({ SENDALL_HOME: folder });
    await using agent = await openAgent({ home, keeperIdleExit: 200 });
    await using host = await connect('local', { home });
    const run = host.sh('head -c 50000000 /dev/zero | tr "\\0" x; echo end >&2', { reject: false });
    const { outcome, stdout, stderr } = await run;
    expect([outcome, stdout.length, stderr]).toEqual(['ok', 50_000_000, 'end\n']);
    await agent.close();
  });

  test('the rest of a full disk serves stderr too: none of it is lost, and no code is reported earlier', async () => {
    const keeper = await KeeperClient.start({}, folder);
    await logged(keeper);
    const filler = fill();
    const run = keeper.sh('head -c 100000 /dev/zero >&2; exit 0');
    await until(async () => (await keeper.list()).some(({ blocked }) => blocked === 'disk'), 'a blocked run');
    expect(run.find('EXIT')).toBeUndefined();
    rmSync(filler);
    expect(await run.exit).toMatchObject({ code: 0 });
    expect(await run.output(2)).toHaveLength(100_000);
    await keeper.end();
  });

  test('acknowledged output of a finished run makes room for others', async () => {
    const keeper = await KeeperClient.start({}, folder);
    const first = keeper.sh('head -c 4000000 /dev/zero');
    await first.exit;
    first.send({ type: 'EXIT_ACK', received: [] });
    const second = keeper.sh('head -c 6000000 /dev/zero; exit 3');
    expect(await second.exit).toMatchObject({ code: 3 });
    await keeper.end();
  });

  test('an exit code is not lost, also when the keeper dies before there is room', async () => {
    const keeper = await KeeperClient.start({}, folder);
    await logged(keeper);
    const filler = fill();
    const run = keeper.sh('echo unstored; exit 42');
    const { pid } = await run.wait('STARTED');
    await until(() => !existsSync(`/proc/${pid}`), 'the end of the command, seen by the keeper');
    // Its exit is in the journal; it is reported once its output is stored.
    expect(await keeper.status()).toMatchObject({ running: 1 });
    expect(run.find('EXIT')).toBeUndefined();
    await keeper.crash();
    const { exit, state } = await keeper.attach(run.runId).wait('ATTACHED');
    expect(state).toBe('lost');
    expect(exit).toMatchObject({
      code: 42,
      cause: 'lost',
      reason: 'the keeper died before the last output was stored',
    });
    rmSync(filler);
    await keeper.end();
  });

  test.each<[string, () => string, string]>([
    ['without a free byte', fill, 'size=8m'],
    ['without an inode', fillInodes, 'nr_inodes=200'],
  ])('on a disk %s a keeper follows one that died, and reports the fate of its runs', async (_, use, disk) => {
    execFileSync('mount', ['-o', `remount,${disk}`, folder]);
    const keeper = await KeeperClient.start({}, folder);
    const over = keeper.sh('exit 42');
    let size = (await over.exit).log!.size;
    // More than one, so that the entries of a start do not use up the rest.
    const filler = use();
    for (let i = 0; i < 3; i++) {
      await keeper.crash();
      const { exit } = await keeper.attach(over.runId).wait('ATTACHED');
      expect(exit).toMatchObject({ code: 42 });
      // No head is taken back.
      expect(exit!.log!.size).toBeGreaterThanOrEqual(size);
      ({ size } = exit!.log!);
    }
    rmSync(filler, { recursive: true });
    expect(await keeper.sh('exit 43').exit).toMatchObject({ code: 43 });
    await keeper.end();
  });

  test.each<[string, () => string, string]>([
    ['without a free byte', fill, 'size=8m'],
    ['without an inode', fillInodes, 'nr_inodes=200'],
  ])('on a disk %s an agent follows one that was killed', async (_, use, size) => {
    execFileSync('mount', ['-o', `remount,${size}`, folder]);
    const env = { ...process.env, SENDALL_HOME: folder };
    const start = async () => {
      const agent = spawn(process.execPath, [cli, 'agent'], { env, stdio: ['ignore', 'ignore', 'pipe'] });
      let said = '';
      agent.stderr.setEncoding('utf8').on('data', (text: string) => (said += text));
      await until(() => /^listening/m.test(said) || agent.exitCode !== null, 'the agent');
      expect(said).toMatch(/^listening/m);
      return agent;
    };
    const first = await start();
    const home = resolveHome({ SENDALL_HOME: folder });
    await using host = await connect('local', { home });
    const run = await host.sh('exit 42', { reject: false });
    const filler = use();
    const killed = once(first, 'exit');
    first.kill('SIGKILL');
    await killed;
    const second = await start();
    await using again = await connect('local', { home });
    expect(await again.attach(run.runId, { reject: false })).toMatchObject({ code: 42 });
    rmSync(filler, { recursive: true });
    await again.ask('stop', { runs: true });
    await until(() => second.exitCode !== null, 'the end of the agent');
  });

  test('an entry that did not fit does not count as damage to the next keeper', () => {
    const path = join(folder, 'journal');
    const keeping = { hasStrays: () => false, setAside: () => expect.unreachable('damage') };
    const { journal } = Journal.open(path, 'boot', keeping);
    journal.append({ kind: 'keeper', bootId: 'boot', pid: 1, startMs: 1 });
    fill();
    for (let no = 1; !journal.failed; no++) {
      journal.append({ kind: 'refused', no, code: 'limits', message: 'x'.repeat(no % 1000) });
      journal.flush();
    }
    expect(journal.failed.message).toContain('ENOSPC');
    journal.close();
    const again = Journal.open(path, 'boot', keeping);
    expect(again.journal.epoch).toEqual(journal.epoch);
    again.journal.close();
  });

  test('a journal that cannot be rewritten stays in use, and the attempt leaves no trace', () => {
    const path = join(folder, 'journal');
    const { journal } = Journal.open(path, 'boot', { hasStrays: () => false, setAside: () => undefined });
    fill();
    // Of this process's files those on that disk: the runner may open others meanwhile.
    const open = () =>
      readdirSync('/proc/self/fd')
        .map(targetOf)
        .filter((path) => path.startsWith(folder));
    const before = open();
    expect(() => journal.compact(0, [])).toThrow(/ENOSPC/);
    expect(open()).toEqual(before);
    expect(existsSync(`${path}.new`)).toBe(false);
    journal.close();
  });

  test('a journal without room refuses new commands and says so; those that run end as they should', async () => {
    const keeper = await KeeperClient.start({ limits: { maxRunning: 10_000, maxQueued: 0 } }, folder);
    const runs = Array.from({ length: 10 }, () => keeper.sh('sleep 0.5; exit 7'));
    await Promise.all(runs.map((run) => run.wait('STARTED')));
    fill();
    // A megabyte is preallocated: it takes some commands to use it up.
    let refused;
    for (let burst = 0; burst < 12 && !refused; burst++) {
      const more = Array.from({ length: 50 }, () => keeper.exec('true', 'x'.repeat(2000)));
      await Promise.all(more.map((run) => Promise.race([run.wait('TREE_END'), run.wait('REFUSED')])));
      refused = more.map((run) => run.find('REFUSED')).find(Boolean);
    }
    expect(refused).toMatchObject({ code: 'limits' });
    expect(refused!.message).toMatch(/^the (run journal|log) cannot be written/);
    for (const run of runs) expect(await run.exit).toMatchObject({ code: 7 });
    await keeper.end();
  });

  test('a log without room lets nothing start; what goes on is logged once there is room, and nothing is missing', async () => {
    const keeper = await KeeperClient.start({ limits: { maxAttachments: 100_000 } }, folder);
    const runs = Array.from({ length: 5 }, (_, i) => keeper.sh(`read x; exit ${i}`, { stdin: true }));
    await Promise.all(runs.map((run) => run.wait('STARTED')));
    const filler = fill();
    const heldNow = async () => ((await keeper.status()).log as unknown as { held: number }).held;
    let attached = 0;
    // A megabyte is preallocated: it takes many long lines to use it up. Of one caller they would be folded.
    const callerNo = (no: number) => `${'c'.repeat(400)} ${no}`;
    while ((await heldNow()) === 0) {
      const batch = Array.from({ length: 500 }, (_, i) =>
        keeper.attach(runs[0]!.runId, 'observe', { caller: callerNo(attached + i) }),
      );
      await Promise.all(batch.map((each) => each.wait('ATTACHED')));
      attached += batch.length;
    }
    expect(await keeper.exec('true').wait('REFUSED')).toMatchObject({
      code: 'limits',
      message: expect.stringMatching(/cannot be written/) as string,
    });
    for (const run of runs) run.input(0, Buffer.from('\n'));
    for (const [i, run] of runs.entries()) expect(await run.exit).toMatchObject({ code: i });
    rmSync(filler);
    expect(await keeper.exec('true').exit).toMatchObject({ code: 0 });
    const answer = await (await keeper.ask({ type: 'ASK', what: 'log' })).wait('ANSWER');
    expect(answer.error).toBeUndefined();
    expect(await heldNow()).toBe(0);
    const lines = readFileSync(join(folder, 'log', '0000000000000000.jsonl'), 'utf8')
      .trim()
      .split('\n');
    const records = lines.map((line) => JSON.parse(line) as { n: number; kind: string; code?: unknown });
    expect(records.map(({ n }) => n)).toEqual(records.map((_, n) => n));
    const count = (kind: string) => records.filter((each) => each.kind === kind).length;
    expect([count('attach'), count('exit')]).toEqual([attached, 6]);
    expect(records.some(({ kind, code }) => kind === 'refuse' && code === 'limits')).toBe(true);
    await keeper.end();
  });
});
