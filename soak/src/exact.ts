/**
 * npm run soak -- exact [cuts|kills|day|matrix] [COUNT] [SEED]: remote commands on links and agents that die, with
 * every byte and every code checked. Without a name, runs all of them in turn. Exits with 1 on the first fault.
 *   cuts   COUNT cuts (1000000) at random bytes of links in memory, over random traffic
 *   kills  COUNT kills (1000) of an agent process by SIGKILL, under load
 *   day    COUNT hours (24) on a link that drops every five seconds. Time is scaled: one real millisecond stands for
 *          one second, so pauses, drops and the command's own rhythm are a thousand times as fast as they would be.
 *   matrix faults of a cable, a machine, a disk, a clock, a process or a second caller (soak/src/matrix) during seq of
 *          COUNT lines (50000000), a tar, a slow reader and a detached run, through the command line over TLS.
 *          --only TEXT: the cells whose name contains it. --all: exits with 1 also when a fault was skipped for lack
 *          of a permission, or came after the command's end for lack of lines.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as rest } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { connect, resolveHome, testHosts } from 'sendall';
import { noise } from '../../packages/sendall/test/dist/chatter.js';
import { trafficOver } from '../../packages/sendall/test/dist/traffic.js';
import { matrix } from './matrix/matrix.js';
import type { Readable } from 'node:stream';

/** Most cuts of one fleet: a new one starts with an empty disk. */
const FLEET_CUTS = 50_000;
const HOSTS = 24;

function stopIf(wrong: string[], how: string) {
  if (!wrong.length) return;
  for (const each of wrong) console.error(`WRONG: ${each}`);
  console.error(`repeat it with: npm run soak -- exact ${how}`);
  process.exit(1);
}

async function cuts(wanted: number, seed: number) {
  const began = performance.now();
  let [done, runs, bytes] = [0, 0, 0];
  for (let part = seed; done < wanted; part++) {
    const faults = { cutEvery: 9000, seed: part };
    const fleet = await testHosts(HOSTS, { faults, firstPause: 1, giveUpAfter: 300_000 });
    const enough = Math.min(FLEET_CUTS, wanted - done);
    const made = () => fleet.links - HOSTS;
    const report = await trafficOver(fleet, { seed: part, until: () => made() >= enough });
    done += made();
    runs += report.runs;
    bytes += report.bytes;
    await fleet.close();
    stopIf(report.wrong, `cuts ${enough} ${part}`);
    console.log(`${done} cuts, ${runs} runs, ${bytes} bytes, 0 lost or doubled`);
  }
  const seconds = (performance.now() - began) / 1000;
  console.log(
    `result: ${JSON.stringify({ name: 'cuts', cuts: done, runs, bytes, wrong: 0, perSecond: done / seconds })}`,
  );
}

async function kills(wanted: number, seed: number) {
  const folder = mkdtempSync(join(tmpdir(), 'sendall-soak-'));
  const home = resolveHome({ SENDALL_HOME: folder });
  const cli = fileURLToPath(new URL('../../packages/sendall/bin/sendall.js', import.meta.url));
  const start = async () => {
    const env = { ...process.env, SENDALL_HOME: folder };
    const agent = spawn(process.execPath, [cli, 'agent'], { env, stdio: ['ignore', 'ignore', 'pipe'] });
    await once(agent.stderr as Readable, 'data');
    return agent;
  };
  let agent = await start();
  const hosts = await Promise.all(Array.from({ length: 4 }, () => connect('local', { home })));
  let killed = 0;
  const traffic = trafficOver({ hosts }, { seed, size: 400_000, until: () => killed >= wanted });
  const faulty = traffic.then(({ wrong }) => wrong.length > 0);
  while (killed < wanted) {
    // At any moment of the agent's life, including its start.
    await rest(noise(`${seed}/${killed}`, 2).readUInt16BE() % 400);
    const gone = once(agent, 'exit');
    agent.kill('SIGKILL');
    await gone;
    killed++;
    agent = await start();
    if (killed % 50 === 0) console.log(`${killed} kills`);
    if (await Promise.race([faulty, rest(0, false)])) break;
  }
  const { wrong, runs, bytes } = await traffic;
  await hosts[0]?.ask('stop', { runs: true });
  await Promise.all(hosts.map((host) => host.close()));
  agent.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true, maxRetries: 50, retryDelay: 100 });
  stopIf(wrong, `kills ${wanted} ${seed}`);
  console.log(`result: ${JSON.stringify({ name: 'kills', kills: killed, runs, bytes, wrong: 0 })}`);
}

async function day(hours: number, seed: number) {
  const fleet = await testHosts(1, { faults: { seed }, firstPause: 1, pingDeadline: 2000, giveUpAfter: 60_000 });
  const [host] = fleet.hosts;
  if (!host) throw new Error('no host');
  const sent = createHash('sha256');
  const got = createHash('sha256');
  const end = performance.now() + hours * 3600;
  let [bytes, resumed] = [0, 0];
  async function* words() {
    for (let second = 0; performance.now() < end; second++) {
      const piece = noise(`${seed}/${second}`, 1 + (second % 1500));
      sent.update(piece);
      bytes += piece.length;
      yield piece;
      await rest(1);
    }
  }
  const run = host.run(['cat'], { stdin: words(), reject: false });
  const follow = (async () => {
    for await (const event of run.events())
      if (event.event === 'output') got.update(event.bytes);
      else if (event.event === 'resumed') resumed++;
  })();
  let drops = 0;
  while (performance.now() < end) {
    await rest(1 + (noise(`${seed}/drop ${drops}`, 1).readUInt8() % 9));
    if (drops++ % 40 === 39) fleet.stall();
    else fleet.cut();
  }
  await follow;
  const result = await run;
  const same = sent.digest('hex') === got.digest('hex') && result.finals.stdout === bytes;
  await fleet.close();
  stopIf(
    same && result.ok ? [] : [`${result.outcome}: ${result.reason}, ${result.finals.stdout} of ${bytes} bytes`],
    `day ${hours} ${seed}`,
  );
  console.log(`result: ${JSON.stringify({ name: 'day', hours, drops, resumed, bytes, wrong: 0 })}`);
}

const usage = 'usage: npm run soak -- exact [cuts|kills|day|matrix] [COUNT] [SEED] [--only TEXT] [--all]';
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { only: { type: 'string', default: '' }, all: { type: 'boolean', default: false } },
});
const parts: Record<string, [(count: number, seed: number) => Promise<void>, number]> = {
  cuts: [cuts, 1_000_000],
  kills: [kills, 1000],
  day: [day, 24],
  matrix: [(lines) => matrix(lines, values), 50_000_000],
};
const [name, ...numbers] = positionals;
const [count, seed = 1] = numbers.map(Number);
if ((name !== undefined && !parts[name]) || [count ?? 1, seed].some((n) => !Number.isSafeInteger(n) || n < 1)) {
  console.error(usage);
  process.exit(2);
}
for (const [each, [soak, usual]] of Object.entries(parts))
  if (name === undefined || name === each) await soak(count ?? usual, seed);
