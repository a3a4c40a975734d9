/** What the keeper makes of a grant: a command of a caller who is no owner. */
import { chmodSync, copyFileSync, mkdtempSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { becomingOf } from '../../dist/keeper/bounds/grant.js';
import type { Native } from '../../dist/keeper/system/native.js';
import type { Grant, Spec } from '../../dist/protocol/messages.js';
import { rootDescribe } from '../../../../test/support/root.js';
import { bytes, KeeperClient, type Attached } from './keeper-client.js';

const OUTSIDER = 'alice';
let keeper: KeeperClient;
let folder: string;
beforeAll(async () => {
  keeper = await KeeperClient.start();
  folder = mkdtempSync(join(tmpdir(), 'granted-'));
  chmodSync(folder, 0o755);
});
afterAll(async () => {
  await keeper[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

/** Runs words under a grant of `/bin/sh` as daemon, or as `grant` says. */
function granted(argv: readonly string[], grant: Partial<Grant> = {}, spec: Partial<Spec> = {}): Attached {
  return keeper.open(
    { argv: argv.map(bytes), cwd: bytes('/'), ...spec },
    { grant: { rule: 'a-rule', policyRev: 1, program: bytes('/bin/sh'), runAs: 'daemon', ...grant } },
  );
}
const sh = (script: string, grant: Partial<Grant> = {}, spec: Partial<Spec> = {}): Attached =>
  granted(['sh', '-c', script], grant, spec);

/** A file that daemon may start. */
function program(name: string, text = '#!/bin/sh\necho first\n'): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  chmodSync(path, 0o755);
  return path;
}

rootDescribe('under a grant', () => {
  test('a command is its user’s and can become nothing else', async () => {
    const script = 'id -un; id -Gn; grep -E "^(Cap|NoNewPrivs)" /proc/self/status | cut -f2';
    const none = '0000000000000000\n';
    expect(await sh(script).text()).toBe(`daemon\ndaemon\n${none.repeat(5)}1\n`);
  });

  test('set-user-id programs give it nothing', async () => {
    const path = join(folder, 'id-of-root');
    copyFileSync('/usr/bin/id', path);
    chmodSync(path, 0o4755);
    expect(await granted(['id-of-root', '-u'], { program: bytes(path) }).text()).toBe('1\n');
    // An owner may go on by such programs, as after a login.
    expect(await keeper.open({ argv: [bytes(path), bytes('-u')], runAs: 'daemon' }).text()).toBe('0\n');
  });

  test('the program is the one that the grant names, whatever PATH and the first word say', async () => {
    program('sh', '#!/bin/sh\necho wrong\n');
    const env = [bytes(`PATH=${folder}`)];
    expect(await sh('echo right', {}, { env, cwd: bytes(folder) }).text()).toBe('right\n');
    expect(await granted(['./sh', '-c', 'echo right'], {}, { env, cwd: bytes(folder) }).text()).toBe('right\n');
    for (const wrong of [undefined, bytes('sh'), bytes('./sh'), bytes('')])
      expect(await sh('true', { program: wrong }).wait('REFUSED')).toMatchObject({ code: 'policy', rule: 'a-rule' });
  });

  test('words arrive as they were sent, bytes and empty ones too', async () => {
    const words = [Buffer.from([0xff, 0x41]), bytes(''), bytes('--'), bytes('--reuid=0'), bytes('a;b|c\n')];
    const argv = ['sh', '-c', 'printf "%s|" "$@"', 'sh'].map(bytes);
    const run = granted([], {}, { argv: [...argv, ...words] });
    expect(await run.output(1)).toEqual(Buffer.concat(words.flatMap((word) => [word, bytes('|')])));
  });

  test('a program that was replaced after it was checked does not start', async () => {
    const path = program('replaced');
    const { dev, ino } = statSync(path, { bigint: true });
    const [device, inode] = [Number(dev), Number(BigInt.asUintN(53, ino))];
    const start = () => granted(['replaced'], { program: bytes(path), device, inode });
    expect(await start().text()).toBe('first\n');
    renameSync(program('other', '#!/bin/sh\necho second\n'), path);
    expect(await start().wait('REFUSED')).toMatchObject({
      code: 'policy',
      rule: 'a-rule',
      message: expect.stringContaining('was replaced'),
    });
    rmSync(path);
    expect((await start().wait('REFUSED')).code).toBe('nofile');
  });

  test('nothing starts without a user, as another one than the rule’s, or as root without trust', async () => {
    const refused = async (grant: Partial<Grant>, spec: Partial<Spec> = {}): Promise<string> =>
      (await sh('true', grant, spec).wait('REFUSED')).code;
    expect(await refused({ runAs: undefined })).toBe('policy');
    expect(await refused({ runAs: undefined }, { runAs: 'daemon' })).toBe('policy');
    expect(await refused({}, { runAs: 'root' })).toBe('policy');
    expect(await refused({}, { runAs: 'bin' })).toBe('policy');
    expect(await refused({ runAs: 'root' })).toBe('policy');
    expect(await refused({ runAs: 'root', trustsProgram: false })).toBe('policy');
    expect(await refused({ runAs: 'no-such-user' })).toBe('badspec');
    expect(await refused({}, { verb: 'sh', argv: [], script: bytes('true'), accountShell: true })).toBe('policy');
    expect(await sh('id -un', {}, { runAs: 'daemon' }).text()).toBe('daemon\n');
    expect(await keeper.list()).toEqual(expect.not.arrayContaining([expect.objectContaining({ state: 'running' })]));
  });

  test('nothing starts as a user whose number leaves root what it is', () => {
    const user = { name: 'app', uid: 1234, gid: 1234, groups: [1234], home: '/', shell: '/bin/sh' };
    const own = { name: 'root', home: '/root', shell: '/bin/sh' };
    const grant = { rule: 'a-rule', policyRev: 1, runAs: 'app' };
    const spec = { verb: 'exec', argv: [], env: [], tags: [], secrets: [], stdin: false };
    const become = (part: Partial<typeof user>, as: Grant | undefined) =>
      becomingOf({ account: () => ({ ...user, ...part }) } as unknown as Native, own, { ...spec, runAs: 'app' }, as);
    expect(become({}, grant)!.user.uid).toBe(1234);
    for (const part of [{ uid: 2 ** 32 - 1 }, { gid: 2 ** 32 - 1 }, { groups: [1, 2 ** 32 - 1] }])
      for (const as of [grant, undefined]) expect(() => become(part, as)).toThrow(/no number of a user/);
  });

  test('a program that is trusted with root gets no new privileges either', async () => {
    const run = sh('id -un; grep NoNewPrivs /proc/self/status | cut -f2', { runAs: 'root', trustsProgram: true });
    expect(await run.text()).toBe('root\n1\n');
  });

  test('variables that setpriv would obey as root are refused', async () => {
    for (const pair of ['LD_PRELOAD=/tmp/mine.so', 'LD_AUDIT=x', 'GLIBC_TUNABLES=x', 'GCONV_PATH=/tmp'])
      for (const grant of [{}, { runAs: 'root', trustsProgram: true }])
        expect((await sh('true', grant, { env: [bytes(pair)] }).wait('REFUSED')).code).toBe('policy');
    const secret = keeper.open(
      { argv: [bytes('true')], runAs: 'daemon', cwd: bytes('/'), secrets: [{ name: 'LOCPATH', as: 'env' }] },
      { secrets: [{ name: 'LOCPATH', value: bytes('/tmp/mine.so') }] },
    );
    const { code, message } = await secret.wait('REFUSED');
    expect([code, message]).toEqual(['badspec', expect.not.stringContaining('mine.so')]);
  });

  test('it cannot reach the keeper: neither files nor socket nor memory nor signals', async () => {
    const { state, keeperSocket } = keeper.home;
    const { pid } = keeper.link;
    const script = `ls ${state}; cat ${state}/keeper.lock; kill -0 ${pid}; cat /proc/${pid}/environ; cat /proc/${pid}/mem;
      python3 -c 'import socket; socket.socket(socket.AF_UNIX).connect("${keeperSocket}")'; ls /proc/${pid}/fd; true`;
    const run = sh(script);
    expect(await run.text()).toBe('');
    expect((await run.text(2)).match(/denied|not permitted/g)).toHaveLength(7);
  });

  test('of two limits the smaller one holds', async () => {
    const files = (spec: number, grant: number) =>
      sh('ulimit -n', { limits: { files: grant } }, { limits: { files: spec } }).text();
    expect([await files(100, 50), await files(40, 50)]).toEqual(['50\n', '40\n']);
    const both = sh('ulimit -n; ulimit -t', { limits: { files: 50 } }, { limits: { cpuMs: 9000 } });
    expect(await both.text()).toBe('50\n9\n');
    expect(await sh('sleep 100', { timeoutMs: 10 }, { timeoutMs: 100_000 }).exit).toMatchObject({ cause: 'timeout' });
    expect(await sh('sleep 100', { timeoutMs: 100_000 }, { timeoutMs: 10 }).exit).toMatchObject({ cause: 'timeout' });
    expect(await sh('sleep 100', { timeoutMs: 10 }).exit).toMatchObject({ cause: 'timeout' });
    expect(await sh('yes', { output: 10 }, { maxOutput: 10_000 }).exit).toMatchObject({ cause: 'limits' });
    expect(await sh('yes', { output: 10 }).exit).toMatchObject({ cause: 'limits' });
  });

  test('a rule’s number of runs holds for each principal, and a process left behind counts', async () => {
    const start = (script: string, more: object = {}) =>
      keeper.open(
        { argv: ['sh', '-c', script].map(bytes), cwd: bytes('/') },
        {
          principal: OUTSIDER,
          grant: { rule: 'two', policyRev: 1, program: bytes('/bin/sh'), runAs: 'daemon', runs: 2 },
          ...more,
        },
      );
    const first = start('sleep 100');
    const left = start('sleep 100 > /dev/null 2>&1 &');
    await left.wait('EXIT');
    expect(await start('true').wait('REFUSED')).toMatchObject({
      code: 'busy',
      rule: 'two',
      message: expect.stringContaining('2 runs'),
    });
    expect(await start('true', { principal: 'bob' }).exit).toMatchObject({ code: 0 });
    const other = { rule: 'other', policyRev: 1, program: bytes('/bin/sh'), runAs: 'daemon', runs: 1 };
    expect(await start('true', { grant: other }).exit).toMatchObject({ code: 0 });
    for (const run of [left, first]) {
      await run.operate({ type: 'CANCEL', graceMs: 0 });
      await run.wait('TREE_END');
      const next = start('true');
      expect(await next.exit).toMatchObject({ code: 0 });
      await next.wait('TREE_END');
    }
  });

  test('the rule is named with the run’s beginning', async () => {
    expect(await sh('true').wait('OPENED')).toMatchObject({ policyRule: 'a-rule' });
    expect((await keeper.exec('true').wait('OPENED')).policyRule).toBeUndefined();
  });

  test('a terminal is the user’s', async () => {
    const run = sh('stat -c %U $(tty); id -un', {}, { pty: { cols: 80, rows: 24, term: 'xterm' } });
    expect(await run.text(3)).toBe('daemon\r\ndaemon\r\n');
  });
});

/** What a process has by birth, beside its user: all that this machine shows of it. */
const BIRTH = `
import os
for file in ['limits', 'oom_score_adj', 'coredump_filter', 'timerslack_ns', 'personality', 'loginuid']:
    try:
        with open('/proc/self/' + file) as f: print(file, f.read())
    except OSError as e: print(file, e.errno)
mask = os.umask(0)
print(oct(mask), os.nice(0), sorted(os.sched_getaffinity(0)), os.sched_getscheduler(0))
print([line for line in open('/proc/self/status') if line.startswith(('SigB', 'SigI', 'Seccomp', 'THP', 'Cpus', 'Mems'))])
import ctypes
print(ctypes.CDLL(None).syscall({'x86_64': 252, 'aarch64': 31}[os.uname().machine], 1, 0))  # ioprio_get
print(os.readlink('/proc/self/ns/user'), sorted(os.listdir('/proc/self/fd'))[:3])
`;

rootDescribe('a command of another user', () => {
  test('has the limits, mask, niceness, scores and schedules of all commands, and not the keeper’s', async () => {
    const argv = ['python3', '-c', BIRTH].map(bytes);
    const own = await keeper.open({ argv, cwd: bytes('/') }).text();
    expect(own).toContain('Max locked memory');
    expect(own).toContain('Max pending signals');
    expect(await keeper.open({ argv, cwd: bytes('/'), runAs: 'daemon' }).text()).toBe(own);
    expect(await granted(['python3', '-c', BIRTH], { program: bytes('/usr/bin/python3') }).text()).toBe(own);
  });

  test('has a session keyring that no other command has, and none of root’s keys', async () => {
    const number = { x64: 250, arm64: 219 }[process.arch as 'x64'];
    const keyctl = `import ctypes; keyctl = lambda *a: ctypes.CDLL(None).syscall(${number}, *a)`;
    const ring = ['python3', '-c', `${keyctl}\nprint(keyctl(0, -3, 0))`];
    const rings: string[] = [];
    for (let i = 0; i < 2; i++) {
      rings.push(await keeper.exec(...ring).text());
      rings.push(await granted(ring, { program: bytes('/usr/bin/python3') }).text());
      rings.push(await keeper.open({ argv: ring.map(bytes), runAs: 'daemon', cwd: bytes('/') }).text());
    }
    if (rings[0] === '-1\n') return;
    expect(new Set(rings).size).toBe(6);
    // A key in the keyring that root's commands have at this moment.
    const add = { x64: 248, arm64: 217 }[process.arch as 'x64'];
    const mine = `${keyctl}\nc = ctypes.CDLL(None)\nc.syscall(${add}, b"user", b"secret-of-root", b"value", 5, -3)`;
    const search = `print(keyctl(10, -3, b"user", b"secret-of-root", 0) > 0)`;
    expect(await keeper.exec('python3', '-c', `${mine}\n${search}`).text()).toBe('True\n');
    for (const run of [
      granted(['python3', '-c', `${keyctl}\n${search}`], { program: bytes('/usr/bin/python3') }),
      keeper.open({ argv: ['python3', '-c', `${keyctl}\n${search}`].map(bytes), runAs: 'daemon', cwd: bytes('/') }),
    ])
      expect(await run.text()).toBe('False\n');
  });
});

test.skipIf(process.getuid?.() === 0)('a keeper that is not root starts nothing under a grant', async () => {
  const refused = await sh('true').wait('REFUSED');
  expect(refused).toMatchObject({ code: 'policy', message: expect.stringContaining('owners only') });
});
