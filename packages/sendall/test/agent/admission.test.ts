/** What callers who are no owners may do: over real TLS links to a real agent and its keeper. */
import { existsSync, mkdtempSync, readdirSync, realpathSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { connect, KnownHosts, pair, RefusedError, resolveHome, secret, type Home, type Host } from 'sendall';
import { admit, admitRun, isRefusal } from '../../dist/agent/admission/admission.js';
import { Agent } from '../../dist/agent/agent.js';
import { KeeperGate } from '../../dist/agent/gate.js';
import { Callers, type Rights } from '../../dist/agent/callers/callers.js';
import { loadIdentity } from '../../dist/keys/identity.js';
import { dial } from '../../dist/link/dial.js';
import { greet, type Greeting } from '../../dist/link/handshake.js';
import type { Link } from '../../dist/link/link.js';
import { decodeSpec, encodeSpec } from '../../dist/protocol/codec.js';
import { PolicyFile } from '../../dist/policy/policy-file.js';
import type { Verb } from '../../dist/policy/rules.js';
import { ThisMachine } from '../../dist/policy/this-machine.js';
import type { Control, Message, MessageNamed, Spec } from '../../dist/protocol/messages.js';
import { newRunId } from '../../dist/protocol/run-id.js';
import { rootDescribe } from '../../../../test/support/root.js';
import { until } from '../../../../test/support/waits.js';
import { removeHome } from '../remove-home.js';

/** An address of the loopback that no other process uses: an agent that starts again gets its port back. */
const LOOPBACK = `127.${64 + ((process.pid >> 16) & 63)}.${(process.pid >> 8) & 255}.${process.pid & 255}`;
/** An account other than root's, with a home that is there. */
const ACCOUNT = 'bin';
const programOf = (name: string): string =>
  realpathSync(['/usr/bin', '/bin'].map((folder) => join(folder, name)).find((path) => existsSync(path))!);

/** What a policy lets callers with a role do. */
interface Allowed {
  readonly verbs: readonly Verb[];
  readonly role?: string;
  readonly runAs?: string;
}

/** Writes the host's policy, as editors do it: a new file in the old one's place. */
function writePolicy(...rules: readonly Allowed[]): void {
  const commands = {
    cat: 'stdin: yes, pty: yes',
    echo: 'rest: {each: {like: "*"}, max: 8}',
    printenv: 'args: [{one-of: [TOKEN, TOKEN_FD]}], env: [TOKEN]',
    head: 'args: [-c0, /dev/null, secret-word], env: [PASSWORD], stdin: yes',
  };
  const lines = rules.flatMap(({ verbs, role = 'deploy', runAs = ACCOUNT }, i) => {
    const who = `who: ["role:${role}"]`;
    const others = verbs.filter((verb) => verb !== 'exec');
    return [
      ...(others.length ? [`  - {id: others-${i}, ${who}, verbs: [${others.join(', ')}]}`] : []),
      ...(others.length < verbs.length
        ? Object.entries(commands).map(
            ([name, more]) =>
              `  - {id: ${name}-${i}, ${who}, verbs: [exec], program: ${programOf(name)}, run-as: ${runAs}, ${more}}`,
          )
        : []),
    ];
  });
  const { policyFile } = homeIn('host');
  writeFileSync(`${policyFile}.new`, `version: 1\nrules:\n${lines.join('\n')}\n`, { mode: 0o600 });
  renameSync(`${policyFile}.new`, policyFile);
}

let folder: string;
let agent: Agent;
let url: string;
const links: Link[] = [];
const hosts: Host[] = [];
const homeIn = (name: string): Home => resolveHome({ SENDALL_HOME: join(folder, name) });

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sendall-admission-'));
  const options = { home: homeIn('host'), listen: [`tls://${LOOPBACK}:0`], keeperIdleExit: 200 };
  agent = new Agent(options, new KeeperGate(options.home, { idleExitMs: 200, limits: { maxRunning: 4 } }));
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

rootDescribe('a caller who is no owner', () => {
  test('may do nothing without a rule, and is told so; an owner may do everything', async () => {
    const alice = await Caller.with(ALICE);
    expect(alice.greeting.auth).toMatchObject({ principal: 'alice', roles: ['deploy'], policyRev: 0 });
    alice.open(1, ['echo', 'x']);
    expect(await alice.hears('REFUSED')).toMatchObject({ code: 'policy', message: 'no rule lets alice exec echo x' });
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
    writePolicy({ verbs: ['exec'] });
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

  test('gives its command a secret whose name a rule allows as a variable, and no other', async () => {
    writePolicy({ verbs: ['exec'] });
    const host = await hostOf(ALICE);
    const TOKEN = secret('hunter2');
    expect(await host.run(['printenv', 'TOKEN'], { secrets: { TOKEN }, secretAs: 'env' }).text()).toBe('hunter2');
    expect(await host.run(['printenv', 'TOKEN_FD'], { secrets: { TOKEN } }).text()).toBe('3');
    for (const name of ['OTHER', 'NODE_AUTH', 'TOKEN_FD']) {
      const refused = await host.run(['printenv', 'TOKEN'], { secrets: { [name]: TOKEN }, reject: false });
      expect(refused).toMatchObject({ outcome: 'refused', refusal: 'policy' });
      expect(refused.reason).not.toContain('hunter');
    }
  });

  test('reads no more of a run that it attaches to than a viewer needs', async () => {
    writePolicy({ verbs: ['exec'] });
    const home = await homeOf(ALICE);
    const opener = await Caller.of(home);
    const env = [Buffer.from('PASSWORD=hunter2')];
    const runId = opener.open(1, ['head', '-c0', '/dev/null', 'secret-word'], {
      env,
      stdin: true,
      name: 'x',
      capture: 'merged',
    });
    await opener.hears('OPENED');
    const viewer = await Caller.of(home);
    viewer.attach(1, runId, 'observe');
    const { spec } = await viewer.hears('ATTACHED');
    expect(decodeSpec(spec!)).toMatchObject({ env: [], argv: [Buffer.from('head')], tags: [], capture: 'merged' });
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
    writePolicy({ verbs: ['exec', 'attach', 'observe', 'list', 'forget', 'signal'] });
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
    writePolicy({ verbs: ['exec'] });
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
    writePolicy({ verbs: ['exec', 'signal'] });
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
    writePolicy({ verbs: ['exec'] });
    const host = await hostOf(ALICE);
    const run = host.run(['cat'], { stdin: 'pipe' });
    await run.started;
    await agent.close();
    agent = new Agent({ home: homeIn('host'), listen: [url], keeperIdleExit: 200 }, undefined);
    await agent.open();
    run.stdin.end('kept');
    expect((await run).stdout).toBe('kept');
  });

  test('is refused where the agent is not root, at its first word and for its pairing', async () => {
    writePolicy({ verbs: ['exec'] });
    const home = await homeOf(ALICE);
    await agent.close();
    const options = { home: homeIn('host'), listen: [url], keeperIdleExit: 200 };
    agent = new Agent(options, undefined, new PolicyFile(options.home.policyFile, new ThisMachine(1000)));
    await agent.open();
    const refused = (await connect('host', { home }).catch((error: unknown) => error)) as Error;
    expect(refused).toBeInstanceOf(RefusedError);
    expect(refused.message).toMatch(/this agent is not root, so it serves owners only, and alice \(deploy\) is none/);
    expect(() => agent.issueCode({ principal: 'bob', roles: ['deploy'] })).toThrow(/not root.*bob would be none/);
    expect(agent.issueCode({ principal: 'bob', roles: ['owner'] }).code).toBeTruthy();
  });
});

const OTHER_RIGHTS = 'it runs with rights that its caller has no longer';

rootDescribe('when roles or rules have changed', () => {
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
    writePolicy({ verbs: ['exec'] });
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

  test('a caller that becomes less than an owner keeps no run that it could not start like that now', async () => {
    const alice = await Caller.with({ principal: 'alice', roles: ['owner'] });
    writePolicy({ verbs: ['exec'] });
    // What its new role allows too, but as another user.
    const asRoot = alice.open(1, ['cat'], { stdin: true });
    const other = alice.open(2, ['tail', '-f', '/dev/null']);
    await alice.hears('STARTED', 1);
    await alice.hears('STARTED', 2);
    await pairAgain(ALICE);
    expect((await alice.hears('LINK_ERROR')).message).toContain('alice is an owner no more');
    await until(() => alice.ended, 'the end of the link');
    // Nor does the next link get it back, with operations that do not wait for the answer.
    const second = await Caller.of(homeIn('alice'));
    second.attach(1, asRoot, 'control');
    second.ask({ type: 'SIGNAL', alias: 1, opId: 1, signal: 9, scope: 'tree' });
    second.attach(2, other, 'observe');
    second.open(3, ['cat'], { stdin: true }, Buffer.from(asRoot));
    expect(await second.hears('ATTACH_REFUSED', 1)).toMatchObject({ code: 'policy', message: OTHER_RIGHTS });
    expect(await second.hears('ATTACH_REFUSED', 2)).toMatchObject({ code: 'policy' });
    expect(await second.hears('REFUSED', 3)).toMatchObject({ code: 'policy', message: OTHER_RIGHTS });
    await pairAgain({ principal: 'alice', roles: ['owner'] });
    await until(() => second.ended, 'the end of the second link');
    const owner = await Caller.of(homeIn('alice'));
    owner.attach(1, asRoot, 'control');
    expect(await owner.hears('ATTACHED', 1)).toMatchObject({ state: 'running' });
    owner.ask({ type: 'SIGNAL', alias: 1, opId: 1, signal: 15, scope: 'leader' });
    expect(await owner.hears('EXIT', 1)).toMatchObject({ signal: 'SIGTERM' });
  });

  test('a caller that loses its rights while the keeper has not answered learns that its run began', async () => {
    writePolicy({ verbs: ['exec'] });
    const alice = await Caller.with(ALICE);
    alice.open(1, ['cat'], { stdin: true });
    await alice.hears('STARTED', 1);
    const { keeperPid } = await agent.status;
    process.kill(keeperPid!, 'SIGSTOP');
    try {
      alice.open(2, ['cat'], { stdin: true });
      // The agent refuses this one itself, so it has read the one before it.
      alice.open(3, ['ls']);
      await alice.hears('REFUSED', 3);
      await pairAgain({ principal: 'alice', roles: ['guest'] });
      await alice.hears('ATTACH_REFUSED', 1);
    } finally {
      process.kill(keeperPid!, 'SIGCONT');
    }
    await alice.hears('ATTACH_REFUSED', 2);
    // A refusal alone would say that it did not begin.
    expect(alice.heard.find(({ alias }) => alias === 2)!.type).toBe('OPENED');
  });

  test('rules that change count at once, for what is held and for what waits', async () => {
    writePolicy({ verbs: ['exec'] });
    const alice = await Caller.with(ALICE);
    const waiting = await crowd(alice);
    writePolicy({ verbs: ['exec'], role: 'other' });
    expect(await alice.hears('ATTACH_REFUSED', 1)).toMatchObject({ code: 'policy' });
    await hosts[0]!.ask('callers-changed');
    writePolicy({ verbs: ['exec'] });
    const again = await Caller.of(homeIn('alice'));
    expect(again.greeting.auth.policyRev).toBeGreaterThan(alice.greeting.auth.policyRev);
    again.attach(1, waiting, 'observe');
    expect(await again.hears('ATTACH_REFUSED')).toMatchObject({ code: 'policy' });
  });

  test('a run that waits is refused when it would run as another user now', async () => {
    writePolicy({ verbs: ['exec'] });
    const alice = await Caller.with(ALICE);
    await crowd(alice);
    writePolicy({ verbs: ['exec'], runAs: 'daemon' });
    expect(await alice.hears('REFUSED', 6)).toMatchObject({
      code: 'policy',
      message: expect.stringContaining('has changed'),
    });
    expect(await alice.hears('ATTACH_REFUSED', 1)).toMatchObject({ message: OTHER_RIGHTS });
  });

  test('a policy that is broken ends nothing and starts nothing', async () => {
    writePolicy({ verbs: ['exec'] });
    const alice = await Caller.with(ALICE);
    alice.open(1, ['cat'], { stdin: true });
    await alice.hears('STARTED', 1);
    writeFileSync(homeIn('host').policyFile, 'version: 1\nrules: [');
    alice.open(2, ['cat']);
    expect(await alice.hears('REFUSED', 2)).toMatchObject({
      code: 'policy',
      message: expect.stringContaining('broken'),
    });
    await homeOf({ principal: 'bob', roles: ['deploy'] });
    const local = await connect('local', { home: homeIn('host') });
    hosts.push(local);
    await local.ask('callers-changed');
    expect((await local.run(['echo', 'x'])).stdout).toBe('x\n');
    expect(await local.ask('status')).toMatchObject({
      policy: { rules: 4, problem: expect.stringContaining('policy.yaml:2') },
    });
    alice.ask({ type: 'SIGNAL', alias: 1, opId: 1, signal: 15, scope: 'leader' });
    expect(await alice.hears('EXIT', 1)).toMatchObject({ signal: 'SIGTERM' });
  });

  test('a run that waits does not start with rights that its caller has no longer', async () => {
    const alice = await Caller.with({ principal: 'alice', roles: ['owner'] });
    writePolicy({ verbs: ['exec'] });
    const waiting = await crowd(alice);
    await pairAgain(ALICE);
    await until(() => alice.ended, 'the end of the link');
    const second = await Caller.of(homeIn('alice'));
    second.attach(1, waiting, 'control');
    expect(await second.hears('ATTACH_REFUSED', 1)).toMatchObject({
      code: 'policy',
      message: expect.stringContaining('has changed'),
    });
  });

  test('a caller that is an owner no more has the limits of others at once', async () => {
    await agent.close();
    agent = new Agent({ home: homeIn('host'), listen: [url], keeperIdleExit: 200, maxLinksPerPrincipal: 1 });
    await agent.open();
    const home = await homeOf({ principal: 'alice', roles: ['owner'] }, 'alice');
    const before = [await Caller.of(home), await Caller.of(home), await Caller.of(home)];
    const bob = await Caller.with({ principal: 'bob', roles: ['owner'] });
    await pairAgain(ALICE);
    for (const link of before) await until(() => link.ended, 'the end of a link');
    const only = await Caller.of(home);
    await expect(Caller.of(home)).rejects.toThrow(/alice has 1 links .*maxLinksPerPrincipal/);
    // The other way too: an owner's limits come with an owner's link.
    await pairAgain({ principal: 'alice', roles: ['owner'] });
    await until(() => only.ended, 'the end of the link');
    expect((await Caller.of(home)).greeting.auth.roles).toEqual(['owner']);
    expect((await Caller.of(home)).greeting.auth.roles).toEqual(['owner']);
    expect(bob.ended).toBe(false);
  });

  test('a key that is removed while the keeper starts is not let in, and one that changes is who it is then', async () => {
    let go: (() => void)[] = [];
    /** A keeper that takes its time to start. */
    class SlowGate extends KeeperGate {
      slow = false;
      override open(): ReturnType<KeeperGate['open']> {
        if (!this.slow) return super.open();
        return new Promise<void>((resolve) => void go.push(resolve)).then(() => super.open());
      }
    }
    await agent.close();
    const gate = new SlowGate(homeIn('host'), { idleExitMs: 200 });
    agent = new Agent({ home: homeIn('host'), listen: [url], keeperIdleExit: 200 }, gate);
    await agent.open();
    const home = await homeOf({ principal: 'alice', roles: ['owner'] }, 'alice');
    gate.slow = true;
    const late = Caller.of(home);
    await until(() => go.length === 1, 'the link to wait for the keeper');
    gate.slow = false;
    const callers = new Callers(homeIn('host'));
    for (const { fingerprint } of callers.list()) await callers.remove(fingerprint);
    for (const each of go) each();
    await expect(late).rejects.toThrow(/does not know the key/);
    await pairAgain({ principal: 'alice', roles: ['owner'] });
    go = [];
    gate.slow = true;
    const demoted = Caller.of(home);
    await until(() => go.length === 1, 'the link to wait for the keeper');
    gate.slow = false;
    await pairAgain(ALICE);
    for (const each of go) each();
    expect((await demoted).greeting.auth.roles).toEqual(['deploy']);
  });

  test('a key that is removed loses its links at once, and its runs that wait', async () => {
    writePolicy({ verbs: ['exec'] });
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
    writePolicy({ verbs: ['exec', 'list'] });
    const host = await hostOf(ALICE, 'alice');
    await host.run(['echo', 'x']);
    await pairAgain({ principal: 'bob', roles: ['deploy'] });
    await until(() => host.resumes > 0 || host.run(['echo', 'x']).then(() => host.resumes > 0), 'another link');
    expect(host.info.principal).toBe('bob');
  });

  test('a list of callers that is wrong stops new runs of callers over the network, and no others', async () => {
    const owner = await Caller.with({});
    const known = await Caller.with(ALICE);
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
    // What is wrong with it is for this machine's user: it names files, and keys of others.
    const stranger = homeIn('stranger');
    await KnownHosts.of(stranger).add({ name: 'host', url, pin: agent.fingerprint });
    await loadIdentity(stranger, { create: true });
    await local.ask('callers-changed');
    await until(() => known.ended, 'the end of the link');
    const told = [await known.hears('LINK_ERROR'), await Caller.of(stranger).catch((error: unknown) => error as Error)];
    for (const { message } of told as Error[]) {
      expect(message).toContain('sendall doctor');
      expect(message).not.toMatch(/callers\.json|SHA256/);
    }
    await local.close();
    rmSync(homeIn('host').callersFile);
  });
});

test('an owner gets the same grant for whatever it sends, and it is not decoded', () => {
  const owner = { name: 'alice', roles: ['deploy', 'owner'] };
  const policy = new PolicyFile('/nowhere');
  const grant = admit(policy, owner, 'exec');
  fc.assert(
    fc.property(fc.uint8Array(), (raw) => {
      expect(admitRun(policy, owner, raw)).toBe(grant);
    }),
  );
});

test('bytes that are no spec are refused, whatever they are', () => {
  const policy = new PolicyFile('/nowhere');
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (raw) => {
      expect(isRefusal(admitRun(policy, { name: 'alice', roles: [] }, raw))).toBe(true);
    }),
  );
  const long = admitRun(policy, { name: 'alice', roles: [] }, Buffer.alloc(256 * 1024 + 1));
  expect(long).toMatchObject({ code: 'policy', message: expect.stringContaining('262145 bytes') });
});
