/** The history of fleet runs, from the command line: two machines, of which one goes away. */
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { connect, resolveHome } from 'sendall';
import { Machine, said, type User } from './support.js';
import { until } from '../../../../test/support/waits.js';
import { rootTest } from '../../../../test/support/root.js';

let machine: Machine;
let other: Machine;
let user: User;
beforeAll(async () => {
  machine = await Machine.start();
  other = await Machine.start();
  user = machine.pairedUser('web1', 'web2', 'web3');
  pairWith(other, 'db1');
});
afterAll(async () => {
  user[Symbol.dispose]();
  await machine[Symbol.asyncDispose]();
  await other[Symbol.asyncDispose]();
});

function pairWith(there: Machine, name: string, env: NodeJS.ProcessEnv = {}): void {
  const [made] = there.user.events(['pair', '--new', '--json']);
  const paired = user.call(['pair', there.url, '--code', String(made!.code), '--name', name], { env });
  if (paired.code !== 0) throw new Error(paired.stderr);
}

/** The events of `ps --fleet` about a run. */
const listed = (name: string) => user.events(['ps', '--fleet', '--all', '--json']).find((each) => each.name === name);
/** Shell text with another end and another output on each host: $0 is the number of hosts that came before. */
const counting = (folder: string, text: string) =>
  `mkdir -p ${folder}; n=$(ls ${folder} | wc -l); : > ${folder}/$n; ${text}`;

describe('ps --fleet', () => {
  test('lists runs on many hosts with their states, newest first, and no run on one host', () => {
    user.call(['run', 'web1', '--name', 'alone', '--', 'true']);
    user.call(['run', 'web[1-3]', '--name', 'fine', '--', 'true']);
    user.call(['run', 'web[1-3],db1', '--name', 'stopped', '--window', '1', '--max-fail', '0', '--', 'false', 'x']);
    const { code, stdout, stderr } = user.call(['ps', '--fleet']);
    expect([code, stderr]).toEqual([0, '']);
    const rows = stdout
      .split('\n')
      .filter(Boolean)
      .map((line) => line.split(/ {2,}/));
    expect(rows[0]).toEqual(['RUN', 'BEGAN', 'HOSTS', 'STATES', 'LATE', 'NAME', 'COMMAND']);
    const id = expect.stringMatching(/^[0-9a-f-]{36}$/);
    const time = expect.stringMatching(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$/);
    expect(rows.slice(1, 3)).toEqual([
      [id, time, 'db1,web[1-3]', '3 neverStarted, 1 failed', '-', 'stopped', 'false …'],
      [id, time, 'web[1-3]', '3 ok', '-', 'fine', 'true'],
    ]);
    expect(stdout).not.toContain('alone');
    expect(user.call(['ps', '--fleet', 'db1']).stdout).not.toContain('fine');
  });

  test('--json has the same as objects, with times in milliseconds', () => {
    const before = Date.now();
    user.call(['run', 'web[1-2]', '--name', 'object', '--', 'sh', '-c', 'exit 3']);
    const event = listed('object')!;
    expect(event).toMatchObject({
      event: 'fleet',
      stage: 'ended',
      program: 'sh',
      words: 2,
      hosts: 'web[1-2]',
      total: 2,
      states: { exited: 2 },
      outcomes: { failed: 2 },
      late: '',
    });
    expect(event.beginMs).toBeGreaterThanOrEqual(before);
    expect(event.closedMs).toBeGreaterThanOrEqual(Number(event.beginMs));
  });

  test('shows who is late while the command runs, and what the run became when it is asked later', () => {
    user.call(['run', '-d', 'web[1-2]', '--name', 'slower', '--', 'sleep', '60']);
    expect(listed('slower')).toMatchObject({ stage: 'left', states: { running: 2 }, late: 'web[1-2]' });
    user.call(['kill', 'slower']);
    expect(user.call(['result', 'slower']).code).toBe(1);
    expect(listed('slower')).toMatchObject({ stage: 'ended', states: { cancelled: 2 }, late: '' });
  });

  test('counts damaged lines, and lists the rest', () => {
    user.call(['run', 'web[1-2]', '--name', 'sound', '--', 'true']);
    const index = join(user.home, 'fleet', 'index.jsonl');
    const sound = readFileSync(index);
    writeFileSync(index, Buffer.concat([Buffer.from('\n{"run":7}\nnoise'), sound, Buffer.from('\n{"run":"01')]));
    expect(user.call(['ps', '--fleet'])).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('sound'),
      stderr: 'sendall: 2 lines of the history are damaged and were skipped\n',
    });
    writeFileSync(index, sound);
  });
});

