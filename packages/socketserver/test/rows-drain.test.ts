import { existsSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { Echo, LateAnswer, Obedient } from './dist/handlers.js';
import { closing, dial, eventually, make, start, streamRows } from './support/rows.js';

describe.each(streamRows)('$name', (row) => {
  test('starts and stops ten times on one address', async () => {
    const first = make(row, Obedient);
    await first.listen();
    const { serverAddress, options } = first;
    await first.serverClose();
    const { tls, concurrency } = options;
    const Server = first.constructor as new (...args: unknown[]) => typeof first;
    for (let i = 0; i < (row.mode === 'inline' ? 10 : 3); i++) {
      const server = closing(new Server(serverAddress, Obedient, { concurrency, ...(tls && { tls }) }));
      await server.listen();
      void server.serveForever();
      expect(server.serverAddress).toEqual(serverAddress);
      const client = dial(server);
      expect(await client.ask('again')).toBe('again');
      client.socket.end();
      await client.closed;
      await server.shutdown();
    }
  });

  test('shutdown() right behind serveForever(), before it, and twice', async () => {
    const server = make(row, Obedient);
    const served = server.serveForever();
    const [first, second] = await Promise.all([server.shutdown(), server.shutdown()]);
    await served;
    expect(second).toEqual(first);
    const early = make(row, Obedient);
    const down = early.shutdown();
    await early.serveForever();
    await down;
    expect([server.status, early.status]).toEqual(['closed', 'closed']);
  });

  test('serverClose() of a server that never listened, and of one that never served', async () => {
    await make(row, Obedient).serverClose();
    const listening = make(row, Obedient);
    await listening.listen();
    await listening.serverClose();
    expect(listening.status).toBe('closed');
    const { serverAddress } = listening;
    if ('path' in serverAddress) expect(existsSync(serverAddress.path)).toBe(false);
  });

  test('connections in the accept queue when shutdown begins are served, not reset', async () => {
    const server = await start(row, Echo);
    const clients = Array.from({ length: 40 }, () => dial(server));
    for (const { socket } of clients) socket.write('served\n');
    await Promise.all(clients.map(({ connected }) => connected));
    await server.shutdown();
    for (const client of clients) expect(await client.closed).toMatch(/^served\n/);
  });

  test('idle connections are closed at once; their handlers say goodbye first', async () => {
    const server = await start(row, Echo);
    const clients = [dial(server), dial(server)];
    for (const client of clients) await client.ask('hello');
    for (const client of clients) client.text = '';
    const report = await server.shutdown({ timeout: Infinity });
    expect(report).toMatchObject({ open: 2, idle: 2, finished: 0, destroyed: 0 });
    for (const client of clients) expect(await client.closed).toBe('goodbye\n');
  });

  test('a request in progress is waited for, and its answer arrives', async () => {
    const server = await start(row, LateAnswer);
    const client = dial(server);
    client.socket.end('the answer\n');
    await client.until('begun\n');
    const report = await server.shutdown();
    expect(await client.closed).toBe('begun\nthe answer\n');
    expect(report).toMatchObject({ open: 1, idle: 0, finished: 1, destroyed: 0 });
  });

  test('timeout 0 destroys at once; a second shutdown() with a shorter timeout hurries the first', async () => {
    for (const timeout of [0, Infinity]) {
      const server = await start(row, Obedient);
      const client = dial(server);
      await client.ask('hello');
      const down = server.shutdown({ timeout });
      if (timeout > 0) void server.shutdown({ timeout: 0 });
      expect(await down).toMatchObject({ destroyed: 1 });
      await client.closed;
    }
  });

  test('suspend(): connects are refused, connections live; resume(): old and new work; it drains after that', async () => {
    const server = await start(row, Obedient);
    const old = dial(server);
    await old.ask('before');
    await server.suspend();
    expect(server.status).toBe('suspended');
    for (let refused = false; !refused;) {
      const client = dial(server);
      await Promise.race([client.connected, client.closed]);
      refused = client.failure !== undefined;
      client.socket.destroy();
    }
    expect(await old.ask('suspended')).toBe('suspended');
    await server.resume();
    expect(await old.ask('resumed')).toBe('resumed');
    const fresh = dial(server);
    expect(await fresh.ask('new')).toBe('new');
    old.socket.end();
    fresh.socket.end();
    expect(await server.shutdown()).toMatchObject({ destroyed: 0 });
  });

  test('suspend({ queue: true }): new clients wait and are served after resume()', async () => {
    const server = await start(row, Obedient);
    const old = dial(server);
    await old.ask('before');
    await server.suspend({ queue: true });
    await new Promise((resolve) => setTimeout(resolve, 50));
    const clients = Array.from({ length: 4 }, () => dial(server));
    for (const client of clients) client.socket.write('patient\n');
    expect(await old.ask('suspended')).toBe('suspended');
    expect(clients.map(({ text }) => text).join('')).toBe('');
    await server.resume();
    for (const client of clients) expect(await client.until('\n')).toBe('patient\n');
  });

  test('suspend() and resume() again and again; a worker that dies in between is replaced', async () => {
    const server = await start(row, Obedient);
    for (const queue of [false, true, false]) {
      await server.suspend({ queue });
      const [victim] = server.activeChildren;
      if (victim !== undefined) {
        process.kill(victim, 'SIGKILL');
        await eventually(() => server.activeChildren.size === 2 && !server.activeChildren.has(victim));
      }
      await server.resume();
      const client = dial(server);
      expect(await client.ask('again')).toBe('again');
    }
  });

  test('blockOnClose false: serverClose() does not wait, and what is open goes on', async () => {
    const server = make(row, Obedient, { blockOnClose: false });
    await server.listen();
    void server.serveForever();
    const client = dial(server);
    await client.ask('open');
    await server.serverClose();
    expect(await client.ask('still open')).toBe('still open');
    client.socket.end();
    await client.closed;
  });

  test('a signal that aborts shuts the server down; await using closes it', async () => {
    const stop = new AbortController();
    const server = make(row, Obedient, { signal: stop.signal });
    const served = server.serveForever();
    await server.listen();
    stop.abort();
    await served;
    expect(server.status).toBe('closed');
    const used = make(row, Obedient);
    {
      await using scoped = used;
      await scoped.listen();
    }
    expect(used.status).toBe('closed');
  });

  test('status, info and the drain events tell what the server does', async () => {
    const server = make(row, Obedient);
    const phases: string[] = [];
    server.on('listening', () => phases.push('listening'));
    server.on('drain', ({ phase }) => phases.push(phase));
    expect(server.status).toBe('new');
    await server.listen();
    expect(server.status).toBe('listening');
    void server.serveForever();
    const client = dial(server);
    await client.ask('x');
    expect(server.info()).toMatchObject({
      status: 'running',
      address: server.serverAddress,
      connections: 1,
      accepted: 1,
      dropped: 0,
      workers: row.mode === 'inline' ? 0 : 2,
    });
    client.socket.end();
    await server.shutdown();
    await eventually(() => server.info().connections === 0);
    expect(phases).toEqual(['listening', 'begin', 'end']);
  });
});
