/** What a page does through the console, on real hosts: the server's half of each view. */
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { until, within } from '../../../../test/support/waits.js';
import { newRunId } from 'sendall';
import { Machine, type User } from '../cli/support.js';
import { RunningConsole, type TestPage } from './support.js';

const CREDIT = 1024 * 1024;

let machine: Machine;
let user: User;
let running: RunningConsole;
let page: TestPage;
beforeAll(async () => {
  machine = await Machine.start();
  user = machine.pairedUser('web01', 'web02', 'web03');
  user.call(['hosts', 'set', 'web01', 'role=db']);
  running = await RunningConsole.start(user);
  page = await running.page();
});
afterAll(async () => {
  page[Symbol.dispose]();
  await running[Symbol.asyncDispose]();
  user[Symbol.dispose]();
  await machine[Symbol.asyncDispose]();
});

const start = async (...argv: string[]) => (await page.ask('run', { targets: 'web01', argv })).runId;
const watch = async (runId: string, host = 'web01') => await page.subscribe('output', { host, runId, credit: CREDIT });

describe('hosts', () => {
  test('the list has this machine first, then all hosts with pins and tags', async () => {
    const { hosts, words } = await page.ask('hosts', {});
    expect(hosts.map(({ name }) => name)).toEqual(['local', 'web01', 'web02', 'web03']);
    expect(hosts[1]).toMatchObject({
      pin: expect.stringMatching(/^SHA256:/),
      tags: { role: 'db' },
      from: ['hosts.json'],
    });
    expect(words).toEqual(['all', '@db', '@role']);
  });

  test('a set is resolved, and a wrong one is an error with a sentence', async () => {
    expect(await page.ask('resolve', { targets: 'web[01-03]!web02' })).toEqual({
      count: 2,
      folded: 'web[01,03]',
      names: ['web01', 'web03'],
    });
    await expect(page.ask('resolve', { targets: 'web[' })).rejects.toMatchObject({ code: 'USAGE' });
    await expect(page.ask('resolve', { targets: 'db9' })).rejects.toThrow(/db9 is not known/);
  });

  test('a plan names batches, and says where the user is an owner', async () => {
    const plan = await page.ask('explain', {
      targets: 'all',
      argv: ['true'],
      options: { batch: 2, window: 8 },
      policy: 1,
    });
    expect(plan).toMatchObject({
      count: 3,
      batches: [
        { hosts: 'web[01-02]', size: 2 },
        { hosts: 'web03', size: 1 },
      ],
      window: 8,
      policy: [{ host: 'web01', may: 'all' }],
    });
  });

  test('a change of the list is told, and the state of watched hosts', async () => {
    const watched = await page.subscribe('hosts', { watch: 'web01,local' });
    await watched.event((event) => event.event === 'host' && event.host === 'web01' && event.state === 'up');
    // No agent runs for this user.
    await watched.event((event) => event.event === 'host' && event.host === 'local' && event.state === 'unreachable');
    user.call(['hosts', 'set', 'web03', 'role=cache']);
    await watched.event((event) => event.event === 'hosts' && event.words.includes('@cache'));
    watched.unsubscribe();
  });
});