describe('a caller that is killed', () => {
  test('in the middle: ps --fleet and attach find all hosts where the command began', async () => {
    const words = ['run', 'web[1-3],db1', '--name', 'killed', '--window', '2', '--json', '--', 'sh', '-c'];
    const child = user.start([...words, 'echo begun; sleep 60']);
    let seen = '';
    child.stdout!.setEncoding('utf8').on('data', (text: string) => (seen += text));
    await until(() => seen.match(/begun/g)?.length === 2, 'two hosts to begin');
    expect(listed('killed')).toMatchObject({ stage: 'running', states: { waiting: 2, running: 2 } });
    child.kill('SIGKILL');
    await once(child, 'exit');
    expect(listed('killed')).toMatchObject({ stage: 'lost', states: { neverStarted: 2, lost: 2 }, late: 'db1,web1' });
    const attached = user.start(['attach', 'killed', '--json']);
    await said(attached, 'begun');
    expect(user.call(['kill', 'killed'])).toMatchObject({ code: 0, stderr: '' });
    expect(await once(attached, 'exit')).toEqual([1, null]);
    expect(listed('killed')).toMatchObject({ stage: 'ended', states: { neverStarted: 2, cancelled: 2 }, late: '' });
    expect(user.call(['wait', 'killed']).code).toBe(207);
    const rest = user.events(['run', 'all', '--only', 'neverStarted:killed', '--json', '--', 'true']);
    expect(rest.at(-1)).toMatchObject({ event: 'summary', total: 2, ok: 2 });
  });
});

test.each([
  ['SIGHUP', 129, { stage: 'left', states: { running: 1, neverStarted: 3 }, late: 'db1' }],
  ['SIGTERM', 207, { stage: 'ended', states: { cancelled: 1, neverStarted: 3 }, late: '' }],
] as const)('a caller that %s ends leaves a history of what it left behind', async (signal, code, event) => {
  const child = user.start(['run', 'all', '--name', signal, '--window', '1', '--', 'sh', '-c', 'echo begun; sleep 60']);
  await said(child, 'begun');
  child.kill(signal);
  expect(await once(child, 'exit')).toEqual([code, null]);
  expect(listed(signal)).toMatchObject(event);
  user.call(['kill', signal]);
  expect(user.call(['result', signal]).code).toBe(207);
  expect(listed(signal)).toMatchObject({ stage: 'ended', states: { cancelled: 1, neverStarted: 3 } });
});

test('two callers at once are both recorded, whole', async () => {
  const callers = Array.from({ length: 4 }, (_, i) =>
    user.start(['run', 'web[1-3]', '--name', `at once ${i}`, '--', 'sh', '-c', 'head -c 3000 /dev/zero']),
  );
  for (const caller of callers) caller.stdout!.resume();
  expect(await Promise.all(callers.map(async (caller) => (await once(caller, 'exit'))[0] as number))).toEqual([
    0, 0, 0, 0,
  ]);
  for (const i of callers.keys()) expect(listed(`at once ${i}`)).toMatchObject({ outcomes: { ok: 3 } });
});

