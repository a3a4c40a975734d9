/** The first flight: what a caller sends before the host has let it in, and what becomes of it when things go wrong. */
import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { connect, openAgent, pair, RefusedError, resolveHome, type Agent, type Home, type Host } from 'sendall';
import { Callers } from '../../dist/internal.js';
import { ensureKeeper } from '../../dist/keeper/door/door.js';
import { encodeSpec } from '../../dist/protocol/codec.js';
import { newRunId } from '../../dist/protocol/run-id.js';
import { until, within } from '../../../../test/support/waits.js';
import { removeHome } from '../remove-home.js';
import { Machine, output } from './machine.js';
import { Relay } from './relay.js';
import { Rogue } from './rogue.js';
import { fleetOf } from './support.js';

const folder = mkdtempSync(join(tmpdir(), 'sendall-flight-'));
let homes = 0;
const newHome = (): Home => {
  const home = join(folder, `home-${++homes}`);
  mkdirSync(home, { mode: 0o700 });
  writeFileSync(join(home, '.sendall'), '', { mode: 0o600 });
  return resolveHome({ SENDALL_HOME: home });
};

/** Two machines with a journal each. */
const machines: { home: Home; agent: Agent }[] = [];
beforeAll(async () => {
  for (let i = 0; i < 2; i++) {
    const home = newHome();
    machines.push({ home, agent: await openAgent({ home, listen: ['tls://127.0.0.1:0'], keeperIdleExit: 200 }) });
  }
});
afterAll(async () => {
  for (const { home, agent } of machines) {
    await using host = await connect('local', { home });
    await host.ask('stop', { runs: true });
    await agent.close();
    await removeHome(home.state);
  }
  await removeHome(folder);
});
const socketOf = (machine: number): string => machines[machine]!.home.agentSocket;

/** The runs that a machine has started, under these ids. */
async function startedOn(machine: number, ids: readonly string[]): Promise<string[]> {
  await using host = await connect('local', { home: machines[machine]!.home });
  const found: string[] = [];
  for await (const { runId, startMs } of host.runs({ all: true }))
    if (ids.includes(runId) && startMs !== undefined) found.push(runId);
  return found;
}

/** A relay to the first machine, and a caller that has been linked through it before. */
async function acquainted(): Promise<{ relay: Relay; home: Home }> {
  const relay = await Relay.to(socketOf(0));
  const home = newHome();
  await (await connect(relay.url, { home })).close();
  return { relay, home };
}

async function early(relay: Relay, home: Home): Promise<Host> {
  const host = await connect(relay.url, { home, early: true });
  onTestFinished(() => host.close());
  return host;
}