describe('a run', () => {
  test('gets its words exactly, and every byte of both streams comes in order', async () => {
    const words = ['a b', '', '$HOME "*"', 'two\nlines\r\n', '\u001b[31m', '中文'];
    const runId = await start('sh', '-c', 'printf "<%s>" "$@"; printf err >&2; exit 3', 'sh', ...words);
    const seen = await watch(runId);
    await seen.over();
    expect(seen.text()).toBe(words.map((word) => `<${word}>`).join(''));
    expect(seen.text('stderr')).toBe('err');
    expect(seen.events.map(({ event }) => event)).toEqual(['started', 'result']);
    expect(seen.events.at(-1)).toMatchObject({ result: { outcome: 'failed', code: 3, host: 'web01', runId } });
    expect(seen.closed).toEqual({ error: undefined });
  });

  test('a request that is repeated with its id starts nothing twice', async () => {
    const runId = newRunId();
    const asked = { targets: 'web01', argv: ['sh', '-c', 'echo once; sleep 300'], runId };
    expect((await page.ask('run', asked)).runId).toBe(runId);
    expect((await page.ask('run', asked)).runId).toBe(runId);
    const seen = await watch(runId);
    await until(() => seen.received, 'the output');
    expect(seen.text()).toBe('once\n');
    expect(await page.ask('kill', { host: 'web01', runId, grace: 0 })).toMatchObject({
      reports: [{ host: 'web01', runId, result: 'done', survivors: [] }],
      silent: [],
    });
    await seen.over();
    expect(seen.events.at(-1)).toMatchObject({ result: { outcome: 'cancelled' } });
    await page.ask('forget', { host: 'web01', runId });
    await expect(page.ask('runInfo', { host: 'web01', runId })).rejects.toMatchObject({ code: 'UNKNOWN' });
  });

  test('what cannot start is an error of its request', async () => {
    await expect(start('/no/such/program')).rejects.toMatchObject({ code: 'REFUSED' });
    await expect(page.ask('run', { targets: 'web01' })).rejects.toMatchObject({ code: 'USAGE' });
    await expect(page.ask('run', { targets: 'web01', argv: ['a\0b'] })).rejects.toThrow(/NUL byte/);
    await expect(page.ask('run', { targets: 'web01', argv: ['true'], options: { window: 2 } })).rejects.toThrow(
      /several hosts/,
    );
  });

  test('output begins at any offsets, and comes only within the credit', async () => {
    const runId = await start('sh', '-c', 'head -c 300000 /dev/zero | tr "\\0" x; printf "0123456789" >&2');
    await (await watch(runId)).over();
    const seen = await page.subscribe('output', { host: 'web01', runId, from: { stdout: 100_000, stderr: 4 } }, true);
    expect(seen.opened).toMatchObject({ from: { stdout: 100_000, stderr: 4 }, have: { stdout: 300_000, stderr: 10 } });
    seen.credit(1000);
    await until(() => seen.received === 1000, 'as many bytes as there is credit');
    // The rest waits for credit; then all of it comes.
    seen.credit(CREDIT);
    await seen.over();
    expect(seen.text().length).toBe(200_000);
    expect(seen.text('stderr')).toBe('456789');
    const tail = await page.subscribe('output', { host: 'web01', runId, from: { tail: 5 }, credit: CREDIT });
    await tail.over();
    expect([tail.text(), tail.text('stderr')]).toEqual(['xxxxx', '56789']);
  });

  test('with exact capture, each piece has its time, and offsets hold', async () => {
    const options = { capture: 'exact' } as const;
    const { runId } = await page.ask('run', {
      targets: 'web01',
      argv: ['sh', '-c', 'echo one; echo two >&2; echo three'],
      options,
    });
    await (await watch(runId)).over();
    const seen = await page.subscribe('output', {
      host: 'web01',
      runId,
      from: { stdout: 2, stderr: 4 },
      credit: CREDIT,
    });
    await seen.over();
    expect([seen.text(), seen.text('stderr')]).toEqual(['e\nthree\n', '']);
    expect(seen.times.every((time) => time !== undefined)).toBe(true);
  });

  test('only the page in control of a run sends input; a watching page may not', async () => {
    const { runId } = await page.ask('run', { targets: 'web01', argv: ['cat'], options: { stdin: 'open' } });
    const seen = await page.subscribe('output', { host: 'web01', runId, credit: CREDIT });
    await expect(page.ask('stdin', { sub: seen.id, text: 'no' })).rejects.toMatchObject({ code: 'NOT_IN_CONTROL' });
    await page.ask('take', { sub: seen.id });
    await page.ask('stdin', { sub: seen.id, text: 'first ' });
    await page.ask('release', { sub: seen.id });
    await expect(page.ask('stdin', { sub: seen.id, text: 'no' })).rejects.toMatchObject({ code: 'NOT_IN_CONTROL' });
    const other = await page.subscribe('output', { host: 'web01', runId, mode: 'control', credit: CREDIT });
    await page.ask('take', { sub: seen.id });
    await other.event((event) => event.event === 'control' && !event.held);
    await page.ask('stdin', { sub: seen.id, base64: Buffer.from('second').toString('base64'), end: true });
    await seen.over();
    await other.over();
    expect([seen.text(), other.text()]).toEqual(['first second', 'first second']);
  });

  test('whole input is given at once, and a signal is reported', async () => {
    const { runId } = await page.ask('run', { targets: 'web01', argv: ['cat'], options: { stdin: { text: 'all' } } });
    const seen = await watch(runId);
    await seen.over();
    expect(seen.text()).toBe('all');
    const sleeps = await start('sleep', '300');
    const ended = await watch(sleeps);
    expect(await page.ask('signal', { host: 'web01', runId: sleeps, signal: 'SIGHUP' })).toMatchObject({
      result: 'done',
    });
    await ended.over();
    expect(ended.events.at(-1)).toMatchObject({ result: { outcome: 'signalled', signal: 'SIGHUP' } });
  });

  test('its output is searched and downloaded whole, each path once', async () => {
    const runId = await start('sh', '-c', 'seq 1 20000; echo needle; seq 1 20000; echo a needle again');
    await (await watch(runId)).over();
    const place = { host: 'web01', runId, stream: 'stdout' } as const;
    const found = await page.ask('search', { ...place, text: 'needle' });
    expect(found.hits.map(({ line }) => line)).toEqual(['needle', 'a needle again']);
    expect(found.next).toBeUndefined();
    const one = await page.ask('search', { ...place, text: 'needle', limit: 1 });
    expect(one.hits).toEqual(found.hits.slice(0, 1));
    expect((await page.ask('search', { ...place, text: 'needle', from: one.next! })).hits).toEqual(found.hits.slice(1));
    const { path, name } = await page.ask('download', place);
    const got = await fetch(`${running.origin}${path}`);
    expect(got.headers.get('content-disposition')).toBe(`attachment; filename="${name}"`);
    const text = await got.text();
    expect(text.slice(-14)).toBe('a needle again\n'.slice(-14));
    expect(text.indexOf('needle')).toBe(found.hits[0]!.offset);
    expect((await fetch(`${running.origin}${path}`)).status).toBe(404);
  });

  test('a stream without a byte is searched and downloaded at once while the run goes on', async () => {
    const runId = await start('sh', '-c', 'echo out; sleep 300');
    const seen = await watch(runId);
    await until(() => seen.text() === 'out\n', 'the output');
    for (const [stream, whole] of [
      ['stderr', ''],
      ['stdout', 'out\n'],
    ] as const) {
      const place = { host: 'web01', runId, stream };
      expect((await page.ask('search', { ...place, text: 'needle' })).hits).toEqual([]);
      const { path } = await page.ask('download', place);
      expect(
        await within(
          fetch(`${running.origin}${path}`).then((got) => got.text()),
          stream,
        ),
      ).toBe(whole);
    }
    await page.ask('kill', { host: 'web01', runId, grace: 0 });
  });

  test('downloads that are not read are limited, and end with their connections', async () => {
    const runId = await start('sh', '-c', 'head -c 20000000 /dev/zero');
    await (await watch(runId)).over();
    const place = { host: 'web01', runId, stream: 'stdout' } as const;
    const leave = new AbortController();
    const paths: string[] = [];
    for (let i = 0; i < 64; i++) paths.push((await page.ask('download', place)).path);
    const unread = paths.map(async (path) => await fetch(`${running.origin}${path}`, { signal: leave.signal }));
    const answers = await within(Promise.all(unread), 'the beginnings of the downloads');
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
    await expect(page.ask('download', place)).rejects.toMatchObject({ code: 'LIMIT' });
    leave.abort();
    await until(async () => await page.ask('download', place).catch(() => undefined), 'room for a download');
  });

  test('many keys leave nothing behind, and an environment may have any name', async () => {
    let warnings = '';
    running.process.stderr!.on('data', (text: Buffer) => (warnings += text.toString()));
    const { runId } = await page.ask('run', {
      targets: 'web01',
      argv: ['sh', '-c', 'echo "$constructor $prototype $__proto__"; exec cat'],
      options: {
        stdin: 'open',
        env: JSON.parse('{"constructor": "1", "prototype": "2", "__proto__": "3"}') as Record<string, string>,
      },
    });
    const seen = await page.subscribe('output', { host: 'web01', runId, mode: 'control', credit: CREDIT });
    for (let i = 0; i < 20; i++) await page.ask('stdin', { sub: seen.id, text: 'k' });
    // Behind the end there is no more: its caller is told, and the console lives.
    const [, ...late] = await Promise.allSettled(
      [{ end: true }, { text: 'late' }, { end: true }].map((more) => page.ask('stdin', { sub: seen.id, ...more })),
    );
    expect(late[0]).toMatchObject({ status: 'rejected' });
    await seen.over();
    expect(seen.text()).toBe(`1 2 3\n${'k'.repeat(20)}`);
    expect(warnings).toBe('');
  });

  test('runs are listed, live and from the history', async () => {
    const { runId } = await page.ask('run', {
      targets: 'web01',
      argv: ['sleep', '300'],
      options: { name: 'listed' },
    });
    const listed = await page.subscribe('runs', { targets: 'web01,local' });
    await listed.event((event) => event.event === 'runs' && event.runs.some((run) => run.runId === runId));
    await listed.event((event) => event.event === 'silent' && event.host === 'local' && event.code === 'UNREACHABLE');
    const { runs } = await page.ask('runs', { targets: 'web01' });
    expect(runs.find((run) => run.runId === runId)).toMatchObject({
      name: 'listed',
      argv: ['sleep', '300'],
      host: 'web01',
    });
    const past = await page.ask('history', { limit: 1 });
    expect(past.runs).toMatchObject([{ runId, name: 'listed', fleet: false, total: 1 }]);
    const { runs: older } = await page.ask('history', { before: past.next! });
    expect(older.map((run) => run.runId)).not.toContain(runId);
    await page.ask('kill', { host: 'web01', runId, grace: 0 });
    await listed.event((event) => event.event === 'runs' && event.runs.every((run) => run.runId !== runId));
  });
});

