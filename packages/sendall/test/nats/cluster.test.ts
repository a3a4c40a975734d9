// The configuration files of docs/sendall/nats, on three servers of this machine.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { connect, KnownHosts, openAgent, pair, resolveHome, type Agent, type Home } from 'sendall';
import { completeEngine, writeEngine, type Engine } from '../../dist/keys/engine.js';
import { loadIdentity } from '../../dist/keys/identity.js';
import { Broker } from '../../dist/link/nats/broker.js';
import { newLinkName } from '../../dist/link/nats/subjects.js';
import { idOfPin, natsHostOf } from '../../dist/text/nats-address.js';
import { until, within } from '../../../../test/support/waits.js';
import { removeHome } from '../remove-home.js';
import { newHome } from './machines.js';
import { heldPort } from '../dist/held-port.js';
import { natsServer, type NatsServer } from '../dist/nats-server.js';

const CONFIG = fileURLToPath(new URL('../../../../docs/sendall/nats/', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'sendall-cluster-'));
const servers: NatsServer[] = [];
let agentHome: Home;
let callerHome: Home;
let agent: Agent;

/** A certificate for all servers, and its authority. */
function makeCertificates(): void {
  const ssl = (...words: string[]): Buffer => execFileSync('openssl', words, { cwd: folder, stdio: 'pipe' });
  const names =
    'subjectAltName=DNS:n1,DNS:n2,DNS:n3,DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n';
  writeFileSync(join(folder, 'names'), names);
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  ssl('req', '-x509', ...key, '-keyout', 'ca.key', '-out', 'ca.pem', '-days', '2', '-subj', '/CN=test authority');
  ssl('req', ...key, '-keyout', 'server.key', '-out', 'server.csr', '-subj', '/CN=n1');
  const signed = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2', '-extfile', 'names'];
  ssl('x509', '-req', '-in', 'server.csr', ...signed, '-out', 'server.pem');
}

/** The pages' files, with this machine's addresses, paths and ids in place of theirs. */
function configOf(name: string, ids: Record<string, string>, clusterPorts: readonly number[]): string {
  const common = readFileSync(join(CONFIG, 'common.conf'), 'utf8');
  let text = readFileSync(join(CONFIG, `${name}.conf`), 'utf8').replace('include common.conf', common);
  text = text.replace(/^listen: 0\.0\.0\.0:4222$/m, '').replaceAll(/\btls\/([a-z.]+)/g, `"${folder}/$1"`);
  text = text.replace('0.0.0.0:6222', `127.0.0.1:${clusterPorts[Number(name[1]) - 1]}`);
  text = text.replaceAll(/nats:\/\/n(\d):6222/g, (_, n) => `nats://127.0.0.1:${clusterPorts[Number(n) - 1]}`);
  for (const [word, id] of Object.entries(ids)) text = text.replaceAll(word, id);
  return text;
}

function credsFile(name: string): string {
  const path = join(folder, `${name}.creds`);
  writeFileSync(path, `${name}:change-${name}\n`, { mode: 0o600 });
  return path;
}

const engineAt = (name: string, ...at: readonly number[]): Engine => ({
  url: `nats://${at.map((n) => `localhost:${servers[n]!.port}`).join(',')}`,
  creds: credsFile(name),
  tlsCa: join(folder, 'ca.pem'),
});

beforeAll(async () => {
  makeCertificates();
  const homes = ['agent', 'caller'].map((name) =>
    resolveHome({ SENDALL_HOME: mkdtempSync(join(tmpdir(), `sendall-${name}-`)) }),
  );
  [agentHome, callerHome] = homes as [Home, Home];
  const [host, caller] = await Promise.all(homes.map((home) => loadIdentity(home, { create: true })));
  const ids = { HOST1: idOfPin(host!.fingerprint), CALLER1: idOfPin(caller!.fingerprint) };
  const ports = [await heldPort(), await heldPort(), await heldPort()];
  for (const name of ['n1', 'n2', 'n3']) servers.push(await natsServer({ config: configOf(name, ids, ports) }));
  // The host knows the first two servers, the caller the third: the way leads across the cluster.
  const { url, ...broker } = engineAt('web1', 0, 1);
  agent = await openAgent({ home: agentHome, listen: [url], broker, name: 'web1', keeperIdleExit: 2000 });
  await writeEngine(callerHome, completeEngine(engineAt('admin', 2)));
});

afterAll(async () => {
  await agent?.close();
  await removeHome(agentHome.state);
  await Promise.all(servers.map((server) => server[Symbol.asyncDispose]()));
  for (const path of [folder, callerHome.state]) rmSync(path, { recursive: true, force: true });
});

