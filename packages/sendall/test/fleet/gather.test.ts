/** Gathered fleet runs: each output is received once, and the hosts with equal digests share it. */
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, rmSync, statSync, writeFileSync, writeSync } from 'node:fs';
import { connect as dial, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream';
import { decodeStream, encodeStream, lengthPrefixed } from '@sendall/framing';
import {
  fleet,
  openAgent,
  resolveHome,
  testHosts,
  type FleetRunOptions,
  type Group,
  type HostEvent,
  type Result,
  type TestFleet,
  type TestHostsOptions,
} from 'sendall';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { spoolFolder } from '../../dist/keeper/door/door.js';
import { decode, encode } from '../../dist/protocol/codec.js';
import { MAX_FRAME } from '../../dist/protocol/messages.js';
import { parseRunId } from '../../dist/protocol/run-id.js';
import { until, within } from '../../../../test/support/waits.js';
import { fleetOf, sha256 } from '../exact/support.js';
import { removeHome } from '../remove-home.js';

const KB = 1000;
const MB = 1000 * KB;
/** No pings among the bytes that are counted. */
const QUIET: TestHostsOptions = { pingDeadline: '1h' };
/** Prints `size` letters, the same on each host. */
const letters = (size: number): string => `head -c ${size} /dev/zero | tr '\\0' x`;

/** Bytes that hosts send during `act`. */
async function sent(hosts: TestFleet, act: () => PromiseLike<unknown>): Promise<number> {
  const before = hosts.traffic.toCallers;
  await act();
  return hosts.traffic.toCallers - before;
}

/** What makes a group, without the names of its hosts; sorted. */
const shapes = (
  groups: Iterable<Pick<Group, 'outcome' | 'code' | 'signal' | 'stdout' | 'stderr'> & { size: number }>,
) =>
  [...groups]
    .map(({ size, outcome, code, signal, stdout, stderr }) =>
      [size, outcome, code, signal, stdout.toString('latin1'), stderr.toString('latin1')].join('|'),
    )
    .toSorted();

/** Groups the results of hosts that each sent all of their output. */
function grouped(results: readonly Result[]) {
  const groups = new Map<string, Pick<Group, 'outcome' | 'code' | 'signal' | 'stdout' | 'stderr'> & { size: number }>();
  for (const { outcome, code, signal, raw } of results) {
    const key = JSON.stringify([outcome, code, signal, sha256(raw.stdout), sha256(raw.stderr)]);
    const group = groups.get(key);
    if (group) group.size++;
    else groups.set(key, { size: 1, outcome, code, signal, ...raw });
  }
  return groups.values();
}

/** Shell text that gives each of several commands another number in `$i`, from 1. */
function ticket(): string {
  const folder = mkdtempSync(join(tmpdir(), 'sendall-ticket-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return `i=1; while ! mkdir ${folder}/$i 2> /dev/null; do i=$(( i + 1 )); done; `;
}

/** A folder in which commands wait until the test lets a host's command go on. */
function gates() {
  const folder = mkdtempSync(join(tmpdir(), 'sendall-gather-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return {
    wait: `while [ ! -e ${folder}/$$ ]; do sleep 0.01; done`,
    open: (pid: number) => writeFileSync(join(folder, String(pid)), ''),
  };
}

/** The file of a stdout below 16 MiB. */
const FIRST_SEGMENT = '1.0000000000000000';

/** Overwrites a byte of a file. */
function change(file: string, at: number): void {
  const descriptor = openSync(file, 'r+');
  writeSync(descriptor, 'y', at);
  closeSync(descriptor);
}

/** Reads a run's events in the background; knows the hosts' processes and results. */
function watch(events: AsyncIterable<HostEvent>) {
  const pids = new Map<string, number>();
  const results = new Map<string, Result>();
  const seen: HostEvent[] = [];
  const over = (async () => {
    for await (const event of events) {
      seen.push(event);
      if (event.event === 'started') pids.set(event.host, event.pid);
      if (event.event === 'result') results.set(event.host, event.result);
    }
  })();
  return { pids, results, seen, over: within(over, 'the end of the run') };
}

/** Calls back in each turn of the event loop until the condition is met: work in memory is finer than any timer. */
async function untilTurn(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}

describe('bytes on the wire', () => {
  test('equal answers of 200 hosts cost one answer and some 350 bytes a host', async () => {
    const hosts = await fleetOf(200, QUIET);
    const silent = await sent(hosts, () => hosts.fleet.run(['true']));
    let groups: Group[] = [];
    const gathered = await sent(hosts, async () => {
      groups = await hosts.fleet.sh(letters(10 * KB)).gather();
    });
    expect(groups.map((group) => [group.hosts.toString(), group.outcome])).toEqual([['test-[1-200]', 'ok']]);
    expect(groups[0]!.stdout.toString()).toBe('x'.repeat(10 * KB));
    // 256 bytes and their header, two digests, and a little more of each offset.
    // On a busy machine, a second and a third host send it too.
    expect(gathered - silent).toBeLessThan(3 * 10 * KB + 200 * 380);
  });

  test('short answers come at once, and hosts are asked for nothing more', async () => {
    const hosts = await fleetOf(20, QUIET);
    const asked = hosts.traffic.toHosts;
    await hosts.fleet.run(['echo', 'ok']);
    const plainly = hosts.traffic.toHosts - asked;
    const { results } = await hosts.fleet.run(['echo', 'ok'], { gather: true });
    const gathered = hosts.traffic.toHosts - asked - plainly;
    expect(results.map(({ stdout, stdoutFrom }) => [stdout, stdoutFrom])).toEqual(
      Array.from({ length: 20 }, () => ['ok\n', undefined]),
    );
    // The wish for digests and for BLOCKED, in OPEN.
    expect(gathered - plainly).toBeLessThan(20 * 10);
  });

  test('40 equal outputs of 4 MB are received once and held once', async () => {
    const hosts = await fleetOf(40, QUIET);
    let results: readonly Result[] = [];
    const gathered = await sent(hosts, async () => {
      ({ results } = await hosts.fleet.sh(`${letters(4 * MB)}; echo done >&2`, { gather: true }));
    });
    // On a machine that is slow enough, a second and a third host send it too.
    expect(gathered).toBeLessThan(4 * 4 * MB);
    expect(results.every(({ ok, raw, stderr }) => ok && raw.stdout.length === 4 * MB && stderr === 'done\n')).toBe(
      true,
    );
    expect(new Set(results.map(({ raw }) => raw.stdout)).size).toBe(1);
    const sample = results.filter(({ stdoutFrom }) => stdoutFrom === undefined);
    expect(sample).toHaveLength(1);
    const digest = sha256(Buffer.alloc(4 * MB, 'x'));
    for (const result of results) {
      if (result !== sample[0]) expect(result.stdoutFrom).toBe(sample[0]!.host);
      expect([result.sha256.stdout, result.stderrFrom]).toEqual([digest, undefined]);
      // Decoded once: a second text of 4 MB would not be the same string in memory, but its results would be equal.
      expect(result.stdout.length).toBe(4 * MB);
    }
  });

  test('outputs that all differ come whole, each from its host', async () => {
    const hosts = await fleetOf(5);
    const { results } = await hosts.fleet.sh(`echo $$; ${letters(2 * MB)}`, { gather: true });
    expect(results.every(({ ok, stdoutFrom }) => ok && stdoutFrom === undefined)).toBe(true);
    expect(new Set(results.map(({ raw }) => sha256(raw.stdout))).size).toBe(5);
  });
});

describe('the groups are those of whole outputs', () => {
  let hosts: TestFleet;
  beforeAll(async () => {
    hosts = await testHosts(6);
  });
  afterAll(() => hosts.close());

  const scripts: [what: string, script: string, options: FleetRunOptions][] = [
    ['equal stdout, different codes', `${letters(5 * KB)}; exit $(( i % 2 ))`, {}],
    ['equal stdout, different stderr', `${letters(5 * KB)}; ${letters(5 * KB)} >&2; echo $(( i % 2 )) >&2`, {}],
    ['different only after the first bytes', `${letters(5 * KB)}; echo $(( i % 3 ))`, {}],
    ['different only in the first bytes', `echo $(( i % 3 )); ${letters(5 * KB)}`, {}],
    ['short and long', `${letters(100)}; [ $i -lt 3 ] || ${letters(5 * KB)}`, {}],
    ['merged streams', `${letters(5 * KB)}; echo $(( i % 2 )) >&2`, { capture: 'merged' }],
    ['single writes', `${letters(5 * KB)}; echo $(( i % 2 )) >&2`, { capture: 'exact' }],
    ['output of a process that stays', `(sleep 0.2; ${letters(KB)}) & ${letters(3 * KB)}`, { waitFor: 'eof' }],
    ['the same, without waiting for it', `(sleep 100; echo late) & ${letters(3 * KB)}`, {}],
    ['death by a signal', `${letters(5 * KB)}; kill -9 $$`, {}],
    ['an end by the host', `${letters(6 * KB)}; sleep 600`, { maxOutput: 5 * KB }],
    ['no output', 'true', {}],
    ['a spool that drops what is not read', letters(5 * KB), { overflow: 'drop-old' }],
  ];
  test.each(scripts)('%s', async (_what, script, options) => {
    const groups = await hosts.fleet.sh(ticket() + script, options).gather();
    const { results } = await hosts.fleet.sh(ticket() + script, options);
    expect(shapes(groups.map(({ hosts: { size }, ...group }) => ({ ...group, size })))).toEqual(
      shapes(grouped(results)),
    );
  });

  test('text is decoded from the bytes of the host that sent them', async () => {
    const script = String.raw`for i in $(seq 200); do printf '\326\320\316\304\n'; done`;
    const { results } = await hosts.fleet.sh(script, { gather: true, encoding: 'gbk', stripFinalNewline: true });
    expect(new Set(results.map(({ stdout }) => stdout))).toEqual(new Set([`${'中文\n'.repeat(199)}中文`]));
    expect(results.filter(({ stdoutFrom }) => stdoutFrom === undefined)).toHaveLength(1);
  });

  test('output beyond maxBuffer is truncated on each host of the group', async () => {
    const groups = await hosts.fleet.sh(letters(50 * KB), { maxBuffer: 30 * KB }).gather();
    expect(groups.map(({ hosts: { size }, outcome, stdout }) => [size, outcome, stdout.length])).toEqual([
      [6, 'truncated', 30 * KB],
    ]);
  });

  test('diff is between the samples of the groups', async () => {
    const { majority, others } = await hosts.fleet.sh(`${ticket()}${letters(KB)}; [ $i -gt 1 ] || echo odd`).diff();
    expect([majority.hosts.size, majority.stdout.length]).toEqual([5, KB]);
    expect(others.map(({ hosts: { size }, stdout }) => [size, stdout.length])).toEqual([[1, KB + 4]]);
  });
});

describe('events', () => {
  test('output comes once, right before the result of the host that sent it', async () => {
    const hosts = await fleetOf(8);
    const { seen, over } = watch(hosts.fleet.sh(letters(200 * KB), { gather: true }));
    await over;
    const results = seen.flatMap((event) => (event.event === 'result' ? [event.result] : []));
    const sample = results.find(({ stdoutFrom }) => stdoutFrom === undefined)!;
    const output = seen.filter((event) => event.event === 'output');
    expect(new Set(output.map(({ host }) => host))).toEqual(new Set([sample.host]));
    expect(Buffer.concat(output.map(({ bytes }) => bytes)).toString()).toBe('x'.repeat(200 * KB));
    const own = seen.filter(({ event, host }) => event !== 'host' && host === sample.host).map(({ event }) => event);
    expect(own).toEqual(['started', ...output.map(() => 'output'), 'result']);
    expect(results.map(({ ok, stdoutFrom }) => ok && (stdoutFrom ?? sample.host))).toEqual(
      results.map(() => sample.host),
    );
  });
});

describe('a host that waits for room', () => {
  test('gets credit at once, and its output is whole', async () => {
    const hosts = await fleetOf(4);
    const groups = await within(
      hosts.fleet.sh(letters(3 * MB), { spoolMax: 100 * KB, window: 2 }).gather(),
      'the end of commands that fill their spools',
    );
    expect(groups.map(({ hosts: { size }, outcome, stdout }) => [size, outcome, stdout.length])).toEqual([
      [4, 'ok', 3 * MB],
    ]);
  });
});

test('a host that does not say when it waits is asked for all of its output', async () => {
  const home = resolveHome({ SENDALL_HOME: mkdtempSync(join(tmpdir(), 'sendall-gather-')) });
  const agent = await openAgent({ home, keeperIdleExit: 200 });
  const framing = lengthPrefixed({ maxFrameLength: MAX_FRAME });
  const said: string[] = [];
  /** Passes on what an agent from before BLOCKED would say. */
  async function* older(frames: AsyncIterable<Buffer>) {
    for await (const frame of frames) {
      const message = decode(frame);
      said.push(message.type);
      if (message.type === 'AUTH_OK') yield encode({ ...message, features: [] });
      else if (message.type !== 'BLOCKED') yield frame;
    }
  }
  const proxy = createServer((caller) => {
    const host = dial(home.agentSocket);
    pipeline(caller, host, () => undefined);
    pipeline(host, decodeStream(framing), older, encodeStream(framing), caller, () => undefined);
  });
  const path = join(home.config, 'older.sock');
  await once(proxy.listen(path), 'listening');
  onTestFinished(async () => {
    proxy.close();
    await agent.close();
    await removeHome(home.config);
  });
  const run = fleet([`unix:${path}`], { home }).sh(letters(3 * MB), { spoolMax: 100 * KB });
  const groups = await within(run.gather(), 'the end of a command that fills its spool');
  expect(groups.map(({ outcome, stdout }) => [outcome, stdout.length])).toEqual([['ok', 3 * MB]]);
  expect(said).toContain('AUTH_OK');
});

describe('the host that was to send the bytes', () => {
  /** Starts the script on three hosts, each of which waits at its gate after it. */
  async function three(script: (wait: string) => string) {
    const hosts = await fleetOf(3, { giveUpAfter: 60_000, pingDeadline: 60_000 });
    const gate = gates();
    const run = hosts.fleet.sh(script(gate.wait), { gather: true });
    const { pids, results, over } = watch(run);
    await until(() => pids.size === 3, 'three commands');
    const open = (host: string) => gate.open(pids.get(host)!);
    const exited = async (n: number) => {
      for await (const { state } of hosts.hosts[n]!.runs({ all: true })) if (state === 'exited') return true;
      return false;
    };
    return { hosts, run, open, exited, results, over };
  }

  test('is lost in the middle: another one sends them, and all three are ok', async () => {
    const { hosts, open, exited, results, over } = await three((wait) => `${wait}; ${letters(5 * MB)}`);
    const before = hosts.traffic.toCallers;
    open('test-1');
    await untilTurn(() => hosts.traffic.toCallers > before + 500 * KB);
    hosts.stall(0);
    open('test-2');
    open('test-3');
    await until(async () => (await exited(1)) && (await exited(2)), 'the ends of the two others');
    expect(results.has('test-1')).toBe(false);
    hosts.unplug(true, 0);
    await over;
    expect([...results.values()].map(({ ok, raw }) => [ok, raw.stdout.length])).toEqual(
      Array.from({ length: 3 }, () => [true, 5 * MB]),
    );
    const sample = results.get('test-2')!.stdoutFrom ?? 'test-2';
    expect(['test-2', 'test-3']).toContain(sample);
    expect([...results].map(([host, { stdoutFrom = host }]) => stdoutFrom)).toEqual([sample, sample, sample]);
  });

  test('falls silent: another one sends them, before the link counts as lost', async () => {
    const { hosts, open, results, over } = await three((wait) => `${wait}; ${letters(5 * MB)}`);
    const before = hosts.traffic.toCallers;
    open('test-1');
    await untilTurn(() => hosts.traffic.toCallers > before + 500 * KB);
    hosts.stall(0);
    open('test-2');
    open('test-3');
    await over;
    expect([...results.values()].map(({ ok, raw }) => [ok, raw.stdout.length])).toEqual(
      Array.from({ length: 3 }, () => [true, 5 * MB]),
    );
  });

  test('sends other bytes than it read from the command: it alone is truncated', async () => {
    const { hosts, run, open, results, over } = await three((wait) => `${letters(300 * KB)}; ${wait}`);
    const file = join(spoolFolder(hosts.home, 'test-1', parseRunId(run.runId)), FIRST_SEGMENT);
    await until(() => statSync(file, { throwIfNoEntry: false })?.size === 300 * KB, 'the output of the first host');
    change(file, 200 * KB);
    open('test-1');
    await until(() => results.has('test-1'), 'the result of the first host');
    open('test-2');
    open('test-3');
    await over;
    expect(results.get('test-1')!.outcome).toBe('truncated');
    const [two, last] = [results.get('test-2')!, results.get('test-3')!];
    expect([two.ok, last.ok, two.raw.stdout]).toEqual([true, true, last.raw.stdout]);
    expect(two.raw.stdout.equals(Buffer.alloc(300 * KB, 'x'))).toBe(true);
  });

  test('is detached from, and so are the others', async () => {
    const { hosts, run, open, over } = await three((wait) => `${wait}; ${letters(5 * MB)}`);
    const before = hosts.traffic.toCallers;
    open('test-1');
    await untilTurn(() => hosts.traffic.toCallers > before + 500 * KB);
    await run.detach();
    await over;
    for (const host of ['test-2', 'test-3']) open(host);
  });
});

describe('runs that exist already', () => {
  test('send equal outputs once', async () => {
    const hosts = await fleetOf(10, QUIET);
    const run = hosts.fleet.sh(letters(500 * KB), { gather: true });
    await run;
    const places = hosts.hosts.map(({ id: target }) => ({ target, runId: run.runId }));
    let groups: Group[] = [];
    const again = await sent(hosts, async () => {
      groups = await hosts.fleet.attach(places, { mode: 'observe' }).gather();
    });
    expect(groups.map(({ hosts: { size }, stdout }) => [size, stdout.length])).toEqual([[10, 500 * KB]]);
    expect(again).toBeLessThan(3 * 500 * KB);
  });

  test('without digests send all of their output', async () => {
    const hosts = await fleetOf(3);
    const run = hosts.fleet.sh(letters(50 * KB));
    await run;
    const places = hosts.hosts.map(({ id: target }) => ({ target, runId: run.runId }));
    const groups = await hosts.fleet.attach(places, { mode: 'observe' }).gather();
    expect(groups.map(({ hosts: { size }, outcome, stdout }) => [size, outcome, stdout.length])).toEqual([
      [3, 'ok', 50 * KB],
    ]);
  });
});
