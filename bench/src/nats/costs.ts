/** What a host costs behind a broker: a link, a warm `true`, memory and messages, by the number of hosts. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { connect, resolveHome, type Host, type ResolvedHost } from 'sendall';
import { completeEngine, writeEngine } from '../../../packages/sendall/dist/keys/engine.js';
import { loadIdentity } from '../../../packages/sendall/dist/keys/identity.js';
import { natsHostOf } from '../../../packages/sendall/dist/text/nats-address.js';
import { natsServer, type NatsServer } from '../../../packages/sendall/test/dist/nats-server.js';
import { cpuOf, median, short, type Row } from '../exec/figures.js';

/** Commands on each host in a round. */
const CALLS = 3;
/** Commands at a time. */
const WINDOW = 64;

interface Hosts {
  readonly pins: readonly string[];
  readonly url: string;
  readonly pin: string;
}

/** Runs `act` for each item, a limited number at a time. */
async function each<T>(items: readonly T[], act: (item: T) => Promise<void>): Promise<void> {
  const left = items[Symbol.iterator]();
  const worker = async (): Promise<void> => {
    for (const item of left) await act(item);
  };
  await Promise.all(Array.from({ length: WINDOW }, worker));
}

/** Bytes of this process in memory, without garbage. */
function ownMemory(): number {
  (globalThis as { gc?: () => void }).gc?.();
  return process.memoryUsage().rss;
}

/** Kibibytes of a process in memory. */
const memoryOf = (pid: number): number =>
  Number(/^Rss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1'))?.[1]);

async function traffic({ monitor }: NatsServer): Promise<{ messages: number; bytes: number }> {
  const { in_msgs: messages, in_bytes: bytes } = (await (await fetch(`${monitor}/varz`)).json()) as Record<
    string,
    number
  >;
  return { messages: messages!, bytes: bytes! };
}

/** Seconds, and CPU milliseconds of this process. */
async function spent(act: () => Promise<void>): Promise<{ seconds: number; cpu: number }> {
  const [start, before] = [performance.now(), process.cpuUsage()];
  await act();
  const { user, system } = process.cpuUsage(before);
  return { seconds: (performance.now() - start) / 1000, cpu: (user + system) / 1000 };
}

async function measure(count: number, rounds: number): Promise<{ ratios: number[]; ours: number[]; peer: number[] }> {
  const folder = mkdtempSync(join(tmpdir(), 'sendall-costs-'));
  const home = resolveHome({ SENDALL_HOME: folder });
  const { fingerprint } = await loadIdentity(home, { create: true });
  const server = await natsServer();
  await writeEngine(home, completeEngine({ url: server.url }));
  const empty = memoryOf(server.pid);
  const program = fileURLToPath(new URL('./hosts.js', import.meta.url));
  const child = fork(program, [server.url, `${count}`, fingerprint], { execArgv: [] });
  const [{ pins, url, pin }] = (await once(child, 'message')) as [Hosts];
  const idle = memoryOf(server.pid);
  const open = async (targets: readonly ResolvedHost[]): Promise<Host[]> => {
    const hosts: Host[] = [];
    await each(targets, async (target) => void hosts.push(await connect(target, { home, timeout: 60_000 })));
    return hosts;
  };
  const trues = (hosts: readonly Host[]) => async () => {
    for (let call = 0; call < CALLS; call++) await each(hosts, async (host) => void (await host.run(['/bin/true'])));
  };
  let through: Host[] = [];
  const [before, brokerBefore] = [ownMemory(), cpuOf([server.pid])];
  const cold = await spent(async () => {
    through = await open(pins.map((each, i) => ({ name: `host-${i}`, url: natsHostOf(each), pin: each })));
  });
  const brokerCold = (cpuOf([server.pid]) - brokerBefore) * 1000;
  const grown = (ownMemory() - before) / 1024;
  const linked = memoryOf(server.pid);
  const straight = await open(pins.map((_, i) => ({ name: `host-${i}`, url, pin })));
  const [ours, peer]: [number[], number[]] = [[], []];
  let warm = { seconds: 0, cpu: 0 };
  let moved = { messages: 0, bytes: 0 };
  // The first round warms up.
  for (let round = 0; round <= rounds; round++) {
    const sent = await traffic(server);
    warm = await spent(trues(through));
    const after = await traffic(server);
    moved = { messages: after.messages - sent.messages, bytes: after.bytes - sent.bytes };
    const direct = await spent(trues(straight));
    if (round) ours.push(warm.seconds * 1000);
    if (round) peer.push(direct.seconds * 1000);
  }
  const per = (value: number, calls = 1): string => short(value / count / calls);
  console.log(
    `${count} hosts, each: a link ${per(cold.cpu)} CPU ms of the caller, ${per(brokerCold)} of the broker, ${per(grown)} KiB of the caller; ` +
      `a warm true ${per(warm.cpu, CALLS)} CPU ms of the caller, ${per(moved.messages, CALLS)} messages, ${per(moved.bytes, CALLS)} bytes; ` +
      `broker memory ${per(idle - empty)} KiB without a link, ${per(linked - empty)} KiB with one`,
  );
  await Promise.all([...through, ...straight].map((host) => host.close()));
  child.send('end');
  await once(child, 'exit');
  await server[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
  return { ours, peer, ratios: ours.map((value, i) => value / peer[i]!) };
}

/** One row for each number of hosts, against direct TLS links to one agent. */
export async function costs(counts: readonly number[], rounds: number): Promise<Row[]> {
  const rows: Row[] = [];
  for (const count of counts) {
    const { ours, peer, ratios } = await measure(count, rounds);
    const figures = { ratio: median(ratios), ratios, ours: median(ours), peer: median(peer) };
    rows.push({
      name: `nats-hosts-${count}`,
      what: 'direct TLS',
      want: '<=',
      bar: 3,
      unit: `ms, ${CALLS} each`,
      ...figures,
    });
  }
  return rows;
}
