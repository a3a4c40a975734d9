/** `sendall-ssh` in the place of ssh: by hand, and under the programs that call ssh. */
import { spawn, spawnSync, type ChildProcess, type SpawnSyncReturns } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { rootTest } from '../../../../test/support/root.js';
import { patience, until, within } from '../../../../test/support/waits.js';
import { removeFolder } from '../remove-home.js';
import { heldPort } from '../dist/held-port.js';
import { Machine, said, type User } from './support.js';

const OURS = fileURLToPath(new URL('../../bin/sendall-ssh.js', import.meta.url));
const DEADLINE = 20_000;

let machine: Machine;
let user: User;
let folder: string;
/** The program, whose shells have the tests' home: they read no profile of the account that runs the tests. */
let SENDALL_SSH: string;
beforeAll(async () => {
  machine = await Machine.start('--limit', 'callerGrace=1s');
  user = machine.pairedUser('web1');
  folder = mkdtempSync(join(tmpdir(), 'sendall-ssh-'));
  SENDALL_SSH = join(folder, 'sendall-ssh');
  writeFileSync(SENDALL_SSH, `#!/bin/sh\nexec '${OURS}' -o SetEnv=HOME='${process.env.HOME}' "$@"\n`, { mode: 0o755 });
});
afterAll(async () => {
  user[Symbol.dispose]();
  await machine[Symbol.asyncDispose]();
  await removeFolder(folder);
});

interface Given {
  readonly input?: string | Uint8Array;
  readonly env?: NodeJS.ProcessEnv;
}

/** A program of this user, to its end. */
function program(
  name: string,
  words: readonly string[],
  { input = '', env = {} }: Given = {},
): SpawnSyncReturns<Buffer> {
  const ended = spawnSync(name, words, {
    env: user.env(env),
    input,
    timeout: patience(DEADLINE),
    maxBuffer: 64 * 1024 * 1024,
  });
  if (ended.error) throw new Error(`${name} ${words.join(' ')}: ${ended.error.message}\n${String(ended.stderr)}`);
  return ended;
}

/** `sendall-ssh` to its end. */
function ssh(words: readonly string[], given?: Given): { code: number | null; stdout: string; stderr: string } {
  const { status, stdout, stderr } = program(SENDALL_SSH, words, given);
  return { code: status, stdout: stdout.toString(), stderr: stderr.toString() };
}

const start = (...words: string[]): ChildProcess =>
  spawn(SENDALL_SSH, words, { env: user.env(), stdio: ['pipe', 'pipe', 'pipe'] });

async function codeOf(child: ChildProcess): Promise<number | null> {
  if (child.exitCode === null && child.signalCode === null) await within(once(child, 'exit'), 'its end');
  return child.exitCode;
}

