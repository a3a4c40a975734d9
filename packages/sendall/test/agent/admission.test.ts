/** What callers who are no owners may do: over real TLS links to a real agent and its keeper. */
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { connect, KnownHosts, pair, RefusedError, resolveHome, type Home, type Host } from 'sendall';
import { admit, admitRun, isRefusal, type Rulebook, type Verb } from '../../dist/agent/admission.js';
import { Agent } from '../../dist/agent/agent.js';
import { KeeperGate } from '../../dist/agent/gate.js';
import { Callers, type Rights } from '../../dist/agent/callers.js';
import { loadIdentity } from '../../dist/keys/identity.js';
import { dial } from '../../dist/link/dial.js';
import { greet, type Greeting } from '../../dist/link/handshake.js';
import type { Link } from '../../dist/link/link.js';
import { decodeSpec, encodeSpec } from '../../dist/protocol/codec.js';
import type { Control, Message, MessageNamed, Spec } from '../../dist/protocol/messages.js';
import { newRunId } from '../../dist/protocol/run-id.js';
import { until } from '../../../../test/support/waits.js';
import { removeHome } from '../remove-home.js';

/** Verbs that each role has; a command must be one of `commands`. */
class Rules implements Rulebook {
  rev = 1;
  isRoot = true;
  readonly verbs = new Map<string, readonly Verb[]>();
  commands: readonly string[] = ['cat', 'sleep', 'echo'];
  runAs: string | undefined;

  decide({ principal, roles, verb, spec }: Parameters<Rulebook['decide']>[0]): ReturnType<Rulebook['decide']> {
    const role = roles.find((each) => this.verbs.get(each)?.includes(verb));
    const program = Buffer.from(spec?.argv[0] ?? []).toString();
    if (role === undefined || (spec && !this.commands.includes(program)))
      return { deny: `no rule lets ${principal} ${verb} ${program}` };
    return { grant: { rule: role, policyRev: this.rev, ...(this.runAs !== undefined && { runAs: this.runAs }) } };
  }
}

let folder: string;
let agent: Agent;
let rules: Rules;
let url: string;
const links: Link[] = [];
const hosts: Host[] = [];
const homeIn = (name: string): Home => resolveHome({ SENDALL_HOME: join(folder, name) });

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sendall-admission-'));
  rules = new Rules();
  const options = { home: homeIn('host'), listen: ['tls://127.0.0.1:0'], keeperIdleExit: 200 };
  agent = new Agent(options, new KeeperGate(options.home, { idleExitMs: 200, limits: { maxRunning: 4 } }), rules);
  await agent.open();
  url = agent.listening.find((each) => each.startsWith('tls:'))!;
});
afterEach(async () => {
  for (const link of links.splice(0)) link.destroy();
  for (const host of hosts.splice(0)) await host.close();
  const local = await connect('local', { home: homeIn('host') });
  await local.ask('stop', { runs: true });
  await local.close();
  await agent.stopped;
  for (const name of readdirSync(folder)) await removeHome(join(folder, name), 0);
  rmSync(folder, { recursive: true, force: true });
});

const ALICE = { principal: 'alice', roles: ['deploy'] };

async function homeOf(rights: Rights, name = rights.principal ?? 'owner'): Promise<Home> {
  const home = homeIn(name);
  await pair(home, url, { code: agent.issueCode(rights).code, name: 'host' });
  return home;
}

async function hostOf(rights: Rights, name?: string): Promise<Host> {
  const host = await connect('host', { home: await homeOf(rights, name) });
  hosts.push(host);
  return host;
}

/** A caller's link, message by message. */
class Caller {
  readonly link: Link;
  readonly greeting: Greeting;
  readonly heard: Message[] = [];
  ended = false;
  error: Error | undefined;

  private constructor(link: Link, greeting: Greeting) {
    this.link = link;
    this.greeting = greeting;
    link.handOver({
      message: (message) => void this.heard.push(message),
      closed: () => (this.ended = true),
    });
  }

