/** What a command may use: processor time, files, memory, processes. */
import { readdirSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { versionOne, versionTwo } from '../../dist/keeper/system/hierarchies.js';
import { rootDescribe } from '../../../../test/support/root.js';
import { until } from '../../../../test/support/waits.js';
import { bytes, KeeperClient } from './keeper-client.js';

const MIB = 1024 * 1024;
/** Fills so many MiB, and says so. */
const filling = (mib: number): string[] => ['python3', '-c', `x = bytearray(${mib} << 20); print("filled")`];

let keeper: KeeperClient;
beforeAll(async () => {
  keeper = await KeeperClient.start();
});
afterAll(() => keeper[Symbol.asyncDispose]());

const open = (argv: readonly string[], limits: object) => keeper.open({ argv: argv.map(bytes), limits });

describe('a command', () => {
  test('has no more files than its limit, and can raise it no more', async () => {
    const run = keeper.sh('ulimit -n; ulimit -H -n; ulimit -n 65 2> /dev/null || echo no', { limits: { files: 64 } });
    expect(await run.text()).toBe('64\n64\nno\n');
  });

  test('never gets more by a limit than the system allows', async () => {
    const [own] = (await keeper.sh('ulimit -H -n').text()).split('\n');
    expect(await keeper.sh('ulimit -H -n', { limits: { files: 2 ** 40 } }).text()).toBe(`${own}\n`);
  });

  test('that uses up its processor time ends with cause limits', async () => {
    const exit = await keeper.sh('while :; do :; done', { limits: { cpuMs: 1 } }).exit;
    expect(exit).toMatchObject({ cause: 'limits', signal: 'SIGXCPU', reason: expect.stringContaining('1 s of proc') });
  });

  test('that ignores the end of its processor time is killed a second later, with the same cause', async () => {
    const exit = await keeper.sh('trap "" XCPU; while :; do :; done', { limits: { cpuMs: 1000 } }).exit;
    expect(exit).toMatchObject({ cause: 'limits', signal: 'SIGKILL' });
  });

  test('that dies of SIGKILL, or of SIGXCPU without a limit, ended by a signal', async () => {
    const killed = await keeper.sh('kill -KILL $$', { limits: { cpuMs: 60_000 } }).exit;
    expect([killed.signal, killed.cause]).toEqual(['SIGKILL', undefined]);
    const own = await keeper.sh('kill -XCPU $$').exit;
    expect([own.signal, own.cause]).toEqual(['SIGXCPU', undefined]);
  });

  test('gets its words, variables, streams and code as without limits', async () => {
    const words = [Buffer.from([0xff, 0x41]), bytes(''), bytes('--nofile=1'), bytes('-x')];
    const run = keeper.open({
      argv: [bytes('sh'), bytes('-c'), bytes('printf "%s|" "$@"; cat; echo "$A.B" >&2; exit 7'), bytes('sh'), ...words],
      env: [bytes('A=1'), bytes('A.B-C=odd')],
      stdin: true,
      limits: { files: 64, cpuMs: 60_000 },
    });
    await run.wait('STARTED');
    run.input(0, bytes('in'));
    run.send({ type: 'EOS', stream: 0, final: 2 });
    expect((await run.exit).code).toBe(7);
    expect(await run.output(1)).toEqual(Buffer.concat([...words.flatMap((word) => [word, bytes('|')]), bytes('in')]));
    expect(await run.text(2)).toBe('1.B\n');
    const odd = await open(['env'], { files: 64 }).text();
    expect(odd).not.toContain('PWD=');
  });
});

const hasOne = (controller: string): boolean => process.getuid?.() === 0 && versionOne(controller) !== undefined;

/** glibc starts processes in groups of version 2 from 2.39 on. */
function bearsInGroups(): boolean {
  const { header } = process.report.getReport() as { header: { glibcVersionRuntime?: string } };
  const [major = 0, minor = 0] = (header.glibcVersionRuntime ?? '').split('.').map(Number);
  return major > 2 || (major === 2 && minor >= 39);
}

/** The keeper may use this controller of version 2. */
function hasTwo(controller: string): boolean {
  const two = versionTwo();
  if (!two || process.getuid?.() !== 0 || versionOne(controller) || !bearsInGroups()) return false;
  return readFileSync(`${two.mount}/cgroup.controllers`, 'latin1').split(/\s/).includes(controller);
}

/** Folders of groups for this keeper's limited commands, by version 1. */
const groupsOf = (controller: string, pid: number): string[] => {
  const { own } = versionOne(controller)!;
  return readdirSync(own)
    .filter((name) => name.startsWith(`sendall-keeper-${pid}-`))
    .flatMap((name) => readdirSync(`${own}/${name}`, { withFileTypes: true }))
    .flatMap((entry) => (entry.isDirectory() ? [entry.name] : []));
};

const memoryTests = (): void => {
  test('that needs more ends with cause oom; others go on', async () => {
    const small = open(filling(200), { memory: 64 * MIB });
    const large = open(filling(100), { memory: 200 * MIB });
    const free = keeper.exec(...filling(100));
    expect(await small.exit).toMatchObject({ cause: 'oom', reason: expect.stringContaining('memory') });
    for (const run of [large, free]) expect(await run.exit).toMatchObject({ code: 0 });
    expect((await large.exit).cause).toBeUndefined();
  });

  test('and all its processes count together', async () => {
    const child = 'b = bytearray(48 << 20)';
    const script = `import subprocess, sys\na = bytearray(48 << 20)\nsubprocess.run([sys.executable, '-c', '${child}'])`;
    expect(await open(['python3', '-c', script], { memory: 64 * MIB }).exit).toMatchObject({ cause: 'oom' });
  });

  test('of no size at all is an end as well, and no harm to the keeper', async () => {
    const run = open(['true'], { memory: 1 });
    expect(await run.exit).toMatchObject({ cause: 'oom' });
    expect(await keeper.exec('true').exit).toMatchObject({ code: 0 });
    expect(await open(['true'], { memory: Number.MAX_SAFE_INTEGER }).exit).toMatchObject({ code: 0 });
  });
};

const processTests = (): void => {
  test('has so many and no more, and others are not concerned', async () => {
    const script = 'for i in 1 2 3 4 5 6 7 8; do (sleep 60) & echo $i; done 2> /dev/null';
    const run = keeper.sh(script, { limits: { processes: 4 } });
    await run.exit;
    expect((await run.text()).split('\n').length - 1).toBe(3);
    await run.operate({ type: 'CANCEL', graceMs: 0 });
    expect(await keeper.sh(`${script}; kill $(jobs -p)`).text()).toMatch(/8\n$/);
    expect(await open(['true'], { processes: Number.MAX_SAFE_INTEGER }).exit).toMatchObject({ code: 0 });
  });
};

describe.runIf(hasOne('memory'))('memory, by version 1 of cgroups', () => {
  memoryTests();

  test('groups are gone when their commands are', async () => {
    const run = open(['true'], { memory: 64 * MIB });
    await run.wait('TREE_END');
    await until(() => groupsOf('memory', keeper.link.pid).length === 0, 'the end of the groups');
  });
});
describe.runIf(hasOne('pids'))('processes, by version 1 of cgroups', processTests);
describe.runIf(hasTwo('memory'))('memory, by version 2 of cgroups', memoryTests);
describe.runIf(hasTwo('pids'))('processes, by version 2 of cgroups', processTests);

rootDescribe('a command of another user', () => {
  test('has the same limits', async () => {
    const limits = { files: 64, cpuMs: 60_000 };
    const run = keeper.sh('id -un; ulimit -H -n; ulimit -t', { runAs: 'daemon', cwd: bytes('/'), limits });
    expect(await run.text()).toBe('daemon\n64\n60\n');
  });
});
