import { once } from 'node:events';
import { linkSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import * as socketserver from '@sendall/socketserver';
import {
  BaseRequestHandler,
  ListenError,
  MessageRequestHandler,
  OptionError,
  serve,
  StreamRequestHandler,
  TCPServer,
  TLSServer,
  UnixStreamServer,
  type ServerOptions,
} from '@sendall/socketserver';
import { expect, onTestFinished, test, vi } from 'vitest';
import { Obedient } from './dist/handlers.js';
import { closing, descriptors, dial, eventually, folder, make, start } from './support/rows.js';

const local = { host: '127.0.0.1', port: 0 };

test('shutdown() right after or before serveForever() always ends it, twenty servers in a row', async () => {
  for (let i = 0; i < 20; i++) {
    const server = new TCPServer(local, Obedient);
    const before = i % 2 === 0 ? undefined : server.shutdown();
    const served = server.serveForever();
    await (before ?? server.shutdown());
    await served;
    expect(server.status).toBe('closed');
  }
});

test('a failing bind leaves no descriptor open, 1024 times', async () => {
  const taken = createServer().listen(local);
  await once(taken, 'listening');
  const { port } = taken.address() as AddressInfo;
  const before = await descriptors();
  for (let i = 0; i < 1024; i++) {
    const failing = new TCPServer({ host: '127.0.0.1', port }, Obedient).listen();
    await expect(failing).rejects.toMatchObject({ code: 'EADDRINUSE' });
  }
  await eventually(async () => (await descriptors()) <= before + 2);
  taken.close();
});

test('stopping a stopped server does nothing, and what it can no longer do is a clear error', async () => {
  const server = await serve(local, Obedient);
  const report = await server.shutdown();
  expect(await server.shutdown()).toBe(report);
  await server.serverClose();
  await expect(server.suspend()).rejects.toMatchObject({ code: 'NOT_RUNNING' });
  await expect(server.resume()).rejects.toMatchObject({ code: 'NOT_RUNNING' });
  await expect(server.handleRequest()).rejects.toMatchObject({ code: 'SERVER_CLOSED' });
});

test('an address in use, one that is not allowed and a missing certificate: code, address, what to do', async () => {
  const first = await serve(local, Obedient);
  closing(first);
  const used = new TCPServer(first.serverAddress, Obedient).listen();
  await expect(used).rejects.toThrow(ListenError);
  await expect(used).rejects.toMatchObject({ code: 'EADDRINUSE', address: first.serverAddress });
  await expect(used).rejects.toThrow(/port 0/);
  const elsewhere = new TCPServer({ host: '192.0.2.1', port: 0 }, Obedient).listen();
  await expect(elsewhere).rejects.toMatchObject({ code: 'EADDRNOTAVAIL' });
  for (const tls of [undefined, {}, { key: 'no key', cert: 'no certificate' }]) {
    const bare = new TLSServer(local, Obedient, tls === undefined ? {} : { tls }).listen();
    await expect(bare).rejects.toMatchObject({ code: 'TLS_CONFIGURATION' });
  }
});

test.each<[object, string]>([
  [{ maxConections: 3 }, 'maxConections'],
  [{ maxConnections: 0 }, 'maxConnections'],
  [{ readTimeout: -1 }, 'readTimeout'],
  [{ noDelay: 'yes' }, 'noDelay'],
  [{ concurrency: 'fibers' }, 'concurrency'],
  [{ concurrency: { mode: 'threads', wrokers: 2 } }, 'concurrency.wrokers'],
  [{ concurrency: { mode: 'processes', requestsPerChild: -1 } }, 'concurrency'],
  [{ alarms: [{ treshold: 1 }] }, 'alarms'],
  [{ proxyProtocol: 'v3' }, 'proxyProtocol'],
])('options that are not known or do not fit are refused by name: %o', (options, name) => {
  const build = () => new TCPServer(local, Obedient, options as ServerOptions);
  expect(build).toThrow(OptionError);
  expect(build).toThrow(expect.objectContaining({ option: name }));
});

test.each([
  [{}],
  [{ port: 70000 }],
  [{ port: 1, hots: '::1' }],
  [{ path: '' }],
  [{ path: 'a', mode: 0o10000 }],
  [{ fd: -1 }],
])('addresses that are none are refused: %o', (address) => {
  expect(() => new TCPServer(address as never, Obedient)).toThrow(expect.objectContaining({ code: 'INVALID_ADDRESS' }));
});

test('handlers that cannot work are refused when the server is made', () => {
  class Both extends StreamRequestHandler {
    override handle() {}
    override onData() {}
  }
  class Odd extends MessageRequestHandler {
    static override readonly framing = 'u33be';
  }
  class Local extends StreamRequestHandler {}
  const invalid = expect.objectContaining({ code: 'INVALID_HANDLER' });
  expect(() => new TCPServer(local, Both)).toThrow(invalid);
  expect(() => new TCPServer(local, Odd)).toThrow(OptionError);
  expect(() => new TCPServer(local, Map as never)).toThrow(invalid);
  expect(() => new TCPServer(local, Local, { concurrency: 'threads' })).toThrow(/static module/);
});

test('postListen runs when the server is bound and before its first request; its error fails the start', async () => {
  const seen: unknown[] = [];
  const server = make({ transport: 'tcp' }, Obedient, { postListen: (address) => void seen.push(address) });
  await server.listen();
  expect(seen).toEqual([server.serverAddress]);
  const failing = new TCPServer(local, Obedient, {
    postListen() {
      throw new Error('no');
    },
  });
  await expect(failing.listen()).rejects.toThrow('no');
  const client = dial(failing);
  await client.closed;
  expect(client.failure?.code).toBe('ECONNREFUSED');
});

test('handleRequest() serves exactly one request', async () => {
  const server = make({ transport: 'tcp' }, Obedient);
  await server.listen();
  const first = dial(server);
  await first.connected;
  const second = dial(server);
  await second.connected;
  first.socket.write('first\n');
  second.socket.write('second\n');
  const handled = server.handleRequest();
  expect(await first.until('\n')).toBe('first\n');
  first.socket.end();
  await handled;
  expect(second.text).toBe('');
  const next = server.handleRequest();
  expect(await second.until('\n')).toBe('second\n');
  second.socket.end();
  await next;
});

test('handleRequest() with a timeout and no client calls handleTimeout(), and the next one still serves', async () => {
  const server = make({ transport: 'tcp' }, Obedient);
  let timeouts = 0;
  server.handleTimeout = () => void timeouts++;
  await server.handleRequest(20);
  server.timeout = 20;
  await server.handleRequest();
  expect(timeouts).toBe(2);
  const client = dial(server);
  const handled = server.handleRequest(0);
  expect(await client.ask('hello')).toBe('hello');
  client.socket.end();
  await handled;
});

test('of two calls of handleRequest(), the one that is late takes no client from the other', async () => {
  const server = make({ transport: 'tcp' }, Obedient);
  await server.listen();
  const late = server.handleRequest(20);
  const handled = server.handleRequest(0);
  await late;
  const client = dial(server);
  expect(await client.ask('hello')).toBe('hello');
  client.socket.end();
  await handled;
});

test("handleRequest() serves a client that came in time, also when the server's getRequest() takes longer", async () => {
  let came!: () => void;
  let goOn!: () => void;
  const arrival = new Promise<void>((resolve) => (came = resolve));
  const permission = new Promise<void>((resolve) => (goOn = resolve));
  class Slow extends TCPServer {
    override async getRequest() {
      const got = await super.getRequest();
      came();
      await permission;
      return got;
    }
  }
  vi.useFakeTimers({ toFake: ['setTimeout'] });
  onTestFinished(() => void vi.useRealTimers());
  const server = closing(new Slow(local, Obedient));
  await server.listen();
  const handled = server.handleRequest(20);
  const client = dial(server);
  await arrival;
  vi.advanceTimersByTime(20);
  goOn();
  expect(await client.ask('hello')).toBe('hello');
  client.socket.end();
  await handled;
});

test('a server that was suspended again and again calls serviceActions() as often as before', async () => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
  onTestFinished(() => void vi.useRealTimers());
  const server = await start({ transport: 'tcp' }, Obedient);
  for (let i = 0; i < 3; i++) {
    await server.suspend();
    await server.resume();
  }
  let calls = 0;
  server.serviceActions = () => void calls++;
  vi.advanceTimersByTime(500);
  expect(calls).toBe(1);
});

