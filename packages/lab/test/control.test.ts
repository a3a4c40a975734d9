/** Faults of one direction, faults that change, several proxies, and the control socket. */
import { spawnSync } from 'node:child_process';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { once } from 'node:events';
import { request as httpRequest } from 'node:http';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { directedFaults, faults, startProxy, type Proxy, type ProxyEvent } from '@sendall/lab';
import { answerControl } from '../dist/control/api.js';
import { ControlError } from '../dist/control/error.js';
import { Proxies } from '../dist/control/proxies.js';
import { heldPort } from '../../sendall/test/dist/held-port.js';
import { within } from '../../../test/support/waits.js';
import { rootTest } from '../../../test/support/root.js';
import { finished, soon, wirelab, type Program } from './programs.js';

const HOUR = 3_600_000;

let folder: string;
let echo: AsyncDisposable & { port: number };
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'wirelab-control-'));
  echo = await listening((socket) => void socket.pipe(socket));
});
afterAll(async () => {
  await echo[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

async function listening(handle: (socket: Socket) => void) {
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket.on('error', () => {}));
    handle(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

/** A client whose received bytes can be awaited. */
async function clientOf(port: number) {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  socket.on('error', () => {});
  let got = Buffer.alloc(0);
  socket.on('data', (bytes: Buffer) => (got = Buffer.concat([got, bytes])));
  const ended = new Promise<void>((resolve) => socket.once('end', resolve));
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  await once(socket, 'connect');
  return {
    socket,
    ended: () => within(ended, 'the end of what a client hears'),
    closed: () => within(closed, 'the end of a connection'),
    got: () => got,
    received: (text: string) => soon(() => got.toString()).toBe(text),
    [Symbol.dispose]: () => void socket.destroy(),
  };
}

async function proxied(...chosen: Parameters<typeof directedFaults>) {
  const events: ProxyEvent[] = [];
  const proxy = await startProxy({
    listen: { host: '127.0.0.1', port: 0 },
    to: { host: '127.0.0.1', port: echo.port },
    faults: directedFaults(...chosen),
    onEvent: (event) => events.push(event),
  });
  return { proxy, port: portOf(proxy), events, [Symbol.asyncDispose]: () => proxy.close() };
}

const portOf = ({ address }: Proxy): number => (address as { port: number }).port;

describe('faults of one direction', () => {
  it('leave the other one alone', async () => {
    const seen: Record<string, number[]> = { up: [], down: [] };
    await using server = await listening((socket) => {
      socket.on('data', (bytes) => {
        seen['up']!.push(bytes.length);
        socket.write(bytes);
      });
    });
    await using proxy = await startProxy({
      listen: { host: '127.0.0.1', port: 0 },
      to: { host: '127.0.0.1', port: server.port },
      faults: directedFaults({ corrupt: 1, down: { corrupt: undefined, cutEvery: 4 } }),
    });
    using client = await clientOf(portOf(proxy));
    client.socket.write(Buffer.alloc(10, 'a'));
    await client.closed();
    expect(client.got()).toHaveLength(4);
    expect(client.got().includes('a')).toBe(false);
    expect(seen['up']!.reduce((sum, length) => sum + length, 0)).toBe(10);
  });
});

describe('faults that change', () => {
  it('let what they hold pass at once, on connections that are open', async () => {
    await using running = await proxied({ latency: HOUR, stall: HOUR, throttle: 1 });
    using client = await clientOf(running.port);
    client.socket.write('hello');
    await soon(() => running.events.some(({ type }) => type === 'fault')).toBe(true);
    expect(client.got()).toHaveLength(0);
    running.proxy.setFaults([]);
    await client.received('hello');
    running.proxy.setFaults(directedFaults({ down: { resetAfter: 3 } }));
    client.socket.write('again');
    await client.closed();
    expect(client.got().toString()).toBe('helloaga');
  });

  it('neither lose a byte nor change the order, whenever they change', async () => {
    const some = fc.record(
      {
        slice: fc.integer({ min: 100, max: 3000 }),
        coalesce: fc.integer({ min: 1, max: 4 }),
        latency: fc.integer({ min: 1, max: 4 }),
        jitter: fc.integer({ min: 1, max: 4 }),
        throttle: fc.integer({ min: 3_000_000, max: 9_000_000 }),
      },
      { requiredKeys: [] },
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(some, { minLength: 2, maxLength: 6 }),
        fc.uint8Array({ minLength: 5000, maxLength: 60_000 }),
        async (changes, bytes) => {
          await using running = await proxied(changes[0]!);
          using client = await clientOf(running.port);
          client.socket.end(bytes);
          for (const change of changes.slice(1)) {
            await new Promise((resolve) => setImmediate(resolve));
            running.proxy.setFaults(faults(change));
          }
          await client.ended();
          expect(client.got().equals(bytes)).toBe(true);
        },
      ),
      { numRuns: 15 },
    );
  });

  it('end a direction that a fault has ended for good', async () => {
    await using running = await proxied({ halfClose: true });
    using client = await clientOf(running.port);
    client.socket.write('first');
    await client.received('first');
    running.proxy.setFaults([]);
    await client.ended();
  });
});

interface Answer {
  readonly status: number;
  readonly body: unknown;
}

/** A request to a control socket: a URL's port, or a path of a Unix socket. */
function ask(
  to: number | string,
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const where = typeof to === 'number' ? { host: '127.0.0.1', port: to } : { socketPath: to };
    const asking = httpRequest({ ...where, method, path, headers, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => (text += part));
      response.on('end', () => resolve({ status: response.statusCode!, body: text && (JSON.parse(text) as unknown) }));
    });
    asking.on('error', reject);
    asking.end(body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body));
  });
}

