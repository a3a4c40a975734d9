import type { BaseServer } from '@sendall/socketserver';
import { describe, expect, test } from 'vitest';
import { FailingConstructor, Obedient, ObedientDatagram } from './dist/handlers.js';
import {
  ask,
  dial,
  eventually,
  make,
  rows,
  start,
  startOnce,
  streamRows,
  workerRows,
  type Row,
} from './support/rows.js';

const handlerFor = (row: Row) => (['udp', 'unix-datagram'].includes(row.transport) ? ObedientDatagram : Obedient);

/** A connect or two may still slip into the accept queue while it is emptied. */
async function untilRefused(server: BaseServer): Promise<void> {
  for (;;) {
    const late = dial(server);
    await Promise.race([late.connected, late.closed]);
    if (late.failure !== undefined) return;
    late.socket.destroy();
  }
}

describe.each(rows)('$name', (row) => {
  const serving = startOnce(row, handlerFor(row), { handlerOptions: { colour: 'red' } });

  test('three clients, one after the other, each get their own bytes back', async () => {
    for (const text of ['first', 'second', 'third']) expect(await ask(serving(), row, text)).toBe(text);
  });

  test('a handler that throws or rejects is reported once, loses its own client, and the next is served', async () => {
    const server = serving();
    const reported: string[] = [];
    server.on('error', (error) => reported.push(`${error.name}: ${error.message}`));
    for (const [before, order] of ['throw', 'reject'].entries()) {
      expect(await ask(server, row, order, 200)).toBe('');
      expect(await ask(server, row, 'still there')).toBe('still there');
      await eventually(() => reported.length > before);
    }
    expect(reported).toEqual(['TypeError: asked to throw', 'RangeError: asked to reject']);
  });

  test('handlerOptions reach every handler, and what serves is what was asked for', async () => {
    const server = serving();
    const [who = '', options] = (await ask(server, row, 'who')).split(' ');
    expect(JSON.parse(options!)).toEqual({ colour: 'red' });
    const [pid, thread] = who.split('/').map(Number);
    expect(pid === process.pid).toBe(row.mode !== 'processes');
    if (row.mode !== 'processes') expect(thread === 0).toBe(row.mode === 'inline');
    expect(server.activeChildren.has(pid!)).toBe(row.mode === 'processes');
  });

  test('shutdown() may be called from inside a handler', async () => {
    const server = make(row, handlerFor(row));
    await server.listen();
    const served = server.serveForever();
    expect(await ask(server, row, 'shutdown')).toBe('as you wish');
    await served;
    expect(server.status).toBe('closed');
  });

  test('port 0 or a path: serverAddress is what is really bound, and works again and again on it', async () => {
    let { serverAddress } = serving();
    if ('port' in serverAddress) expect(serverAddress.port).toBeGreaterThan(0);
    for (let i = 0; i < 2; i++) {
      const server = make(row, handlerFor(row));
      await server.listen();
      void server.serveForever();
      expect(await ask(server, row, 'hello')).toBe('hello');
      ({ serverAddress } = server);
      await server.shutdown();
      await expect(server.listen().then(() => server.serveForever())).resolves.toBeUndefined();
    }
    expect(serverAddress).toBeDefined();
  });

  test('verifyRequest() that says no: the handler is never made, the next client is served', async () => {
    const server = make(row, handlerFor(row));
    const seen: unknown[] = [];
    server.verifyRequest = (_request, clientAddress) => {
      seen.push(clientAddress);
      return seen.length > 1;
    };
    await server.listen();
    void server.serveForever();
    expect(await ask(server, row, 'who', 200)).toBe('');
    expect(await ask(server, row, 'now')).toBe('now');
    expect(seen).toHaveLength(2);
  });
});

