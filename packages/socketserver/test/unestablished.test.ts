import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { sourceOf, type BaseServer, type ServerOptions } from '@sendall/socketserver';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { Obedient, Password, WhatItIsTold } from './dist/handlers.js';
import { rootTest } from '../../../test/support/root.js';
import { Client, connectable, dial, eventually, make, start, streamRows } from './support/rows.js';

const tcp = { transport: 'tcp', concurrency: 'inline' } as const;

/** A client that the server knows. */
async function known(server: BaseServer): Promise<Client> {
  const client = dial(server);
  expect(await client.ask('secret')).toBe('welcome');
  return client;
}

/** A client that says nothing, not even a ClientHello; resolves when the server counts it. */
async function stranger(server: BaseServer, localAddress?: string): Promise<Socket> {
  const { accepted } = server.info();
  const socket = connect({ ...connectable(server.serverAddress), ...(localAddress && { localAddress }) });
  socket.on('error', () => {}).resume();
  onTestFinished(() => void socket.destroy());
  await once(socket, 'connect');
  await eventually(() => server.info().accepted > accepted);
  return socket;
}

async function strangers(server: BaseServer, count: number, localAddress?: string): Promise<Socket[]> {
  const all: Socket[] = [];
  while (all.length < count) all.push(await stranger(server, localAddress));
  return all;
}

/**
 * From now on no clock of this thread ticks. A server that hands over displaces a second connection for a newcomer where
 * the first is slow to go, which is as slow as its worker.
 */
function stopClock(): void {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
  onTestFinished(() => void vi.useRealTimers());
}

const open = (sockets: Socket[]): boolean[] => sockets.map((socket) => !socket.closed);

describe.each(streamRows)('$name', (row) => {
  // Threads that accept by themselves, which newer versions of Node do by default, choose among their own first.
  const inOrder = row.mode !== 'threads';

  test('a full house sends away the oldest that it does not know, for every newcomer, and keeps those it knows', async () => {
    stopClock();
    const server = await start(row, Password, { establishedBy: 'handler', maxConnections: 4 });
    const friends = [await known(server), await known(server)];
    const silent = await strangers(server, 2);
    await eventually(() => server.info().unestablished === 2);
    friends.push(await known(server));
    await eventually(() => open(silent).filter(Boolean).length === 1);
    if (inOrder) expect(open(silent)).toEqual([false, true]);
    friends.push(await known(server));
    await eventually(() => !open(silent).includes(true));
    for (const friend of friends) expect(await friend.ask('still')).toBe('still');
    expect(server.info()).toMatchObject({ connections: 4, pending: 0, unestablished: 0, dropped: 0 });
  });

  test('where it knows all of them, the next one waits its turn', async () => {
    const server = await start(row, Password, { establishedBy: 'handler', maxConnections: 2 });
    const [first, second] = [await known(server), await known(server)];
    const third = dial(server);
    third.socket.write('secret\n');
    await eventually(() => server.info().pending === 1);
    expect(await second.ask('still')).toBe('still');
    first.socket.end();
    expect(await third.until('\n')).toBe('welcome\n');
    expect(await second.ask('still')).toBe('still');
  });

  test('a flood is never more than the limit, and takes nothing from who comes behind it', async () => {
    const server = await start(row, Password, { establishedBy: 'handler', maxConnections: 12, pendingConnections: 4 });
    const friend = await known(server);
    const silent = await strangers(server, 60);
    const { connections, pending } = server.info();
    expect(connections).toBeLessThanOrEqual(12);
    expect(pending).toBeLessThanOrEqual(4);
    await eventually(() => open(silent).filter(Boolean).length <= 15);
    await eventually(() => server.info().pending === 0);
    const late = await known(server);
    expect(await friend.ask('still')).toBe('still');
    expect(await late.ask('still')).toBe('still');
    // Elsewhere some of the flood are turned away while the ones before them are still on their way out.
    if (row.mode === 'inline') expect(open(silent.slice(0, 40))).not.toContain(true);
  });
});

describe.each(streamRows.filter(({ name }) => name === 'tcp, processes' || name === 'tls, inline'))('$name', (row) => {
  test('a source that has as many as it may displaces its own oldest, in a house that is not full', async () => {
    const server = await start(row, Password, { establishedBy: 'handler', maxUnestablishedPerSource: 2 });
    const silent = await strangers(server, 5);
    await eventually(() => open(silent).filter(Boolean).length === 2);
    expect(open(silent)).toEqual([false, false, false, true, true]);
  });
});

