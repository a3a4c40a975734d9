/** A host of an older version would not know what a run asks for, and does not get it. */
import { expect, test } from 'vitest';
import { connect, resolveHome, type Host } from 'sendall';
import { decodeSpec } from '../../dist/protocol/codec.js';
import { Machine } from './machine.js';
import { Relay } from './relay.js';

type Ended = PromiseLike<{ readonly reason: string }>;

/** For each feature a run that needs it, and what its caller is told of a host without it. */
const runs: Readonly<Record<string, readonly [string, (host: Host) => Ended]>> = {
  transfer: ['transfers no files', (host) => host.pull('/etc/hostname', '/dev/null', { reject: false })],
  forward: ['forwards no connections', (host) => host.forward('127.0.0.1:1', { stdin: 'pipe', reject: false })],
  'account-shell': ['starts no shells of accounts', (host) => host.accountShell('true', { reject: false })],
  passing: ['keeps the output of every run', (host) => host.run(['true'], { keep: 'nothing', reject: false })],
};

test('a host that does not name a feature gets no run that needs it, and others as ever', async () => {
  const machine = await Machine.start();
  const home = resolveHome({ SENDALL_HOME: machine.home.state });
  for (const [feature, [lack, run]] of Object.entries(runs)) {
    const relay = await Relay.to(machine.home.agentSocket);
    relay.fromAgent = (message) =>
      message.type === 'AUTH_OK'
        ? { ...message, features: message.features.filter((each) => each !== feature) }
        : message;
    await using host = await connect(relay.url, { home });
    expect((await run(host)).reason).toContain(lack);
    expect(relay.opens).toEqual([]);
    expect(await host.run(['echo', 'fine']).text()).toBe('fine');
    expect(relay.opens.map(({ spec }) => decodeSpec(spec).verb)).toEqual(['exec']);
  }
});
