import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { spoolFolder } from '../../dist/keeper/door/door.js';
import { within, until } from '../../../../test/support/waits.js';
import type { RunInfo } from '../../dist/protocol/messages.js';
import { KeeperClient, PRINCIPAL, type Attached } from './keeper-client.js';

const KiB = 1024;
const MiB = 1024 * KiB;
/** The smallest segment: what is acknowledged goes in pieces of it. */
const SEGMENT = 64 * KiB;

async function keeperOf(...options: Parameters<typeof KeeperClient.start>): Promise<KeeperClient> {
  const keeper = await KeeperClient.start(...options);
  onTestFinished(() => keeper[Symbol.asyncDispose]());
  return keeper;
}

/** With the limits that everyone has. */
let shared: KeeperClient;
beforeAll(async () => (shared = await KeeperClient.start()));
afterAll(() => shared[Symbol.asyncDispose]());

const folderOf = (keeper: KeeperClient, run: Attached): string => spoolFolder(keeper.home, PRINCIPAL, run.runId);

/** Bytes of a run's output on disk. */
function spooled(keeper: KeeperClient, run: Attached): number {
  const folder = folderOf(keeper, run);
  if (!existsSync(folder)) return 0;
  let bytes = 0;
  for (const name of readdirSync(folder)) bytes += statSync(join(folder, name), { throwIfNoEntry: false })?.size ?? 0;
  return bytes;
}

const acknowledge = (run: Attached, stream: number, durable: number): void =>
  run.send({ type: 'ACK', stream, durable });

/** Takes the end, as a caller does that has everything, and leaves. */
function leaveWell(run: Attached): void {
  run.send({ type: 'EXIT_ACK', received: [] });
  run.send({ type: 'DETACH' });
}

async function infoOf(keeper: KeeperClient, { runId }: Attached): Promise<RunInfo | undefined> {
  return (await keeper.list()).find((info) => Buffer.compare(info.runId, runId) === 0);
}

const forgotten = async (keeper: KeeperClient, run: Attached): Promise<unknown> =>
  await until(async () => (await infoOf(keeper, run)) === undefined, 'the run to be forgotten');

test('acknowledged output leaves the disk while the command runs, and what is not acknowledged stays', async () => {
  const keeper = shared;
  const run = keeper.sh('head -c 3000000 /dev/zero; read go; echo last', { stdin: true, passing: true });
  await run.reaches(1, 3_000_000);
  expect(spooled(keeper, run)).toBe(3_000_000);
  acknowledge(run, 1, 2_999_000);
  await until(() => spooled(keeper, run) < 2 * MiB, 'whole segments to go');
  expect((await run.read(1, 2_999_000, 3_000_000)).equals(Buffer.alloc(1000))).toBe(true);
  acknowledge(run, 1, 3_000_000);
  await until(() => spooled(keeper, run) === 0, 'the rest to go');
  run.input(0, Buffer.from('\n'));
  const exit = await run.exit;
  expect(exit.upto[0]).toMatchObject({ stream: 1, offset: 3_000_005 });
  expect((await run.read(1, 3_000_000, 3_000_005)).toString()).toBe('last\n');
});

test('a command that writes more than passingSpool waits, and every byte can be taken', async () => {
  const keeper = await keeperOf({ limits: { passingSpool: 4 * SEGMENT } });
  const run = keeper.sh('seq 400000 | tee /dev/stderr', { passing: true });
  let crc = 0;
  let next = 0;
  let most = 0;
  const ended = run.exit;
  // Of both streams, one byte of room after the other: `tee` writes both.
  for (let step = 0, over = false; !over; step++) {
    over = await Promise.race([ended.then(() => true), run.reaches(1, next + 1).then(() => false)]);
    const to = run.next(1);
    if (to > next) {
      const bytes = await run.read(1, next, to);
      crc = crc32(bytes, crc);
      next = to;
    }
    most = Math.max(most, spooled(keeper, run));
    acknowledge(run, 1, to);
    acknowledge(run, 2, run.next(2));
  }
  const exit = await ended;
  const upto = exit.upto.find(({ stream }) => stream === 1)!;
  crc = crc32(await run.read(1, next, upto.offset), crc);
  expect(crc).toBe(upto.crc32);
  expect(exit.code).toBe(0);
  // Two streams, and a read of the pipe beyond each limit.
  expect(most).toBeLessThanOrEqual(2 * (4 * SEGMENT + MiB));
});

test('is blocked while its caller takes nothing, and holds no more than passingSpool', async () => {
  const keeper = await keeperOf({ limits: { passingSpool: 4 * SEGMENT } });
  const run = keeper.sh('head -c 50000000 /dev/zero', { passing: true });
  await until(async () => (await infoOf(keeper, run))?.blocked === 'stdout', 'the command to wait');
  expect(spooled(keeper, run)).toBe(4 * SEGMENT);
});

test('nothing but its id stays once its caller has the end, also for the next keeper', async () => {
  const keeper = shared;
  const run = keeper.sh('echo out; echo err >&2', { passing: true });
  await run.wait('TREE_END');
  expect(spooled(keeper, run)).toBe(8);
  leaveWell(run);
  await forgotten(keeper, run);
  expect(existsSync(folderOf(keeper, run))).toBe(false);
  const ask = async (): Promise<void> => {
    const again = keeper.sh('echo out; echo err >&2', { passing: true }, { runId: run.runId });
    expect(await again.wait('REFUSED')).toMatchObject({ code: 'expired' });
    const other = keeper.sh('echo other', { passing: true }, { runId: run.runId });
    expect(await other.wait('REFUSED')).toMatchObject({ code: 'conflict' });
    expect(await keeper.attach(run.runId).wait('ATTACH_REFUSED')).toMatchObject({ code: 'unknown' });
  };
  await ask();
  await keeper.crash();
  await ask();
  expect(existsSync(folderOf(keeper, run))).toBe(false);
});

