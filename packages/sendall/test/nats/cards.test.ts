import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { connect, KnownHosts } from 'sendall';
import { completeEngine } from '../../dist/keys/engine.js';
import { loadIdentity } from '../../dist/keys/identity.js';
import { Broker } from '../../dist/link/nats/broker.js';
import { readCard, writeCard } from '../../dist/link/nats/card.js';
import { discover } from '../../dist/link/nats/discover.js';
import { idOfPin, isNatsHost, natsHostOf, parseNatsHost, parseNatsUrl } from '../../dist/text/nats-address.js';
import { until } from '../../../../test/support/waits.js';
import { natsServer, type NatsServer } from '../dist/nats-server.js';
import { newAgent, newCaller, newHome, newHost } from './machines.js';

const identityOf = async () => await loadIdentity(newHome(), { create: true });
const told = { name: 'web1', version: '0.1.0', epoch: '00', serial: 7 };

describe('a card', () => {
  it('is believed for one question, from the key that signed it', async () => {
    const identity = await identityOf();
    const card = writeCard(identity, 'question', told);
    expect(readCard(card, 'question')).toEqual({ ...told, pin: identity.fingerprint });
    expect(() => readCard(card, 'another')).toThrow(/another question/);
    for (let at = 0; at < card.length; at += 7) {
      const changed = Buffer.from(card);
      changed[at]! ^= 1;
      // A change may fall on what does not count, such as the last bits of a signature's text.
      const read = ((): unknown => {
        try {
          return readCard(changed, 'question');
        } catch {
          return undefined;
        }
      })();
      if (read) expect(read).toEqual({ ...told, pin: identity.fingerprint });
    }
  });

  it('may hold no text that controls a terminal, and no book', async () => {
    const identity = await identityOf();
    const { name } = readCard(writeCard(identity, 'q', { ...told, name: '\u001b[2Jweb1' }), 'q');
    expect(name).toBe(String.raw`\u{1b}[2Jweb1`);
    expect(() => readCard(writeCard(identity, 'q', { ...told, name: 'x'.repeat(5000) }), 'q')).toThrow(/a card of/);
    expect(() => readCard(Buffer.from('null'), 'q')).toThrow(/not a host's card/);
  });
});

describe('discovery', () => {
  let server: NatsServer;
  beforeAll(async () => void (server = await natsServer()));
  afterAll(async () => await server[Symbol.asyncDispose]());

  it('shows two hosts of one name, and a host that was made anew is refused until it is paired', async () => {
    const old = await newAgent(server.url, { name: 'web1' });
    const home = await newCaller(server.url);
    await newHost(old, home, 'web1');
    await old.close();
    const made = await newAgent(server.url, { name: 'web1' });
    const other = await identityOf();
    const broker = await Broker.connect({ url: server.url }, { id: 'x'.repeat(26) });
    broker.subscribe(broker.subjects.discovery, ({ data, reply }) => {
      const { question } = JSON.parse(Buffer.from(data).toString()) as { question: string };
      broker.publish(reply!, writeCard(other, question, told));
      broker.publish(reply!, Buffer.from('junk'));
      broker.publish(reply!, writeCard(other, 'another question', { ...told, name: 'false' }));
    });
    await broker.roundTrip();
    const asker = await identityOf();
    let cards: Awaited<ReturnType<typeof discover>>['cards'] = [];
    await until(async () => {
      ({ cards } = await discover(completeEngine({ url: server.url }), asker, 500));
      return cards.length >= 2;
    }, 'both cards');
    const seen = cards.map(({ name, pin }) => `${name} ${pin}`).sort();
    expect(seen).toEqual([`web1 ${made.fingerprint}`, `web1 ${other.fingerprint}`].sort());
    await expect(connect('web1', { home })).rejects.toThrow(/is not connected to the broker/);
    expect(KnownHosts.of(home).get('web1')?.pin).toBe(old.fingerprint);
    await broker.close();
  });
});

describe('an address', () => {
  it('of a broker has servers and a fleet', () => {
    expect(parseNatsUrl('nats://n1,n2:4300,[::1]/prod')).toEqual({
      servers: ['n1:4222', 'n2:4300', '[::1]:4222'],
      fleet: 'prod',
    });
    expect(parseNatsUrl('nats://n1/').fleet).toBe('main');
    const wrong = ['nats://', 'nats:///x', 'nats://n1,', 'nats://n1:0', 'nats://n1:99999', 'nats://n1/a.b', 'tls://n1'];
    for (const url of [...wrong, 'nats://n1/>', 'nats://[x]', `nats://${'n,'.repeat(20)}n`])
      expect(() => parseNatsUrl(url), url).toThrow(/is not the address of a broker/);
    expect(() => parseNatsUrl('nats://me:word@n1')).toThrow(/holds no user and no password/);
  });

  it('of a host is the beginning of its key', () => {
    const pin = `SHA256:${'A'.repeat(43)}`;
    expect(natsHostOf(pin)).toBe(`nats:${'a'.repeat(26)}`);
    expect(parseNatsHost(`NATS:${idOfPin(pin).toUpperCase()}`)).toBe('a'.repeat(26));
    expect(isNatsHost('nats://n1')).toBe(false);
    for (const url of ['nats:', 'nats:web1', `nats:${'1'.repeat(26)}`, `nats:${'a'.repeat(27)}`])
      expect(() => parseNatsHost(url), url).toThrow(/is not a host behind a broker/);
  });
});