describe('a first flight', () => {
  test('holds OPEN, LIST and an ATTACH that observes; stdin, signals and control wait until the host has let us in', async () => {
    const { relay, home } = await acquainted();
    await using other = await connect(relay.url, { home });
    const old = other.run(['sh', '-c', 'echo old; sleep 60']);
    await old.started;
    relay.hold();
    const host = await early(relay, home);
    const fed = host.run(['cat'], { stdin: 'some text' });
    const ended = host.run(['sleep', '60'], { reject: false });
    const seen = host.attach(old.runId, { mode: 'observe', from: 'start' });
    const taken = host.attach(old.runId, { mode: 'control', reject: false });
    const listed = host.runs().next();
    await until(() => ['ATTACH', 'LIST'].every((type) => relay.types.includes(type)), 'the flight');
    void ended.cancel();
    expect(() => host.info).toThrow(/wait for ready/);
    expect(relay.types.toSorted()).toEqual(['ATTACH', 'AUTH', 'HELLO', 'LIST', 'OPEN', 'OPEN']);
    relay.release();
    await host.ready;
    expect(host.info.roles).toEqual(['owner']);
    expect((await fed).stdout).toBe('some text');
    expect((await ended).outcome).toBe('cancelled');
    expect((await listed).value).toBeDefined();
    expect((await seen[Symbol.asyncIterator]().next()).value).toBe('old');
    await taken.attached;
    await taken.cancel();
    await Promise.allSettled([old, seen, taken]);
    // An alias is never below one that was used before.
    const aliases = relay.last!.sent.flatMap(({ type, alias }) =>
      type === 'OPEN' || type === 'ATTACH' ? [alias] : [],
    );
    expect(aliases).toEqual(aliases.toSorted((a, b) => a - b));
  });

  test('waits for AUTH_OK where no link of before has told the epoch and the clock', async () => {
    const relay = await Relay.to(socketOf(0));
    const home = newHome();
    relay.hold();
    const connecting = early(relay, home);
    await until(() => relay.types.includes('AUTH'), 'AUTH');
    relay.release();
    const host = await connecting;
    expect(host.info.roles).toEqual(['owner']);
    relay.hold();
    const again = await early(relay, home);
    const run = again.run(['echo', 'now']);
    await until(() => relay.types.includes('OPEN'), 'the flight');
    relay.release();
    expect((await run).stdout).toBe('now\n');
  });

  test('is no longer than 1 MiB; what is beyond waits', async () => {
    const { relay, home } = await acquainted();
    relay.hold();
    const host = await early(relay, home);
    const env = Object.fromEntries(Array.from({ length: 7 }, (_, i) => [`LONG${i}`, 'x'.repeat(100_000)]));
    const runs = [1, 2].map((n) => host.run(['echo', String(n)], { env }));
    await until(() => relay.types.includes('OPEN'), 'the flight');
    expect(relay.opens).toHaveLength(1);
    relay.release();
    expect((await Promise.all(runs)).map(({ stdout }) => stdout)).toEqual(['1\n', '2\n']);
  });

  test('leaves with a command of the command line too', async () => {
    const machine = await Machine.start();
    const relay = await Relay.to(machine.home.agentSocket);
    const run = async () => (await output(machine.spawn('run', relay.url, '--', 'echo', 'hello'))).stdout.toString();
    expect(await run()).toBe('hello\n');
    relay.hold();
    const second = run();
    await until(() => relay.types.includes('OPEN'), 'the flight');
    relay.release();
    expect(await second).toBe('hello\n');
  });

  test('is not sent to an agent that did not offer it', async () => {
    const relay = await Relay.to(socketOf(0));
    relay.fromAgent = (message) => (message.type === 'AUTH_OK' ? { ...message, features: [] } : message);
    const home = newHome();
    await (await connect(relay.url, { home })).close();
    relay.hold();
    const connecting = early(relay, home);
    await until(() => relay.types.includes('AUTH'), 'AUTH');
    relay.release();
    await connecting;
    expect(relay.types).toEqual(['HELLO', 'AUTH']);
  });

  test('that an agent does not take is followed by a link that waits', async () => {
    const { relay, home } = await acquainted();
    let greeted = false;
    relay.fromCaller = (message, connection) => {
      if (message.type !== 'OPEN' || greeted) return message;
      const text = 'OPEN is not accepted before AUTH_OK';
      connection.answer({ type: 'LINK_ERROR', alias: 0, code: 'PROTOCOL', message: text });
      return undefined;
    };
    relay.fromAgent = (message, connection) => {
      // The first two answers belong to the link of before.
      if (message.type === 'AUTH_OK') greeted = connection !== relay.connections[1];
      return connection === relay.connections[1] ? undefined : message;
    };
    const run = (await early(relay, home)).run(['echo', 'at last']);
    expect((await run).stdout).toBe('at last\n');
    expect(relay.connections).toHaveLength(3);
    expect(await startedOn(0, [run.runId])).toEqual([run.runId]);
  });
});

