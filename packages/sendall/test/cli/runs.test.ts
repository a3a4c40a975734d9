import { once } from 'node:events';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Machine, said, type User } from './support.js';

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

const detach = (name: string, text: string): string =>
  user.call(['run', '-d', '--name', name, 'web1', '--', 'sh', '-c', text]).stderr.trim();

describe('a detached run', () => {
  test('prints its id on stderr, on stdout with --json, and is found by id, beginning and name', () => {
    const id = detach('found', 'echo out; echo err >&2; exit 5');
    expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f-]{27}$/);
    for (const word of [id, id.slice(0, 23), 'found'])
      expect(user.call(['attach', word])).toEqual({ code: 5, stdout: 'out\n', stderr: 'err\n' });
    const [started] = user.events(['run', '-d', '--json', 'web1', '--', 'true']);
    expect(started).toMatchObject({ event: 'started', host: 'web1', runId: expect.any(String) });
  });

  test('that cannot start says so at once', () => {
    expect(user.call(['run', '-d', 'web1', '--', '/nonexistent']).code).toBe(127);
    const [result] = user.events(['run', '-d', '--json', 'web1', '--', '/nonexistent']);
    expect(result).toMatchObject({ event: 'result', outcome: 'refused' });
  });

  test('is read from any offset of stdout', () => {
    detach('offsets', 'printf 0123456789; exit 4');
    expect(user.call(['attach', 'offsets', '--from', '4'])).toMatchObject({ code: 4, stdout: '456789' });
    expect(user.call(['attach', 'offsets', '--from', 'tail:3']).stdout).toBe('789');
    expect(user.call(['logs', 'offsets', '--from', 'tail:2']).stdout).toBe('89');
    expect(user.call(['attach', 'offsets', '--from', 'x']).code).toBe(200);
  });

  test('wait ends with its code, result prints its outcome', () => {
    detach('waited', 'sleep 0.2; echo done; exit 6');
    expect(user.call(['wait', 'waited'])).toEqual({ code: 6, stdout: '', stderr: '' });
    const [result] = user.events(['result', 'waited', '--json']);
    expect(result).toMatchObject({ event: 'result', outcome: 'failed', code: 6, stdoutBytes: 5, host: 'web1' });
    detach('fine', 'true');
    expect(user.call(['wait', 'waited', 'fine']).code).toBe(1);
    expect(user.call(['wait', 'fine']).code).toBe(0);
  });

  test('logs shows the output so far of a running one, and of a single stream on request', () => {
    detach('logged', 'echo out; echo err >&2; sleep 60');
    user.bash('until [ "$(sendall logs logged --stderr 2>&1)" = err ]; do :; done');
    expect(user.call(['logs', 'logged'])).toEqual({ code: 0, stdout: 'out\n', stderr: 'err\n' });
    expect(user.call(['logs', 'logged', '--stdout'])).toEqual({ code: 0, stdout: 'out\n', stderr: '' });
    expect(user.events(['logs', 'logged', '--stderr', '--json'])).toContainEqual(
      expect.objectContaining({ event: 'output', stream: 'stderr', text: 'err\n' }),
    );
    user.call(['kill', 'logged']);
    expect(user.call(['logs', 'logged', '-f']).stdout).toBe('out\n');
  });

  test('with its oldest output dropped reports how much is missing, shows the rest and ends with 206', () => {
    const flood = ['--overflow', 'drop-old', '--spool', '64K', 'web1', '--', 'sh', '-c'];
    user.call(['run', '-d', '--name', 'dropped', ...flood, 'head -c 40000000 /dev/zero; printf end']);
    user.call(['wait', 'dropped']);
    user.call(['run', '-d', '--name', 'running', ...flood, 'head -c 40000000 /dev/zero; printf end; sleep 60']);
    user.bash('until sendall ps web1 --json | grep -q "stdoutBytes.:40000003"; do :; done');
    for (const words of ['attach dropped', 'logs dropped', 'logs running']) {
      const ended = user.call(words.split(' '));
      const missing = Number(/^sendall: (\d+) bytes of stdout are missing/m.exec(ended.stderr)?.[1]);
      expect([ended.code, ended.stdout.length + missing, ended.stdout.slice(-3)]).toEqual([206, 40_000_003, 'end']);
    }
    user.call(['kill', 'running']);
  });

  test('goes on when its reader leaves, which ends attach immediately', () => {
    detach('endless', 'while echo line; do sleep 0.1; done');
    for (const verb of ['attach', 'attach --observe', 'logs', 'logs -f']) {
      const ended = user.bash(`sendall ${verb} endless | head -1; echo \${PIPESTATUS[0]}`);
      expect([verb, ended]).toEqual([
        verb,
        { code: 0, stdout: expect.stringMatching(/^line\n(0|141)\n$/), stderr: '' },
      ]);
      expect(user.call(['ps', 'web1']).stdout).toMatch(/running.*endless/);
    }
    user.call(['kill', 'endless']);
  });

  test.each(['SIGINT', 'SIGTERM'] as const)('%s ends a caller that only watches, and not the run', async (signal) => {
    detach('watched', 'echo go; sleep 60');
    for (const words of [
      ['logs', '-f', 'watched'],
      ['attach', '--observe', 'watched'],
    ]) {
      const child = user.start(words);
      await said(child, 'go');
      child.kill(signal);
      expect(await once(child, 'exit')).toEqual([null, signal]);
    }
    expect(user.call(['ps', 'web1']).stdout).toMatch(/running.*watched/);
    user.call(['kill', 'watched']);
  });

  test('whose caller has left continues with the stdin of the next', async () => {
    const first = user.start(['run', '--name', 'fed', 'web1', '--', 'cat']);
    first.stdin!.write('one\n');
    await said(first, 'one\n');
    first.kill('SIGHUP');
    expect(await once(first, 'exit')).toEqual([129, null]);
    expect(user.call(['attach', '--stdin', 'fed'], { input: 'two\n' })).toMatchObject({
      code: 0,
      stdout: 'one\ntwo\n',
    });
  });

  test('whose caller has control is only read by the next, which reports it and ends nothing with Ctrl-C', async () => {
    const first = user.start(['run', '--name', 'held', 'web1', '--', 'cat']);
    first.stdin!.write('one\n');
    await said(first, 'one\n');
    const steps = [{ expect: 'this one only reads' }, { expect: 'one' }, { send: '\u0003' }];
    expect(user.atTerminal(['attach', 'held'], steps).code).toBe(-2);
    first.stdin!.end('two\n');
    await said(first, 'two\n');
    expect(await once(first, 'exit')).toEqual([0, null]);
  });

  test('ps lists it while it runs, and with --all afterwards', () => {
    const id = detach('listed', 'sleep 60');
    expect(user.call(['ps', 'web1']).stdout).toMatch(new RegExp(`${id}.*running.*listed.*sleep 60`));
    expect(user.call(['kill', 'listed']).code).toBe(0);
    expect(user.call(['wait', 'listed']).code).toBe(204);
    expect(user.call(['ps', 'web1']).stdout).not.toContain(id);
    const all = user.events(['ps', 'web1', '--all', '--json']);
    expect(all.find(({ runId }) => runId === id)).toMatchObject({ event: 'run', host: 'web1', name: 'listed' });
  });

  test('of shell text shows its text; one that never started has no time', () => {
    user.call(['sh', 'web1', '-c', 'exit 9']);
    user.call(['run', 'web1', '--', 'no-such-command']);
    const { stdout } = user.call(['ps', 'web1', '--all']);
    expect(stdout).toMatch(/exit 9 .* sh -c exit 9$/m);
    expect(stdout).toMatch(/ refused +- +- +- +no-such-command$/m);
  });

  test('takes one line of ps, whatever its words contain; on a terminal a line of the screen', () => {
    const name = '任务\n\u001b[31m';
    user.call(['run', '-d', '--name', name, 'web1', '--', 'sh', '-c', `\nsleep 60; : ${'x'.repeat(100)}`]);
    expect(user.call(['ps', 'web1']).stdout).toMatch(/^.* running .*任务\\n\\x1b\[31m +sh -c \\nsleep 60; : x{100}$/m);
    expect(user.atTerminal(['ps', 'web1'], []).screen).toMatch(/任务\\n\\x1b\[31m {2}sh .{0,8}\r\n/);
    user.call(['kill', name]);
  });

  test('of a name that is wider than its letters, or narrower, leaves the columns of ps straight', () => {
    // Wide, a flag of two code points, half as wide as usual, plain, with combining accents.
    const names = ['任务', '🇫🇷', 'ｱｲ', 'plain', 'e\u0301te\u0301'];
    const widths = [4, 2, 2, 5, 3];
    const ids = names.map((name) => {
      const words = ['run', 'web1', '--detach', '--name', name, '--', 'sh', '-c', ': columns; exec sleep 60'];
      return user.call(words).stderr.trim();
    });
    const rows = user.call(['ps', 'web1']).stdout.split('\n');
    const between = names.map((name) => /^ +/.exec(rows.find((row) => row.includes(name))!.split(name)[1]!)![0].length);
    expect(new Set(between.map((spaces, i) => spaces + widths[i]!)).size).toBe(1);
    for (const id of ids) user.call(['kill', id]);
  });

  test('kill -s takes real-time signals by name and number, and refuses unknown ones', async () => {
    for (const signal of ['RTMIN+1', '35', 'SIGRTMAX-2']) {
      detach('real-time', 'sleep 60');
      expect(user.call(['kill', 'real-time', '-s', signal])).toEqual({ code: 0, stdout: '', stderr: '' });
      expect(user.call(['wait', 'real-time']).code).toBe(128 + (signal === 'SIGRTMAX-2' ? 62 : 35));
      user.call(['forget', 'real-time']);
    }
    detach('unharmed', 'sleep 60');
    for (const signal of ['RTMAX+1', '65', '0', 'NOPE']) {
      const refused = user.call(['kill', 'unharmed', '-s', signal]);
      expect([refused.code, refused.stderr]).toEqual([200, expect.stringContaining(`there is no signal "${signal}"`)]);
    }
    user.call(['kill', 'unharmed']);
  });

  test('each kill -s reaches it, also the second of the same signal', () => {
    detach('signalled', 'trap "echo usr1" USR1; echo ready; while :; do sleep 0.05; done');
    user.bash('until sendall logs signalled | grep -q ready; do :; done');
    for (let times = 1; times <= 2; times++) {
      expect(user.call(['kill', 'signalled', '-s', 'USR1']).code).toBe(0);
      user.bash(`until [ "$(sendall logs signalled | grep -c usr1)" = ${times} ]; do :; done`);
    }
    user.call(['kill', 'signalled']);
    expect(user.call(['kill', 'signalled']).code).toBe(1);
    expect(user.call(['kill', 'signalled', '-s', 'NONE']).code).toBe(200);
  });

  test('is forgotten when it has ended', () => {
    detach('gone', 'true');
    user.call(['wait', 'gone']);
    expect(user.call(['forget', 'gone']).code).toBe(0);
    expect(user.call(['ps', 'web1', '--all']).stdout).not.toContain('gone');
    for (const verb of ['attach', 'logs', 'wait', 'kill', 'forget'])
      expect([verb, user.call([verb, 'gone'])]).toEqual([
        verb,
        { code: 205, stdout: '', stderr: expect.stringMatching(/^sendall: .*there is no such run.*ps --all web1\n$/) },
      ]);
  });

  test('is not forgotten while it runs', () => {
    detach('still', 'sleep 60');
    expect(user.call(['forget', 'still'])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('sendall kill still'),
    });
    user.call(['kill', 'still']);
  });
});