describe('a command', () => {
  test('is its words joined by blanks, given to the account’s own shell in its home', () => {
    const { code, stdout, stderr } = ssh(['web1', 'printf', "'%s|'", '"$0"', '"$PWD"', '"a  b"', 'c  d;', 'exit', '7']);
    const [name, home, ...words] = stdout.split('|');
    const [, , , , , passwdHome, shell] = program('getent', ['passwd', String(process.getuid!())])
      .stdout.toString()
      .trim()
      .split(':');
    expect({ code, home, words, stderr }).toEqual({
      code: 7,
      home: passwdHome,
      words: ['a  b', 'c', 'd', ''],
      stderr: '',
    });
    expect(shell!.endsWith(`/${name}`)).toBe(true);
  });

  test('knows both ends of the link, and bash reads ~/.bashrc for it', () => {
    writeFileSync(join(folder, '.bashrc'), 'greeting=hello\n');
    const words = [
      '-o',
      `SetEnv=HOME=${folder} SSH_CONNECTION=mine`,
      'web1',
      'echo "$greeting $SSH_CONNECTION, $SSH_CLIENT"',
    ];
    const { stdout } = ssh(words);
    const port = new URL(machine.url.replace('tls:', 'https:')).port;
    expect(stdout).toMatch(
      new RegExp(`^(hello)? 127\\.0\\.0\\.1 \\d+ 127\\.0\\.0\\.1 ${port}, 127\\.0\\.0\\.1 \\d+ ${port}\\n$`),
    );
    const { status, stdout: local } = spawnSync(SENDALL_SSH, ['local', 'echo "$SSH_CONNECTION"'], {
      env: machine.user.env(),
    });
    expect([status, local.toString()]).toEqual([0, 'UNKNOWN 65535 UNKNOWN 65535\n']);
  });

  test('gets stdin byte for byte, and its output comes back so, streams apart', () => {
    const bytes = randomBytes(3_000_001);
    const { status, stdout, stderr } = program(SENDALL_SSH, ['web1', 'cat; echo end >&2'], { input: bytes });
    expect(status).toBe(0);
    expect(stdout.equals(bytes)).toBe(true);
    expect(stderr.toString()).toBe('end\n');
  });

  test('may share a socket on stdout: it stays open for others, and blocks them as before', () => {
    const reader = `
import fcntl, os, socket, subprocess, sys
ours, theirs = socket.socketpair()
line = os.environ['SENDALL_SSH'] + " web1 'head -c 3000000 /dev/zero'; echo $? after"
child = subprocess.Popen(['sh', '-c', line], stdin=subprocess.DEVNULL, stdout=theirs)
zeros, rest = 0, b''
while not rest.endswith(b'after\\n'):
    piece = ours.recv(30000)
    if not piece: break
    zeros += piece.count(b'\\0')
    rest += piece.replace(b'\\0', b'')
child.wait()
print(zeros, rest.decode().strip(), bool(fcntl.fcntl(theirs, fcntl.F_GETFL) & os.O_NONBLOCK))
`;
    const { stdout, stderr } = program('python3', ['-c', reader], { env: { SENDALL_SSH } });
    expect([stdout.toString(), stderr.toString()]).toEqual(['3000000 0 after False\n', '']);
  });

  test('may end its stdout while it still reads, and its stdin while it still writes', async () => {
    const file = join(folder, 'half-closed');
    const child = start('web1', `echo begun; exec >&-; cat > ${file}`);
    await said(child, 'begun');
    if (!child.stdout!.readableEnded) await within(once(child.stdout!, 'end'), 'the end of stdout');
    child.stdin!.end('all of it');
    expect(await codeOf(child)).toBe(0);
    expect(readFileSync(file, 'utf8')).toBe('all of it');
    const reader = start('web1', 'exec <&-; echo closed; sleep 1000');
    await said(reader, 'closed');
    const closed = once(reader.stdin!, 'error');
    void until(() => reader.stdin!.destroyed || !reader.stdin!.write('more'), 'stdin to be closed').catch(
      () => undefined,
    );
    await within(closed, 'stdin to be closed');
    reader.kill('SIGTERM');
    expect(await codeOf(reader)).toBe(255);
  });

  test('is told when its reader has left', () => {
    const { stdout, stderr } = program('bash', ['-c', `"${SENDALL_SSH}" web1 yes | head -1`]);
    expect([stdout.toString(), stderr.toString()]).toEqual(['y\n', '']);
  });

  test('leaves stdin alone with -n', () => {
    const text = `printf 'a\\nb\\n' | while read -r line; do "${SENDALL_SSH}" -n web1 "echo $line; cat"; done`;
    expect(program('bash', ['-c', text]).stdout.toString()).toBe('a\nb\n');
  });

  test('keeps the call waiting while a process of it holds stdout', () => {
    expect(ssh(['web1', '(sleep 0.3; echo late) &']).stdout).toBe('late\n');
  });

  test('gets variables by name', () => {
    const env = { LC_TEST: 'one', OTHER: 'two', NOT_SENT: 'three' };
    const words = ['-oSendEnv=OTHER LC_*', '-o', 'SetEnv A="b c"', 'web1', 'echo "$A $LC_TEST $OTHER $NOT_SENT."'];
    expect(ssh(words, { env }).stdout).toBe('b c one two .\n');
  });
});

