import { subscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { connect as connectSocket, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { lengthPrefixed } from '@sendall/framing';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { until } from '../../../../test/support/waits.js';
import {
  connect,
  KnownHosts,
  openAgent,
  pair,
  RefusedError,
  resolveHome,
  UsageError,
  type Agent,
  type DialEvent,
  type Home,
} from 'sendall';
import { decode, encode } from '../../src/protocol/codec.js';
import type { Message } from '../../src/protocol/messages.js';
import { removeHome } from '../remove-home.js';
import { patiently } from './patiently.js';

let folder: string;
const homeIn = (name: string): Home => resolveHome({ SENDALL_HOME: join(folder, name) });

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sendall-agent-'));
});
afterAll(async () => {
  for (const name of readdirSync(folder)) await removeHome(join(folder, name), 0);
  rmSync(folder, { recursive: true, force: true });
});

describe('over TLS', () => {
  let agent: Agent;
  let url: string;
  let count = 0;
  const newHome = (): Home => homeIn(`caller${++count}`);

  beforeAll(async () => {
    agent = await openAgent({ home: homeIn('tls'), listen: ['tls://127.0.0.1:0'], keeperIdleExit: 200 });
    url = agent.listening.find((each) => each.startsWith('tls:'))!;
  });
  afterAll(async () => await agent.close());

  test('a pair of machines is two lines: a code there, the code here, and commands run', async () => {
    const home = newHome();
    const { code, fingerprint } = agent.issueCode();
    const paired = await pair(home, url, { code, name: 'web1' });
    expect(paired.pin).toBe(fingerprint);
    await using host = await connect('web1', { home });
    expect((await host.run(['echo', 'over tls'])).stdout).toBe('over tls\n');
    await using byUrl = await connect(url, { home });
    expect((await byUrl.run(['pwd'], { env: { A: '1' } })).ok).toBe(true);
  });

  test("a host's key is found by what its address means, and not by how it is written", async () => {
    const home = newHome();
    await pair(home, url, { code: agent.issueCode().code, name: 'web1' });
    const { pin } = KnownHosts.of(home).get('web1')!;
    await using host = await connect(`${url.replace(/:(\d+)$/, ':0$1')}/`, { home });
    expect((await host.run(['echo', 'x'])).stdout).toBe('x\n');
    const known = KnownHosts.of(home);
    for (const [name, address, ...others] of [
      ['a', 'tls://Web9.Example.org', 'tls://web9.example.ORG:7433', 'tls://WEB9.example.org:07433/'],
      ['b', 'tls://[::1]:9', 'tls://[0:0:0:0:0:0:0:1]:09', 'tls://[0::1]:9/'],
      ['c', 'tls://[FE80::A%eth0]', 'tls://[fe80:0::a%eth0]:7433'],
    ] as const) {
      await known.add({ name, url: address, pin });
      for (const other of [address, ...others]) expect(known.at(other)).toMatchObject({ name, url: address });
    }
    expect(known.at('tls://[fe80::a%ETH0]')).toBeUndefined();
    await expect(connect('tls://two words', { home })).rejects.toThrow(UsageError);
  });

  test('an address whose key is not known is refused before a byte is sent', async () => {
    await expect(connect(url, { home: newHome() })).rejects.toThrow(/key of tls:.* is not known here: pair with it/);
  });

  test('a caller whose key the agent does not know is refused with the next step, and runs nothing', async () => {
    const home = newHome();
    await KnownHosts.of(home).add({ name: 'web1', url, pin: agent.fingerprint });
    await expect(connect('web1', { home })).rejects.toThrow(RefusedError);
    await expect(connect('web1', { home })).rejects.toThrow(/does not know the key SHA256:.*pair --new/);
  });

  test('an agent with another key than the pinned one is refused with both fingerprints', async () => {
    const home = newHome();
    const other = `SHA256:${'A'.repeat(43)}`;
    await KnownHosts.of(home).add({ name: 'web1', url, pin: other });
    const error = await connect('web1', { home }).then(
      () => undefined,
      (reason: Error) => reason,
    );
    expect(error?.message).toContain(other);
    expect(error?.message).toContain(agent.fingerprint);
  });

  test('a TLS client that stalls, before or after its handshake, is ended; others are served', async () => {
    await using hasty = await openAgent({
      home: homeIn('hasty'),
      listen: ['tls://127.0.0.1:0'],
      handshakeTimeout: 400,
      keeperIdleExit: 200,
    });
    const address = hasty.listening.find((each) => each.startsWith('tls:'))!;
    const { port } = new URL(address.replace('tls:', 'http:'));
    const silent = connectSocket(Number(port), '127.0.0.1');
    const half = connectTls({
      port: Number(port),
      host: '127.0.0.1',
      rejectUnauthorized: false,
      ALPNProtocols: ['sendall/1'],
    });
    for (const socket of [silent, half]) socket.on('error', () => undefined).resume();
    const home = newHome();
    await patiently(async () => await pair(home, address, { code: hasty.issueCode().code, name: 'web1' }));
    await using host = await patiently(async () => await connect('web1', { home }));
    expect((await host.run(['true'])).ok).toBe(true);
    // A reset is an end as well.
    await until(() => silent.closed && half.closed, 'the end of the two');
    expect((await host.run(['true'])).ok).toBe(true);
  });

  test('strangers that fill all places make room for callers, but never above the limit', async () => {
    await using small = await openAgent({
      home: homeIn('small'),
      listen: ['tls://127.0.0.1:0'],
      maxConnections: 6,
      keeperIdleExit: 200,
    });
    const address = small.listening.find((each) => each.startsWith('tls:'))!;
    const port = Number(new URL(address).port);
    const home = newHome();
    await pair(home, address, { code: small.issueCode().code, name: 'small' });
    await using before = await connect('small', { home });
    const silent: Socket[] = [];
    for (let i = 0; i < 30; i++) {
      // Some are silent, some begin a handshake, some finish it and are silent then.
      const socket =
        i % 3 === 2
          ? connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false })
          : connectSocket(port, '127.0.0.1');
      socket.on('error', () => {}).resume();
      if (i % 3 === 1) socket.write(Buffer.from([0x16, 3, 1, 2, 0, 1, 0]));
      silent.push(socket);
      await once(socket, 'connect');
    }
    await using during = await connect('small', { home });
    expect((await during.run(['echo', 'served'])).stdout).toBe('served\n');
    expect((await before.run(['echo', 'not disturbed'])).stdout).toBe('not disturbed\n');
    const open = (): number => silent.filter((socket) => !socket.closed).length;
    while (open() > 4) await new Promise((resolve) => setTimeout(resolve, 5));
    expect((await small.status).links).toBeLessThanOrEqual(6);
    for (const socket of silent) socket.destroy();
  });

  test('questions to the agent itself are answered on its own machine only', async () => {
    const home = newHome();
    await pair(home, url, { code: agent.issueCode().code, name: 'web1' });
    await using host = await connect('web1', { home });
    await expect(host.ask('pair-new')).rejects.toThrow(/own machine only/);
    await expect(host.ask('stop')).rejects.toThrow(/own machine only/);
  });
});

