/** Other clients of the broker: garbage, captures that are played again, knocks by the thousand. Callers get in. */
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect as toBroker, type NatsConnection } from '@nats-io/transport-node';
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { connect, type Agent } from 'sendall';
import { loadIdentity, type Identity } from '../../dist/keys/identity.js';
import { writeKnock } from '../../dist/link/nats/knock.js';
import { newLinkName, Subjects } from '../../dist/link/nats/subjects.js';
import { idOfPin, parseNatsUrl } from '../../dist/text/nats-address.js';
import { drawSeed } from '../../../../test/support/seed.js';
import { until } from '../../../../test/support/waits.js';
import { newAgent, newCaller, newHost } from './machines.js';
import { natsServer, type NatsServer } from '../dist/nats-server.js';

let server: NatsServer;
let nats: NatsConnection;
let subjects: Subjects;
beforeAll(async () => {
  server = await natsServer();
  nats = await toBroker({ servers: `127.0.0.1:${server.port}` });
  subjects = new Subjects(parseNatsUrl(server.url).fleet);
});
afterAll(async () => {
  await nats.close();
  await server[Symbol.asyncDispose]();
});

/** Letters of a public key that say what kind of key it is, before its own numbers. */
const KEY_BEGIN = 36;

/** A key that no agent knows. */
function stranger(): Pick<Identity, 'key' | 'spki'> {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return {
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
    spki: publicKey.export({ type: 'spki', format: 'der' }),
  };
}

/** Knocks, and counts the answers. */
class Knocker {
  readonly answers: string[] = [];
  readonly #inbox = `_INBOX.stranger${randomBytes(4).toString('hex')}`;
  readonly #host: string;

  constructor(agent: Agent) {
    this.#host = idOfPin(agent.fingerprint);
    nats.subscribe(`${this.#inbox}.*`, {
      callback: (_, message) => void this.answers.push(Buffer.from(message.data).toString()),
    });
  }