describe('a terminal', () => {
  test('is opened, typed into, resized, left, watched and taken over', async () => {
    const { runId } = await page.ask('run', {
      targets: 'web01',
      loginShell: true,
      options: { pty: { cols: 80, rows: 24 }, stdin: 'open', env: { PS1: '$ ', HOME: process.env.HOME ?? '/' } },
    });
    const seat = await page.subscribe('terminal', {
      host: 'web01',
      runId,
      mode: 'control',
      credit: CREDIT,
      cols: 100,
      rows: 30,
    });
    expect(seat.opened).toMatchObject({ terminal: true, control: true });
    await page.ask('stdin', { sub: seat.id, text: 'stty size\n' });
    await until(() => seat.text('terminal').includes('30 100'), 'the size');
    await page.ask('resize', { sub: seat.id, cols: 120, rows: 40 });
    await page.ask('stdin', { sub: seat.id, text: 'stty size\n' });
    await until(() => seat.text('terminal').includes('40 120'), 'the new size');
    using second = await running.page();
    const watcher = await second.subscribe('terminal', { host: 'web01', runId, credit: CREDIT });
    await until(() => watcher.text('terminal').includes('40 120'), 'the screen for the one who watches');
    await expect(second.ask('resize', { sub: watcher.id, cols: 1, rows: 1 })).rejects.toMatchObject({
      code: 'NOT_IN_CONTROL',
    });
    await second.ask('take', { sub: watcher.id });
    await seat.event((event) => event.event === 'control' && !event.held);
    seat.unsubscribe();
    await second.ask('stdin', { sub: watcher.id, text: 'exit 7\n' });
    await watcher.over();
    expect(watcher.events.at(-1)).toMatchObject({ result: { outcome: 'failed', code: 7 } });
  });
});

