import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { setFlagsFromString } from 'node:v8';
import { TCPServer, isWorker, serve, type ServerEvents, type ServerOptions } from '@sendall/socketserver';
import { expect, onTestFinished, test, vi } from 'vitest';
import { answerWho, Echo, Obedient, StampingServer } from './dist/handlers.js';
import { LoadedLate } from './dist/loaded-late.js';
import { patience } from '../../../test/support/waits.js';
import { ask, closing, dial, eventually, folder, make, start, type Client } from './support/rows.js';

const tcp = { transport: 'tcp' } as const;
const local = { host: '127.0.0.1', port: 0 };
const processes = { mode: 'processes', workers: 2 } as const;
const threads = { mode: 'threads', workers: 2 } as const;

function workerEvents(server: TCPServer): ServerEvents['worker'][] {
  const events: ServerEvents['worker'][] = [];
  server.on('worker', (event) => events.push(event));
  return events;
}

const fixture = (name: string) => fileURLToPath(new URL(`dist/${name}`, import.meta.url));

const alive = (pid: number) => {
  try {
    return !readFileSync(`/proc/${pid}/stat`, 'latin1').includes(') Z ');
  } catch {
    return false;
  }
};

test('a child killed in the middle of work loses its own connections alone, and is replaced on the same port', async () => {
  const server = await start(tcp, Obedient, { concurrency: processes });
  const events = workerEvents(server);
  const clients = Array.from({ length: 6 }, () => dial(server));
  const pids = await Promise.all(clients.map(async (client) => Number.parseInt(await client.ask('who'), 10)));
  const victim = pids[0]!;
  process.kill(victim, 'SIGKILL');
  const [lost, kept]: [Client[], Client[]] = [[], []];
  clients.forEach((client, i) => (pids[i] === victim ? lost : kept).push(client));
  expect(lost.length).toBe(3);
  await Promise.all(lost.map(({ closed }) => closed));
  for (const client of kept) expect(await client.ask('kept')).toBe('kept');
  await eventually(() => server.activeChildren.size === 2 && !server.activeChildren.has(victim));
  expect(events.find(({ state }) => state === 'exit')).toMatchObject({
    pid: victim,
    signal: 'SIGKILL',
    connectionsLost: 3,
  });
  expect(await dial(server).ask('again')).toBe('again');
  await server.waitForConnections('==', kept.length + 1);
});

test('all children dead: clients wait and are served by their successors', async () => {
  const server = await start(tcp, Obedient, { concurrency: processes });
  for (const pid of server.activeChildren) process.kill(pid, 'SIGKILL');
  const answers = await Promise.all(Array.from({ length: 10 }, (_, i) => dial(server).ask(`client ${i}`)));
  expect(answers.filter((answer) => answer.startsWith('client')).length).toBe(10);
  expect(await dial(server).ask('on')).toBe('on');
});