describe.each(streamRows.filter(({ transport }) => transport === 'tls'))('$name', (row) => {
  test('without more being asked for, those whose handshake is not done make room', async () => {
    stopClock();
    const server = await start(row, Obedient, { maxConnections: 3 });
    const first = dial(server);
    expect(await first.ask('first')).toBe('first');
    const silent = await strangers(server, 2);
    const second = dial(server);
    expect(await second.ask('second')).toBe('second');
    await eventually(() => open(silent).filter(Boolean).length === 1);
    expect(await first.ask('still')).toBe('still');
  });
});

describe('who goes', () => {
  const options: ServerOptions = { establishedBy: 'handler', maxConnections: 4 };

  test('the oldest of the address that has most, not the oldest of all', async () => {
    const server = await start(tcp, Password, options);
    const lonely = await stranger(server, '127.0.0.2');
    const crowd = await strangers(server, 3, '127.0.0.3');
    await known(server);
    await eventually(() => open(crowd).includes(false));
    expect(open([lonely, ...crowd])).toEqual([true, false, true, true]);
  });

  test('where each address has one, the oldest of all', async () => {
    const server = await start(tcp, Password, options);
    const all: Socket[] = [];
    for (let i = 2; i < 8; i++) all.push(await stranger(server, `127.0.0.${i}`));
    await eventually(() => open(all).filter(Boolean).length === 4);
    expect(open(all)).toEqual([false, false, true, true, true, true]);
  });

  test('failures make the share of an address smaller, down to eight places that they never touch', async () => {
    const server = await start(tcp, Password, { ...options, maxConnections: 21 });
    for (let i = 0; i < 5; i++) (await stranger(server, '127.0.0.2')).destroy();
    await server.waitForConnections('==', 0);
    const quiet = await strangers(server, 12, '127.0.0.3');
    const failed = await strangers(server, 9, '127.0.0.2');
    const next = [await stranger(server, '127.0.0.4'), await stranger(server, '127.0.0.4')];
    await eventually(() => open([...quiet, ...failed]).filter(Boolean).length === 19);
    // Nine and five failures weigh more than twelve; the eight that are left weigh eight.
    expect(open(failed)).toEqual([false, ...Array.from({ length: 8 }, () => true)]);
    expect(open(quiet)[0]).toBe(false);
    expect(open(next)).toEqual([true, true]);
  });

  test('a source has no more than its own limit, and its newest ones stay', async () => {
    const server = await start(tcp, Password, { ...options, maxConnections: 100, maxUnestablishedPerSource: 3 });
    const friend = await known(server);
    const lonely = await stranger(server, '127.0.0.2');
    const crowd = await strangers(server, 7, '127.0.0.3');
    await eventually(() => open(crowd).filter(Boolean).length === 3);
    expect(open(crowd)).toEqual([false, false, false, false, true, true, true]);
    expect(lonely.closed).toBe(false);
    expect(await friend.ask('still')).toBe('still');
    expect(server.info()).toMatchObject({ connections: 5, unestablished: 4, dropped: 0 });
  });

  test('behind a balancer that limit is for the address in the PROXY header', async () => {
    const server = await start(tcp, Password, {
      ...options,
      maxConnections: 100,
      maxUnestablishedPerSource: 2,
      proxyProtocol: true,
    });
    const silent = await strangers(server, 5);
    const from = async (host: string): Promise<Client> => {
      const client = dial(server);
      client.socket.write(`PROXY TCP4 ${host} 198.51.100.1 1 2\r\nhello\n`);
      expect(await client.until('\n')).toBe('who is it\n');
      return client;
    };
    const crowd = [await from('192.0.2.2'), await from('192.0.2.2'), await from('192.0.2.1'), await from('192.0.2.2')];
    await crowd[0]!.closed;
    expect(open([...silent, ...crowd.slice(1).map(({ socket }) => socket)])).not.toContain(false);
  });

  test('known sources last, as many as eight of each, down to half of the places', async () => {
    const server = await start(tcp, Password, {
      ...options,
      maxConnections: 24,
      isKnownSource: (source) => source === '127.0.0.2' || source === '127.0.0.3',
    });
    // Ten are more than a known source has reserved: it counts as any other does, down to eight.
    const friends = await strangers(server, 10, '127.0.0.2');
    const others: Socket[] = [];
    for (let i = 10; i < 30; i++) others.push(await stranger(server, `127.0.0.${i}`));
    await eventually(() => open([...friends, ...others]).filter(Boolean).length === 24);
    expect(open(friends).filter(Boolean)).toHaveLength(8);
    expect(open(others).slice(-16)).not.toContain(false);
    // Sixteen of the known would be more than half of the places: the oldest of the largest goes then.
    const more = await strangers(server, 8, '127.0.0.3');
    await eventually(() => open([...friends, ...others, ...more]).filter(Boolean).length === 24);
    expect(open([...friends, ...more]).filter(Boolean)).toHaveLength(12);
    await known(server);
  });

  test('behind a balancer the address is that of the PROXY header, once it has come', async () => {
    const server = await start(tcp, Password, { ...options, proxyProtocol: true });
    const from = async (host: string): Promise<Client> => {
      const client = dial(server);
      client.socket.write(`PROXY TCP4 ${host} 198.51.100.1 1 2\r\nhello\n`);
      expect(await client.until('\n')).toBe('who is it\n');
      return client;
    };
    const lonely = await from('192.0.2.1');
    const crowd = [await from('192.0.2.2'), await from('192.0.2.2'), await from('192.0.2.2')];
    const closed = once(server, 'close');
    await from('192.0.2.3');
    expect((await closed)[0]).toMatchObject({ reason: 'displaced', peer: { host: '192.0.2.2' } });
    await crowd[0]!.closed;
    expect(open([lonely.socket, crowd[1]!.socket, crowd[2]!.socket])).not.toContain(false);
  });

  test('one whose place is freed by uncount() has none to give', async () => {
    const server = await start(tcp, Password, { ...options, maxConnections: 1 });
    const long = dial(server);
    expect(await long.ask('uncount')).toBe('uncounted');
    const silent = await stranger(server);
    await known(server);
    await eventually(() => silent.closed);
    expect(await long.ask('secret')).toBe('welcome');
  });
});