describe('the exit code', () => {
  test.each([
    ['the command’s own', ['web1', 'exit 201'], 201, /^$/],
    ['a signal', ['web1', 'kill -9 $$'], 255, /^sendall: web1: the command was killed by SIGKILL\n$/],
    ['a program that is not there', ['web1', 'no-such-program-at-all'], 127, /not found/],
    ['an unknown host', ['web2', 'true'], 255, /^sendall: there is no host "web2": did you mean "web1"\?\n$/],
    ['a refused option', ['-L', '1:a:1', 'web1'], 255, /^sendall: -L is refused: .*\n$/],
    ['no host', [], 255, /^sendall: there is no HOST: .*\n$/],
    ['a user who is not there', ['nobody-at-all@web1', 'true'], 255, /^sendall: web1: .*\n$/],
    ['-q', ['-q', 'web2', 'true'], 255, /^$/],
    ['the agent’s own user', [`${userInfo().username}@web1`, 'id -un'], 0, /^$/],
  ] as const)('of %s', (_, words, code, stderr) => {
    const ended = ssh(words);
    expect({ ...ended, stdout: '' }).toEqual({ code, stdout: '', stderr: expect.stringMatching(stderr) as string });
  });

  test('of an agent that is not there is 255, with the reason', () => {
    const { status, stderr } = spawnSync(SENDALL_SSH, ['local', 'true'], {
      env: { ...process.env, SENDALL_HOME: folder },
    });
    expect([status, stderr.toString()]).toEqual([
      255,
      expect.stringMatching(/^sendall: .*sendall agent.*\n$/) as string,
    ]);
  });

  test('is the command’s own with closed descriptors, and 255 when its output cannot be written', () => {
    const bash = (text: string) =>
      program('bash', ['-c', `"${SENDALL_SSH}" web1 'cat; echo a; echo b >&2; exit 3' ${text}`]);
    expect([bash('<&- >&- 2>&-').status, bash('>&-').stderr.toString()]).toEqual([3, 'b\n']);
    const full = bash('2>/dev/null >/dev/full');
    expect([full.status, bash('>/dev/full').stderr.toString()]).toEqual([
      255,
      expect.stringContaining('sendall: cannot write to stdout: the disk is full') as string,
    ]);
  });

  test('words of our own go into the file of -E; -v says each step', () => {
    const log = join(folder, 'log');
    expect(ssh(['-E', log, 'web2', 'true'])).toEqual({ code: 255, stdout: '', stderr: '' });
    expect(readFileSync(log, 'utf8')).toContain('there is no host "web2"');
    const { stderr, code } = ssh(['-v', 'web1', 'exit 3']);
    expect(code).toBe(3);
    expect(stderr).toMatch(/^sendall: connecting to web1\n[^]*process \d+\n[^]*code 3\n$/);
  });

  rootTest('of an account that may not log in is its shell’s', () => {
    const nologin = program('getent', ['passwd', 'daemon']).stdout.toString().trim().split(':').at(-1)!;
    expect(nologin).toContain('nologin');
    expect(ssh(['daemon@web1', 'id'])).toMatchObject({
      code: 1,
      stdout: expect.stringContaining('not available') as string,
    });
  });

  test('of a caller who is no owner is 255, with one sentence', async () => {
    const [made] = machine.user.events(['pair', '--new', '--json', '--principal', 'robot', '--role', 'deploy']);
    const home = join(folder, 'robot');
    const env = { SENDALL_HOME: home };
    user.call(['pair', machine.url, '--code', String(made!.code), '--name', 'web1'], { env });
    expect(ssh(['web1', 'true'], { env })).toEqual({
      code: 255,
      stdout: '',
      stderr: 'sendall: web1: pair as an owner, or let a rule name the program\n',
    });
    user.call(['links', 'stop'], { env });
  });
});