describe('an OPEN of a first flight', () => {
  test('for another journal is sent once more under its id, and starts once', async () => {
    const { relay, home } = await acquainted();
    relay.agent = socketOf(1);
    const run = (await early(relay, home)).run(['echo', 'here']);
    expect((await run).stdout).toBe('here\n');
    const [first, second, ...more] = relay.opens;
    expect(more).toEqual([]);
    expect(second!.runId).toEqual(first!.runId);
    expect(second!.epoch).not.toEqual(first!.epoch);
    expect(await startedOn(1, [run.runId])).toEqual([run.runId]);
  });

  test.each([
    ['behind', -3_600_000],
    ['far ahead', 40 * 86_400_000],
  ])('for a clock that is %s is sent once more under its id', async (_where, ms) => {
    const relay = await Relay.to(socketOf(0));
    const home = newHome();
    relay.fromAgent = (message) =>
      message.type === 'AUTH_OK' ? { ...message, clockMs: message.clockMs! + ms } : message;
    await (await connect(relay.url, { home })).close();
    relay.fromAgent = (message) => message;
    const run = (await early(relay, home)).run(['echo', 'in time']);
    expect((await run).stdout).toBe('in time\n');
    expect(relay.opens).toHaveLength(2);
    expect(await startedOn(0, [run.runId])).toEqual([run.runId]);
  });

  test('that was refused twice is not sent a third time', async () => {
    const { relay, home } = await acquainted();
    relay.fromCaller = (message) => (message.type === 'OPEN' ? { ...message, notAfterMs: 1 } : message);
    const run = (await early(relay, home)).run(['echo', 'never'], { reject: false });
    expect((await run).outcome).toBe('expired');
    expect(relay.opens).toHaveLength(2);
    expect(await startedOn(0, [run.runId])).toEqual([]);
  });

  test('that may have arrived is never sent to another journal', async () => {
    const { relay, home } = await acquainted();
    relay.hold();
    const run = (await early(relay, home)).run(['true'], { reject: false });
    await until(async () => (await startedOn(0, [run.runId])).length, 'its start');
    relay.cut();
    relay.agent = socketOf(1);
    relay.release();
    const { outcome, refusal } = await run;
    expect([outcome, refusal]).toEqual(['lost', 'unknown']);
    expect(await startedOn(1, [run.runId])).toEqual([]);
  });

  test('that is known to be refused, though the refusal was lost, is sent again on the next link', async () => {
    const { relay, home } = await acquainted();
    relay.agent = socketOf(1);
    relay.fromAgent = (message, connection) => {
      if (message.type !== 'REFUSED') return message;
      relay.fromAgent = (each) => each;
      connection.cut();
      return undefined;
    };
    const run = (await early(relay, home)).run(['echo', 'here']);
    expect((await run).stdout).toBe('here\n');
    expect(relay.opens).toHaveLength(2);
    expect(await startedOn(1, [run.runId])).toEqual([run.runId]);
  });

  test('whose link was cut before the answer starts once', async () => {
    const { relay, home } = await acquainted();
    const file = join(newHome().state, 'starts');
    for (let i = 1; i <= 20; i++) {
      relay.hold();
      const host = await connect(relay.url, { home, early: true });
      const run = host.sh(`echo >> ${file}`);
      await until(() => relay.types.includes('OPEN'), 'the flight');
      // Some of these OPENs have reached the agent by now, and some have not.
      relay.cut();
      relay.release();
      await run;
      await host.close();
      expect(readFileSync(file)).toHaveLength(i);
    }
  });

  test('over links that are cut every few hundred bytes starts once', async () => {
    // Half of these links end before AUTH_OK.
    const faults = { cutEvery: 500, unreachable: 0.1, seed: 11 };
    const fleet = await fleetOf(6, { faults, firstPause: 1, giveUpAfter: 120_000 });
    const dir = newHome().state;
    const one = async (host: Host, name: string) => {
      const run = host.sh(`echo >> ${dir}/${name}`, { reject: false, startWithin: 120_000 });
      const { outcome } = await run;
      const starts = existsSync(join(dir, name)) ? readFileSync(join(dir, name)).length : 0;
      expect([name, outcome, starts]).toEqual([name, ...(outcome === 'unreachable' ? [outcome, 0] : ['ok', 1])]);
    };
    const several = fleet.hosts.map(async (host) => {
      for (let i = 0; i < 30; i++) await one(host, `${host.id}-${i}`);
    });
    await Promise.all(several);
    expect(fleet.links).toBeGreaterThan(180);
  });

  test('behind a refused AUTH makes the run refused, and starts nothing', async () => {
    const { relay, home } = await acquainted();
    relay.fromCaller = (message) => (message.type === 'AUTH' ? { ...message, method: 'charm' } : message);
    const host = await early(relay, home);
    const run = host.run(['echo', 'never'], { reject: false });
    const { outcome, reason } = await run;
    expect(relay.opens).toHaveLength(1);
    expect([outcome, reason]).toEqual(['refused', expect.stringContaining('"charm" is not offered here')]);
    await expect(host.ready).rejects.toThrow(RefusedError);
    expect(await startedOn(0, [run.runId])).toEqual([]);
  });

  test('of a key that was removed makes the run refused', async () => {
    const { home, agent } = machines[0]!;
    const caller = newHome();
    const url = agent.listening.find((each) => each.startsWith('tls:'))!;
    await pair(caller, url, { code: agent.issueCode().code, name: 'web1' });
    await (await connect('web1', { home: caller })).close();
    const callers = new Callers(home);
    for (const { fingerprint } of callers.list()) await callers.remove(fingerprint);
    await using host = await connect('web1', { home: caller, early: true });
    const { outcome, reason } = await host.run(['true'], { reject: false });
    expect([outcome, reason]).toEqual(['refused', expect.stringContaining('does not know the key')]);
  });
});

