/**
 * A sync that fails: what was not synced was not promised, so no command starts on it; those that run go on, and the
 * next keeper takes up what the disk has.
 */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { resolveHome } from '../../dist/home.js';
import { logFolder } from '../../dist/log/layout.js';
import { folderSource } from '../../dist/log/source.js';
import { verifyLog } from '../../dist/log/verification.js';
import { hashFromBase64 } from '../../dist/log/hashes.js';
import { KeeperClient } from './keeper-client.js';

const program = fileURLToPath(new URL('../dist/failing-sync-keeper.js', import.meta.url));

let folder: string;
/** While it exists, syncs fail. */
let failing: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'failed-sync-'));
  failing = join(folder, 'failing');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const start = async (files: string): Promise<KeeperClient> =>
  await KeeperClient.start({ program, env: { FAIL_SYNC: files, FAIL_IF: failing } }, join(folder, 'home'));

/** The head that the keeper tells, as one that a caller keeps. */
async function headOf(keeper: KeeperClient) {
  const { size, root } = (await keeper.status()).log as unknown as { size: number; root: string };
  return { pin: 'kept', size, root: hashFromBase64(root)! };
}

const verify = async (heads: readonly Awaited<ReturnType<typeof headOf>>[]) =>
  await verifyLog(folderSource(logFolder(resolveHome({ SENDALL_HOME: join(folder, 'home') }))), heads);

test('of the journal: the command does not start, nor does any later one until there is another keeper', async () => {
  const keeper = await start('/journal');
  const running = keeper.sh('read x; exit 7', { stdin: true });
  await running.wait('STARTED');
  const before = await headOf(keeper);
  const marker = join(folder, 'marker');
  writeFileSync(failing, '');
  const refused = keeper.sh(`touch ${marker}`);
  expect(await refused.wait('REFUSED')).toMatchObject({
    code: 'limits',
    message: 'the run journal cannot be written (EIO: i/o error, fdatasync)',
  });
  // The disk works again, but what it has of the journal is not known.
  rmSync(failing);
  expect(await keeper.sh(`touch ${marker}`).wait('REFUSED')).toMatchObject({
    code: 'limits',
    message: expect.stringContaining('cannot be written (EIO'),
  });
  // No head covers what was not synced.
  expect((await headOf(keeper)).size).toBe(before.size);
  running.input(0, Buffer.from('\n'));
  expect(await running.exit).toMatchObject({ code: 7 });
  await keeper.crash();
  expect(await keeper.sh('exit 5').exit).toMatchObject({ code: 5 });
  expect(existsSync(marker)).toBe(false);
  const known = await keeper.attach(refused.runId).wait('ATTACHED');
  expect([known.state, known.started]).toEqual(['lost', undefined]);
  await keeper.end();
  expect(await verify([before])).toMatchObject({ ok: true, problems: [] });
});

test('of the log: nothing starts, commands that run end as they should, and the next keeper goes on', async () => {
  const keeper = await start('/log/');
  const running = keeper.sh('read x; exit 7', { stdin: true });
  await running.wait('STARTED');
  // The log's files are synced when the journal is rewritten: it must be long for that.
  writeFileSync(failing, '');
  const words = Array<string>(40).fill('x'.repeat(1000));
  let message: string | undefined;
  for (let burst = 0; burst < 60 && message === undefined; burst++) {
    const runs = Array.from({ length: 25 }, () => keeper.exec('true', ...words));
    await Promise.all(runs.map((run) => Promise.race([run.wait('TREE_END'), run.wait('REFUSED')])));
    message = runs.map((run) => run.find('REFUSED')?.message).find((each) => each !== undefined);
  }
  expect(message).toBe('the log cannot be written (EIO: i/o error, fsync)');
  expect((await keeper.status()).log).toMatchObject({ failed: 'EIO: i/o error, fsync' });
  const before = await headOf(keeper);
  rmSync(failing);
  expect(await keeper.sh('true').wait('REFUSED')).toMatchObject({ code: 'limits' });
  running.input(0, Buffer.from('\n'));
  expect(await running.exit).toMatchObject({ code: 7 });
  await keeper.crash();
  expect((await keeper.status()).log).toMatchObject({ held: 0 });
  expect(await keeper.sh('exit 5').exit).toMatchObject({ code: 5 });
  await keeper.end();
  expect(await verify([before])).toMatchObject({ ok: true, problems: [] });
  // The end that fell into that time is in the log too.
  const log = logFolder(keeper.home);
  const segments = readdirSync(log).filter((name) => name.endsWith('.jsonl'));
  const lines = segments.flatMap((name) => readFileSync(join(log, name), 'utf8').trim().split('\n'));
  const records = lines.map((line) => JSON.parse(line) as { kind: string; code?: number });
  expect(records.filter(({ kind, code }) => kind === 'exit' && code === 7)).toHaveLength(1);
});