describe('a host', () => {
  test('is a name in any case, or the address of a known one, whose port is checked', () => {
    const { port } = new URL(machine.url.replace('tls:', 'https:'));
    for (const host of ['WEB1', machine.url, '127.0.0.1', `ssh://127.0.0.1:${port}`])
      expect([host, ssh([host, 'echo here'])]).toEqual([host, { code: 0, stdout: 'here\n', stderr: '' }]);
    expect(ssh(['-p', '22', 'web1', 'echo here']).stdout).toBe('here\n');
    expect(ssh(['-o', 'HostName=web1', 'alias', 'echo here']).stdout).toBe('here\n');
    expect(ssh(['-p', '22', '127.0.0.1', 'true'])).toMatchObject({
      code: 255,
      stderr: expect.stringContaining('no host is known at port 22') as string,
    });
  });

  test('has settings that programs ask for, a version, and a warm link', async () => {
    const { port } = new URL(machine.url.replace('tls:', 'https:'));
    expect(ssh(['-G', 'me@web1'])).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(new RegExp(`^host web1\nuser me\nhostname web1\nport ${port}\n`)) as string,
    });
    expect(ssh(['-V'])).toEqual({
      code: 0,
      stdout: '',
      stderr: expect.stringMatching(/^sendall-ssh \d+\.\d+\.\d+/) as string,
    });
    await until(() => ssh(['web1', 'true']).code === 0 && ssh(['-O', 'check', 'web1']).code === 0, 'a warm link');
    expect(ssh(['-O', 'check', 'web1']).stderr).toMatch(/^Master running \(pid=\d+\)\n$/);
    expect(ssh(['-O', 'exit', 'web1'])).toEqual({ code: 0, stdout: '', stderr: 'Exit request sent.\n' });
    expect(ssh(['-O', 'check', 'web1']).code).toBe(255);
  });
});

describe('a terminal', () => {
  const atTerminal = (words: readonly string[], steps: Parameters<User['atTerminal']>[1]) =>
    user.atTerminal(['ssh', ...words], steps);

  test('is there for a login shell, and for a command with -t; the code is theirs', () => {
    const keys = 'echo "<$0 $SSH_TTY $(tty)>"; exit 5\r';
    const login = atTerminal(['-o', `SetEnv=HOME=${folder} PS1=$`, 'web1'], [{ send: keys }]);
    expect(login.code).toBe(5);
    expect(login.screen).toMatch(/<-\w+ (\/dev\/pts\/\d+) \1>/);
    const command = atTerminal(['-t', 'web1', 'tty; stty size; exit 6'], []);
    // Where the way to the host takes long, a line of ours comes first and is cleared.
    expect([command.code, command.screen.split('\u001b[K').at(-1)]).toEqual([
      6,
      expect.stringMatching(/^\/dev\/pts\/\d+\r\n24 80\r\n$/) as string,
    ]);
    expect(atTerminal(['web1', 'tty; exit 6'], []).screen).toContain('not a tty');
  });

  test('takes escapes after a newline, also after another key, or none', () => {
    const left = atTerminal(['-t', 'web1', 'echo up; exec cat'], [{ expect: 'up' }, { send: '\r~.' }]);
    expect(left.code).toBe(255);
    const percent = atTerminal(['-e%', '-t', 'web1', 'echo up; exec cat'], [{ expect: 'up' }, { send: '\r~.\r%.' }]);
    expect([percent.code, percent.screen]).toEqual([255, expect.stringContaining('~.') as string]);
    const none = atTerminal(
      ['-e', 'none', '-t', 'web1', 'echo up; exec cat'],
      [{ expect: 'up' }, { send: '\r~.\r\u0004' }],
    );
    expect([none.code, none.screen]).toEqual([0, expect.stringContaining('~.') as string]);
  });

  test('is only there without one of ours when it is forced', () => {
    expect(ssh(['-tt', 'web1', 'tty; stty size; exit 4'])).toMatchObject({
      code: 4,
      stdout: expect.stringMatching(/^\/dev\/pts\/\d+\r\n24 80\r\n$/) as string,
    });
    expect(ssh(['-t', 'web1', 'tty'])).toMatchObject({ code: 1, stderr: expect.stringContaining('-tt') as string });
    expect(ssh(['web1'], { input: 'echo "$0 $-"; exit 3\n' })).toMatchObject({
      code: 3,
      stdout: expect.stringMatching(/^-\w+ /) as string,
    });
  });
});

