/** Waits at a broker that are not endless: nothing that was given up goes on waiting for an answer. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it, onTestFinished, vi } from 'vitest';
import { connect, pair } from 'sendall';
import { UnreachableError } from '../../dist/errors.js';
import { completeEngine } from '../../dist/keys/engine.js';
import { loadIdentity } from '../../dist/keys/identity.js';
import { Broker } from '../../dist/link/nats/broker.js';
import { dialNats } from '../../dist/link/nats/dial.js';
import { NatsListener } from '../../dist/link/nats/listen.js';
import { idOfPin, natsHostOf } from '../../dist/text/nats-address.js';
import { patience, until, within } from '../../../../test/support/waits.js';
import { endKeeper } from '../remove-home.js';
import { newCaller, newHome } from './machines.js';
import { natsServer, type NatsServer } from '../dist/nats-server.js';

const SENDALL = fileURLToPath(new URL('../../bin/sendall.js', import.meta.url));
const PROGRAM = fileURLToPath(new URL('../dist/gives-up.js', import.meta.url));

let server: NatsServer;
beforeAll(async () => void (server = await natsServer()));
afterAll(async () => await server[Symbol.asyncDispose]());

it('a message to a broker that stands still and back has its time', async () => {
  const broker = await Broker.connect(completeEngine({ url: server.url }), { id: 'a'.repeat(26) });
  onTestFinished(async () => await broker.close());
  expect(await broker.roundTrip()).toBeGreaterThan(0);
  server.signal('SIGSTOP');
  try {
    const late = broker.roundTrip(100);
    await expect(within(late, 'the end of the wait')).rejects.toThrow(
      /^the broker at nats:.* did not answer within 100 ms$/,
    );
    await expect(late).rejects.toThrow(UnreachableError);
  } finally {
    server.signal('SIGCONT');
  }
  await until(async () => (await broker.roundTrip(30_000)) >= 0, 'the broker again');
});

it('a program ends when it has given a run up as lost, while its host does not answer', async () => {
  const host = newHome();
  const agent = spawn(process.execPath, [SENDALL, 'agent', '--listen', server.url], {
    env: { ...process.env, SENDALL_HOME: host.state },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  onTestFinished(async () => {
    agent.kill('SIGKILL');
    if (agent.exitCode === null && agent.signalCode === null) await once(agent, 'close');
    await endKeeper(host.state);
  });
  const lines = createInterface(agent.stderr);
  for await (const line of lines) if (line.includes('nats:')) break;
  await using local = await connect('local', { home: host });
  const { code } = await local.ask<{ code: string }>('pair-new', {});
  const { fingerprint } = await local.ask<{ fingerprint: string }>('status');
  const home = await newCaller(server.url);
  await pair(home, natsHostOf(fingerprint), { code, name: 'far' });

  const program = spawn(process.execPath, [PROGRAM, String(patience(500))], {
    env: { ...process.env, SENDALL_HOME: home.state },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  onTestFinished(() => void program.kill('SIGKILL'));
  const ended = once(program, 'close');
  const said: string[] = [];
  createInterface(program.stdout).on('line', (line) => said.push(line));
  await until(() => said.length, 'the run to start');
  agent.kill('SIGSTOP');
  try {
    await until(() => said.length === 2, 'the run to be given up');
    expect(said[1]).toBe('lost');
    expect(await within(ended, 'the program to end')).toEqual([0, null]);
  } finally {
    agent.kill('SIGCONT');
  }
  // A keeper that is killed leaves it behind.
  await local.attach(said[0]!, { reject: false }).cancel();
});

it('a listener that is closed while it connects leaves no connection', async () => {
  await using own = await natsServer();
  await own.kill();
  const listener = await NatsListener.open({
    engine: { url: own.url },
    identity: await loadIdentity(newHome(), { create: true }),
    handshakeTimeout: 5000,
    maxLinks: 1,
    maxStrangers: 1,
    maxHandshakes: 1,
    isKnown: () => false,
    card: async () => ({ name: '', version: '', epoch: '' }),
    accept: () => undefined,
  });
  expect(listener.trouble).toBeDefined();
  // When it asks whether the server has heard of its subjects, the agent ends.
  const connected = new Promise<Broker>((resolve) => {
    const roundTrip = vi.spyOn(Broker.prototype, 'roundTrip').mockImplementation(async function (this: Broker) {
      await listener.close();
      resolve(this);
      return 0;
    });
    onTestFinished(() => roundTrip.mockRestore());
  });
  await own.again();
  const broker = await within(connected, 'its connection');
  await within(broker.closed, 'the end of its connection');
});

it('a dial that waits behind many others ends with its signal, and takes no turn', async () => {
  const identity = await loadIdentity(newHome(), { create: true });
  const url = natsHostOf(identity.fingerprint);
  const engine = { url: server.url };
  // A host that takes knocks and answers none.
  const mute = await Broker.connect(engine, { id: 'd'.repeat(26) });
  onTestFinished(async () => await mute.close());
  const knocks = new Set<string>();
  mute.subscribe(mute.subjects.knock(idOfPin(identity.fingerprint)), ({ data }) => knocks.add(data.toString()));
  await mute.roundTrip();
  const [others, ours] = [new AbortController(), new AbortController()];
  const dial = async ({ signal }: AbortController, timeoutMs = 0): Promise<string> =>
    await dialNats({ url, engine, identity, timeoutMs, signal }).then(
      () => 'a link',
      (error: Error) => error.message,
    );
  const before = Array.from({ length: 32 }, async () => await dial(others));
  await until(() => knocks.size === 32, 'their knocks');
  const waiting = dial(ours);
  ours.abort(new Error('enough'));
  expect(await within(waiting, 'the end of the dial')).toBe('enough');
  others.abort(new Error('over'));
  expect(new Set(await Promise.all(before))).toEqual(new Set(['over']));
  const all = Array.from({ length: 32 }, async () => await dial(new AbortController(), patience(100)));
  for (const said of await within(Promise.all(all), 'their ends')) expect(said).toContain('did not answer within');
});
