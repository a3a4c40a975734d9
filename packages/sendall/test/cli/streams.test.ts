/** Our own stdin, stdout and stderr, of every kind, and an end that does not wait for them. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { patience, until, within } from '../../../../test/support/waits.js';
import { Machine, SENDALL, type User } from './support.js';

let machine: Machine;
let user: User;
beforeAll(async () => {
  machine = await Machine.start();
  user = machine.pairedUser('web1', 'web2');
  mkdirSync(`${user.home}/folder`);
  writeFileSync(`${user.home}/file`, 'from a file\n');
});
afterAll(async () => {
  user[Symbol.dispose]();
  await machine[Symbol.asyncDispose]();
});

/** Shell text in which `sendall` is the installed program. */
function script(text: string) {
  const { status, stdout, stderr } = spawnSync(
    'bash',
    ['-c', `cd "$SENDALL_HOME"\nsendall() { "$SENDALL" "$@"; }\n${text}`],
    {
      env: user.env({ PATH: `${dirname(process.execPath)}:${process.env.PATH}`, SENDALL }),
      timeout: patience(30_000),
    },
  );
  return { code: status, stdout: stdout.toString(), stderr: stderr.toString() };
}

/** Runs it with a descriptor made by a Python program as stdin. */
const given = (made: string, command: string) =>
  script(`python3 - <<'E'
import os, socket, subprocess, sys
${made}
sys.exit(subprocess.run([os.environ['SENDALL'], 'run', 'web1', '--', ${command}], stdin=fd).returncode)
E`);

describe('stdin of every kind reaches the command', () => {
  test.each([
    ['a pipe', 'echo in | sendall run web1 -- cat', 'in\n'],
    ['a file', 'sendall run web1 -- cat < file', 'from a file\n'],
    ['the rest of a file', '{ read -r -n 5 x; sendall run web1 -- cat; } < file', 'a file\n'],
    ['a here-document', 'sendall run web1 -- cat <<< here', 'here\n'],
    ['a device', 'sendall run web1 -- head -c 3 < /dev/zero | od -An -tx1', ' 00 00 00\n'],
    ['a device that was asked for', 'sendall run web1 --stdin=/dev/zero -- head -c 3 | od -An -tx1', ' 00 00 00\n'],
    ['the null device', 'sendall run web1 --stdin -- cat < /dev/null', ''],
    ['a FIFO', 'mkfifo f; { echo in > f; } & sendall run web1 --stdin=f -- cat', 'in\n'],
    ['a substituted process', 'sendall run web1 --stdin=<(echo in) -- cat', 'in\n'],
    ['our own, by its name', 'echo in | sendall run web1 --stdin=/dev/stdin -- cat', 'in\n'],
  ])('%s', (_, text, stdout) => {
    expect(script(text)).toEqual({ code: 0, stdout, stderr: '' });
  });

  test.each([
    ['a stream socket', 'SOCK_STREAM'],
    ['a socket of packets', 'SOCK_SEQPACKET'],
  ])('%s', (_, kind) => {
    const made = `a, b = socket.socketpair(socket.AF_UNIX, socket.${kind})\na.send(b'one\\n'); a.send(b'two\\n'); a.close()\nfd = b`;
    expect(given(made, "'cat'")).toEqual({ code: 0, stdout: 'one\ntwo\n', stderr: '' });
  });

  test('an event descriptor, whose next read would wait for ever', () => {
    // Python before 3.10 lacks eventfd.
    const made = 'fd = os.eventfd(3)';
    expect(given(made, "'od', '-An', '-tx1', '-N', '2'")).toEqual({ code: 0, stdout: ' 03 00\n', stderr: '' });
  });

  test('a FIFO without a writer holds up neither the command nor our end', () => {
    expect(script('mkfifo quiet; sendall run web1 --stdin=quiet -- true')).toEqual({ code: 0, stdout: '', stderr: '' });
    expect(script('mkfifo mute; sendall run web1,web2 --stdin=mute -- true').code).toBe(0);
  });

  test('one FIFO or device is read once for all hosts of a set', () => {
    const { stdout } = script('mkfifo once; { echo in > once; } & sendall run web1,web2 --stdin=once -- cat');
    expect(
      stdout
        .split('\n')
        .filter(Boolean)
        .map((line) => line.replace(/^\S+\s+/, '')),
    ).toEqual(['in', 'in']);
  });
});

