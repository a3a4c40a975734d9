/**
 * One command on 200 loopback addresses: `sendall run`, pdsh and clush as whole processes, with new connections and with
 * open ones. One agent and one sshd serve all addresses.
 */
import { spawn, spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { resolveHome } from 'sendall';
import { cpuOf, median, type Row } from '../exec/figures.js';
import { envOf, openSite, SENDALL, sendall } from '../exec/site.js';
import { openSshd } from '../exec/sshd.js';

const ADDRESSES = 200;
/** Hosts at a time, for each contestant. */
const FANOUT = 64;
const ALL = `127.0.1.[1-${ADDRESSES}]`;

interface Contestant {
  readonly name: 'sendall' | 'pdsh' | 'clush';
  readonly kind: 'cold' | 'warm';
  /** The whole process's seconds, and CPU milliseconds a host of all processes at both ends. */
  run: () => Promise<Figure>;
}

interface Figure {
  readonly seconds: number;
  readonly cpuMs: number;
}

/** Which peer's figure of the same round each of ours is divided by. */
const peers: [peer: Contestant['name'], kind: Contestant['kind'], bars: { wall?: number; cpu?: number }][] = [
  ['pdsh', 'cold', { wall: 0.1, cpu: 0.1 }],
  ['clush', 'cold', {}],
  ['pdsh', 'warm', { wall: 0.5, cpu: 0.5 }],
  ['clush', 'warm', {}],
];

/** The rows of all rounds, in which the contestants take turns. */
export async function onLoopback(rounds: number) {
  const site = await openLoopback();
  const figures = new Map(site.contestants.map((each) => [each, [] as Figure[]]));
  try {
    for (const what of site.missing) console.error(`${what}: its rows are skipped`);
    for (let round = 0; round < rounds + 1; round++)
      for (const [contestant, all] of figures) {
        const figure = await contestant.run();
        // The first round warms up.
        if (round) all.push(figure);
      }
  } finally {
    await site.close();
  }
  const of = (name: string, kind: string) =>
    [...figures].find(([each]) => each.name === name && each.kind === kind)?.[1] ?? [];
  return peers.flatMap(([peer, kind, { wall, cpu }]) => {
    const [ours, its] = [of('sendall', kind), of(peer, kind)];
    if (!its.length) return [];
    const row = (unit: string, figure: (each: Figure) => number, bar: number | undefined): Row => {
      const ratios = ours.map((each, i) => figure(each) / figure(its[i]));
      const name = `loopback-${kind}-${peer}-${unit === 's' ? 'wall' : 'cpu'}`;
      const what = `hostname on ${ADDRESSES} addresses, against ${peer}${kind === 'warm' ? ' over one ssh master' : ''}`;
      const all = {
        ratios,
        ratio: median(ratios),
        ours: median(ours.map(figure)),
        peer: median(its.map(figure)),
        unit,
      };
      return { name, what, want: '<=', ...(bar ? { bar } : {}), ...all };
    };
    return [row('s', ({ seconds }) => seconds, wall), row('CPU ms a host', ({ cpuMs }) => cpuMs, cpu)];
  });
}

const isThere = (program: string) => spawnSync('/bin/sh', ['-c', 'command -v "$0"', program]).status === 0;

/**
 * Runs a program to its end under bash, which knows the CPU time of the program and of the children that it waited for.
 * Its output must be one line for each address.
 */
async function timed(words: readonly string[], env: NodeJS.ProcessEnv, servers: readonly number[]) {
  const before = cpuOf(servers);
  const start = performance.now();
  const child = spawn('/bin/bash', ['-c', '"$@"; times >&2', 'bash', ...words], {
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (chunk) => (stdout += String(chunk)));
  child.stderr.on('data', (chunk) => (stderr += String(chunk)));
  await new Promise((resolve) => child.once('close', resolve));
  const seconds = (performance.now() - start) / 1000;
  const lines = stdout.split('\n').length - 1;
  if (lines !== ADDRESSES) throw new Error(`${words[0]} printed ${lines} lines for ${ADDRESSES} hosts: ${stderr}`);
  const spent = [...(stderr.trimEnd().split('\n').at(-1) ?? '').matchAll(/(\d+)m([\d.]+)s/g)];
  const own = spent.reduce((sum, [, minutes, rest]) => sum + Number(minutes) * 60 + Number(rest), 0);
  return { seconds, cpuMs: ((own + cpuOf(servers) - before) * 1000) / ADDRESSES };
}

/** Starts the servers. `missing` names the peers that are not installed. */
async function openLoopback() {
  const site = await openSite('tls://0.0.0.0:0');
  const sshd = await openSshd({ address: '0.0.0.0', names: '127.0.1.*' });
  const missing = 'missing' in sshd ? [sshd.missing] : [];
  const { port } = new URL(site.url);
  const entry = (host: number) => ({
    url: `tls://127.0.1.${host}:${port}`,
    pin: site.fingerprint,
    tags: {},
    addedAt: '',
  });
  const hosts = Array.from({ length: ADDRESSES }, (_, i) => [`n${i + 1}`, entry(i + 1)]);
  writeFileSync(resolveHome({ SENDALL_HOME: site.near }).hostsFile, JSON.stringify(Object.fromEntries(hosts)));

  const ours = ['run', `n[1-${ADDRESSES}]`, '--window', String(FANOUT), '-n'];
  const env = envOf(site.near);
  const call = (...more: string[]) => [process.execPath, SENDALL, ...ours, ...more, '--', 'hostname'];
  const contestants: Contestant[] = [
    { name: 'sendall', kind: 'cold', run: async () => await timed(call('--no-share'), env, site.farPids) },
    {
      name: 'sendall',
      kind: 'warm',
      async run() {
        const links = JSON.parse(await sendall(site.near, 'links', '--json')) as { pid: number };
        return await timed(call(), env, [...site.farPids, links.pid]);
      },
    },
  ];
  if (!('missing' in sshd)) {
    const config = `-F ${sshd.config}`;
    const master = `${config} -S ${sshd.control}`;
    const servers = (kind: Contestant['kind']) => (kind === 'cold' ? [sshd.pid] : [sshd.pid, sshd.masterPid]);
    for (const [kind, options] of [
      ['cold', config],
      ['warm', master],
    ] as const) {
      if (isThere('pdsh')) {
        const words = ['pdsh', '-R', 'ssh', '-f', String(FANOUT), '-w', ALL, 'hostname'];
        const withOptions = { ...process.env, PDSH_SSH_ARGS_APPEND: options };
        contestants.push({ name: 'pdsh', kind, run: async () => await timed(words, withOptions, servers(kind)) });
      }
      if (isThere('clush')) {
        const words = ['clush', '--nostdin', '-f', String(FANOUT), '-o', options, '-w', ALL, 'hostname'];
        contestants.push({ name: 'clush', kind, run: async () => await timed(words, process.env, servers(kind)) });
      }
    }
  }
  for (const [program, name] of [
    ['pdsh', 'pdsh'],
    ['clush', 'clustershell'],
  ])
    if (!isThere(program)) missing.push(`${program} (Debian package ${name}) is not installed`);
  // The first call starts the process that holds links, the second one fills it.
  for (let i = 0; i < 2; i++) await timed(call(), env, []);
  return {
    missing,
    contestants,
    async close() {
      await sendall(site.near, 'links', 'stop').catch(() => undefined);
      await site.close();
      if (!('missing' in sshd)) await sshd.close();
    },
  };
}