/** Where `wirelab chaos` says that this listens. */
async function placeOf(chaos: Program, what: RegExp): Promise<string> {
  return (await chaos.says(what))[1]!;
}

describe('wirelab chaos --control', () => {
  let chaos: Program;
  let control: number;
  const upstream = () => `127.0.0.1:${echo.port}`;
  beforeAll(async () => {
    chaos = wirelab(
      'chaos',
      '--control',
      '127.0.0.1:0',
      '--limit',
      'proxies=3',
      '--limit',
      'requestBytes=2000',
      '--seed',
      '5',
    );
    control = Number(await placeOf(chaos, /control 127\.0\.0\.1:(\d+)/));
  });
  afterAll(() => chaos[Symbol.asyncDispose]());
  const to = (method: string, path: string, body?: unknown, headers?: Record<string, string>) =>
    ask(control, method, path, body, headers);

  it('adds, lists, changes and removes proxies and toxics, as toxiproxy’s API does', async () => {
    expect(await to('GET', '/version')).toEqual({ status: 200, body: { version: expect.any(String) } });
    expect(await to('GET', '/proxies')).toEqual({ status: 200, body: {} });
    // No other test gets its port while the proxy is disabled.
    const held = `127.0.0.1:${await heldPort()}`;
    const added = await to('POST', '/proxies', { name: 'web', listen: held, upstream: upstream() });
    expect(added).toEqual({
      status: 201,
      body: {
        name: 'web',
        listen: held,
        upstream: upstream(),
        enabled: true,
        seed: 5,
        toxics: [],
      },
    });
    const { listen } = added.body as { listen: string };
    const port = Number(listen.split(':')[1]);
    using client = await clientOf(port);
    client.socket.write('one ');
    await client.received('one ');

    const toxic = {
      name: 'latency_downstream',
      type: 'latency',
      stream: 'downstream',
      toxicity: 1,
      attributes: { latency: HOUR },
    };
    const slow = await to('POST', '/proxies/web/toxics', { type: 'latency', attributes: { latency: HOUR } });
    expect(slow).toEqual({ status: 200, body: toxic });
    expect(await to('GET', '/proxies/web/toxics')).toEqual({ status: 200, body: [toxic] });
    expect(await to('POST', '/proxies/web/toxics', { type: 'latency', attributes: {} })).toMatchObject({ status: 409 });
    client.socket.write('two ');
    const patched = await to('PATCH', '/proxies/web/toxics/latency_downstream', { attributes: { latency: 1 } });
    expect(patched).toMatchObject({ status: 200, body: { attributes: { latency: 1 } } });
    await client.received('one two ');
    expect(await to('DELETE', '/proxies/web/toxics/latency_downstream')).toEqual({ status: 204, body: '' });
    expect(await to('GET', '/proxies/web/toxics/latency_downstream')).toEqual({
      status: 404,
      body: { error: 'toxic not found', status: 404 },
    });

    expect(await to('POST', '/proxies/web', { enabled: false })).toMatchObject({
      status: 200,
      body: { enabled: false, listen },
    });
    await client.closed();
    await to('POST', '/proxies/web/toxics', { type: 'limit_data', stream: 'upstream', attributes: { bytes: 3 } });
    expect(await to('POST', '/reset')).toEqual({ status: 204, body: '' });
    expect(await to('GET', '/proxies')).toMatchObject({ body: { web: { enabled: true, listen, toxics: [] } } });
    using again = await clientOf(port);
    again.socket.write('three');
    await again.received('three');
    expect(await to('DELETE', '/proxies/web')).toEqual({ status: 204, body: '' });
    expect(await to('GET', '/proxies/web')).toMatchObject({ status: 404, body: { error: 'proxy not found' } });
  });

  it('populates, and obeys its limits', async () => {
    const list = ['a', 'b', 'c'].map((name) => ({ name, listen: '127.0.0.1:0', upstream: upstream() }));
    const { status, body } = await to('POST', '/populate', list);
    expect({ status, names: (body as { proxies: { name: string }[] }).proxies.map(({ name }) => name) }).toEqual({
      status: 201,
      names: ['a', 'b', 'c'],
    });
    expect(await to('POST', '/proxies', { ...list[0], name: 'd' })).toMatchObject({
      status: 400,
      body: { error: 'there are at most 3 proxies' },
    });
    expect(await to('POST', '/proxies', 'x'.repeat(3000))).toMatchObject({ status: 413 });
    for (const name of ['a', 'b', 'c']) await to('DELETE', `/proxies/${name}`);
  });

  it.each<[string, string, unknown, number, RegExp]>([
    ['POST', '/proxies', undefined, 400, /it is missing/],
    ['POST', '/proxies', '{"name":', 400, /it is not JSON/],
    ['POST', '/proxies', { name: 'x' }, 400, /listen/],
    ['POST', '/proxies', { name: '../x', listen: '0', upstream: '1' }, 400, /a name has letters/],
    ['POST', '/proxies', { name: 'x', listen: 'nowhere', upstream: '1' }, 400, /"nowhere" is not an address/],
    ['POST', '/proxies', { name: 'x', listen: '0', upstream: '1', record: '/tmp/x' }, 400, /for the command line only/],
    ['POST', '/proxies', { name: 'x', listen: '192.0.2.1:1', upstream: '1' }, 500, /cannot listen on 192\.0\.2\.1:1/],
    [
      'POST',
      '/proxies',
      { name: 'x', listen: '0', upstream: '1', toxics: [{ type: 'gremlin' }] },
      400,
      /invalid toxic type "gremlin": there are latency, bandwidth/,
    ],
    [
      'POST',
      '/proxies',
      {
        name: 'x',
        listen: '0',
        upstream: '1',
        toxics: [{ type: 'slicer', attributes: { average_size: 1, delay: 5 } }],
      },
      400,
      /slicer has delay 0 only/,
    ],
    [
      'POST',
      '/proxies',
      { name: 'x', listen: '0', upstream: '1', toxics: [{ type: 'bandwidth', attributes: { rate: -1 } }] },
      400,
      /rate is a number from/,
    ],
    [
      'POST',
      '/proxies',
      { name: 'x', listen: '0', upstream: '1', toxics: [{ type: 'bandwidth' }] },
      400,
      /missing required field: attributes.rate/,
    ],
    ['POST', '/proxies/none/toxics', { type: 'latency' }, 404, /proxy not found/],
    ['GET', '/nothing', undefined, 404, /not found/],
    ['GET', '/%', undefined, 400, /not valid/],
    ['DELETE', '/proxies', undefined, 405, /DELETE is not for this path/],
  ])('%s %s of %j is refused with %i', async (method, path, body, status, error) => {
    expect(await to(method, path, body)).toEqual({ status, body: { status, error: expect.stringMatching(error) } });
    expect(await to('GET', '/proxies')).toEqual({ status: 200, body: {} });
  });

  it('answers anything with a status of its own, and stays as it was when it refuses', async () => {
    const proxies = new Proxies({ onEvent: () => {} });
    const word = fc.constantFrom(
      'proxies',
      'toxics',
      'web',
      'x',
      'reset',
      'populate',
      'latency_downstream',
      '__proto__',
      '%ff',
    );
    const path = fc.array(word, { maxLength: 5 }).map((words) => `/${words.join('/')}`);
    const attributes = fc.dictionary(
      fc.constantFrom('latency', 'rate', 'bytes', '__proto__'),
      fc.oneof(fc.double(), fc.integer()),
    );
    const toxic = fc.record(
      {
        type: fc.constantFrom('latency', 'bandwidth', 'limit_data', 'half_close', 'constructor'),
        attributes,
        stream: fc.constantFrom('upstream', 'downstream'),
        toxicity: fc.double(),
      },
      { requiredKeys: [] },
    );
    const proxy = fc.record(
      {
        name: fc.constantFrom('web', 'x', '__proto__'),
        listen: fc.constant('127.0.0.1:0'),
        upstream: fc.constantFrom('1', '2'),
        enabled: fc.constant(false),
        toxics: fc.array(toxic, { maxLength: 2 }),
      },
      { requiredKeys: ['enabled'] },
    );
    const body = fc.oneof(proxy, toxic, fc.array(proxy, { maxLength: 2 }), fc.jsonValue(), fc.constant(undefined));
    const method = fc.constantFrom('GET', 'POST', 'PATCH', 'DELETE', 'PUT');
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(method, path, body), { minLength: 1, maxLength: 8 }), async (requests) => {
        for (const [how, where, what] of requests) {
          if (where === '/reset') continue; // starts proxies
          const before = JSON.stringify(proxies.list());
          try {
            const { status } = await answerControl(proxies, '0', how, where, what);
            expect([200, 201, 204]).toContain(status);
          } catch (error) {
            if (!(error instanceof ControlError)) throw error;
            expect([400, 404, 405, 409]).toContain(error.status);
            if (where !== '/populate') expect(JSON.stringify(proxies.list())).toBe(before);
          }
        }
      }),
    );
    await proxies.close();
  });

  it.each<[string, Record<string, string>]>([
    ['another name for this machine', { host: 'evil.example' }],
    ['a page’s origin', { origin: 'http://evil.example', 'content-type': 'text/plain' }],
    ['a page without an origin', { 'sec-fetch-site': 'cross-site' }],
    ['an old browser', { 'user-agent': 'Mozilla/5.0' }],
  ])('answers nothing that comes with %s', async (_name, headers) => {
    const body = { name: 'x', listen: '127.0.0.1:0', upstream: upstream() };
    expect(await to('POST', '/proxies', body, headers)).toMatchObject({ status: 403 });
    expect(await to('GET', '/proxies', undefined, headers)).toMatchObject({ status: 403 });
    expect(await to('GET', '/proxies')).toEqual({ status: 200, body: {} });
  });

  rootTest('answers no other user of this machine', () => {
    const script = `
const { get } = await import('node:http');
get({ host: '127.0.0.1', port: ${control}, path: '/proxies' }, (response) => {
  console.log(response.statusCode);
  response.resume();
});`;
    const other = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
      uid: 65_534,
      gid: 65_534,
      cwd: '/',
      env: {},
    });
    expect(other.stdout.toString()).toBe('403\n');
  });

  it('on a Unix socket is for its owner only', async () => {
    const path = join(folder, 'control.sock');
    await using unix = wirelab('chaos', '--control', `unix:${path}`);
    await unix.says(/control unix:/);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect(await ask(path, 'GET', '/proxies')).toEqual({ status: 200, body: {} });
    unix.child.kill('SIGTERM');
    expect(await unix.ended).toBe(0);
  });

  it('is not on other addresses than loopback', async () => {
    const { code, stderr } = await finished(wirelab('chaos', '--control', '0.0.0.0:0'));
    expect(stderr).toContain('a control socket is on 127.0.0.1:PORT or unix:PATH, not on 0.0.0.0:0');
    expect(code).toBe(1);
  });
});

