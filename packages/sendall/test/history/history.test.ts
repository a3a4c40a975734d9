/** The history of real runs on seven names of one machine, and what becomes of it with time and on a bad disk. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  appendFileSync,
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import {
  fleet,
  openAgent,
  resolveHome,
  type Agent,
  type ConnectOptions,
  type FleetRunOptions,
  type Home,
} from 'sendall';
import { History, type HistoryOptions } from '../../dist/fleet/history/history.js';
import { noteRun } from '../../dist/fleet/history/note.js';
import { selectHosts } from '../../dist/fleet/history/selection.js';
import { removeHome } from '../remove-home.js';

const DAY = 24 * 60 * 60 * 1000;
const names = Array.from({ length: 7 }, (_, i) => `a${i + 1}`);
let host: Home;
let agent: Agent;
let options: ConnectOptions;
/** The caller's home: a new one for each test. */
let home: Home;

beforeAll(async () => {
  host = resolveHome({ SENDALL_HOME: mkdtempSync(join(tmpdir(), 'sendall-history-')) });
  agent = await openAgent({ home: host, keeperIdleExit: 200 });
  const hosts = names.map((name) => ({ name, url: `unix:${host.agentSocket}` }));
  const get = (name: string) => hosts.find(({ name: each }) => each === name);
  options = { home: host, inventory: { list: () => hosts, get, at: () => undefined } };
});
afterAll(async () => {
  await agent.close();
  await removeHome(host.config);
});
beforeEach(() => (home = resolveHome({ SENDALL_HOME: join(mkdtempSync(join(tmpdir(), 'sendall-caller-')), 'home') })));
afterEach(() => rmSync(join(home.state, '..'), { recursive: true, force: true }));

const fleetFolder = (): string => join(home.state, 'fleet');
const blobs = (): string[] =>
  existsSync(join(fleetFolder(), 'blobs')) ? readdirSync(join(fleetFolder(), 'blobs')) : [];
const ignore = { failed: () => undefined };

interface Recorded extends FleetRunOptions {
  keepOutput?: number;
  failed?: (error: Error) => void;
  /** How the run is read. */
  as?: 'events' | 'results';
}

/** Runs shell text on hosts and records it. */
async function record(hosts: readonly string[], text: string, more: Recorded = {}, of: HistoryOptions = {}) {
  const { keepOutput, failed = () => undefined, as = 'events', ...runOptions } = more;
  const run = fleet(hosts, options).sh(text, runOptions);
  const recording = new History(home, of).begin(
    { runId: run.runId, hosts, idOn: (name) => run.idOn(name), name: more.name, program: 'sh', words: 2 },
    { keepOutput, failed },
  );
  if (as === 'events') for await (const _ of recording.watch(run)) void _;
  else for await (const _ of recording.watch(run.results())) void _;
  await recording.close(run.notStarted);
  // Not the run itself, which is awaited for its results.
  return { run };
}

const only = (of: HistoryOptions = {}) => new History(home, of).runs().runs[0]!;

