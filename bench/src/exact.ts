/**
 * npm run bench -- exact: the cost of keeping commands: memory of agent and keeper when idle, with a thousand idle runs
 * attached, and with many finished runs; and the round trips before the first replayed byte. Compares with limits, not
 * peers: the ratio is cost to limit.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as rest } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { connect, resolveHome, testHosts, type Host } from 'sendall';
import type { Readable } from 'node:stream';

const RUNS = 1000;
/** Together with the quarter run before, while the keeper's heap grows to its size, fewer than a keeper remembers. */
const FINISHED = 15_000;
const cli = fileURLToPath(new URL('../../packages/sendall/bin/sendall.js', import.meta.url));

/** Proportional set size of all processes together, in KiB. */
const pss = (pids: number[]) =>
  pids.reduce(
    (sum, pid) => sum + Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1]),
    0,
  );

function report(name: string, value: number, limit: number, unit: string) {
  const ratio = value / limit;
  console.log(`${name.padEnd(52)} ${value.toFixed(1).padStart(9)} ${unit}, limit ${limit}: ${ratio.toFixed(2)}`);
  console.log(`result: ${JSON.stringify({ name, value, limit, unit, ratio })}`);
}

/** Runs this many short commands. */
async function finished(host: Host, count: number) {
  let begun = 0;
  await Promise.all(
    Array.from({ length: 20 }, async () => {
      while (begun++ < count) await host.run(['true']);
    }),
  );
  await rest(1000);
}

async function memory() {
  const folder = mkdtempSync(join(tmpdir(), 'sendall-bench-'));
  const home = resolveHome({ SENDALL_HOME: folder });
  const env = { ...process.env, SENDALL_HOME: folder };
  const agent = spawn(process.execPath, [cli, 'agent'], { env, stdio: ['ignore', 'ignore', 'pipe'] });
  await once(agent.stderr as Readable, 'data');
  const host = await connect('local', { home });
  const { pid, keeperPid }: { pid: number; keeperPid: number } = await host.ask('status');
  await rest(1000);
  const idle = pss([pid, keeperPid]);
  report('agent and keeper, idle', idle / 1024, 130, 'MB Pss');
  const runs = Array.from({ length: RUNS }, () => host.run(['sleep', '600'], { reject: false }));
  await Promise.all(runs.map(({ started }) => started));
  await rest(1000);
  report(`each of ${RUNS} idle runs attached`, (pss([pid, keeperPid]) - idle) / RUNS, 64, 'KiB Pss');
  for (const run of runs) void run.kill('SIGKILL');
  await Promise.all(runs);
  await finished(host, FINISHED / 4);
  const early = pss([keeperPid]);
  await finished(host, FINISHED);
  report(`each finished run, of ${FINISHED}, remembered`, (pss([keeperPid]) - early) / FINISHED, 4, 'KiB Pss');
  await host.ask('stop', { runs: true });
  await host.close();
  await rest(500);
  agent.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true, maxRetries: 50, retryDelay: 100 });
}

/** Time from a link's handshake to the first byte of a replay, in round trips of a link that is slow on purpose. */
async function replay() {
  const delay = 100;
  const fleet = await testHosts(1, { faults: { delay }, pingDeadline: 60_000 });
  const [host] = fleet.hosts;
  if (!host) throw new Error('no host');
  const { runId } = await host.run(['seq', '1', '100000']);
  const times = [];
  for (let i = 0; i < 5; i++) {
    const other = await fleet.connect(0);
    const began = performance.now();
    const run = other.attach(runId, { mode: 'observe', from: i % 2 ? 'start' : { tail: 5000 } });
    for await (const event of run.events())
      if (event.event === 'output') {
        times.push(performance.now() - began);
        break;
      }
    await other.close();
  }
  await fleet.close();
  times.sort((a, b) => a - b);
  // Two delays make one round trip; the rest is our own work.
  report('round trips from handshake to first replayed byte', (times[2] ?? NaN) / (2 * delay), 1.25, 'round trips');
}

await memory();
await replay();
