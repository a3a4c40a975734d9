/** Established connections of one source: as many as `maxConnectionsPerSource`, and other sources notice nothing. */
import { once } from 'node:events';
import type { BaseServer, ServerOptions } from '@sendall/socketserver';
import { describe, expect, test } from 'vitest';
import { Obedient, Password } from './dist/handlers.js';
import { type Client, dial, eventually, start } from './support/rows.js';

const tcp = { transport: 'tcp', concurrency: 'inline' } as const;
const tls = { transport: 'tls', concurrency: 'inline' } as const;
const options: ServerOptions = { maxConnectionsPerSource: 2 };

const dialFrom = (server: BaseServer, localAddress: string): Client => dial(server, { localAddress });

describe.each([
  ['a plain connection', tcp],
  ['a TLS connection', tls],
] as const)('%s of a source that has as many as it may', (_, row) => {
  test('is closed before its handler begins, says why on the server, and comes in when another has gone', async () => {
    const server = await start(row, Obedient, options);
    const [first, second] = [dial(server), dial(server)];
    expect(await first.ask('one')).toBe('one');
    expect(await second.ask('two')).toBe('two');
    const closed = once(server, 'close');
    const third = dial(server);
    await third.closed;
    expect((await closed)[0]).toMatchObject({
      reason: 'source-limit',
      error: { code: 'SOURCE_LIMIT', message: 'its source has 2 connections already (maxConnectionsPerSource)' },
    });
    expect(await first.ask('still')).toBe('still');
    first.socket.end();
    await first.closed;
    await eventually(() => server.info().connections === 1);
    expect(await dial(server).ask('in')).toBe('in');
    expect(server.info()).toMatchObject({ connections: 2 });
  });
});

test('another source has as many of its own', async () => {
  const server = await start(tcp, Obedient, options);
  for (const address of ['127.0.0.1', '127.0.0.2', '127.0.0.3']) {
    const clients = [dialFrom(server, address), dialFrom(server, address)];
    for (const client of clients) expect(await client.ask(address)).toBe(address);
    await dialFrom(server, address).closed;
  }
  expect(server.info()).toMatchObject({ connections: 6 });
});

test('what the handler has not established does not count; establish() tells it when there are too many', async () => {
  const server = await start(tcp, Password, { ...options, establishedBy: 'handler' });
  const clients = [1, 2, 3, 4].map(() => dial(server));
  for (const client of clients) expect(await client.ask('hello')).toBe('who is it');
  for (const client of clients) await client.ask('secret');
  const answers = [];
  for (const client of clients) answers.push(await client.ask('still'));
  expect(answers).toEqual(['still', 'still', 'who is it', 'who is it']);
  expect(server.info()).toMatchObject({ connections: 4, unestablished: 2 });
  clients[0]!.socket.end();
  await eventually(() => server.info().connections === 3);
  await clients[3]!.ask('secret');
  expect(await clients[3]!.ask('now')).toBe('now');
  expect(await clients[2]!.ask('still')).toBe('who is it');
});

test('behind a balancer the source is the address in the PROXY header', async () => {
  const server = await start(tcp, Obedient, { ...options, proxyProtocol: true });
  const from = async (host: string): Promise<Client> => {
    const client = dial(server);
    client.socket.write(`PROXY TCP4 ${host} 198.51.100.1 1 2\r\n`);
    return client;
  };
  for (const host of ['192.0.2.1', '192.0.2.1', '192.0.2.2']) expect(await (await from(host)).ask('in')).toBe('in');
  await (
    await from('192.0.2.1')
  ).closed;
  expect(await (await from('192.0.2.2')).ask('in')).toBe('in');
});

test('a Unix socket has no sources', async () => {
  const server = await start({ transport: 'unix', concurrency: 'inline' }, Obedient, { maxConnectionsPerSource: 1 });
  const clients = [dial(server), dial(server), dial(server)];
  for (const client of clients) expect(await client.ask('in')).toBe('in');
});

test('it is fixed while the server runs', async () => {
  const server = await start(tcp, Obedient, options);
  expect(() => server.setOptions({ maxConnectionsPerSource: 3 })).toThrow(
    'option "maxConnectionsPerSource" cannot change while the server runs: make a new server',
  );
});
