import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { connect } from 'sendall';
import { drawSeed } from '../../../../test/support/seed.js';
import { within } from '../../../../test/support/waits.js';
import { hostileBroker } from '../dist/hostile-broker.js';
import { natsServer, type NatsServer } from '../dist/nats-server.js';
import { listTree, makeOddTree } from '../push/tree.js';
import { removeHome } from '../remove-home.js';
import { newCaller, newHost, openShared } from './machines.js';

let server: NatsServer;
beforeAll(async () => void (server = await natsServer()));
afterAll(async () => await server[Symbol.asyncDispose]());

it('moves a tree there and back, whatever the broker does to messages', async () => {
  const broker = await hostileBroker({ port: server.port, seed: drawSeed(), perMille: 0 });
  const agent = await openShared(broker.url);
  const home = await newCaller(broker.url);
  await newHost(agent, home);
  const host = await connect('far', {
    home,
    retryFor: '10m',
    timeout: 3000,
    longestPause: 500,
    giveUpAfter: 600_000,
  });
  const folder = mkdtempSync(join(tmpdir(), 'sendall-push-'));
  onTestFinished(async () => {
    await host.close();
    await agent.close();
    await removeHome(agent.home.state);
    await broker.close();
    rmSync(folder, { recursive: true, force: true });
  });
  makeOddTree(join(folder, 'tree'));
  broker.perMille = 20;
  // How many messages there are, and so how many are mistreated, nobody knows before.
  for (let i = 0; Object.values(broker.made).every((n) => n === 0) && i < 20; i++) {
    const [there, back] = [join(folder, `there${i}`), join(folder, `back${i}`)];
    await within(host.push(join(folder, 'tree'), there), 'the push', 60_000);
    await within(host.pull(there, back), 'the pull', 60_000);
    expect(listTree(back)).toEqual(listTree(join(folder, 'tree')));
  }
  broker.perMille = 0;
  expect(Object.values(broker.made).reduce((sum, n) => sum + n, 0)).toBeGreaterThan(0);
  expect(readFileSync(join(folder, 'back0/plain'), 'utf8')).toBe('plain\n');
});