describe('a caller that leaves', () => {
  /** A command that says its pid; what becomes of it. */
  async function begun(
    at = 'web1',
    as = user,
    ...options: string[]
  ): Promise<{ child: ChildProcess; pid: number; file: string }> {
    const file = join(folder, `written-${randomBytes(4).toString('hex')}`);
    const words = [...options, at, `echo $$; cat > ${file}; touch ${file}.finished`];
    const child = spawn(SENDALL_SSH, words, { env: as.env(), stdio: ['pipe', 'pipe', 'pipe'] });
    child.stdin!.on('error', () => undefined).write('half');
    const [chunk] = (await within(once(child.stdout!, 'data'), 'its pid')) as [Buffer];
    await until(() => existsSync(file) && readFileSync(file, 'utf8') === 'half', 'its input to arrive');
    return { child, pid: Number(chunk.toString()), file };
  }
  const isGone = (pid: number): boolean => {
    try {
      process.kill(pid, 0);
      return false;
    } catch {
      return true;
    }
  };

  test.each(['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGUSR1', 'SIGKILL'] as const)(
    'by %s ends its command, which never takes half of its input for all',
    async (signal) => {
      expect(ssh(['web1', 'true']).code).toBe(0);
      const { child, pid, file } = await begun();
      child.kill(signal);
      expect(await codeOf(child)).toBe(signal === 'SIGKILL' ? null : 255);
      await until(() => isGone(pid), 'the command to end');
      expect(existsSync(`${file}.finished`)).toBe(false);
    },
  );

  test('and was killed ends its command on a link of its own, but not where another process may have closed the link', async () => {
    const { port } = new URL(machine.url.replace('tls:', 'https:'));
    const carried = new Set<Socket>();
    const proxy = createServer((near) => {
      const far = connect(Number(port), '127.0.0.1');
      for (const socket of [near, far]) carried.add(socket.on('error', () => undefined));
      near.pipe(far).pipe(near);
    });
    const behind = await heldPort();
    await once(proxy.listen(behind, '127.0.0.1'), 'listening');
    const pin = String(machine.user.events(['agent', 'status', '--json'])[0]!.fingerprint);
    expect(user.call(['hosts', 'add', 'behind', `tls://127.0.0.1:${behind}`, '--pin', pin]).code).toBe(0);
    const waiting = await begun('behind', user, '--no-share');
    const killed = await begun('web1', user, '--no-share');
    const closed = new Promise((resolve) => proxy.close(resolve));
    for (const socket of carried) socket.destroy();
    await closed;
    killed.child.kill('SIGKILL');
    await until(() => isGone(killed.pid), 'the command to end');
    expect(existsSync(`${killed.file}.finished`)).toBe(false);
    // Its connection closed earlier, so that its command would have ended by now.
    expect(isGone(waiting.pid)).toBe(false);
    await once(proxy.listen(behind, '127.0.0.1'), 'listening');
    waiting.child.stdin!.end('-done');
    expect(await codeOf(waiting.child)).toBe(0);
    expect(readFileSync(waiting.file, 'utf8')).toBe('half-done');
    expect(existsSync(`${waiting.file}.finished`)).toBe(true);
    proxy.close();
  });

  test('ends its command on the same machine too, and with the window of a terminal', async () => {
    const { child, pid, file } = await begun('local', machine.user);
    child.kill('SIGKILL');
    await codeOf(child);
    await until(() => isGone(pid), 'the command to end');
    expect(existsSync(`${file}.finished`)).toBe(false);
    const pidFile = join(folder, 'window');
    const shell = `echo $$ > ${pidFile}; echo up; exec bash --norc -i`;
    user.atTerminal(['ssh', '-t', 'web1', shell], [{ expect: 'up' }, { hangup: true }]);
    await until(() => isGone(Number(readFileSync(pidFile, 'utf8'))), 'the shell to end');
  });
});

