/**
 * npm run bench -- fleet [--rounds N] [--only NAMES]
 *
 * Sets of host names against ClusterShell, if installed, in CPU time of each side's own process; growth: four times as
 * many names or lines against a quarter of them, a ratio of 4 for linear work; dials over TLS with 1,000 and 10,000
 * known hosts against dials with 100; a first command sent in one flight with our name (fleet/first-flight.ts); the
 * memory of kept links (fleet/idle.ts); gathered runs on up to 10,000 hosts in this process (fleet/memory.ts); and one
 * command on 200 loopback addresses against pdsh and clush (fleet/loopback.ts).
 */
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { connect, NodeSet, resolveHome } from 'sendall';
import { differences } from '../../packages/sendall/dist/cli/show/text-diff.js';
import { median, print, type Row } from './exec/figures.js';
import { openSite } from './exec/site.js';
import { firstFlights } from './fleet/first-flight.js';
import { keptIdle } from './fleet/idle.js';
import { onLoopback } from './fleet/loopback.js';
import { inMemory } from './fleet/memory.js';

const { values } = parseArgs({ options: { rounds: { type: 'string' }, only: { type: 'string' } } });
const ROUNDS = Number(values.rounds ?? 5);
/** Whether rows of this name were requested. `--only` takes beginnings of names. */
const wanted = (name: string) => !values.only || values.only.split(',').some((beginning) => name.startsWith(beginning));
const PYTHON = '/usr/bin/python3';

const numbers = (count: number) => Array.from({ length: count }, (_, i) => i);
const listed = (count: number) =>
  numbers(count)
    .map((i) => `n${(i * 7919) % count}`)
    .join();
const sets = 'n[1-20000]!n[5000-6000]&n[1-15000]^n[1-3]';

/** By name: the operation, here and in Python. */
const allAgainst: [string, string, () => unknown, string][] = [
  ['nodeset-fold', 'n[1-20000]', () => String(new NodeSet('n[1-20000]')), 'str(NodeSet("n[1-20000]"))'],
  ['nodeset-expand', 'n[1-20000]', () => [...new NodeSet('n[1-20000]')], 'list(NodeSet("n[1-20000]"))'],
  ['nodeset-names', '20,000 names', () => String(new NodeSet(listed(20_000))), 'str(NodeSet(names))'],
  [
    'nodeset-grid',
    'n[1-100]r[1-100]',
    () => String(new NodeSet('n[1-100]r[1-100]')),
    'str(NodeSet("n[1-100]r[1-100]"))',
  ],
  ['nodeset-sets', sets, () => String(new NodeSet(sets)), `str(NodeSet("${sets}"))`],
];

const against = allAgainst.filter(([name]) => wanted(name));

/** CPU milliseconds of one call. */
async function cpu(act: () => unknown) {
  await act();
  const before = process.cpuUsage();
  let calls = 0;
  for (; calls < 3 || spent(before) < 30; calls++) await act();
  return spent(before) / calls;
}

function spent(before: NodeJS.CpuUsage) {
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}

/** The same in Python, in one run. */
function clusterShell(): number[] | undefined {
  const script = `
import json, sys, time
from ClusterShell.NodeSet import NodeSet
names = sys.stdin.read()
def cpu(act):
    act()
    before = time.process_time()
    calls = 0
    while calls < 3 or time.process_time() - before < 0.03:
        act()
        calls += 1
    return (time.process_time() - before) / calls * 1000
print(json.dumps([${against.map(([, , , python]) => `cpu(lambda: ${python})`).join()}]))
`;
  const { status, stdout } = spawnSync(PYTHON, ['-c', script], { input: listed(20_000), encoding: 'utf8' });
  return status === 0 ? JSON.parse(stdout) : undefined;
}

const lines = (count: number, every: number) =>
  numbers(count)
    .map((i) => (i % every ? `line ${i}` : `line ${i} of ${every}`))
    .join('\n');

/** Each group has one host, as an expression. */
const lookUp = (word: string) => (word.startsWith('@') ? word.slice(1) : undefined);