test('shutdown() while the server resumes: it opens no door again', async () => {
  const server = await start({ transport: 'tcp' }, Obedient);
  const client = dial(server);
  await client.ask('hello');
  await server.suspend();
  const resumed = server.resume();
  const down = server.shutdown({ timeout: Infinity });
  await expect(resumed).rejects.toMatchObject({ code: 'SERVER_CLOSED' });
  expect(server.status).toBe('draining');
  const late = dial(server);
  await late.closed;
  expect(late.failure?.code).toBe('ECONNREFUSED');
  client.socket.end();
  await down;
});

test('of two servers that find the same left socket file, one listens and the other is told', async () => {
  const [bound, path] = ['bound', 'left'].map((name) => join(folder(), name)) as [string, string];
  const left = createServer().listen(bound);
  await once(left, 'listening');
  // Its own name goes with it.
  linkSync(bound, path);
  left.close();
  await once(left, 'close');
  const servers = [1, 2].map(() => closing(new UnixStreamServer({ path }, Obedient)));
  const listening = await Promise.allSettled(servers.map((server) => server.listen()));
  expect(listening.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
  const one = servers[listening.findIndex(({ status }) => status === 'fulfilled')]!;
  void one.serveForever();
  expect(await dial(one).ask('hello')).toBe('hello');
});

test('status and info tell what the server does', async () => {
  const server = make({ transport: 'tcp' }, Obedient);
  expect(server.status).toBe('new');
  await server.listen();
  expect(server.status).toBe('listening');
  void server.serveForever();
  expect(server.status).toBe('running');
  const client = dial(server);
  await client.ask('x');
  expect(server.info()).toMatchObject({
    status: 'running',
    address: server.serverAddress,
    connections: 1,
    accepted: 1,
  });
  expect(server.fileno()).toBeGreaterThan(2);
  expect(String(server)).toContain('TCPServer(127.0.0.1:');
});

test('setOptions() counts for new connections, and refuses what is fixed', async () => {
  const server = await start({ transport: 'tcp' }, Obedient, { handlerOptions: 'old' });
  const before = dial(server);
  await before.ask('hello');
  server.setOptions({ handlerOptions: 'new' });
  expect(await dial(server).ask('who')).toContain('"new"');
  expect(() => server.setOptions({ concurrency: 'threads' })).toThrow(OptionError);
  expect(() => server.setOptions({ maxConnection: 1 } as ServerOptions)).toThrow(OptionError);
});

test("a server's own class overrides the steps of a request, in their order", async () => {
  const steps: string[] = [];
  class Watching extends TCPServer {
    override async getRequest() {
      const got = await super.getRequest();
      steps.push('getRequest');
      return got;
    }
    override verifyRequest() {
      steps.push('verifyRequest');
      return true;
    }
    override async processRequest(...args: Parameters<TCPServer['processRequest']>) {
      steps.push('processRequest');
      await super.processRequest(...args);
    }
    override async finishRequest(...args: Parameters<TCPServer['finishRequest']>) {
      steps.push('finishRequest');
      await super.finishRequest(...args);
    }
    override async shutdownRequest(...args: Parameters<TCPServer['shutdownRequest']>) {
      steps.push('shutdownRequest');
      await super.shutdownRequest(...args);
    }
    override closeRequest(...args: Parameters<TCPServer['closeRequest']>) {
      steps.push('closeRequest');
      return super.closeRequest(...args);
    }
    override serviceActions() {
      if (steps.at(-1) === 'closeRequest') steps.push('serviceActions');
    }
  }
  class Steps extends BaseRequestHandler {
    override setup() {
      steps.push('setup');
    }
    override handle() {
      steps.push('handle');
    }
    override finish() {
      steps.push('finish');
    }
  }
  const server = closing(new Watching(local, Steps));
  await server.listen();
  void server.serveForever();
  await dial(server).closed;
  await eventually(() => steps.includes('serviceActions'));
  expect(steps).toEqual([
    'getRequest',
    'verifyRequest',
    'processRequest',
    'finishRequest',
    'setup',
    'handle',
    'finish',
    'shutdownRequest',
    'closeRequest',
    'serviceActions',
  ]);
});

test('every classic name is exported', () => {
  const names = ['', 'Threading', 'Forking'].flatMap((prefix) =>
    ['TCPServer', 'TLSServer', 'UDPServer', 'UnixStreamServer', 'UnixDatagramServer'].map((name) => prefix + name),
  );
  const others = ['BaseServer', 'ThreadingMixIn', 'ForkingMixIn', 'BaseRequestHandler', 'StreamRequestHandler'];
  for (const name of [...names, ...others, 'DatagramRequestHandler', 'MessageRequestHandler', 'serve'])
    expect(socketserver, name).toHaveProperty(name);
});

const echo = async (connection: socketserver.Connection) => {
  for await (const chunk of connection) connection.write(chunk);
};

test('serve() takes a function, and the server that fits the address', async () => {
  for (const address of [local, { path: `${folder()}/echo` }]) {
    const server = closing(await serve(address, echo));
    expect(await dial(server).ask('hello')).toBe('hello');
  }
});