test('a running command goes on over an agent that was killed and started again, and a new call waits for one', async () => {
  const bytes = randomBytes(4_000_000);
  const running = start('web1', 'echo up; cat; exit 9');
  const received: Buffer[] = [];
  running.stdout!.on('data', (chunk: Buffer) => received.push(chunk));
  await until(() => received.length > 0, 'its first line');
  running.stdin!.write(bytes.subarray(0, 2_000_000));
  const { port } = new URL(machine.url.replace('tls:', 'https:'));
  await machine.killAgent();
  const waiting = start('-oConnectTimeout=60', 'web1', 'echo again');
  let again = '';
  waiting.stdout!.on('data', (chunk: Buffer) => (again += chunk.toString()));
  running.stdin!.end(bytes.subarray(2_000_000));
  await machine.startAgent('--listen', `tls://127.0.0.1:${port}`);
  expect(await codeOf(running)).toBe(9);
  expect(Buffer.concat(received).equals(Buffer.concat([Buffer.from('up\n'), bytes]))).toBe(true);
  expect(await codeOf(waiting)).toBe(0);
  expect(again).toBe('again\n');
});

describe('under the programs that call ssh', () => {
  test('rsync', () => {
    const [from, to] = [join(folder, 'from'), join(folder, 'to')];
    mkdirSync(join(from, 'a folder'), { recursive: true });
    writeFileSync(join(from, 'a folder/"quotes" & $x'), randomBytes(300_000));
    const { status, stderr } = program('rsync', ['-e', SENDALL_SSH, '-a', '--delete', `${from}/`, `web1:${to}/`]);
    expect([status, stderr.toString()]).toEqual([0, '']);
    const back = join(folder, 'back');
    expect(program('rsync', ['-e', SENDALL_SSH, '-a', `web1:${to}/`, back]).status).toBe(0);
    expect(program('diff', ['-r', from, back]).status).toBe(0);
    expect(program('rsync', ['-e', SENDALL_SSH, 'web1:/no/such/file', back]).status).toBe(23);
  });

  test('git', () => {
    const bare = join(folder, 'project.git');
    const work = join(folder, 'work');
    const git = (...words: string[]) =>
      program('git', ['-c', 'user.name=a', '-c', 'user.email=a@b', '-c', 'init.defaultBranch=main', ...words], {
        env: { GIT_SSH: SENDALL_SSH },
      });
    git('init', '-q', '--bare', bare);
    expect(git('clone', '-q', `web1:${bare}`, work).status).toBe(0);
    writeFileSync(join(work, 'file'), 'text\n');
    git('-C', work, 'add', '.');
    git('-C', work, 'commit', '-qm', 'first');
    const pushed = git('-C', work, 'push', '-q', 'origin', 'HEAD:main');
    expect([pushed.status, pushed.stderr.toString()]).toEqual([0, '']);
    expect(git('ls-remote', `ssh://web1${bare}`, 'main').stdout.toString()).toMatch(
      /^[\da-f]{40}\trefs\/heads\/main\n$/,
    );
  });

  test('scp and sftp', () => {
    const file = join(folder, 'some file');
    const there = join(folder, 'there');
    writeFileSync(file, randomBytes(700_000));
    for (const legacy of [[], ['-O']]) {
      const { status, stderr } = program('scp', ['-S', SENDALL_SSH, ...legacy, '-q', file, `web1:${there}`]);
      expect([legacy, status, stderr.toString()]).toEqual([legacy, 0, '']);
      expect(program('cmp', [file, there]).status).toBe(0);
      rmSync(there);
    }
    const batch = `put "${file}" ${there}\nget ${there} ${there}-back\n`;
    expect(program('sftp', ['-S', SENDALL_SSH, '-q', '-b', '-', 'web1'], { input: batch }).status).toBe(0);
    expect(program('cmp', [file, `${there}-back`]).status).toBe(0);
    expect(ssh(['-s', '--sftp-server', '/no/such', 'web1', 'sftp'])).toMatchObject({ code: 255 });
  });
});
