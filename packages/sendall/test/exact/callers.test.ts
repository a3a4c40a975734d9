/** A caller's excess or mistakes cost only that caller: the others of its agent, and of its warm links, go on. */
import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { connect, openAgent, pair, resolveHome, type Home, type Host } from 'sendall';
import { Agent } from '../../dist/agent/agent.js';
import { KeeperGate } from '../../dist/agent/gate.js';
import { openWarmLinks } from '../../dist/link/warm/warm-links.js';
import { encodeData } from '../../dist/protocol/codec.js';
import { until } from '../../../../test/support/waits.js';
import { removeHome } from '../remove-home.js';
import { Rogue } from './rogue.js';

const newHome = (): Home => resolveHome({ SENDALL_HOME: mkdtempSync(join(tmpdir(), 'sendall-callers-')) });

/** Resident memory of a process, in MiB. */
const memoryOf = (pid: number): number =>
  Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1]) / 1024;

async function started(options: ConstructorParameters<typeof KeeperGate>[1] = {}): Promise<{ home: Home; host: Host }> {
  const home = newHome();
  const agent = new Agent({ home }, new KeeperGate(home, { idleExitMs: 200, ...options }));
  await agent.open();
  const host = await connect('local', { home });
  onTestFinished(async () => {
    await host.ask('stop', { runs: true }).catch(() => undefined);
    await host.close();
    await agent.close();
    await removeHome(home.state);
  });
  return { home, host };
}

describe('runs that a caller holds', () => {
  test('never use up all places: other links find room', async () => {
    const { home, host } = await started({ limits: { maxAliases: 120, maxAttachments: 1000 } });
    const run = host.run(['sleep', '60']);
    await run.started;
    const [runId] = [run.runId.replaceAll('-', '')].map((hex) => Buffer.from(hex, 'hex'));
    const rogues = await Promise.all(Array.from({ length: 6 }, () => Rogue.authenticated(home.agentSocket)));
    let refused = 0;
    for (const rogue of rogues) {
      for (let alias = 1; alias <= 120; alias++) rogue.attach(alias, { runId: runId! });
      await until(() => rogue.messages.filter(({ alias }) => alias > 0).length >= 120, 'each ATTACH has an answer');
      const busy = rogue.messages.filter((message) => message.type === 'ATTACH_REFUSED');
      for (const message of busy) expect(message).toMatchObject({ code: 'busy' });
      refused += busy.length;
    }
    expect(refused).toBeGreaterThan(600);
    expect((await host.run(['echo', 'fine'])).stdout).toBe('fine\n');
    const newcomer = await connect('local', { home });
    expect((await newcomer.run(['echo', 'fine'])).stdout).toBe('fine\n');
    await newcomer.close();
    for (const rogue of rogues) rogue.socket.destroy();
    await Promise.all(rogues.map(({ closed }) => closed));
    expect(host.resumes).toBe(0);
  });

  test('are given back when they are refused, so that any number of them may fail', async () => {
    const { host } = await started({ limits: { maxAliases: 10 } });
    for (let i = 0; i < 60; i++)
      await expect(host.run(['no-such-program'])).rejects.toMatchObject({ result: { refusal: 'nofile' } });
    expect((await host.run(['echo', 'fine'])).stdout).toBe('fine\n');
  });
});

