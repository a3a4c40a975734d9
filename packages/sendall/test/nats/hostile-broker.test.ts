import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { connect, KnownHosts, type Agent } from 'sendall';
import { natsHostOf } from '../../dist/text/nats-address.js';
import { exactStarts } from '../dist/exact-starts.js';
import { hostileBroker } from '../dist/hostile-broker.js';
import { drawSeed } from '../../../../test/support/seed.js';
import { within } from '../../../../test/support/waits.js';
import { removeHome } from '../remove-home.js';
import { newCaller, newHost, openShared } from './machines.js';
import { natsServer, type NatsServer } from '../dist/nats-server.js';

let server: NatsServer;
beforeAll(async () => void (server = await natsServer()));
afterAll(async () => await server[Symbol.asyncDispose]());

it('gives no wrong result and starts nothing twice, whatever the broker does to messages', async () => {
  const seed = drawSeed();
  const broker = await hostileBroker({ port: server.port, seed, perMille: 0 });
  const agent: Agent = await openShared(broker.url);
  const home = await newCaller(broker.url);
  await newHost(agent, home);
  const hosts = await Promise.all([
    connect('far', { home, retryFor: '10m', timeout: 3000, longestPause: 500, giveUpAfter: 600_000 }),
    connect('far', { home, retryFor: '10m', timeout: 3000, longestPause: 500, giveUpAfter: 600_000 }),
  ]);
  onTestFinished(async () => {
    await Promise.all(hosts.map((host) => host.close()));
    await agent.close();
    await removeHome(agent.home.state);
    await broker.close();
  });
  broker.perMille = 20;
  const mistreated = () => Object.values(broker.made).reduce((sum, n) => sum + n, 0);
  // How many messages the commands take, and so how many are mistreated, nobody knows before.
  for (let i = 0; mistreated() <= 10 && i < 10; i++) {
    const more = { seed: seed + i, runs: 200, size: 10_000 };
    const report = await within(exactStarts(hosts, more), 'the commands', 120_000);
    expect(report.wrong).toEqual([]);
    expect(report.runs).toBeGreaterThan(0);
  }
  broker.perMille = 0;
  expect(mistreated()).toBeGreaterThan(10);
  expect(KnownHosts.of(home).get('far')?.url).toBe(natsHostOf(agent.fingerprint));
});