test('threads that accept by themselves cannot ask which sources are known', async () => {
  const concurrency = { mode: 'threads', balance: 'kernel' } as const;
  const server = make({ transport: 'tcp', concurrency }, Password, { isKnownSource: () => true });
  await expect(server.listen()).rejects.toMatchObject({ code: 'INVALID_OPTION', option: 'isKnownSource' });
});

describe('what counts', () => {
  test('one whose PROXY header has not come holds a place, and makes room', async () => {
    const server = await start(tcp, Obedient, { proxyProtocol: true, maxConnections: 1 });
    const silent = await stranger(server);
    expect(server.info()).toMatchObject({ connections: 1, unestablished: 1 });
    const client = dial(server);
    client.socket.write('PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n');
    expect(await client.ask('hello')).toBe('hello');
    await eventually(() => silent.closed);
    expect(server.info()).toMatchObject({ connections: 1, unestablished: 0 });
  });

  test('one that has had our end and does not close holds its place', async () => {
    const server = await start(tcp, WhatItIsTold, {
      maxConnections: 1,
      lingerTimeout: 600_000,
      pendingTimeout: 600_000,
    });
    const lingering = dial(server, { allowHalfOpen: true });
    await once(lingering.socket, 'end');
    const next = dial(server);
    await eventually(() => server.info().pending === 1);
    expect(server.info()).toMatchObject({ connections: 1, unestablished: 0 });
    lingering.socket.end();
    expect(await next.closed).toBe('undefined');
  });
});

// Only a network namespace has addresses of many networks, and only root makes one.
rootTest('a whole /48 counts before its /64s do, so that spreading over them gains nothing', async () => {
  const program = fileURLToPath(new URL('dist/many-networks.js', import.meta.url));
  const { stdout } = await promisify(execFile)('unshare', ['--net', process.execPath, program]);
  expect(stdout).toBe('lonely 1\nquiet 3\nspread 10\ngood 6\n');
});

test('a source is an IPv4 address, or the /64 of an IPv6 one', () => {
  expect(sourceOf('192.0.2.1')).toBe('192.0.2.1');
  expect(sourceOf('::ffff:192.0.2.1')).toBe('192.0.2.1');
  expect(sourceOf('2001:db8:1:2:3:4:5:6')).toBe(sourceOf('2001:db8:1:2::9'));
  expect(sourceOf('2001:db8:1:2::9')).not.toBe(sourceOf('2001:db8:1:3::9'));
  expect(sourceOf('fe80::1%eth0')).toBe(sourceOf('fe80::2'));
  expect(sourceOf('2001:0DB8::1')).toBe(sourceOf('2001:db8:0:0::2'));
});