test('children that die again and again are replaced more slowly, which is an error to hear of, and no fork bomb', async () => {
  // They all die at one time, however long that takes.
  vi.useFakeTimers({ toFake: ['performance'] });
  onTestFinished(() => void vi.useRealTimers());
  const server = await start(tcp, Obedient, { concurrency: { mode: 'processes', workers: 1 } });
  const events = workerEvents(server);
  const errors: string[] = [];
  server.on('error', (error) => errors.push((error as Error & { code: string }).code));
  while (errors.length === 0) {
    for (const pid of server.activeChildren) process.kill(pid, 'SIGKILL');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  expect(errors).toEqual(['WORKER_CRASH_LOOP']);
  expect(events.filter(({ state }) => state === 'respawn').length).toBeLessThanOrEqual(6);
});

test('children end when their parent disappears', async () => {
  const program = fileURLToPath(new URL('dist/with-children.js', import.meta.url));
  const parent = spawn(process.execPath, [program], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = (await once(createInterface({ input: parent.stdout }), 'line')) as [string];
  const pids = JSON.parse(line) as number[];
  expect(pids.every(alive)).toBe(true);
  parent.kill('SIGKILL');
  await eventually(() => !pids.some(alive));
});

test('no child is left after shutdown, and children of others are never touched', async () => {
  const foreign = spawn('sleep', ['60']);
  onTestFinished(() => void foreign.kill());
  const server = make(tcp, Obedient, { concurrency: processes });
  await server.listen();
  const pids = [...server.activeChildren];
  expect(pids).toHaveLength(2);
  await server.shutdown();
  expect(pids.some(alive)).toBe(false);
  expect(server.activeChildren.size).toBe(0);
  expect(foreign.exitCode).toBe(null);
});

test.each(['stray', 'memory', 'loop'])('a thread that ends by "%s" is replaced; the others go on', async (order) => {
  // Of threads that start from now on: it takes long to fill all of a machine's memory.
  setFlagsFromString('--max-old-space-size=100');
  onTestFinished(() => setFlagsFromString('--max-old-space-size=0'));
  const hangTimeout = order === 'loop' ? patience(1_000) : 0;
  const server = await start(tcp, Obedient, { concurrency: { ...threads, hangTimeout } });
  const events = workerEvents(server);
  const other = dial(server);
  const mine = await other.ask('who');
  let victim = dial(server);
  while ((await victim.ask('who')) === mine) victim = dial(server);
  victim.socket.write(`${order}\n`);
  await victim.closed;
  expect(await other.ask('fine')).toBe('fine');
  await eventually(() => events.some(({ state }) => state === 'started'));
  const exit = events.find(({ state }) => state === 'exit')!;
  if (order === 'stray') expect(exit.error?.message).toBe('a stray throw');
  if (order === 'loop') expect(events.some(({ state }) => state === 'hung')).toBe(true);
  expect(await dial(server).ask('new')).toBe('new');
});

test('a thread is not taken for hung because the loop that watches it stood still', async () => {
  const hangTimeout = patience(400);
  const server = await start(tcp, Obedient, { concurrency: { ...threads, hangTimeout } });
  const events = workerEvents(server);
  const client = dial(server);
  await client.ask('hello');
  let blocks = 0;
  // The loop asks for signs of life at the same times, just before this.
  const blocking = setInterval(() => {
    setImmediate(() => {
      for (const until = performance.now() + 1.2 * hangTimeout; performance.now() < until;);
      blocks++;
    });
  }, hangTimeout / 4);
  await eventually(() => blocks === 3);
  clearInterval(blocking);
  expect(await client.ask('still')).toBe('still');
  expect(events).toEqual([]);
});

test('requestsPerChild 1: a process for each request, warm ones kept ready, at most maxChildren at a time', async () => {
  const concurrency = { mode: 'processes', workers: 2, requestsPerChild: 1, maxChildren: 3 } as const;
  const server = await start(tcp, Obedient, { concurrency });
  const clients = Array.from({ length: 3 }, () => dial(server));
  const pids = await Promise.all(clients.map((client) => client.ask('who')));
  expect(new Set(pids).size).toBe(3);
  const fourth = dial(server);
  fourth.socket.write('who\n');
  await eventually(() => server.activeChildren.size === 3);
  expect(fourth.text).toBe('');
  clients[0]!.socket.end();
  const pid = await fourth.until('\n');
  expect(pids).not.toContain(pid);
  expect(server.activeChildren.size).toBeLessThanOrEqual(3);
});

test('bytes sent before the hand-over are seen by the child, 2,000 hand-overs leave nothing in the parent', async () => {
  const server = await start(tcp, Echo, { concurrency: processes });
  const { readdirSync } = await import('node:fs');
  const one = async (i: number) => {
    const client = dial(server);
    client.socket.end(`early ${i}`);
    expect(await client.closed).toBe(`early ${i}`);
  };
  await one(0);
  const before = readdirSync('/proc/self/fd').length;
  for (let i = 0; i < 40; i++) await Promise.all(Array.from({ length: 50 }, (_, k) => one(i * 50 + k)));
  await server.waitForConnections('==', 0);
  await eventually(() => readdirSync('/proc/self/fd').length <= before + 4);
  expect(server.info()).toMatchObject({ connections: 0, pending: 0 });
});

test.each<[string, ServerOptions]>([
  // With SO_REUSEPORT the kernel chooses by chance.
  ['threads', { concurrency: { mode: 'threads', workers: 4, balance: 'round-robin' } }],
  ['threads, least connections', { concurrency: { mode: 'threads', workers: 4, balance: 'least-connections' } }],
  ['processes', { concurrency: { mode: 'processes', workers: 4 } }],
])('200 long-lived connections spread evenly over four workers: %s', async (_name, options) => {
  const server = await start(tcp, Obedient, options);
  const counts = new Map<string, number>();
  const clients = Array.from({ length: 200 }, () => dial(server));
  for (const who of await Promise.all(clients.map((client) => client.ask('who'))))
    counts.set(who, (counts.get(who) ?? 0) + 1);
  expect(counts.size).toBe(4);
  expect(Math.max(...counts.values()) / Math.min(...counts.values())).toBeLessThanOrEqual(1.6);
});

test('reuse-port where it cannot be had fails the start with a sentence', async () => {
  const { createServer } = await import('node:net');
  const probe = createServer().listen({ port: 0, host: '127.0.0.1', reusePort: true } as object);
  await once(probe, 'listening');
  const second = createServer();
  const port = (probe.address() as { port: number }).port;
  const supported = await new Promise((resolve) => {
    second.once('error', () => resolve(false)).once('listening', () => resolve(true));
    second.listen({ port, host: '127.0.0.1', reusePort: true } as object);
  });
  probe.close();
  second.close();
  const server = make(tcp, Obedient, { concurrency: { ...threads, balance: 'reuse-port' } });
  if (supported) await server.listen();
  else await expect(server.listen()).rejects.toThrow(/Node 22.12/);
});

test('closing one worker never disturbs another: threads on one socket, ended and replaced', async () => {
  const server = await start(tcp, Obedient, { concurrency: { ...threads, balance: 'kernel' } });
  for (let round = 0; round < 4; round++) {
    await ask(server, tcp, 'exit');
    expect(await dial(server).ask(`${round}`)).toBe(`${round}`);
    await eventually(() => server.info().workers === 2);
  }
});

test.each([
  ['TCP', 'with', local],
  ['TCP', 'without', local],
  ['Unix', 'with', 'path'],
  ['Unix', 'without', 'path'],
])(
  'threads on one socket close their own descriptors alone, whatever opens a number meanwhile: %s, %s koffi',
  async (_transport, koffi, address) => {
    const at = address === 'path' ? { path: join(folder(), 'socket') } : address;
    const hide = koffi === 'with' ? [] : ['--import', fixture('without-koffi.js')];
    const program = spawn(process.execPath, [...hide, fixture('foreign-files.js'), JSON.stringify(at)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [said, [code, signal]] = await Promise.all([text(program.stdout), once(program, 'close')]);
    expect({ code, signal }).toEqual({ code: 0, signal: null });
    expect(JSON.parse(said)).toEqual({ answers: ['one', 'two', 'three'], opened: 150, kept: 150 });
  },
);

test('clients that wait for a place in a thread that dies are counted as dropped', async () => {
  const concurrency = { ...threads, workers: 1, balance: 'kernel' } as const;
  const server = await start(tcp, Obedient, { concurrency, maxConnections: 1 });
  const drops: string[] = [];
  server.on('drop', ({ reason }) => drops.push(reason));
  const first = dial(server);
  await first.ask('in use');
  const waiting = [dial(server), dial(server), dial(server)];
  await eventually(() => server.info().accepted === 4);
  first.socket.write('exit\n');
  await Promise.all([first, ...waiting].map(({ closed }) => closed));
  await eventually(() => drops.length === 3);
  expect(drops).toEqual(['no-worker', 'no-worker', 'no-worker']);
  expect(await dial(server).ask('next')).toBe('next');
  expect(server.info()).toMatchObject({ accepted: 5, dropped: 3, connections: 1 });
});

test("a server's own steps run in the worker when its class has a module, and are refused when it has none", async () => {
  const server = closing(new StampingServer(local, Obedient, { concurrency: threads }));
  await server.listen();
  void server.serveForever();
  const client = dial(server);
  expect(await client.until('\n')).toMatch(new RegExp(`^stamped by ${process.pid}/[1-9]`));
  class Unknown extends TCPServer {
    override async finishRequest() {}
  }
  expect(() => new Unknown(local, Obedient, { concurrency: threads })).toThrow(/static module/);
});

test('a function may serve in threads when it has a module', async () => {
  const server = closing(await serve(local, answerWho, { concurrency: threads }));
  expect(await dial(server).until('\n')).not.toContain('/0\n');
  await expect(serve(local, async () => {}, { concurrency: 'threads' })).rejects.toThrow(/static module/);
});

test('a module that starts a server when a worker loads it is told so, instead of workers without end', async () => {
  const { SelfStarting } = (await import('./dist/self-starting.js')) as { SelfStarting: typeof Obedient };
  const server = make(tcp, SelfStarting, { concurrency: threads });
  await expect(server.listen()).rejects.toThrow(/isWorker/);
  expect(isWorker).toBe(false);
});

const build = (options: ServerOptions) => () => new TCPServer(local, Obedient, { concurrency: threads, ...options });

test('what cannot be copied into a worker is refused by name', () => {
  expect(build({ handlerOptions: { f: () => {} } })).toThrow(expect.objectContaining({ option: 'handlerOptions' }));
  expect(build({ tls: { SNICallback: () => {} } })).toThrow(expect.objectContaining({ option: 'tls' }));
});

test('an option changed while it runs reaches the workers', async () => {
  const server = await start(tcp, Obedient, { concurrency: processes, handlerOptions: 'old' });
  server.setOptions({ handlerOptions: 'new' });
  expect(await dial(server).ask('who')).toContain('"new"');
});

test('options that change while a worker is loaded are those it begins with', async () => {
  const worker = new BroadcastChannel('loaded-late');
  onTestFinished(() => worker.close());
  const loading = new Promise((resolve) => worker.addEventListener('message', resolve, { once: true }));
  const concurrency = { mode: 'threads', workers: 1 } as const;
  const server = make(tcp, LoadedLate, { concurrency, handlerOptions: 'old' });
  const listening = server.listen();
  await loading;
  server.setOptions({ handlerOptions: 'new' });
  // Behind the message with the options.
  worker.postMessage('go on');
  await listening;
  void server.serveForever();
  expect(await dial(server).ask('who')).toContain('"new"');
});

test('resume() in the middle of suspend() opens the door again, and both are done', async () => {
  const server = await start(tcp, Obedient, { concurrency: { ...threads, balance: 'kernel' } });
  for (const queue of [true, false]) {
    const suspended = server.suspend({ queue });
    await server.resume();
    await suspended;
    expect(await dial(server).ask('open')).toBe('open');
  }
});
