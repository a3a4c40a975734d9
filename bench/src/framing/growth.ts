/**
 * growth.js ELEMENTS: parses a Redis list of this many strings in packets of 1,460 bytes, with the framing of the
 * README. Prints the processor time for each byte, which must not depend on the length of the list.
 */
import { readFileSync } from 'node:fs';
import { custom, type Framing, type SplitFunction } from '@sendall/framing';

const elements = Number(process.argv[2]);
const readme = readFileSync(new URL('../../../packages/framing/README.md', import.meta.url), 'utf8');
const code = /```ts\n(\/\/ Redis[\s\S]*?)```/.exec(readme)?.[1];
if (code === undefined) throw new Error('the README shows no framing for Redis');
// oxlint-disable-next-line typescript/no-implied-eval -- the README's own code is measured
const resp: Framing = new Function('custom', `${code}\nreturn resp;`)((name: string, split: SplitFunction) =>
  custom(name, split, { maxFrameLength: 2 ** 26 }),
);

const wire = Buffer.from(`*${elements}\r\n${'$11\r\nhello world\r\n'.repeat(elements)}`);
const chunks: Buffer[] = [];
for (let at = 0; at < wire.length; at += 1460) chunks.push(Buffer.from(wire.subarray(at, at + 1460)));

const times: number[] = [];
let frames = 0;
let spent = 0;
for (let pass = 0; spent < 1_500_000 || times.length < 3; pass++) {
  const decoder = resp.decoder();
  frames = 0;
  const before = process.cpuUsage();
  for (const chunk of chunks) decoder.push(chunk, () => void frames++);
  const { user, system } = process.cpuUsage(before);
  if (pass > 0) times.push(user + system);
  spent += user + system;
}
times.sort((a, b) => a - b);
console.log(JSON.stringify({ frames, nanoseconds: ((times[times.length >> 1] ?? Number.NaN) * 1000) / wire.length }));