describe('raw bytes on its socket', () => {
  let agent: Agent;
  let socket: Socket;
  const framing = lengthPrefixed();
  const encoder = framing.encoder();
  const messages: Message[] = [];

  const dial = async (path: string): Promise<void> => {
    messages.length = 0;
    const decoder = framing.decoder();
    socket = connectSocket(path);
    socket.on('error', () => undefined);
    socket.on('data', (chunk) => decoder.push(chunk, (frame) => void messages.push(decode(Buffer.from(frame)))));
    await once(socket, 'connect');
  };

  beforeAll(async () => {
    agent = await openAgent({ home: homeIn('raw'), maxRunsPerLink: 20, keeperIdleExit: 200 });
  });
  afterAll(async () => await agent.close());
  beforeEach(async () => await dial(agent.home.agentSocket));
  afterEach(async () => {
    socket.destroy();
    await using host = await connect('local', { home: agent.home });
    expect((await host.run(['echo', 'alive'])).stdout).toBe('alive\n');
  });

  const send = (...list: Parameters<typeof encode>[0][]) => socket.write(encoder.encodeAll(list.map(encode)));
  const hello = {
    type: 'HELLO' as const,
    alias: 0,
    protoMin: 1,
    protoMax: 1,
    name: 'raw',
    nonce: Buffer.alloc(16),
    features: [],
    clockMs: 0,
    version: '0',
  };
  const auth = { type: 'AUTH' as const, alias: 0, method: 'local' };
  const closed = async () => {
    if (!socket.closed) await once(socket, 'close');
    return messages.find((message) => message.type === 'LINK_ERROR')?.message;
  };
  const let_in = async () => {
    send(hello, auth);
    while (!messages.some((message) => message.type === 'AUTH_OK')) await once(socket, 'data');
  };

  test.each([
    ['an HTTP request', Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n')],
    ['a frame that announces 4 GiB', Buffer.from('ffffffff00000000', 'hex')],
    ['zeros', Buffer.alloc(64)],
    ['an unknown frame type', encoder.encode(Buffer.from('7f00000000000000', 'hex'))],
    ['a frame above 4 KiB before AUTH_OK', Buffer.from('00002000', 'hex')],
  ])('%s end the link with a clear error', async (_, bytes) => {
    socket.write(bytes);
    expect(await closed()).toMatch(/\w/);
  });

  test('silence ends the link', async () => {
    socket.destroy();
    await using hasty = await openAgent({ home: homeIn('hasty-raw'), handshakeTimeout: 300, keeperIdleExit: 200 });
    await dial(hasty.home.agentSocket);
    expect(await closed()).toMatch(/in time/);
  });

  test('a run before AUTH_OK is not accepted', async () => {
    send(hello, { type: 'LIST', alias: 0, opId: 1, all: true });
    expect(await closed()).toMatch(/LIST is not accepted before AUTH_OK/);
  });

  test('another protocol version is refused with both versions', async () => {
    send({ ...hello, protoMin: 7, protoMax: 9 });
    expect(await closed()).toMatch(
      /speaks protocol 1 and its caller \(sendall \S+\) protocol 7 to 9: end it \(kill \d+\)/,
    );
  });

  test('authentication by another method than the socket’s is refused', async () => {
    send(hello, { ...auth, method: 'pin' });
    expect(await closed()).toMatch(/not offered here/);
  });

  test.each([
    ['a message of a run that was never opened', { type: 'STOP' as const, alias: 99, stream: 1 }, /was not opened/],
    [
      'a message that belongs to the other side',
      { type: 'EXIT_ACK' as const, alias: 0, received: [] },
      /does not belong/,
    ],
  ])('%s ends the link', async (_, message, expected) => {
    await let_in();
    send(message);
    expect(await closed()).toMatch(expected);
  });

  test('a reused alias ends the link', async () => {
    await let_in();
    const attach = { type: 'ATTACH' as const, alias: 5, runId: Buffer.alloc(16), from: [], mode: 'observe' };
    send(attach, attach);
    expect(await closed()).toMatch(/alias 5 is not above 5/);
  });

  test('runs above the link’s limit are refused as busy, and the link lives', async () => {
    await let_in();
    for (let i = 1; i <= 25; i++)
      send({
        type: 'OPEN',
        alias: i,
        runId: Buffer.alloc(16, i),
        spec: Buffer.from('0a0465786563120573 6c656570120435 2e3030 3800'.replaceAll(' ', ''), 'hex'),
        notAfterMs: Date.now() + 60_000,
        attach: [],
        secrets: [],
      });
    const refusals = () => messages.filter((message) => message.type === 'REFUSED' && message.code === 'busy').length;
    while (refusals() < 5) await once(socket, 'data');
    expect(refusals()).toBe(5);
    expect(socket.closed).toBe(false);
  });

  test('a caller that sends requests but never reads costs bounded memory', async () => {
    await let_in();
    socket.pause();
    const pings = encoder.encodeAll(
      Array.from({ length: 2000 }, (_, token) => encode({ type: 'PING', alias: 0, token })),
    );
    const before = process.memoryUsage().rss;
    for (let i = 0; i < 1000 && socket.writableLength < 32 * 1024 * 1024; i++) {
      socket.write(pings);
      await new Promise(setImmediate);
    }
    // The agent stopped reading: our bytes are still in our buffer.
    expect(socket.writableLength).toBeGreaterThan(8 * 1024 * 1024);
    expect(process.memoryUsage().rss - before).toBeLessThan(300 * 1024 * 1024);
  });
});

test.each([
  [{ maxConnections: -1 }, /^maxConnections: -1 is not a whole number above 0$/],
  [{ readAhead: '16M' }, /^readAhead: "16M" is not a whole number above 0$/],
  [{ pingDeadline: 'soon' }, /^pingDeadline: "soon" is not a number of milliseconds/],
  [{ listen: 'tls://0.0.0.0:7433' }, /^listen: "tls:.*" is not a list of addresses$/],
  [{ name: 7 }, /^name: 7 is not text$/],
  [{ maxConnectons: 4 }, /^there is no agent option "maxConnectons"$/],
])('the options %j are refused by name', async (options, sentence) => {
  const refused = await openAgent({ home: homeIn('options'), ...options } as object).catch((error: unknown) => error);
  expect(refused).toBeInstanceOf(UsageError);
  expect((refused as Error).message).toMatch(sentence);
});

describe('its folder', () => {
  test('is made for its user alone, and the socket too', async () => {
    const home = homeIn('fresh');
    await using agent = await openAgent({ home, keeperIdleExit: 100 });
    expect(statSync(home.config).mode & 0o777).toBe(0o700);
    expect(statSync(agent.home.agentSocket).mode & 0o777).toBe(0o600);
  });

  test('open to others is refused and left unchanged, as is a link', async () => {
    const open = homeIn('open');
    mkdirSync(open.config);
    chmodSync(open.config, 0o755);
    await expect(openAgent({ home: open })).rejects.toThrow(/is open to other users \(mode 755\): chmod 700 it/);
    expect(statSync(open.config).mode & 0o777).toBe(0o755);
    symlinkSync(open.config, join(folder, 'link'));
    await expect(openAgent({ home: homeIn('link') })).rejects.toThrow(/is a symbolic link: set SENDALL_HOME/);
    await expect(openAgent({ home: homeIn('link/') })).rejects.toThrow(/is a symbolic link/);
    expect(readdirSync(open.config)).toEqual([]);
  });

  test.each([
    ['files of others', 'spool/mail/root'],
    ['one hidden file', '.bashrc'],
    ['a name that only begins like ours', 'journals'],
  ])('with %s in it is refused and left unchanged', async (_, name) => {
    const home = homeIn(`theirs-${basename(name)}`);
    mkdirSync(dirname(join(home.state, name)), { recursive: true, mode: 0o700 });
    writeFileSync(join(home.state, name), 'important');
    await expect(openAgent({ home })).rejects.toThrow(/is not a folder of sendall's, it holds ".*": set SENDALL_HOME/);
    expect(readFileSync(join(home.state, name), 'utf8')).toBe('important');
    expect(readdirSync(home.state)).toEqual([name.split('/')[0]]);
  });

  test('with only our own names is accepted; foreign files in our folder stay', async () => {
    const home = homeIn('ours');
    mkdirSync(home.config, { mode: 0o700 });
    writeFileSync(home.hostsFile, '{}', { mode: 0o600 });
    await (await openAgent({ home, keeperIdleExit: 100 })).close();
    writeFileSync(join(home.state, 'notes.txt'), 'mine');
    mkdirSync(join(home.state, 'spool', 'mail'));
    await using _ = await openAgent({ home, keeperIdleExit: 100 });
    expect(readdirSync(join(home.state, 'spool'))).toEqual(['mail']);
    expect(readFileSync(join(home.state, 'notes.txt'), 'utf8')).toBe('mine');
  });

  test('inside a folder that anyone may change is refused', async () => {
    const shared = join(folder, 'shared');
    mkdirSync(shared);
    chmodSync(shared, 0o777);
    await expect(openAgent({ home: homeIn('shared/home') })).rejects.toThrow(/can be changed by other users/);
  });

  test('whose path is a file is refused with the next step', async () => {
    writeFileSync(join(folder, 'file'), '');
    for (const name of ['file', 'file/home'])
      await expect(openAgent({ home: homeIn(name) })).rejects.toThrow(/cannot be made: .*set SENDALL_HOME/);
  });

  test('that makes the socket’s path too long is refused before anything listens', async () => {
    await expect(openAgent({ home: homeIn('x'.repeat(120)) })).rejects.toThrow(/longer than 107 bytes/);
  });

  test('admits one agent: a second one is refused, a dead one’s socket is replaced', async () => {
    const home = homeIn('twice');
    const first = await openAgent({ home, keeperIdleExit: 2000 });
    await expect(openAgent({ home })).rejects.toThrow(/runs already/);
    await first.close();
    await using second = await openAgent({ home, keeperIdleExit: 100 });
    await using host = await connect('local', { home });
    expect((await host.run(['true'])).ok).toBe(true);
    expect(second.listening).toEqual([`unix:${home.agentSocket}`]);
  });
});

test('a keeper that stands still does not keep its agent from ending', async () => {
  const home = homeIn('still');
  const agent = await openAgent({ home, keeperIdleExit: 200 });
  const { keeperPid } = await agent.status;
  process.kill(keeperPid!, 'SIGSTOP');
  onTestFinished(() => void process.kill(keeperPid!, 'SIGCONT'));
  await agent.close();
});

test('told to end its commands, it says of those that have not ended in time that they go on', async () => {
  const home = homeIn('stubborn');
  const agent = await openAgent({ home, keeperIdleExit: 200 });
  await using host = await connect('local', { home });
  const script = "trap 'echo told' TERM; echo $$; while :; do sleep 0.1; done";
  const run = host.run(['sh', '-c', script], { killGrace: '1h', reject: false });
  const lines = run.lines();
  const pid = Number((await lines.next()).value);
  onTestFinished(() => void process.kill(pid, 'SIGKILL'));
  const said = host.ask('stop', { runs: true });
  expect((await lines.next()).value).toBe('told');
  const now = performance.now.bind(performance);
  vi.spyOn(performance, 'now').mockImplementation(() => now() + 60_000);
  onTestFinished(() => void vi.restoreAllMocks());
  expect(await said).toEqual({ runs: 1, ended: 0 });
  await agent.stopped;
});

test('a long-absent host is dialled with pauses no longer than requested', async () => {
  const home = homeIn('away');
  const agent = await openAgent({ home, keeperIdleExit: 2000 });
  await using host = await connect('local', { home, longestPause: 100 });
  const run = host.run(['sh', '-c', 'read x; echo $x'], { stdin: 'pipe' });
  await run.started;
  let failed = 0;
  const often = new Promise<void>((resolve) =>
    subscribe('sendall:dial', (event) => {
      if ((event as DialEvent).state === 'failed' && ++failed === 12) resolve();
    }),
  );
  await agent.close();
  // With doubling pauses, the twelfth try would be minutes away.
  await often;
  await using again = await openAgent({ home, keeperIdleExit: 200 });
  expect(again.listening).toEqual(agent.listening);
  run.stdin.end('back\n');
  expect((await run).stdout).toBe('back\n');
});

test('unknown agent and connect options are refused by name', async () => {
  await expect(openAgent({ lisen: [] } as object)).rejects.toThrow(/lisen/);
  await expect(connect('local', { timeot: 1 } as object)).rejects.toThrow(UsageError);
});

test('no agent is one sentence with the next step', async () => {
  await expect(connect('local', { home: homeIn('nobody') })).rejects.toThrow(/no agent runs.*sendall agent/);
});
