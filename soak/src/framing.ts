/**
 * npm run soak -- framing [CUTS] [SEED]: cuts streams of every framing at random, whole, damaged and truncated, with
 * random limits and policies, and compares the results with those of the uncut bytes. Exits with 1 on the first fault
 * and prints how to repeat it.
 */
import { cutEvery, cutRandomly, outcome, random, ways } from '../../packages/framing/test/dist/cutting.js';
import { subjects, type Subject } from '../../packages/framing/test/dist/subjects.js';
import type { Limits } from '@sendall/framing';

const wanted = Number(process.argv[2] ?? 10_000_000);
const firstSeed = Number(process.argv[3] ?? 1);
if (!Number.isSafeInteger(wanted) || wanted < 1 || !Number.isSafeInteger(firstSeed) || firstSeed < 1) {
  console.error('usage: npm run soak -- framing [CUTS] [SEED]');
  process.exit(2);
}
const cutsEach = 20;
const began = Date.now();
const seen: Record<string, number> = {};
let cuts = 0;
let seed = firstSeed;

function limitsFor(subject: Subject, next: () => number) {
  const limits: Limits = {};
  if (!subject.fixedSize) limits.maxFrameLength = [0, 3, 20, 20, 300, 1 << 20, 1 << 20][Math.floor(next() * 7)] ?? 0;
  if (subject.skips && next() < 0.6) limits.onOversize = 'skip';
  if (subject.skips && next() < 0.5) limits.report = 'late';
  const end = next();
  if (end < 0.6) limits.onEnd = end < 0.3 ? 'deliver' : 'discard';
  if (next() < 0.2 && !subject.name.startsWith('slip')) limits.emptyFrames = 'drop';
  return limits;
}

function spoiled(wire: Buffer, next: () => number) {
  const how = next();
  if (how < 0.4) return wire;
  if (how < 0.55) return wire.subarray(0, Math.floor(next() * (wire.length + 1)));
  const bytes = Buffer.from(wire);
  for (let i = Math.floor(next() * 4); i >= 0 && bytes.length > 0; i--) {
    const at = Math.floor(next() * bytes.length);
    // A byte from elsewhere in the stream does more harm than a random one.
    bytes[at] = next() < 0.5 ? next() * 256 : (bytes[Math.floor(next() * bytes.length)] ?? 0);
  }
  return bytes;
}

while (cuts < wanted) {
  for (const subject of subjects) {
    const next = random(seed);
    const limits = limitsFor(subject, next);
    const encoder = subject.make().encoder();
    const most = next() < 0.02 ? 127 : (limits.maxFrameLength ?? 20) % 300;
    const payloads = Array.from({ length: 1 + Math.floor(next() * 6) }, () => {
      const above = next() < 0.1 ? 8 : 1;
      return subject.payload(Math.min(120, Math.floor(next() * next() * (most + above))), next);
    });
    const wire = spoiled(encoder.encodeAll(payloads), next);
    const framing = subject.make(limits);
    const uncut = outcome(framing, [wire]);
    for (const event of uncut) {
      const kind = event.startsWith('F') ? 'frames' : (event.slice(2).split('@')[0] ?? '');
      seen[kind] = (seen[kind] ?? 0) + 1;
    }
    const apart = outcome(framing, [wire], 'push', { errorsApart: true }).join(' ');
    const inOrder = uncut.join(' ');
    for (let i = 0; i < cutsEach; i++) {
      const way = ways[i % ways.length] ?? 'push';
      const chunks = i === 0 ? cutEvery(wire, 1) : cutRandomly(wire, next);
      const errorsApart = way === 'decode';
      const copy = next() < 0.3 ? 'always' : 'auto';
      const got = outcome(framing, chunks, way, { errorsApart, copy }).join(' ');
      cuts++;
      if (got === (errorsApart ? apart : inOrder)) continue;
      console.error(`${subject.name}, ${JSON.stringify(limits)}, with ${way}, copy ${copy}, seed ${seed}`);
      console.error(`wire   ${wire.toString('hex')}`);
      console.error(`chunks ${chunks.map((chunk) => chunk.length).join(' ')}`);
      console.error(`uncut  ${errorsApart ? apart : inOrder}\ncut    ${got}`);
      process.exit(1);
    }
  }
  seed++;
}
const seconds = (Date.now() - began) / 1000;
console.log(`${cuts} ways of cutting ${subjects.length} framings in ${seconds.toFixed(0)} s: no difference`);
console.log(`results of the uncut streams: ${JSON.stringify(seen)}`);
console.log(
  `result: ${JSON.stringify({ name: 'framing soak', cuts, subjects: subjects.length, seeds: [firstSeed, seed - 1] })}`,
);
