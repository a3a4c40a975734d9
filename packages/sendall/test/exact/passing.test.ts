import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { Host, Run, RunListing } from 'sendall';
import { until, within } from '../../../../test/support/waits.js';
import { noise } from '../dist/chatter.js';
import { Machine } from './machine.js';
import { sha256, watch } from './support.js';

const MiB = 1024 * 1024;
/** What a run may hold on disk: what was not acknowledged, the segment before that, and what the pipe held at the exit. */
const MOST = 16 * MiB + 2 * MiB + MiB;

/** Bytes below the spool folder. */
function spooled({ home }: Machine): number {
  const spool = join(home.state, 'spool');
  let bytes = 0;
  for (const name of readdirSync(spool, { recursive: true, encoding: 'utf8' })) {
    const file = statSync(join(spool, name), { throwIfNoEntry: false });
    if (file?.isFile()) bytes += file.size;
  }
  return bytes;
}

async function listed(host: Host, all = false): Promise<RunListing[]> {
  const runs: RunListing[] = [];
  for await (const run of host.runs({ all })) runs.push(run);
  return runs;
}

const runFolders = ({ home }: Machine): string[] => readdirSync(join(home.state, 'spool'));

/** The digest of a run's output as it comes, and the most that was on the disk meanwhile. */
async function passThrough(machine: Machine, run: Run, between: (bytes: number) => Promise<void> = async () => {}) {
  const hash = createHash('sha256');
  let bytes = 0;
  let most = 0;
  for await (const chunk of run.stdout) {
    hash.update(chunk as Buffer);
    bytes += (chunk as Buffer).length;
    most = Math.max(most, spooled(machine));
    await between(bytes);
  }
  return { bytes, most, sha256: hash.digest('hex') };
}

/** `seq` from 1, as many lines as make up `bytes` or more. */
function seqOf(bytes: number): { last: number; sha256: string; length: number } {
  const hash = createHash('sha256');
  let length = 0;
  let last = 0;
  while (length < bytes) {
    const lines = Buffer.from(Array.from({ length: 100_000 }, () => `${++last}\n`).join(''));
    hash.update(lines);
    length += lines.length;
  }
  return { last, length, sha256: hash.digest('hex') };
}

