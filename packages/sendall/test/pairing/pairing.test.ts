import diagnostics from 'node:diagnostics_channel';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer as createTcpServer } from 'node:net';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { KnownHosts } from '../../dist/client/known-hosts.js';
import { pair } from '../../dist/client/pair.js';
import type { Home } from '../../dist/home.js';
import { loadIdentity, type Identity } from '../../dist/keys/identity.js';
import { Link } from '../../dist/link/link.js';
import { newCode, pairingProof, parseCode } from '../../dist/keys/pairing-proof.js';
import { acceptPeer, dialTls, serverTls } from '../../dist/link/tls.js';
import type { Control, Message } from '../../dist/protocol/messages.js';
import { Conversation, HELLO_OK, openTestAgent, type TestAgent } from './agent.js';
import { listen, newHome, newIdentity, tlsServer } from './support.js';

const identityOf = (home: Home) => loadIdentity(home, { create: true });

/** Neither side remembers the other. */
async function expectNotPaired(home: Home, agent: TestAgent): Promise<void> {
  expect(KnownHosts.of(home).list()).toEqual([]);
  expect(agent.callers.find((await identityOf(home)).spki)).toBeUndefined();
}

function proofFor(talk: Conversation, caller: Identity, agent: TestAgent, code: string): Buffer {
  const input = { binding: talk.binding, clientSpki: caller.spki, agentSpki: agent.identity.spki };
  return pairingProof(parseCode(code), 'client', input);
}

/** A fake agent that sends our messages. */
async function speaker(reply: (link: Link, message: Message) => void): Promise<string> {
  const port = await tlsServer(serverTls(await newIdentity()), (socket) => {
    acceptPeer(socket);
    const link = new Link(socket);
    link.start({ message: (message) => reply(link, message), closed() {} });
  });
  return `tls://127.0.0.1:${port}`;
}

type Relay = (message: Message, to: Link, from: Link) => void;

/** A proxy that ends TLS on both sides with a key of its own; `relay` decides what passes. */
async function proxyTo(agent: TestAgent, relay: Relay) {
  const identity = await newIdentity();
  const seen: Message[] = [];
  const port = await tlsServer(serverTls(identity), async (caller) => {
    const { socket } = await dialTls({ host: '127.0.0.1', port: agent.port, identity });
    const [near, far] = [new Link(caller), new Link(socket)];
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const)
      from.start({
        message(message) {
          seen.push(message);
          relay(message, to, from);
        },
        closed: () => to.close(),
      });
  });
  return { url: `tls://127.0.0.1:${port}`, identity, seen };
}