describe('stdin that cannot be read is refused with a sentence', () => {
  test.each([
    ['a folder', 'sendall run web1 -- cat < folder', /our stdin is a folder.*-n/],
    ['a folder that was asked for', 'sendall run web1 --stdin -- cat < folder', /our stdin is a folder.*--stdin=FILE/],
    ['a named folder', 'sendall run web1 --stdin=folder -- cat', /"folder" is a folder/],
    ['a named socket', 'sendall run web1 --stdin=agent.sock -- cat', /"agent.sock" does not exist/],
    ['a file for writing', 'sendall run web1 -- cat 0> written', /open for writing only/],
    ['the end of a pipe for writing', 'sendall run web1 -- cat 0> >(cat)', /open for writing only/],
    ['a closed one that was asked for', 'sendall run web1 --stdin -- cat <&-', /our stdin is closed/],
  ])('%s', (_, text, sentence) => {
    const { code, stdout, stderr } = script(text);
    expect({ code, stdout }).toEqual({ code: 200, stdout: '' });
    expect(stderr).toMatch(sentence);
    expect(stderr.trim().split('\n')).toHaveLength(1);
  });

  test('an input that fails during reading ends the command, with the reason', () => {
    const { code, stderr } = given("fd = os.open('/proc/self/mem', os.O_RDONLY)", "'cat'");
    expect(code).toBe(204);
    expect(stderr).toMatch(/stdin failed: EIO/);
  });

  test('a closed stdin that was not requested counts as empty', () => {
    expect(script('sendall run web1 -- cat <&-')).toEqual({ code: 0, stdout: '', stderr: '' });
  });
});

describe('output that our own stdout or stderr rejects ends with 206', () => {
  test.each([
    ['stderr on a full disk', "sendall run web1 -- sh -c 'echo lost >&2' 2> /dev/full"],
    ['stdout on a full disk', "sendall run web1 -- sh -c 'echo lost' > /dev/full"],
    ['stderr above a limit of size', "ulimit -f 1; sendall run web1 -- sh -c 'head -c 9999 /dev/zero >&2' 2> limited"],
    ['a closed stdout', "sendall run web1 -- sh -c 'echo lost' >&-"],
    ['a closed stderr', "sendall run web1 -- sh -c 'echo lost >&2' 2>&-"],
    ['a closed stderr beside the null device', "sendall run web1 -- sh -c 'echo lost >&2' > /dev/null 2>&-"],
    ['stderr of many hosts', "sendall run web1,web2 -- sh -c 'echo lost >&2' 2> /dev/full"],
    ['stderr of many hosts, gathered', "sendall run web1,web2 --gather -- sh -c 'echo lost >&2' 2> /dev/full"],
  ])('%s', (_, text) => {
    expect(script(text).code).toBe(206);
  });

  test.each([
    ["sendall run web1 -- sh -c 'exit 3' <&- >&- 2>&-", 3, ''],
    ["sendall run web1 -- sh -c 'echo out' 2>&-", 0, 'out\n'],
    ["sendall run web1 -- sh -c 'echo out' 2> /dev/full", 0, 'out\n'],
  ])('and what was not written to is not missed: %s', (text, code, stdout) => {
    expect(script(text)).toMatchObject({ code, stdout });
  });

  test.each([
    ['a full disk', 'sendall run -d web1 -- true 2> /dev/full'],
    ['a closed stderr', 'sendall run -d web1 -- true 2>&-'],
    ['a full disk, of many hosts', 'sendall run -d web1,web2 -- true 2> /dev/full'],
  ])('and the id of a run that was left has to be told: %s', (_, text) => {
    expect(script(text).code).toBe(206);
  });

  test('an id that a full stdout rejects goes to stderr, and we wait for no end', () => {
    const { code, stderr } = script('sendall run -d --json web1 -- sleep 60 > /dev/full');
    expect(code).toBe(206);
    const id = /^sendall: cannot write to stdout: the disk is full; the command runs: sendall attach (\S+)\n$/.exec(
      stderr,
    )?.[1];
    expect(script(`sendall kill ${id}`).code).toBe(0);
  });

  test('an answer of our own that a closed stdout rejects is a failure', () => {
    expect(script('sendall ps web1 >&-')).toMatchObject({
      code: 1,
      stderr: 'sendall: cannot write to stdout: it is closed\n',
    });
  });
});

