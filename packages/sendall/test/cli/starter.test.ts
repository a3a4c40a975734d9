/** Commands inherit limits, niceness, umask and OOM score from the starter of the agent. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { expect, test } from 'vitest';
import { rootDescribe } from '../../../../test/support/root.js';
import { endKeeper } from '../remove-home.js';
import { SENDALL, User } from './support.js';

/** An agent of this user, started by shell text that ends with `agent`. */
async function startedBy(text: string): Promise<{ user: User } & AsyncDisposable> {
  const user = new User();
  const script = `agent() { exec "$SENDALL" agent; }; ${text}`;
  const child = spawn('bash', ['-c', script], { env: user.env({ SENDALL }), stdio: ['ignore', 'ignore', 'pipe'] });
  for await (const line of createInterface({ input: child.stderr })) {
    if (!line.startsWith('listening ')) throw new Error(`the agent said: ${line}`);
    break;
  }
  child.stderr.resume();
  return {
    user,
    async [Symbol.asyncDispose]() {
      user.call(['agent', 'stop', '--runs']);
      if (child.exitCode === null) await once(child, 'exit');
      await endKeeper(user.home);
      user[Symbol.dispose]();
    },
  };
}

const LOOK =
  'ulimit -S -n; ulimit -S -f; ulimit -S -s; ulimit -S -t; ulimit -S -c; umask; nice; cat /proc/self/oom_score_adj';

/** The settings of a shell prepared by `text`, and of a command of its agent. */
async function both(text: string, more = '', look = LOOK): Promise<[string, string]> {
  await using agent = await startedBy(`${text}; ${more} agent`);
  const here = agent.user.bash(`bash -c '${text}; exec bash -c "$1"' bash "$LOOK"`, { env: { LOOK: look } });
  const { stdout, stderr } = agent.user.call(['run', 'local', '--', 'bash', '-c', look]);
  return [here.stdout, stdout + stderr];
}

test.each([
  ['little', 'ulimit -S -n 700; ulimit -S -f 4096; ulimit -S -s 4096; ulimit -S -t 500; ulimit -S -c 0; umask 027'],
  ['fewer files than the keeper needs', 'ulimit -S -n 40'],
  ['many files', 'ulimit -S -n $(ulimit -H -n)'],
  ['a mask for their owner', 'umask 277'],
  ['a low priority', 'renice -n 5 $$ > /dev/null; echo 300 > /proc/self/oom_score_adj'],
])('commands get what the starter of the agent had: %s', async (_, text) => {
  const [expected, seen] = await both(text);
  expect(seen).toBe(expected);
});

test('many commands at once get the same', async () => {
  await using agent = await startedBy('ulimit -S -n 500; umask 027; agent');
  const many = `for i in $(seq 24); do sendall run local -- sh -c 'ulimit -S -n; umask; cat /proc/self/oom_score_adj' & done; wait`;
  const own = agent.user.bash('cat /proc/self/oom_score_adj').stdout;
  expect(agent.user.bash(many).stdout.split('\n').filter(Boolean).toSorted()).toEqual(
    Array.from({ length: 24 }, () => ['500', '0027', own.trim()])
      .flat()
      .toSorted(),
  );
});

test('a limit on the length of files holds for commands, and not for their output', async () => {
  await using agent = await startedBy('ulimit -S -f 2048; agent');
  const ended = agent.user.bash('sendall run local -- head -c 20000000 /dev/zero | wc -c');
  expect(ended.stdout.trim()).toBe('20000000');
  const script = 'trap "" XFSZ; f=$(mktemp); head -c 4000000 /dev/zero > $f 2> /dev/null; stat -c %s $f; rm $f';
  expect(agent.user.call(['sh', 'local', '-c', script]).stdout).toBe(`${2048 * 1024}\n`);
});

test('after a restart from another shell commands get what that one had, from the keeper of before', async () => {
  await using agent = await startedBy('ulimit -S -n 700; ulimit -S -s 4096; umask 027; agent');
  const { user } = agent;
  const keeper = () => user.events(['agent', 'status', '--json'])[0]!.keeperPid;
  const before = keeper();
  user.call(['run', '-d', 'local', '--', 'sleep', '600']);
  const setups = [
    'ulimit -S -n 600; ulimit -S -f 8192; ulimit -S -t 400; ulimit -S -c 0; umask 077; renice -n 3 $$ > /dev/null; echo 200 > /proc/self/oom_score_adj',
    'ulimit -S -n 800; umask 277; renice -n 4 $$ > /dev/null; echo 250 > /proc/self/oom_score_adj',
  ];
  for (const setup of setups) {
    expect(user.bash(`bash -c '${setup}; exec "$SENDALL" agent restart'`)).toMatchObject({ code: 0 });
    const here = user.bash(`bash -c '${setup}; exec bash -c "$1"' bash "$LOOK"`, { env: { LOOK } });
    const there = user.call(['run', 'local', '--', 'bash', '-c', LOOK]);
    expect(there).toEqual({ code: 0, stdout: here.stdout, stderr: '' });
    expect(user.call(['doctor']).stdout).not.toContain('other limits');
  }
  expect(keeper()).toBe(before);
});