describe('pairing', () => {
  test('pins both sides', async () => {
    const agent = await openTestAgent();
    const home = newHome();
    const { code, fingerprint, expires } = agent.desk.issue();
    expect(fingerprint).toBe(agent.identity.fingerprint);
    expect(Math.abs(Date.parse(expires) - Date.now() - 600_000)).toBeLessThan(60_000);
    const paired = await pair(home, agent.url, { code, name: 'web1' });
    expect(paired).toEqual({ name: 'web1', url: agent.url, pin: agent.identity.fingerprint });
    expect(KnownHosts.of(home).get('web1')).toMatchObject({ url: agent.url, pin: agent.identity.fingerprint });
    const { spki, fingerprint: mine } = await identityOf(home);
    expect(agent.callers.find(spki)).toMatchObject({ fingerprint: mine, principal: 'owner', roles: ['owner'] });
    expect(agent.callers.find(spki)?.name).toMatch(/^.+@.+$/);
  });

  test('takes the code as a person writes it', async () => {
    const agent = await openTestAgent();
    const code = agent.desk.issue().code.toLowerCase().replaceAll('-', ' ').replaceAll('0', 'o');
    await expect(pair(newHome(), agent.url, { code, name: 'web1' })).resolves.toMatchObject({ name: 'web1' });
  });

  test('may be repeated by the same key until the code expires, as when the answer was lost', async () => {
    const agent = await openTestAgent();
    const home = newHome();
    const me = await identityOf(home);
    const { code } = agent.desk.issue();
    const lost = await Conversation.begin(agent.port, me);
    lost.link.send({ type: 'PAIR_PROOF', alias: 0, proof: proofFor(lost, me, agent, code) });
    lost.link.close();
    await lost.next();
    for (let i = 0; i < 3; i++) await pair(home, agent.url, { code, name: 'web1' });
    expect(agent.callers.list()).toHaveLength(1);
    expect(KnownHosts.of(home).get('web1')?.pin).toBe(agent.identity.fingerprint);
  });

  test('is refused to another key with a code that was used', async () => {
    const agent = await openTestAgent();
    const { code } = agent.desk.issue();
    await pair(newHome(), agent.url, { code, name: 'web1' });
    const other = newHome();
    const second = pair(other, agent.url, { code, name: 'web1' });
    await expect(second).rejects.toMatchObject({ code: 'REFUSED' });
    await expect(second).rejects.toThrow(/^the code was used by another key; .* sendall pair --new$/);
    await expectNotPaired(other, agent);
  });

  test('is refused with a wrong code', async () => {
    const agent = await openTestAgent();
    agent.desk.issue();
    const home = newHome();
    const attempt = pair(home, agent.url, { code: newCode(), name: 'web1' });
    await expect(attempt).rejects.toMatchObject({ code: 'REFUSED' });
    await expect(attempt).rejects.toThrow(
      `${agent.url} does not know this code: check it, and that the key there, ${agent.identity.fingerprint}, is`,
    );
    await expectNotPaired(home, agent);
  });

  test('is refused with a code that has expired, and then with one that expired long ago as with a wrong one', async () => {
    let now = Date.now();
    const agent = await openTestAgent({ now: () => now, rememberMs: 1000 });
    const { code } = agent.desk.issue({ ttlMs: 2000 });
    const home = newHome();
    now += 1999;
    const other = newHome();
    await pair(other, agent.url, { code: agent.desk.issue().code, name: 'web1' });
    now += 1;
    await expect(pair(home, agent.url, { code, name: 'web1' })).rejects.toThrow(
      /^the code has expired: make a new one/,
    );
    await expectNotPaired(home, agent);
    now += 1000;
    await expect(pair(home, agent.url, { code, name: 'web1' })).rejects.toThrow(/does not know this code/);
  });

  test('of two callers that race for one code succeeds for one', async () => {
    const agent = await openTestAgent();
    const { code } = agent.desk.issue();
    const homes = Array.from({ length: 8 }, newHome);
    const results = await Promise.allSettled(homes.map((home) => pair(home, agent.url, { code, name: 'web1' })));
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    for (const result of results)
      if (result.status === 'rejected') expect(result.reason.message).toMatch(/was used by another key/);
    expect(agent.callers.list()).toHaveLength(1);
    expect(homes.filter((home) => KnownHosts.of(home).list().length)).toHaveLength(1);
  });

  test('of many callers with a code each works concurrently', async () => {
    const agent = await openTestAgent();
    const homes = Array.from({ length: 8 }, newHome);
    await Promise.all(homes.map((home) => pair(home, agent.url, { code: agent.desk.issue().code, name: 'web1' })));
    expect(agent.callers.list()).toHaveLength(8);
  });

  test('needs only a code when a known host has a new key, and reports the old entry', async () => {
    const home = newHome();
    const old = await openTestAgent();
    await pair(home, old.url, { code: old.desk.issue().code, name: 'web1' });
    const anew = await openTestAgent();
    const me = await identityOf(home);
    await expect(
      dialTls({ host: '127.0.0.1', port: anew.port, identity: me, pin: old.identity.fingerprint }),
    ).rejects.toThrow(/the key at .* has changed: pinned .*, seen .*pair again with a code/);
    const paired = await pair(home, anew.url, { code: anew.desk.issue().code, name: 'web1' });
    expect(paired.before).toMatchObject({ url: old.url, pin: old.identity.fingerprint });
    expect(KnownHosts.of(home).get('web1')?.pin).toBe(anew.identity.fingerprint);
  });

  test('does not bring back a key that was removed since', async () => {
    const agent = await openTestAgent();
    const home = newHome();
    const { code } = agent.desk.issue();
    await pair(home, agent.url, { code, name: 'web1' });
    await agent.callers.remove((await identityOf(home)).fingerprint);
    await expect(pair(home, agent.url, { code, name: 'web1' })).rejects.toThrow(/the code was used/);
    expect(agent.callers.list()).toEqual([]);
  });

  test('leaves the caller unpinned when the agent cannot keep its pin, and works once it can', async () => {
    const agent = await openTestAgent();
    const home = newHome();
    const { code } = agent.desk.issue();
    writeFileSync(agent.home.callersFile, '{', { mode: 0o600 });
    const attempt = pair(home, agent.url, { code, name: 'web1' });
    await expect(attempt).rejects.toThrow(/did not pair: the pin could not be kept: .*callers\.json is not JSON/);
    expect(KnownHosts.of(home).list()).toEqual([]);
    writeFileSync(agent.home.callersFile, '{}');
    await pair(home, agent.url, { code, name: 'web1' });
    expect(agent.callers.list()).toHaveLength(1);
  });

  test('does not use up a code for a hosts file that cannot be written', async () => {
    const agent = await openTestAgent();
    const home = newHome();
    writeFileSync(home.hostsFile, '{', { mode: 0o600 });
    const { code } = agent.desk.issue();
    await expect(pair(home, agent.url, { code, name: 'web1' })).rejects.toThrow(/hosts\.json is not JSON/);
    await pair(newHome(), agent.url, { code, name: 'web1' });
  });

  test('emits events', async () => {
    const events: unknown[] = [];
    const onEvent = (event: unknown) => events.push(event);
    diagnostics.subscribe('sendall:pairing', onEvent);
    onTestFinished(() => void diagnostics.unsubscribe('sendall:pairing', onEvent));
    const agent = await openTestAgent();
    const me = await newIdentity();
    const { code } = agent.desk.issue();
    const wrong = await Conversation.begin(agent.port, me);
    await wrong.prove(Buffer.alloc(32));
    const right = await Conversation.begin(agent.port, me);
    await right.prove(proofFor(right, me, agent, code));
    const about = { fingerprint: me.fingerprint, name: 'somebody', source: '192.0.2.1' };
    expect(events).toEqual([
      { outcome: 'wrong', ...about },
      { outcome: 'paired', ...about },
    ]);
  });
});