describe('a run on many hosts', () => {
  test('is known by its hosts, program and name before anything starts', async () => {
    const run = fleet(names, options).run(['touch', 'secret']);
    const recording = new History(home).begin(
      { runId: run.runId, hosts: names, idOn: (name) => run.idOn(name), name: 'early', program: 'touch', words: 1 },
      ignore,
    );
    const found = new History(home).find('early')!;
    expect(found.run).toMatchObject({ runId: run.runId, set: { program: 'touch', words: 1 }, stage: 'running' });
    expect(found.hosts).toEqual(names);
    expect(new Set(found.run.states.values())).toEqual(new Set(['waiting']));
    expect(found.places).toEqual([]);
    expect(run.progress.started).toBe(0);
    // It would note the dials of all later runs.
    await recording.close(names);
  });

  test('is recorded with the state, the result and the output of each host', async () => {
    const text = 'echo out; printf "%0300d" 7 >&2; printf "\\377"; exit 3';
    const { run } = await record(names, text, { name: 'whole' });
    const past = only();
    expect(past).toMatchObject({ runId: run.runId, name: 'whole', stage: 'ended', damaged: 0 });
    for (const name of names) {
      expect(past.states.get(name)).toBe('failed');
      expect(past.outputOn(name, 'stdout')).toEqual(Buffer.from('out\n\xff', 'latin1'));
      expect(past.outputOn(name, 'stderr')?.toString()).toBe('7'.padStart(300, '0'));
      expect(past.resultOn(name)).toMatchObject({
        ok: false,
        outcome: 'failed',
        code: 3,
        host: name,
        runId: run.idOn(name),
        finals: { stdout: 5, stderr: 300 },
      });
    }
    // Equal output is stored once, and short output not at all.
    expect(blobs()).toHaveLength(1);
  });

  test('has other ids on other names of a machine, each of which finds it there', async () => {
    const { run } = await record(['a1', 'a2'], 'true');
    const other = run.idOn('a2');
    expect(other).not.toBe(run.runId);
    expect(new History(home).find(other)).toMatchObject({ hosts: ['a2'], places: [{ host: 'a2', runId: other }] });
    expect(new History(home).find(run.runId.slice(0, 20))?.places).toHaveLength(2);
    expect(new History(home).find('nothing of that name')).toBeUndefined();
  });

  test.each([
    ['events', 12],
    ['events', 3000],
    ['results', 12],
    ['results', 3000],
  ] as const)(
    'whose equal output is received once, read as %s of %i bytes, is known on each host',
    async (as, bytes) => {
      await record(names, `head -c ${bytes} /dev/zero; echo err >&2`, { gather: true, as });
      for (const name of names) {
        expect(only().outputOn(name, 'stdout')).toEqual(Buffer.alloc(bytes));
        expect(only().outputOn(name, 'stderr')?.toString()).toBe('err\n');
      }
      expect(names.filter((name) => only().resultOn(name)!.stdoutFrom === undefined).length).toBeGreaterThanOrEqual(1);
      expect(blobs()).toHaveLength(bytes > 256 ? 1 : 0);
    },
  );

  test('keeps digests beyond its limit of output, so that equal output is still known as equal', async () => {
    await record(names, 'head -c 5000 /dev/zero', { keepOutput: 100 });
    const past = only();
    expect(blobs()).toEqual([]);
    expect(past.outputOn('a1', 'stdout')).toBeUndefined();
    expect(past.isKept('a1')).toBe(false);
    expect(new Set(names.map((name) => past.answerOn(name))).size).toBe(1);
    await record(names, 'head -c 5000 /dev/zero; echo $$', { keepOutput: 0 });
    expect(new Set(names.map((name) => only().answerOn(name))).size).toBe(names.length);
  });

  test('that is stopped says which hosts were never tried', async () => {
    await record(names, 'exit 1', { window: 1, maxFail: 1 });
    expect([...only().states.values()]).toEqual(['failed', 'failed', ...names.slice(2).map(() => 'neverStarted')]);
    expect(only().places.map(({ host: name }) => name)).toEqual(['a1', 'a2']);
  });

  test('that was left goes on, and its ends are recorded by the next who joins it', async () => {
    const gate = join(host.state, 'gate');
    const text = `echo begun; until test -e ${gate}; do sleep 0.1; done; echo done; exit 4`;
    const run = fleet(names.slice(0, 3), options).sh(text);
    const history = new History(home);
    const recording = history.begin(
      { runId: run.runId, hosts: names.slice(0, 3), idOn: (name) => run.idOn(name), program: 'sh', words: 2 },
      ignore,
    );
    for await (const _ of recording.watch(run.launch())) void _;
    await recording.close(run.notStarted);
    expect(only().stage).toBe('left');
    expect([...only().states.values()]).toEqual(['running', 'running', 'running']);
    const past = only();
    const joined = fleet(names.slice(0, 3), options).attach(
      past.places.map(({ host: target, runId }) => ({ target, runId })),
      { mode: 'observe', reject: false },
    );
    const later = history.join(past, ignore);
    writeFileSync(gate, '');
    for await (const _ of later.watch(joined.results())) void _;
    await later.close();
    expect(only().stage).toBe('ended');
    expect([...only().states.values()]).toEqual(['failed', 'failed', 'failed']);
    expect(only().outputOn('a2', 'stdout')?.toString()).toBe('begun\ndone\n');
  });

  test('never holds the arguments, the shell text, the environment or the input', async () => {
    await record(names, ': top-secret-text; cat >/dev/null', {
      env: { TOKEN: 'top-secret-env' },
      stdin: 'top-secret-in',
    });
    for (const name of readdirSync(fleetFolder()).filter((each) => each.endsWith('.jsonl')))
      expect(readFileSync(join(fleetFolder(), name), 'utf8')).not.toContain('top-secret');
  });

  test('lies in private folders and files', async () => {
    await record(names, 'head -c 1000 /dev/zero');
    const modes = new Map<string, number>();
    for (const path of [
      fleetFolder(),
      ...readdirSync(fleetFolder(), { recursive: true, encoding: 'utf8' }).map((each) => join(fleetFolder(), each)),
    ])
      modes.set(path, lstatSync(path).mode & 0o777);
    for (const [path, mode] of modes)
      expect([path, mode]).toEqual([path, lstatSync(path).isDirectory() ? 0o700 : 0o600]);
    expect(modes.size).toBeGreaterThanOrEqual(5);
  });
});