test('the same id is started once; with another command it is a conflict', () => {
  const id = '0192f0c1-7d3a-7cc1-98ab-001122334455';
  const once = ['run', 'web1', '--id', id, '--', 'sh', '-c', 'echo $$'];
  const first = user.call(once);
  expect(user.call(once)).toEqual(first);
  expect(user.call(['run', 'web1', '--id', id, '--', 'true']).code).toBe(208);
});

test('an unknown run is a usage error with the next step', () => {
  detach('nightly', 'true');
  expect(user.call(['attach', 'nightyl'])).toMatchObject({
    code: 200,
    stderr: expect.stringContaining('did you mean "nightly"'),
  });
  expect(user.call(['wait', 'zzzzzz'])).toMatchObject({ code: 200, stderr: expect.stringContaining('--on') });
  expect(user.call(['wait', 'zzzzzz', '--on', 'web1'])).toMatchObject({ code: 200 });
});

test('a run is found on the hosts of --on, even if started elsewhere', () => {
  const id = detach('elsewhere', 'exit 3');
  user.bash('rm -r "$SENDALL_HOME/fleet"');
  expect(user.call(['wait', 'elsewhere', '--on', 'web1']).code).toBe(3);
  expect(user.call(['wait', id, '--on', 'web1']).code).toBe(3);
});

test('an absent host does not block the others', () => {
  using elsewhere = machine.pairedUser('web1');
  detach('sought', 'echo found');
  const pin = elsewhere.events(['hosts', '--json'])[0]!.pin;
  elsewhere.call(['hosts', 'add', 'away', 'tls://127.0.0.1:1', '--pin', String(pin)]);
  expect(elsewhere.call(['attach', '--on', 'all', 'sought'])).toMatchObject({
    code: 0,
    stdout: 'found\n',
    stderr: expect.stringMatching(/^sendall: away: .*nothing listens there.*\nsendall: no answer from away\n$/),
  });
  expect(elsewhere.call(['ps', '--all', 'all'])).toMatchObject({
    code: 1,
    stdout: expect.stringMatching(/web1 .*sought/),
  });
  elsewhere.call(['hosts', 'add', 'web2', machine.url, '--pin', String(pin)]);
  const cut = elsewhere.bash('sendall ps --all --json web1,web2 | head -1 | wc -l; echo ${PIPESTATUS[0]}');
  expect(cut).toEqual({ code: 0, stdout: expect.stringMatching(/^1\n(0|141)\n$/), stderr: '' });
});
