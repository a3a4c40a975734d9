import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { nkeys } from '@nats-io/transport-node';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { Broker } from '../../dist/link/nats/broker.js';
import { Carrier } from '../../dist/link/nats/carrier.js';
import { HEADER } from '../../dist/link/nats/carrier-message.js';
import { newLinkName } from '../../dist/link/nats/subjects.js';
import { MAX_LINKS } from '../../dist/link/nats/window-pool.js';
import { until, within } from '../../../../test/support/waits.js';
import { natsServer, type NatsServer } from '../dist/nats-server.js';

/** What happens to a message on its way to the other side: it arrives as often as it is passed on. */
type Way = (bytes: Uint8Array, pass: (bytes: Uint8Array) => void) => void;

interface Ends extends AsyncDisposable {
  readonly near: Carrier;
  readonly far: Carrier;
  readonly nearBroker: Broker;
  readonly farBroker: Broker;
}

/** Bytes behind the header of a beat that gives a window back. */
const GIVES_BACK = 12;

const straight: Way = (bytes, pass) => pass(bytes);

interface EndsOptions {
  readonly up?: Way;
  readonly down?: Way;
  /** False: the test starts them itself. Before that they send nothing. */
  readonly start?: boolean;
}

/** Two ends of a carrier, each with a connection of its own. */
async function ends(url: string, { up = straight, down = straight, start = true }: EndsOptions = {}): Promise<Ends> {
  const [nearBroker, farBroker] = await Promise.all([
    Broker.connect({ url }, { id: 'a'.repeat(26) }),
    Broker.connect({ url }, { id: 'b'.repeat(26) }),
  ]);
  const link = newLinkName();
  const subject = (direction: 'u' | 'd') => nearBroker.subjects.link('h', link, direction);
  const near = new Carrier({ broker: nearBroker, link, out: subject('u'), peer: 'far' });
  const far = new Carrier({ broker: farBroker, link, out: subject('d'), peer: 'near' });
  nearBroker.subscribe(subject('d'), ({ data }) => down(data, (bytes) => near.receive(bytes)));
  farBroker.subscribe(subject('u'), ({ data }) => up(data, (bytes) => far.receive(bytes)));
  await Promise.all([nearBroker.roundTrip(), farBroker.roundTrip()]);
  for (const end of [near, far]) {
    end.on('error', () => undefined);
    if (start) end.start();
  }
  return {
    near,
    far,
    nearBroker,
    farBroker,
    async [Symbol.asyncDispose]() {
      for (const end of [near, far]) end.destroy();
      await Promise.all([nearBroker.close(), farBroker.close()]);
    },
  };
}

/** The error with which an end closes. */
async function failure(carrier: Carrier): Promise<string> {
  const closing = new Promise((resolve) => carrier.once('close', resolve));
  if (!carrier.closed) await within(closing, 'the end of the carrier');
  return carrier.errored?.message ?? 'no error';
}