describe('hosts are chosen', () => {
  test('by what became of a run on them', async () => {
    // The second, the fourth and the rest fail in different ways, by the number of those that came before.
    const count = join(host.state, 'count');
    const text = `n=$(ls ${count} | wc -l); : > ${count}/$n; [ $n = 1 ] && { echo other; exit 0; }; [ $n = 3 ] && exit 9; echo same`;
    mkdirSync(count);
    await record(names, text, { window: 1, name: 'mixed' });
    rmSync(count, { recursive: true });
    const history = new History(home);
    expect([...selectHosts('failed:mixed', history)]).toEqual(['a4']);
    expect([...selectHosts('changed:mixed', history)].toSorted()).toEqual(['a2', 'a4']);
    expect([...selectHosts('ok:mixed', history)]).toEqual(names.filter((name) => name !== 'a4'));
    expect([...selectHosts('lost:mixed', history)]).toEqual([]);
  });

  test('as lost when the caller was killed before it saw their end', () => {
    // A caller that ends without closing its recording.
    const script = `
      import { History } from ${JSON.stringify(new URL('../../dist/fleet/history/history.js', import.meta.url).href)};
      import { channel } from 'node:diagnostics_channel';
      const history = new History({ state: ${JSON.stringify(home.state)} });
      const runId = '0192f0c1-7d3a-7cc1-98ab-001122334455';
      history.begin({ runId, hosts: ['a1', 'a2', 'a3'], idOn: () => runId, name: 'killed', program: 'x', words: 0 }, { failed: console.error });
      channel('sendall:dial').publish({ host: 'a2', state: 'dialling' });
      process.kill(process.pid, 'SIGKILL');`;
    expect(spawnSync(process.execPath, ['--input-type=module', '-e', script]).signal).toBe('SIGKILL');
    const history = new History(home);
    expect(history.find('killed')!.run.stage).toBe('lost');
    expect([...selectHosts('lost:killed', history)]).toEqual(['a2']);
    expect([...selectHosts('neverStarted:killed', history)]).toEqual(['a1', 'a3']);
    expect(history.find('killed')!.places.map(({ host: name }) => name)).toEqual(['a2']);
  });

  test.each(['failed', 'failed:', ':x', 'broken:x', 'failed:nothing'])('not by %j', (text) => {
    expect(() => selectHosts(text, new History(home))).toThrow(/selection such as|there is no run/);
  });
});

