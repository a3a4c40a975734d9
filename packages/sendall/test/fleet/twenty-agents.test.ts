/** Twenty agents in processes of their own: each host ends in the documented state, nothing runs twice, nothing is missing. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect as dial, createServer, type AddressInfo, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Transform } from 'node:stream';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  fleet,
  KnownHosts,
  pair,
  resolveHome,
  type ConnectOptions,
  type FleetRun,
  type FleetRunOptions,
  type HostStateEvent,
  type Result,
} from 'sendall';
import { patience, until, within } from '../../../../test/support/waits.js';
import { removeHome } from '../remove-home.js';
import { AgentProcess } from './agent-process.js';

const name = (i: number) => `a${String(i).padStart(2, '0')}`;
const all = Array.from({ length: 20 }, (_, i) => name(i + 1));
/** What becomes of some of them; the others just run their command. */
const [stopped, killed, stranger, slow, absent, failing, dying] = all as [string, ...string[]];

let folder: string;
let proxy: Server;
let options: ConnectOptions;
const agents = new Map<string, AgentProcess>();

/** Passes bytes on a moment later, both ways. */
async function delayingProxy(to: string): Promise<{ server: Server; url: string }> {
  const { hostname, port } = new URL(to.replace('tls:', 'http:'));
  const late = () =>
    new Transform({ transform: (chunk: Buffer, _encoding, done) => void setTimeout(() => done(null, chunk), 20) });
  const server = createServer((caller) => {
    const host = dial(Number(port), hostname);
    caller.on('error', () => host.destroy()).on('close', () => host.destroy());
    // Its last bytes are still on their way when it closes.
    host.on('error', () => caller.destroy());
    caller.pipe(late()).pipe(host);
    host.pipe(late()).pipe(caller);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { server, url: `tls://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sendall-twenty-'));
  const home = resolveHome({ SENDALL_HOME: join(folder, 'caller') });
  // A machine that is to be used cannot start twenty agents at once.
  for (let i = 0; i < all.length; i += 4)
    await Promise.all(
      all.slice(i, i + 4).map(async (each) => {
        const agent = new AgentProcess(folder, each);
        agents.set(each, agent);
        // On a loopback address of its own.
        await agent.start(`tls://127.0.0.${10 + Number(each.slice(1))}:0`);
      }),
    );
  const through = await delayingProxy(agents.get(slow!)!.url);
  proxy = through.server;
  for (const [each, { url, code }] of agents) await pair(home, url, { code, name: each, timeoutMs: 0 });
  const known = KnownHosts.of(home);
  const { pin } = known.get(slow!)!;
  await known.remove(slow!);
  await known.add({ name: slow!, url: through.url, pin });
  await known.remove(stranger!);
  await known.add({ name: stranger!, url: agents.get(stranger!)!.url, pin });
  await agents.get(absent!)!.end();
  // A dial to the stopped one ends when its run is given up.
  const [timeout, pingDeadline, giveUpAfter] = [60_000, 3000, 2000].map(patience);
  options = { home, timeout: timeout!, pingInterval: 300, pingDeadline: pingDeadline!, giveUpAfter: giveUpAfter! };
}, 600_000);

afterAll(async () => {
  proxy?.close();
  await Promise.all([...agents.values()].map((agent) => agent.remove()));
  await removeHome(folder, 0);
}, 600_000);

/** A command that leaves a line for each time it runs; what it does then depends on its host. */
const SCRIPT = `
echo "$$" >> "$DIR/$LANG.ran"
case $LANG in
${failing}) exit 3 ;;
${dying}) kill -9 $$ ;;
${stopped} | ${killed}) until test -e "$DIR/go"; do sleep 0.05; done ;;
esac
echo "done on $LANG"
`;

function start(targets: string | string[], dir: string, more: FleetRunOptions = {}): FleetRun {
  return fleet(targets, options).sh(SCRIPT, { env: { DIR: dir }, startWithin: '10m', ...more });
}

async function follow(run: FleetRun) {
  const last = new Map<string, HostStateEvent>();
  const results = new Map<string, Result[]>();
  for await (const event of run) {
    if (event.event === 'host') last.set(event.host, event);
    if (event.event === 'result') results.set(event.host, [...(results.get(event.host) ?? []), event.result]);
  }
  const ends = Object.fromEntries([...last].map(([host, { state, outcome }]) => [host, outcome ?? state]));
  return { ends, last, results };
}

