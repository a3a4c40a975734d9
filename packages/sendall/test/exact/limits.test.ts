/** Limits on the wire: a host of an older version would skip them, so a run with limits waits for what the host can do. */
import { expect, onTestFinished, test } from 'vitest';
import { connect, resolveHome, type ConnectOptions, type Host } from 'sendall';
import { decodeSpec } from '../../dist/protocol/codec.js';
import { until } from '../../../../test/support/waits.js';
import { Machine } from './machine.js';
import { Relay } from './relay.js';

const LOOK = ['sh', '-c', 'ulimit -n'];
const limits = { files: 99 };

async function relayed(): Promise<{ relay: Relay; reach: (options?: ConnectOptions) => Promise<Host> }> {
  const machine = await Machine.start();
  const relay = await Relay.to(machine.home.agentSocket);
  const home = resolveHome({ SENDALL_HOME: machine.home.state });
  const reach = async (options: ConnectOptions = {}) => {
    const host = await connect(relay.url, { home, ...options });
    onTestFinished(() => host.close());
    return host;
  };
  return { relay, reach };
}

/** The limits of each OPEN that the host got. */
const sent = (relay: Relay) => relay.opens.map(({ spec }) => decodeSpec(spec).limits?.files);

test('a run with limits never goes in the first flight; one without does', async () => {
  const { relay, reach } = await relayed();
  await (await reach()).close();
  relay.hold();
  const host = await reach({ early: true });
  const run = host.run(LOOK, { limits });
  const other = host.run(['echo', 'fine']);
  await until(() => relay.types.includes('OPEN'), 'the flight');
  expect(sent(relay)).toEqual([undefined]);
  relay.release();
  expect(await run.text()).toBe('99');
  expect(await other.text()).toBe('fine');
  expect(sent(relay)).toEqual([undefined, 99]);
});

test('a host that does not say that it obeys limits never gets the run, whatever an earlier link has said', async () => {
  const { relay, reach } = await relayed();
  await (await reach()).close();
  relay.fromAgent = (message) =>
    message.type === 'AUTH_OK'
      ? { ...message, features: message.features.filter((feature) => feature !== 'limits') }
      : message;
  for (const early of [true, false]) {
    const host = await reach({ early });
    const result = await host.run(LOOK, { limits, reject: false });
    expect(result).toMatchObject({ outcome: 'refused', refusal: 'unsupported' });
    expect(result.reason).toMatch(/^the host's sendall obeys no limits: upgrade it there/);
    expect(await host.run(['echo', 'fine']).text()).toBe('fine');
  }
  expect(sent(relay)).toEqual([undefined, undefined]);
});