describe('a run of which the hosts know nothing any more', () => {
  const text = 'echo out; echo err >&2; exit 3';

  /** Has the hosts forget the run of these events, as they do when its time is over. Returns its results. */
  async function forgottenByHosts(events: readonly Record<string, unknown>[]): Promise<Record<string, unknown>[]> {
    const results = events.filter(({ event }) => event === 'result');
    const home = resolveHome({ SENDALL_HOME: user.home });
    for (const result of results) {
      await using host = await connect(String(result.host), { home });
      await host.forget(String(result.runId));
    }
    return results;
  }

  test('has its results, its output and its groups from the history', async () => {
    const ran = user.events(['run', 'web[1-2],db1', '--name', 'yesterday', '--json', '--', 'sh', '-c', text]);
    const [result] = await forgottenByHosts(ran);
    const results = user.events(['result', 'yesterday', '--json']);
    expect(results.map(({ event, host }) => [event, host])).toEqual([
      ['result', 'db1'],
      ['result', 'web1'],
      ['result', 'web2'],
      ['summary', undefined],
    ]);
    expect(results.find(({ host }) => host === result!.host)).toEqual(result);
    expect(results.at(-1)).toMatchObject({ total: 3, ok: 0, failed: 3, notStarted: '' });
    expect(user.call(['result', 'yesterday']).code).toBe(1);
    expect(user.call(['logs', 'yesterday', '--on', 'db1', '--quiet'])).toEqual({
      code: 0,
      stdout: 'out\n',
      stderr: 'err\n',
    });
    expect(user.call(['logs', 'yesterday', '--on', 'db1', '--stderr', '--from', 'end']).stderr).toBe(
      'sendall: db1 no longer knows the run; this is from the history\nerr\n',
    );
    expect(user.events(['logs', 'yesterday', '--on', 'web1', '--json', '-q', '--from', '2'])).toEqual([
      expect.objectContaining({ event: 'output', stream: 'stdout', offset: 2, text: 't\n' }),
      expect.objectContaining({ event: 'output', stream: 'stderr', offset: 0, text: 'err\n' }),
      expect.objectContaining({ event: 'result', outcome: 'failed', code: 3 }),
    ]);
    expect(user.call(['diff', 'yesterday'])).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('db1,web[1-2] (3), exit 3'),
    });
  });

  test('of equal answers that were received once has the answer of each host', async () => {
    const words = [
      'web[1-2],db1',
      '--name',
      'equal',
      '--gather',
      '--json',
      '--',
      'sh',
      '-c',
      'head -c 600 /dev/zero; echo',
    ];
    const results = await forgottenByHosts(user.events(['run', ...words]));
    const again = user.events(['result', 'equal', '--json']);
    for (const result of results) expect(again).toContainEqual(result);
    for (const host of ['web1', 'web2', 'db1'])
      expect(user.call(['logs', 'equal', '--on', host, '-q'])).toEqual({
        code: 0,
        stdout: `${'\0'.repeat(600)}\n`,
        stderr: '',
      });
    expect(user.call(['diff', 'equal']).stdout).toContain('db1,web[1-2] (3)');
  });

  test('says when its output is not kept', async () => {
    const words = ['web[1-2]', '--name', 'large', '--keep-output', '1k', '--', 'head', '-c', '5000', '/dev/zero'];
    await forgottenByHosts(user.events(['run', '--json', ...words]));
    expect(user.call(['logs', 'large', '--on', 'web1', '-q'])).toEqual({
      code: 206,
      stdout: '',
      stderr: expect.stringMatching(/^sendall: 5000 bytes of stdout are not kept: .*--keep-output/),
    });
    expect(user.call(['diff', 'large'])).toEqual({
      code: 0,
      stdout: expect.stringContaining('web[1-2] (2)'),
      stderr: expect.stringMatching(/^sendall: web\[1-2\]: compared by digests, as .*\n$/),
    });
    expect(user.call(['run', 'web[1-2]', '--keep-output', '2G', '--', 'true'])).toMatchObject({
      code: 200,
      stderr: expect.stringContaining('--keep-output'),
    });
  });
});

test('the output of a host that is away comes from the history', async () => {
  await using away = await Machine.start();
  pairWith(away, 'away1');
  user.call(['run', 'away1,web1', '--name', 'before', '--', 'sh', '-c', 'echo here']);
  user.call(['run', '-d', 'away1,web1', '--name', 'open', '--', 'true']);
  away.user.call(['agent', 'stop', '--runs']);
  expect(user.call(['logs', 'before', '--on', 'away1', '--no-share'])).toEqual({
    code: 0,
    stdout: 'here\n',
    stderr: expect.stringMatching(/^sendall: .*cannot be reached.*; this is from the history\n$/),
  });
  expect(user.call(['diff', 'before'])).toMatchObject({ code: 0, stdout: expect.stringContaining('away1,web1 (2)') });
  // Its end there is known to no one here.
  expect(user.call(['result', 'open', '--no-share'])).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('no answer from away1'),
  });
  expect(listed('open')).toMatchObject({ stage: 'left', states: { running: 1, exited: 1 }, late: 'away1' });
});

