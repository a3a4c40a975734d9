import { createServer as createTcpServer, type Socket } from 'node:net';
import { connect, createServer as createTlsServer, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { once } from 'node:events';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { formatTlsUrl, parseTlsUrl } from '../../dist/text/address.js';
import { acceptPeer, dialTls, exportBinding, serverTls } from '../../dist/link/tls.js';
import type { Identity } from '../../dist/keys/identity.js';
import { listen, newIdentity, tlsServer } from './support.js';

const host = '127.0.0.1';

/** A server that queues each connection after its handshake. */
async function agent(identity: Identity, options = serverTls(identity)) {
  const waiting: ((socket: TLSSocket) => void)[] = [];
  const accepted = () => new Promise<TLSSocket>((resolve) => waiting.push(resolve));
  const port = await tlsServer(options, (socket) => waiting.shift()?.(socket));
  return { port, accepted };
}

/** A foreign TLS client. */
async function foreigner(port: number, options: ConnectionOptions): Promise<TLSSocket> {
  const socket = connect({ host, port, rejectUnauthorized: false, ...options });
  await once(socket, 'secureConnect');
  socket.on('error', () => {});
  return socket;
}

const clientOptions = ({ key, cert }: Identity): ConnectionOptions => ({ key, cert, ALPNProtocols: ['sendall/1'] });

describe('a link over TLS', () => {
  test('shows each side the other’s key, and both derive the same binding', async () => {
    const [mine, theirs] = await Promise.all([newIdentity(), newIdentity()]);
    const { port, accepted } = await agent(theirs);
    const arrival = accepted();
    const { socket, peer } = await dialTls({ host, port, identity: mine, pin: theirs.fingerprint });
    const there = await arrival;
    expect(peer).toEqual({ spki: theirs.spki, fingerprint: theirs.fingerprint });
    expect(acceptPeer(there)).toEqual({ spki: mine.spki, fingerprint: mine.fingerprint });
    expect(exportBinding(socket)).toEqual(exportBinding(there));
    expect(exportBinding(socket)).toHaveLength(32);
    socket.destroy();
  });

  test('has another binding each time', async () => {
    const [mine, theirs] = await Promise.all([newIdentity(), newIdentity()]);
    const { port } = await agent(theirs);
    const first = await dialTls({ host, port, identity: mine });
    const second = await dialTls({ host, port, identity: mine });
    expect(exportBinding(first.socket)).not.toEqual(exportBinding(second.socket));
    for (const { socket } of [first, second]) socket.destroy();
  });

  test('is not made to another key than the pinned one, and nothing is sent to it', async () => {
    const [mine, theirs, pinned] = await Promise.all([newIdentity(), newIdentity(), newIdentity()]);
    const got: Buffer[] = [];
    const server = createTlsServer(serverTls(theirs), (there) => there.on('data', (chunk: Buffer) => got.push(chunk)));
    const port = await listen(server);
    const closed = new Promise((resolve) => {
      server.once('connection', (raw: Socket) => raw.once('close', resolve));
    });
    const dial = dialTls({ host, port, identity: mine, pin: pinned.fingerprint });
    await expect(dial).rejects.toMatchObject({ code: 'REFUSED' });
    await expect(dial).rejects.toThrow(`pinned ${pinned.fingerprint}, seen ${theirs.fingerprint}; if that machine`);
    await closed;
    expect(got).toEqual([]);
  });
});

describe('the agent’s side refuses', () => {
  test('a caller without a certificate', async () => {
    const { port, accepted } = await agent(await newIdentity());
    const arrival = accepted();
    await foreigner(port, { ALPNProtocols: ['sendall/1'] });
    const there = await arrival;
    expect(() => acceptPeer(there)).toThrow(/showed no certificate/);
  });

  test('a caller that does not ask for our protocol', async () => {
    const { port, accepted } = await agent(await newIdentity());
    const arrival = accepted();
    await foreigner(port, { ...clientOptions(await newIdentity()), ALPNProtocols: [] });
    const there = await arrival;
    expect(() => acceptPeer(there)).toThrow('the caller did not ask for the protocol sendall/1');
  });

  test('a caller that asks for another protocol, in the handshake', async () => {
    const { port } = await agent(await newIdentity());
    await expect(
      foreigner(port, { ...clientOptions(await newIdentity()), ALPNProtocols: ['h2'] }),
    ).rejects.toMatchObject({ code: 'ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL' });
  });

  test('TLS 1.2, in the handshake', async () => {
    const { port } = await agent(await newIdentity());
    await expect(
      foreigner(port, { ...clientOptions(await newIdentity()), maxVersion: 'TLSv1.2' }),
    ).rejects.toMatchObject({ code: 'ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION' });
  });

  test('a resumed session', async () => {
    const identity = await newIdentity();
    // Node resumes by ticket unless forbidden, so only the check prevents it.
    const { port, accepted } = await agent(identity, { ...serverTls(identity), secureOptions: 0 });
    const options = clientOptions(await newIdentity());
    const firstArrival = accepted();
    const first = await foreigner(port, options);
    const ticket = once(first, 'session') as Promise<[Buffer]>;
    (await firstArrival).write('x');
    first.resume();
    const [session] = await ticket;
    first.destroy();
    const arrival = accepted();
    const second = await foreigner(port, { ...options, session });
    expect(second.isSessionReused()).toBe(true);
    const there = await arrival;
    expect(() => acceptPeer(there)).toThrow(/resumed a TLS session/);
  });

  test('to resume sessions at all: a ticket gets a full handshake', async () => {
    const { port, accepted } = await agent(await newIdentity());
    const caller = await newIdentity();
    const firstArrival = accepted();
    const first = await foreigner(port, clientOptions(caller));
    const sessions: Buffer[] = [];
    first.on('session', (session: Buffer) => sessions.push(session));
    (await firstArrival).end('x');
    first.resume();
    await once(first, 'close');
    const arrival = accepted();
    const again = await foreigner(port, { ...clientOptions(caller), session: sessions.at(-1) });
    expect(again.isSessionReused()).toBe(false);
    expect(acceptPeer(await arrival).fingerprint).toBe(caller.fingerprint);
  });
});

describe('dialling fails in one sentence', () => {
  test('when nothing listens', async () => {
    // The port of a service that is not in use: one that was just free may be another test's by now.
    const dial = dialTls({ host, port: 1, identity: await newIdentity() });
    await expect(dial).rejects.toMatchObject({ code: 'UNREACHABLE' });
    await expect(dial).rejects.toThrow('tls://127.0.0.1:1 cannot be reached: nothing listens there; check');
  });

  test('when the name does not exist', async () => {
    // A label is too long: no name server is asked, which might be slow to answer.
    const name = `${'x'.repeat(64)}.invalid`;
    const dial = dialTls({ host: name, port: 1, identity: await newIdentity() });
    await expect(dial).rejects.toThrow(/^tls:\/\/x+\.invalid:1 cannot be reached: (no such host name|the name)/);
  });

  test('when the other side stalls in the handshake', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    onTestFinished(() => void vi.useRealTimers());
    // Its time is over when the handshake has begun.
    const port = await listen(createTcpServer((socket) => socket.once('data', () => vi.advanceTimersByTime(5000))));
    const dial = dialTls({ host, port, identity: await newIdentity(), timeoutMs: 5000 });
    await expect(dial).rejects.toMatchObject({ code: 'UNREACHABLE' });
    await expect(dial).rejects.toThrow(/connected, but did not finish the TLS handshake within 5000 ms/);
  });

  test('when the answer is not TLS', async () => {
    const port = await listen(createTcpServer((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')));
    await expect(dialTls({ host, port, identity: await newIdentity() })).rejects.toThrow(
      `the server at tls://127.0.0.1:${port} is not a sendall agent: check the port`,
    );
  });

  test('when the other side hangs up in the handshake', async () => {
    const port = await listen(createTcpServer((socket) => socket.once('data', () => socket.end())));
    const identity = await newIdentity();
    // The last time is longer than one timer of Node can hold.
    for (const timeoutMs of [undefined, 60 * 86_400_000])
      await expect(dialTls({ host, port, identity, timeoutMs })).rejects.toThrow(
        /closed the connection before the TLS handshake was done/,
      );
  });

  test('when a TLS server does not speak our protocol, or only TLS 1.2', async () => {
    const [identity, { key, cert }] = await Promise.all([newIdentity(), newIdentity()]);
    for (const options of [
      {},
      { ALPNProtocols: ['h2'] },
      { ALPNProtocols: ['sendall/1'], maxVersion: 'TLSv1.2' as const },
    ]) {
      const port = await tlsServer({ key, cert, ...options });
      await expect(dialTls({ host, port, identity })).rejects.toThrow(/is not a sendall agent: check the port/);
    }
  });

  test('when it is cancelled', async () => {
    const identity = await newIdentity();
    const connected = new AbortController();
    const port = await listen(createTcpServer(() => connected.abort(new Error('enough'))));
    await expect(dialTls({ host, port, identity, signal: connected.signal })).rejects.toThrow('enough');
    await expect(dialTls({ host, port, identity, signal: connected.signal })).rejects.toThrow('enough');
  });
});

test('tls:// addresses are read with hosts of every kind', () => {
  expect(parseTlsUrl('tls://web1')).toEqual({ host: 'web1', port: 7433 });
  expect(parseTlsUrl('tls://web1.example.org:80/')).toEqual({ host: 'web1.example.org', port: 80 });
  expect(parseTlsUrl('tls://[::1]')).toEqual({ host: '::1', port: 7433 });
  expect(parseTlsUrl('tls://[fe80::1%eth0]:65535')).toEqual({ host: 'fe80::1%eth0', port: 65_535 });
  expect(parseTlsUrl('tls://127.0.0.1:0')).toEqual({ host: '127.0.0.1', port: 0 });
  expect(formatTlsUrl({ host: '::1', port: 1 })).toBe('tls://[::1]:1');
  expect(formatTlsUrl({ host: 'web1', port: 1 })).toBe('tls://web1:1');
});

test.each([
  '',
  'web1',
  'web1:7433',
  'http://web1',
  'tls:/web1',
  'tls://',
  'tls://:7433',
  'tls://user@web1',
  'tls://web1:65536',
  'tls://web1:x',
  'tls://web1/path',
  'tls://web1?x',
  'tls://::1',
  'tls://[::g]',
  'tls://[]',
  'tls://[web1]',
  'tls://a b',
  `tls://${'a'.repeat(254)}`,
])('%j is not a tls:// address', (text) => {
  expect(() => parseTlsUrl(text)).toThrow(/is not an address: write tls:\/\/HOST:PORT/);
});