describe('a fleet run', () => {
  test('is followed, grouped, compared, repeated on the failed hosts and forgotten', async () => {
    // One machine has these three names, so the first to come is told from the others by a folder.
    const folder = `${machine.user.home}/first-${newRunId()}`;
    const script = `if mkdir ${folder} 2>/dev/null; then echo other; exit 3; else echo same; fi`;
    const { kind, runId, count } = await page.ask('run', {
      targets: 'web[01-03]',
      script,
      options: { name: 'together' },
    });
    expect([kind, count]).toEqual(['fleet', 3]);
    const seen = await page.subscribe('fleet', { runId });
    await seen.over();
    expect(seen.events.at(-1)).toEqual({ event: 'ended', ok: false, outcomes: { ok: 2, failed: 1 } });
    const past = await page.subscribe('fleet', { runId });
    await past.over();
    const rows = past.events.flatMap((event) => (event.event === 'hosts' ? event.hosts : []));
    expect(rows.map(({ host }) => host)).toEqual(['web01', 'web02', 'web03']);
    for (const row of rows) {
      expect(row).toMatchObject({ begunMs: expect.any(Number), durationMs: expect.any(Number) });
      expect(row.begunMs).toBeLessThanOrEqual(row.sinceMs!);
    }
    const { groups, pending } = await page.ask('groups', { runId });
    const text = (sample: { base64?: string | undefined }) => Buffer.from(sample.base64 ?? '', 'base64').toString();
    expect(groups.map((each) => [each.size, each.outcome, each.code, text(each.stdout)])).toEqual([
      [2, 'ok', 0, 'same\n'],
      [1, 'failed', 3, 'other\n'],
    ]);
    expect(pending).toBe(0);
    const { others } = await page.ask('diff', { runId });
    expect(others[0]!.changes).toEqual([
      {
        stream: 'stdout',
        lines: [
          { kind: 'removed', text: 'same' },
          { kind: 'added', text: 'other' },
          { kind: 'same', text: '' },
        ],
        cut: false,
      },
    ]);
    const repeated = await page.ask('again', { runId });
    expect(repeated).toMatchObject({ count: 1, folded: groups[1]!.hosts });
    const second = await page.subscribe('fleet', { runId: repeated.runId });
    await second.over();
    expect(second.events.at(-1)).toEqual({ event: 'ended', ok: true, outcomes: { ok: 1 } });
    const { runs } = await page.ask('history', {});
    expect(runs.find((run) => run.runId === runId)).toMatchObject({
      fleet: true,
      name: 'together',
      counts: { ok: 2, failed: 1 },
      repeatable: true,
      stage: 'ended',
    });
    expect(await page.ask('forget', { runId })).toEqual({ silent: [] });
    await expect(page.ask('groups', { runId })).rejects.toMatchObject({ code: 'USAGE' });
  });

  test('goes on when the console ends, and the next one follows it to its end', async () => {
    const own = await RunningConsole.start(user);
    const first = await own.page();
    const { runId } = await first.ask('run', { targets: 'web[01-02]', argv: ['sh', '-c', 'echo begun; sleep 300'] });
    const seen = await first.subscribe('fleet', { runId });
    await until(() => {
      const rows = seen.events.flatMap((event) => (event.event === 'hosts' ? event.hosts : []));
      return ['web01', 'web02'].every((host) => rows.some((row) => row.host === host && row.state === 'running'));
    }, 'both hosts to run it');
    await own[Symbol.asyncDispose]();
    const followed = await page.subscribe('fleet', { runId });
    expect(followed.opened).toEqual({ live: true });
    const { reports } = await page.ask('kill', { runId, grace: 0 });
    expect(reports.map(({ host }) => host).sort()).toEqual(['web01', 'web02']);
    await followed.over();
    expect(followed.events.at(-1)).toMatchObject({ event: 'ended', ok: false, outcomes: { cancelled: 2 } });
  });
});

