/** Principals that are no owners have limits of their own: what one of them has too much costs it, and no other. */
import { expect, onTestFinished, test } from 'vitest';
import type { KeeperOptions } from '../../dist/keeper/door/door.js';
import { newRunId } from '../../dist/protocol/run-id.js';
import { rootDescribe } from '../../../../test/support/root.js';
import { until, within } from '../../../../test/support/waits.js';
import { KeeperClient } from './keeper-client.js';

const MiB = 1024 * 1024;
const grant = { rule: 'any', policyRev: 1, program: Buffer.from('/bin/sh'), runAs: 'daemon' };
const alice = { principal: 'alice', caller: 'principal alice', grant };
const bob = { principal: 'bob', caller: 'principal bob', grant };

async function keeperWith(limits: KeeperOptions['limits']): Promise<KeeperClient> {
  const keeper = await KeeperClient.start({ limits: limits! });
  onTestFinished(async () => await keeper[Symbol.asyncDispose]());
  return keeper;
}

/** Only so many runs are left of which the command has ended, and its output or its processes have not. */
const settled = async (keeper: KeeperClient, left = 0): Promise<unknown> =>
  await until(async () => (await keeper.status()).lingering === left, 'the ends of runs');

const sh = (script: string) => ({ argv: ['sh', '-c', script].map((word) => Buffer.from(word)) });
/** More than a principal may have in these tests. */
const large = sh('head -c 8000000 /dev/zero');