describe('while the agent waits for its keeper', () => {
  const spec = (text: string) =>
    encodeSpec({ verb: 'sh', argv: [], script: Buffer.from(text), env: [], stdin: false, tags: [], secrets: [] });
  const open = (alias: number, text: string) => {
    const [notAfterMs, attach] = [Date.now() + 60_000, [{ stream: 1, offset: 0, limit: 1 << 20 }]];
    return { type: 'OPEN', alias, runId: newRunId(), spec: spec(text), notAfterMs, attach, secrets: [] } as const;
  };
  const hello = {
    type: 'HELLO',
    alias: 0,
    protoMin: 1,
    protoMax: 1,
    name: 'rogue',
    nonce: Buffer.alloc(16),
    features: [],
    clockMs: 0,
    version: '0',
  } as const;

  /** An agent whose keeper is stopped, and a caller of it. */
  async function waiting() {
    const home = newHome();
    const keeper = await ensureKeeper(home, { idleExitMs: 200, onMessage: () => undefined });
    process.kill(keeper.pid, 'SIGSTOP');
    const opening = openAgent({ home });
    opening.catch(() => undefined);
    const rogue = (await until(() => Rogue.connect(home.agentSocket).catch(() => undefined), 'the agent'))!;
    onTestFinished(async () => {
      process.kill(keeper.pid, 'SIGCONT');
      rogue.socket.destroy();
      keeper.close();
      await (await opening).close();
      await removeHome(home.state, 0);
    });
    return { rogue, goOn: () => process.kill(keeper.pid, 'SIGCONT') };
  }

  test('a first flight is answered when it comes', async () => {
    const { rogue, goOn } = await waiting();
    rogue.send(hello);
    rogue.send({ type: 'AUTH', alias: 0, method: 'local' });
    rogue.send(open(1, 'echo hello'));
    rogue.send({ type: 'LIST', alias: 0, opId: 1, all: false });
    rogue.send({ type: 'PING', alias: 0, token: 7 });
    await rogue.hears('HELLO_OK');
    goOn();
    // One after another: a Rogue has one wait at a time.
    for (const type of ['EXIT', 'RUNS', 'PONG'] as const) await within(rogue.hears(type), type);
    expect(rogue.messages.slice(0, 2).map(({ type }) => type)).toEqual(['HELLO_OK', 'AUTH_OK']);
  });

  test('many megabytes of them stay with their sender, and all are answered', async () => {
    const { rogue, goOn } = await waiting();
    rogue.send(hello);
    rogue.send({ type: 'AUTH', alias: 0, method: 'local' });
    for (let alias = 1; alias <= 80; alias++) rogue.send(open(alias, `: ${'x'.repeat(100_000)}`));
    await rogue.hears('HELLO_OK');
    // The agent has read its fill: nothing more leaves.
    let left = -1;
    await until(() => left === (left = rogue.socket.writableLength), 'the end of reading');
    expect(left).toBeGreaterThan(6_000_000);
    goOn();
    expect(await within(rogue.hears('EXIT', 80), 'all ends')).toHaveLength(80);
  });

  test('a run before AUTH, and a long frame before it, end the link', async () => {
    for (const text of ['true', `: ${'x'.repeat(5000)}`]) {
      const rogue = await Rogue.connect(socketOf(0));
      rogue.send(hello);
      rogue.send(open(1, text));
      rogue.send({ type: 'AUTH', alias: 0, method: 'local' });
      expect(await rogue.lastWords()).toMatch(text === 'true' ? /not accepted before AUTH_OK/ : /4096/);
    }
  });

  test('the agent may be killed: the command starts once, after the next agent has come', async () => {
    const machine = await Machine.start();
    const relay = await Relay.to(machine.home.agentSocket);
    const home = newHome();
    await (await connect(relay.url, { home })).close();
    const { keeperPid } = await machine.status();
    await machine.killAgent();
    process.kill(keeperPid!, 'SIGSTOP');
    machine.startAgent().catch(() => undefined);
    // The socket of the agent before it is still there.
    await until(() => Rogue.connect(machine.home.agentSocket).catch(() => undefined), 'the agent');
    const host = await early(relay, home);
    const file = join(home.state, 'starts');
    const run = host.sh(`echo started >> ${file}; echo here`);
    await until(() => relay.types.includes('OPEN'), 'the flight');
    await machine.killAgent();
    process.kill(keeperPid!, 'SIGCONT');
    await machine.startAgent();
    expect((await run).stdout).toBe('here\n');
    expect(readFileSync(file, 'utf8')).toBe('started\n');
  });
});