describe('in the middle', () => {
  test('a proxy with its own key that passes every message gets nothing', async () => {
    const agent = await openTestAgent();
    const { code } = agent.desk.issue();
    const proxy = await proxyTo(agent, (message, to) => to.send(message as Control));
    const home = newHome();
    const attempt = pair(home, proxy.url, { code, name: 'web1' });
    await expect(attempt).rejects.toThrow(`the key there, ${proxy.identity.fingerprint}, is the one that sendall pair`);
    const seen = proxy.seen.map(({ type }) => type);
    // The caller does not wait for HELLO_OK before its second message.
    expect(seen.slice(0, 3).toSorted()).toEqual(['HELLO', 'HELLO_OK', 'PAIR_BEGIN']);
    expect(seen.slice(3)).toEqual(['PAIR_PROOF', 'PAIR_FAIL']);
    await expectNotPaired(home, agent);
    expect(agent.callers.list()).toEqual([]);
    expect(existsSync(agent.home.callersFile)).toBe(false);
    // The code is not burnt: it works over a direct connection.
    await pair(home, agent.url, { code, name: 'web1' });
  });

  test('a proxy that answers in place of the agent, with anything it has seen, is not pinned', async () => {
    const agent = await openTestAgent();
    const { code } = agent.desk.issue();
    const genuine: Buffer[] = [];
    const other = newHome();
    {
      // A real PAIR_DONE of another connection, for the proxy to present.
      const me = await identityOf(other);
      const talk = await Conversation.begin(agent.port, me);
      const done = await talk.prove(proofFor(talk, me, agent, agent.desk.issue().code));
      if (done?.type === 'PAIR_DONE') genuine.push(Buffer.from(done.proof));
    }
    expect(genuine).toHaveLength(1);
    const answers: ((proof: Uint8Array) => Uint8Array)[] = [
      (proof) => proof,
      () => genuine[0]!,
      () => Buffer.alloc(32),
      () => Buffer.alloc(0),
    ];
    for (const answer of answers) {
      const proxy = await proxyTo(agent, (message, to, from) => {
        if (message.type === 'PAIR_PROOF')
          from.send({ type: 'PAIR_DONE', alias: 0, proof: answer(message.proof), name: 'x' });
        else if (message.type !== 'PAIR_FAIL') to.send(message as Control);
      });
      const home = newHome();
      await expect(pair(home, proxy.url, { code, name: 'web1' })).rejects.toThrow(
        /could not prove that it knows it: the connection may be intercepted; nothing was pinned here/,
      );
      await expectNotPaired(home, agent);
    }
    expect(agent.callers.list()).toHaveLength(1);
  });

  test('a captured proof is of no use on another connection, not even to the same key', async () => {
    const agent = await openTestAgent();
    const me = await newIdentity();
    const { code } = agent.desk.issue();
    const first = await Conversation.begin(agent.port, me);
    const proof = proofFor(first, me, agent, code);
    expect(await first.prove(proof)).toMatchObject({ type: 'PAIR_DONE' });
    for (const identity of [me, await newIdentity()]) {
      const again = await Conversation.begin(agent.port, identity);
      expect(await again.prove(proof)).toMatchObject({ type: 'PAIR_FAIL', code: 'wrong' });
      expect(await again.next()).toBeUndefined();
    }
    expect(agent.callers.list()).toHaveLength(1);
  });
});