it('the configuration of the page lets a caller and a host meet across the cluster', async () => {
  const url = natsHostOf(agent.fingerprint);
  const { code } = agent.issueCode();
  const paired = () => pair(callerHome, url, { code, name: 'web1' }).catch(() => undefined);
  await until(paired, () => `the servers to find each other: ${JSON.stringify(agent.unreached)}`);
  await using host = await connect('web1', { home: callerHome });
  expect((await host.run(['echo', 'across'])).stdout).toBe('across\n');
  const { fingerprint: pin } = await loadIdentity(newHome(), { create: true });
  await KnownHosts.of(callerHome).add({ name: 'gone', url: natsHostOf(pin), pin });
  await expect(connect('gone', { home: callerHome })).rejects.toThrow(/is not connected to the broker/);
});

/** What the broker forbids a user. */
async function forbidden(user: string, id: string, act: (broker: Broker) => void): Promise<string[]> {
  const denied: string[] = [];
  const broker = await Broker.connect(completeEngine(engineAt(user, 1)), { id });
  onTestFinished(async () => await broker.close());
  broker.addWatcher({ denied: (subject) => denied.push(subject) });
  act(broker);
  await broker.roundTrip();
  // The library passes errors on in a later turn.
  await new Promise((resolve) => setImmediate(resolve));
  await broker.roundTrip();
  return denied;
}

it('its permissions forbid a host what is not its own', async () => {
  const own = idOfPin(agent.fingerprint);
  const other = 'o'.repeat(26);
  const link = newLinkName();
  const denied = await forbidden('web1', own, (broker) => {
    const { subjects } = broker;
    for (const subject of [subjects.knock(other), subjects.link(other, '*', 'u'), subjects.link(own, '*', 'd'), '>'])
      broker.subscribe(subject, () => undefined);
    for (const subject of [subjects.knock(other), subjects.link(other, link, 'd'), subjects.link(own, link, 'u')])
      broker.publish(subject, Buffer.from('x'));
    broker.subscribe(subjects.knock(own), () => undefined);
    broker.publish(subjects.link(own, link, 'd'), Buffer.from('x'));
  });
  expect(
    denied.map((subject) => subject.replaceAll(own, 'OWN').replaceAll(other, 'OTHER').replaceAll(link, 'LINK')).sort(),
  ).toEqual([
    '>',
    'sendall.1.main.h.OTHER',
    'sendall.1.main.h.OTHER',
    'sendall.1.main.l.OTHER.*.u',
    'sendall.1.main.l.OTHER.LINK.d',
    'sendall.1.main.l.OWN.*.d',
    'sendall.1.main.l.OWN.LINK.u',
  ]);
});

it('its permissions forbid a caller what is a host’s', async () => {
  const { fingerprint } = await loadIdentity(callerHome);
  const own = idOfPin(fingerprint);
  const host = idOfPin(agent.fingerprint);
  const denied = await forbidden('admin', own, (broker) => {
    const { subjects } = broker;
    for (const subject of [subjects.knock(host), subjects.link(host, '*', 'u'), `_INBOX.${host}.>`, '_INBOX.>'])
      broker.subscribe(subject, () => undefined);
    broker.publish(subjects.link(host, newLinkName(), 'd'), Buffer.from('x'));
    broker.publish(`_INBOX.${host}.x.y`, Buffer.from('x'));
    broker.publish(subjects.knock(host), Buffer.from('x'));
  });
  expect(denied).toHaveLength(6);
  expect(denied).not.toContain(`sendall.1.main.d`);
});

it('a command says what the broker forbids', async () => {
  const home = newHome();
  await writeEngine(home, completeEngine(engineAt('web1', 2)));
  await KnownHosts.of(home).add({ name: 'web1', url: natsHostOf(agent.fingerprint), pin: agent.fingerprint });
  await expect(connect('web1', { home })).rejects.toThrow(/the broker at nats:.* forbids us the subject /);
});

it('runs go on when one of the three servers is killed', async () => {
  await using host = await connect('web1', { home: callerHome });
  const run = host.run(['sh', '-c', 'echo one; read x; echo "$x"; sha256sum'], { stdin: 'pipe' });
  const text = run.text();
  await run.started;
  for (const n of [0, 1]) {
    await servers[n]!.kill();
    await until(
      async () =>
        await connect('web1', { home: callerHome }).then(
          (again) => again.close().then(() => true),
          () => false,
        ),
      'the host to come back',
    );
    await servers[n]!.again();
  }
  run.stdin.write('two\n');
  run.stdin.end(Buffer.alloc(3_000_000, 7));
  expect(await within(text, 'the output', 60_000)).toMatch(/^one\ntwo\n[0-9a-f]{64} {2}-$/);
});
