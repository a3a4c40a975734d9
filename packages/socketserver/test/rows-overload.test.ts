import { describe, expect, test } from 'vitest';
import { Chatty, Echo, Flood, Obedient, WhatItIsTold } from './dist/handlers.js';
import { Client, dial, eventually, start, streamRows, type Row } from './support/rows.js';
import type { BaseServer, ServerOptions } from '@sendall/socketserver';
import { patience } from '../../../test/support/waits.js';

async function inUse(server: BaseServer): Promise<Client> {
  const client = dial(server);
  expect(await client.ask('in use')).toBe('in use');
  return client;
}

function closesOf(server: BaseServer): Record<string, unknown>[] {
  const closes: Record<string, unknown>[] = [];
  server.on('close', (info) => closes.push({ ...info }));
  return closes;
}

const obedient = (row: Row, options: ServerOptions) => start(row, Obedient, options);

describe.each(streamRows)('$name', (row) => {
  test('nothing frees a place within pendingTimeout: the surplus is closed, the first goes on, a third is served later', async () => {
    const server = await obedient(row, { maxConnections: 1, pendingTimeout: 100 });
    const reasons: string[] = [];
    server.on('drop', ({ reason }) => reasons.push(reason));
    const first = await inUse(server);
    expect(await dial(server).closed).toBe('');
    await eventually(() => reasons.length > 0);
    expect(reasons).toEqual(['pending-timeout']);
    expect(await first.ask('still')).toBe('still');
    first.socket.end();
    await first.closed;
    await server.waitForConnections('==', 0);
    expect(await dial(server).ask('later')).toBe('later');
  });

  test('no room for those who wait: refused at once, one overload event each', async () => {
    const server = await obedient(row, { maxConnections: 1, pendingConnections: 0 });
    let overloads = 0;
    server.on('overload', ({ connections, limit }) => {
      expect([connections, limit]).toEqual([1, 1]);
      overloads++;
    });
    await inUse(server);
    for (let i = 0; i < 8; i++) await dial(server).closed;
    await eventually(() => overloads === 8);
    expect(server.info()).toMatchObject({ connections: 1, dropped: 8, accepted: 9 });
  });

  test('a higher limit lets those in who wait; a lower one closes nobody', async () => {
    const server = await obedient(row, { maxConnections: 1 });
    const first = await inUse(server);
    const waiting = [dial(server), dial(server)];
    for (const client of waiting) client.socket.write('hello\n');
    server.setOptions({ maxConnections: 10 });
    for (const client of waiting) expect(await client.until('\n')).toBe('hello\n');
    server.setOptions({ maxConnections: 1 });
    for (const client of [first, ...waiting]) expect(await client.ask('here')).toBe('here');
    expect(server.info().connections).toBe(3);
  });

  test('uncount() frees one place, once, and lets the next in', async () => {
    const server = await obedient(row, { maxConnections: 1 });
    const first = await inUse(server);
    const second = dial(server);
    second.socket.write('second\n');
    expect(await first.ask('uncount 2')).toBe('uncount 2');
    expect(await second.until('\n')).toBe('second\n');
    expect(server.info().connections).toBe(1);
    first.socket.end();
    await first.closed;
    expect(await second.ask('here')).toBe('here');
    expect(server.info().connections).toBe(1);
    second.socket.end();
    await server.waitForConnections('==', 0);
  });

  test('an alarm rings at its threshold, not again within its cooldown, and again after it', async () => {
    const server = await obedient(row, { alarms: [{ threshold: 2, cooldown: 600_000, name: 'busy' }] });
    const rung: unknown[] = [];
    server.on('alarm', (info) => rung.push(info));
    await inUse(server);
    expect(rung).toHaveLength(0);
    for (let i = 0; i < 3; i++) await inUse(server);
    await eventually(() => rung.length > 0);
    expect(rung).toMatchObject([{ name: 'busy', threshold: 2, connections: 2 }]);
    server.setOptions({ alarms: [{ threshold: 2, cooldown: 50, name: 'again' }] });
    const again = (): number => rung.filter((info) => (info as { name: string }).name === 'again').length;
    while (again() < 2) await inUse(server);
    rung.length = 0;
    server.setOptions({ alarms: [{ threshold: 6, name: 'full' }] });
    await inUse(server);
    await eventually(() => rung.length > 0);
    expect(rung[0]).toMatchObject({ name: 'full' });
  });

  test('what setOptions() and on() say counts for the very next connection', async () => {
    const server = await start(row, WhatItIsTold);
    const opened: unknown[] = [];
    for (let i = 0; i < 20; i++) {
      server.setOptions({ handlerOptions: `round ${i}` });
      expect(await dial(server).closed).toBe(`round ${i}`);
    }
    server.on('connection', (info) => opened.push(info));
    await dial(server).closed;
    await eventually(() => opened.length === 1);
    await server.waitForConnections('==', 0);
    server.setOptions({ maxConnections: 1, pendingConnections: 0, handlerOptions: 'hold' });
    expect(await dial(server).until('\n')).toBe('holds\n');
    server.setOptions({ maxConnections: 2 });
    expect(await dial(server).until('\n')).toBe('holds\n');
    server.setOptions({ maxConnections: 1 });
    expect(await dial(server).closed).toBe('');
  });

  test("only the client's bytes postpone the read timeout: a server that writes all the time does not", async () => {
    const server = await start(row, Chatty, { readTimeout: 150 });
    const closes = closesOf(server);
    expect(await dial(server).closed).toMatch(/^(tick )+time is over$/);
    await eventually(() => closes.length === 1);
    expect(closes).toMatchObject([{ reason: 'read-timeout' }]);
  });

  test('a read timeout of its own: for one connection, and once', async () => {
    const server = await obedient(row, { readTimeout: 30_000 });
    const closes = closesOf(server);
    const [own, once, other] = [dial(server), dial(server), dial(server)];
    const brief = `patience ${patience(200)}`;
    // Both in one piece: nothing has to come in time.
    once.socket.write(`${brief}\nonce 60000\n`);
    expect(await once.until('once 60000\n')).toBe(`${brief}\nonce 60000\n`);
    expect(await own.ask(brief)).toBe(brief);
    expect(await other.ask('hello')).toBe('hello');
    await own.closed;
    expect(once.socket.destroyed).toBe(false);
    // Its next bytes end the exception.
    expect(await once.ask('hello')).toBe('hello');
    await once.closed;
    await eventually(() => closes.length === 2);
    expect(closes).toMatchObject([{ reason: 'read-timeout' }, { reason: 'read-timeout' }]);
    expect(await other.ask('still')).toBe('still');
  });

  test('a reader that reads nothing is closed by writeTimeout', async () => {
    const server = await start(row, Flood, { writeTimeout: 300 });
    const closes = closesOf(server);
    const client = dial(server);
    client.socket.pause();
    await client.connected;
    await eventually(() => closes.length === 1);
    expect(closes).toMatchObject([{ reason: 'write-timeout', error: { code: 'WRITE_TIMEOUT' } }]);
  });

  test('a flood of connects does not starve a connection in use, and all of them are served', async () => {
    const server = await start(row, Echo);
    const used = await inUse(server);
    const flood = Array.from({ length: 100 }, () => dial(server));
    for (let i = 0; i < 10; i++) expect(await used.ask(`turn ${i}`)).toBe(`turn ${i}`);
    for (const client of flood) expect(await client.ask('me too')).toBe('me too');
    // After the load all who accept are still there.
    for (const { socket } of flood) socket.destroy();
    await server.waitForConnections('==', 1);
    for (let i = 0; i < 4; i++) await inUse(server);
  });
});