describe('--only', () => {
  test('takes those of the targets that an earlier run left so', () => {
    const folder = join(user.home, 'count');
    const text = counting(folder, '[ $n = 1 ] && exit 9; [ $n = 2 ] && echo other || echo same');
    user.call(['run', 'web[1-3],db1', '--window', '1', '--name', 'earlier', '--', 'sh', '-c', text]);
    rmSync(folder, { recursive: true });
    const hosts = (...words: string[]) =>
      user
        .events(['run', '--explain', '--json', ...words, '--', 'true'])
        .flatMap((each) => (each.event === 'batch' ? (each.hosts as string[]) : []));
    expect(hosts('all', '--only', 'failed:earlier')).toEqual(['web1']);
    expect(hosts('all', '--only', 'changed:earlier')).toEqual(['web1', 'web2']);
    expect(hosts('all', '--only', 'ok:earlier', '--only', 'failed:earlier')).toEqual(['db1', 'web1', 'web2', 'web3']);
    expect(hosts('web[2-3]', '--only', 'ok:earlier')).toEqual(['web2', 'web3']);
    expect(hosts('web1', '--only', 'failed:earlier')).toEqual(['web1']);
    const again = user.events(['sh', 'all', '--only', 'failed:earlier', '--json', '-c', 'true']);
    expect(again.at(-1)).toMatchObject({ event: 'summary', total: 1, ok: 1 });
  });

  test.each([
    [['web[1-3]', '--only', 'lost:earlier'], 'no host of web[1-3] is among lost:earlier: nothing was run'],
    [['all', '--only', 'failed:never'], 'there is no run "never"'],
    [['all', '--only', 'failed'], 'is not a selection such as failed:RUN'],
    [['all', '--only', 'odd:earlier'], 'it begins with ok, failed, changed'],
    [['all', '--only', 'failed:single'], 'ran on one host, web1'],
  ])('%j is refused with a sentence', (words, message) => {
    user.call(['run', 'web1', '--name', 'single', '--', 'true']);
    const ended = user.call(['run', ...words, '--', 'true']);
    expect([ended.code, ended.stdout]).toEqual([200, '']);
    expect(ended.stderr).toContain(message);
  });

  test('is completed with the runs on many hosts', () => {
    user.call(['run', 'web[1-2]', '--name', 'offered', '--', 'true']);
    const offered = user.call(['complete', '--', 'run', '--only', 'lost:o']).stdout.split('\n');
    expect(offered).toContain('lost:offered');
    expect(user.call(['complete', '--', 'diff', 'off']).stdout).toBe('offered\n');
  });
});

test('forget removes a run from its hosts and from the history', () => {
  user.call(['run', 'web[1-2],db1', '--name', 'secret', '--', 'sh', '-c', 'head -c 700 /dev/urandom']);
  const blobs = () => user.bash('ls "$SENDALL_HOME/fleet/blobs" | wc -l').stdout;
  const before = Number(blobs());
  expect(user.call(['forget', 'secret'])).toEqual({ code: 0, stdout: '', stderr: '' });
  expect(Number(blobs())).toBe(before - 3);
  expect(listed('secret')).toBeUndefined();
  expect(user.call(['ps', '--all', 'all']).stdout).not.toContain('secret');
  expect(user.call(['complete', '--', 'diff', 'secr']).stdout).toBe('');
  // Twice is no fault of the second caller.
  expect(user.call(['forget', 'secret'])).toMatchObject({ code: 205, stderr: expect.stringContaining('forgotten') });
});

test('forget leaves the history of a run that goes on', () => {
  user.call(['run', '-d', 'web[1-2]', '--name', 'going', '--', 'sleep', '60']);
  expect(user.call(['forget', 'going'])).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('sendall kill going'),
  });
  expect(listed('going')).toMatchObject({ states: { running: 2 } });
  user.call(['kill', 'going']);
});

// Only root may mount a disk small enough to be filled.
rootTest('a full disk costs the history, which is said once, and not the run', () => {
  const folder = mkdtempSync(join(tmpdir(), 'full-'));
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2m,mode=0700', 'tmpfs', folder]);
  const env = { SENDALL_HOME: folder };
  try {
    pairWith(machine, 'one', env);
    pairWith(other, 'two', env);
    user.call(['run', 'one,two', '--name', 'before', '--', 'true'], { env });
    const { bavail, bsize } = statfsSync(folder);
    writeFileSync(join(folder, 'filler'), Buffer.alloc(bavail * bsize));
    const words = [
      'run',
      'one,two',
      '--name',
      'full',
      '--',
      'sh',
      '-c',
      `head -c 9000 /dev/zero; ${'echo out; '.repeat(300)}`,
    ];
    for (let times = 0; times < 3; times++) {
      const ended = user.call(words, { env });
      expect([ended.code, ended.stdout.length]).toEqual([0, 2 * (9000 + 300 * 'one: out\n'.length)]);
      expect(ended.stderr).toBe('sendall: the history of this run is incomplete: the disk is full\n');
    }
    expect(user.call(['run', 'one', '--', 'echo', 'out'], { env })).toEqual({ code: 0, stdout: 'out\n', stderr: '' });
    rmSync(join(folder, 'filler'));
    user.call(['run', 'one,two', '--name', 'after', '--', 'true'], { env });
    const names = user.events(['ps', '--fleet', '--json'], { env }).map(({ name }) => name);
    expect([names[0], names.at(-1)]).toEqual(['after', 'before']);
  } finally {
    user.call(['links', 'stop'], { env });
    execFileSync('umount', ['-l', folder]);
    rmSync(folder, { recursive: true, force: true });
  }
});
