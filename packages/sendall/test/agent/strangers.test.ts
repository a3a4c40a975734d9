/** Strangers at an agent's doors: scanners, garbage, floods, and captures that are played again. */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect as connectSocket, createServer, type AddressInfo, type NetConnectOpts, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { connect, openAgent, pair, resolveHome, type Agent, type AgentOptions, type Home, type Host } from 'sendall';
import { KnownSources } from '../../dist/agent/callers/known-sources.js';
import { drawSeed } from '../../../../test/support/seed.js';
import { until, within } from '../../../../test/support/waits.js';
import { Rogue } from '../exact/rogue.js';
import { removeHome } from '../remove-home.js';
import { patiently } from './patiently.js';

const FLOOD = fileURLToPath(new URL('../dist/flood.js', import.meta.url));

let folder: string;
let count = 0;
const newHome = (): Home => resolveHome({ SENDALL_HOME: join(folder, `home${++count}`) });

beforeAll(() => void (folder = mkdtempSync(join(tmpdir(), 'sendall-strangers-'))));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** An agent on a port of its own, closed when the test ends. */
async function newAgent(options: AgentOptions = {}): Promise<{ agent: Agent; port: number; url: string }> {
  const home = options.home ?? newHome();
  const agent = await openAgent({ listen: ['tls://127.0.0.1:0'], keeperIdleExit: 200, ...options, home });
  onTestFinished(async () => {
    await agent.close();
    await removeHome(home.state);
  });
  const url = agent.listening.find((each) => each.startsWith('tls:'))!;
  return { agent, url, port: Number(new URL(url).port) };
}

/** A caller's home, paired with the agent as "web1". */
async function newCaller(agent: Agent, url: string): Promise<Home> {
  const home = newHome();
  await pair(home, url, { code: agent.issueCode().code, name: 'web1' });
  return home;
}

async function dial(options: NetConnectOpts): Promise<Socket> {
  const socket = connectSocket(options);
  socket.on('error', () => {}).resume();
  onTestFinished(() => void socket.destroy());
  await once(socket, 'connect');
  return socket;
}

/** All that the other side says until it hangs up. */
async function answerTo(bytes: Uint8Array, options: NetConnectOpts): Promise<Buffer> {
  const socket = await dial(options);
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  socket.end(bytes);
  await until(() => socket.closed, 'the agent to hang up');
  return Buffer.concat(chunks);
}