describe('a list', () => {
  test('that is not read waits, in the keeper and in the agent, and is dropped when its caller leaves', async () => {
    const { home, host } = await started();
    const { keeperPid } = await host.ask<{ keeperPid: number }>('status');
    const tags = Array.from({ length: 64 }, (_, i) => `${i}${'x'.repeat(250)}`);
    await Promise.all(Array.from({ length: 200 }, () => host.run(['true'], { tags })));
    const before = [process.pid, keeperPid].map(memoryOf);
    const rogue = await Rogue.authenticated(home.agentSocket);
    rogue.socket.pause();
    for (let opId = 1; opId <= 64; opId++) rogue.send({ type: 'LIST', alias: 0, opId, all: true });
    for (let i = 0; i < 5; i++) expect((await host.run(['echo', 'fine'])).stdout).toBe('fine\n');
    const after = [process.pid, keeperPid].map(memoryOf);
    // Sixty-four lists are some 200 MB.
    for (const [i, memory] of after.entries()) expect(memory - before[i]!).toBeLessThan(60);
    rogue.socket.destroy();
    await rogue.closed;
    const all = [];
    for await (const run of host.runs({ all: true })) all.push(run.runId);
    expect(new Set(all).size).toBe(205);
  });

  test('that is requested whole arrives whole, in pages', async () => {
    const { home, host } = await started();
    const tags = Array.from({ length: 64 }, (_, i) => `${i}${'x'.repeat(250)}`);
    await Promise.all(Array.from({ length: 50 }, () => host.run(['true'], { tags })));
    const rogue = await Rogue.authenticated(home.agentSocket);
    rogue.send({ type: 'LIST', alias: 0, opId: 7, all: true });
    await until(() => rogue.messages.some((message) => message.type === 'RUNS' && message.last), 'the last page');
    const pages = rogue.messages.flatMap((message) => (message.type === 'RUNS' ? [message] : []));
    expect(pages.length).toBeGreaterThan(1);
    expect(pages.every(({ opId, next }) => opId === 7 && next === undefined)).toBe(true);
    expect(new Set(pages.flatMap(({ runs }) => runs.map(({ runId }) => Buffer.from(runId).toString('hex')))).size).toBe(
      50,
    );
    rogue.socket.destroy();
  });
});

describe('before authentication, a caller', () => {
  test('learns the version of the protocol, and no more', async () => {
    const { home } = await started();
    const rogue = await Rogue.connect(home.agentSocket);
    const nonce = Buffer.alloc(16);
    const words = { protoMin: 1, protoMax: 1, name: 'x', nonce, features: [], clockMs: 0, version: '0' };
    rogue.send({ type: 'HELLO', alias: 0, ...words });
    const [hello] = await rogue.hears('HELLO_OK');
    expect(hello).toEqual({ type: 'HELLO_OK', alias: 0, proto: 1 });
    rogue.send({ type: 'PING', alias: 0, token: 1 });
    expect(await rogue.lastWords()).toMatch(/PING is not accepted before AUTH_OK/);
  });

  test('gets everything else with AUTH_OK', async () => {
    const { home } = await started();
    const rogue = await Rogue.authenticated(home.agentSocket);
    const [auth] = await rogue.hears('AUTH_OK');
    expect(auth).toMatchObject({ maxRuns: 8192, version: expect.any(String), name: expect.any(String) });
    expect(auth!.clockMs).toBeGreaterThan(0);
    rogue.send({ type: 'PING', alias: 0, token: 5 });
    expect(await rogue.hears('PONG')).toMatchObject([{ token: 5 }]);
    rogue.socket.destroy();
  });
});