describe('a fleet run that is ended', () => {
  test('begins on no further host while one of its hosts takes its time', async () => {
    const place = `${machine.user.home}/ended-${newRunId()}`;
    // The first to come ends at once; the second one not before it may.
    const second = `trap '' TERM; echo begun >> ${place}/log; until test -e ${place}/go; do sleep 0.1; done`;
    const script = `mkdir -p ${place}; if mkdir ${place}/first; then echo begun >> ${place}/log; exec sleep 300; fi; ${second}`;
    const { runId } = await page.ask('run', { targets: 'web[01-03]', script, options: { window: 2 } });
    const seen = await page.subscribe('fleet', { runId });
    const begun = () => readFileSync(`${place}/log`, 'utf8').split('\n').length - 1;
    await until(() => existsSync(`${place}/log`) && begun() === 2, 'both hosts to run it');
    const kill = page.ask('kill', { runId, grace: '1h' });
    await seen.event((event) => event.event === 'hosts' && event.hosts.some(({ state }) => state === 'cancelled'));
    machine.user.bash(`: > ${place}/go`);
    await kill;
    await seen.over();
    expect(begun()).toBe(2);
    expect(seen.events.at(-1)).toMatchObject({ outcomes: { cancelled: 2, neverStarted: 1 } });
  });
});

test('a console ends though a command of its fleet run still waits for its turn on a host', async () => {
  await using full = await Machine.start('--limit', 'running=1');
  using caller = full.pairedUser('web01', 'web02');
  const own = await RunningConsole.start(caller);
  using asking = await own.page();
  const { runId } = await asking.ask('run', { targets: 'web[01-02]', argv: ['sleep', '300'] });
  const seen = await asking.subscribe('fleet', { runId });
  const isIn = (state: string) =>
    seen.events.some((event) => event.event === 'hosts' && event.hosts.some((row) => row.state === state));
  await until(() => isIn('running') && isIn('queued'), 'one to run and one to wait');
  own.process.kill('SIGTERM');
  const [code] = (await within(once(own.process, 'exit'), 'the console to end')) as [number | null];
  expect(code).toBe(0);
});

