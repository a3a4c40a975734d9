/**
 * A day of eight agents behind three brokers: whatever ends in the middle of a run, each host ends in the documented
 * state, no command runs twice, and each byte of output arrives once.
 */
import { once } from 'node:events';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { connect as dial, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  connect,
  fleet,
  KnownHosts,
  pair,
  resolveHome,
  UnreachableError,
  type ConnectOptions,
  type FleetRun,
  type FleetRunOptions,
  type Home,
} from 'sendall';
import { completeEngine, writeEngine } from '../../dist/keys/engine.js';
import { natsHostOf } from '../../dist/text/nats-address.js';
import { patience, until, within } from '../../../../test/support/waits.js';
import { User } from '../cli/support.js';
import { AgentProcess } from '../fleet/agent-process.js';
import { removeHome } from '../remove-home.js';
import type { NatsServer } from '../dist/nats-server.js';
import { threeNodes } from './three-nodes.js';

const all = Array.from({ length: 8 }, (_, i) => `b0${i + 1}`);
/** What becomes of some of them. */
const [parted, reinstalled, away, , failing] = all as [string, string, string, string, string];
const MINUTES = 120_000;

/** A way to the first node that can go silent: connections stay open, and new ones are accepted, but no byte passes. */
class SilentProxy {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #silent = false;