/** How often the command has run on each host. */
const ran = (dir: string) => {
  const times = (host: string) =>
    existsSync(join(dir, `${host}.ran`)) ? readFileSync(join(dir, `${host}.ran`), 'utf8').match(/\n/g)!.length : 0;
  return Object.fromEntries(all.map((host) => [host, times(host)]));
};

const each = (hosts: readonly string[], value: unknown) => Object.fromEntries(hosts.map((host) => [host, value]));

test('a day of twenty agents: stopped, killed, refusing, slow, absent, failing', { timeout: 600_000 }, async () => {
  const dir = mkdtempSync(join(folder, 'day-'));
  const run = start('a[01-20]', dir);
  const followed = follow(run);
  const isRunning = (host: string) => run.states.get(host)?.state === 'running';
  await until(() => isRunning(stopped) && isRunning(killed!), 'the start of the commands');
  agents.get(stopped)!.signal('SIGSTOP');
  await agents.get(killed!)!.end('SIGKILL');
  const { ends, last, results } = await within(followed, 'the end of all hosts', 120_000);
  expect(ends).toEqual({
    ...each(all, 'ok'),
    [stopped]: 'lost',
    [killed!]: 'lost',
    [stranger!]: 'refused',
    [absent!]: 'unreachable',
    [failing!]: 'failed',
    [dying!]: 'signalled',
  });
  for (const host of all) expect([host, results.get(host)?.length]).toEqual([host, 1]);
  for (const [host, { state, reason }] of last)
    expect([host, reason === undefined]).toEqual([host, state === 'exited' && ends[host] === 'ok']);
  expect(run.progress).toMatchObject({ total: 20, started: 20, running: 0, ok: 14, failed: 6 });
  expect(run.progress.states).toEqual({ exited: 16, lost: 2, refused: 1, unreachable: 1 });
  const times = { ...each(all, 1), [stranger!]: 0, [absent!]: 0 };
  expect(ran(dir)).toEqual(times);

  // Both are back, with the commands that their keepers kept.
  agents.get(stopped)!.signal('SIGCONT');
  await agents.get(killed!)!.start(agents.get(killed!)!.url);
  writeFileSync(join(dir, 'go'), '');
  const runs = [stopped, killed!].map((target) => ({ target, runId: run.idOn(target) }));
  const joined = await within(fleet([stopped, killed!], options).attach(runs), 'the commands that were lost', 60_000);
  expect(Object.fromEntries(joined.results.map(({ host, stdout }) => [host, stdout]))).toEqual({
    [stopped]: `done on ${stopped}\n`,
    [killed!]: `done on ${killed}\n`,
  });
  expect(ran(dir)).toEqual(times);
});

test('a rolling update stops at a failing host, and no other starts', { timeout: 600_000 }, async () => {
  const dir = mkdtempSync(join(folder, 'rolling-'));
  const healthy = all.filter((host) => Number(host.slice(1)) > 7);
  const order = [...healthy.slice(0, 4), failing!, ...healthy.slice(4)];
  const { ends, last } = await follow(start(order, dir, { canary: 1, batch: 2, maxFail: 0, pause: 1 }));
  // A canary, a batch of two, and a batch of which the second host fails.
  const done = order.slice(0, order.indexOf(failing!));
  const rest = order.slice(order.indexOf(failing!) + 1);
  expect(ends).toEqual({ ...each(done, 'ok'), [failing!]: 'failed', ...each(rest, 'neverStarted') });
  expect(last.get(rest[0]!)?.reason).toBe('1 of 14 hosts had failed before');
  expect(ran(dir)).toEqual({ ...each(all, 0), ...each([...done, failing!], 1) });

  const again = mkdtempSync(join(folder, 'canary-'));
  const behind = [failing!, ...healthy];
  const second = await follow(start(behind, again, { canary: 1 }));
  expect(second.ends).toEqual({ [failing!]: 'failed', ...each(healthy, 'neverStarted') });
  expect(ran(again)).toEqual({ ...each(all, 0), [failing!]: 1 });
  rmSync(again, { recursive: true });
});
