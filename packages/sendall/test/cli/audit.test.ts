/** sendall audit, and what a caller is told when a host's log was cut or rewritten. */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { connect, resolveHome } from 'sendall';
import { until } from '../../../../test/support/waits.js';
import { endKeeper } from '../remove-home.js';
import { Machine, said, User } from './support.js';

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

describe('audit', () => {
  test('tail prints the last records, for people and as they stand in the log', () => {
    const [, result] = user.events(['run', 'web1', '--json', '--sync-log', '--', 'true']);
    const log = result!.log as { index: number; size: number; head: string };
    expect(log.size).toBe(log.index + 1);
    const records = user.events(['audit', 'tail', '--on', 'web1', '--json', '-n', '3']);
    expect(records.map(({ kind }) => kind)).toEqual(['allow', 'start', 'exit']);
    expect(records.map(({ n }) => n)).toEqual([log.index - 2, log.index - 1, log.index]);
    expect(Object.keys(records[2]!).slice(0, 4)).toEqual(['n', 'at', 'kind', 'run']);
    const { stdout } = user.call(['audit', 'tail', '--on', 'web1', '-n', '1']);
    expect(stdout).toMatch(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}Z +\d+ {2}exit +[0-9a-f-]{36} code=0 stdout=0/);
  });

  test('tail -f prints what is added', async () => {
    const tail = machine.user.start(['audit', 'tail', '-f', '--json']);
    await said(tail, '"kind"');
    const more = said(tail, 'tailed-run');
    machine.user.call(['run', 'local', '--name', 'tailed-run', '--', 'true']);
    await more;
    tail.kill();
  });

  test('show prints the records of a run, also of one that its host has forgotten', () => {
    const [, result] = user.events(['run', 'web1', '--json', '--name', 'shown', '--', 'sh', '-c', 'exit 4']);
    const kinds = (words: readonly string[]): unknown[] => user.events([...words, '--json']).map(({ kind }) => kind);
    expect(kinds(['audit', 'show', 'shown'])).toEqual(['allow', 'start', 'exit']);
    user.call(['forget', 'shown']);
    const again = kinds(['audit', 'show', String(result!.runId), '--on', 'web1']);
    expect(again).toEqual(['allow', 'start', 'exit', 'note']);
    const none = user.call(['audit', 'show', '01234567-0123-7123-8123-0123456789ab', '--on', 'web1']);
    expect(none).toMatchObject({ code: 200, stdout: '' });
  });

  test('verify calls the kept head of this machine by the name local', () => {
    expect(machine.user.call(['run', 'local', '--', 'true']).code).toBe(0);
    const { code, stdout } = machine.user.call(['audit', 'verify', '--against', 'local']);
    expect(stdout).toMatch(/begins with the \d+ records? of the head of local$/m);
    expect(code).toBe(0);
  });

  test('head prints a signed checkpoint, and verify checks the log against it from a file', () => {
    const { stdout } = user.call(['audit', 'head', '--on', 'web1']);
    expect(stdout).toMatch(/^sendall-log\/[\w-]{43}\/[0-9a-f]{16}\n\d+\n[A-Za-z0-9+/]{43}=\n\n\u2014 sendall-log/);
    const file = join(user.home, 'web1.head');
    writeFileSync(file, stdout);
    const [head] = user.events(['audit', 'head', '--on', 'web1', '--json']);
    expect(head).toMatchObject({ event: 'head', host: 'web1', checkpoint: stdout });
    user.call(['run', 'web1', '--', 'true']);
    for (const from of [user, machine.user]) {
      const on = from === user ? ['--on', 'web1'] : [];
      const { code, stdout: said } = from.call(['audit', 'verify', '--against', file, ...on]);
      expect(said).toMatch(/^ok: \d+ records, root /m);
      expect(said).toContain(`begins with the ${String(head!.size)} records of the head of ${file}`);
      expect(code).toBe(0);
    }
    const [verdict] = user.events(['audit', 'verify', '--against', file, '--on', 'web1', '--json']);
    expect(verdict).toMatchObject({ event: 'verdict', host: 'web1', ok: true, problems: [] });
    expect(verdict!.against).toEqual([{ pin: file, size: head!.size, consistent: true }]);
    writeFileSync(
      file,
      stdout.replace(/\n(\d+)\n/, (_, size: string) => `\n${Number(size) - 1}\n`),
    );
    const forged = user.call(['audit', 'verify', '--against', file, '--on', 'web1']);
    expect(forged.stdout).toMatch(/^not ok/m);
    expect(forged.code).toBe(209);
  });

  test('verify checks against the newest head that was seen here, and says first what is not isolated', () => {
    user.call(['run', 'web1', '--sync-log', '--', 'true']);
    const { stdout, code } = user.call(['audit', 'verify', '--against', 'web1']);
    expect(code).toBe(0);
    expect(stdout).toMatch(/begins with the \d+ records of the head of SHA256:/);
    const first = process.getuid?.() === 0 ? /^ok: / : /^isolation: none: the agent of web1 is not root/;
    expect(stdout).toMatch(first);
  });

  test('wrong words are told', () => {
    for (const [words, message] of [
      [['audit', 'tial'], 'did you mean "tail"'],
      [['audit', 'tail', 'web1'], 'the host goes behind --on'],
      [['audit', 'tail', '-n', 'x'], 'is not a number'],
      [['audit', 'show'], 'takes one run'],
      [['audit', 'verify', '--against', 'web9'], 'is neither a host'],
      [['audit', 'verify', '--against', '/etc/hostname'], 'holds no head of a log'],
    ] as const) {
      const { code, stderr } = user.call(words);
      expect(stderr).toContain(message);
      expect(code).toBe(200);
    }
  });
});