/** By name: the growing operation. */
const growing: [string, string, (size: number) => unknown][] = [
  ['grow-fold', 'a range of 20,000 and 80,000 folded', (size) => String(new NodeSet(`n[1-${size}]`))],
  ['grow-names', '20,000 and 80,000 names folded', (size) => String(new NodeSet(listed(size)))],
  ['grow-expand', '20,000 and 80,000 names in order', (size) => [...new NodeSet(`n[1-${size}]`)]],
  ['grow-gaps', 'a set of 10,000 and 40,000 gaps cut there', (size) => new NodeSet(`n[1-${size}/2]`).contiguous()],
  ['grow-groups', '20,000 and 80,000 groups read', (size) => new NodeSet(`@g[1-${size}]`, { lookUp })],
  ['grow-diff', 'lines compared, each 100th differs', (size) => differences(lines(size, 100), lines(size, size))],
  ['grow-diff-all', 'lines compared, all differ', (size) => differences(lines(size, 1), lines(size, size))],
];

const rows: Row[] = [];

function row(name: string, what: string, ours: number[], peer: number[], limits: { bar: number; goal?: number }) {
  const ratios = ours.map((value, i) => value / (peer[i] ?? Number.NaN));
  const all = { ratio: median(ratios), ratios, ours: median(ours), peer: median(peer), unit: 'CPU ms' };
  rows.push({ name, what, want: '<=', ...limits, ...all });
}

const DIALS = 50;
const KNOWN = [100, 1000, 10_000];

/** CPU milliseconds of this process, and seconds, for one dial over TLS and its end, by the number of known hosts. */
async function dials() {
  const site = await openSite();
  try {
    const home = resolveHome({ SENDALL_HOME: site.near });
    const entry = { url: site.url, pin: site.fingerprint, tags: {}, addedAt: '' };
    const spentOn = KNOWN.map(() => [] as number[]);
    const took = KNOWN.map(() => [] as number[]);
    for (let round = 0; round < ROUNDS + 1; round++)
      for (const [i, known] of KNOWN.entries()) {
        const hosts = Object.fromEntries(numbers(known).map((host) => [`host-${host}`, entry]));
        // Rewritten, so that each series of dials begins by reading it.
        writeFileSync(home.hostsFile, JSON.stringify(hosts));
        const [before, start] = [process.cpuUsage(), performance.now()];
        for (let dial = 0; dial < DIALS; dial++) await (await connect(`host-${dial}`, { home })).close();
        // The first round warms up.
        if (!round) continue;
        spentOn[i]?.push(spent(before) / DIALS);
        took[i]?.push((performance.now() - start) / 1000 / DIALS);
      }
    return { spentOn, took };
  } finally {
    await site.close();
  }
}

const theirs: number[][] = [];
const ours: number[][] = against.map(() => []);
for (let round = 0; round < ROUNDS && against.length; round++) {
  const peer = clusterShell();
  if (!peer) break;
  theirs.push(peer);
  for (const [i, [, , act]] of against.entries()) ours[i]?.push(await cpu(act));
}
if (against.length && !theirs.length) console.error(`${PYTHON} has no ClusterShell: its rows are skipped`);
else
  for (const [i, [name, what]] of against.entries())
    row(
      name,
      what,
      ours[i] ?? [],
      theirs.map((peer) => peer[i] ?? Number.NaN),
      { bar: 1, goal: 0.3 },
    );

for (const [name, what, act] of growing) {
  if (!wanted(name)) continue;
  const [large, small] = [[] as number[], [] as number[]];
  const [most, least] = name.includes('diff') ? [8400, 2100] : [80_000, 20_000];
  for (let round = 0; round < ROUNDS; round++) {
    small.push(await cpu(() => act(least)));
    large.push(await cpu(() => act(most)));
  }
  // Four times the work, plus garbage collection and caches.
  row(name, what, large, small, { bar: 8, goal: 5 });
}

if (wanted('dial')) {
  const { spentOn, took } = await dials();
  for (const [i, known] of KNOWN.entries()) {
    console.log(`${known} known hosts: ${Math.round(1 / median(took[i] ?? []))} dials a second`);
    if (i) row(`dial-${known}`, `${known} known hosts, against 100`, spentOn[i] ?? [], spentOn[0] ?? [], { bar: 1.5 });
  }
}
if (wanted('flight')) rows.push(...(await firstFlights(ROUNDS)));
if (wanted('idle')) rows.push(...(await keptIdle(ROUNDS)));
rows.push(...(await inMemory(ROUNDS, wanted)));
if (wanted('loopback')) rows.push(...(await onLoopback(ROUNDS)));
print(rows);