  static async of(home: Home): Promise<Caller> {
    const { pin } = KnownHosts.of(home).get('host')!;
    const link = await dial(url, { pin, identity: () => loadIdentity(home) });
    links.push(link);
    return new Caller(link, await greet(link, { method: 'pin', name: 'test', timeoutMs: 30_000 }));
  }

  static async with(rights: Rights): Promise<Caller> {
    return await Caller.of(await homeOf(rights));
  }

  async hears<N extends Message['type']>(type: N, alias?: number): Promise<MessageNamed<N>> {
    const found = (): Message | undefined =>
      this.heard.find((each) => each.type === type && (alias === undefined || each.alias === alias));
    return (await until(
      found,
      () => `${type}; heard ${this.heard.map((each) => each.type).join(', ')}`,
    )) as MessageNamed<N>;
  }

  open(alias: number, argv: readonly string[], part: Partial<Spec> = {}, runId = newRunId()): Uint8Array {
    const words = argv.map((word) => Buffer.from(word));
    const spec = encodeSpec({ verb: 'exec', argv: words, env: [], tags: [], secrets: [], stdin: false, ...part });
    const attach = [1, 2].map((stream) => ({ stream, offset: 0, limit: 1 << 20 }));
    this.link.send({ type: 'OPEN', alias, runId, spec, notAfterMs: Date.now() + 60_000, attach, secrets: [] });
    return runId;
  }

  attach(alias: number, runId: Uint8Array, mode: 'observe' | 'control'): void {
    this.link.send({ type: 'ATTACH', alias, runId, from: [], mode });
  }

  ask(message: Control): void {
    this.link.send(message);
  }
}

