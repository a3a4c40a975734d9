/**
 * Fleet runs on hosts in this process: agents on links in memory, real commands under one real keeper. The CPU time is
 * that of this process, the caller and all agents; the keeper and the commands have processes of their own.
 */
import type { Group, TestFleet } from 'sendall';
import { testHosts } from 'sendall/testing';
import { median, type Row } from '../exec/figures.js';

/** CPU seconds allowed for a gathered run on so many hosts. */
const ALLOWED: [hosts: number, seconds: number][] = [
  [1000, 1],
  [10_000, 8],
];
/** Bytes a host allowed for equal answers of this size, beyond those for `true`. */
const ANSWER = 10_000;
const BYTES = 350;
const MB = 1_000_000;
/** Hosts with equal outputs of this size, which they keep on the disk. */
const MANY = 200;
const LARGE = 5 * MB;

function row(name: string, what: string, ours: number[], peer: number[], bar: number, unit: string): Row {
  const ratios = ours.map((value, i) => value / (peer[i] ?? Number.NaN));
  return { name, what, want: '<=', bar, ratio: median(ratios), ratios, ours: median(ours), peer: median(peer), unit };
}

export async function inMemory(rounds: number, wanted: (name: string) => boolean) {
  const rows: Row[] = [];
  for (const [count, seconds] of ALLOWED) {
    if (!wanted(`memory-${count}`)) continue;
    await onMemoryHosts(count, async (hosts) => {
      const took: number[] = [];
      for (let round = 0; round < rounds; round++) took.push(await gatherOn(hosts, count));
      const allowed = took.map(() => seconds);
      rows.push(row(`memory-${count}`, `hostname on ${count} hosts in memory, gathered`, took, allowed, 1, 'CPU s'));
    });
  }
  if (wanted('memory-linear')) {
    const [large, small] = [[] as number[], [] as number[]];
    await onMemoryHosts(8000, async (many) => {
      await onMemoryHosts(2000, async (few) => {
        for (let round = 0; round < rounds; round++) {
          small.push(await gatherOn(few, 2000));
          large.push(await gatherOn(many, 8000));
        }
      });
    });
    rows.push(row('memory-linear', '8,000 hosts in memory, against 2,000', large, small, 4.6, 'CPU s'));
  }
  if (wanted('gather-bytes'))
    await onMemoryHosts(1000, async (hosts) => {
      const bytes = await bytesOn(hosts, 1000, ANSWER);
      rows.push(row('gather-bytes', 'equal answers of 10 KB: a host', [bytes], [BYTES], 1.1, 'B'));
    });
  if (wanted('gather-large'))
    await onMemoryHosts(MANY, async (hosts) => {
      const { sent, grown } = await largeOn(hosts, MANY, LARGE);
      console.log(
        `${MANY} equal outputs of ${LARGE / MB} MB: this process grew by at most ${Math.round(grown / MB)} MB`,
      );
      rows.push(row('gather-large', `${MANY} equal outputs of ${LARGE / MB} MB`, [sent / MB], [LARGE / MB], 1.1, 'MB'));
    });
  return rows;
}

/** Makes hosts whose links carry no pings, for the length of `act`. */
async function onMemoryHosts<T>(count: number, act: (hosts: TestFleet) => Promise<T>) {
  const hosts = await testHosts(count, { pingDeadline: '1h' });
  try {
    return await act(hosts);
  } finally {
    await hosts.close();
  }
}

/** CPU seconds of one gathered `hostname` on these hosts, links and handshakes included. */
async function gatherOn(hosts: TestFleet, count: number) {
  const before = process.cpuUsage();
  mustBeOne(await hosts.fleet.run(['hostname']).gather(), count);
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1e6;
}

/** Bytes that hosts send for equal answers of this size, beyond those for `true` and one answer: for each host. */
async function bytesOn(hosts: TestFleet, count: number, size: number) {
  const sent = async (script: string) => {
    const before = hosts.traffic.toCallers;
    mustBeOne(await hosts.fleet.sh(script).gather(), count);
    return hosts.traffic.toCallers - before;
  };
  const silent = await sent('true');
  return ((await sent(`head -c ${size} /dev/zero`)) - silent - size) / count;
}

/** Bytes that hosts send for equal outputs of this size, and by how much memory this process grew meanwhile. */
async function largeOn(hosts: TestFleet, count: number, size: number) {
  const before = hosts.traffic.toCallers;
  const rss = process.memoryUsage.rss();
  let most = rss;
  const timer = setInterval(() => (most = Math.max(most, process.memoryUsage.rss())), 10);
  mustBeOne(await hosts.fleet.sh(`head -c ${size} /dev/zero`).gather(), count);
  clearInterval(timer);
  return { sent: hosts.traffic.toCallers - before, grown: most - rss };
}

function mustBeOne(groups: readonly Group[], count: number) {
  const [group] = groups;
  if (groups.length !== 1 || group?.outcome !== 'ok' || group.hosts.size !== count)
    throw new Error(`${count} equal answers came as ${groups.map(({ hosts }) => String(hosts)).join(' and ')}`);
}
