/**
 * npm run bench -- nats [--rounds N] [--mib N] [--calls N] [--hosts N,…]
 *
 * Links through a broker against TLS links to the same agent, in turns: one `true` after another on a warm link, 1 GiB of
 * output, and a whole `sendall run` without a warm link; and `true` on many hosts, with what each costs (nats/costs.ts).
 * Needs nats-server.
 */
import { parseArgs } from 'node:util';
import { connect, resolveHome, type Host } from 'sendall';
import { natsServer } from '../../packages/sendall/test/dist/nats-server.js';
import { median, percentile, print, type Row } from './exec/figures.js';
import { openSite, sendall } from './exec/site.js';
import { costs } from './nats/costs.js';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string' },
    mib: { type: 'string' },
    calls: { type: 'string' },
    hosts: { type: 'string' },
  },
});
const ROUNDS = Number(values.rounds ?? 5);
const MIB = Number(values.mib ?? 1024);
const CALLS = Number(values.calls ?? 200);
/** Numbers of hosts. */
const HOSTS = (values.hosts ?? '10,100,500').split(',').filter(Boolean).map(Number);
/** Whole processes in a round. */
const PROCESSES = 5;

const WAYS = ['nats', 'direct'] as const;
type Way = (typeof WAYS)[number];

const server = await natsServer();
const site = await openSite('tls://127.0.0.1:0', server.url);
const home = resolveHome({ SENDALL_HOME: site.near });
await sendall(site.near, 'engine', server.url);
const hosts = new Map<Way, Host>();
for (const via of WAYS) hosts.set(via, await connect('web1', { home, via }));

/** Median milliseconds of one `true`. */
async function warm(way: Way): Promise<number> {
  const took: number[] = [];
  for (let call = 0; call < CALLS; call++) {
    const before = performance.now();
    await hosts.get(way)!.run(['/bin/true']);
    took.push(performance.now() - before);
  }
  return percentile(took, 50);
}

/** MB a second. */
async function output(way: Way): Promise<number> {
  const before = performance.now();
  const run = hosts.get(way)!.run(['head', '-c', String(MIB * 1024 * 1024), '/dev/zero'], { maxBuffer: 0 });
  let bytes = 0;
  for await (const chunk of run.stdout) bytes += (chunk as Buffer).length;
  await run.nothrow();
  if (bytes !== MIB * 1024 * 1024) throw new Error(`${bytes} bytes arrived`);
  return bytes / 1e6 / ((performance.now() - before) / 1000);
}

/** Median milliseconds of a whole process that makes a link of its own. */
async function cold(way: Way): Promise<number> {
  const took: number[] = [];
  for (let i = 0; i < PROCESSES; i++) {
    const before = performance.now();
    await sendall(site.near, 'run', '--no-share', '--via', way, 'web1', '--', '/bin/true');
    took.push(performance.now() - before);
  }
  return median(took);
}

/** In turns, after one round that warms up. */
async function inTurns(
  measure: (way: Way) => Promise<number>,
): Promise<Pick<Row, 'ratio' | 'ratios' | 'ours' | 'peer'>> {
  const [ours, peer]: [number[], number[]] = [[], []];
  for (let round = 0; round <= ROUNDS; round++)
    for (const [way, figures] of [
      ['nats', ours],
      ['direct', peer],
    ] as const) {
      const figure = await measure(way);
      if (round) figures.push(figure);
    }
  const ratios = ours.map((each, i) => each / peer[i]!);
  return { ratio: median(ratios), ratios, ours: median(ours), peer: median(peer) };
}

try {
  print([
    { name: 'nats-true', what: 'direct TLS', want: '<=', bar: 3, unit: 'ms p50', ...(await inTurns(warm)) },
    { name: 'nats-output', what: 'direct TLS', want: '>=', bar: 0.3, unit: 'MB/s', ...(await inTurns(output)) },
    { name: 'nats-cold', what: 'direct TLS', want: '<=', bar: 2, unit: 'ms, whole process', ...(await inTurns(cold)) },
    ...(await costs(HOSTS, ROUNDS)),
  ]);
} finally {
  for (const host of hosts.values()) await host.close();
  await site.close();
  await server[Symbol.asyncDispose]();
}