describe('a caller who is no owner', () => {
  test('may do nothing without a rule, and is told so; an owner may do everything', async () => {
    const alice = await Caller.with(ALICE);
    expect(alice.greeting.auth).toMatchObject({ principal: 'alice', roles: ['deploy'], policyRev: 1 });
    alice.open(1, ['echo', 'x']);
    expect(await alice.hears('REFUSED')).toMatchObject({ code: 'policy', message: 'no rule lets alice exec echo' });
    alice.attach(2, newRunId(), 'observe');
    expect(await alice.hears('ATTACH_REFUSED')).toMatchObject({ code: 'policy' });
    for (const question of [
      { type: 'LIST', alias: 0, opId: 1, all: true },
      { type: 'FORGET', alias: 0, opId: 1, runId: newRunId() },
      { type: 'ASK', alias: 0, opId: 1, what: 'status' },
      { type: 'ASK', alias: 0, opId: 1, what: 'pair-new' },
      { type: 'ASK', alias: 0, opId: 1, what: 'stop' },
    ] as const) {
      alice.heard.length = 0;
      alice.ask(question);
      expect(await alice.hears('ANSWER')).toMatchObject({ code: 'policy', error: expect.stringContaining('alice') });
    }
    const owner = await hostOf({});
    expect((await owner.run(['echo', 'x'])).stdout).toBe('x\n');
    expect(await owner.ask('status')).toMatchObject({ pid: process.pid });
  });

  test('is refused what its rules do not name, with outcome "refused" and code "policy"', async () => {
    rules.verbs.set('deploy', ['exec']);
    const host = await hostOf(ALICE);
    expect((await host.run(['echo', 'x'])).stdout).toBe('x\n');
    const result = await host.run(['id'], { reject: false });
    expect(result).toMatchObject({ outcome: 'refused', refusal: 'policy' });
    expect(result.reason).toContain('no rule lets alice exec id');
    expect(await host.sh('echo x', { reject: false })).toMatchObject({ outcome: 'refused', refusal: 'policy' });
    expect(await host.run(['echo', 'x'], { pty: true, reject: false })).toMatchObject({ refusal: 'policy' });
    await expect(host.forget((await host.run(['echo', 'x'])).runId)).rejects.toThrow(RefusedError);
    await expect(async () => {
      for await (const _ of host.runs()) expect.unreachable();
    }).rejects.toThrow(RefusedError);
    await host.ping();
  });

  test('reads no more of a run that it attaches to than a viewer needs', async () => {
    rules.verbs.set('deploy', ['exec']);
    const home = await homeOf(ALICE);
    const opener = await Caller.of(home);
    const env = [Buffer.from('PASSWORD=hunter2')];
    const runId = opener.open(1, ['cat', '/dev/null', 'secret-word'], {
      env,
      stdin: true,
      name: 'x',
      capture: 'merged',
    });
    await opener.hears('OPENED');
    const viewer = await Caller.of(home);
    viewer.attach(1, runId, 'observe');
    const { spec } = await viewer.hears('ATTACHED');
    expect(decodeSpec(spec!)).toMatchObject({ env: [], argv: [Buffer.from('cat')], tags: [], capture: 'merged' });
    expect(Buffer.from(spec!).includes('hunter2')).toBe(false);
    expect(decodeSpec(spec!).name).toBeUndefined();
    // An owner sees all of a run of its own.
    const ownerHome = await homeOf({});
    const owner = await Caller.of(ownerHome);
    const own = owner.open(1, ['cat'], { env, stdin: true });
    await owner.hears('OPENED');
    const second = await Caller.of(ownerHome);
    second.attach(1, own, 'observe');
    expect(decodeSpec((await second.hears('ATTACHED')).spec!).env).toEqual(env);
  });

  test('does not find the runs of another principal, whatever its verbs', async () => {
    rules.verbs.set('deploy', ['exec', 'attach', 'observe', 'list', 'forget', 'signal']);
    const owner = await Caller.with({});
    const runId = owner.open(1, ['cat'], { stdin: true });
    await owner.hears('OPENED');
    const alice = await Caller.with(ALICE);
    alice.attach(1, runId, 'control');
    expect(await alice.hears('ATTACH_REFUSED')).toMatchObject({ code: 'unknown' });
    alice.ask({ type: 'LIST', alias: 0, opId: 1, all: true });
    expect(await alice.hears('RUNS')).toMatchObject({ runs: [] });
    alice.ask({ type: 'FORGET', alias: 0, opId: 2, runId });
    expect(await alice.hears('OP_OK')).toMatchObject({ result: 'unknown' });
  });

  test.each([
    ['SIGNAL', { type: 'SIGNAL', alias: 1, opId: 7, signal: 9, scope: 'tree' }],
    ['CANCEL', { type: 'CANCEL', alias: 1, opId: 7 }],
    ['RESIZE', { type: 'RESIZE', alias: 1, opId: 7, cols: 10, rows: 10 }],
  ] as const)('that only observes sends no %s without the verb signal', async (_, operation) => {
    rules.verbs.set('deploy', ['exec']);
    const home = await homeOf(ALICE);
    const opener = await Caller.of(home);
    const runId = opener.open(1, ['cat'], { stdin: true });
    await opener.hears('STARTED');
    const viewer = await Caller.of(home);
    viewer.attach(1, runId, 'observe');
    await viewer.hears('ATTACHED');
    viewer.ask(operation);
    expect(await viewer.hears('OP_OK')).toMatchObject({
      opId: 7,
      result: expect.stringContaining('no rule lets alice signal'),
    });
    // Nor after it has lost control to another of its links.
    const controller = await Caller.of(home);
    controller.attach(1, runId, 'control');
    await opener.hears('CONTROL_LOST');
    opener.ask(operation);
    expect(await opener.hears('OP_OK')).toMatchObject({ result: expect.stringContaining('no rule lets alice signal') });
    // Whoever controls the run may end it.
    controller.ask({ type: 'SIGNAL', alias: 1, opId: 8, signal: 15, scope: 'leader' });
    expect(await controller.hears('OP_OK')).toMatchObject({ opId: 8, result: 'done' });
    expect(await controller.hears('EXIT')).toMatchObject({ signal: 'SIGTERM' });
  });

  test('that only observes may signal with the verb signal', async () => {
    rules.verbs.set('deploy', ['exec', 'signal']);
    const home = await homeOf(ALICE);
    const opener = await Caller.of(home);
    const runId = opener.open(1, ['cat'], { stdin: true });
    await opener.hears('STARTED');
    const viewer = await Caller.of(home);
    viewer.attach(1, runId, 'observe');
    await viewer.hears('ATTACHED');
    viewer.ask({ type: 'SIGNAL', alias: 1, opId: 7, signal: 15, scope: 'leader' });
    expect(await viewer.hears('OP_OK')).toMatchObject({ result: 'done' });
    await viewer.hears('EXIT');
  });

  test('keeps its runs over a lost link and an agent that starts again', async () => {
    rules.verbs.set('deploy', ['exec']);
    const host = await hostOf(ALICE);
    const run = host.run(['cat'], { stdin: 'pipe' });
    await run.started;
    const { port } = new URL(url.replace('tls:', 'http:'));
    await agent.close();
    agent = new Agent(
      { home: homeIn('host'), listen: [`tls://127.0.0.1:${port}`], keeperIdleExit: 200 },
      undefined,
      rules,
    );
    await agent.open();
    run.stdin.end('kept');
    expect((await run).stdout).toBe('kept');
  });

  test('is refused where the agent is not root, at its first word and for its pairing', async () => {
    rules.verbs.set('deploy', ['exec']);
    const home = await homeOf(ALICE);
    rules.isRoot = false;
    const refused = (await connect('host', { home }).catch((error: unknown) => error)) as Error;
    expect(refused).toBeInstanceOf(RefusedError);
    expect(refused.message).toMatch(/this agent is not root, so it serves owners only, and alice \(deploy\) is none/);
    expect(() => agent.issueCode({ principal: 'bob', roles: ['deploy'] })).toThrow(/not root.*bob would be none/);
    expect(agent.issueCode({ principal: 'bob', roles: ['owner'] }).code).toBeTruthy();
  });
});