describe('a stuck reader of our output does not hold up our end', () => {
  test.each([
    ['two SIGTERM', [], '', ['SIGTERM', 'SIGTERM'], 204],
    ['SIGHUP', [], '', ['SIGHUP'], 129],
    ['SIGTERM and SIGHUP', [], '', ['SIGTERM', 'SIGHUP'], 129],
    ['two SIGTERM, both streams in one pipe', [], '2>&1', ['SIGTERM', 'SIGTERM'], 204],
    ['SIGTERM and SIGHUP, both streams in one pipe', [], '2>&1', ['SIGTERM', 'SIGHUP'], 129],
    ['two SIGTERM, with --json', ['--json'], '', ['SIGTERM', 'SIGTERM'], 204],
    ['SIGTERM and SIGHUP, with --json', ['--json'], '2>&1', ['SIGTERM', 'SIGHUP'], 129],
  ] as const)('%s', async (_, words, redirected, signals, code) => {
    const name = `stuck-${words.length}${redirected.length}${signals.join('')}`;
    // More than any pipe holds, and a file that says that it is there: an earlier end could still be written.
    const written = `${machine.user.home}/${name}`;
    const script = `yes | head -c 4194304; : > "${written}"; exec yes`;
    const line = [...words, 'local', '--name', name, '--', 'sh', '-c', script].map((word) => `'${word}'`).join(' ');
    const child = spawn('sh', ['-c', `exec "$NODE" "$SENDALL" run ${line} ${redirected}`], {
      env: machine.user.env({ NODE: process.execPath, SENDALL }),
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const ended = once(child, 'exit');
    // Each byte is read once and never again.
    await once(child.stdout, 'readable');
    await until(() => existsSync(written), 'more output than fits');
    for (const [i, signal] of signals.entries()) {
      child.kill(signal);
      if (i === 0 && signal === 'SIGTERM')
        await until(
          () => new RegExp(`cancelled.*${name}`).test(machine.user.call(['ps', '--all', 'local']).stdout),
          'the end of the command',
        );
    }
    expect(await within(ended, 'our end')).toEqual([code, null]);
    child.stdout.destroy();
    machine.user.call(['kill', name]);
  });
});

test.each([12, 15, 19, 20, 22, 30])('with %s open files it works, or is one sentence', (files) => {
  const { code, stdout, stderr } = script(`ulimit -n ${files}; exec "$SENDALL" run web1 --no-share -- echo hi 2>&1`);
  if (code === 0) expect(stdout).toBe('hi\n');
  // A sh that cannot start, or cannot write, gives no better message.
  else if (files >= 15) expect(stdout).toMatch(/^sendall: .*ulimit -n 1024.*\n$/);
  expect(stderr).toBe('');
});

test('hosts that fail for lack of open files say so, and blame no address', () => {
  const file = `${user.home}/hosts.json`;
  const before = readFileSync(file, 'utf8');
  const { web1 } = JSON.parse(before) as { web1: object };
  const many = Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`many${i}`, web1]));
  writeFileSync(file, JSON.stringify(many));
  const { code, stdout, stderr } = script('ulimit -n 26; sendall run many[0-19] --no-share -- echo hi');
  writeFileSync(file, before);
  expect([code, stderr.trim().split('\n').length]).toEqual([1, 1]);
  expect(stderr).toMatch(
    /^sendall: many\S*: no connection to \S+ can be made: this process may not open more files \(EMFILE\); raise its limit/,
  );
  expect(stdout).toMatch(/^(many\d+: hi\n)*$/);
});