describe('what is remembered of a host', () => {
  /** Whether a caller with this memory sends a first flight; its command succeeds in any case. */
  async function flies(relay: Relay, prepare: (path: string) => void): Promise<boolean> {
    const home = newHome();
    prepare(join(home.state, 'remembered-hosts'));
    let opened = false;
    relay.fromAgent = (message) => {
      if (message.type === 'AUTH_OK') opened = relay.types.includes('OPEN');
      return message;
    };
    relay.hold();
    const connecting = connect(relay.url, { home, early: true });
    await until(() => relay.types.includes('AUTH'), 'AUTH');
    const first = await Promise.race([
      connecting,
      new Promise<undefined>((resolve) => setImmediate(() => resolve(undefined))),
    ]);
    const run = first?.run(['echo', 'fine']);
    if (run) await until(() => relay.types.includes('OPEN'), 'the flight');
    relay.release();
    await using host = await connecting;
    expect((await (run ?? host.run(['echo', 'fine']))).stdout).toBe('fine\n');
    return opened;
  }

  test('serves other processes; what is damaged, old or not ours costs a round trip and nothing else', async () => {
    const { relay, home } = await acquainted();
    const path = join(home.state, 'remembered-hosts');
    await until(() => existsSync(path), 'the line');
    const line = readFileSync(path, 'utf8');
    const put = (text: string | Uint8Array) => (path: string) => writeFileSync(path, text, { mode: 0o600 });
    const words = line.trim().split(' ');
    const summed = (change: (words: string[]) => void) => {
      const changed = words.slice(0, -1);
      change(changed);
      const text = changed.join(' ');
      return put(`${text} ${crc32(text).toString(16).padStart(8, '0')}\n`);
    };
    expect(await flies(relay, put(line))).toBe(true);
    expect(await flies(relay, put(`garbage\n${line}unix:/elsewhere ${'0'.repeat(32)} 1 1 1 00000000\n`))).toBe(true);
    const bad: Record<string, (path: string) => void> = {
      'a changed epoch': put(
        line.replace(
          words[1]!,
          words[1]!.replace(/./, (c) => (c === '0' ? '1' : '0')),
        ),
      ),
      'a changed clock': put(line.replace(` ${words[2]} `, ` ${words[2]}1 `)),
      'a torn line': put(line.slice(0, -20)),
      'a newer line that is damaged': put(line + line.replace(words[1]!, 'f'.repeat(32))),
      'no text': put(Buffer.from([0, 255, 10, 13, 128])),
      'a line of yesterday': summed((each) => (each[4] = String(Number(each[4]) - 90_000_000))),
      'a line of the future': summed((each) => (each[4] = String(Number(each[4]) + 3_600_000))),
      'a line from before the clock was set': summed((each) => (each[3] = String(Number(each[3]) + 5000))),
      'a folder': (path) => mkdirSync(path),
      'a link': (path) => {
        put(line)(`${path}.real`);
        symlinkSync(`${path}.real`, path);
      },
      'a file that others may read': (path) => {
        put(line)(path);
        chmodSync(path, 0o644);
      },
    };
    for (const [what, prepare] of Object.entries(bad))
      expect([what, await flies(relay, prepare)]).toEqual([what, false]);
  });

  test('takes no more than its share of the disk', async () => {
    const { relay, home } = await acquainted();
    const path = join(home.state, 'remembered-hosts');
    await until(() => existsSync(path), 'the line');
    const other = newHome();
    const full = join(other.state, 'remembered-hosts');
    const line = readFileSync(path, 'utf8');
    const many = Array.from({ length: 50_000 }, (_, i) => line.replace('unix:', `unix:${i}`)).join('');
    appendFileSync(full, many, { mode: 0o600 });
    await (await connect(relay.url, { home: other })).close();
    await until(() => readFileSync(full).length < many.length, 'the shorter file');
    const kept = readFileSync(full, 'utf8').trim().split('\n');
    expect(kept).toHaveLength(10_000);
    expect(kept.at(-1)).toContain(relay.url);
  });
});