describe('the history is swept when a run begins', () => {
  const at = (ms: number): HistoryOptions => ({ now: () => ms, every: 0 });

  test('runs of more than thirty days ago are gone, with the output that no later run has', async () => {
    const now = Date.now();
    await record(names, 'head -c 1000 /dev/zero; head -c 2000 /dev/zero >&2', { name: 'old' }, at(now - 40 * DAY));
    age(40 * DAY);
    await record(names, 'head -c 1000 /dev/zero', { name: 'yesterday' }, at(now - DAY));
    expect(blobs()).toHaveLength(1);
    age(DAY);
    await record(names, 'true', { name: 'today' }, at(now));
    const history = new History(home);
    expect(history.runs().runs.map(({ name }) => name)).toEqual(['today', 'yesterday']);
    expect(history.find('yesterday')!.run.outputOn('a7', 'stdout')).toHaveLength(1000);
    expect(history.find('old')).toBeUndefined();
  });

  /** As if the files that are there had been written so long ago. */
  function age(ms: number): void {
    for (const name of readdirSync(fleetFolder()).filter((each) => /^[0-9a-f-]{36}\.jsonl$/.test(each))) {
      const path = join(fleetFolder(), name);
      const seconds = (Date.now() - ms) / 1000;
      if (lstatSync(path).mtimeMs > Date.now() - DAY / 2) utimesSync(path, seconds, seconds);
    }
  }

  test('when it is too large, the oldest goes first', async () => {
    const now = Date.now();
    for (const [days, bytes] of [
      [3, 100_000],
      [2, 90_000],
      [1, 80_000],
    ] as const) {
      await record(
        names,
        `head -c ${bytes} /dev/zero`,
        { name: `${days} days` },
        { ...at(now - days * DAY), maxBytes: 1e9 },
      );
      age(days * DAY);
    }
    await record(names, 'true', {}, { ...at(now), maxBytes: 185_000 });
    const history = new History(home);
    expect(history.find('1 days')!.run.isKept('a1')).toBe(true);
    expect(history.find('2 days')!.run.isKept('a1')).toBe(true);
    expect(history.find('3 days')).toBeUndefined();
    expect(blobs()).toHaveLength(2);
  });

  test('the newest runs on one host stay, and none on many hosts is pushed out by them', async () => {
    await record(names, 'true', { name: 'set' }, at(Date.now()));
    for (let i = 0; i < 50; i++) noteRun(home, { runId: idOf(i), host: 'a1', name: `single ${i}` });
    await record(names, 'true', { name: 'next' }, { ...at(Date.now()), maxSingles: 10 });
    const kept = new History(home).runs().runs.map(({ name }) => name);
    expect(kept).toEqual(['next', ...Array.from({ length: 10 }, (_, i) => `single ${49 - i}`), 'set']);
  });

  test('only files with names of its own are removed', async () => {
    const old = new Date(Date.now() - 400 * DAY);
    await record(names, 'head -c 1000 /dev/zero');
    const [blob] = blobs();
    const foreign = ['notes.txt', 'blobs/notes.txt', `blobs/${blob}.bak`, '0192.jsonl', 'index.jsonl.bak'];
    for (const name of foreign) writeFileSync(join(fleetFolder(), name), 'mine');
    mkdirSync(join(fleetFolder(), `${idOf(1)}.jsonl`));
    symlinkSync('/etc/hostname', join(fleetFolder(), 'blobs', '0'.repeat(64)));
    for (const name of [...foreign, `blobs/${blob}`]) utimesSync(join(fleetFolder(), name), old, old);
    const beside = `index.jsonl.${process.pid}.0123456789ab`;
    writeFileSync(join(fleetFolder(), beside), 'left by a killed process');
    utimesSync(join(fleetFolder(), beside), old, old);
    await record(names, 'true', {}, at(Date.now()));
    for (const name of foreign) expect(readFileSync(join(fleetFolder(), name), 'utf8')).toBe('mine');
    expect(lstatSync(join(fleetFolder(), `${idOf(1)}.jsonl`)).isDirectory()).toBe(true);
    expect(blobs()).toContain('0'.repeat(64));
    expect(blobs()).not.toContain(blob);
    expect(existsSync(join(fleetFolder(), beside))).toBe(false);
  });
});