describe('several proxies', () => {
  it('in one process have their own faults, seeds and records', async () => {
    const record = join(folder, 'web.jsonl');
    const config = join(folder, 'proxies.json');
    const upstream = `127.0.0.1:${echo.port}`;
    const toxics = [{ type: 'limit_data', stream: 'downstream', attributes: { bytes: 4 } }];
    await writeFile(config, JSON.stringify([{ name: 'cut', listen: '127.0.0.1:0', upstream, toxics }]));
    await using chaos = wirelab(
      'chaos',
      `web=0,${upstream},down.corrupt=1,record=${record}`,
      `plain=0,${upstream},seed=9`,
      '--config',
      config,
    );
    const [web, plain, cut] = [
      await placeOf(chaos, /listening 127\.0\.0\.1:(\d+) web/),
      await placeOf(chaos, /listening 127\.0\.0\.1:(\d+) plain/),
      await placeOf(chaos, /listening 127\.0\.0\.1:(\d+) cut/),
    ].map(Number) as [number, number, number];
    using first = await clientOf(web);
    first.socket.write('aaaa');
    await soon(() => first.got().length).toBe(4);
    expect(first.got().includes('a')).toBe(false);
    using second = await clientOf(plain);
    second.socket.write('hello');
    await second.received('hello');
    using third = await clientOf(cut);
    third.socket.write('hello');
    await third.closed();
    expect(third.got().toString()).toBe('hell');
    await chaos.says(/cut #1 down cut at byte 4/);
    expect(chaos.stderr).toContain('plain seed 9');
    expect(chaos.stderr).toContain('web corrupt: one bit flipped in a byte with probability 1 (to the client)');
    chaos.child.kill('SIGINT');
    expect(await chaos.ended).toBe(0);
    expect((await readFile(record, 'utf8')).split('\n')[2]).toContain(Buffer.from('aaaa').toString('base64'));
  });

  it.each<[string[], RegExp]>([
    [[], /chaos takes --listen ADDR and --to ADDR, proxies as NAME=LISTEN,TO/],
    [['web'], /"web" describes no proxy: expected NAME=LISTEN,TO/],
    [['web=0,1,latency=x'], /latency takes a number from 0 to 3600000, not "x"/],
    [['web=0,1,gremlin=1'], /there is no fault "gremlin"/],
    [['web=0,1,down.half-close'], /half-close ends what goes to the server/],
    [['web=0,1', 'web=0,2'], /two proxies have the name "web"/],
    [['web=0,1', '--record', 'x'], /--record is for --listen and --to/],
    [['--listen', '0', '--to', '1', '--up', 'slice=0'], /slice takes a whole number from 1 to/],
  ])('of %j are a usage error', async (words, problem) => {
    const { code, stderr } = await finished(wirelab('chaos', ...words));
    expect({ code, stderr }).toEqual({ code: 200, stderr: expect.stringMatching(problem) });
  });
});
