import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { RunError, type AgentStatus } from 'sendall';
import { fleetOf, oneHost, passTime, sha256, watch } from './support.js';
import { patience, until } from '../../../../test/support/waits.js';

describe('a lost link', () => {
  test('is restored, and the run goes on at the next byte with one resumed event', async () => {
    const { fleet, host } = await oneHost();
    const run = host.run(['cat'], { stdin: 'pipe', reject: false });
    const seen = watch(run);
    run.stdin.write('before ');
    await until(() => seen.stdout().toString() === 'before ', 'the first bytes');
    fleet.cut();
    await until(() => host.resumes === 1, 'another link');
    run.stdin.end('after');
    await seen.over;
    expect(seen.stdout().toString()).toBe('before after');
    expect(seen.seen.filter(({ event }) => event === 'resumed')).toEqual([
      { event: 'resumed', offsets: { stdout: 7, stderr: 0 } },
    ]);
    expect((await run).outcome).toBe('ok');
  });

  test('is counted by the agent, with the bytes it sent again', async () => {
    const { host } = await oneHost({ faults: { cutAfter: 300_000 } });
    const result = await host.sh('head -c 1000000 /dev/zero');
    expect(result.raw.stdout.length).toBe(1_000_000);
    const status = await host.ask<AgentStatus>('status');
    expect(status.resumes).toBe(1);
    expect(status.replayedBytes).toBeGreaterThan(0);
    expect(status.replayedBytes).toBeLessThan(1_000_000);
  });

  test('in the middle of a pipe between two hosts shows on neither side', async () => {
    const { hosts } = await fleetOf(2, { faults: { cutEvery: 30_000, seed: 5 }, firstPause: 1 });
    const data = randomBytes(1_000_000);
    const source = hosts[0]!.run(['cat'], { stdin: data });
    const sink = source.pipe(hosts[1]!.run(['cat']));
    expect(sha256((await sink).raw.stdout)).toBe(sha256(data));
    expect((await source).ok).toBe(true);
    expect(hosts.every(({ resumes }) => resumes > 3)).toBe(true);
  });

  test('that only goes silent is given up and replaced', async () => {
    const { fleet, host } = await oneHost({ pingDeadline: patience(300) });
    const run = host.run(['cat'], { stdin: 'pipe' });
    await run.started;
    fleet.stall();
    run.stdin.end('through the silence');
    expect((await run).stdout).toBe('through the silence');
    // A busy machine may make a link seem silent once more.
    expect(host.resumes).toBeGreaterThanOrEqual(1);
  });

  test('while a command ends does not lose its code', async () => {
    const { fleet, host } = await oneHost();
    const run = host.sh('read line; exit 42', { stdin: 'pipe', reject: false });
    await run.started;
    run.stdin.write('go\n');
    fleet.unplug(true);
    await new Promise((resolve) => setTimeout(resolve, 50));
    fleet.unplug(false);
    expect(await run).toMatchObject({ outcome: 'failed', code: 42 });
  });

  test('does not double a command whose OPEN was not answered', async () => {
    // Every byte at which the first link may die, a few runs at a time.
    for (let cutAfter = 300; cutAfter < 900; cutAfter += 61) {
      const { fleet, host } = await oneHost({ faults: { cutAfter } });
      const mark = `${fleet.home.state}/started-once`;
      const result = await host.sh(`mkdir "${mark}" && echo once`, { reject: false });
      expect(result, `cut after ${cutAfter} bytes`).toMatchObject({ outcome: 'ok', stdout: 'once\n' });
      expect(existsSync(mark)).toBe(true);
      await fleet.close();
    }
  });

  test('delays a kill until the next link; it is done once', async () => {
    const { fleet, host } = await oneHost();
    const run = host.sh('trap "echo term" TERM; echo ready; while :; do sleep 0.05; done', { reject: false });
    const seen = watch(run);
    await until(() => seen.stdout().toString() === 'ready\n', 'the trap');
    fleet.unplug(true);
    const asked = run.kill('SIGTERM', { scope: 'leader' });
    await new Promise((resolve) => setTimeout(resolve, 30));
    fleet.unplug(false);
    expect((await asked).result).toBe('done');
    await until(() => seen.stdout().toString() === 'ready\nterm\n', 'the trap to speak');
    await run.cancel({ grace: 0 });
    await seen.over;
    expect(seen.stdout().toString()).toBe('ready\nterm\n');
  });

  test('that never returns leaves the run lost, with the next step in the reason', async () => {
    const { fleet, host } = await oneHost({ giveUpAfter: 200 });
    const run = host.run(['sleep', '60']);
    await run.started;
    fleet.unplug(true);
    const error = await run.then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    expect(error).toBeInstanceOf(RunError);
    expect((error as RunError).result).toMatchObject({ outcome: 'lost', code: undefined });
    expect((error as RunError).message).toMatch(/attach to the run/);
  });

  test('is awaited for the run’s time, not the connection’s', async () => {
    const { fleet, host } = await oneHost({ giveUpAfter: 60_000 });
    const patient = host.run(['cat'], { stdin: 'pipe' });
    const hasty = host.run(['sleep', '60'], { giveUpAfter: 100, reject: false });
    await Promise.all([patient.started, hasty.started]);
    fleet.unplug(true);
    expect((await hasty).outcome).toBe('lost');
    fleet.unplug(false);
    patient.stdin.end('still here');
    expect((await patient).stdout).toBe('still here');
  });

  test('is awaited for as long as any other, however long ago the run had to wait for its first one', async () => {
    const { fleet, host } = await oneHost({ giveUpAfter: '10m' });
    fleet.cut();
    // The loss is noticed in a later turn; then the run asks for another link.
    await new Promise((resolve) => setImmediate(resolve));
    const run = host.run(['cat'], { stdin: 'pipe', reject: false });
    await run.started;
    passTime(11 * 60_000);
    fleet.cut();
    run.stdin.end('still here');
    expect(await run).toMatchObject({ outcome: 'ok', stdout: 'still here' });
  });

  test('fails a run the host does not know, and nothing is started', async () => {
    const { fleet, host } = await oneHost();
    fleet.unplug(true);
    // The loss is noticed in a later turn; the host may know a run sent before.
    await new Promise((resolve) => setImmediate(resolve));
    const result = await host.run(['true'], { reject: false });
    expect(result.outcome).toBe('unreachable');
    fleet.unplug(false);
    expect((await host.run(['echo', 'back'])).stdout).toBe('back\n');
  });
});

