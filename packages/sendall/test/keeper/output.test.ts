import { createHash } from 'node:crypto';
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { spoolFolder, SpoolReader } from '../../dist/keeper/door/door.js';
import { bytes, KeeperClient, PRINCIPAL } from './keeper-client.js';
import { until } from '../../../../test/support/waits.js';

const MiB = 1024 * 1024;
let keeper: KeeperClient;
beforeAll(async () => {
  keeper = await KeeperClient.start();
});
afterAll(() => keeper[Symbol.asyncDispose]());

describe('output', () => {
  test('stdout and stderr stay apart, each whole at the exit', async () => {
    const run = keeper.sh('for i in 1 2 3; do echo out$i; echo err$i >&2; done');
    expect(await run.text(1)).toBe('out1\nout2\nout3\n');
    expect(await run.text(2)).toBe('err1\nerr2\nerr3\n');
    expect(run.types.indexOf('EXIT')).toBeGreaterThan(run.types.lastIndexOf('EOS'));
  });

  test('merged, both are one stream in order', async () => {
    const run = keeper.sh('for i in 1 2 3; do echo out$i; echo err$i >&2; done', { capture: 'merged' });
    expect(await run.text(1)).toBe('out1\nerr1\nout2\nerr2\nout3\nerr3\n');
  });

  test('40 MiB over three segments match the sums in EXIT', async () => {
    const run = keeper.sh('head -c 41943040 /dev/urandom | tee /dev/fd/2', { sha256: true });
    const [out, err] = [await run.output(1), await run.output(2)];
    expect(out.equals(err)).toBe(true);
    const { upto } = await run.exit;
    expect(Buffer.from(upto[0]!.sha256!)).toEqual(createHash('sha256').update(out).digest());
    expect(readdirSync(spoolFolder(keeper.home, PRINCIPAL, run.runId)).filter((name) => name.startsWith('1.'))).toEqual(
      ['1.0000000000000000', '1.0000000016777216', '1.0000000033554432'],
    );
  });

  test('small pieces come along, big ones are only announced', async () => {
    const run = keeper.sh('echo small; read go; dd if=/dev/zero bs=100000 count=1 2>/dev/null', { stdin: true });
    await run.reaches(1, 6);
    run.input(0, bytes('go\n'));
    await run.exit;
    expect(run.find('DATA', ({ offset }) => offset === 0)?.bytes.toString()).toBe('small\n');
    expect(run.next(1)).toBe(100_006);
    expect(run.find('SPOOLED')).toBeDefined();
  });

  test('it is announced while the command runs', async () => {
    const run = keeper.sh('echo early; sleep 100');
    await run.reaches(1, 6);
    expect(run.find('EXIT')).toBeUndefined();
    await run.operate({ type: 'SIGNAL', signal: 9, scope: 'leader' });
  });

  test('gseq orders the pieces of both streams as they were read', async () => {
    const run = keeper.sh('for i in 1 2 3; do echo o; read go; echo e >&2; read go; done', { stdin: true });
    for (let i = 0; i < 6; i++) {
      await run.reaches(1 + (i % 2), 2 * (1 + Math.floor(i / 2)));
      run.input(3 * i, bytes('go\n'));
    }
    await run.exit;
    const pieces = run.messages.filter((message) => message.type === 'DATA');
    expect(pieces.map(({ stream }) => stream)).toEqual([1, 2, 1, 2, 1, 2]);
    expect(pieces.map(({ gseq }) => gseq)).toEqual([1, 2, 3, 4, 5, 6]);
  });

  test('a command without output leaves nothing on the disk', async () => {
    const run = keeper.exec('true');
    await run.wait('TREE_END');
    expect(existsSync(spoolFolder(keeper.home, PRINCIPAL, run.runId))).toBe(false);
  });
});

describe('exit, end of output and end of the tree are three events', () => {
  test('a background child that holds stdout does not hold the exit', async () => {
    // In a folder of this keeper's, which is removed with it.
    const go = join(keeper.home.state, 'go');
    const run = keeper.sh(`(while [ ! -e ${go} ]; do sleep 0.01; done; echo late) & echo now`);
    const exit = await run.exit;
    expect(exit.upto[0]).toMatchObject({ stream: 1, offset: 4, open: true });
    expect(run.find('EOS', ({ stream }) => stream === 1)).toBeUndefined();
    writeFileSync(go, '');
    expect(await run.wait('EOS', ({ stream }) => stream === 1)).toMatchObject({ final: 9 });
    await run.wait('TREE_END');
    expect((await run.read(1, 0, 9)).toString()).toBe('now\nlate\n');
  });

  test('a background child that closed its streams holds only the tree', async () => {
    const go = join(keeper.home.state, 'go-on');
    const run = keeper.sh(`(while [ ! -e ${go} ]; do sleep 0.01; done) > /dev/null 2>&1 & echo now`);
    await run.exit;
    for (const each of [1, 2]) await run.wait('EOS', ({ stream }) => stream === each);
    expect(run.find('TREE_END')).toBeUndefined();
    writeFileSync(go, '');
    await run.wait('TREE_END');
    expect(run.types.filter((type) => type === 'EOS')).toHaveLength(2);
  });

  test('output that was in the pipe at the exit is drained, however full it was', async () => {
    for (let round = 0; round < 20; round++) {
      const run = keeper.sh('head -c 65536 /dev/zero; exit 3');
      expect(await run.exit).toMatchObject({ code: 3 });
      expect(await run.output(1)).toHaveLength(65_536);
    }
  });
});

