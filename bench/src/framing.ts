/**
 * npm run bench -- framing [ROUNDS] [CASE,CASE]: our decoders against npm's and hand-written ones, each in a process of
 * its own, taking turns in every round. Ratios are taken within a round; the table shows their medians. Times are
 * processor time of the measured process unless marked as wall time.
 */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const rounds = Number(process.argv[2] ?? 5);
const only = process.argv[3]?.split(',');

function run(script: string, ...args: string[]): Record<string, number> {
  const file = fileURLToPath(new URL(`framing/${script}.js`, import.meta.url));
  return JSON.parse(execFileSync(process.execPath, [file, ...args], { encoding: 'utf8', timeout: 120_000 }));
}

const median = (values: number[]) => values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;

interface Case {
  name: string;
  title: string;
  unit: string;
  contestants: string[];
  /** higher is better */
  measure: (who: string) => { rate: number; check?: string };
  bars: [ours: string, peer: string, bar: number][];
}

const npmPeers = ['it-length-prefixed', 'length-prefixed-stream', 'frame-stream'];
const decode =
  (what: string): Case['measure'] =>
  (who) => {
    const { frames, sum, nanoseconds } = run('decode', who, what);
    return { rate: 1000 / (nanoseconds ?? Number.NaN), check: `${frames} frames, sum ${sum}` };
  };

const cases: Case[] = [
  ...['16', '64', '1024'].map((size) => ({
    name: `decode ${size} B`,
    title: `frames of ${size} bytes in 64 KiB chunks`,
    unit: 'M frames/s',
    contestants: [
      'hand-written offsets',
      'ours scan',
      'hand-written views',
      'ours push',
      'ours decode',
      'ours varint push',
      ...npmPeers,
    ],
    measure: decode(size),
    bars: [
      ['ours scan', 'hand-written offsets', 0.8],
      ['ours push', 'hand-written views', 0.8],
      ['ours decode', 'hand-written views', 0.65],
      ...npmPeers.flatMap((peer) => [
        ['ours push', peer, 2],
        ['ours decode', peer, 2],
      ]),
      ['ours varint push', 'length-prefixed-stream', 2],
    ] as Case['bars'],
  })),
  {
    name: 'decode 64 KiB',
    title: 'frames of 64 KiB in 64 KiB chunks',
    unit: 'M frames/s',
    contestants: ['hand-written offsets', 'ours scan', 'hand-written views', 'ours push'],
    measure: decode('65536'),
    bars: [
      ['ours scan', 'hand-written offsets', 1],
      ['ours push', 'hand-written views', 1],
    ],
  },
  {
    name: 'decode 1 MiB',
    title: 'frames of 1 MiB in packets of 1,460 bytes',
    unit: 'M frames/s',
    contestants: ['one exact copy', 'ours push', 'it-length-prefixed', 'length-prefixed-stream', 'frame-stream'],
    measure: decode('big'),
    bars: [['ours push', 'one exact copy', 1 / 1.4]],
  },
  {
    name: 'lines',
    title: 'lines of 64 bytes in 64 KiB chunks',
    unit: 'M lines/s',
    contestants: ['hand-written offsets', 'ours scan', 'ours push', 'ours decodeText', 'split2'],
    measure: decode('lines'),
    bars: [
      ['ours scan', 'hand-written offsets', 0.7],
      ['ours decodeText', 'split2', 1.5],
    ],
  },
  ...['1024', '65536'].flatMap((size) =>
    ['wall', 'processor'].map((time) => ({
      name: `receive ${size} B ${time} time`,
      title: `messages of ${size} bytes over loopback, by ${time} time`,
      unit: 'GB/s',
      contestants: ['net', 'hand-written views', 'onFrame', 'batches'],
      measure: (who: string) => ({ rate: run('stream', who, size)[time] ?? Number.NaN }),
      bars: (time === 'wall' ? [['onFrame', 'net', 0.9]] : []) as Case['bars'],
    })),
  ),
  {
    name: 'send 64 B',
    title: 'sending messages of 64 bytes over loopback, 100 a tick',
    unit: 'M messages/s',
    contestants: ['framed', 'two writes'],
    measure: (who) => ({ rate: 1000 / (run('send', who).nanoseconds ?? Number.NaN) }),
    bars: [['framed', 'two writes', 15]],
  },
  {
    name: 'custom',
    title: 'one Redis list in packets of 1,460 bytes: the speed must not depend on its length',
    unit: 'MB/s',
    contestants: ['720 KB', '5.76 MB'],
    measure: (who) => {
      const { frames, nanoseconds } = run('growth', who === '720 KB' ? '40000' : '320000');
      return { rate: 1000 / (nanoseconds ?? Number.NaN), check: `${frames} frames` };
    },
    bars: [['5.76 MB', '720 KB', 0.67]],
  },
];

for (const each of cases) {
  if (only !== undefined && !only.includes(each.name)) continue;
  const rates: Map<string, number[]> = new Map(each.contestants.map((who) => [who, []]));
  let check: string | undefined;
  for (let round = 0; round < rounds; round++) {
    for (const who of each.contestants) {
      const measured = each.measure(who);
      check ??= measured.check;
      if (measured.check !== check) throw new Error(`${each.name}: ${who} counted ${measured.check}, others ${check}`);
      rates.get(who)?.push(measured.rate);
    }
  }
  const [first = ''] = each.contestants;
  const base = rates.get(first) ?? [];
  console.log(`\n${each.title}\n`);
  console.log(`| ${'contestant'.padEnd(24)} | ${each.unit.padStart(12)} | of ${first} |`);
  console.log(`| ${'-'.repeat(24)} | ${'-'.repeat(11)}: | ${'-'.repeat(first.length + 2)}: |`);
  for (const [who, all] of rates) {
    const ratio = median(all.map((rate, i) => rate / (base[i] ?? Number.NaN)));
    const rate = median(all).toPrecision(3);
    console.log(`| ${who.padEnd(24)} | ${rate.padStart(12)} | ${ratio.toFixed(2).padStart(first.length + 3)} |`);
  }
  console.log('');
  for (const [ours, peer, bar] of each.bars) {
    const theirs = rates.get(peer) ?? [];
    const ratio = median((rates.get(ours) ?? []).map((rate, i) => rate / (theirs[i] ?? Number.NaN)));
    const row = {
      name: `${each.name}: ${ours} / ${peer}`,
      ratio: Number(ratio.toFixed(3)),
      bar: Number(bar.toFixed(3)),
      ok: ratio >= bar,
    };
    console.log(`result: ${JSON.stringify(row)}`);
  }
}
