/**
 * npm run bench -- keeper [--rounds N] [--mib N]
 *
 * The cost of the keeper alone, without an agent: `true` through it, with a synced journal, against
 * child_process.spawn('true'); a gigabyte of output through its spool against a spawn's pipe; and the memory of an idle
 * run. Contestants take turns in one process; the result is the median of the rounds' ratios.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { crc32 } from 'node:zlib';
import { SpoolReader, spoolFolder } from '../../packages/sendall/dist/keeper/door/door.js';
import { Client } from './keeper/client.js';

const { values } = parseArgs({
  options: { rounds: { type: 'string', default: '5' }, mib: { type: 'string', default: '1024' } },
});
const ROUNDS = Number(values.rounds);
const MIB = Number(values.mib);
const ONES = 200;
const AT_ONCE = 20;
const MANY = 600;
const IDLE = 1000;

const folder = mkdtempSync(join(tmpdir(), 'bench-keeper-'));
const client = await Client.open(folder, { limits: { spoolTotal: 8 * 1024 ** 3 } });
const now = () => performance.now();
const median = (list: number[]) => list.toSorted((a, b) => a - b)[list.length >> 1] ?? NaN;
const words = (text: string) => text.split(' ').map((word) => Buffer.from(word));

const ways: Record<string, () => Promise<void>> = {
  keeper: () =>
    new Promise((resolve) => {
      const { alias } = client.run({ argv: words('true') }, (message) => {
        if (message.type !== 'EXIT') return;
        client.link.send({ type: 'EXIT_ACK', alias, received: [] });
        client.detach(alias);
        resolve();
      });
    }),
  spawn: () => new Promise((resolve) => void spawn('true').on('close', () => resolve())),
};

const rows: { name: string; what: string; unit: string; ours: number[]; peer: number[]; ratios: number[] }[] = [];
function row(name: string, what: string, unit: string) {
  const made: (typeof rows)[number] = { name, what, unit, ours: [], peer: [], ratios: [] };
  rows.push(made);
  return made;
}

async function oneAtATime(way: () => Promise<void>) {
  const took = [];
  for (let i = 0; i < ONES; i++) {
    const begun = now();
    await way();
    took.push(now() - begun);
  }
  return median(took);
}

async function rate(way: () => Promise<void>) {
  let begun = 0;
  const start = now();
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      while (begun++ < MANY) await way();
    }),
  );
  return MANY / ((now() - start) / 1000);
}

for (const way of Object.values(ways)) for (let i = 0; i < 300; i++) await way();

const single = row('true', "child_process.spawn('true')", 'ms p50');
const many = row('rate', "child_process.spawn('true')", '/s, 20 at a time');
for (let round = 0; round < ROUNDS; round++) {
  const [a, b] = [await oneAtATime(ways.keeper), await oneAtATime(ways.spawn)];
  single.ours.push(a);
  single.peer.push(b);
  single.ratios.push(a / b);
  const [c, d] = [await rate(ways.keeper), await rate(ways.spawn)];
  many.ours.push(c);
  many.peer.push(d);
  many.ratios.push(c / d);
}

const nothing = () => {};

/** Megabytes a second from the command to this process, read back from the spool and summed. */
async function throughKeeper() {
  const begun = now();
  let told = 0;
  let wake = nothing;
  let end: (value?: unknown) => void = nothing;
  const ended = new Promise((resolve) => (end = resolve));
  const size = MIB * 1024 * 1024;
  const { alias, runId } = client.run(
    { argv: words(`head -c ${size} /dev/zero`), spoolMax: 4 * 1024 ** 3 },
    (message) => {
      if (message.type === 'SPOOLED' && message.stream === 1) told = message.next;
      else if (message.type === 'DATA' && message.stream === 1) told = message.offset + message.bytes.length;
      else if (message.type === 'TREE_END') end();
      wake();
    },
  );
  const reader = new SpoolReader(spoolFolder(client.home, 'bench', runId), 1);
  const into = Buffer.allocUnsafeSlow(256 * 1024);
  let at = 0;
  let sum = 0;
  while (at < size) {
    if (at >= told) await new Promise((resolve) => (wake = () => resolve(undefined)));
    while (at < told) {
      const n = reader.readNow(at, into);
      sum = crc32(into.subarray(0, n), sum);
      at += n;
      if (n === 0) break;
      // Lets messages from the keeper arrive in between.
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
  const took = now() - begun;
  await ended;
  await reader.close();
  client.detach(alias);
  client.link.send({ type: 'FORGET', alias: 0, opId: 1, runId, principal: 'bench' });
  return size / 1e6 / (took / 1000);
}

async function throughPipe() {
  const begun = now();
  const child = spawn('head', ['-c', String(MIB * 1024 * 1024), '/dev/zero'], { stdio: ['ignore', 'pipe', 'ignore'] });
  let sum = 0;
  for await (const chunk of child.stdout) sum = crc32(chunk, sum);
  return (MIB * 1024 * 1024) / 1e6 / ((now() - begun) / 1000);
}

const output = row('output', "a spawn's pipe", 'MB/s');
for (let round = 0; round < ROUNDS; round++) {
  const [a, b] = [await throughKeeper(), await throughPipe()];
  output.ours.push(a);
  output.peer.push(b);
  output.ratios.push(a / b);
}

/** Proportional memory of the keeper, in KiB. */
const pss = () => Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${client.link.pid}/smaps_rollup`, 'utf8'))?.[1]);
const before = pss();
const idle = [];
await Promise.all(
  Array.from(
    { length: IDLE },
    () =>
      new Promise((resolve) => {
        const { alias } = client.run({ argv: words('sleep 1000'), stdin: true }, (message) => {
          if (message.type === 'STARTED') resolve(undefined);
        });
        idle.push(alias);
      }),
  ),
);
const perRun = (pss() - before) / IDLE;

await client.end();
rmSync(folder, { recursive: true, force: true });

const show = (value: number) => value.toPrecision(3).padStart(9);
console.log(`${'row'.padEnd(8)}${'keeper'.padStart(9)}${'peer'.padStart(9)}${'ratio'.padStart(9)}  unit, peer`);
for (const { name, what, unit, ours, peer, ratios } of rows) {
  console.log(`${name.padEnd(8)}${show(median(ours))}${show(median(peer))}${show(median(ratios))}  ${unit}, ${what}`);
}
console.log(
  `memory: ${Math.round(before / 1024)} MiB (Pss) after all this, ${perRun.toFixed(1)} KiB more for an idle run`,
);
for (const { name, what, ratios } of rows)
  console.log(
    `result: ${JSON.stringify({ name: `keeper-${name}`, peer: what, ratio: Number(median(ratios).toFixed(3)) })}`,
  );
console.log(
  `result: ${JSON.stringify({ name: 'keeper-idle-run-kib', ratio: Number((perRun / 64).toFixed(3)), kib: perRun })}`,
);