describe('more output than the spool holds', () => {
  test('block: the command waits for its reader and loses nothing', async () => {
    const run = keeper.sh('head -c 3000000 /dev/zero', { spoolMax: 100_000 });
    await run.reaches(1, 100_000);
    await until(async () => (await keeper.list()).some(({ blocked }) => blocked === 'stdout'), 'blocked(stdout)');
    expect(run.find('EXIT')).toBeUndefined();
    let read = 0;
    while (read < 3_000_000) {
      await run.reaches(1, read + 1);
      const next = run.next(1);
      expect(await run.read(1, read, next)).toHaveLength(next - read);
      read = next;
      run.send({ type: 'ACK', stream: 1, durable: read });
    }
    expect(await run.exit).toMatchObject({ code: 0, upto: [{ offset: 3_000_000 }, { offset: 0 }] });
  });

  test('block: a caller that asks for it hears once that the command waits', async () => {
    const run = keeper.open(
      { verb: 'sh', script: bytes('head -c 3000000 /dev/zero'), spoolMax: 100_000 },
      { blocked: true },
    );
    expect(await run.wait('BLOCKED')).toMatchObject({ what: 'stdout' });
    const [late, deaf] = [keeper.attach(run.runId, 'observe', { blocked: true }), keeper.attach(run.runId)];
    await late.wait('BLOCKED');
    expect(late.types.indexOf('BLOCKED')).toBeGreaterThan(late.types.indexOf('ATTACHED'));
    while (!run.find('EXIT')) {
      const next = run.next(1);
      run.send({ type: 'ACK', stream: 1, durable: next });
      await run.reaches(1, Math.min(next + 1, 3_000_000));
      if (next === 3_000_000) await run.exit;
    }
    await Promise.all([late.exit, deaf.exit]);
    for (const [attached, times] of [
      [run, 1],
      [late, 1],
      [deaf, 0],
    ] as const)
      expect(attached.types.filter((type) => type === 'BLOCKED')).toHaveLength(times);
  });

  test('block: an observer neither trims nor unblocks', async () => {
    const run = keeper.sh('head -c 9000000 /dev/zero', { spoolMax: 100_000 });
    await run.reaches(1, 100_000);
    const observer = keeper.attach(run.runId);
    await observer.wait('ATTACHED');
    observer.send({ type: 'ACK', stream: 1, durable: 100_000 });
    await observer.wait('CONTROL_LOST');
    expect(run.next(1)).toBe(100_000);
    run.send({ type: 'ACK', stream: 1, durable: 100_000 });
    await run.reaches(1, 200_000);
    await run.operate({ type: 'CANCEL', graceMs: 0 });
  });

  test('block: the exit arrives without a reader, with the bytes of the pipe', async () => {
    const run = keeper.sh('head -c 150000 /dev/zero; exit 5', { spoolMax: 100_000 });
    expect(await run.exit).toMatchObject({ code: 5 });
    expect(await run.output(1)).toHaveLength(150_000);
  });

  test('stop: the run is ended with a reason', async () => {
    const run = keeper.sh('yes', { spoolMax: 100_000, overflow: 'stop' });
    const reason = 'its caller did not take its stdout in time, and the spool of 100000 bytes was full';
    expect(await run.exit).toMatchObject({ cause: 'limits', reason });
  });

  test('drop-old: whole segments go, never silently', async () => {
    const run = keeper.sh(`head -c ${60 * MiB} /dev/zero`, { spoolMax: MiB, overflow: 'drop-old' });
    const { upto } = await run.exit;
    expect(upto[0]!.offset).toBe(60 * MiB);
    const gaps = run.messages.filter((message) => message.type === 'GAP');
    expect(gaps[0]).toMatchObject({ stream: 1, from: 0 });
    const kept = gaps.at(-1)!.to;
    const length = 60 * MiB - kept;
    expect(length).toBeGreaterThanOrEqual(MiB);
    expect(length).toBeLessThan(1.25 * MiB);
    expect(await run.read(1, kept, 60 * MiB)).toHaveLength(length);
    await expect(run.read(1, 0, 1)).rejects.toMatchObject({ code: 'TRIMMED', first: kept });
  });

  test('maxOutput ends the run, and exactly that much output is kept', async () => {
    const run = keeper.sh('yes', { maxOutput: 1_000_000 });
    expect(await run.exit).toMatchObject({ cause: 'limits', reason: 'it wrote more than 1000000 bytes' });
    expect(await run.output(1)).toHaveLength(1_000_000);
    const both = keeper.sh('printf 12345; printf abcde >&2; sleep 60', { maxOutput: 8 });
    expect(await both.exit).toMatchObject({ cause: 'limits' });
    expect((await both.output(1)).length + (await both.output(2)).length).toBe(8);
    const exactly = keeper.sh('printf 12345678', { maxOutput: 8 });
    expect((await exactly.exit).cause).toBeUndefined();
  });

  test('the total room: acknowledged results are removed first, then commands wait', async () => {
    await using small = await KeeperClient.start({ limits: { spoolTotal: 5 * MiB } });
    const first = small.sh(`head -c ${3 * MiB} /dev/zero`);
    await first.wait('TREE_END');
    first.send({ type: 'EXIT_ACK', received: [] });
    const second = small.sh(`head -c ${4 * MiB} /dev/zero`);
    expect((await second.exit).upto[0]!.offset).toBe(4 * MiB);
    const folder = spoolFolder(small.home, PRINCIPAL, first.runId);
    expect(existsSync(folder)).toBe(false);
    const third = small.sh(`head -c ${4 * MiB} /dev/zero; sleep 100`);
    await until(async () => (await small.list()).some(({ blocked }) => blocked === 'stdout'), 'blocked(stdout)');
    await second.wait('TREE_END');
    expect(await small.forget(second.runId)).toBe('done');
    await third.reaches(1, 4 * MiB);
  });

  test('a command that waited for its reader, then for the total room, goes on when room is free', async () => {
    await using small = await KeeperClient.start({ limits: { spoolTotal: 5 * MiB } });
    const slow = small.sh(`head -c ${3 * MiB} /dev/zero`, { spoolMax: MiB });
    await slow.reaches(1, MiB);
    const other = small.sh(`head -c ${4 * MiB} /dev/zero`);
    await other.wait('TREE_END');
    slow.send({ type: 'ACK', stream: 1, durable: MiB });
    expect(await small.forget(other.runId)).toBe('done');
    await slow.reaches(1, 2 * MiB);
  });
});

