/**
 * npm run bench -- server [--rounds N] [--ms N] [--only ROW,…] [--connections N]
 *
 * The socket server against hand-written node:net servers, Python's ThreadingTCPServer and, if installed, Go and Netty
 * (Debian packages golang-go; openjdk-17-jdk-headless and libnetty-java). Servers run on CPU 0 and the C load generator
 * on CPU 1, in turn within each round. Ratios are taken within a round; the table shows their medians. On one core
 * there are two ratios: of the server's CPU time for each request, which other programs on the machine disturb least,
 * and of requests a second, which clients see. `by` names the one a bar applies to. Needs gcc.
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, statSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    ms: { type: 'string', default: '800' },
    only: { type: 'string' },
    connections: { type: 'string', default: '15000' },
  },
});
const rounds = Number(values.rounds);
const folder = fileURLToPath(new URL('server/', import.meta.url));
/** The peers in other languages and the load generator. */
const sources = fileURLToPath(new URL('../src/server/', import.meta.url));
const build = fileURLToPath(new URL('../build/', import.meta.url));
const ticksPerSecond = Number(execFileSync('getconf', ['CLK_TCK']));

const have = (command: string) => spawnSync('sh', ['-c', `command -v ${command}`]).status === 0;

const age = (path: string) => statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;

/** Compiles sources that are newer than their programs. */
function compile(command: string, args: string[], source: string, program: string) {
  if (age(program) < age(source)) execFileSync(command, [...args, '-o', program, source], { stdio: 'inherit' });
  return program;
}

if (!have('gcc')) {
  console.error('the load generator of this benchmark is written in C: install gcc (Debian package gcc)');
  process.exit(1);
}
mkdirSync(build, { recursive: true });
const load = compile('gcc', ['-O2'], `${sources}load.c`, `${build}server-load`);
const node = [process.execPath, '--expose-gc'];
const commands: Record<string, string[]> = {
  ours: [...node, `${folder}ours.js`, 'message'],
  'ours, burning': [...node, `${folder}ours.js`, 'burn'],
  'ours, burning, 2 threads': [...node, `${folder}ours.js`, 'burn', 'threads'],
  'Node, batched': [...node, `${folder}bare.js`, 'batched'],
  'Node, naive': [...node, `${folder}bare.js`, 'naive'],
  'ours, messages': [...node, `${folder}ours.js`, 'count'],
  'ours, spans': [...node, `${folder}ours.js`, 'span-count'],
  'Node, onread + offsets': [...node, `${folder}bare.js`, 'onread'],
  'Node, data + offsets': [...node, `${folder}bare.js`, 'offsets'],
  ...Object.fromEntries(
    [64, 1024, 65536].map((size) => [`Node, raw ${size}`, [...node, `${folder}bare.js`, 'raw', `${size}`]]),
  ),
};
if (have('python3')) commands['Python threads'] = ['python3', `${sources}threading.py`];
const jars = ['buffer', 'codec', 'common', 'handler', 'resolver', 'transport'].map(
  (part) => `/usr/share/java/netty-${part}.jar`,
);
if (have('java') && have('javac') && jars.every((jar) => existsSync(jar))) {
  const source = `${sources}NettyEcho.java`;
  if (age(`${build}NettyEcho.class`) < age(source))
    execFileSync('javac', ['-cp', jars.join(':'), '-d', build, source], { stdio: 'inherit' });
  commands['Netty, batched'] = ['java', '-Xmx512m', '-cp', [build, ...jars].join(':'), 'NettyEcho'];
}
if (have('go')) commands['Go'] = [compile('go', ['build'], `${sources}echo.go`, `${build}server-go`)];

/** @param pid CPU seconds of a process so far */
function cpuOf(pid: number) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1')
    .replace(/^.*\) /, '')
    .split(' ');
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
}