describe('stdin', () => {
  test('arrives once and whole over links that die every few kilobytes, and then ends', async () => {
    const { fleet, host } = await oneHost({ faults: { cutEvery: 6000, seed: 7 }, firstPause: 1 });
    const data = randomBytes(200_000);
    const result = await host.run(['sha256sum'], { stdin: data, reject: false });
    expect(result.stdout).toBe(`${sha256(data)}  -\n`);
    expect(fleet.links).toBeGreaterThan(20);
  });

  test('of a lost caller is not an end-of-file', async () => {
    const { fleet, host } = await oneHost();
    const other = await fleet.connect(0);
    const run = host.sh('cat; echo end-of-file', { stdin: 'pipe', reject: false });
    await run.started;
    run.stdin.write('one ');
    const watcher = other.attach(run.runId, { mode: 'observe' });
    const seen = watch(watcher);
    await until(() => seen.stdout().toString() === 'one ', 'the first word');
    await host.close();
    expect((await run).outcome).toBe('lost');
    const heir = other.attach(run.runId, { mode: 'control' });
    await heir.attached;
    heir.stdin.end('two ');
    expect((await heir).stdout).toBe('one two end-of-file\n');
    await seen.over;
  });

  test('finishes only when the host has the end of it', async () => {
    const { fleet, host } = await oneHost();
    const run = host.run(['cat'], { stdin: 'pipe' });
    await run.started;
    fleet.unplug(true);
    let finished = false;
    run.stdin.end('x', () => (finished = true));
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(finished).toBe(false);
    fleet.unplug(false);
    expect((await run).stdout).toBe('x');
    expect(finished).toBe(true);
  });
});

test('a link that carries less than a full frame still gets everything through', async () => {
  const { host } = await oneHost({ faults: { cutEvery: 2500, seed: 3 }, firstPause: 1 });
  const result = await host.sh('head -c 150000 /dev/zero | tr "\\0" x', { sha256: true });
  expect(result.finals.stdout).toBe(150_000);
  expect(result.sha256.stdout).toBe(sha256(Buffer.alloc(150_000, 'x')));
});

test('a run whose output the host holds back goes on although its acknowledgement was lost', async () => {
  const { fleet, host } = await oneHost({ faults: { cutEvery: 50_000, seed: 5 }, firstPause: 1 });
  const result = await host.sh('head -c 3000000 /dev/zero', { spoolMax: 64 * 1024, overflow: 'block', reject: false });
  expect(result).toMatchObject({ outcome: 'ok', finals: { stdout: 3_000_000 } });
  expect(fleet.links).toBeGreaterThan(10);
});