describe('a reader that has gone', () => {
  test('a reader that goes before the command has started is not forgotten', async () => {
    const run = keeper.sh('exec yes');
    run.send({ type: 'STOP', stream: 1 });
    expect((await run.exit).signal).toBe('SIGPIPE');
  });

  test('the command gets SIGPIPE at its next write', async () => {
    const run = keeper.exec('yes');
    await run.reaches(1, 1);
    run.send({ type: 'STOP', stream: 1 });
    expect(await run.exit).toMatchObject({ signal: 'SIGPIPE' });
  });

  test('an observer stops nothing', async () => {
    const run = keeper.sh('read x; echo done', { stdin: true });
    const observer = keeper.attach(run.runId);
    await observer.wait('ATTACHED');
    observer.send({ type: 'STOP', stream: 1 });
    await observer.wait('CONTROL_LOST');
    run.send({ type: 'EOS', stream: 0, final: 0 });
    expect(await run.text()).toBe('done\n');
  });
});

describe('the spool reader', () => {
  test('sees a stream grow, and returns nothing beyond its end', async () => {
    const run = keeper.open({ argv: [bytes('cat')], stdin: true });
    await run.wait('STARTED');
    const reader = new SpoolReader(spoolFolder(keeper.home, PRINCIPAL, run.runId), 1);
    expect(await reader.read(0, 100)).toHaveLength(0);
    run.input(0, bytes('hello '));
    await run.reaches(1, 6);
    expect((await reader.read(0, 100)).toString()).toBe('hello ');
    run.input(6, bytes('world'));
    await run.reaches(1, 11);
    expect((await reader.read(6, 100)).toString()).toBe('world');
    const into = Buffer.alloc(3);
    expect(reader.readNow(4, into)).toBe(3);
    expect(into.toString()).toBe('o w');
    await reader.close();
    run.send({ type: 'EOS', stream: 0, final: 11 });
    await run.exit;
  });
});

test('a keeper that lets little wait for its agent goes on when that is gone', async () => {
  await using own = await KeeperClient.start({ limits: { agentBacklog: 100 } });
  const runs = Array.from({ length: 10 }, () => own.sh('head -c 100000 /dev/zero; read x; exit 4', { stdin: true }));
  for (const run of runs) {
    await run.reaches(1, 100_000);
    run.input(0, bytes('\n'));
    expect((await run.exit).code).toBe(4);
  }
});