rootDescribe('commands of another user', () => {
  test('get what the starter of the agent had, and nothing of the keeper’s own', async () => {
    const text =
      'ulimit -S -n 700; ulimit -S -l 100; ulimit -S -i 5000; umask 027; renice -n 5 $$ > /dev/null; echo 300 > /proc/self/oom_score_adj';
    await using agent = await startedBy(`${text}; agent`);
    const look = `${LOOK}; ulimit -S -l; ulimit -S -i`;
    const run = (...words: string[]) =>
      agent.user.call(['run', ...words, '--cwd=/', 'local', '--', 'bash', '-c', look]).stdout;
    const own = run();
    expect(own).toContain('0027\n5\n300\n100\n5000\n');
    expect(run('--as', 'daemon')).toBe(own);
    expect(run('--as', 'daemon', '--limit', 'memory=1G,files=700')).toBe(own);
  });
});

rootDescribe('a host without cgroups', () => {
  test('refuses limits on memory and processes, keeps the others, and doctor says so', async () => {
    await using agent = await startedBy(
      'exec unshare -m bash -c \'umount -R /sys/fs/cgroup; exec "$0" agent\' "$SENDALL"',
    );
    const run = (limit: string) => agent.user.call(['run', '--limit', limit, 'local', '--', 'sh', '-c', 'ulimit -n']);
    for (const limit of ['memory=1G', 'processes=9', 'files=64,memory=1G'])
      expect(run(limit)).toEqual({
        code: 202,
        stdout: '',
        stderr: expect.stringMatching(/this host cannot limit (memory|processes) of a command: /),
      });
    expect(run('files=64')).toEqual({ code: 0, stdout: '64\n', stderr: '' });
    expect(agent.user.call(['doctor']).stdout).toContain('this host cannot limit memory and processes of a command');
  });
});

// Only root may lower a score, and drop that right.
rootDescribe('the keeper', () => {
  const scoreOf = (agent: { user: User }) => {
    const [status] = agent.user.events(['agent', 'status', '--json']);
    return agent.user.bash(`cat /proc/${String(status!.keeperPid)}/oom_score_adj`).stdout.trim();
  };
  const WEAK = 'setpriv --bounding-set=-sys_resource --inh-caps=-sys_resource';

  // CAP_SYS_RESOURCE, which root in a container may lack.
  const effective = BigInt(`0x${/^CapEff:\s*(\w+)/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1] ?? '0'}`);
  const mayLower = ((effective >> 24n) & 1n) === 1n;

  test.skipIf(!mayLower)(
    'ends last when memory runs out, and commands can get no lower than their own score',
    async () => {
      await using agent = await startedBy('agent');
      expect(agent.user.call(['run', 'local', '--', 'true']).code).toBe(0);
      expect(scoreOf(agent)).toBe('-900');
      const lower = `${WEAK} sh -c 'echo -1 > /proc/self/oom_score_adj' 2> /dev/null; echo $?`;
      expect(agent.user.call(['sh', 'local', '-c', lower]).stdout).not.toBe('0\n');
      expect(agent.user.call(['doctor']).stdout).toContain('commands end before the keeper');
    },
  );

  test('that may not lower its score has that of its commands, and doctor says so', async () => {
    await using agent = await startedBy(`${WEAK} bash -c 'exec "$0" agent' "$SENDALL"`);
    expect(scoreOf(agent)).toBe(
      agent.user.call(['run', 'local', '--', 'cat', '/proc/self/oom_score_adj']).stdout.trim(),
    );
    expect(agent.user.call(['doctor']).stdout).toContain('the OOM scores are equal');
  });

  test('that may not raise a hard limit again keeps it after a restart of the agent, and doctor names it', async () => {
    await using agent = await startedBy(`ulimit -c 0; ${WEAK} bash -c 'exec "$0" agent' "$SENDALL"`);
    const { user } = agent;
    user.call(['run', '-d', 'local', '--', 'sleep', '600']);
    expect(user.call(['doctor']).stdout).not.toContain('other limits');
    expect(user.bash(`bash -c 'ulimit -S -c 100; exec "$SENDALL" agent restart'`).code).toBe(0);
    expect(user.call(['run', 'local', '--', 'bash', '-c', 'ulimit -S -c']).stdout).toBe('0\n');
    expect(user.call(['doctor']).stdout).toMatch(/^wrong {2}starter +commands get other limits .*\(core file size\)/m);
  });

  test('that may not raise its own limit on the length of files keeps output in shorter ones', async () => {
    await using agent = await startedBy(`ulimit -f 4096; ${WEAK} bash -c 'exec "$0" agent' "$SENDALL"`);
    const ended = agent.user.bash('sendall run local -- head -c 20000000 /dev/zero | wc -c; echo ${PIPESTATUS[0]}');
    expect(ended.stdout.trim()).toBe('20000000\n0');
  });
});

test('sendall-ssh looks at its start as sendall does, and ends with the code of ssh where it cannot', () => {
  const shellOf = (name: string) =>
    readFileSync(new URL(`../../bin/${name}`, import.meta.url), 'utf8').split("\n'use strict';")[0]!;
  const ours = shellOf('sendall.js').replace('  exit 1\n', '  exit 255\n').replace('exit 127; }', 'exit 255; }');
  const theirs = shellOf('sendall-ssh.js')
    .replace(/# It lives .*\n/, '')
    .replace('node --single-threaded-gc', 'node');
  expect(theirs).toBe(ours);
});