describe('a carrier', () => {
  let server: NatsServer;
  beforeAll(async () => void (server = await natsServer()));
  afterAll(async () => await server[Symbol.asyncDispose]());

  it('carries bytes in both directions, whole and in order', async () => {
    await using pair = await ends(server.url);
    const bytes = randomBytes(5_000_000);
    const hashOf = async (carrier: Carrier): Promise<string> => {
      const hash = createHash('sha256');
      for await (const chunk of carrier) hash.update(chunk as Buffer);
      return hash.digest('hex');
    };
    const arrived = Promise.all([hashOf(pair.near), hashOf(pair.far)]);
    for (const end of [pair.near, pair.far]) {
      for (let at = 0; at < bytes.length; at += 70_000) end.write(bytes.subarray(at, at + 70_000));
      end.end();
    }
    const expected = createHash('sha256').update(bytes).digest('hex');
    expect(await within(arrived, 'all bytes')).toEqual([expected, expected]);
  });

  it('sends no more than a reader that does not read allows', async () => {
    let passed = 0;
    await using pair = await ends(server.url, {
      up(bytes, pass) {
        passed += bytes.length;
        pass(bytes);
      },
    });
    pair.near.write(randomBytes(3_000_000));
    await until(() => passed > 10_000, 'the first bytes');
    await pair.nearBroker.roundTrip();
    await pair.farBroker.roundTrip();
    expect(passed).toBeLessThan(200_000);
    let read = 0;
    pair.far.on('data', (chunk: Buffer) => (read += chunk.length));
    await until(
      () => read === 3_000_000,
      () => `all bytes once it reads: ${read}`,
    );
  });

  const broken: readonly [string, () => Way][] = [
    [
      'loses',
      () => {
        let n = 0;
        return (bytes, pass) => void (++n === 5 || pass(bytes));
      },
    ],
    [
      'repeats',
      () => {
        let n = 0;
        return (bytes, pass) => {
          pass(bytes);
          if (++n === 5) pass(bytes);
        };
      },
    ],
    [
      'swaps',
      () => {
        let held: Uint8Array | undefined;
        let n = 0;
        return (bytes, pass) => {
          if (++n === 5) held = bytes;
          else {
            pass(bytes);
            if (held) pass(held);
            held = undefined;
          }
        };
      },
    ],
  ];
  it.each(broken)('ends with an error when the broker %s a message', async (_what, way) => {
    await using pair = await ends(server.url, { up: way() });
    pair.far.resume();
    for (let i = 0; i < 20; i++) pair.near.write(randomBytes(40_000));
    expect(await failure(pair.far)).toMatch(/lost, repeated or moved/);
    expect(await failure(pair.near)).toMatch(/the other side ended the link: the broker lost, repeated or moved/);
  });

  it('ends with an error when the last message is lost, though nothing follows it', async () => {
    let lose = false;
    await using pair = await ends(server.url, {
      up: (bytes, pass) => void (lose && bytes.length > 100 ? (lose = false) : pass(bytes)),
    });
    pair.far.resume();
    pair.near.write('x'.repeat(200));
    await once(pair.far, 'data');
    lose = true;
    pair.near.write('y'.repeat(200));
    expect(await failure(pair.far)).toMatch(/lost/);
  });

  it('ends when the other side is no longer connected', async () => {
    await using pair = await ends(server.url);
    await pair.farBroker.close();
    expect(await failure(pair.near)).toMatch(/not connected to the broker any more|ended the link/);
  });

  it('ends when the broker keeps one direction to itself', async () => {
    await using pair = await ends(server.url, { up: () => undefined });
    pair.near.write('nothing of this arrives');
    expect(await failure(pair.near)).toMatch(/do not arrive through the broker/);
  });

  it('ends on bytes that are no message of it', async () => {
    await using pair = await ends(server.url);
    pair.far.receive(Buffer.from('GET / HTTP/1.1'));
    expect(await failure(pair.far)).toMatch(/none of a link/);
  });

  it('lives on when the broker is gone for a moment and nothing was lost', async () => {
    await using own = await natsServer();
    // A beat on its way to a broker that is just ending would be lost.
    await using pair = await ends(own.url, { start: false });
    await own.kill();
    await until(() => !pair.nearBroker.connected && !pair.farBroker.connected, 'the loss to be seen');
    for (const end of [pair.near, pair.far]) end.start();
    pair.near.write('after');
    await own.again();
    const [chunk] = (await within(once(pair.far, 'data'), 'bytes after the pause')) as [Buffer];
    expect(chunk.toString()).toBe('after');
  });

  it('says nothing before the other side knows it, also when the broker comes back meanwhile', async () => {
    const [near, far] = await Promise.all(
      ['a', 'b'].map((id) => Broker.connect({ url: server.url }, { id: id.repeat(26) })),
    );
    onTestFinished(async () => void (await Promise.all([near!.close(), far!.close()])));
    const heard: Uint8Array[] = [];
    const [link, out] = [newLinkName(), 'a-link-that-is-knocked-for'];
    far!.subscribe(out, ({ data }) => heard.push(data));
    await far!.roundTrip();
    const carrier = new Carrier({ broker: near!, link, out, peer: 'far' });
    carrier.on('error', () => undefined).reconnected();
    await near!.roundTrip();
    await far!.roundTrip();
    expect(heard).toEqual([]);
    carrier.start().reconnected();
    await until(() => heard.length, 'its question whether the other side is there');
    carrier.destroy();
  });

  it('gives an idle link’s window back to the others', async () => {
    await using pair = await ends(server.url);
    const { free } = pair.farBroker.windows;
    pair.far.resume();
    pair.near.write(randomBytes(2_000_000));
    await until(() => pair.farBroker.windows.free < free, 'the window to grow');
    await until(() => pair.farBroker.windows.free === free, 'the window to shrink');
    pair.near.write(randomBytes(1_000_000));
    await until(() => pair.farBroker.windows.free < free, 'the window to grow again');
    pair.near.destroy();
    pair.far.destroy();
    await until(() => pair.farBroker.windows.free > free, 'the reserve to come back');
  });

  it('sends no more than it may when a message with the old window crosses the one that gives it back', async () => {
    const crossed: string[] = [];
    let pair: Ends | undefined;
    const up: Way = (bytes, pass) => {
      // What the other side says before it hears of it comes after we have given the window back.
      if (bytes.length === HEADER + GIVES_BACK && !crossed.length) crossed.push(String(pair?.far.write('crossing')));
      pass(bytes);
    };
    pair = await ends(server.url, { up });
    await using closing = pair;
    const { near, far, farBroker } = closing;
    const { free } = farBroker.windows;
    let received = 0;
    far.on('data', (chunk: Buffer) => (received += chunk.length));
    const crossing = once(near, 'data');
    near.write(randomBytes(2_000_000));
    await until(() => farBroker.windows.free < free, 'the window to grow');
    await until(() => crossed.length && farBroker.windows.free === free, 'the window to shrink');
    await within(crossing, 'the message that crosses');
    near.write(randomBytes(1_000_000));
    await until(
      () => received === 3_000_000 || near.destroyed || far.destroyed,
      () => `all bytes; ${received} came`,
    );
    expect([near.errored, far.errored, received]).toEqual([null, null, 3_000_000]);
  });

  it('has a limit on the links of one connection', async () => {
    const broker = await Broker.connect({ url: server.url }, { id: 'c'.repeat(26) });
    const links = Array.from(
      { length: MAX_LINKS },
      () => new Carrier({ broker, link: newLinkName(), out: 'x', peer: 'x' }),
    );
    expect(broker.hasRoom).toBe(false);
    for (const link of links) link.on('error', () => undefined);
    links.pop()!.destroy();
    expect(broker.hasRoom).toBe(true);
    await broker.close();
  });
});