  send(bytes: Uint8Array): void {
    nats.publish(subjects.knock(this.#host), bytes, { reply: `${this.#inbox}.x` });
  }

  knock(identity: Pick<Identity, 'key' | 'spki'>): void {
    this.send(writeKnock(identity as Identity, this.#host, newLinkName()));
  }
}

it('that send garbage where hosts are knocked for disturb no caller and learn nothing', async () => {
  const agent = await newAgent(server.url);
  const home = await newCaller(server.url);
  await using before = await newHost(agent, home);
  const knocker = new Knocker(agent);
  let state = drawSeed();
  const byte = (): number => (state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0) >>> 24;
  const good = writeKnock(stranger() as Identity, idOfPin(agent.fingerprint), newLinkName());
  const parts = JSON.parse(good.toString()) as Record<'key' | 'signature', string>;
  const [key, signature] = [good.indexOf(parts.key), good.indexOf(parts.signature)];
  // Some bits do not count: a key's begin can be written in several ways, and the last letters stand for too many bits.
  const counts = (at: number): boolean =>
    (at < key || at >= key + KEY_BEGIN) &&
    at !== key + parts.key.length - 1 &&
    at !== signature + parts.signature.length - 1;
  const placesThatCount = [...good.keys()].filter(counts);
  const garbage: Uint8Array[] = [
    Buffer.alloc(0),
    Buffer.from('{}'),
    Buffer.from('null'),
    Buffer.from('[[[[[[[['),
    Buffer.alloc(900_000, '['),
    ...['link', 'time', 'key', 'signature'].flatMap((name) =>
      [undefined, null, 7, {}, '', 'x'.repeat(300)].map((value) =>
        Buffer.from(JSON.stringify({ ...parts, [name]: value })),
      ),
    ),
    Buffer.from(JSON.stringify({ ...parts, signature: Buffer.alloc(70).toString('base64url') })),
    Buffer.from(JSON.stringify({ ...parts, key: Buffer.alloc(91).toString('base64url') })),
    ...Array.from({ length: 300 }, () => Buffer.from(Array.from({ length: 200 }, byte))),
    ...Array.from({ length: 300 }, () => {
      const flipped = Buffer.from(good);
      flipped[placesThatCount[(byte() << 8 | byte()) % placesThatCount.length]!]! ^= 1 << (byte() & 7); // prettier-ignore
      return flipped;
    }),
  ];
  for (const bytes of garbage) knocker.send(bytes);
  for (let i = 0; i < 500; i++)
    nats.publish(subjects.link(idOfPin(agent.fingerprint), newLinkName(), 'u'), randomBytes(100), {
      reply: '_INBOX.x.y',
    });
  await nats.flush();
  expect((await before.run(['echo', 'undisturbed'])).stdout).toBe('undisturbed\n');
  await using host = await connect('far', { home });
  expect((await host.run(['echo', 'fine'])).stdout).toBe('fine\n');
  // A bit that counts breaks a knock, and no link came of any of it.
  expect(knocker.answers.filter((answer) => answer === '+')).toEqual([]);
});

it('that play a capture of a session again start nothing, also with the next agent', async () => {
  const first = await newAgent(server.url);
  const home = await newCaller(server.url);
  const captured: { subject: string; data: Uint8Array; reply: string }[] = [];
  const tap = nats.subscribe('sendall.>', {
    callback: (_, { subject, data, reply = '' }) => void captured.push({ subject, data: Uint8Array.from(data), reply }),
  });
  await nats.flush();
  const starts = join(home.state, 'starts');
  await using host = await newHost(first, home);
  await host.run(['sh', '-c', `echo started >>${starts}`]);
  await host.close();
  // How many messages there are depends on how much comes at once. What this connection was sent before, it has then.
  await nats.flush();
  const kinds = () => new Set(captured.map(({ subject }) => /\.[ud]$/.exec(subject)?.[0] ?? 'knock'));
  await until(() => kinds().size === 3, 'a knock, and messages of both directions');
  tap.unsubscribe();

  const inbox = `_INBOX.player${randomBytes(4).toString('hex')}`;
  const replay = async (): Promise<void> => {
    for (const { subject, data, reply } of captured) nats.publish(subject, data, reply ? { reply: `${inbox}.x` } : {});
    await nats.flush();
  };
  const works = async (): Promise<void> => {
    // A busy machine may take longer for a handshake than the second agent has patience for the captured ones.
    await using again = await connect('far', { home, retryFor: '10m' });
    expect((await again.run(['cat', starts])).stdout).toBe('started\n');
  };
  await replay();
  await works();
  const { home: hostHome } = first;
  await first.close();
  // It does not know which links were knocked for before its start, so the knock counts; nothing behind it does.
  const second = await newAgent(server.url, { home: hostHome, handshakeTimeout: 1000 });
  for (let i = 0; i < 3; i++) await replay();
  await works();
  await until(async () => (await second.status).links === 0, 'the links of the capture to go');
  expect(readFileSync(starts, 'utf8')).toBe('started\n');
  expect(existsSync(starts)).toBe(true);
});

it('that knock by the thousand, with keys of their own or in a caller’s name, keep no other caller out', async () => {
  const agent = await newAgent(server.url, { maxConnections: 6, handshakeTimeout: 600_000 });
  const [alice, bob] = [await newCaller(server.url), await newCaller(server.url)];
  await (await newHost(agent, alice)).close();
  await using held = await newHost(agent, bob);
  const knocker = new Knocker(agent);
  const keys = Array.from({ length: 40 }, stranger);
  const { spki } = await loadIdentity(alice);
  const stop = new AbortController();
  const flood = (async () => {
    while (!stop.signal.aborted) {
      for (let i = 0; i < 40; i++) knocker.knock(keys[i]!);
      // Alice's key can be read at the broker; her signature cannot be made.
      for (let i = 0; i < 100; i++) knocker.knock({ key: keys[i % 40]!.key, spki });
      await nats.flush();
    }
  })();
  onTestFinished(() => stop.abort());
  for (let i = 0; i < 4; i++) {
    await using host = await connect('far', { home: bob, timeout: 30_000 });
    expect((await host.run(['echo', 'in'])).stdout).toBe('in\n');
  }
  expect((await held.run(['echo', 'undisturbed'])).stdout).toBe('undisturbed\n');
  stop.abort();
  await flood;
  await using host = await connect('far', { home: alice, timeout: 30_000 });
  expect((await host.run(['echo', 'in again'])).stdout).toBe('in again\n');
});

it('that take all places make room for a known caller, the oldest first', async () => {
  const agent = await newAgent(server.url, { maxConnections: 4, maxBrokerStrangers: 8, handshakeTimeout: 600_000 });
  const home = await newCaller(server.url);
  await (await newHost(agent, home)).close();
  await until(async () => (await agent.status).links === 0, 'the link to go');
  const knocker = new Knocker(agent);
  for (let i = 0; i < 4; i++) knocker.knock(stranger());
  await until(() => knocker.answers.length === 4, 'the answers');
  expect(knocker.answers).toEqual(['+', '+', '+', '+']);
  const hosts = [];
  for (let i = 0; i < 4; i++) hosts.push(await connect('far', { home, timeout: 30_000 }));
  for (const host of hosts) expect((await host.run(['echo', 'in'])).stdout).toBe('in\n');
  // Those that are in stay: the next one is told.
  await expect(connect('far', { home, timeout: 30_000 })).rejects.toThrow(/it has 4 links already/);
  knocker.knock(stranger());
  await until(() => knocker.answers.length === 5, 'the answer');
  expect(knocker.answers.at(-1)).toBe('-it has 4 links already');
  for (const host of hosts) await host.close();
});
