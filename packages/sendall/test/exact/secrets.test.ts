/** Secrets on the wire: they wait until the host has said that it takes them, and come again after a lost link. */
import { expect, onTestFinished, test } from 'vitest';
import { connect, resolveHome, secret, type ConnectOptions, type Host } from 'sendall';
import type { MessageNamed } from '../../dist/protocol/messages.js';
import { until } from '../../../../test/support/waits.js';
import { Machine } from './machine.js';
import { Relay } from './relay.js';

const READ = ['sh', '-c', 'cat <&$DB_FD'];
const secrets = { DB: secret('hunter2') };

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

const withoutFeature = (message: MessageNamed<'AUTH_OK'>) => ({
  ...message,
  features: message.features.filter((feature) => feature !== 'secrets'),
});

test('a run with secrets never goes in the first flight; one without does', async () => {
  const { relay, reach } = await relayed();
  await (await reach()).close();
  relay.hold();
  const host = await reach({ early: true });
  const run = host.run(READ, { secrets });
  const other = host.run(['echo', 'fine']);
  await until(() => relay.types.includes('OPEN'), 'the flight');
  expect(relay.opens).toHaveLength(1);
  expect(relay.opens[0]!.secrets).toEqual([]);
  relay.release();
  expect(await run.text()).toBe('hunter2');
  expect(await other.text()).toBe('fine');
  expect(relay.opens.map(({ secrets: values }) => values.length)).toEqual([0, 1]);
});

test('a host that does not say that it takes secrets never gets the run, whatever an earlier link has said', async () => {
  const { relay, reach } = await relayed();
  await (await reach()).close();
  relay.fromAgent = (message) => (message.type === 'AUTH_OK' ? withoutFeature(message) : message);
  for (const early of [true, false]) {
    const host = await reach({ early });
    const result = await host.run(READ, { secrets, reject: false });
    expect(result).toMatchObject({ outcome: 'refused', refusal: 'unsupported' });
    expect(result.reason).toMatch(/^the host's sendall takes no secrets: upgrade it there/);
    expect(await host.run(['echo', 'fine']).text()).toBe('fine');
  }
  expect(relay.opens.filter(({ secrets: values }) => values.length)).toEqual([]);
});

test('when the link is lost before the answer, the values are sent again, and the command runs once', async () => {
  const { relay, reach } = await relayed();
  const host = await reach();
  let lost = 0;
  relay.fromCaller = (message, connection) => {
    if (message.type !== 'OPEN' || ++lost > 2) return message;
    connection.cut();
    return undefined;
  };
  expect(await host.run(READ, { secrets }).text()).toBe('hunter2');
  expect(relay.opens.map(({ secrets: values }) => values.map(({ name }) => name))).toEqual([['DB'], ['DB'], ['DB']]);
  lost = 0;
  relay.fromCaller = (message) => message;
  relay.fromAgent = (message, connection) => {
    if (message.type !== 'OPENED' || ++lost > 1) return message;
    connection.cut();
    return undefined;
  };
  expect(await host.run(READ, { secrets }).text()).toBe('hunter2');
});

test('a host that was changed for an older one before it answered does not get the run: it is lost', async () => {
  const { relay, reach } = await relayed();
  const host = await reach();
  relay.fromAgent = (message, connection) => {
    if (message.type === 'AUTH_OK') return withoutFeature(message);
    if (message.type !== 'OPENED') return message;
    connection.cut();
    return undefined;
  };
  const result = await host.run(READ, { secrets, reject: false });
  expect(result).toMatchObject({ outcome: 'lost', reason: expect.stringContaining('takes no secrets') });
  expect(relay.opens).toHaveLength(1);
});
