/** --limit on the command line, and the option limits of the API: checked, sent, obeyed and told. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { connect, fleet, resolveHome, type CommandLimits, type Home, type Host } from 'sendall';
import { versionOne } from '../../dist/keeper/system/hierarchies.js';
import { Machine, User } from './support.js';

let machine: Machine;
let user: User;
let home: Home;
let host: Host;
beforeAll(async () => {
  machine = await Machine.start();
  ({ user } = machine);
  home = resolveHome({ SENDALL_HOME: user.home });
  host = await connect('local', { home });
});
afterAll(async () => {
  await host.close();
  await machine[Symbol.asyncDispose]();
});

const call = (...words: string[]) => user.call(words);
const events = (...words: string[]) => user.events(words);

const canLimitMemory = process.getuid?.() === 0 && versionOne('memory') !== undefined;
const filling = ['python3', '-c', 'x = bytearray(200 << 20)'];

describe('--limit', () => {
  test('holds for run and sh, with several names at once or one by one, the last of two', () => {
    const [cpu, files] = ['cpu=1m', 'files=200'];
    expect(call('run', '--limit', `${cpu},${files}`, 'local', '--', 'sh', '-c', 'ulimit -t; ulimit -n')).toEqual({
      code: 0,
      stdout: '60\n200\n',
      stderr: '',
    });
    expect(
      call('sh', '--limit', files, '--limit', 'cpu=9', '--limit', 'files=100', 'local', '-c', 'ulimit -t; ulimit -n')
        .stdout,
    ).toBe('9\n100\n');
  });

  test('holds in a terminal', () => {
    const { screen } = user.atTerminal(
      ['run', '--pty', '--limit', 'files=100', 'local', '--', 'sh', '-c', 'ulimit -n'],
      [],
    );
    expect(screen).toContain('100');
  });

  test.each([
    ['memory', '"memory" is not a limit: they are memory=SIZE, cpu=TIME, files=N and processes=N'],
    ['ram=1G', '"ram=1G" is not a limit'],
    ['', '"" is not a limit'],
    ['files=64,', '"" is not a limit'],
    ['memory=lots', '--limit memory: "lots" is not a size'],
    ['cpu=soon', '--limit cpu: "soon" is not a duration'],
    ['files=-1', '--limit files: "-1" is not a whole number'],
    ['files=1', 'limits: { files: 1 } is not'],
    ['processes=0', 'limits: { processes: 0 } is not'],
    ['__proto__=1', '"__proto__=1" is not a limit'],
  ])('%j is refused before anything starts', (text, message) => {
    const { code, stdout, stderr } = call('run', `--limit=${text}`, 'local', '--', 'echo', 'ran');
    expect([code, stdout]).toEqual([200, '']);
    expect(stderr).toContain(message);
  });

  test('that ends a command is outcome limits and code 206', () => {
    const busy = ['run', '--limit', 'cpu=1s', '--json', 'local', '--', 'sh', '-c', 'while :; do :; done'];
    expect(events(...busy).at(-1)).toMatchObject({ event: 'result', outcome: 'limits', signal: 'SIGXCPU' });
  });

  test.runIf(canLimitMemory)('on memory that ends a command is cause oom besides', () => {
    const words = ['--limit', 'memory=64M', 'local', '--', ...filling];
    expect(events('run', '--json', ...words).at(-1)).toMatchObject({
      event: 'result',
      outcome: 'limits',
      cause: 'oom',
      signal: 'SIGKILL',
    });
    const { code, stderr } = call('run', ...words);
    expect([code, stderr]).toEqual([206, expect.stringContaining('it needed more memory than its limit allows')]);
  });

  test('is completed', () => {
    const complete = (...words: string[]) =>
      call('complete', '--', ...words)
        .stdout.split('\n')
        .filter(Boolean);
    expect(complete('run', '--limit', '')).toEqual(['memory=', 'cpu=', 'files=', 'processes=']);
    expect(complete('shell', '--limit', 'm')).toEqual(['memory=']);
    expect(complete('sh', '--limit', 'cpu=1m,f')).toEqual(['cpu=1m,files=']);
    expect(complete('run', '--limit=files=9,c')).toEqual(['--limit=files=9,cpu=']);
    expect(complete('run', '--limit', 'cpu=')).toEqual([]);
  });
});

describe('the option limits', () => {
  test.each<[unknown, RegExp]>([
    [{ memory: '512M' }, /^limits: \{ memory \} is not/],
    [{ memory: 0 }, /^limits: \{ memory: 0 \} is not/],
    [{ cpu: 'long' }, /^limits: \{ cpu \} is not/],
    [{ files: 3 }, /^limits: \{ files: 3 \} is not .*from 4 to/],
    [{ processes: 1.5 }, /^limits: \{ processes: 1\.5 \} is not/],
    [{ procs: 1 }, /^limits: \{ procs: 1 \} is not/],
    [[], /^limits: an array is not/],
  ])('%j is refused by name', (limits, message) => {
    expect(() => host.run(['true'], { limits: limits as CommandLimits })).toThrow(message);
  });

  test('takes times as text, and with nothing in it asks for nothing', async () => {
    expect((await host.sh('ulimit -t', { limits: { cpu: '1500ms' } })).stdout).toBe('2\n');
    expect((await host.sh('ulimit -t', { limits: { cpu: 0 } })).stdout).toBe('unlimited\n');
    expect((await host.sh('true', { limits: {} })).ok).toBe(true);
  });

  test('is part of the command: the same run id with another limit is a conflict', async () => {
    const first = host.run(['true'], { limits: { files: 64 } });
    await first;
    const again = await host.run(['true'], { runId: first.runId, limits: { files: 65 }, reject: false });
    expect(again.outcome).toBe('conflict');
    expect((await host.run(['true'], { runId: first.runId, limits: { files: 64 } })).ok).toBe(true);
  });

  test.runIf(canLimitMemory)('tells by the result’s cause that memory ran out', async () => {
    const limits = { memory: 64 * 1024 * 1024 };
    const result = await host.run(filling, { limits, reject: false });
    expect(result).toMatchObject({ ok: false, outcome: 'limits', cause: 'oom' });
    const idle = await host.run(['sleep', '100'], { timeout: 10, reject: false });
    expect([idle.outcome, idle.cause]).toEqual(['timeout', undefined]);
  });

  test('holds on every host of a fleet', async () => {
    const run = fleet('local', { home }).run(['sh', '-c', 'ulimit -n'], { limits: { files: 77 } });
    for await (const result of run.results()) expect(result.stdout).toBe('77\n');
  });

  test('is offered by hosts that obey it', () => {
    expect(host.info.features).toContain('limits');
  });
});