async function flood(port: number, from: string, size: number, mode: 'silent' | 'half'): Promise<ChildProcess> {
  const child = spawn(process.execPath, [FLOOD, String(port), from, String(size), mode], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  await within(once(createInterface(child.stdout), 'line'), 'the flood', 60_000);
  return child;
}

describe('a stranger over TCP', () => {
  test('that connects to the port many times and says nothing disturbs no caller', async () => {
    const { agent, port, url } = await newAgent({ maxUnestablishedPerSource: 50 });
    await using before = await connect('web1', { home: await newCaller(agent, url) });
    const scans: Promise<Socket>[] = [];
    for (let i = 0; i < 300; i++) scans.push(dial({ port, host: '127.0.0.1', localAddress: '127.0.0.7' }));
    const sockets = await Promise.all(scans);
    for (const socket of sockets.slice(0, 100)) socket.destroy();
    await using during = await connect('web1', { home: await newCaller(agent, url) });
    expect((await during.run(['echo', 'served'])).stdout).toBe('served\n');
    expect((await before.run(['echo', 'undisturbed'])).stdout).toBe('undisturbed\n');
    await until(async () => (await agent.status).unestablished <= 50, 'the surplus to go');
  });

  test('that speaks something else is hung up on', async () => {
    const { agent, port, url } = await newAgent();
    const home = await newCaller(agent, url);
    let state = drawSeed();
    const byte = (): number => (state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0) >>> 24;
    const garbage = [
      Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n'),
      Buffer.from('SSH-2.0-OpenSSH_9.9\r\n'),
      Buffer.from('ffffffff00000000', 'hex'),
      Buffer.alloc(70_000, 0x16),
      Buffer.from([0x16, 3, 1, 0xff, 0xff]),
      ...Array.from({ length: 20 }, () => Buffer.from(Array.from({ length: 300 }, byte))),
    ];
    for (const bytes of garbage) {
      const answer = await answerTo(bytes, { port, host: '127.0.0.1' });
      // At most a TLS alert.
      expect(answer.length).toBeLessThan(16);
    }
    await using host = await connect('web1', { home });
    expect((await host.run(['echo', 'fine'])).stdout).toBe('fine\n');
  });

  test.each([
    ['without the name of our protocol', ['-tls1_3'], /./],
    ['with an older TLS', ['-tls1_2', '-alpn', 'sendall/1'], /alert protocol version|unsupported protocol|alert/i],
    ['without a certificate', ['-tls1_3', '-alpn', 'sendall/1'], /showed no certificate/],
    ['with a certificate of its own', ['-tls1_3', '-alpn', 'sendall/1', '-cert', 'OWN', '-key', 'OWN'], /./],
  ])('that is openssl s_client %s learns nothing but that', async (_, words, expected) => {
    // Only who has a certificate is not turned away at once. The others are to be answered, however long they take.
    const { agent, port, url } = await newAgent({ handshakeTimeout: words.includes('OWN') ? 1000 : 600_000 });
    const own = join(folder, 'stranger.pem');
    if (!existsSync(own))
      await promisify(execFile)('openssl', [
        ...'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -batch -subj /CN=stranger'.split(' '),
        '-keyout',
        own,
        '-out',
        own,
      ]);
    const options = words.map((word) => (word === 'OWN' ? own : word));
    const child = spawn('openssl', ['s_client', '-connect', `127.0.0.1:${port}`, '-ign_eof', ...options]);
    onTestFinished(() => void child.kill('SIGKILL'));
    let said = '';
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('latin1').on('data', (text: string) => (said += text));
    await within(once(child, 'close'), 'openssl to end');
    expect(said).toMatch(expected);
    expect(said).not.toContain(agent.home.state);
    await using host = await patiently(async () => await connect('web1', { home: await newCaller(agent, url) }));
    expect((await host.run(['echo', 'fine'])).stdout).toBe('fine\n');
    await until(async () => (await agent.status).unestablished === 0, 'the stranger to go');
  });

  test.each(['silent', 'half'] as const)(
    'that floods with %s connections keeps no caller out, neither from its own address nor from another',
    async (mode) => {
      const { agent, port, url } = await newAgent({ maxConnections: 256, maxUnestablishedPerSource: 200 });
      const home = await newCaller(agent, url);
      await using before = await connect('web1', { home });
      for (const from of ['127.0.0.1', '127.0.0.9']) {
        const child = await flood(port, from, 400, mode);
        for (let i = 0; i < 3; i++) {
          await using host = await connect('web1', { home, timeout: 30_000 });
          expect((await host.run(['echo', from])).stdout).toBe(`${from}\n`);
        }
        expect((await before.run(['echo', 'undisturbed'])).stdout).toBe('undisturbed\n');
        await until(async () => (await agent.status).unestablished <= 200, 'the surplus to go');
        child.kill('SIGKILL');
        await once(child, 'close');
      }
    },
  );

  test('leaves descriptors for callers on the machine itself', async () => {
    const home = newHome();
    const program = fileURLToPath(new URL('../../bin/sendall.js', import.meta.url));
    const env = { ...process.env, SENDALL_HOME: home.state };
    const words = ['agent', '--listen', 'tls://127.0.0.1:0'];
    const agent = spawn('sh', ['-c', 'ulimit -n 128; exec "$0" "$@"', process.execPath, program, ...words], {
      env,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    onTestFinished(async () => {
      agent.kill();
      if (agent.exitCode === null) await once(agent, 'close');
      await removeHome(home.state, 0);
    });
    let said = '';
    agent.stderr.setEncoding('utf8').on('data', (text: string) => (said += text));
    await until(
      () => said.includes('tls://'),
      () => `the agent to listen: ${said}`,
    );
    await flood(Number(/tls:\/\/127\.0\.0\.1:(\d+)/.exec(said)![1]), '127.0.0.1', 400, 'silent');
    await using host = await connect('local', { home });
    expect((await host.run(['echo', 'here'])).stdout).toBe('here\n');
  });
});

describe('a source of known callers', () => {
  test('has so many links; one more is told the limit, and callers from elsewhere get in', async () => {
    const { agent, port, url } = await newAgent({ maxConnectionsPerSource: 3 });
    const [alice, bob] = [await newCaller(agent, url), newHome()];
    const elsewhere = createServer((caller) => {
      const onward = connectSocket({ port, host: '127.0.0.1', localAddress: '127.0.0.9' });
      caller.on('error', () => onward.destroy()).pipe(onward);
      onward.on('error', () => caller.destroy()).pipe(caller);
    });
    await new Promise<void>((resolve) => elsewhere.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => void elsewhere.close());
    const other = `tls://127.0.0.1:${(elsewhere.address() as AddressInfo).port}`;
    await pair(bob, other, { code: agent.issueCode().code, name: 'web1' });
    await until(async () => (await agent.status).links === 0, 'the links of pairing to go');

    const links: Host[] = [];
    for (let i = 0; i < 3; i++) links.push(await connect('web1', { home: alice }));
    onTestFinished(async () => void (await Promise.all(links.map((link) => link.close()))));
    await expect(connect('web1', { home: alice })).rejects.toThrow(
      '127.0.0.1 has 3 links to this agent already (maxConnectionsPerSource): close some of them',
    );
    await using host = await connect('web1', { home: bob });
    expect((await host.run(['echo', 'in'])).stdout).toBe('in\n');
    await links[0]!.close();
    await until(
      async () =>
        await connect('web1', { home: alice }).then(
          async (link) => {
            await link.close();
            return true;
          },
          () => false,
        ),
      'a place',
    );
    expect((await links[1]!.run(['echo', 'undisturbed'])).stdout).toBe('undisturbed\n');
  });
});

describe('sources of known callers', () => {
  test('are kept for the next agent, and their connections go last', async () => {
    const options = { handshakeTimeout: 600_000, maxConnections: 24 };
    const home = newHome();
    const first = await newAgent({ home, ...options });
    await using host = await connect('web1', { home: await newCaller(first.agent, first.url) });
    expect((await host.run(['true'])).ok).toBe(true);
    await host.close();
    await first.agent.close();
    expect(statSync(join(home.state, 'known-sources')).mode & 0o777).toBe(0o600);

    const { agent, port } = await newAgent({ home, ...options });
    const known = await dial({ port, host: '127.0.0.1', localAddress: '127.0.0.1' });
    const strangers: Socket[] = [];
    for (let i = 0; i < 60; i++)
      strangers.push(await dial({ port, host: '127.0.0.1', localAddress: `127.0.2.${i + 1}` }));
    await until(() => strangers.filter((socket) => !socket.closed).length === 23, 'the oldest strangers to go');
    expect(known.closed).toBe(false);
    expect((await agent.status).unestablished).toBe(24);
  });

  test('are forgotten after thirty days, and the oldest when there are too many', () => {
    let now = Date.UTC(2030, 0, 1);
    const day = 24 * 60 * 60 * 1000;
    const limits = { maxKnownSources: 4096, knownSourceAge: 30 * day };
    const open = (): KnownSources => new KnownSources({ state: folder }, limits, () => now);
    rmSync(join(folder, 'known-sources'), { force: true });
    const sources = open();
    expect(sources.has('192.0.2.1')).toBe(false);
    sources.note('192.0.2.1');
    now += 29 * day;
    sources.note('192.0.2.2');
    expect([sources.has('192.0.2.1'), open().has('192.0.2.1'), open().has('192.0.2.2')]).toEqual([true, true, true]);
    now += day;
    expect([sources.has('192.0.2.1'), open().has('192.0.2.1'), open().has('192.0.2.2')]).toEqual([false, false, true]);
    for (let i = 0; i < 4096; i++) sources.note(`192.0.${(i >> 8) + 16}.${i & 255}`);
    expect([sources.has('192.0.2.2'), open().has('192.0.2.2'), open().has('192.0.16.0')]).toEqual([false, false, true]);
  });

  test('may be in a file that is damaged, or that cannot be written', () => {
    const file = join(folder, 'known-sources');
    writeFileSync(file, '\n{"source":"192.0.2.1","seen":9e15}\n[1]\n{"source":7}\n{"sou\n{"source":"192.0.2.9"}\n');
    const limits = { maxKnownSources: 10, knownSourceAge: 1000 };
    const sources = new KnownSources({ state: folder }, limits);
    expect([sources.has('192.0.2.1'), sources.has('192.0.2.9')]).toEqual([true, false]);
    const nowhere = new KnownSources({ state: join(folder, 'not-there') }, limits);
    nowhere.note('192.0.2.1');
    expect(nowhere.has('192.0.2.1')).toBe(true);
  });
});

describe('a capture of a good session', () => {
  /** Passes everything on, and keeps what callers send. */
  async function tap(listen: string | undefined, to: NetConnectOpts) {
    const sent: Buffer[] = [];
    const server = createServer((caller) => {
      const agent = connectSocket(to);
      caller.on('data', (chunk: Buffer) => sent.push(chunk));
      for (const [from, into] of [
        [caller, agent],
        [agent, caller],
      ] as const)
        from.on('error', () => into.destroy()).pipe(into);
    });
    await new Promise<void>((resolve) =>
      listen ? server.listen(listen, resolve) : server.listen(0, '127.0.0.1', resolve),
    );
    onTestFinished(() => void server.close());
    return { capture: () => Buffer.concat(sent), address: server.address() };
  }

  test('over TCP starts nothing when it is played again', async () => {
    const { agent, port, url } = await newAgent();
    const { capture, address } = await tap(undefined, { port, host: '127.0.0.1' });
    const through = `tls://127.0.0.1:${(address as AddressInfo).port}`;
    const home = await newCaller(agent, through);
    const file = join(folder, 'starts-tcp');
    const host = await connect('web1', { home });
    await host.run(['sh', '-c', `echo started >>${file}`]);
    await host.close();
    const bytes = capture();
    expect(bytes.length).toBeGreaterThan(1000);
    for (const length of [bytes.length, bytes.length >> 1, 700])
      await answerTo(bytes.subarray(0, length), { port, host: '127.0.0.1' });
    await using again = await connect(url, { home: await newCaller(agent, url) });
    expect((await again.run(['cat', file])).stdout).toBe('started\n');
  });

  test('on the Unix socket starts nothing a second time: its run is known', async () => {
    const { agent } = await newAgent();
    const path = join(folder, 'tap.sock');
    const { capture } = await tap(path, { path: agent.home.agentSocket });
    const file = join(folder, 'starts-unix');
    const host = await connect(`unix:${path}`, { home: agent.home });
    await host.run(['sh', '-c', `echo started >>${file}`]);
    await host.close();
    const bytes = capture();
    await answerTo(bytes, { path: agent.home.agentSocket });
    // Up to OPEN (0x10): what follows it in the capture gives the answer up.
    let end = 0;
    for (let type = 0; type !== 0x10; end += 4 + bytes.readUInt32BE(end)) type = bytes[end + 4]!;
    const player = await Rogue.connect(agent.home.agentSocket);
    player.raw(bytes.subarray(0, end));
    const [opened] = await player.hears('OPENED');
    expect(opened!.state).toBe('existing');
    player.socket.destroy();
    expect(readFileSync(file, 'utf8')).toBe('started\n');
  });
});
