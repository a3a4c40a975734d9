/** Signals ignored at our start, and leaving a run before its end. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readStart } from '../../src/started.js';
import { Machine, said, SENDALL, type User } from './support.js';
import { until, within } from '../../../../test/support/waits.js';

let machine: Machine;
let user: User;
beforeAll(async () => {
  machine = await Machine.start();
  user = machine.pairedUser('web1');
});
afterAll(async () => {
  user[Symbol.dispose]();
  await machine[Symbol.asyncDispose]();
});

/** The program as installed: started through its first line, on this Node. */
const installed = () => user.env({ PATH: `${dirname(process.execPath)}:${process.env.PATH}`, SENDALL });

/** A shell that prepares the program's environment, then becomes the program. */
function inShell(script: string, ...words: string[]): ChildProcess {
  return spawn('sh', ['-c', `${script}; exec "$SENDALL" "$@"`, 'sh', ...words], {
    env: installed(),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

describe('a signal that was ignored at the start', () => {
  test.each(['HUP', 'INT', 'TERM', 'QUIT INT', 'USR2'])('stays ignored: %s', async (names) => {
    // The command ends once the signal's sender has created a file.
    const flag = `${user.home}/flag-${names.replaceAll(' ', '-')}`;
    const child = inShell(
      `trap '' ${names}`,
      'run',
      'web1',
      '--',
      'sh',
      '-c',
      `echo go; until [ -e "${flag}" ]; do sleep 0.02; done; echo two; exit 7`,
    );
    const rest = text(child.stderr!);
    await said(child, 'go');
    for (const name of names.split(' ')) child.kill(`SIG${name}` as NodeJS.Signals);
    spawnSync('touch', [flag]);
    await said(child, 'two');
    expect(await once(child, 'exit')).toEqual([7, null]);
    expect(await rest).toBe('');
  });

  test('one that was not ignored cancels, and Ctrl-C leaves a script’s background job alone', async () => {
    const child = inShell("trap '' HUP", 'run', 'web1', '--', 'sh', '-c', 'echo go; sleep 60');
    await said(child, 'go');
    child.kill('SIGINT');
    expect(await once(child, 'exit')).toEqual([204, null]);
    // A shell without job control starts "&" with SIGINT and SIGQUIT ignored.
    const script = `
      "$SENDALL" run web1 -- sh -c 'echo go; until [ -e "$0" ]; do sleep 0.02; done; exit 9' "$SENDALL_HOME/sent" > "$SENDALL_HOME/job" & job=$!
      until grep -q go "$SENDALL_HOME/job"; do sleep 0.02; done
      kill -INT $job; touch "$SENDALL_HOME/sent"; wait $job; echo "code $?"`;
    expect(spawnSync('sh', ['-c', script], { env: installed() }).stdout.toString()).toBe('code 9\n');
  });

  test('the commands themselves get every signal as usual, and inherit nothing of our start', async () => {
    const child = inShell("trap '' INT TERM", 'run', 'web1', '--', 'sh', '-c', 'grep SigIgn /proc/self/status; env');
    const out = await text(child.stdout!);
    expect(out).toMatch(/^SigIgn:\t0+$/m);
    expect(out).not.toContain('SENDALL_START');
  });
});

describe('the state sh saw before Node started', () => {
  test('is read: ignored signals, limit of files, closed descriptors', () => {
    expect(readStart(' closed=1 sigign=0000000000004003 nofile=900')).toEqual({
      nofile: 900,
      ignored: new Set(['SIGHUP', 'SIGINT', 'SIGTERM']),
      closed: new Set([1]),
    });
    expect(readStart('nofile=unlimited').nofile).toBe(Infinity);
  });

  test('a sh that ignores SIGQUIT by itself is not mistaken for a caller that does', () => {
    expect(readStart('sigign=4').ignored.size).toBe(0);
    expect([...readStart('sigign=6').ignored]).toEqual(['SIGINT', 'SIGQUIT']);
  });

  test.each(['', 'nonsense', 'nofile=-1 sigign=xyz', 'sigign=', 'nofile=1e9'])('%j tells nothing', (told) => {
    expect(readStart(told)).toEqual({ nofile: undefined, ignored: new Set(), closed: new Set() });
  });
});

describe('SIGHUP leaves an unfinished run with 129 and the run’s id', () => {
  const start = (name: string) =>
    user.call(['run', '-d', '--name', name, 'web1', '--', 'sh', '-c', 'echo go; exec sleep 60']);

  test.each([
    ['attach', 'attach', 'go'],
    ['attach --observe', 'attach --observe', 'go'],
    ['logs -f', 'logs -f', 'go'],
    ['attach --json', 'attach --json', '"text":"go'],
  ])('%s', async (_, words, sign) => {
    const name = `hup-${words.replaceAll(/[ -]/g, '')}`;
    const id = start(name).stderr.trim();
    const child = inShell(':', ...words.split(' '), name);
    const heard = text(child.stderr!);
    await said(child, sign);
    const rest = text(child.stdout!);
    child.kill('SIGHUP');
    expect(await once(child, 'exit')).toEqual([129, null]);
    expect(await heard).toContain(id);
    if (words.includes('json')) expect(await rest).toContain(`{"event":"detached","host":"web1","runId":"${id}"`);
    expect(user.call(['ps', 'web1']).stdout).toMatch(new RegExp(`${id} +running`));
    user.call(['kill', name]);
  });

  test('while logs without -f of a run that goes on ends with 0', () => {
    start('so-far');
    user.bash('until sendall logs so-far | grep -q go; do :; done');
    expect(user.call(['logs', 'so-far'])).toEqual({ code: 0, stdout: 'go\n', stderr: '' });
    user.call(['kill', 'so-far']);
  });
});

test('a window that closes sends several signals, and a run on many hosts still says how it is found again', async () => {
  using caller = machine.pairedUser('a1', 'a2');
  // Its output is not read, so that leaving takes its time. The command waits until it runs on both hosts: a host on
  // which it never started would be named behind the run's id.
  const flag = join(caller.home, 'both');
  const script = `echo go >&2; until [ -e "${flag}" ]; do sleep 0.02; done; head -c 4000000 /dev/zero; exec sleep 60`;
  const words = ['sh', '-c', script];
  const child = caller.start(['run', '-n', 'a[1-2]', '--', ...words]);
  let heard = '';
  child.stderr!.setEncoding('utf8').on('data', (more: string) => (heard += more));
  const over = once(child, 'close');
  await until(() => ['a1: go', 'a2: go'].every((each) => heard.includes(each)), 'both hosts to run it');
  writeFileSync(flag, '');
  await within(once(child.stdout!, 'readable'), 'its output');
  await until(() => !child.kill('SIGHUP') || child.exitCode !== null || child.signalCode !== null, 'the end');
  child.stdout!.resume();
  await over;
  expect([child.exitCode, child.signalCode]).toEqual([129, null]);
  const [, runId = ''] = /sendall attach (\S+)/.exec(heard) ?? [];
  expect(caller.call(['kill', runId]).code).toBe(0);
});

describe('one signal is enough when the host is away', () => {
  test.each([
    ['SIGTERM, one host', 'SIGTERM', 'far', 'left before it was cancelled; see what became of it: sendall attach '],
    ['SIGINT, one host', 'SIGINT', 'far', 'left before it was cancelled; see what became of it: sendall attach '],
    ['SIGTERM, a host of two', 'SIGTERM', 'far,web1', 'left before all were cancelled: sendall attach '],
    ['SIGINT, a host of two', 'SIGINT', 'far,web1', 'left before all were cancelled: sendall attach '],
  ] as const)('%s', async (_, signal, targets, sentence) => {
    await using away = await Machine.start();
    using caller = away.pairedUser('far');
    caller.call(['pair', machine.url, '--code', newCode(), '--name', 'web1']);
    // The wait does not end by the grace.
    const words = ['run', '-n', '--kill-grace=1h', targets];
    const child = caller.start([...words, '--', 'sh', '-c', 'echo go; exec sleep 60']);
    const heard = text(child.stderr!);
    await said(child, targets === 'far' ? 'go' : 'far: go');
    await away.killAgent();
    child.kill(signal);
    expect(await within(once(child, 'exit'), 'the end')).toEqual([204, null]);
    const { length } = (await heard).split('\n').filter((line) => line.includes(sentence));
    expect([length, await heard]).toEqual([1, expect.not.stringContaining(' at ')]);
    await away.startAgent();
  });
});

/** A code to pair with the machine of all tests. */
const newCode = () => String(machine.user.events(['pair', '--new', '--json'])[0]!.code);