describe('strangers', () => {
  test('learn nothing about codes: used, expired and unknown ones are all wrong to them', async () => {
    let now = Date.now();
    const agent = await openTestAgent({ now: () => now });
    const used = agent.desk.issue().code;
    agent.desk.issue({ ttlMs: 1000 });
    await pair(newHome(), agent.url, { code: used, name: 'web1' });
    now += 2000;
    const talk = await Conversation.begin(agent.port, await newIdentity());
    expect(await talk.prove(Buffer.alloc(32))).toEqual({
      type: 'PAIR_FAIL',
      alias: 0,
      code: 'wrong',
      message: 'no such code waits here',
    });
    expect(await talk.next()).toBeUndefined();
  });

  test('cannot burn a code: it works after any number of wrong tries from elsewhere', async () => {
    let source = '198.51.100.7';
    const agent = await openTestAgent({ source: () => source });
    const { code } = agent.desk.issue();
    const stranger = await newIdentity();
    for (let i = 0; i < 60; i++) {
      const talk = await Conversation.begin(agent.port, i < 20 ? stranger : await newIdentity());
      await talk.prove(Buffer.alloc(32, i));
    }
    source = '192.0.2.1';
    await pair(newHome(), agent.url, { code, name: 'web1' });
  });

  test('cannot keep others of the same address from pairing by trying with one key', async () => {
    const agent = await openTestAgent();
    const { code } = agent.desk.issue();
    const stranger = newHome();
    for (let i = 0; i < 20; i++)
      await expect(pair(stranger, agent.url, { code: newCode(), name: 'x' })).rejects.toMatchObject({
        code: 'REFUSED',
      });
    await pair(newHome(), agent.url, { code, name: 'web1' });
  });

  test('must pause after some wrong tries, even with the right code, and may go on after the pause', async () => {
    let now = Date.now();
    const agent = await openTestAgent({ now: () => now });
    const { code } = agent.desk.issue();
    const home = newHome();
    for (let i = 0; i < 5; i++)
      await expect(pair(home, agent.url, { code: newCode(), name: 'x' })).rejects.toThrow(/does not know this code/);
    for (let i = 0; i < 3; i++)
      await expect(pair(home, agent.url, { code, name: 'x' })).rejects.toThrow(/too many wrong codes: wait 60 seconds/);
    await expectNotPaired(home, agent);
    now += 60_000;
    await pair(home, agent.url, { code, name: 'x' });
  });

  test('lock out no other key, however many they are and wherever they come from', async () => {
    const agent = await openTestAgent();
    const { code } = agent.desk.issue();
    const keys = await Promise.all(Array.from({ length: 12 }, () => newIdentity()));
    for (let i = 0; i < 60; i++) {
      const talk = await Conversation.begin(agent.port, keys[i % keys.length]!);
      expect(await talk.prove(Buffer.alloc(32, i))).toMatchObject({ code: 'wrong' });
    }
    await pair(newHome(), agent.url, { code, name: 'x' });
  });

  test('get one proof for each connection, and only after PAIR_BEGIN', async () => {
    const agent = await openTestAgent();
    const me = await newIdentity();
    const { code } = agent.desk.issue();
    const { socket } = await dialTls({ host: '127.0.0.1', port: agent.port, identity: me });
    const early = new Conversation(socket);
    expect(await early.prove(proofFor(early, me, agent, code))).toMatchObject({
      type: 'LINK_ERROR',
      code: 'PROTOCOL',
      message: 'PAIR_PROOF is out of place',
    });
    const twice = await Conversation.begin(agent.port, me);
    twice.link.send({ type: 'PAIR_PROOF', alias: 0, proof: Buffer.alloc(32) });
    twice.link.send({ type: 'PAIR_PROOF', alias: 0, proof: proofFor(twice, me, agent, code) });
    expect(await twice.next()).toMatchObject({ type: 'PAIR_FAIL', code: 'wrong' });
    expect(await twice.next()).toBeUndefined();
    const done = await Conversation.begin(agent.port, me);
    done.link.send({ type: 'PAIR_DONE', alias: 0, proof: Buffer.alloc(32), name: 'x' });
    expect(await done.next()).toMatchObject({ type: 'LINK_ERROR', message: 'PAIR_DONE is out of place' });
    expect(agent.callers.list()).toEqual([]);
  });

  test('cannot send frames above 4 KiB', async () => {
    const agent = await openTestAgent();
    const talk = await Conversation.begin(agent.port, await newIdentity());
    expect(await talk.prove(Buffer.alloc(5000))).toMatchObject({ type: 'LINK_ERROR' });
    expect(await talk.next()).toBeUndefined();
  });

  test('cannot write control characters into the callers file', async () => {
    const agent = await openTestAgent();
    const me = await newIdentity();
    const { code } = agent.desk.issue();
    const { socket } = await dialTls({ host: '127.0.0.1', port: agent.port, identity: me });
    const talk = new Conversation(socket);
    talk.link.send({ type: 'PAIR_BEGIN', alias: 0, name: `\u001b[2J\u202eann${'n'.repeat(300)}` });
    expect(await talk.prove(proofFor(talk, me, agent, code))).toMatchObject({ type: 'PAIR_DONE' });
    expect(agent.callers.find(me.spki)?.name).toMatch(/^\\u\{1b\}\[2J\\u\{202e\}annn{40,60}…$/);
  });
});

describe('codes', () => {
  test('are limited in number and time', async () => {
    let now = Date.now();
    const agent = await openTestAgent({ maxCodes: 3, now: () => now });
    for (const ttlMs of [999, Number.NaN, Number.POSITIVE_INFINITY, 24 * 3600 * 1000 + 1])
      expect(() => agent.desk.issue({ ttlMs })).toThrow(/lives from 1 second to 24 hours/);
    for (let i = 0; i < 3; i++) agent.desk.issue({ ttlMs: 1000 });
    expect(() => agent.desk.issue()).toThrow('3 pairing codes are waiting already');
    now += 1000;
    agent.desk.issue();
  });

  test('that were used make room for others, and a waiting one outlives any number of them', async () => {
    let now = Date.now();
    const agent = await openTestAgent({ maxCodes: 2, now: () => now });
    const { code } = agent.desk.issue();
    const me = await newIdentity();
    for (let i = 0; i < 12; i++) {
      const talk = await Conversation.begin(agent.port, me);
      const next = agent.desk.issue({ ttlMs: 1000 });
      if (i % 2) now += 1000;
      const expected = i % 2 ? { code: 'expired' } : { type: 'PAIR_DONE' };
      expect(await talk.prove(proofFor(talk, me, agent, next.code))).toMatchObject(expected);
    }
    await pair(newHome(), agent.url, { code, name: 'web1' });
  });

  test('are in no file', async () => {
    const agent = await openTestAgent();
    const { code } = agent.desk.issue();
    await pair(newHome(), agent.url, { code, name: 'web1' });
    const kept = readFileSync(agent.home.callersFile, 'utf8') + readFileSync(agent.home.identityFile, 'utf8');
    expect(kept.toUpperCase()).not.toContain(code.slice(0, 11));
  });
});

describe('pairing with a server that is not an agent', () => {
  const code = newCode();

  test('names what is wrong in the arguments before it connects', async () => {
    const home = newHome();
    await expect(pair(home, 'http://x', { code, name: 'a' })).rejects.toThrow(/is not an address/);
    await expect(pair(home, 'tls://x', { code: 'ABC', name: 'a' })).rejects.toThrow(/this one has 3/);
    await expect(pair(home, 'tls://x', { code, name: 'local' })).rejects.toThrow(/cannot name a host/);
    const wrong = (options: object) => pair(home, 'tls://x', options as never);
    await expect(wrong({ code, name: 'a', pin: 'x' })).rejects.toThrow('there is no pair option "pin"');
    await expect(wrong({ code })).rejects.toThrow(/a host needs a name/);
    await expect(wrong({ name: 'a' })).rejects.toThrow(/a pairing code has 26 letters and digits/);
    expect(existsSync(home.identityFile)).toBe(false);
  });

  test('says so', async () => {
    const port = await listen(createTcpServer((socket) => socket.end('SSH-2.0-x\r\n')));
    await expect(pair(newHome(), `tls://127.0.0.1:${port}`, { code, name: 'a' })).rejects.toThrow(
      /is not a sendall agent: check the port/,
    );
  });

  test.each<[string, (link: Link, message: Message) => void, RegExp]>([
    ['a hang-up', (link) => link.close(), /ended the connection before the pairing was done/],
    ['nonsense', (link) => void link.stream.write('GET / HTTP/1.1\r\n\r\n'), /ended the connection before .*: /],
    ['GOAWAY', (link) => link.send({ type: 'GOAWAY', alias: 0, reason: 'stop' }), /is going away \(stop\)/],
    [
      'LINK_ERROR',
      (link) => link.send({ type: 'LINK_ERROR', alias: 0, code: 'X', message: '\u001b[2J' }),
      /refused: \\u\{1b\}\[2J/,
    ],
    ['another message', (link) => link.send({ type: 'DETACH', alias: 0 }), /sent DETACH while pairing/],
    [
      'PAIR_FAIL of a kind to come',
      (link) => link.send({ type: 'PAIR_FAIL', alias: 0, code: 'x', message: 'full' }),
      /did not pair: full/,
    ],
    [
      'PAIR_DONE at once',
      (link) => link.send({ type: 'PAIR_DONE', alias: 0, proof: Buffer.alloc(32), name: '' }),
      /could not prove/,
    ],
  ])('ends with a sentence after %s', async (_, reply, message) => {
    const home = newHome();
    const url = await speaker(reply);
    await expect(pair(home, url, { code, name: 'a', timeoutMs: 60_000 })).rejects.toThrow(message);
    expect(KnownHosts.of(home).list()).toEqual([]);
  });

  test.each([
    ['silence', 'PAIR_BEGIN'],
    ['silence after HELLO_OK', 'PAIR_PROOF'],
  ])('ends with a sentence after %s', async (_, last) => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    onTestFinished(() => void vi.useRealTimers());
    const home = newHome();
    const url = await speaker((link, { type }) => {
      if (type === 'HELLO' && last === 'PAIR_PROOF') link.send(HELLO_OK);
      if (type === last) vi.advanceTimersByTime(5000);
    });
    await expect(pair(home, url, { code, name: 'a', timeoutMs: 5000 })).rejects.toThrow(
      /did not answer in time: try again/,
    );
    expect(KnownHosts.of(home).list()).toEqual([]);
  });

  test('stops when it is cancelled', async () => {
    const cancel = new AbortController();
    const url = await speaker(() => cancel.abort(new Error('enough')));
    await expect(pair(newHome(), url, { code, name: 'a', signal: cancel.signal })).rejects.toThrow('enough');
  });
});