describe('policy and log', () => {
  test('without rules there are none, and only owners may ask what a rule decides', async () => {
    expect(await page.ask('policy', {})).toMatchObject({ rules: [], problems: [], findings: [] });
    const verdict = await page.ask('policyTest', { host: 'web01', user: 'alice', verb: 'exec', argv: ['/bin/true'] });
    expect(verdict).toMatchObject({ host: 'web01', decision: 'deny' });
  });

  test('the log is read, followed and verified', async () => {
    const follow = await page.subscribe('audit', { host: 'web01', last: 0 });
    const runId = await start('true');
    // Its permission is in the log before.
    const isStart = ({ run, kind }: { run?: unknown; kind: string }) => run === runId && kind === 'start';
    await follow.event((event) => event.event === 'records' && event.records.some(isStart));
    follow.unsubscribe();
    const { records } = await page.ask('audit', { host: 'web01', run: runId });
    expect(records.map(({ kind }) => kind)).toContain('start');
    expect(await page.ask('auditVerify', { host: 'web01' })).toMatchObject({ ok: true, problems: [] });
  });
});

test('the agent is gone in the middle and back: the loss is told, and no byte is missing or repeated', async () => {
  const gate = `${machine.user.home}/gate`;
  const runId = await start('sh', '-c', `echo before; until test -e ${gate}; do sleep 0.1; done; seq 1 50000`);
  const seen = await watch(runId);
  await until(() => seen.text() === 'before\n', 'the first line');
  const port = new URL(machine.url).port;
  await machine.killAgent();
  await seen.event((event) => event.event === 'lost');
  await machine.startAgent('--listen', `tls://127.0.0.1:${port}`);
  machine.user.bash(`: > ${gate}`);
  await seen.over();
  expect(seen.events.map(({ event }) => event)).toEqual(expect.arrayContaining(['lost', 'resumed', 'result']));
  const lines = Array.from({ length: 50_000 }, (_, i) => `${i + 1}\n`).join('');
  expect(seen.text()).toBe(`before\n${lines}`);
});

test('a page that reconnects goes on at its offsets', async () => {
  const runId = await start('sh', '-c', 'seq 1 100000');
  const first = await running.page();
  const seen = await first.subscribe('output', { host: 'web01', runId, credit: 100_000 }, true);
  await until(() => seen.received > 0, 'some output');
  first[Symbol.dispose]();
  const begun = seen.text();
  const next = { stdout: seen.next.stdout!, stderr: 0 };
  const rest = await page.subscribe('output', { host: 'web01', runId, from: next, credit: CREDIT });
  await rest.over();
  expect(begun + rest.text()).toBe(Array.from({ length: 100_000 }, (_, i) => `${i + 1}\n`).join(''));
});

test('output that comes together with the answer to a subscription is passed on', async () => {
  for (let i = 0; i < 20; i++) {
    const runId = await start('sh', '-c', 'echo out; echo err >&2; sleep 300');
    const seen = await watch(runId);
    await until(() => seen.text() === 'out\n' && seen.text('stderr') === 'err\n', 'both streams');
    seen.unsubscribe();
    await page.ask('kill', { host: 'web01', runId, grace: 0 });
  }
});

test('it holds no more than 90 MB after 500 MB of output', async () => {
  await using own = await RunningConsole.start(user);
  using viewer = await own.page();
  const argv = ['sh', '-c', 'head -c 500000000 /dev/zero'];
  const { runId } = await viewer.ask('run', { targets: 'web01', argv });
  const seen = await viewer.subscribe('output', { host: 'web01', runId, credit: CREDIT });
  seen.keeps = false;
  await seen.over();
  const gaps = seen.events.reduce((sum, event) => sum + (event.event === 'gap' ? event.to - event.from : 0), 0);
  expect(seen.received + gaps).toBe(500_000_000);
  const status = readFileSync(`/proc/${own.process.pid}/status`, 'utf8');
  const peak = Number(/^VmHWM:\s+(\d+) kB/m.exec(status)?.[1]);
  expect(peak).toBeLessThan(90 * 1024);
});