describe('with keep: "nothing"', () => {
  test('200 MiB pass through a few MiB of disk, of which nothing is left', async () => {
    const machine = await Machine.start();
    const host = await machine.connect();
    const want = seqOf(200 * MiB);
    const run = host.run(['seq', String(want.last)], { keep: 'nothing', sha256: true });
    const came = await passThrough(machine, run);
    const result = await run;
    expect(came).toMatchObject({ bytes: want.length, sha256: want.sha256 });
    expect(result).toMatchObject({ ok: true, sha256: { stdout: want.sha256 }, gaps: [] });
    expect(came.most).toBeLessThanOrEqual(MOST);
    await until(() => runFolders(machine).length === 0, 'its folder to go');
    expect(await listed(host, true)).toEqual([]);
    expect(() => host.run(['true'], { keep: 'something' as 'nothing' })).toThrow(/keep/);
  });

  test('an agent killed in the middle costs no byte either way', async () => {
    const machine = await Machine.start();
    const host = await machine.connect();
    const input = noise('passing', 40 * MiB);
    const run = host.run(['cat'], { stdin: 'pipe', keep: 'nothing', sha256: true });
    run.stdin.end(input);
    let kills = 0;
    const came = await passThrough(machine, run, async (bytes) => {
      if (bytes < (kills + 1) * 10 * MiB || kills === 3) return;
      kills++;
      await machine.killAgent();
      await machine.startAgent();
    });
    await run;
    expect(kills).toBe(3);
    expect(host.resumes).toBeGreaterThanOrEqual(1);
    expect(came).toMatchObject({ bytes: input.length, sha256: sha256(input) });
    expect(came.most).toBeLessThanOrEqual(MOST);
    await until(() => runFolders(machine).length === 0, 'its folder to go');
  });

  test('a keeper killed in the middle makes the run lost, with every byte before in its place', async () => {
    const machine = await Machine.start();
    const host = await machine.connect();
    const { keeperPid } = await machine.status();
    const go = `${machine.home.state}.go`;
    onTestFinished(() => rmSync(go, { force: true }));
    // It outlives its keeper, but not the test.
    const { state } = machine.home;
    const run = host.sh(`seq 3000000; while [ -e ${state} ] && [ ! -e ${go} ]; do sleep 0.1; done`, {
      keep: 'nothing',
      reject: false,
    });
    const want = Buffer.from(Array.from({ length: 3_000_000 }, (_, i) => `${i + 1}\n`).join(''));
    const pieces: Buffer[] = [];
    let bytes = 0;
    for await (const chunk of run.stdout) {
      pieces.push(chunk as Buffer);
      if (bytes < 5 * MiB && bytes + (chunk as Buffer).length >= 5 * MiB) process.kill(keeperPid!, 'SIGKILL');
      bytes += (chunk as Buffer).length;
    }
    writeFileSync(go, '');
    expect(await run).toMatchObject({ ok: false, outcome: 'lost' });
    expect(bytes).toBeGreaterThanOrEqual(5 * MiB);
    expect(Buffer.concat(pieces).equals(want.subarray(0, bytes))).toBe(true);
    await until(() => runFolders(machine).length === 0, 'what was left of it to go');
  });

  test('a second caller that only observes gets the bytes, or is told which are gone', async () => {
    const machine = await Machine.start();
    const host = await machine.connect();
    const run = host.run(['cat'], { stdin: 'pipe', keep: 'nothing' });
    await run.started;
    run.stdin.write(noise('observed', 8 * MiB));
    const mine = passThrough(machine, run);
    await until(() => run.offsets.stdout === 8 * MiB, 'the first bytes to pass');
    await until(() => spooled(machine) === 0, 'them to go');
    const other = await machine.connect();
    const observer = other.attach(run.runId, { mode: 'observe', from: 'start', reject: false });
    const { seen, stdout, over } = watch(observer);
    await observer.attached;
    run.stdin.end('the rest');
    expect((await mine).bytes).toBe(8 * MiB + 8);
    expect((await run).ok).toBe(true);
    const result = await observer;
    await over;
    expect(result.gaps).toMatchObject([{ stream: 'stdout', from: 0, to: 8 * MiB }]);
    expect(result.outcome).toBe('truncated');
    expect(stdout().toString()).toBe('the rest');
    expect(seen.some(({ event }) => event === 'gap')).toBe(true);
    await until(() => runFolders(machine).length === 0, 'the folder to go');
  });

  test('a caller that dies leaves no more than it had not taken, and one that comes back gets that', async () => {
    const machine = await Machine.start();
    const program = fileURLToPath(new URL('../dist/passing-caller.js', import.meta.url));
    // It stops by itself: it might have taken everything before we come to kill it.
    const caller = spawn(process.execPath, [program, 'seq 20000000', String(10 * MiB)], {
      env: machine.env,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const gone = once(caller, 'exit');
    for await (const line of createInterface(caller.stdout)) if (Number(line) > 10 * MiB) break;
    caller.kill('SIGKILL');
    await gone;
    const host = await machine.connect();
    await until(async () => (await listed(host))[0]?.blocked === 'stdout', 'the command to wait');
    expect(spooled(machine)).toBeLessThanOrEqual(MOST);
    const [info] = await listed(host);
    const run = host.attach(info!.runId, { mode: 'control', reject: false });
    const came = await passThrough(machine, run);
    const { gaps, code } = await within(run, 'the end');
    expect(code).toBe(0);
    // What the first caller had is gone; the second had everything behind it.
    expect(gaps).toMatchObject([{ stream: 'stdout', from: 0 }]);
    expect(gaps[0]!.to).toBeGreaterThanOrEqual(8 * MiB);
    // The length of what seq writes.
    expect(came.bytes + gaps[0]!.to).toBe(168_888_897);
    await until(() => runFolders(machine).length === 0, 'its folder to go');
  });
});
