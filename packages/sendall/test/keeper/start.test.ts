import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { encodeSpec } from '../../dist/protocol/codec.js';
import type { Spec } from '../../dist/protocol/messages.js';
import { newRunId } from '../../dist/protocol/run-id.js';
import { bytes, KeeperClient } from './keeper-client.js';
import { rootDescribe } from '../../../../test/support/root.js';

let keeper: KeeperClient;
let folder: string;
beforeAll(async () => {
  keeper = await KeeperClient.start();
  folder = mkdtempSync(join(tmpdir(), 'start-'));
});
afterAll(async () => {
  await keeper[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

/**
 * Prints the shell's open descriptors; 3 is the folder it reads. Not `ls /proc/$$/fd | …`: while a shell starts the two, it
 * holds the pipe between them as well.
 */
const OPEN = 'cd /proc/$$/fd; set -- *; echo "$*"';

function script(name: string, text: string, mode = 0o755): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  chmodSync(path, mode);
  return path;
}

describe('a command starts', () => {
  test('and its exit code comes back', async () => {
    expect(await keeper.exec('true').exit).toMatchObject({ code: 0 });
    expect(await keeper.sh('exit 7').exit).toMatchObject({ code: 7 });
  });

  test('and its death by a signal is reported as such', async () => {
    const exit = await keeper.sh('kill -SEGV $$').exit;
    expect(exit).toMatchObject({ signal: 'SIGSEGV' });
    expect(exit.code).toBeUndefined();
  });

  test('and that is told before its end, also of one that ends at once and has no reader', async () => {
    const program = fileURLToPath(new URL('../dist/late-looks-keeper.js', import.meta.url));
    await using late = await KeeperClient.start({ program });
    const descriptors = (): number => readdirSync(`/proc/${late.link.pid}/fd`).length;
    const counts: number[] = [];
    for (let i = 0; i < 3; i++) {
      const run = late.open({ argv: [bytes('true')], stdin: true });
      for (const stream of [1, 2]) run.send({ type: 'STOP', stream });
      await run.wait('TREE_END');
      await late.status();
      expect(run.types.filter((type) => type === 'STARTED' || type === 'EXIT')).toEqual(['STARTED', 'EXIT']);
      counts.push(descriptors());
    }
    expect(counts[2]).toBe(counts[1]);
  });

  test('with words that are not UTF-8, empty, or look like options', async () => {
    const words = [Buffer.from([0xff, 0xfe, 0x41]), bytes(''), bytes('--help'), bytes('a b"c\'\n')];
    const run = keeper.exec('printf', '%s|', ...words);
    expect(await run.output(1)).toEqual(Buffer.concat(words.flatMap((word) => [word, bytes('|')])));
  });

  test('by the account’s own shell, which knows the ends of the link; without a script as a login shell', async () => {
    const { shell, homedir } = userInfo();
    // No files of this user are read, which could print something.
    const home = bytes(`HOME=${folder}`);
    const ssh = (script: string, { env = [], ...spec }: Partial<Spec> = {}, connection?: string) =>
      keeper.open(
        { verb: 'sh', script: bytes(script), accountShell: true, env: [home, ...env], ...spec },
        { connection },
      );
    expect(await ssh('echo "$0 $PWD"').text()).toBe(`${basename(shell!)} ${homedir}\n`);
    const ends = 'echo "$SSH_CONNECTION, $SSH_CLIENT, $SSH_TTY"';
    const env = [bytes('SSH_CLIENT=mine'), bytes('SSH_TTY=mine')];
    expect(await ssh(ends).text()).toMatch('UNKNOWN 65535 UNKNOWN 65535, UNKNOWN 65535 65535, \n');
    expect(await ssh(ends, {}, '::1 40 ::2 7433').text()).toBe('::1 40 ::2 7433, ::1 40 7433, \n');
    expect(await ssh(ends, { env }, '1.2.3.4 40 1.2.3.5 7433').text()).toMatch(/, 1\.2\.3\.4 40 7433, mine\n$/);
    const terminal = ssh('test "$SSH_TTY" = "$(tty)" && exit 9', { pty: { cols: 80, rows: 24 }, env });
    expect(await terminal.exit).toMatchObject({ code: 9 });
    // A program before it gives it the name of its file.
    for (const limits of [undefined, { files: 100 }]) {
      const login = ssh('', { stdin: true, limits });
      login.input(0, bytes('echo "$0"; shopt -q login_shell && exit 8\n'));
      login.send({ type: 'EOS', stream: 0, final: 42 });
      expect(await login.text()).toBe(`${limits ? '' : '-'}${limits ? shell : basename(shell!)}\n`);
      expect(await login.exit).toMatchObject({ code: 8 });
    }
  });

  test('with 100 KiB in one word', async () => {
    expect(await keeper.exec('sh', '-c', 'echo ${#1}', 'sh', 'y'.repeat(100_000)).text()).toBe('100000\n');
  });

  test('with a rebuilt environment: no variable of the keeper, those of the caller, the last of duplicates', async () => {
    const run = keeper.open({ argv: [bytes('env')], env: [bytes('A=1'), bytes('A=2=3'), Buffer.from([66, 61, 0xff])] });
    const variables = (await run.output(1)).toString('latin1').split('\n');
    const { username, homedir } = userInfo();
    expect(variables).toContain('A=2=3');
    expect(variables).toContain('B=\xff');
    expect(variables).toContain(`HOME=${homedir}`);
    expect(variables).toContain(`USER=${username}`);
    expect(variables.filter((pair) => pair.startsWith('A='))).toHaveLength(1);
    expect(variables.some((pair) => pair.startsWith('VITEST'))).toBe(false);
  });

  test('with default signals, an open-files limit of 1024 and a usual umask', async () => {
    const text = await keeper.sh('grep -E "Sig(Blk|Ign)" /proc/self/status; ulimit -Sn; umask').text();
    expect(text).toBe('SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n1024\n0022\n');
  });

  test('in a session of its own, with nothing open but its three streams', async () => {
    const text = await keeper.sh(`ps -o sid= -p $$ | tr -d " "; echo $$; ${OPEN}`).text();
    const [session, pid, open] = text.trim().split('\n');
    expect(session).toBe(pid);
    expect(open).toBe('0 1 2 3');
  });

  test('and /dev/stdout and /dev/stderr can be opened again', async () => {
    const run = keeper.sh('echo out > /dev/stdout; echo err > /dev/stderr');
    expect(await run.text(1)).toBe('out\n');
    expect(await run.text(2)).toBe('err\n');
  });

  test('and dies of SIGPIPE where a shell would let it', async () => {
    expect(await keeper.sh('yes | head -1').text()).toBe('y\n');
  });

  test('in the requested folder, else at home', async () => {
    expect(await keeper.open({ argv: [bytes('pwd')], cwd: bytes(folder) }).text()).toBe(`${folder}\n`);
    expect(await keeper.exec('pwd').text()).toBe(`${userInfo().homedir}\n`);
  });

  test('found by the PATH of its own environment, and by a path relative to its folder', async () => {
    script('found-me', '#!/bin/sh\necho found\n');
    const argv = [bytes('found-me')];
    expect(await keeper.open({ argv, env: [bytes(`PATH=/nowhere:${folder}`)] }).text()).toBe('found\n');
    expect(await keeper.open({ argv: [bytes('./found-me')], cwd: bytes(folder) }).text()).toBe('found\n');
  });

  test('a folder of its name earlier in the PATH is skipped', async () => {
    mkdirSync(join(folder, 'dir', 'echo'), { recursive: true });
    const run = keeper.open({ argv: [bytes('echo'), bytes('x')], env: [bytes(`PATH=${folder}/dir:/bin`)] });
    expect(await run.text()).toBe('x\n');
  });

  test('a script without "#!" is run by the shell', async () => {
    const path = script('plain-text', 'echo "$0" "$1"\n');
    expect(await keeper.exec(path, 'a b').text()).toBe(`${path} a b\n`);
  });
});

describe('failures to start are distinguished', () => {
  test.each([
    ['a program that is not there', ['no-such-program'], {}, 'nofile'],
    ['a path that is not there', ['/no/such/program'], {}, 'nofile'],
    ['a file that is not executable', ['/etc/passwd'], {}, 'notexec'],
    ['a folder', ['/etc'], {}, 'notexec'],
    ['a working folder that is not there', ['true'], { cwd: bytes('/no/such') }, 'nocwd'],
    ['a working folder that is a file', ['true'], { cwd: bytes('/etc/passwd') }, 'nocwd'],
    ['a working folder behind a file', ['true'], { cwd: bytes('/etc/passwd/x') }, 'nocwd'],
    ['a working folder with too long a name', ['true'], { cwd: bytes(`/${'x'.repeat(300)}`) }, 'nocwd'],
    ['a word longer than the system takes', ['echo', 'x'.repeat(200_000)], {}, 'limits'],
  ])('%s', async (_, argv, spec, code) => {
    const refused = await keeper.open({ argv: argv.map(bytes), ...spec }).wait('REFUSED');
    expect(refused.code).toBe(code);
    expect(refused.message).toMatch(/^.{10,350}$/);
  });

  test('a working folder that is missing, is a file, or has too long a name is named as such', async () => {
    const why = async (cwd: string) =>
      (await keeper.open({ argv: [bytes('true')], cwd: bytes(cwd) }).wait('REFUSED')).message;
    expect(await why('/no/such')).toContain('does not exist');
    expect(await why('no-such-below-home')).toContain(`${userInfo().homedir}/no-such-below-home" does not exist`);
    expect(await why('/etc/passwd')).toContain('is not a folder');
    expect(await why(`/${'long/'.repeat(1000)}`)).toMatch(/^.*long…?.*longer name than the system takes.*$/);
  });

  test('shell text in the place of a program is named as one word', async () => {
    const refused = await keeper.open({ argv: [bytes('echo hi')] }).wait('REFUSED');
    expect(refused).toMatchObject({
      code: 'nofile',
      message: '"echo hi" is not there: it is one word, and no shell splits it',
    });
  });

  test('a script whose interpreter is missing', async () => {
    const refused = await keeper.exec(script('orphan', '#!/no/such/interpreter\n')).wait('REFUSED');
    expect(refused).toMatchObject({ code: 'nofile' });
    expect(refused.message).toContain('interpreter');
  });

  test('a program whose name is longer than a record of the journal is reported in part', async () => {
    const refused = await keeper.exec('x'.repeat(100_000)).wait('REFUSED');
    expect(refused).toMatchObject({ code: 'nofile', message: expect.stringMatching(/^"x{100,2000}…/) });
  });

  test('a spec with a NUL, without words, or that is not one', async () => {
    expect(await keeper.exec('echo', 'a\0b').wait('REFUSED')).toMatchObject({ code: 'badspec' });
    expect(await keeper.open({ argv: [] }).wait('REFUSED')).toMatchObject({ code: 'badspec' });
    expect(await keeper.open({}, { spec: bytes('garbage') }).wait('REFUSED')).toMatchObject({ code: 'badspec' });
  });

  test('the keeper goes on after all of them', async () => {
    expect(await keeper.status()).toMatchObject({ running: 0, queued: 0 });
  });
});

describe('a run id starts one command', () => {
  test('the same command again joins the existing run', async () => {
    const runId = newRunId();
    const first = keeper.open({ argv: [bytes('echo'), bytes('once')] }, { runId });
    await first.exit;
    const again = keeper.open({ argv: [bytes('echo'), bytes('once')] }, { runId });
    expect(await again.wait('OPENED')).toMatchObject({ state: 'existing' });
    expect((await again.wait('ATTACHED')).exit).toMatchObject({ code: 0 });
    expect((await keeper.list()).filter((run) => Buffer.from(run.runId).equals(runId))).toHaveLength(1);
  });

  test('another command under the same id is a conflict', async () => {
    const runId = newRunId();
    await keeper.open({ argv: [bytes('true')] }, { runId }).exit;
    const other = keeper.open({ argv: [bytes('false')] }, { runId });
    expect(await other.wait('REFUSED')).toMatchObject({ code: 'conflict' });
  });

  test("another principal's run with the same id is another run", async () => {
    const runId = newRunId();
    await keeper.open({ argv: [bytes('true')] }, { runId }).exit;
    const other = keeper.open({ argv: [bytes('false')] }, { runId, principal: 'another' });
    expect(await other.exit).toMatchObject({ code: 1 });
  });

  test('after notAfter, too far ahead, or for another journal it is refused', async () => {
    const spec = { argv: [bytes('true')] };
    const now = Date.now();
    expect(await keeper.open(spec, { notAfterMs: now - 1 }).wait('REFUSED')).toMatchObject({ code: 'expired' });
    expect(await keeper.open(spec, { notAfterMs: now + 40 * 86_400_000 }).wait('REFUSED')).toMatchObject({
      code: 'limits',
    });
    expect(await keeper.open(spec, { epoch: Buffer.alloc(16) }).wait('REFUSED')).toMatchObject({ code: 'unknown' });
    expect(await keeper.open(spec, { epoch: keeper.link.epoch }).exit).toMatchObject({ code: 0 });
  });

  test('a run that was forgotten does not start again', async () => {
    const runId = newRunId();
    await keeper.open({ argv: [bytes('true')] }, { runId }).wait('TREE_END');
    expect(await keeper.forget(runId)).toBe('done');
    expect(await keeper.open({ argv: [bytes('true')] }, { runId }).wait('REFUSED')).toMatchObject({ code: 'expired' });
    expect(await keeper.attach(runId).wait('ATTACH_REFUSED')).toMatchObject({ code: 'unknown' });
  });
});

describe('limits', () => {
  test('more commands than may run wait for their turn, in order', async () => {
    await using small = await KeeperClient.start({ limits: { maxRunning: 1, maxQueued: 4 } });
    const order = join(folder, 'order');
    const runs = ['a', 'b', 'c'].map((name) => small.sh(`read x; echo ${name} >> ${order}`, { stdin: true }));
    // The rest is for other callers.
    const { code, message } = await small.exec('true').wait('REFUSED');
    expect([code, message]).toEqual(['busy', expect.stringContaining('3 runs of yours run or wait already')]);
    for (const run of runs) run.send({ type: 'EOS', stream: 0, final: 0 });
    await Promise.all(runs.map((run) => run.exit));
    expect(readFileSync(order, 'utf8')).toBe('a\nb\nc\n');
  });

  test('a command that waits can be cancelled', async () => {
    await using small = await KeeperClient.start({ limits: { maxRunning: 1 } });
    small.sh('sleep 100');
    const waiting = small.exec('true');
    await waiting.wait('OPENED');
    await waiting.operate({ type: 'CANCEL' });
    expect(await waiting.wait('REFUSED')).toMatchObject({ code: 'cancelled' });
  });

  test('a command whose deadline passes while it waits never starts', async () => {
    await using small = await KeeperClient.start({ limits: { maxRunning: 1 } });
    const first = small.sh('sleep 100');
    await first.wait('STARTED');
    const waiting = small.open({ argv: [bytes('true')] }, { leftMs: 1 });
    await waiting.wait('OPENED');
    await first.operate({ type: 'CANCEL', graceMs: 0 });
    expect(await waiting.wait('REFUSED')).toMatchObject({
      code: 'expired',
      message: 'its deadline passed while it waited for its turn',
    });
  });

  test('a caller at its limit of runs does not delay another, neither for a place nor for a turn', async () => {
    await using small = await KeeperClient.start({ limits: { maxRunning: 4, maxQueued: 12 } });
    const greedy = Array.from({ length: 20 }, () => small.sh('sleep 100'));
    await Promise.all(greedy.slice(8).map((run) => run.wait('REFUSED')));
    const spec = encodeSpec({ verb: 'exec', argv: [bytes('true')], env: [], tags: [], secrets: [], stdin: false });
    const other = small.open({}, { caller: 'another key', spec });
    expect(await other.exit).toMatchObject({ code: 0 });
    expect(await small.status()).toMatchObject({ running: 2, queued: 6 });
  });

  test('the total of all specs is limited and shared; ended runs make room', async () => {
    await using small = await KeeperClient.start({ limits: { specTotal: 400_000 } });
    const large = (script: string) => small.sh(`${script} # ${'x'.repeat(90_000)}`, { stdin: true });
    const [first, second] = [large('read x'), large('read x')];
    await Promise.all([first.wait('STARTED'), second.wait('STARTED')]);
    const refused = await large('true').wait('REFUSED');
    expect([refused.code, refused.message]).toEqual(['busy', expect.stringContaining('specTotal')]);
    const spec = encodeSpec({
      verb: 'sh',
      argv: [],
      script: bytes(`true # ${'x'.repeat(90_000)}`),
      env: [],
      tags: [],
      secrets: [],
      stdin: false,
    });
    expect(await small.open({}, { caller: 'another key', spec }).exit).toMatchObject({ code: 0 });
    first.send({ type: 'EOS', stream: 0, final: 0 });
    await first.wait('TREE_END');
    expect(await large('true').exit).toMatchObject({ code: 0 });
    second.send({ type: 'EOS', stream: 0, final: 0 });
  });

  test('signals that wait for a start are bounded', async () => {
    await using small = await KeeperClient.start({ limits: { maxRunning: 1 } });
    const first = small.sh('read x', { stdin: true });
    await first.wait('STARTED');
    const waiting = small.sh('sleep 100');
    await waiting.wait('OPENED');
    for (let opId = 1000; opId < 1064; opId++) waiting.send({ type: 'SIGNAL', opId, signal: 28, scope: 'leader' });
    expect(await waiting.operate({ type: 'SIGNAL', signal: 9, scope: 'leader' })).toMatchObject({
      result: '64 operations wait for its start already',
    });
    first.send({ type: 'EOS', stream: 0, final: 0 });
    await waiting.wait('OP_OK', ({ opId }) => opId === 1063);
  });

  test('an unknown limit is refused by name', async () => {
    await expect(KeeperClient.start({ limits: { maxRunnign: 3 } as never })).rejects.toThrow(/maxRunnign/);
  });
});

rootDescribe('as another user', () => {
  test('files, streams and capabilities are that user’s', async () => {
    const text = await keeper
      .sh('id -un; grep -E "^Cap(Prm|Eff)" /proc/self/status | cut -f2; echo again > /dev/stdout; echo $HOME', {
        runAs: 'daemon',
        cwd: bytes('/'),
      })
      .text();
    expect(text).toBe('daemon\n0000000000000000\n0000000000000000\nagain\n/usr/sbin\n');
  });

  test('it cannot reach the keeper', async () => {
    const run = keeper.sh(`ls ${keeper.home.state}; kill -0 ${keeper.link.pid}`, {
      runAs: 'daemon',
      cwd: bytes('/'),
    });
    expect((await run.exit).code).not.toBe(0);
    expect(await run.text(2)).toMatch(/Permission denied[\s\S]*not permitted/);
  });

  test('variables that would put the user’s code into root are refused; the command itself may set them', async () => {
    const env = [bytes('A=1'), bytes('LD_PRELOAD=/tmp/mine.so')];
    const refused = await keeper.sh('true', { runAs: 'daemon', cwd: bytes('/'), env }).wait('REFUSED');
    expect(refused).toMatchObject({ code: 'policy', message: expect.stringContaining('env LD_PRELOAD=') });
    const argv = ['env', 'LD_BIND_NOW=1', 'sh', '-c', 'id -un; echo $LD_BIND_NOW'].map(bytes);
    expect(await keeper.open({ argv, runAs: 'daemon', cwd: bytes('/') }).text()).toBe('daemon\n1\n');
  });

  test('an unknown user, and a folder closed to the user, are refused', async () => {
    expect(await keeper.sh('true', { runAs: 'no-such-user' }).wait('REFUSED')).toMatchObject({ code: 'badspec' });
    const closed = keeper.sh('true', { runAs: 'daemon', cwd: bytes(keeper.home.state) });
    expect(await closed.wait('REFUSED')).toMatchObject({ code: 'nocwd' });
    expect(await keeper.exec('id', '-u').text()).toBe('0\n');
  });
});

describe('commands that start together', () => {
  test('each have their own words, code, limits and streams, round after round', async () => {
    const plain = script('together', 'echo "plain $1"; exit 9');
    for (let round = 0; round < 5; round++) {
      const all = Array.from({ length: 40 }, (_, i) =>
        i % 4 === 3 ? keeper.exec(plain, String(i)) : keeper.sh(`echo "shell ${i}"; ulimit -Sn; ${OPEN}; exit ${i}`),
      );
      for (const [i, run] of all.entries()) {
        const isPlain = i % 4 === 3;
        expect(await run.text()).toBe(isPlain ? `plain ${i}\n` : `shell ${i}\n1024\n0 1 2 3\n`);
        expect(await run.wait('EXIT')).toMatchObject({ code: isPlain ? 9 : i });
        await run.wait('TREE_END');
      }
    }
  });

  test('are refused one by one where they cannot start, and the others run', async () => {
    const orphan = script('together-orphan', '#!/no/such/interpreter\n');
    const all = Array.from({ length: 20 }, (_, i) => (i % 2 ? keeper.exec(orphan) : keeper.exec('true')));
    for (const [i, run] of all.entries()) {
      if (i % 2) expect(await run.wait('REFUSED')).toMatchObject({ code: 'nofile' });
      else expect(await run.exit).toMatchObject({ code: 0 });
    }
  });

  test('two hundred and fifty at a time, each with the open-files limit of a login', async () => {
    const all = Array.from({ length: 250 }, () => keeper.sh('read line; ulimit -Sn', { stdin: true }));
    for (const run of all) await run.wait('STARTED');
    for (const run of all) run.send({ type: 'EOS', stream: 0, final: 0 });
    for (const run of all) expect(await run.text()).toBe('1024\n');
  });
});
