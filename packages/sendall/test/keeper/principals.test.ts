/** Principals that are no owners have limits of their own: what one of them has too much costs it, and no other. */
import { expect, onTestFinished, test } from 'vitest';
import type { KeeperOptions } from '../../dist/keeper/door/door.js';
import { newRunId } from '../../dist/protocol/run-id.js';
import { rootDescribe } from '../../../../test/support/root.js';
import { within } from '../../../../test/support/waits.js';
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
      message: '3 runs of yours run or wait already (maxRunsPerPrincipal): wait for some to end',
    });
    expect((await keeper.open(sh('true'), bob).exit).code).toBe(0);
    for (const run of Array.from({ length: 5 }, () => keeper.open(sh('true')))) await run.exit;
    await runs[0]!.operate({ type: 'CANCEL', graceMs: 0 });
    await runs[0]!.exit;
    expect((await keeper.open(sh('true'), alice).exit).code).toBe(0);
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
    expect((await keeper.open(sh('true'), alice).exit).code).toBe(0);
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