describe('when roles or rules have changed', () => {
  /** Runs of alice that take all places there are, and one that waits for its turn. */
  async function crowd(caller: Caller): Promise<Uint8Array> {
    const runIds = [1, 2, 3, 4, 5, 6].map((alias) => caller.open(alias, ['cat'], { stdin: true }));
    await caller.hears('OPENED', 6);
    await caller.hears('STARTED', 1);
    const local = await connect('local', { home: homeIn('host') });
    hosts.push(local);
    return runIds[5]!;
  }

  const pairAgain = async (rights: Rights): Promise<void> => void (await homeOf(rights, 'alice'));

  test('a run that waits for its turn is refused, and one that is held is let go; it goes on', async () => {
    rules.verbs.set('deploy', ['exec']);
    const alice = await Caller.with(ALICE);
    const waiting = await crowd(alice);
    await pairAgain({ principal: 'alice', roles: ['guest'] });
    expect(await alice.hears('ATTACH_REFUSED', 1)).toMatchObject({
      code: 'policy',
      message: expect.stringContaining('alice'),
    });
    alice.open(7, ['cat']);
    expect(await alice.hears('REFUSED', 7)).toMatchObject({ code: 'policy' });
    // Answered when every run was looked at.
    await hosts[0]!.ask('callers-changed');
    await pairAgain(ALICE);
    const again = await Caller.of(homeIn('alice'));
    again.attach(1, waiting, 'observe');
    const answer = await until(
      () => again.heard.find(({ type }) => type === 'ATTACH_REFUSED' || type === 'ATTACHED'),
      'the answer about the run that waited',
    );
    expect(answer).toMatchObject({ type: 'ATTACH_REFUSED', code: 'policy' });
    again.open(2, ['cat'], { stdin: true });
    await again.hears('OPENED', 2);
  });

  test('a caller that becomes less than an owner keeps no run that it could not start now', async () => {
    const alice = await Caller.with({ principal: 'alice', roles: ['owner'] });
    rules.verbs.set('deploy', ['exec']);
    const kept = alice.open(1, ['cat'], { stdin: true });
    alice.open(2, ['tail', '-f', '/dev/null']);
    await alice.hears('STARTED', 1);
    await alice.hears('STARTED', 2);
    await pairAgain(ALICE);
    expect(await alice.hears('ATTACH_REFUSED', 2)).toMatchObject({ message: expect.stringContaining('exec tail') });
    alice.ask({ type: 'SIGNAL', alias: 1, opId: 1, signal: 15, scope: 'leader' });
    expect(await alice.hears('EXIT', 1)).toMatchObject({ signal: 'SIGTERM' });
    const second = await Caller.of(homeIn('alice'));
    second.attach(1, kept, 'control');
    await second.hears('ATTACHED');
  });

  test('a run that waits does not start with rights that its caller has no longer', async () => {
    const alice = await Caller.with({ principal: 'alice', roles: ['owner'] });
    rules.verbs.set('deploy', ['exec']);
    const waiting = await crowd(alice);
    await pairAgain(ALICE);
    expect(await alice.hears('REFUSED', 6)).toMatchObject({
      runId: Buffer.from(waiting),
      code: 'policy',
      message: expect.stringContaining('has changed'),
    });
  });

  test('a key that is removed loses its links at once, and its runs that wait', async () => {
    rules.verbs.set('deploy', ['exec']);
    const alice = await Caller.with(ALICE);
    const waiting = await crowd(alice);
    const callers = new Callers(homeIn('host'));
    for (const { fingerprint } of callers.list()) await callers.remove(fingerprint);
    await until(() => alice.ended, 'the end of the link');
    const host = hosts[0]!;
    await host.ask('callers-changed');
    await pairAgain(ALICE);
    const again = await Caller.of(homeIn('alice'));
    again.attach(1, waiting, 'observe');
    expect(await again.hears('ATTACH_REFUSED')).toMatchObject({
      code: 'policy',
      message: expect.stringContaining('no key'),
    });
  });

  test("a link of a key that is another principal's now ends, and the next one is the other's", async () => {
    rules.verbs.set('deploy', ['exec', 'list']);
    const host = await hostOf(ALICE, 'alice');
    await host.run(['echo', 'x']);
    await pairAgain({ principal: 'bob', roles: ['deploy'] });
    await until(() => host.resumes > 0 || host.run(['echo', 'x']).then(() => host.resumes > 0), 'another link');
    expect(host.info.principal).toBe('bob');
  });

  test('a list of callers that is wrong stops new runs of callers over the network, and no others', async () => {
    const owner = await Caller.with({});
    const text = JSON.stringify(
      Object.fromEntries([[agent.fingerprint, { name: 'x', principal: 'owner', roles: ['deploy'] }]]),
    );
    writeFileSync(homeIn('host').callersFile, text);
    owner.open(1, ['echo', 'x']);
    expect(await owner.hears('REFUSED')).toMatchObject({
      code: 'policy',
      message: expect.stringContaining('sendall doctor'),
    });
    const local = await connect('local', { home: homeIn('host') });
    expect((await local.run(['echo', 'x'])).stdout).toBe('x\n');
    await local.close();
    rmSync(homeIn('host').callersFile);
  });
});

test('an owner gets the same grant for whatever it sends, and it is not decoded', () => {
  const owner = { name: 'alice', roles: ['deploy', 'owner'] };
  const rules: Rulebook = { rev: 1, isRoot: true, decide: () => expect.unreachable() };
  const grant = admit(rules, owner, 'exec');
  fc.assert(
    fc.property(fc.uint8Array(), (raw) => {
      expect(admitRun(rules, owner, raw)).toBe(grant);
    }),
  );
});

test('bytes that are no spec are refused as such, and nothing is asked', () => {
  const rules: Rulebook = { rev: 1, isRoot: true, decide: ({ spec }) => ({ deny: spec!.verb }) };
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (raw) => {
      const answer = admitRun(rules, { name: 'alice', roles: [] }, raw);
      expect(isRefusal(answer)).toBe(true);
    }),
  );
  const long = admitRun(rules, { name: 'alice', roles: [] }, Buffer.alloc(256 * 1024 + 1));
  expect(long).toMatchObject({ code: 'policy', message: expect.stringContaining('262145 bytes') });
});