/** @param pid KiB of private memory */
const memoryOf = (pid: number) =>
  Number(/^Anonymous:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1'))?.[1]);

const short = (x: number) => Math.round(x * 1000) / 1000;

const median = (numbers: number[]) => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? NaN;

/** Starts a server, measures it, and ends it. */
async function withServer<T>(name: string, pinned: boolean, measure: (port: string, pid: number) => Promise<T>) {
  const command = [...(pinned ? ['taskset', '-c', '0'] : []), ...(commands[name] ?? [])];
  const child = spawn(command[0] ?? '', command.slice(1), { stdio: ['ignore', 'pipe', 'ignore'] });
  const exit = once(child, 'exit');
  try {
    const [port] = await once(createInterface({ input: child.stdout }), 'line');
    return await measure(String(port), child.pid ?? 0);
  } finally {
    child.kill();
    await exit;
  }
}

async function generate(args: string[], pinned: boolean = true) {
  const command = [...(pinned ? ['taskset', '-c', '1'] : []), load, ...args];
  const child = spawn(command[0] ?? '', command.slice(1), { stdio: ['pipe', 'pipe', 'inherit'] });
  const [line] = await once(createInterface({ input: child.stdout }), 'line');
  return { result: JSON.parse(String(line)), child };
}

/** One server's figures in one round; the first one is compared. */
type Figures = Record<string, number>;

/** Requests a second, and the server's CPU microseconds for each. */
const echo = (name: string, connections: number, outstanding: number, pinned: boolean = true): Promise<Figures> =>
  withServer(name, pinned, async (port, pid) => {
    const args = ['echo', port, String(connections), String(outstanding), '64', '300', values.ms];
    // Java compiles hot code for seconds, so warm it up first.
    if (name.startsWith('Netty')) await generate([...args.slice(0, 5), '0', '4000'], pinned);
    const before = cpuOf(pid);
    const { result } = await generate(args, pinned);
    const cpu = ((cpuOf(pid) - before) * 1e6) / result.total;
    return { 'CPU us': cpu, 'requests/s': result.rate };
  });

/** Messages a second in one stream, and the server's CPU microseconds for each. */
const stream = (name: string, size: number): Promise<Figures> =>
  withServer(name, true, async (port, pid) => {
    const before = cpuOf(pid);
    const { result } = await generate(['stream', port, String(size), '300', values.ms]);
    return { 'CPU us': ((cpuOf(pid) - before) * 1e6) / result.total, 'requests/s': result.rate };
  });

const streamRow = (size: number, against: string, bar: number) => ({
  what: `one stream of messages of ${size} bytes`,
  peers: ['ours, spans', 'ours, messages', 'Node, onread + offsets', 'Node, data + offsets', `Node, raw ${size}`],
  subject: 'ours, spans',
  against,
  bar,
  measure: (name: string) => stream(name, size),
});

const connects = (name: string): Promise<Figures> =>
  withServer(name, true, async (port, pid) => {
    await generate(['connect', port, '2000', '50']);
    const before = cpuOf(pid);
    const { result } = await generate(['connect', port, '20000', '100']);
    return { 'CPU us': ((cpuOf(pid) - before) * 1e6) / 20000, 'requests/s': result.rate };
  });

async function collect(pid: number) {
  for (let i = 0; i < 3; i++) {
    process.kill(pid, 'SIGUSR2');
    await pause(200);
  }
}

const idle = (name: string): Promise<Figures> =>
  withServer(name, true, async (port, pid) => {
    await generate(['connect', port, '500', '50']);
    await collect(pid);
    const before = memoryOf(pid);
    const { child } = await generate(['hold', port, values.connections]);
    await collect(pid);
    const each = (memoryOf(pid) - before) / Number(values.connections);
    const exit = once(child, 'exit');
    child.stdin.end();
    await exit;
    return { 'KiB each': each };
  });

/** A row: the contestants, the measurement, the peer we compare with, and the bar. */
const table: Record<
  string,
  {
    peers: string[];
    against: string;
    measure: (name: string) => Promise<Figures>;
    bar?: number;
    bars?: Record<string, number>;
    most?: number;
    what: string;
    subject?: string;
    by?: string;
  }
> = {
  'pipelined-50x64': {
    what: '50 connections, 64 outstanding',
    peers: ['ours', 'Node, batched', 'Node, naive', 'Python threads', 'Netty, batched', 'Go'],
    against: 'Node, batched',
    bar: 0.85,
    bars: { 'Netty, batched': 3 },
    measure: (name) => echo(name, 50, 64),
  },
  'single-50x1': {
    what: '50 connections, 1 outstanding',
    peers: ['ours', 'Node, naive', 'Python threads', 'Go'],
    against: 'Node, naive',
    bar: 0.9,
    measure: (name) => echo(name, 50, 1),
  },
  'single-500x1': {
    what: '500 connections, 1 outstanding',
    peers: ['ours', 'Node, naive', 'Python threads', 'Go'],
    against: 'Node, naive',
    bar: 0.9,
    measure: (name) => echo(name, 500, 1),
  },
  'stream-64': streamRow(64, 'Node, onread + offsets', 0.8),
  'stream-1024': streamRow(1024, 'Node, raw 1024', 0.9),
  'stream-65536': streamRow(65536, 'Node, raw 65536', 0.9),
  'threads-burn': {
    what: 'a handler that burns 100 us, 2 threads on 2 cores',
    peers: ['ours, burning, 2 threads', 'ours, burning'],
    subject: 'ours, burning, 2 threads',
    against: 'ours, burning',
    by: 'requests/s',
    bar: 1.8,
    measure: (name) => echo(name, 50, 4, false),
  },
  connects: {
    what: '20,000 connects, one echo each, none refused',
    peers: ['ours', 'Node, naive', 'Python threads', 'Go'],
    against: 'Node, naive',
    by: 'requests/s',
    bar: 0.9,
    measure: connects,
  },
  'idle-memory': {
    what: `${values.connections} idle connections, with a handler and a read timeout`,
    peers: ['ours', 'Node, naive'],
    against: 'Node, naive',
    by: 'KiB each',
    most: 5,
    measure: idle,
  },
};

const only = values.only?.split(',');
for (const [name, row] of Object.entries(table)) {
  if (only !== undefined && !only.some((each) => name.startsWith(each))) continue;
  const peers = row.peers.filter((peer) => commands[peer] !== undefined);
  const subject = row.subject ?? 'ours';
  const figures: Map<string, Figures[]> = new Map(peers.map((peer) => [peer, []]));
  for (let round = 0; round < rounds; round++)
    for (const peer of peers) figures.get(peer)?.push(await row.measure(peer));
  const first = row.by ?? 'CPU us';
  const ratioOf = (a: string, b: string, key: string = first) =>
    median(
      (figures.get(a) ?? []).map((mine, i) => {
        const [x, y] = [mine[key] ?? NaN, figures.get(b)?.[i]?.[key] ?? NaN];
        return key === 'CPU us' ? y / x : x / y;
      }),
    );
  console.log(`\n${name}: ${row.what}`);
  for (const peer of peers) {
    const keys = Object.keys(figures.get(peer)?.[0] ?? {});
    const cells = keys.map((key) => {
      const middle = median((figures.get(peer) ?? []).map((each) => each[key] ?? NaN));
      const ratio = ratioOf(subject, peer, key).toFixed(2);
      return `${middle.toFixed(middle < 100 ? 2 : 0).padStart(11)} ${key}${peer === subject ? ''.padEnd(14) : ` (ours ${ratio}x)`.padEnd(14)}`;
    });
    console.log(`  ${peer.padEnd(26)}${cells.join('')}`);
  }
  const value = median((figures.get(subject) ?? []).map((each) => each[first] ?? NaN));
  for (const [against, bar] of Object.entries({ [row.against]: row.bar, ...row.bars })) {
    if (!peers.includes(against)) continue;
    const ratio = ratioOf(subject, against);
    const result = {
      name: `server-${name}`,
      ratio: short(ratio),
      ...(row.by !== 'KiB each' && {
        cpuRatio: short(ratioOf(subject, against, 'CPU us')),
        rateRatio: short(ratioOf(subject, against, 'requests/s')),
      }),
      against,
      by: first,
      value: short(value),
      ...(bar !== undefined && { bar }),
      ...(row.most !== undefined && { most: row.most }),
      held: row.most === undefined ? ratio >= (bar ?? 0) : value <= row.most,
    };
    console.log(`result: ${JSON.stringify(result)}`);
  }
}
