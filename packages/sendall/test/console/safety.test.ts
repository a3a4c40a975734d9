/** Who may use the console, and what it withstands: strangers, other pages, floods, and nonsense. */
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { request, type OutgoingHttpHeaders } from 'node:http';
import { connect as connectSocket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { until, within } from '../../../../test/support/waits.js';
import { CLOSED, keyName, OPERATIONS, requestText, subscribeText } from '../../src/console/messages.js';
import { Machine, type User } from '../cli/support.js';
import { greet, RunningConsole, TestPage } from './support.js';

let machine: Machine;
let user: User;
let running: RunningConsole;
beforeAll(async () => {
  machine = await Machine.start();
  user = machine.user;
  running = await RunningConsole.start(user);
});
afterAll(async () => {
  await running[Symbol.asyncDispose]();
  await machine[Symbol.asyncDispose]();
});

/** The code with which the server closes a socket. */
async function closed(socket: WebSocket): Promise<number> {
  const [code] = (await within(once(socket, 'close'), 'the socket to be closed')) as [number];
  return code;
}

interface Answered {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
}

/** The answer to a request with these headers; 0: the connection was closed without one. */
async function get(path: string, headers: OutgoingHttpHeaders = {}, method = 'GET'): Promise<Answered> {
  const { hostname, port } = new URL(running.origin);
  const answered = new Promise<Answered>((resolve) => {
    const sent = request({ host: hostname, port, path, method, headers }, (response) => {
      response.resume();
      resolve({ status: response.statusCode ?? 0, headers: response.headers });
    });
    sent.once('upgrade', (response, socket) => {
      socket.destroy();
      resolve({ status: response.statusCode ?? 0, headers: response.headers });
    });
    sent.once('error', () => resolve({ status: 0, headers: {} }));
    sent.end();
  });
  return await within(answered, `the answer to ${path}`);
}

const upgrade = (more: OutgoingHttpHeaders) => ({
  connection: 'Upgrade',
  upgrade: 'websocket',
  'sec-websocket-version': '13',
  'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
  ...more,
});

/** The code with which a page is closed that names the key of the console, and does not prove that it has it. */
async function keyless({ of = '', echo = false, text = '' }): Promise<number> {
  const socket = running.socket();
  await within(once(socket, 'open'), 'the socket to open');
  const over = closed(socket);
  if (of) await greet(socket, running.token, { of });
  else {
    const challenge = once(socket, 'message') as Promise<[Buffer]>;
    socket.send(JSON.stringify({ hello: { key: await keyName(running.token), nonce: '1' } }));
    const [read] = await within(challenge, 'the challenge');
    const { proof } = (JSON.parse(read.toString()) as { challenge: { proof: string } }).challenge;
    socket.send(echo ? JSON.stringify({ proof }) : text);
  }
  return await over;
}

/** The console still serves a page with the token. */
async function stillServes(): Promise<void> {
  using page = await running.page();
  expect((await page.ask('hosts', {})).hosts[0]).toMatchObject({ name: 'local' });
}

describe('requests', () => {
  test('the page comes with headers that let it do nothing but its work', async () => {
    const { status, headers } = await get('/');
    expect(status).toBe(200);
    expect(headers).toMatchObject({
      'x-content-type-options': 'nosniff',
      'referrer-policy': 'no-referrer',
      'cross-origin-opener-policy': 'same-origin',
      'cache-control': 'no-store',
    });
    const policy = String(headers['content-security-policy']).split('; ');
    expect(policy).toEqual(
      expect.arrayContaining(["default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"]),
    );
    expect(policy.join()).not.toContain('unsafe');
    expect(headers['set-cookie']).toBeUndefined();
    expect((await get('/app.js')).status).toBe(200);
  });

  test.each(['/../package.json', '/%2e%2e/package.json', '/messages.js', '/output/', '/output/x', '/index.html', '//'])(
    '%s is no page',
    async (path) => {
      expect((await get(path)).status).toBe(404);
    },
  );

  test.each([
    ['another Host, as when a name is pointed at this machine', { host: 'evil.example:80' }],
    ['the right name with another port', { host: '127.0.0.1:1' }],
    ['localhost', { host: 'localhost' }],
    ['the Origin of another page', { origin: 'http://evil.example' }],
    ['the Origin of a file', { origin: 'null' }],
  ])('%s gets no page and no socket', async (_what, headers) => {
    expect((await get('/', headers)).status).toBe(403);
    expect((await get('/feed', upgrade({ origin: running.origin, ...headers }))).status).toBe(403);
  });

  test('a socket needs an Origin and the right path', async () => {
    expect((await get('/feed', upgrade({}))).status).toBe(403);
    expect((await get('/feed?x', upgrade({ origin: running.origin }))).status).toBe(403);
    expect((await get('/feed', upgrade({ origin: running.origin }))).status).toBe(101);
    expect((await get('/', {}, 'POST')).status).toBe(405);
  });

  test('a refused upgrade keeps no connection, even if its client keeps its side open', async () => {
    const { hostname, port } = new URL(running.origin);
    const socket = connectSocket({ host: hostname, port: Number(port), allowHalfOpen: true });
    socket.on('error', () => undefined);
    let answer = '';
    socket.on('data', (text: Buffer) => (answer += text.toString()));
    const fields = Object.entries(upgrade({ host: running.authority, origin: 'http://elsewhere.example' }));
    socket.write(
      `GET /feed HTTP/1.1\r\n${fields.map(([name, value]) => `${name}: ${String(value)}\r\n`).join('')}\r\n`,
    );
    await within(once(socket, 'end'), 'the answer');
    expect(answer).toMatch(/^HTTP\/1\.1 403 /);
    await until(() => socket.destroyed || void socket.write('x'), 'the connection to be gone');
  });

  test('a header of 1 MB is refused', async () => {
    const { hostname, port } = new URL(running.origin);
    const socket = connectSocket(Number(port), hostname);
    let answer = '';
    socket.on('data', (text: Buffer) => (answer += text.toString()));
    socket.on('error', () => undefined);
    // A reset is an end as well.
    const ended = new Promise<void>((resolve) => socket.once('close', () => resolve()));
    socket.write(`GET / HTTP/1.1\r\nHost: ${running.authority}\r\nX: ${'x'.repeat(1024 * 1024)}`);
    await within(ended, 'the connection to be closed');
    // A reset may overtake the answer.
    if (answer) expect(answer).toMatch(/^HTTP\/1\.1 431 /);
    await stillServes();
  });
});

describe('the token', () => {
  test.each([
    ['a key that never was', '{"hello":{"key":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","nonce":"1"}}', CLOSED.token],
    ['an empty one', '{"hello":{"key":"","nonce":""}}', CLOSED.token],
    ['the token itself, said aloud', '{"hello":{"token":"AAAA"}}', CLOSED.noHello],
    ['a proof before hello', '{"proof":"AAAA"}', CLOSED.noHello],
    ['a request before hello', '{"id":1,"op":"hosts"}', CLOSED.noHello],
    ['nonsense', 'GET / HTTP/1.1', CLOSED.noHello],
  ])('%s closes the socket', async (_what, text, code) => {
    const socket = running.socket();
    socket.once('open', () => socket.send(text));
    expect(await closed(socket)).toBe(code);
  });

  test.each([
    ['another key', async () => await keyless({ of: 'x' })],
    ["the console's own proof", async () => await keyless({ echo: true })],
    ['no proof, but a request', async () => await keyless({ text: '{"id":1,"op":"hosts"}' })],
  ])('a page that names the key and has %s is closed', async (_what, open) => {
    expect([CLOSED.token, CLOSED.noHello]).toContain(await open());
    await stillServes();
  });

  test('another start has another token, and no file or argument has it', async () => {
    await using other = await RunningConsole.start(user);
    expect(other.token).not.toBe(running.token);
    await expect(TestPage.open(other.socket(), running.token)).rejects.toMatchObject({
      code: String(CLOSED.token),
    });
    expect(readFileSync(`/proc/${other.process.pid}/cmdline`, 'latin1')).not.toContain(other.token);
    const found = spawnSync('grep', ['-rlsF', '-e', other.token, user.home], { encoding: 'utf8' });
    expect(found.stdout).toBe('');
  });

  test('a browser is sent by a file of this user alone, with a code that works once', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'sendall-browser-'));
    try {
      // A browser that keeps what it was called with.
      const called = join(folder, 'called');
      writeFileSync(
        join(folder, 'xdg-open'),
        `#!/bin/sh\nprintf %s "$1" > ${called}.new && mv ${called}.new ${called}\n`,
      );
      chmodSync(join(folder, 'xdg-open'), 0o755);
      const child = user.start(['console', '--listen', '127.0.0.1:0'], {
        DISPLAY: ':0',
        PATH: `${folder}:${process.env.PATH}`,
        TMPDIR: folder,
      });
      const path = await until(() => {
        try {
          return readFileSync(called, 'utf8');
        } catch {
          return '';
        }
      }, 'the browser to be called');
      expect(statSync(path).mode & 0o777).toBe(0o600);
      const [, origin, code] = /url=(http:[^#]+)\/#([\w-]+)"/.exec(readFileSync(path, 'utf8'))!;
      const socket = () => {
        const made = new WebSocket(`ws://${new URL(origin!).host}/feed`, { origin: origin! });
        made.on('error', () => undefined);
        return made;
      };
      using page = await TestPage.open(socket(), code!);
      expect(page.welcome.token).toMatch(/^[\w-]{32}$/);
      await expect(TestPage.open(socket(), code!)).rejects.toMatchObject({ code: String(CLOSED.token) });
      using again = await TestPage.open(socket(), page.welcome.token!);
      expect(again.welcome.token).toBeUndefined();
      child.kill('SIGTERM');
      expect(await within(once(child, 'exit'), 'the console to end')).toEqual([0, null]);
      expect(() => statSync(path)).toThrow(/ENOENT/);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  test('an address for watching watches its run and does nothing else', async () => {
    using page = await running.page();
    const { runId } = await page.ask('run', { targets: 'local', argv: ['sh', '-c', 'echo seen; sleep 300'] });
    const { url } = await page.ask('watchLink', { host: 'local', runId });
    using watcher = await running.page(new URL(url).hash.slice(1));
    expect(watcher.welcome).toMatchObject({ readOnly: true, only: { host: 'local', runId } });
    const seen = await watcher.subscribe('output', { host: 'local', runId, credit: 100 });
    await until(() => seen.text() === 'seen\n', 'the output');
    const denied = { code: 'WATCH_ONLY' };
    await expect(watcher.ask('hosts', {})).rejects.toMatchObject(denied);
    await expect(watcher.ask('take', { sub: seen.id })).rejects.toMatchObject(denied);
    await expect(watcher.ask('kill', { host: 'local', runId })).rejects.toMatchObject(denied);
    await expect(watcher.ask('watchLink', { host: 'local', runId })).rejects.toMatchObject(denied);
    await expect(watcher.ask('withdrawLink', { host: 'local', runId })).rejects.toMatchObject(denied);
    await expect(watcher.subscribe('runs', {})).rejects.toMatchObject(denied);
    await expect(watcher.subscribe('output', { host: 'local', runId, mode: 'control' })).rejects.toMatchObject(denied);
    await page.ask('kill', { host: 'local', runId, grace: 0 });
  });

  test('a withdrawn address closes its pages and lets none in again', async () => {
    using page = await running.page();
    const { runId } = await page.ask('run', { targets: 'local', argv: ['sleep', '300'] });
    const place = { host: 'local', runId };
    const token = new URL((await page.ask('watchLink', place)).url).hash.slice(1);
    const watcher = await running.page(token);
    const over = closed(watcher.socket);
    expect(await page.ask('withdrawLink', place)).toEqual({ withdrawn: true });
    expect(await over).toBe(CLOSED.token);
    await expect(running.page(token)).rejects.toMatchObject({ code: String(CLOSED.token) });
    expect(await page.ask('withdrawLink', place)).toEqual({ withdrawn: false });
    using next = await running.page(new URL((await page.ask('watchLink', place)).url).hash.slice(1));
    expect(next.welcome.only).toEqual(place);
    await page.ask('kill', { ...place, grace: 0 });
  });

  test('its holders leave downloads and places at the run to others', async () => {
    using page = await running.page();
    const { runId } = await page.ask('run', { targets: 'local', argv: ['sleep', '300'] });
    const place = { host: 'local', runId };
    using watcher = await running.page(new URL((await page.ask('watchLink', place)).url).hash.slice(1));
    const download = { ...place, stream: 'stdout' } as const;
    for (let i = 0; i < 16; i++) await watcher.ask('download', download);
    await expect(watcher.ask('download', download)).rejects.toThrow('(watchTickets)');
    await page.ask('download', download);
    for (let i = 0; i < 2; i++) await watcher.subscribe('output', place);
    await expect(watcher.subscribe('output', place)).rejects.toThrow('(watchAttachments)');
    await page.subscribe('output', place);
    await page.ask('kill', { ...place, grace: 0 });
  });
});

test('--read-only refuses each operation that changes something, and control', async () => {
  await using reader = await RunningConsole.start(user, ['--read-only']);
  using page = await reader.page();
  expect(page.welcome.readOnly).toBe(true);
  const runId = '01a22c4a-b9b2-7944-bd6d-80f91c8d417e';
  const place = { host: 'local', runId };
  const asked: Record<string, object> = {
    run: { targets: 'local', argv: ['true'] },
    signal: { ...place, signal: 'TERM' },
    kill: place,
    forget: place,
    again: { runId },
    take: { sub: 1 },
    release: { sub: 1 },
    stdin: { sub: 1, text: 'x' },
    resize: { sub: 1, cols: 80, rows: 24 },
  };
  const changing = Object.entries(OPERATIONS).flatMap(([op, each]) => ('changes' in each ? [op] : []));
  expect(changing.sort()).toEqual(Object.keys(asked).sort());
  for (const op of changing)
    await expect(page.ask(op as 'kill', asked[op] as { runId: string })).rejects.toMatchObject({ code: 'READ_ONLY' });
  await expect(page.subscribe('output', { ...place, mode: 'control' })).rejects.toMatchObject({ code: 'READ_ONLY' });
  expect((await page.ask('hosts', {})).hosts.length).toBeGreaterThan(0);
});

describe('the address', () => {
  test.each(['0.0.0.0:7434', '192.0.2.1:7434', '[::]:7434'])('%s is refused with the two right ways', (listen) => {
    const { code, stderr } = user.call(['console', '--listen', listen]);
    expect(code).toBe(200);
    expect(stderr).toMatch(/ssh -L 7434:127\.0\.0\.1:7434 HOST/);
    expect(stderr).toMatch(/sendall run HOST/);
  });

  test('a port that is taken is named with the process that has it', () => {
    const { code, stderr } = user.call(['console', '--listen', running.authority]);
    expect(code).toBe(1);
    expect(stderr).toContain(`${running.authority} is taken by`);
    expect(stderr).toContain(`process ${running.process.pid}`);
  });

  test.each(['127.0.0.1', 'x:y', '127.0.0.1:99999'])('%s is no address', (listen) => {
    const { code, stderr } = user.call(['console', '--listen', listen]);
    expect([code, stderr]).toEqual([200, expect.stringContaining('is not an address to listen on')]);
  });
});

describe('too much', () => {
  test('of 200 pages 16 are served, and the rest are closed', async () => {
    const opened = await Promise.allSettled(Array.from({ length: 200 }, async () => await running.page()));
    const pages = opened.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
    expect(pages.length).toBe(16);
    for (const page of pages) page[Symbol.dispose]();
    await until(async () => {
      const next = await running.page().catch(() => undefined);
      next?.[Symbol.dispose]();
      return next;
    }, 'room for a page');
  });

  test('holders of an address for watching cannot keep the user out', async () => {
    using page = await running.page();
    const { runId } = await page.ask('run', { targets: 'local', argv: ['sleep', '300'] });
    const { url } = await page.ask('watchLink', { host: 'local', runId });
    const token = new URL(url).hash.slice(1);
    const opened = await Promise.allSettled(Array.from({ length: 20 }, async () => await running.page(token)));
    const watchers = opened.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
    expect(watchers.length).toBe(8);
    await stillServes();
    for (const watcher of watchers) watcher[Symbol.dispose]();
    await page.ask('kill', { host: 'local', runId, grace: 0 });
  });

  test('subscriptions that are left before they have begun are limited, and take no place at the run from others', async () => {
    using page = await running.page();
    const { runId } = await page.ask('run', { targets: 'local', argv: ['sleep', '300'] });
    const hasty = await running.page();
    let id = 1000;
    await until(async () => {
      // The host has 64 places for each run.
      (await page.subscribe('output', { host: 'local', runId })).unsubscribe();
      for (const last = id + 80; id < last; id++) {
        hasty.send(subscribeText(id, 'output', { host: 'local', runId }));
        hasty.send(JSON.stringify({ unsubscribe: id }));
      }
      // One that only sends is closed.
      return hasty.stray.some((text) => text.includes('(unfinished)')) || hasty.socket.readyState !== WebSocket.OPEN;
    }, 'a refusal');
    hasty[Symbol.dispose]();
    await page.subscribe('output', { host: 'local', runId });
    await page.ask('kill', { host: 'local', runId, grace: 0 });
  });

  test('a message above the limit closes its page alone', async () => {
    using other = await running.page();
    const page = await running.page();
    page.send(JSON.stringify({ id: 1, op: 'resolve', targets: 'x'.repeat(1024 * 1024) }));
    expect(await closed(page.socket)).toBe(CLOSED.tooLarge);
    expect((await other.ask('hosts', {})).hosts.length).toBeGreaterThan(0);
  });

  test('more subscriptions and attachments than may be are errors', async () => {
    using page = await running.page();
    const { runId } = await page.ask('run', { targets: 'local', argv: ['sleep', '300'] });
    const attach = async () => await page.subscribe('output', { host: 'local', runId });
    for (let i = 0; i < 8; i++) await attach();
    await expect(attach()).rejects.toMatchObject({ code: 'LIMIT' });
    for (let i = 8; i < 32; i++) await page.subscribe('hosts', {});
    await expect(page.subscribe('hosts', {})).rejects.toMatchObject({ code: 'LIMIT' });
    await page.ask('kill', { host: 'local', runId, grace: 0 });
  });

  test('a socket that never reads holds up no other page, no command, and little memory', async () => {
    using page = await running.page();
    const { runId } = await page.ask('run', { targets: 'local', argv: ['sh', '-c', 'head -c 60000000 /dev/zero'] });
    const asleep = await running.page();
    asleep.socket.pause();
    // Credit for all of it, and questions whose answers it never takes.
    asleep.send(subscribeText(1000, 'output', { host: 'local', runId, credit: 1024 * 1024 }));
    for (let i = 0; i < 100; i++) asleep.send(JSON.stringify({ credit: { sub: 1000, bytes: 1024 * 1024 } }));
    for (let i = 1; i < 30; i++) asleep.send(requestText(i, 'policy', {}));
    const seen = await page.subscribe('output', { host: 'local', runId, credit: 1024 * 1024 });
    seen.keeps = false;
    await seen.over();
    expect(seen.events.at(-1)).toMatchObject({ result: { code: 0 } });
    asleep.socket.terminate();
  });

  test('a page that only sends is closed', async () => {
    const page = await running.page();
    page.socket.pause();
    const over = once(page.socket, 'close');
    const pump = (): void => {
      for (let i = 0; i < 1000 && page.socket.readyState === page.socket.OPEN; i++) page.send('x'.repeat(1000));
      if (page.socket.readyState === page.socket.OPEN) setImmediate(pump);
    };
    pump();
    page.socket.resume();
    await until(() => page.stray.length > 0 || page.socket.readyState !== page.socket.OPEN, 'an answer or an end');
    page[Symbol.dispose]();
    await within(over, 'the socket to be closed');
    await stillServes();
  });
});

test('malformed and random messages are refused one by one, and harm nothing', async () => {
  using page = await running.page();
  const word = fc.oneof(
    fc.string({ maxLength: 30 }),
    fc.constantFrom('local', 'web[', 'all', '@x', '__proto__', '-1', '../..'),
  );
  const value = fc.oneof(word, fc.integer(), fc.boolean(), fc.constant(null), fc.array(word, { maxLength: 3 }));
  // Not what could run or end something of this machine.
  const harmless = Object.entries(OPERATIONS).flatMap(([op, each]) => ('changes' in each ? [] : [op]));
  const fields = fc.dictionary(
    fc.constantFrom(
      'targets',
      'host',
      'runId',
      'only',
      'argv',
      'script',
      'stream',
      'text',
      'limit',
      'from',
      'policy',
      'last',
    ),
    value,
    { maxKeys: 5, noNullPrototype: true },
  );
  const message = fc.oneof(
    fc.string({ maxLength: 200 }),
    fc.json({ maxDepth: 3 }),
    fc.tuple(fc.constantFrom(...harmless), fields).map(([op, more]) => JSON.stringify({ ...more, id: 900, op })),
    fc
      .tuple(fc.constantFrom('hosts', 'runs', 'output', 'fleet', 'audit', 'x'), fields)
      .map(([kind, more]) => JSON.stringify({ id: 901, subscribe: { ...more, kind } })),
    fc.record({ credit: value }).map((each) => JSON.stringify(each)),
    fc.record({ unsubscribe: value }).map((each) => JSON.stringify(each)),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(message, { minLength: 1, maxLength: 10 }), async (messages) => {
      for (const text of messages) page.send(text);
      // Answered behind all of them.
      expect((await page.ask('resolve', { targets: 'local' })).count).toBe(1);
    }),
    { numRuns: 60 },
  );
  page.socket.send(Buffer.from([1, 2, 3]));
  expect((await page.ask('resolve', { targets: 'local' })).count).toBe(1);
});

test('endless output is passed on while it is wanted, and costs a page that leaves nothing', async () => {
  using page = await running.page();
  const { runId } = await page.ask('run', { targets: 'local', argv: ['cat', '/dev/urandom'] });
  const seen = await page.subscribe('output', { host: 'local', runId, credit: 1024 * 1024 });
  seen.keeps = false;
  await until(() => seen.received > 20_000_000, 'much output');
  seen.unsubscribe();
  expect((await page.ask('runInfo', { host: 'local', runId })).listing).toMatchObject({ state: 'running' });
  const { reports } = await page.ask('kill', { host: 'local', runId, grace: 0 });
  expect(reports[0]).toMatchObject({ result: 'done', survivors: [] });
});

test('when the home is gone, requests say so, and the console lives', async () => {
  using own = machine.pairedUser('web1');
  await using console = await RunningConsole.start(own);
  using page = await console.page();
  renameSync(own.home, `${own.home}-away`);
  try {
    // A run's note in the history is lost; the command is not.
    expect((await page.ask('hosts', {})).hosts.map(({ name }) => name)).toEqual(['local']);
    await expect(page.ask('run', { targets: 'web1', argv: ['true'] })).rejects.toMatchObject({ code: 'USAGE' });
    expect((await page.ask('history', {})).runs).toEqual([]);
    expect(await page.ask('policy', {})).toMatchObject({ rules: [] });
  } finally {
    rmSync(own.home, { recursive: true, force: true });
    renameSync(`${own.home}-away`, own.home);
  }
  expect((await page.ask('hosts', {})).hosts.map(({ name }) => name)).toEqual(['local', 'web1']);
});