/** A run id from a number. */
const idOf = (number: number): string => `0192f0c1-7d3a-7cc1-98ab-${String(number).padStart(12, '0')}`;

test('a run that is forgotten leaves its place, and neither results nor output that no other run has', async () => {
  await record(names, 'head -c 1000 /dev/zero; head -c 2000 /dev/zero >&2', { name: 'one' });
  await record(names, 'head -c 1000 /dev/zero', { name: 'two' });
  const history = new History(home);
  history.forget(history.find('one')!.run);
  expect(history.find('one')!.run).toMatchObject({ forgotten: true, set: undefined });
  expect(history.find('one')!.places).toHaveLength(names.length);
  expect(history.find('one')!.run.resultOn('a1')).toBeUndefined();
  expect(history.find('two')!.run.isKept('a1')).toBe(true);
  expect(blobs()).toHaveLength(1);
  expect(() => selectHosts('failed:one', history)).toThrow('there is no run "one"');
});

test('output that another run stores again while a run is forgotten stays', async () => {
  const text = 'head -c 1000 /dev/zero';
  await record(names, text, { name: 'one' });
  // The files of all runs are looked at. At this one it has to wait.
  const gate = join(fleetFolder(), `${idOf(1)}.jsonl`);
  spawnSync('mkfifo', [gate]);
  const module = new URL('../../dist/fleet/history/history.js', import.meta.url).href;
  const script = `import { History } from ${JSON.stringify(module)};
    const history = new History(${JSON.stringify(home)});
    history.forget(history.find('one').run);`;
  const forgetting = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: 'inherit' });
  const ended = once(forgetting, 'exit');
  const looked = await Promise.race([open(gate, 'w'), ended.then(([code]) => Promise.reject(new Error(`${code}`)))]);
  await record(names, text, { name: 'two' });
  await looked.close();
  expect(await ended).toEqual([0, null]);
  expect(new History(home).find('one')!.run.forgotten).toBe(true);
  expect(new History(home).find('two')!.run.isKept('a1')).toBe(true);
});