describe('a broker that cannot be used', () => {
  const rejected = async (config: string, options: object = {}): Promise<string> => {
    await using server = await natsServer({ config });
    return await Broker.connect({ url: server.url, ...options }, { id: 'a'.repeat(26) }).then(
      async (broker) => (await broker.close(), 'connected'),
      (error: Error) => `${error.name}: ${error.message}`,
    );
  };

  it('is refused by name when its messages are too small', async () => {
    expect(await rejected('max_payload: 16000')).toMatch(
      /RefusedError: .* allows messages of 16000 bytes \(max_payload\)/,
    );
    expect(await rejected('max_payload: 16KB')).toBe('connected');
  });

  it('is refused when it does not know our credentials', async () => {
    expect(await rejected('authorization { user: a, password: b }')).toMatch(/RefusedError: .* does not let us in/);
  });

  it('lets in the NKey that it knows', async () => {
    const [mine, other] = [nkeys.createUser(), nkeys.createUser()];
    await using server = await natsServer({
      config: `authorization { users: [{ nkey: "${mine.getPublicKey()}" }] }`,
    });
    const folder = mkdtempSync(join(tmpdir(), 'sendall-nkey-'));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    const fileOf = (name: string, key: typeof mine): string => {
      writeFileSync(join(folder, name), `${Buffer.from(key.getSeed()).toString()}\n`, { mode: 0o600 });
      return join(folder, name);
    };
    const dial = (nkey: string) => Broker.connect({ url: server.url, nkey }, { id: 'a'.repeat(26) });
    await (await dial(fileOf('mine', mine))).close();
    await expect(dial(fileOf('other', other))).rejects.toThrow(/does not let us in/);
    writeFileSync(join(folder, 'junk'), 'not a seed, but a secret', { mode: 0o600 });
    const junk = await dial(join(folder, 'junk')).catch((error: Error) => error.message);
    expect(junk).toMatch(/holds no seed of an NKey/);
    expect(junk).not.toContain('secret');
  });

  it('is unreachable when nothing listens there', async () => {
    await expect(Broker.connect({ url: 'nats://127.0.0.1:1' }, { id: 'a'.repeat(26) })).rejects.toThrow(
      /the broker at nats:\/\/127.0.0.1:1 cannot be reached: connection refused/,
    );
  });

  it('is unreachable when it accepts and says nothing', async () => {
    await using server = await natsServer();
    server.signal('SIGSTOP');
    const dial = Broker.connect({ url: server.url }, { id: 'a'.repeat(26), timeoutMs: 300 });
    await expect(within(dial, 'the end of the dial')).rejects.toThrow(/cannot be reached/);
    server.signal('SIGCONT');
  });
});