describe.each(streamRows)('$name', (row) => {
  const serving = startOnce(row, Obedient);

  test('a second client is answered while the first is still connected', async () => {
    const server = serving();
    const [first, second] = [dial(server), dial(server)];
    await Promise.all([first.connected, second.connected]);
    expect(await second.ask('two')).toBe('two');
    expect(await first.ask('one')).toBe('one');
  });

  test('six handlers whose constructor fails do not stop the server', async () => {
    const server = await start(row, FailingConstructor);
    let errors = 0;
    server.on('error', () => errors++);
    for (let i = 0; i < 6; i++) await dial(server).closed;
    await eventually(() => errors === 6);
    expect(server.status).toBe('running');
  });

  test('one limit for the whole server: who is over it waits, and is served when a place is free', async () => {
    const server = await start(row, Obedient, { maxConnections: 2 });
    const [first, second] = [dial(server), dial(server)];
    expect(await first.ask('1')).toBe('1');
    expect(await second.ask('2')).toBe('2');
    const third = dial(server);
    third.socket.write('3\n');
    await eventually(() => server.info().connections === 2);
    expect(third.text).toBe('');
    first.socket.end();
    expect(await third.until('\n')).toBe('3\n');
  });

  test('each connection has exactly one connection event and one close event, with its bytes and duration', async () => {
    const server = await start(row, Obedient);
    const [opened, closed]: [number[], { id: number; bytesRead: number; bytesWritten: number; durationMs: number }[]] =
      [[], []];
    server.on('connection', ({ id, worker = 0 }) => opened.push(worker * 1e6 + id));
    server.on('close', (info) => closed.push({ ...info, id: (info.worker ?? 0) * 1e6 + info.id }));
    for (let i = 0; i < 4; i++) expect(await ask(server, row, 'abc')).toBe('abc');
    await eventually(() => closed.length === 4);
    const ascending = (a: number, b: number) => a - b;
    expect(opened.toSorted(ascending)).toEqual(closed.map(({ id }) => id).toSorted(ascending));
    expect(new Set(opened).size).toBe(4);
    for (const { bytesRead, bytesWritten, durationMs } of closed) {
      expect([bytesRead, bytesWritten]).toEqual([4, 4]);
      expect(durationMs).toBeGreaterThan(0);
    }
  });

  test('a client that resets is an end, not an error', async () => {
    const server = serving();
    const errors: Error[] = [];
    server.on('error', (error) => errors.push(error));
    const client = dial(server);
    await client.ask('hello');
    if (row.transport === 'tcp') client.socket.resetAndDestroy();
    else client.socket.destroy();
    await server.waitForConnections('==', 0);
    expect(await ask(server, row, 'next')).toBe('next');
    expect(errors).toEqual([]);
  });

  test('waitForConnections() resolves for each comparison', async () => {
    const server = serving();
    await server.waitForConnections('==', 0);
    const both = Promise.all([server.waitForConnections('>=', 2), server.waitForConnections('>', 1)]);
    const clients = [dial(server), dial(server)];
    await both;
    const fewer = Promise.all([server.waitForConnections('<', 2), server.waitForConnections('<=', 0)]);
    for (const client of clients) client.socket.destroy();
    await fewer;
  });

  test('shutdown(): connects are refused, a connection in use goes on until it ends', async () => {
    const server = await start(row, Obedient);
    const client = dial(server);
    await client.ask('in use');
    const down = server.shutdown();
    await untilRefused(server);
    expect(await client.ask('still')).toBe('still');
    client.socket.end();
    const report = await down;
    expect(report.destroyed).toBe(0);
  });

  test('what outlives the drain timeout is destroyed and counted', async () => {
    const server = await start(row, Obedient);
    const clients = [dial(server), dial(server)];
    for (const client of clients) await client.ask('here');
    const report = await server.shutdown({ timeout: 50 });
    expect(report.destroyed).toBe(2);
    for (const client of clients) await client.closed;
  });
});

describe.each(workerRows)('$name', (row) => {
  test('a handler that ends its worker costs its own connection alone; the worker is replaced', async () => {
    const server = await start(row, Obedient);
    const exits: number[] = [];
    server.on('worker', ({ state, connectionsLost = 0 }) => state === 'exit' && exits.push(connectionsLost));
    expect(await ask(server, row, 'exit')).toBe('');
    await eventually(() => exits.length === 1);
    await eventually(() => server.info().workers === 2);
    for (let i = 0; i < 4; i++) expect(await ask(server, row, 'go on')).toBe('go on');
    await server.waitForConnections('==', 0);
  });
});