describe.each(streamRows.filter(({ transport }) => transport === 'tls'))('$name', (row) => {
  test('a stalled handshake holds up nobody, is closed after handshakeTimeout, counted once, its place freed', async () => {
    const server = await obedient(row, {});
    const closes = closesOf(server);
    const stalled = new Client(server);
    await stalled.connected;
    const other = await inUse(server);
    stalled.socket.destroy();
    await eventually(() => closes.length === 1);
    closes.length = 0;
    server.setOptions({ handshakeTimeout: 100 });
    await new Client(server).closed;
    await eventually(() => closes.length === 1);
    expect(closes).toMatchObject([{ reason: 'handshake-timeout', error: { code: 'HANDSHAKE_TIMEOUT' } }]);
    await server.waitForConnections('==', 1);
    expect(await other.ask('still')).toBe('still');
  });

  test('garbage in the handshake ends that connection alone', async () => {
    const server = await obedient(row, {});
    const closes = closesOf(server);
    const errors: Error[] = [];
    server.on('error', (error) => errors.push(error));
    const garbage = new Client(server);
    garbage.socket.write('this is not TLS at all, whatever it may look like');
    await garbage.closed;
    await eventually(() => closes.length === 1);
    expect(closes).toMatchObject([{ reason: 'handshake-error' }]);
    expect(errors).toEqual([]);
    await inUse(server);
  });
});
