/** The keeper's log over the deaths of its writer and of the machine, at each of its steps, and on damaged files. */
import { spawnSync } from 'node:child_process';
import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  symlinkSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { resolveHome, type Home } from '../../dist/home.js';
import { Journal, journalFile } from '../../dist/keeper/journal/journal.js';
import { SetAside, setAsideFolders } from '../../dist/keeper/journal/set-aside.js';
import { KeeperLog } from '../../dist/keeper/log/keeper-log.js';
import { hashBase64, hashFromBase64 } from '../../dist/log/hashes.js';
import { logFolder } from '../../dist/log/layout.js';
import { folderSource } from '../../dist/log/source.js';
import { verifyLog, type KnownHead } from '../../dist/log/verification.js';
import { newRunId } from '../../dist/protocol/run-id.js';
import { patience } from '../../../../test/support/waits.js';
import { bytes, KeeperClient } from './keeper-client.js';

const writer = fileURLToPath(new URL('../dist/log-writer.js', import.meta.url));
const seed = Number(process.env.TEST_SEED ?? Math.floor(Math.random() * 1_000_000));

let folder: string;
let home: Home;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'keeper-log-'));
  home = resolveHome({ SENDALL_HOME: join(folder, 'home') });
  mkdirSync(join(folder, 'disk'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Lets a writer run to its end or to a fault; returns the heads that it told. */
function write(boot: string, at: number, env: NodeJS.ProcessEnv = {}): { heads: KnownHead[]; died: boolean } {
  const { stdout, stderr, signal } = spawnSync(process.execPath, [writer, home.state, boot, String(at)], {
    env: { ...process.env, ...env },
    encoding: 'utf8',
    timeout: patience(60_000),
    maxBuffer: 64 * 1024 * 1024,
  });
  expect(stderr).toBe('');
  const heads = stdout
    .split('\n')
    .filter((line) => line.includes(' '))
    .map((line) => {
      const [size, root] = line.split(' ');
      return { pin: line, size: Number(size), root: hashFromBase64(root!)! };
    });
  return { heads, died: signal === 'SIGKILL' };
}

/** Opens journal and log as the next keeper does; returns what it has then. */
async function next(boot: string) {
  const { journal, entries, damaged } = Journal.open(journalFile(home), boot, new SetAside(home));
  const log = new KeeperLog(home, journal, { entries, damaged, bootId: boot }, { live: () => 0, keepBytes: () => 1e9 });
  await new Promise<void>((resolve, reject) => log.settle((error) => (error ? reject(error) : resolve())));
  const head = { ...log.head };
  const { id } = log;
  log.close();
  journal.close();
  return { id, head };
}

const verify = async (heads: readonly KnownHead[]) => await verifyLog(folderSource(logFolder(home)), heads);
const firstLine = (at = logFolder(home)): Record<string, unknown> =>
  JSON.parse(readFileSync(join(at, '0000000000000000.jsonl'), 'utf8').split('\n', 1)[0]!) as Record<string, unknown>;

const POINTS = [
  'after-flush:5',
  'after-intent:4',
  'after-log-lines:6',
  'after-log-hashes:6',
  'after-log-segment:1',
  'after-log-sync:1',
  'after-log-sync:3',
  'after-log-synced:1',
  'after-log-synced:2',
  'after-log-pruned:1',
  'before-compaction-rename:2',
  'after-compaction-rename:2',
];

describe.each(POINTS)('an end %s', (fault) => {
  test(`of the writer: every head that was told holds, and the log goes on (seed ${seed})`, async () => {
    const { heads, died } = write('boot', seed, { SENDALL_FAULT: fault });
    expect(died).toBe(true);
    const { head } = await next('boot');
    const { ok, problems, size, against } = await verify(heads);
    expect(problems).toEqual([]);
    expect(ok).toBe(true);
    expect(size).toBe(head.size);
    expect(against.every(({ consistent }) => consistent)).toBe(true);
    expect(existsSync(join(home.state, 'damaged'))).toBe(false);
  });

  test(`of the machine: what was not synced is dropped, and every head that was told holds (seed ${seed})`, async () => {
    const disk = join(folder, 'disk');
    const { heads, died } = write('boot', seed, { SENDALL_FAULT: fault, DISK: disk });
    expect(died).toBe(true);
    losePower(disk, seed);
    await next('another boot');
    const { problems, ok } = await verify(heads);
    expect(problems).toEqual([]);
    expect(ok).toBe(true);
    expect(existsSync(join(home.state, 'damaged'))).toBe(false);
  });
});

/**
 * Leaves what the disk has: names as of each folder's last sync, and in each file the content of its last sync; of later
 * writes some blocks, chosen at random.
 */
function losePower(disk: string, from: number): void {
  let state = from;
  const chance = (): boolean => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fff_ffff;
    return ((state >>> 10) & 1) === 1;
  };
  const BLOCK = 512;
  const live = new Map<number, string>();
  for (const entry of readdirSync(home.state, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    live.set(statSync(path).ino, path);
  }
  const after = join(folder, 'after');
  const restore = (ino: number, into: string): void => {
    const names = join(disk, `names ${ino}`);
    mkdirSync(into, { mode: 0o700 });
    if (!existsSync(names)) return;
    for (const [name, inode] of JSON.parse(readFileSync(names, 'utf8')) as [string, number][]) {
      const kept = join(disk, String(inode));
      const now = live.get(inode);
      if (now !== undefined && statSync(now).isDirectory()) restore(inode, join(into, name));
      else {
        const old = existsSync(kept) ? readFileSync(kept) : Buffer.alloc(0);
        const fresh = now === undefined ? old : readFileSync(now);
        const mixed = Buffer.alloc(chance() ? old.length : Math.max(old.length, fresh.length));
        old.copy(mixed);
        for (let at = 0; at < mixed.length; at += BLOCK)
          if (chance()) fresh.copy(mixed, at, at, Math.min(at + BLOCK, fresh.length));
        writeFileSync(join(into, name), mixed, { mode: 0o600 });
      }
    }
  };
  restore(statSync(home.state).ino, after);
  rmSync(home.state, { recursive: true });
  cpSync(after, home.state, { recursive: true });
  mkdirSync(join(home.state, 'spool'), { recursive: true });
}

const replace = (path: string, by: (path: string) => unknown): void => {
  rmSync(path, { recursive: true });
  by(path);
};

describe('damage', () => {
  const written = async (): Promise<{ id: string; size: number; root: string }> => {
    const { heads } = write('boot', 7);
    expect(heads.length).toBeGreaterThan(100);
    const { id, head } = await next('boot');
    return { id, size: head.size, root: hashBase64(head.root) };
  };

  test('of the journal begins a new log, whose first line names the old head; the old log is kept', async () => {
    const old = await written();
    const journal = readFileSync(journalFile(home));
    journal[Math.floor(journal.length / 8)]! ^= 0xff;
    // In the middle of what is written, so that it is no torn end.
    appendFileSync(journalFile(home), Buffer.alloc(0));
    writeFileSync(journalFile(home), journal);
    const fresh = await next('boot');
    expect(fresh.id).not.toBe(old.id);
    const [aside] = setAsideFolders(home).filter((each) => existsSync(join(each, 'log')));
    expect(firstLine()).toMatchObject({ n: 0, kind: 'boot', log: fresh.id, before: { folder: join(aside!, 'log') } });
    expect((await verify([])).ok).toBe(true);
    const { before } = firstLine() as { before: { size: number; root: string } };
    const kept = { pin: 'old', size: before.size, root: hashFromBase64(before.root)! };
    expect(await verifyLog(folderSource(join(aside!, 'log')), [kept])).toMatchObject({ ok: true, size: before.size });
  });

  test.each([
    ['a missing folder', (log: string) => rmSync(log, { recursive: true })],
    ['a folder in the place of the hashes', (log: string) => replace(join(log, 'hashes'), mkdirSync)],
    ['a link in the place of the log', (log: string) => replace(log, (path) => symlinkSync('/dev/null', path))],
    ['cut hashes', (log: string) => truncateSync(join(log, 'hashes'), 3200)],
    [
      'changed hashes',
      (log: string) => {
        const hashes = readFileSync(join(log, 'hashes'));
        for (let at = 0; at < hashes.length; at += 32) hashes[at]! ^= 1;
        writeFileSync(join(log, 'hashes'), hashes);
      },
    ],
  ])('of the log, %s, begins a new log that names the old one', async (_, harm) => {
    const old = await written();
    harm(logFolder(home));
    const fresh = await next('boot');
    expect(fresh.id).not.toBe(old.id);
    expect(firstLine()).toMatchObject({
      log: fresh.id,
      before: { reason: expect.stringMatching(/log|hashes/) as string },
    });
    const { before } = firstLine() as { before: { size: number; root: string } };
    expect(before.size).toBeGreaterThan(100);
    // It is not the last of the log, but one that was true.
    expect(before.size).toBeLessThanOrEqual(old.size);
    expect((await verify([])).ok).toBe(true);
  });
});

describe('a keeper', () => {
  const settled = async (keeper: KeeperClient) => {
    const answer = await (await keeper.ask({ type: 'ASK', what: 'log' })).wait('ANSWER');
    return JSON.parse(answer.body!) as { id: string; size: number; root: string };
  };
  const records = (keeper: KeeperClient): Record<string, unknown>[] =>
    readFileSync(join(logFolder(keeper.home), '0000000000000000.jsonl'), 'utf8')
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as Record<string, unknown>);

  test('logs a run from its permission to its end, with its words, and never its text, values or input', async () => {
    await using keeper = await KeeperClient.start();
    const secret = 'do-not-log-this';
    const run = keeper.open(
      { verb: 'sh', script: bytes(`# ${secret}\nexit 3`), env: [bytes(`X=${secret}`)], stdin: true, name: 'job' },
      { caller: 'SHA256:caller' },
    );
    run.input(0, bytes(secret));
    const exit = await run.exit;
    expect(exit.log!.index).toBeGreaterThan(0);
    await keeper.exec('/nonexistent', 'word').wait('REFUSED');
    await settled(keeper);
    const lines = records(keeper);
    expect(lines.map(({ n }) => n)).toEqual(lines.map((_, i) => i));
    expect(lines.map(({ kind }) => kind)).toEqual(['boot', 'allow', 'start', 'exit', 'allow', 'refuse']);
    expect(lines[1]).toMatchObject({ verb: 'sh', principal: 'tester', caller: 'SHA256:caller', name: 'job' });
    expect(lines[1]!.script).toMatchObject({ bytes: secret.length + 9 });
    expect(lines[exit.log!.index]).toMatchObject({ kind: 'exit', code: 3 });
    expect(lines[4]).toMatchObject({ argv: ['/nonexistent', 'word'] });
    expect(lines[5]).toMatchObject({ code: 'nofile' });
    for (const file of ['journal', join('log', '0000000000000000.jsonl'), join('log', 'hashes')])
      expect(readFileSync(join(keeper.home.state, file)).includes(secret)).toBe(false);
    expect(Object.keys(lines[1]!).slice(0, 5)).toEqual(['n', 'at', 'kind', 'run', 'principal']);
  });

  test('tells only heads that are on the disk, and waits for its own when it is asked to', async () => {
    await using keeper = await KeeperClient.start();
    const first = await keeper.exec('true').exit;
    // The exit itself is not on the disk yet: no sync was made for it.
    expect(first.log!.size).toBeLessThanOrEqual(first.log!.index);
    const before = (await keeper.status()).syncs as number;
    const own = keeper.open({ argv: [bytes('true')] }, { syncLog: true });
    const exit = await own.exit;
    expect(exit.log!.size).toBe(exit.log!.index + 1);
    expect((await keeper.status()).syncs).toBe(before + 2);
    const { size, root } = await settled(keeper);
    expect(size).toBe(exit.log!.size);
    expect(root).toBe(Buffer.from(exit.log!.head).toString('base64'));
    // Whoever comes later hears the head of that moment, not the old one.
    await keeper.exec('true').exit;
    const again = await keeper.attach(own.runId).wait('ATTACHED');
    expect(again.exit!.log).toMatchObject({ index: exit.log!.index });
    expect(again.exit!.log!.size).toBeGreaterThan(exit.log!.size);
  });

  test('tells who comes while a run waits for its head first where the run stands, and then its end', async () => {
    const hold = join(folder, 'hold');
    const program = fileURLToPath(new URL('../dist/held-sync-keeper.js', import.meta.url));
    await using keeper = await KeeperClient.start({ program, env: { HOLD_SYNC: hold } });
    const run = keeper.sh('read x; echo out', { stdin: true }, { syncLog: true });
    await run.wait('STARTED');
    writeFileSync(hold, '');
    run.input(0, bytes('\n'));
    await run.wait('TREE_END');
    const late = keeper.attach(run.runId);
    // Its answer comes behind the keeper's look at the newcomer.
    await keeper.status();
    rmSync(hold);
    const exit = await late.exit;
    expect(exit.log!.size).toBeGreaterThan(exit.log!.index);
    expect(late.types.filter((type) => type !== 'SPOOLED')).toEqual(['ATTACHED', 'EXIT']);
    expect(await late.text()).toBe('out\n');
  });

  test('adds no sync to runs one after the other', async () => {
    await using keeper = await KeeperClient.start();
    await keeper.exec('true').exit;
    const before = (await keeper.status()).syncs as number;
    for (let i = 0; i < 10; i++) await keeper.exec('true').exit;
    expect((await keeper.status()).syncs).toBe(before + 10);
  });

  test('logs who attached, who signalled and what was left behind', async () => {
    await using keeper = await KeeperClient.start();
    const run = keeper.sh('setsid sleep 300 & echo; read x', { stdin: true });
    await run.reaches(1, 1);
    const viewer = keeper.attach(run.runId, 'observe', { caller: 'SHA256:viewer' });
    await viewer.wait('ATTACHED');
    viewer.send({ type: 'DETACH' });
    await run.operate({ type: 'SIGNAL', signal: 1, scope: 'leader' });
    await run.exit;
    await run.operate({ type: 'CANCEL', graceMs: 0, reason: 'enough' });
    await run.wait('TREE_END');
    await settled(keeper);
    const lines = records(keeper).slice(3);
    expect(lines.map(({ kind }) => kind)).toEqual(['attach', 'detach', 'signal', 'exit', 'tree', 'cancel', 'tree']);
    expect(lines[0]).toMatchObject({ caller: 'SHA256:viewer', mode: 'observe' });
    expect(lines[2]).toMatchObject({ signal: 'SIGHUP', scope: 'leader', principal: 'tester' });
    expect(lines[4]).toMatchObject({ state: 'outlives' });
    expect(lines[5]).toMatchObject({ reason: 'enough' });
    expect(lines[6]).toMatchObject({ state: 'ended' });
  });

  test('folds refusals that are repeated', async () => {
    await using keeper = await KeeperClient.start();
    const past = { notAfterMs: 1 };
    for (let i = 0; i < 50; i++) await keeper.open({ argv: [bytes('true')] }, past).wait('REFUSED');
    await settled(keeper);
    const refusals = records(keeper).filter(({ kind }) => kind === 'refuse');
    expect(refusals.map(({ code, count }) => [code, count])).toEqual([
      ['expired', undefined],
      ['expired', 49],
    ]);
  });

  test('folds what a caller does again and again with one run', async () => {
    await using keeper = await KeeperClient.start();
    const run = keeper.sh('sleep 300');
    await run.wait('STARTED');
    for (let i = 0; i < 50; i++) {
      const viewer = keeper.attach(run.runId, 'observe', { caller: 'SHA256:viewer' });
      await viewer.wait('ATTACHED');
      viewer.send({ type: 'DETACH' });
      await run.operate({ type: 'SIGNAL', signal: 18, scope: 'leader' });
    }
    await run.operate({ type: 'SIGNAL', signal: 28, scope: 'leader' });
    await run.operate({ type: 'CANCEL', graceMs: 0 });
    await settled(keeper);
    const deeds = records(keeper).filter(({ kind }) => ['attach', 'detach', 'signal', 'cancel'].includes(String(kind)));
    expect(deeds.map(({ kind, signal, count }) => [kind, signal, count])).toEqual([
      ['attach', undefined, undefined],
      ['detach', undefined, undefined],
      ['signal', 'SIGCONT', undefined],
      ['signal', 'SIGWINCH', undefined],
      ['cancel', undefined, undefined],
      ['attach', undefined, 49],
      ['detach', undefined, 49],
      ['signal', 'SIGCONT', 49],
    ]);
  });

  test('that was killed is followed by one that goes on with the log and names what was lost', async () => {
    await using keeper = await KeeperClient.start();
    const done = await keeper.exec('true').exit;
    const run = keeper.sh('trap "" PIPE; sleep 300');
    await run.wait('STARTED');
    const { id, size } = await settled(keeper);
    await keeper.crash();
    const after = await settled(keeper);
    expect(after.id).toBe(id);
    expect(after.size).toBeGreaterThan(size);
    const head = { pin: 'exit', size: done.log!.size, root: Buffer.from(done.log!.head).toString('latin1') };
    expect(await verifyLog(folderSource(logFolder(keeper.home)), [head])).toMatchObject({ ok: true });
    expect(
      records(keeper)
        .filter(({ kind }) => kind === 'exit')
        .at(-1),
    ).toMatchObject({ cause: 'lost' });
    await keeper.attach(run.runId, 'control').operate({ type: 'CANCEL', graceMs: 0 });
  });

  test('takes notes of its agent, and refuses other kinds', async () => {
    await using keeper = await KeeperClient.start();
    keeper.link.send({
      type: 'NOTE',
      alias: 0,
      kind: 'note',
      body: JSON.stringify({ what: 'pair', caller: 'SHA256:x' }),
    });
    keeper.link.send({ type: 'NOTE', alias: 0, kind: 'exit', body: '{}' });
    await settled(keeper);
    expect(records(keeper).at(-1)).toMatchObject({ kind: 'note', what: 'pair', caller: 'SHA256:x' });
    expect(records(keeper)).toHaveLength(2);
    expect(await keeper.open({ argv: [bytes('true')] }, { runId: newRunId() }).exit).toMatchObject({ code: 0 });
  });
});
