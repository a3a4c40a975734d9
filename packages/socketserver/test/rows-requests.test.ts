import { existsSync, readFileSync } from 'node:fs';
import type { ServerEvents } from '@sendall/socketserver';
import { describe, expect, test } from 'vitest';
import { MessageEcho, Obedient, ObedientDatagram, Once, Steps } from './dist/handlers.js';
import { ask, dial, eventually, folder, make, rows, start, streamRows, type Row } from './support/rows.js';

const handlerFor = (row: Row) => (['udp', 'unix-datagram'].includes(row.transport) ? ObedientDatagram : Obedient);

/** Workers that accept by themselves cannot be asked for one request: there this row hands over. */
const handedOver = (row: Row) =>
  row.mode === 'threads' ? { concurrency: { mode: 'threads', workers: 2, balance: 'round-robin' } as const } : {};

describe.each(rows.filter(({ name }) => !name.endsWith('one socket')))('$name', (row) => {
  test('handleRequest() serves one request, and is done when that is', async () => {
    const server = make(row, handlerFor(row), handedOver(row));
    await server.listen();
    for (const text of ['first', 'second']) {
      const [answer] = await Promise.all([ask(server, row, text), server.handleRequest()]);
      expect(answer).toBe(text);
    }
    expect(server.info()).toMatchObject({ accepted: 2, connections: 0 });
  });

  test('handleRequest() with a timeout and no client calls handleTimeout(); the next one serves', async () => {
    const server = make(row, handlerFor(row), handedOver(row));
    let timeouts = 0;
    server.handleTimeout = () => void timeouts++;
    await server.handleRequest(20);
    expect(timeouts).toBe(1);
    const [answer] = await Promise.all([ask(server, row, 'late'), server.handleRequest(0)]);
    expect(answer).toBe('late');
    expect(timeouts).toBe(1);
  });
});

describe.each(streamRows)('$name', (row) => {
  test('setup, handle, finish, in this order; finish() runs when handle() throws, not when setup() throws', async () => {
    for (const [failing, seen] of [
      ['none', 'setup handle finish '],
      ['handle', 'setup handle finish '],
      ['setup', 'setup '],
    ]) {
      const server = await start(row, Steps, { handlerOptions: failing });
      const errors: string[] = [];
      server.on('error', (error) => errors.push(error.message));
      expect(await dial(server).closed).toBe(seen);
      await server.waitForConnections('==', 0);
      await eventually(() => errors.length === (failing === 'none' ? 0 : 1));
      expect(errors).toEqual(failing === 'none' ? [] : [`${failing} failed`]);
    }
  });

  test("returning 'close' sends what was written, then closes; onClose comes once", async () => {
    const marks = `${folder()}/marks`;
    const server = await start(row, Once, { handlerOptions: marks });
    const reasons: string[] = [];
    server.on('close', ({ reason }) => reasons.push(reason));
    const client = dial(server);
    client.socket.write('hi');
    const text = await client.closed;
    expect(text.length).toBe((1 << 20) + 'you said hi'.length);
    expect(text.endsWith('you said hi')).toBe(true);
    await server.waitForConnections('==', 0);
    await eventually(() => existsSync(marks) && readFileSync(marks, 'utf8') === 'closed ');
  });

  test('16 MiB written to a slow reader arrive whole, without a flush', async () => {
    const server = await start(row, Obedient);
    const client = dial(server);
    client.socket.removeAllListeners('data');
    let length = 0;
    let rest = '';
    client.socket.on('data', (text: string) => {
      length += text.length;
      rest = (rest + text).slice(-20);
      client.socket.pause();
      setImmediate(() => client.socket.resume());
      if (rest.endsWith('\n')) client.socket.end();
    });
    client.socket.write('write 16384\n');
    await client.closed;
    expect(length).toBe((16 << 20) + 'write 16384\n'.length);
    expect(rest.endsWith('xwrite 16384\n')).toBe(true);
  });

  test('an answer after the end of the client arrives', async () => {
    const server = await start(row, Obedient);
    const client = dial(server, { allowHalfOpen: true });
    client.socket.end('after 30\n');
    expect(await client.closed).toBe('after 30\n');
  });

  test('messages that are cut anywhere are answered in order', async () => {
    const server = await start(row, MessageEcho);
    const sizes = [0, 1, 3, 4, 100, 5_000, 70_000, 300_000, 2];
    const frames = sizes.map((size, i) => {
      const frame = Buffer.alloc(4 + size, 97 + i);
      frame.writeUInt32BE(size);
      return frame;
    });
    const bytes = Buffer.concat(frames);
    const client = dial(server);
    await client.connected;
    for (let at = 0, cut = 1; at < bytes.length; at += cut, cut = (cut * 7) % 90_001) {
      client.socket.write(bytes.subarray(at, at + cut));
      await new Promise((resolve) => setImmediate(resolve));
    }
    client.socket.end();
    expect(Buffer.from(await client.closed, 'latin1').equals(bytes)).toBe(true);
  });

  test('setOptions() counts for new connections', async () => {
    const server = await start(row, Obedient, { handlerOptions: 'old' });
    const before = dial(server);
    expect(await before.ask('who')).toContain('"old"');
    server.setOptions({ handlerOptions: 'new' });
    for (let i = 0; i < 4; i++) await eventually(async () => (await ask(server, row, 'who')).includes('"new"'));
    expect(await before.ask('still')).toBe('still');
  });

  test('a connection that breaks has a close event with its reason, and is no error', async () => {
    const server = await start(row, Obedient);
    const closes: ServerEvents['close'][] = [];
    const errors: Error[] = [];
    server.on('close', (info) => closes.push(info));
    server.on('error', (error) => errors.push(error));
    const client = dial(server);
    await client.ask('hello');
    client.socket.write('after 20\n');
    if (row.transport === 'tcp') client.socket.resetAndDestroy();
    else client.socket.destroy();
    await eventually(() => closes.length === 1);
    expect(['reset', 'end', 'server', 'error']).toContain(closes[0]!.reason);
    expect(errors).toEqual([]);
  });
});