describe('a damaged history', () => {
  test('skips the lines that are damaged and counts them', async () => {
    await record(names, 'echo out', { name: 'sound' });
    const { runId } = only();
    for (const line of ['nonsense', '{"run":1}', '[]', '{"run":"x","at":1,"hosts":[]}', 'null'])
      appendFileSync(join(fleetFolder(), 'index.jsonl'), `\n${line}`);
    // Two kinds at once, and sound as one of them.
    appendFileSync(join(fleetFolder(), 'index.jsonl'), `\n{"run":"${runId}","at":1,"closed":"ended","hosts":"ok"}`);
    for (const line of ['{"host":7}', '{"host":"a1","run":"x"}', '{"host":"a1","turn":"now"}'])
      appendFileSync(join(fleetFolder(), `${runId}.jsonl`), `\n${line}`);
    appendFileSync(join(fleetFolder(), 'index.jsonl'), '\n{"run":"0192f0c1');
    const history = new History(home);
    expect(history.runs()).toMatchObject({ damaged: 6 });
    expect(history.find('sound')!.run.damaged).toBe(3);
    expect(history.find('sound')!.run.outputOn('a1', 'stdout')?.toString()).toBe('out\n');
  });

  test('of any records whatever can be read', () => {
    const run = idOf(7);
    const value = fc.oneof(
      fc.jsonValue(),
      fc.constantFrom('ok', ['constructor'], 'web[1-3]', 'a[1-', 'x[0-99999999]', 'ended', 7, run),
    );
    const fields = 'run at hosts ids name set closed neverStarted outcomes forgotten host turn outcome stdout gaps';
    const field = fc.constantFrom(...fields.split(' '));
    const begun = {
      run,
      at: 1,
      hosts: ['a1'],
      set: { program: 'x', words: 0, caller: { pid: 1, ticks: '', place: '' } },
    };
    const end = { host: 'a1', run, at: 1, outcome: 'ok', openedMs: 1, durationMs: 1, stdout: { bytes: 1, text: 'x' } };
    const spoiled = (record: object) =>
      fc.dictionary(field, value, { maxKeys: 3 }).map((more) => ({ ...record, ...more }));
    mkdirSync(fleetFolder(), { recursive: true, mode: 0o700 });
    const lines = (records: readonly object[]) => records.map((record) => `\n${JSON.stringify(record)}`).join('');
    fc.assert(
      fc.property(fc.array(spoiled(begun)), fc.array(spoiled(end)), (index, ends) => {
        writeFileSync(join(fleetFolder(), 'index.jsonl'), lines([begun, ...index]));
        writeFileSync(join(fleetFolder(), `${run}.jsonl`), lines(ends));
        const history = new History(home);
        for (const past of history.runs().runs) {
          expect([...past.counts.values()].reduce((sum, hosts) => sum + hosts, 0)).toBe(past.hosts.length);
          for (const name of past.hosts) expect(past.idOn(name)).toMatch(/^[0-9a-f-]{36}$/);
          for (const name of past.hosts) void [past.resultOn(name)?.stdout, past.isKept(name), past.answerOn(name)];
          expect(past.places.length).toBeLessThanOrEqual(past.hosts.length);
        }
        expect(history.find(run)?.run.runId).toBe(run);
      }),
    );
  });

  test('without its file of hosts says that their ends are not known', async () => {
    await record(names, 'true', { name: 'torn' });
    rmSync(join(fleetFolder(), `${only().runId}.jsonl`));
    expect(new Set(only().states.values())).toEqual(new Set(['lost']));
    expect(only().places).toHaveLength(names.length);
  });

  test('does not take changed output for the output', async () => {
    await record(names, 'head -c 1000 /dev/zero');
    const blob = join(fleetFolder(), 'blobs', blobs()[0]!);
    writeFileSync(blob, Buffer.alloc(1000, 1));
    expect(only().outputOn('a1', 'stdout')).toBeUndefined();
    // The next run that has it stores it again.
    writeFileSync(blob, Buffer.alloc(999));
    await record(names, 'head -c 1000 /dev/zero');
    expect(only().outputOn('a1', 'stdout')).toEqual(Buffer.alloc(1000));
    rmSync(blob);
    symlinkSync('/dev/zero', blob);
    expect(only().outputOn('a1', 'stdout')).toBeUndefined();
  });

  test.each([
    ['open to others', () => chmodSync(fleetFolder(), 0o755), 'chmod 700'],
    [
      'a link',
      () => (rmSync(fleetFolder(), { recursive: true }), symlinkSync('/tmp', fleetFolder())),
      'is not a folder',
    ],
    ['a file', () => (rmSync(fleetFolder(), { recursive: true }), writeFileSync(fleetFolder(), '')), 'is not a folder'],
  ])('in a folder that is %s is not written, and the run goes on', async (_what, spoil, message) => {
    await record(['a1'], 'true');
    spoil();
    const failures: string[] = [];
    const { run } = await record(names, 'echo still here', { failed: ({ message: why }) => failures.push(why) });
    expect(run.progress.ok).toBe(names.length);
    expect(failures).toEqual([expect.stringContaining(message)]);
    noteRun(home, { runId: idOf(1), host: 'a1' });
  });
});

test('the list of runs from before there was a history is removed', () => {
  mkdirSync(home.state, { recursive: true });
  writeFileSync(join(home.state, 'started.jsonl'), '{}\n');
  noteRun(home, { runId: idOf(1), host: 'a1', name: 'first' });
  expect(existsSync(join(home.state, 'started.jsonl'))).toBe(false);
  expect(new History(home).find('first')?.places).toEqual([{ host: 'a1', runId: idOf(1) }]);
});
