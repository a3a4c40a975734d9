import { createHash } from 'node:crypto';
import { TLSSocket } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { connect, KnownHosts, pair, type Agent } from 'sendall';
import { loadIdentity } from '../../dist/keys/identity.js';
import { Broker } from '../../dist/link/nats/broker.js';
import { Carrier } from '../../dist/link/nats/carrier.js';
import { knockAnswer, readKnock, writeKnock } from '../../dist/link/nats/knock.js';
import { newLinkName } from '../../dist/link/nats/subjects.js';
import { serverTls } from '../../dist/link/tls.js';
import { idOfPin, natsHostOf } from '../../dist/text/nats-address.js';
import { until, within } from '../../../../test/support/waits.js';
import { removeHome } from '../remove-home.js';
import { newAgent, newCaller, newHome, newHost, openShared } from './machines.js';
import { natsServer, type NatsServer } from '../dist/nats-server.js';

let server: NatsServer;
let agent: Agent;
beforeAll(async () => {
  server = await natsServer();
  agent = await openShared(server.url);
});
afterAll(async () => {
  await agent.close();
  await removeHome(agent.home.state);
  await server[Symbol.asyncDispose]();
});

describe('a link through a broker', () => {
  it('is paired, named and used like any other', async () => {
    const home = await newCaller(server.url);
    const url = natsHostOf(agent.fingerprint);
    const { code } = agent.issueCode();
    const paired = await pair(home, url.toUpperCase().replace('NATS:', 'nats:'), { code, name: 'web1' });
    expect(paired).toEqual({ name: 'web1', url, pin: agent.fingerprint });
    await using host = await connect('web1', { home });
    expect((await host.run(['echo', 'hello'])).stdout).toBe('hello\n');
    expect(await host.run(['cat'], { stdin: 'in and out' }).text()).toBe('in and out');
    await using byId = await connect(url, { home });
    await expect(byId.run(['sh', '-c', 'exit 3'])).rejects.toThrow(/code 3|exited with 3|3/);
  });

  it('carries large output and input whole', async () => {
    const host = await newHost(agent, await newCaller(server.url));
    const bytes = 40_000_000;
    const hash = createHash('sha256');
    const run = host.run(['head', '-c', String(bytes), '/dev/zero'], { maxBuffer: 0 });
    for await (const chunk of run.stdout) hash.update(chunk as Buffer);
    await run;
    expect(hash.digest('hex')).toBe(createHash('sha256').update(Buffer.alloc(bytes)).digest('hex'));
    const { stdout } = await host.run(['wc', '-c'], { stdin: Buffer.alloc(20_000_000, 1) });
    expect(stdout.trim()).toBe('20000000');
  });

  it('names a host that is not connected to the broker', async () => {
    const home = await newCaller(server.url);
    const { fingerprint: pin } = await loadIdentity(newHome(), { create: true });
    await KnownHosts.of(home).add({ name: 'gone', url: natsHostOf(pin), pin });
    await expect(connect('gone', { home })).rejects.toThrow(/nats:[a-z2-7]{26} is not connected to the broker/);
  });

  it('lets no unknown key run anything', async () => {
    const home = await newCaller(server.url);
    await KnownHosts.of(home).add({ name: 'far', url: natsHostOf(agent.fingerprint), pin: agent.fingerprint });
    await expect(connect('far', { home })).rejects.toThrow(/does not know the key/);
    await expect(pair(home, natsHostOf(agent.fingerprint), { code: '0'.repeat(26), name: 'far' })).rejects.toThrow(
      /does not know this code/,
    );
  });

  it('refuses a key other than the one that the address names', async () => {
    const home = await newCaller(server.url);
    const { fingerprint: other } = await loadIdentity(newHome(), { create: true });
    await KnownHosts.of(home).add({ name: 'far', url: natsHostOf(agent.fingerprint), pin: other });
    await expect(connect('far', { home })).rejects.toThrow(/the key pinned for nats:.* is another host's/);
  });

  it('goes through the broker or not, as it is told', async () => {
    const home = await newCaller(server.url);
    const direct = agent.listening.find((url) => url.startsWith('tls:'))!;
    await pair(home, direct, { code: agent.issueCode().code, name: 'both' });
    await using through = await connect('both', { home, via: 'nats' });
    expect((await through.run(['echo', 'a'])).stdout).toBe('a\n');
    await using straight = await connect('both', { home, via: 'direct' });
    expect((await straight.run(['echo', 'b'])).stdout).toBe('b\n');
    await KnownHosts.of(home).add({ name: 'only', url: natsHostOf(agent.fingerprint), pin: agent.fingerprint });
    await expect(connect('only', { home, via: 'direct' })).rejects.toThrow(/has no address but nats:/);
    await expect(connect('both', { home, via: 'pigeon' as 'nats' })).rejects.toThrow(/via: "pigeon" is not/);
  });

  it('needs a broker to be set up, and says so', async () => {
    const home = newHome();
    const { fingerprint: pin } = await loadIdentity(newHome(), { create: true });
    await KnownHosts.of(home).add({ name: 'far', url: natsHostOf(pin), pin });
    await expect(connect('far', { home })).rejects.toThrow(/no broker is set up here/);
    await expect(pair(home, natsHostOf(pin), { code: '0'.repeat(26), name: 'x' })).rejects.toThrow(
      /no broker is set up/,
    );
  });

  it('goes on with its runs when the broker is killed and started again', async () => {
    const host = await newHost(agent, await newCaller(server.url));
    const run = host.run(['sh', '-c', 'for i in 1 2 3 4 5 6; do echo $i; sleep 0.3; done; cat; echo end'], {
      stdin: 'pipe',
    });
    const lines: string[] = [];
    const reading = (async () => {
      for await (const line of run) lines.push(line);
    })();
    await until(() => lines.length >= 2, 'the first lines');
    await server.kill();
    await server.again();
    run.stdin.end('from here\n');
    await within(reading, 'the rest', 60_000);
    expect(lines).toEqual(['1', '2', '3', '4', '5', '6', 'from here', 'end']);
  });

  it('goes on with its runs when the agent comes back as another process', async () => {
    const agent = await newAgent(server.url);
    const home = await newCaller(server.url);
    const host = await newHost(agent, home);
    const run = host.run(['sh', '-c', 'echo one; cat; echo two'], { stdin: 'pipe' });
    const text = run.text();
    await run.started;
    await agent.close();
    await newAgent(server.url, { home: agent.home });
    run.stdin.end();
    expect(await within(text, 'the output', 60_000)).toBe('one\ntwo');
  });
});

describe('an agent behind a broker', () => {
  /** Another client of the broker. */
  const client = async () => await Broker.connect({ url: server.url }, { id: 'x'.repeat(26) });

  it('starts before its broker, and is found once the broker is there', async () => {
    const own = await natsServer();
    const { url } = own;
    await own.kill();
    const agent = await newAgent(url);
    expect(agent.unreached).toEqual([{ url, reason: expect.stringMatching(/cannot be reached/) }]);
    await own.again();
    await until(() => !agent.unreached.length, 'the agent to connect');
    const host = await newHost(agent, await newCaller(url));
    expect(host.info.name).toBe('far');
    await own[Symbol.asyncDispose]();
  });

  it('does not keep its agent from ending when the broker has gone silent', async () => {
    await using broker = await natsServer();
    const far = await newAgent(broker.url);
    broker.signal('SIGSTOP');
    await within(far.close(), 'the end of the agent', 20_000);
    broker.signal('SIGCONT');
  });

  it('answers inboxes only, and makes one link for a repeated knock', async () => {
    const other = await client();
    const identity = await loadIdentity(newHome(), { create: true });
    const host = idOfPin(agent.fingerprint);
    const knock = writeKnock(identity, host, newLinkName());
    const heard: string[] = [];
    other.subscribe('bait', () => heard.push('bait'));
    other.publish(other.subjects.knock(host), knock, 'bait');
    const answers: string[] = [];
    const ask = (token: string, bytes: Buffer) =>
      other.ask(token, other.subjects.knock(host), bytes, ({ data }) => answers.push(Buffer.from(data).toString()));
    ask('first', knock);
    ask('again', knock);
    const old = writeKnock(identity, host, newLinkName(), Date.now() - 3_600_000);
    ask('old', old);
    ask('other', writeKnock(identity, 'a'.repeat(26), newLinkName()));
    ask('junk', Buffer.from('{"link":'));
    await until(() => answers.length >= 3, 'the answers');
    await other.roundTrip();
    expect(answers).toEqual(['+', '+', expect.stringMatching(/clock is 36\d\d s behind/)]);
    expect(heard).toEqual([]);
    await other.close();
  });

  it('serves callers it knows while strangers knock', async () => {
    const home = await newCaller(server.url);
    const host = await newHost(agent, home);
    const other = await client();
    const id = idOfPin(agent.fingerprint);
    const identity = await loadIdentity(newHome(), { create: true });
    let answers = 0;
    for (let i = 0; i < 2000; i++)
      other.ask(`t${i}`, other.subjects.knock(id), writeKnock(identity, id, newLinkName()), () => answers++);
    await other.roundTrip();
    await using second = await connect('far', { home, timeout: 30_000 });
    expect((await second.run(['echo', 'in'])).stdout).toBe('in\n');
    expect((await host.run(['echo', 'still'])).stdout).toBe('still\n');
    expect(answers).toBeLessThan(100);
    await other.close();
  });

  it('cannot be made to end a link by one who does not know its name, nor by junk', async () => {
    const host = await newHost(agent, await newCaller(server.url));
    const run = host.run(['sh', '-c', 'read x; echo "$x"'], { stdin: 'pipe' });
    await run.started;
    const other = await client();
    const id = idOfPin(agent.fingerprint);
    for (let i = 0; i < 200; i++) {
      other.publish(other.subjects.link(id, newLinkName(), 'u'), Buffer.alloc(100, i));
      other.publish(other.subjects.discovery, Buffer.alloc(100, i), '_INBOX.x');
      other.publish(other.subjects.knock(id), Buffer.alloc(5000, i), '_INBOX.x');
    }
    await other.roundTrip();
    run.stdin.end('fine\n');
    expect(await run.text()).toBe('fine');
    await other.close();
  });

  it('cannot be played by another client of the broker', async () => {
    const home = await newCaller(server.url);
    const { fingerprint: pin } = await loadIdentity(newHome(), { create: true });
    const impostor = await loadIdentity(newHome(), { create: true });
    const id = idOfPin(pin);
    const other = await client();
    const { subjects } = other;
    other.subscribe(subjects.knock(id), ({ data, reply }) => {
      const { link } = readKnock(data);
      const carrier = new Carrier({ broker: other, link, out: subjects.link(id, link, 'd'), peer: 'x' }).start();
      other.subscribe(subjects.link(id, link, 'u'), (message) => carrier.receive(message.data));
      carrier.on('error', () => undefined);
      new TLSSocket(carrier, { ...serverTls(impostor), isServer: true }).on('error', () => undefined);
      other.publish(reply!, knockAnswer());
    });
    await other.roundTrip();
    await KnownHosts.of(home).add({ name: 'played', url: natsHostOf(pin), pin });
    await expect(connect('played', { home })).rejects.toThrow(/the key at nats:.* has changed/);
    await expect(pair(home, natsHostOf(pin), { code: '0'.repeat(26), name: 'x' })).rejects.toThrow(
      /the key behind nats:.* is not that host's/,
    );
    await other.close();
  });

  it('goes on with a run when another client writes into its link', async () => {
    const host = await newHost(agent, await newCaller(server.url));
    const run = host.run(['sh', '-c', 'read x; echo "$x"; read y; echo "$y"'], { stdin: 'pipe' });
    const text = run.text();
    await run.started;
    const other = await client();
    const id = idOfPin(agent.fingerprint);
    // A client that may read everything, as the broker itself can.
    let hit = 0;
    other.subscribe(other.subjects.link(id, '*', 'u'), ({ subject, data }) => {
      if (hit++ < 3) other.publish(subject, Buffer.from(data));
    });
    await other.roundTrip();
    run.stdin.write('one\n');
    await until(() => hit > 3, 'links to be broken');
    run.stdin.end('two\n');
    expect(await within(text, 'the output', 60_000)).toBe('one\ntwo');
    await other.close();
  });
});