describe('callers who share a warm link', () => {
  const agentHome = newHome();
  const home = newHome();
  const ends: (() => Promise<unknown>)[] = [];
  let join: () => Promise<Rogue>;
  beforeAll(async () => {
    const agent = await openAgent({ home: agentHome, listen: ['tls://127.0.0.1:0'], maxRunsPerLink: 60 });
    ends.push(() => agent.close());
    const url = agent.listening.find((each) => each.startsWith('tls:'))!;
    const { pin } = await pair(home, url, { code: agent.issueCode().code, name: 'web1' });
    const held = await openWarmLinks(home);
    ends.push(() => held.close());
    const proof = Buffer.from(JSON.stringify({ url, pin }));
    join = async () => await Rogue.authenticated(home.linksSocket, { method: 'warm', proof });
  });
  afterAll(async () => {
    const host = await connect('local', { home: agentHome });
    await ends.pop()?.();
    await host.ask('stop', { runs: true });
    await host.close();
    await ends.pop()?.();
    await removeHome(agentHome.state);
    await removeHome(home.state);
  });

  const faults: [string, (rogue: Rogue) => void | Promise<void>][] = [
    ['a hole in stdin', (rogue) => rogue.frame(encodeData(1, 0, 0, 5, Buffer.from('x')))],
    [
      'stdin beyond its credit',
      async (rogue) => {
        // Its credit does not grow, for the command reads nothing.
        rogue.open(2, ['sleep', '60'], true);
        await rogue.hears('CREDIT', 2);
        for (let at = 0; at < 40; at++) rogue.frame(encodeData(2, 0, 0, at * 65_536, Buffer.alloc(65_536)));
      },
    ],
    ['garbage for a message of a run', (rogue) => rogue.frame(Buffer.from('2300000000000001ffff', 'hex'))],
    ['an unknown type', (rogue) => rogue.frame(Buffer.from('ee00000000000001', 'hex'))],
    ['what only hosts say', (rogue) => rogue.send({ type: 'TREE_END', alias: 1, survivors: [] })],
    ['a signal for the link', (rogue) => rogue.send({ type: 'SIGNAL', alias: 0, opId: 1, signal: 9, scope: 'tree' })],
    ['an alias again', (rogue) => rogue.open(1, ['true'])],
    ['a run that it did not open', (rogue) => rogue.send({ type: 'ACK', alias: 9, stream: 1, durable: 1 })],
    ['a run id that is none', (rogue) => rogue.attach(2, { runId: Buffer.alloc(3) })],
    ['a hold of 1000 bytes', (rogue) => rogue.attach(2, { holder: Buffer.alloc(1000) })],
    [
      'more signals than an agent remembers',
      (rogue) => {
        rogue.send({ type: 'SIGNAL', alias: 1, opId: 1, signal: 19, scope: 'group' });
        for (let opId = 2; opId < 9000; opId++)
          rogue.send({ type: 'CANCEL', alias: 1, opId, graceMs: 60_000, reason: 'storm' });
      },
    ],
  ];
  test.each(faults)('go on when one of them sends %s, and that one ends', async (_what, act) => {
    const bystander = await join();
    await bystander.openCat(1);
    const rogue = await join();
    await rogue.openCat(1);
    await act(rogue);
    expect(await rogue.lastWords()).not.toBe('no LINK_ERROR');
    bystander.frame(encodeData(1, 0, 0, 0, Buffer.from('undisturbed')));
    bystander.send({ type: 'EOS', alias: 1, stream: 0, final: 11 });
    const [exit] = await bystander.hears('EXIT');
    expect(exit).toMatchObject({ code: 0 });
    expect(bystander.messages.some((message) => message.type === 'LINK_ERROR')).toBe(false);
    bystander.socket.destroy();
  });

  test('find room for a run beside one that takes all it can get', async () => {
    const rogue = await join();
    for (let alias = 1; alias <= 100; alias++) rogue.open(alias, ['sleep', '60']);
    await until(() => rogue.messages.filter(({ alias }) => alias > 0).length >= 100, 'each OPEN has an answer');
    await rogue.hears('REFUSED');
    const other = await join();
    other.open(1, ['true']);
    await other.hears('EXIT');
    other.socket.destroy();
    rogue.socket.destroy();
    await rogue.closed;
  });

  test('get answers beside one that asks hundreds of questions, and each has one', async () => {
    const rogue = await join();
    rogue.socket.pause();
    for (let opId = 1; opId <= 500; opId++) rogue.send({ type: 'LIST', alias: 0, opId, all: true });
    const other = await join();
    for (let opId = 1; opId <= 40; opId++)
      other.send({ type: opId % 2 ? 'LIST' : 'ASK', alias: 0, opId, all: true, what: 'ping' } as never);
    await until(() => other.messages.filter((message) => 'opId' in message).length >= 40, 'every answer');
    for (const message of other.messages) if (message.type === 'ANSWER') expect(message.error).toBeUndefined();
    rogue.socket.resume();
    const answers = (): number => new Set(rogue.messages.flatMap((each) => ('opId' in each ? [each.opId] : []))).size;
    await until(() => answers() === 500, 'an answer to each question');
    other.socket.destroy();
    rogue.socket.destroy();
  });
});

test('a run waits for no more than a turn of a link that has opened a thousand', async () => {
  const { home, host } = await started({ limits: { maxRunning: 2 } });
  const rogue = await Rogue.authenticated(home.agentSocket);
  for (let alias = 1; alias <= 1000; alias++) rogue.open(alias, ['cat'], true);
  await rogue.hears('OPENED', 2);
  let over = false;
  const isOver = (): boolean => over;
  const run = host.run(['echo', 'fine']);
  void run.finally(() => (over = true));
  // Each of its commands makes room for one when it ends.
  let ended = 0;
  const hasEnded = () => rogue.messages.filter(({ type }) => type === 'EXIT').length === ended;
  while (!isOver()) {
    rogue.send({ type: 'EOS', alias: ++ended, stream: 0, final: 0 });
    await until(() => isOver() || hasEnded(), 'the end of a command');
  }
  expect((await run).stdout).toBe('fine\n');
  expect(ended).toBeLessThan(100);
  rogue.socket.destroy();
});
