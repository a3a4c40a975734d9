import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as rest } from 'node:timers/promises';
import { describe, expect, onTestFinished, test } from 'vitest';
import { chatterWords } from '../dist/traffic.js';
import { expected, noise } from '../dist/chatter.js';
import { Machine, output } from './machine.js';
import { sha256, watch } from './support.js';
import { alive } from '../../../../test/support/alive.js';
import { patience, until } from '../../../../test/support/waits.js';
import { rootTest } from '../../../../test/support/root.js';

const SEQ = 3_000_000;
const seq = Array.from({ length: SEQ }, (_, i) => `${i + 1}\n`).join('');

describe('the agent', () => {
  test('killed again and again under load loses no byte, no stdin and no code', async () => {
    const machine = await Machine.start();
    const host = await machine.connect();
    const stdin = noise('agent kills', 20_000_000);
    const runs = [
      host.run(['seq', String(SEQ)], { sha256: true, reject: false }),
      host.run(['cat'], { stdin, sha256: true, reject: false }),
      ...Array.from({ length: 10 }, (_, i) => host.sh(`sleep ${0.1 * i}; exit ${i + 1}`, { reject: false })),
      host.run(chatterWords(5, 3_000_000), { reject: false }),
      // Keeps the link busy until the last kill.
      host.sh('while ! [ -e "$0.done" ]; do seq 2000; sleep 0.1; done'.replace('$0', machine.home.state)),
    ];
    for (let kill = 1; kill <= 8; kill++) {
      await machine.killAgent();
      await machine.startAgent();
      await until(() => host.resumes >= kill, 'the resumed link');
      const { stdout } = runs[13]!.offsets;
      await until(() => runs[13]!.offsets.stdout > stdout, 'something to come of it');
    }
    writeFileSync(`${machine.home.state}.done`, '');
    onTestFinished(() => rmSync(`${machine.home.state}.done`));
    const results = await Promise.all(runs);
    expect(results[0]!.sha256.stdout).toBe(sha256(Buffer.from(seq)));
    expect(results[1]!.sha256.stdout).toBe(sha256(stdin));
    expect(results.slice(2, 12).map(({ code }) => code)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    const want = expected(5, 3_000_000);
    expect(sha256(results[12]!.raw.stdout)).toBe(sha256(want.stdout));
    expect(sha256(results[12]!.raw.stderr)).toBe(sha256(want.stderr));
    expect(results[13]!.ok).toBe(true);
  });

  test('restarted by its command keeps the runs and the keeper', async () => {
    const machine = await Machine.start();
    const host = await machine.connect();
    const run = host.run(['cat'], { stdin: 'pipe' });
    await run.started;
    const before = await machine.status();
    const said = await output(machine.spawn('agent', 'restart'));
    expect(said.code, said.stderr).toBe(0);
    const after = await machine.status();
    expect(after.pid).not.toBe(before.pid);
    expect(after.keeperPid).toBe(before.keeperPid);
    run.stdin.end('over the restart');
    expect((await run).stdout).toBe('over the restart');
  });

  test('passes nothing it inherited on to its keeper or to commands', async () => {
    const machine = await Machine.start({ inherit: 251 });
    const host = await machine.connect();
    const open = (pid: number): (string | undefined)[] =>
      readdirSync(`/proc/${pid}/fd`).map((fd) => {
        try {
          return readlinkSync(`/proc/${pid}/fd/${fd}`);
        } catch {
          return undefined;
        }
      });
    const inherited = `${machine.home.state}.inherited`;
    onTestFinished(() => rmSync(inherited, { force: true }));
    expect(open(machine.agentPid)).toContain(inherited);
    expect(open((await machine.status()).keeperPid!)).not.toContain(inherited);
    const run = host.run(['sleep', '600'], { reject: false });
    const { pid } = await run.started;
    // Its loader briefly holds a library open.
    const three = await until(() => {
      const now = open(pid);
      return now.length === 3 && now;
    }, 'the program to be loaded');
    expect(three).toEqual(['/dev/null', expect.stringMatching(/^pipe:/), expect.anything()]);
    await run.kill();
  });

  test('stopped together with its runs tells their callers first', async () => {
    const machine = await Machine.start();
    const host = await machine.connect();
    const runs = Array.from({ length: 20 }, () => host.run(['sleep', '600'], { reject: false }));
    await Promise.all(runs.map(({ started }) => started));
    expect((await machine.status()).runs).toBe(20);
    expect((await output(machine.spawn('agent', 'stop', '--runs'))).code).toBe(0);
    expect((await Promise.all(runs)).map(({ outcome }) => outcome)).toEqual(Array(20).fill('cancelled'));
  });

  test('stopped counts as a dead link, and the run goes on when it wakes', async () => {
    const machine = await Machine.start();
    const pingDeadline = patience(400);
    // So little time may be over before the first answer too.
    const host = await machine.connect({ pingInterval: 100, pingDeadline, timeout: pingDeadline, retryFor: '10m' });
    const run = host.run(['cat'], { stdin: 'pipe' });
    await run.started;
    process.kill(machine.agentPid, 'SIGSTOP');
    run.stdin.write('asleep ');
    await until(() => !run.linked, 'the loss of the link');
    process.kill(machine.agentPid, 'SIGCONT');
    run.stdin.end('awake');
    expect((await run).stdout).toBe('asleep awake');
    expect(host.resumes).toBeGreaterThanOrEqual(1);
  });

  test('gone for good leaves the run lost with the next step', async () => {
    const machine = await Machine.start();
    const caller = machine.spawn('run', 'local', '--give-up-after', '500ms', '--', 'sleep', '30');
    const ended = output(caller);
    await until(async () => (await machine.status()).runs === 1, 'the command');
    await machine.killAgent();
    const { code, stderr } = await ended;
    expect(code).toBe(205);
    expect(stderr).toMatch(/sendall attach/);
    await machine.startAgent();
  });
});

describe('the keeper', () => {
  test('stopped for a while delays everything and loses nothing', async () => {
    const machine = await Machine.start();
    const host = await machine.connect();
    const { keeperPid } = await machine.status();
    const run = host.run(['seq', String(SEQ)], { sha256: true });
    await run.started;
    for (let i = 0; i < 4; i++) {
      process.kill(keeperPid!, 'SIGSTOP');
      await rest(120);
      process.kill(keeperPid!, 'SIGCONT');
      await rest(20);
    }
    expect((await run).sha256.stdout).toBe(sha256(Buffer.from(seq)));
  });

  test('killed makes its runs lost, gives the reason, and names their living processes', async () => {
    const machine = await Machine.start();
    const host = await machine.connect();
    const { keeperPid } = await machine.status();
    const run = host.sh('echo before; sleep 600', { reject: false });
    const { pid } = await run.started;
    await until(() => run.offsets.stdout === 7, 'its first line');
    process.kill(keeperPid!, 'SIGKILL');
    const result = await run;
    expect(result).toMatchObject({ ok: false, outcome: 'lost', stdout: 'before\n' });
    expect(result.reason).toMatch(/keeper/);
    if (alive(pid)) {
      expect(result.survivors.map((each) => each.pid)).toContain(pid);
      process.kill(-pid, 'SIGKILL');
    }
    // The next keeper continues.
    expect((await host.run(['echo', 'again'])).stdout).toBe('again\n');
  });
});

describe('the caller', () => {
  test('killed leaves the command running, and another caller reads it from the first byte', async () => {
    const machine = await Machine.start();
    const caller = machine.spawn(
      'run',
      'local',
      '--id',
      '0192f0c1-7d3a-7cc1-98ab-001122334455',
      '--',
      'sh',
      '-c',
      `seq ${SEQ}; sleep 0.3`,
    );
    await once(caller.stdout!, 'data');
    caller.kill('SIGKILL');
    await once(caller, 'exit');
    const attached = await output(machine.spawn('attach', '0192f0c1-7d3a-7cc1-98ab-001122334455', '--on', 'local'));
    expect(attached.code).toBe(0);
    expect(sha256(attached.stdout)).toBe(sha256(Buffer.from(seq)));
  });

  test('stopped for longer than the deadlines resumes at its place', async () => {
    const machine = await Machine.start();
    const caller = machine.spawn('run', 'local', '--', 'seq', String(SEQ));
    const ended = output(caller);
    await once(caller.stdout!, 'data');
    caller.kill('SIGSTOP');
    await rest(700);
    caller.kill('SIGCONT');
    const { stdout, code } = await ended;
    expect(code).toBe(0);
    expect(sha256(stdout)).toBe(sha256(Buffer.from(seq)));
  });
});

rootTest('a full disk makes the command wait, and nothing is lost', async () => {
  const machine = await Machine.start({ spoolBytes: 4 * 1024 * 1024 });
  const host = await machine.connect();
  const filler = join(machine.home.state, 'spool', 'filler');
  const run = host.run(['seq', String(SEQ)], { sha256: true, reject: false, spoolMax: 100 * 1024 * 1024 });
  await run.started;
  await until(async () => {
    for await (const each of host.runs()) if (each.runId === run.runId) return each.blocked === 'disk';
    return false;
  }, 'the disk to be full');
  expect(run.state).toBe('running');
  // Another small command must deliver its code, even without disk space.
  const small = host.sh('exit 7', { reject: false });
  expect((await small).code).toBe(7);
  expect(() => writeFileSync(filler, Buffer.alloc(8 * 1024 * 1024))).toThrow(/ENOSPC/);
  writeFileSync(filler, '');
  machine.resizeDisk(128 * 1024 * 1024);
  const result = await run;
  expect(result.outcome).toBe('ok');
  expect(result.sha256.stdout).toBe(sha256(Buffer.from(seq)));
});

test('clocks that jump end no run and shorten no grace', async () => {
  const jumpy = new URL('../dist/jumpy-clock.js', import.meta.url).href;
  const JUMP_FILE = join(mkdtempSync(join(tmpdir(), 'sendall-clock-')), 'jump');
  onTestFinished(() => rmSync(dirname(JUMP_FILE), { recursive: true }));
  const jump = (ms: number) => writeFileSync(JUMP_FILE, String(ms));
  jump(0);
  const env = { NODE_OPTIONS: `--import=${jumpy}`, JUMP_FILE };
  const machine = await Machine.start({ env, keeperEnv: env });
  const host = await machine.connect();
  const patient = host.sh('trap "sleep 0.3; echo in good time; exit" TERM; echo ready; while :; do sleep 0.02; done', {
    reject: false,
    timeout: '1h',
    idleTimeout: '1h',
  });
  await until(() => patient.offsets.stdout === 6, 'the trap');
  for (const ms of [86_400_000 * 20, -86_400_000 * 20, 7_200_000, 0]) {
    jump(ms);
    await rest(60);
    expect(patient.state).toBe('running');
    // A new caller uses the host's clock, not its own.
    const newcomer = await machine.connect();
    expect((await newcomer.run(['echo', String(ms)])).stdout).toBe(`${ms}\n`);
  }
  const report = patient.cancel({ grace: 3_600_000 });
  jump(86_400_000);
  await report;
  const result = await patient;
  expect(result.stdout).toBe('ready\nin good time\n');
  expect(result.timing.durationMs).toBeGreaterThan(0);
  expect(result.timing.durationMs).toBeLessThan(3_600_000);
});

test('a run followed over a restart shows one resumed event for each link', async () => {
  const machine = await Machine.start();
  const host = await machine.connect();
  const run = host.run(['cat'], { stdin: 'pipe' });
  const seen = watch(run);
  await run.started;
  for (let i = 1; i <= 3; i++) {
    run.stdin.write(`${i} `);
    await until(() => seen.stdout().length === 2 * i, 'its echo');
    await machine.killAgent();
    await machine.startAgent();
    await until(() => seen.seen.filter(({ event }) => event === 'resumed').length === i, 'the resumed event');
  }
  run.stdin.end();
  await seen.over;
  expect(seen.stdout().toString()).toBe('1 2 3 ');
  expect(readFileSync(join(machine.home.state, 'journal')).length).toBeGreaterThan(0);
});