describe('a log that was cut', () => {
  test('is told at once: 209, an outcome of its own, until it is accepted', async () => {
    await using other = await Machine.start();
    using caller = other.pairedUser('web1');
    for (let i = 0; i < 3; i++) expect(caller.call(['run', 'web1', '--', 'true']).code).toBe(0);
    const heads = join(caller.home, 'heads');
    expect(readFileSync(heads, 'utf8')).toMatch(/^SHA256:\S+ \d+ \S{44} \d+$/m);
    await other.stopAgent();
    await endKeeper(other.user.home);
    for (const name of ['log', 'journal', 'spool']) rmSync(join(other.user.home, name), { recursive: true });
    await other.startAgent('--listen', other.url);
    caller.call(['links', 'stop']);

    const told = /the log of web1 was cut or rewritten: \d+ records seen on \d{4}-\d\d-\d\d \d\d:\d\d UTC, \d+ now/;
    const run = caller.call(['run', 'web1', '--', 'echo', 'out']);
    expect(run).toMatchObject({ code: 209, stdout: 'out\n' });
    expect(run.stderr).toMatch(told);
    expect(run.stderr).toContain('sendall audit verify --against web1');
    const [, result] = caller.events(['run', 'web1', '--json', '--', 'true']);
    expect(result).toMatchObject({ outcome: 'rewritten', code: 0, reason: expect.stringMatching(told) as string });
    await using host = await connect('web1', { home: resolveHome({ SENDALL_HOME: caller.home }) });
    await expect(host.run(['true'])).rejects.toMatchObject({ code: 'REWRITTEN', result: { outcome: 'rewritten' } });

    const verdict = caller.call(['audit', 'verify', '--against', 'web1']);
    expect(verdict.code).toBe(209);
    expect(verdict.stdout).toMatch(/^record \d+: (truncation|fork)$/m);
    expect(caller.call(['audit', 'verify', '--against', 'web1', '--accept']).code).toBe(0);
    expect(caller.call(['run', 'web1', '--', 'true'])).toMatchObject({ code: 0, stderr: '' });
    expect(caller.call(['audit', 'verify', '--against', 'web1']).code).toBe(0);
  });

  test('a caller that follows many hosts at once hears nothing wrong of sound ones', async () => {
    const home = resolveHome({ SENDALL_HOME: user.home });
    await using one = await connect('web1', { home });
    await using two = await connect('web1', { home });
    const runs = Array.from({ length: 60 }, (_, i) => (i % 2 ? one : two).run(['sh', '-c', `sleep 0.0${i % 7}`]));
    for (const { outcome } of await Promise.all(runs)) expect(outcome).toBe('ok');
    const [first] = runs;
    // A run that ended long ago is heard of again with the head of this moment.
    expect((await two.attach(first!.runId)).outcome).toBe('ok');
    await until(() => existsSync(join(user.home, 'heads')), 'the heads to be written');
  });
});