rootDescribe('a principal', () => {
  test('has so many runs at once; owners and others have more', async () => {
    const keeper = await keeperWith({ maxRunsPerPrincipal: 3 });
    const runs = Array.from({ length: 3 }, () => keeper.open(sh('sleep 60'), alice));
    for (const run of runs) await run.wait('STARTED');
    // Another key of hers is the same caller.
    expect(await keeper.open(sh('true'), alice).wait('REFUSED')).toMatchObject({
      code: 'busy',
      message: '3 runs of yours are not over yet (maxRunsPerPrincipal): wait for some to end',
    });
    expect((await keeper.open(sh('true'), bob).exit).code).toBe(0);
    for (const run of Array.from({ length: 5 }, () => keeper.open(sh('true')))) await run.exit;
    await runs[0]!.operate({ type: 'CANCEL', graceMs: 0 });
    await settled(keeper);
    expect((await keeper.open(sh('true'), alice).exit).code).toBe(0);
  });

  test('has so many, though their commands have ended, if these have left processes behind', async () => {
    const keeper = await keeperWith({ maxRunsPerPrincipal: 2 });
    const left = Array.from({ length: 2 }, () => keeper.open(sh('setsid sleep 60 >/dev/null 2>&1 &'), alice));
    for (const run of left) await run.exit;
    expect(await keeper.open(sh('true'), alice).wait('REFUSED')).toMatchObject({ code: 'busy' });
    expect((await keeper.open(sh('true'), bob).exit).code).toBe(0);
    await left[0]!.operate({ type: 'CANCEL', graceMs: 0 });
    await left[0]!.wait('TREE_END');
    // The other one is left.
    await settled(keeper, 1);
    expect((await keeper.open(sh('true'), alice).exit).code).toBe(0);
  });

  test("has its rule's time for them, too, and not the time of the command alone", async () => {
    const keeper = await keeperWith({});
    const script = 'setsid sleep 600 >/dev/null 2>&1 &';
    const other = keeper.open(sh(script), alice);
    const run = keeper.open(sh(script), { ...alice, grant: { ...grant, timeoutMs: 1000 } });
    await run.exit;
    await within(run.wait('TREE_END'), 'the end of what was left');
    await other.exit;
    expect(other.find('TREE_END')).toBeUndefined();
    await other.operate({ type: 'CANCEL', graceMs: 0 });
  });

  test('has so much output on disk: then its commands wait, and no new one starts', async () => {
    const keeper = await keeperWith({ spoolPerPrincipal: 2 * MiB });
    const full = keeper.open(large, { ...alice, blocked: true });
    expect(await full.wait('BLOCKED')).toMatchObject({ what: 'stdout' });
    expect(await keeper.open(sh('true'), alice).wait('REFUSED')).toMatchObject({
      code: 'limits',
      message: expect.stringMatching(/^the output of your runs takes \d+ bytes here already \(spoolPerPrincipal\)/),
    });
    const other = keeper.open(large, bob);
    await other.reaches(1, 2 * MiB);
    expect((await keeper.open(large).exit).upto[0]!.offset).toBe(8_000_000);
    // What she has taken makes room.
    for (let next = full.next(1); next < 8_000_000; next = full.next(1)) {
      full.send({ type: 'ACK', stream: 1, durable: next });
      await within(full.reaches(1, next + 1), 'more output');
    }
    expect((await full.exit).upto[0]!.offset).toBe(8_000_000);
    // What was in the pipe at the end may be more than there is room for.
    await full.wait('TREE_END');
    full.send({ type: 'EXIT_ACK', received: [] });
    expect((await keeper.open(sh('true'), alice).exit).code).toBe(0);
  });

  test('has room again once it has taken the end of a run that ended with more than that', async () => {
    const keeper = await keeperWith({ spoolPerPrincipal: 2 * MiB });
    const full = keeper.open(sh(`head -c ${2 * MiB + 1000} /dev/zero`), alice);
    expect((await full.exit).upto[0]!.offset).toBe(2 * MiB + 1000);
    expect(await keeper.open(sh('true'), alice).wait('REFUSED')).toMatchObject({ code: 'limits' });
    await full.wait('TREE_END');
    full.send({ type: 'EXIT_ACK', received: [] });
    const next = keeper.open(sh('true'), alice);
    expect(await Promise.race([next.exit, next.wait('REFUSED')])).toMatchObject({ code: 0 });
  });

  test('has so many run ids remembered', async () => {
    const keeper = await keeperWith({ maxIdsPerPrincipal: 3 });
    for (let i = 0; i < 3; i++) await keeper.open(sh('true'), alice).exit;
    expect(await keeper.open(sh('true'), alice).wait('REFUSED')).toMatchObject({
      code: 'limits',
      message: '3 runs of yours are remembered already (maxIdsPerPrincipal)',
    });
    expect((await keeper.open(sh('true'), bob).exit).code).toBe(0);
    expect((await keeper.exec('true').exit).code).toBe(0);
    await keeper.crash({ limits: { maxIdsPerPrincipal: 3 } });
    expect(await keeper.open(sh('true'), alice).wait('REFUSED')).toMatchObject({ code: 'limits' });
  });

  test('leaves as many run ids to others as it has, however many principals there are', async () => {
    const keeper = await keeperWith({ maxIds: 12 });
    const principals = Array.from({ length: 5 }, (_, i) => ({ principal: `p${i}`, caller: `principal p${i}`, grant }));
    const opened = async (options: object): Promise<boolean> => {
      const run = keeper.open(sh('true'), options);
      await Promise.race([run.exit, run.wait('REFUSED')]);
      return run.find('EXIT') !== undefined;
    };
    let count = 0;
    for (let i = 0; i < 12; i++) if (await opened(principals[0]!)) count++;
    expect(count).toBe(6);
    for (let i = 0; i < 12; i++) for (const each of principals) if (await opened(each)) count++;
    // The first one took half, for nobody else was there; each later one leaves as much as it has.
    expect(count).toBeLessThan(12);
    expect(await keeper.open(sh('true'), principals[0]!).wait('REFUSED')).toMatchObject({
      code: 'limits',
      message: expect.stringMatching(/^6 runs of yours are remembered already, and what is left \(of maxIds 12\)/),
    });
    expect(await opened({})).toBe(true);
  });

  test('leaves as much of the disk to others as it has', async () => {
    const keeper = await keeperWith({ spoolTotal: 6 * MiB, spoolPerPrincipal: 5 * MiB });
    const [first, second] = [
      keeper.open(large, { ...alice, blocked: true }),
      keeper.open(large, { ...bob, blocked: true }),
    ];
    await first.wait('BLOCKED');
    await second.wait('BLOCKED');
    // An owner's output finds room, and a new one's.
    const owner = keeper.open(sh('head -c 500000 /dev/zero'));
    expect((await owner.exit).upto[0]!.offset).toBe(500_000);
    const carol = { principal: 'carol', caller: 'principal carol', grant };
    expect((await keeper.open(sh('head -c 100000 /dev/zero'), carol).exit).upto[0]!.offset).toBe(100_000);
    // What is taken makes room.
    for (const run of [first, second])
      for (let next = run.next(1); next < 8_000_000; next = run.next(1)) {
        run.send({ type: 'ACK', stream: 1, durable: next });
        await within(run.reaches(1, next + 1), 'more output');
      }
    for (const run of [first, second]) expect((await run.exit).upto[0]!.offset).toBe(8_000_000);
  });

  test('that fills the memory of results loses its own, and not those of others', async () => {
    const keeper = await keeperWith({ maxEnded: 20 });
    const runId = newRunId();
    await keeper.open(sh('echo kept'), { runId }).exit;
    for (let i = 0; i < 40; i++) await keeper.open(sh('true'), alice).exit;
    const kept = keeper.attach(runId);
    expect((await kept.wait('ATTACHED')).exit).toMatchObject({ code: 0 });
    expect((await kept.read(1, 0, 5)).toString()).toBe('kept\n');
    // Her oldest are gone, and her newest are not.
    expect((await keeper.status())['remembered']).toBe(41);
  });
});