  constructor(port: number) {
    this.#server = createServer((client) => {
      const node = dial(port, '127.0.0.1');
      for (const [from, to] of [
        [client, node],
        [node, client],
      ] as const) {
        this.#sockets.add(from);
        from.on('data', (chunk: Buffer) => void to.write(chunk)).on('error', () => undefined);
        from.on('close', () => void (this.#sockets.delete(from), to.destroy()));
        if (this.#silent) from.pause();
      }
    });
  }

  /** Its address. */
  async listen(): Promise<string> {
    await once(this.#server.listen(0, '127.0.0.1'), 'listening');
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  silence(): void {
    this.#silent = true;
    for (const socket of this.#sockets) socket.pause();
  }

  heal(): void {
    this.#silent = false;
    for (const socket of this.#sockets) socket.resume();
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }
}

const user = new User();
const home: Home = resolveHome({ SENDALL_HOME: user.home });
const folder = mkdtempSync(join(tmpdir(), 'sendall-day-'));
const agents = new Map<string, AgentProcess>();
let nodes: NatsServer[] = [];
let proxy: SilentProxy;
let wayOfParted: string;
/** Each host's marks, in order, as they must be at the end. */
const marks = new Map<string, string[]>(all.map((host) => [host, []]));

/** For this machine's present speed. `retryFor`: 0 where a host cannot be reached. */
function patient(retryFor = patience(20_000)): ConnectOptions {
  const [timeout, pingDeadline] = [5000, 3000].map(patience) as [number, number];
  return { home, timeout, retryFor, pingInterval: 300, pingDeadline, longestPause: 1000 };
}

const addressOfNodes = () => `nats://${nodes.map(({ port }) => `127.0.0.1:${port}`).join(',')}`;
const listenOf = (host: string) => (host === parted ? wayOfParted : addressOfNodes());

async function pairWith(host: string): Promise<void> {
  const { fingerprint, code } = agents.get(host)!;
  await pair(home, natsHostOf(fingerprint), { code, name: host, timeoutMs: patience(20_000) });
}

beforeAll(async () => {
  nodes = await threeNodes();
  proxy = new SilentProxy(nodes[0]!.port);
  wayOfParted = `nats://${await proxy.listen()}`;
  for (let i = 0; i < all.length; i += 4)
    await Promise.all(
      all.slice(i, i + 4).map(async (host) => {
        const agent = new AgentProcess(folder, host);
        agents.set(host, agent);
        await agent.start(listenOf(host));
      }),
    );
  await writeEngine(home, completeEngine({ url: addressOfNodes() }));
  for (const host of all) {
    // The nodes are still finding each other.
    const paired = () =>
      pairWith(host).then(
        () => true,
        () => false,
      );
    await until(paired, `the pairing with ${host}`);
  }
}, 600_000);

afterAll(async () => {
  proxy.close();
  await Promise.all([...agents.values()].map((agent) => agent.remove()));
  user[Symbol.dispose]();
  await Promise.all(nodes.map((node) => node[Symbol.asyncDispose]()));
  await removeHome(folder, 0);
}, 600_000);

/** A command that leaves its mark, then writes numbered lines until it may end. */
const SCRIPT = `
echo "$MARK" >> "$DIR/$LANG.marks"
case "$MARK $LANG" in "update ${failing}") exit 3 ;; esac
i=0
until test -e "$DIR/$MARK.go"; do i=$((i + 1)); echo "$i"; sleep 0.1; done
echo "$MARK: $i lines on $LANG"
`;

const mayEnd = (mark: string) => writeFileSync(join(folder, `${mark}.go`), '');
/** These hosts must have run it once. */
const expectMarks = (mark: string, hosts: readonly string[]) => hosts.forEach((host) => marks.get(host)!.push(mark));

const begin = (hosts: readonly string[], mark: string, more: FleetRunOptions = {}, options = patient()) =>
  fleet(hosts, options).sh(SCRIPT, { startWithin: '10m', ...more, env: { DIR: folder, MARK: mark } });

/** The whole output of a host: each line once and in order. */
function expectWhole(output: string | undefined, mark: string, host: string): void {
  const lines = Number(/: (\d+) lines on/.exec(output ?? '')?.[1]);
  const numbers = Array.from({ length: lines || 0 }, (_, i) => `${i + 1}\n`).join('');
  expect([host, output]).toEqual([host, `${numbers}${mark}: ${lines} lines on ${host}\n`]);
}

/** Follows a run to the end of all hosts. `output` grows meanwhile. */
function follow(run: FleetRun) {
  const output = new Map<string, string>();
  const resumed = new Set<string>();
  const reading = (async () => {
    for await (const event of run) {
      if (event.event === 'resumed') resumed.add(event.host);
      if (event.event !== 'output' || event.stream !== 'stdout') continue;
      const before = output.get(event.host) ?? '';
      // Neither a byte twice nor a gap.
      expect([event.host, event.offset]).toEqual([event.host, before.length]);
      output.set(event.host, before + event.bytes.toString());
    }
  })();
  const ended = async () => {
    await within(
      reading,
      () => `the end of all hosts: ${JSON.stringify([...run.states].map(([host, { state }]) => [host, state]))}`,
      MINUTES,
    );
    return Object.fromEntries([...run.states].map(([host, { state, outcome }]) => [host, outcome ?? state]));
  };
  /** Each of the hosts has written something since now. */
  const hear = async (hosts: readonly string[]) => {
    const before = new Map(output);
    const heard = (host: string) => (output.get(host)?.length ?? 0) > (before.get(host)?.length ?? 0);
    await until(
      () => hosts.every(heard),
      () => `output of ${hosts.filter((host) => !heard(host)).join(', ')}`,
      MINUTES,
    );
  };
  return { run, output, resumed, ended, hear };
}

type Following = ReturnType<typeof follow>;

const each = (hosts: readonly string[], value: unknown) => Object.fromEntries(hosts.map((host) => [host, value]));
const others = (...without: string[]) => all.filter((host) => !without.includes(host));

/** A run on all hosts: once all of them write, something happens. Then all end, with nothing missing. */
async function throughAll(mark: string, disturb: (following: Following) => Promise<unknown>): Promise<void> {
  expectMarks(mark, all);
  const following = follow(begin(all, mark));
  await following.hear(all);
  await disturb(following);
  mayEnd(mark);
  expect(await following.ended()).toEqual(each(all, 'ok'));
  for (const host of all) expectWhole(following.output.get(host), mark, host);
}

/** How a short command of one host ends. */
async function endOn(host: string, mark: string, options = patient()): Promise<string | undefined> {
  mayEnd(mark);
  const { ended } = follow(begin([host], mark, {}, options));
  return (await ended())[host];
}

test('a rolling update stops at a failing host, and no other starts', { timeout: 600_000 }, async () => {
  const begun = all.slice(0, all.indexOf(failing) + 1);
  const rest = all.slice(begun.length);
  expectMarks('update', begun);
  mayEnd('update');
  const { run, ended } = follow(begin(all, 'update', { canary: 1, batch: 2, maxFail: 0 }));
  expect(await ended()).toEqual({ ...each(begun, 'ok'), [failing]: 'failed', ...each(rest, 'neverStarted') });
  expect([...run.notStarted]).toEqual(rest);
});

test('runs go on and end while one of three nodes is dead', { timeout: 600_000 }, async () => {
  const connections = async ({ monitor }: NatsServer) => {
    const answer = (await (await fetch(`${monitor}/varz`)).json()) as { connections: number };
    return answer.connections;
  };
  // The node with more clients, but not the only one that the host behind the proxy knows.
  const [, second, third] = nodes as [NatsServer, NatsServer, NatsServer];
  const dead = (await connections(second)) > (await connections(third)) ? second : third;
  await throughAll('node', async ({ hear }) => {
    await dead.kill();
    await hear(all);
  });
  await dead.again();
});

test('runs go on when the whole broker is killed and started again', { timeout: 600_000 }, async () => {
  await throughAll('broker', async ({ hear }) => {
    await Promise.all(nodes.map((node) => node.kill()));
    await expect(connect(failing, { ...patient(0), timeout: 500 })).rejects.toThrow(UnreachableError);
    await Promise.all(nodes.map((node) => node.again()));
    await hear(all);
  });
});

test('a host that is cut off by its network goes on once it is healed', { timeout: 600_000 }, async () => {
  await throughAll('partition', async ({ run, hear, resumed }) => {
    proxy.silence();
    await until(() => !run.isLinked(parted), 'the loss of the link', MINUTES);
    await hear(others(parted));
    expect(run.states.get(parted)!.state).toBe('running');
    proxy.heal();
    await hear([parted]);
    expect(resumed).toContain(parted);
  });
});

test('a host goes away and comes back, and the others do not notice', { timeout: 600_000 }, async () => {
  const agent = agents.get(away)!;
  await throughAll('away', async ({ run, hear }) => {
    await agent.end();
    await until(() => !run.isLinked(away), 'the loss of the link', MINUTES);
    expect(await endOn(away, 'absent', patient(0))).toBe('unreachable');
    await hear(others(away));
    await agent.start(listenOf(away));
    await hear([away]);
  });
});

test('a host that was installed again is refused until it is paired again', { timeout: 600_000 }, async () => {
  const agent = agents.get(reinstalled)!;
  const { fingerprint } = agent;
  await agent.remove();
  await agent.start(listenOf(reinstalled));
  expect(agent.fingerprint).not.toBe(fingerprint);
  // Its address behind a broker is its key: nothing listens at the old one.
  expect(await endOn(reinstalled, 'old key', patient(0))).toBe('unreachable');
  const known = KnownHosts.of(home);
  await known.remove(reinstalled);
  await known.add({ name: reinstalled, url: natsHostOf(agent.fingerprint), pin: agent.fingerprint });
  expect(await endOn(reinstalled, 'not paired')).toBe('refused');
  await pairWith(reinstalled);
  expect(await endOn(reinstalled, 'paired again')).toBe('ok');
  expectMarks('paired again', [reinstalled]);
});

/** A command line's JSON objects, while this process goes on: the way of one host leads through it. */
async function printed(command: string, ...words: string[]) {
  const child = user.start([command, '--json', ...words]);
  child.stdin!.end();
  const ending = once(child, 'exit');
  const [stdout, stderr] = await within(Promise.all([text(child.stdout!), text(child.stderr!)]), command, MINUTES);
  const [code] = (await ending) as [number | null];
  const events = stdout
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  return { code, events, stderr };
}

test('new processes find and finish what a killed caller began', { timeout: 600_000 }, async () => {
  const mark = 'killed';
  const begun = all.slice(0, 6);
  const rest = all.slice(6);
  const command = [
    '--connect-timeout',
    '60s',
    '--env',
    `DIR=${folder}`,
    '--env',
    `MARK=${mark}`,
    '--',
    'sh',
    '-c',
    SCRIPT,
  ];
  const listed = async () => (await printed('ps', '--fleet', '--all')).events.find(({ name }) => name === mark);
  const caller = user.start(['run', 'b[01-08]', '--name', mark, '--window', '6', '--json', ...command]);
  let seen = '';
  caller.stdout!.setEncoding('utf8').on('data', (chunk: string) => (seen += chunk));
  const gone = once(caller, 'exit');
  await until(
    () => seen.match(/"event":"output"[^\n]*"offset":0,/g)?.length === 6,
    () => `six hosts to begin: ${seen}`,
    MINUTES,
  );
  caller.kill('SIGKILL');
  await gone;
  expect(await listed()).toMatchObject({ stage: 'lost', states: { lost: 6, neverStarted: 2 } });

  mayEnd(mark);
  const attached = await printed('attach', '--connect-timeout', '60s', mark);
  for (const host of begun) {
    const pieces = attached.events.filter((event) => event.event === 'output' && event.host === host);
    expectWhole(pieces.map((event) => String(event.text)).join(''), mark, host);
  }
  expect(attached.code, attached.stderr).toBe(0);
  expect(await listed()).toMatchObject({ stage: 'ended', states: { exited: 6, neverStarted: 2 }, outcomes: { ok: 6 } });
  const finished = await printed('run', 'all', '--only', `neverStarted:${mark}`, ...command);
  expect(finished.events.at(-1)).toMatchObject({ event: 'summary', total: 2, ok: 2 });
  expectMarks(mark, [...begun, ...rest]);
});

test('at the end of the day each mark stands once on its host, and no other', () => {
  const found = all.map((host) => [
    host,
    readFileSync(join(folder, `${host}.marks`), 'utf8')
      .split('\n')
      .slice(0, -1),
  ]);
  expect(Object.fromEntries(found)).toEqual(Object.fromEntries(marks));
});