test('until its end is acknowledged, a repeated OPEN attaches to it, and its output is there', async () => {
  const keeper = shared;
  const run = keeper.sh('echo out', { passing: true });
  await run.wait('TREE_END');
  run.send({ type: 'DETACH' });
  await keeper.crash();
  const again = keeper.sh('echo out', { passing: true }, { runId: run.runId });
  expect(await again.wait('ATTACHED')).toMatchObject({ exit: { code: 0 } });
  expect((await again.read(1, 0, 4)).toString()).toBe('out\n');
  leaveWell(again);
  await forgotten(keeper, again);
});

test('an observer that still reads keeps the run, not its acknowledged output, until it leaves', async () => {
  const keeper = shared;
  const run = keeper.sh('read go; head -c 200000 /dev/zero', { stdin: true, passing: true });
  await run.wait('STARTED');
  const observer = keeper.attach(run.runId);
  await observer.wait('ATTACHED');
  run.input(0, Buffer.from('\n'));
  await observer.wait('TREE_END');
  leaveWell(run);
  const info = await infoOf(keeper, run);
  expect(info).toMatchObject({ state: 'exited', attached: 1 });
  // An observer's word counts for nothing.
  observer.send({ type: 'EXIT_ACK', received: [] });
  observer.send({ type: 'DETACH' });
  await forgotten(keeper, run);
});

test('a keeper that died between the word of the end and the removal leaves the removal to the next one', async () => {
  const keeper = await keeperOf({ env: { SENDALL_FAULT: 'before-passing' } });
  const run = keeper.sh('echo out', { passing: true });
  await run.wait('TREE_END');
  run.send({ type: 'EXIT_ACK', received: [] });
  // Its answer tells that the word is in the journal.
  await keeper.status();
  run.send({ type: 'DETACH' });
  await within(keeper.link.closed, 'the keeper to die');
  expect(spooled(keeper, run)).toBe(4);
  await keeper.connect();
  expect(await keeper.list()).toEqual([]);
  expect(existsSync(folderOf(keeper, run))).toBe(false);
});

test('a keeper that dies while it runs leaves what was not acknowledged, at its place', async () => {
  const keeper = shared;
  const run = keeper.sh('seq 900000; sleep 600', { passing: true });
  const all = Buffer.from(Array.from({ length: 900_000 }, (_, i) => `${i + 1}\n`).join(''));
  const taken = 5_000_000;
  await run.reaches(1, all.length);
  acknowledge(run, 1, taken);
  await until(() => spooled(keeper, run) < all.length, 'whole segments to go');
  await keeper.crash();
  const again = keeper.attach(run.runId, 'control');
  const { streams, exit } = await again.wait('ATTACHED');
  expect(exit).toMatchObject({ cause: 'lost' });
  const stdout = streams.find(({ stream }) => stream === 1)!;
  expect(stdout).toMatchObject({ next: all.length, final: all.length });
  expect(stdout.first).toBeGreaterThan(0);
  expect(stdout.first).toBeLessThanOrEqual(taken);
  expect((await again.read(1, taken, all.length)).equals(all.subarray(taken))).toBe(true);
  process.kill(-(await run.wait('STARTED')).pid, 'SIGKILL');
  leaveWell(again);
  await forgotten(keeper, again);
});

test('a caller that does not come back finds its command ended after keep, and nothing is left', async () => {
  const keeper = await keeperOf({ limits: { passingSpool: 2 * SEGMENT } });
  const run = keeper.sh('head -c 50000000 /dev/zero', { passing: true, keepMs: 300 });
  await run.wait('STARTED');
  // One that only watches takes nothing.
  const watcher = keeper.attach(run.runId);
  await watcher.wait('ATTACHED');
  run.send({ type: 'DETACH' });
  expect(await watcher.exit).toMatchObject({
    cause: 'cancelled',
    reason: expect.stringContaining('no caller came to take its output'),
  });
});

test('what background processes write after the end was taken is not kept', async () => {
  const keeper = await keeperOf({ limits: { passingSpool: 2 * SEGMENT } });
  const run = keeper.sh(
    '(while [ ! -e "$0.go" ]; do sleep 0.01; done; head -c 5000000 /dev/zero; sleep 600) & exit 0'.replaceAll(
      '$0',
      keeper.home.state,
    ),
    {
      passing: true,
    },
  );
  await run.exit;
  leaveWell(run);
  writeFileSync(`${keeper.home.state}.go`, '');
  onTestFinished(() => rmSync(`${keeper.home.state}.go`));
  await until(async () => (await infoOf(keeper, run))?.stdoutBytes === 5_000_000, 'its output to be read');
  expect(spooled(keeper, run)).toBeLessThanOrEqual(SEGMENT + MiB);
});

test('nothing of what the command reads is on the disk', async () => {
  const keeper = shared;
  const run = keeper.sh('head -c 1000000 > /dev/null', { stdin: true, passing: true });
  await run.wait('OPENED');
  for (let at = 0; at < 200_000; at += 50_000) run.input(at, Buffer.alloc(50_000, 'secret-word'));
  await run.wait('ACK', ({ durable }) => durable === 200_000);
  const files = readdirSync(keeper.home.state, { recursive: true, encoding: 'utf8' });
  for (const file of files) {
    const path = join(keeper.home.state, file);
    if (statSync(path, { throwIfNoEntry: false })?.isFile())
      expect(readFileSync(path).includes('secret-word'), file).toBe(false);
  }
});
