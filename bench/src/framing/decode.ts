/**
 * One contestant in a process of its own, because the engine optimises a loop for the types it has seen: decode.js WHO
 * CASE prints its counts and the processor time for each frame.
 */
import { lengthPrefixed, lines, varint, type Decoder } from '@sendall/framing';
import { lineOffsets, Offsets, Views } from './hand-written.js';
import type { Duplex } from 'node:stream';

const [who = '', what = ''] = process.argv.slice(2);
const total = 16 << 20;
const isLines = what === 'lines';
const big = what === 'big';
const payload = isLines ? 63 : big ? 1 << 20 : Number(what);
const chunkSize = big ? 1460 : 65_536;
const usesVarint = who === 'length-prefixed-stream' || who === 'ours varint push';

function prefix() {
  if (!usesVarint) return [payload >>> 24, (payload >>> 16) & 255, (payload >>> 8) & 255, payload & 255];
  const bytes = [];
  let left = payload;
  for (; left > 127; left >>>= 7) bytes.push((left & 127) | 128);
  return [...bytes, left];
}

const head = Buffer.from(isLines ? [] : prefix());
const frameSize = head.length + payload + (isLines ? 1 : 0);
const count = Math.floor(total / (payload + (isLines ? 1 : 4)));
const data = Buffer.allocUnsafeSlow(count * frameSize);
for (let i = 0; i < count; i++) {
  const at = i * frameSize;
  head.copy(data, at);
  data.fill(97 + (i % 26), at + head.length, at + frameSize);
  if (isLines) data[at + frameSize - 1] = 10;
}
const chunks: Buffer[] = [];
for (let at = 0; at < data.length; at += chunkSize) {
  // Separate memory for each chunk, as from a socket.
  const chunk = Buffer.allocUnsafeSlow(Math.min(chunkSize, data.length - at));
  data.copy(chunk, 0, at);
  chunks.push(chunk);
}

let frames = 0;
let sum = 0;
const each = (frame: Uint8Array) => {
  frames++;
  sum += frame[0] ?? 0;
};
const span = (buf: Buffer, from: number, _to: number) => {
  frames++;
  sum += buf[from] ?? 0;
};
const text = (line: string) => {
  frames++;
  sum += line.charCodeAt(0);
};

/** Writes as a source would, respecting back-pressure. */
function feed(stream: Duplex) {
  return new Promise<void>((resolve, reject) => {
    stream.on('error', reject).on('end', () => resolve());
    let next = 0;
    const go = () => {
      while (next < chunks.length) {
        if (!stream.write(chunks[next++])) {
          stream.once('drain', go);
          return;
        }
      }
      stream.end();
    };
    go();
  });
}

const u32 = lengthPrefixed({ maxFrameLength: 1 << 24 });
const varints = varint({ maxFrameLength: 1 << 24 });

function ours(decoder: Decoder, way: 'push' | 'scan' | 'decode') {
  if (way === 'scan') for (const chunk of chunks) decoder.scan(chunk, span);
  else if (way === 'push') for (const chunk of chunks) decoder.push(chunk, each);
  else for (const chunk of chunks) for (const frame of decoder.decode(chunk)) each(frame);
}

function lengthDecoder(bytes: { get(i: number): number } | Uint8Array) {
  const at = (i: number) => ('get' in bytes ? bytes.get(i) : (bytes[i] ?? 0));
  return ((at(0) << 24) | (at(1) << 16) | (at(2) << 8) | at(3)) >>> 0;
}
lengthDecoder.bytes = 4;

async function* source() {
  yield* chunks;
}

async function itLengthPrefixed() {
  const { decode } = await import('it-length-prefixed');
  const options = { lengthDecoder, maxDataLength: 1 << 24, maxLengthLength: 4 };
  for await (const frame of decode(source(), options)) {
    frames++;
    sum += frame.get(0);
  }
}

const contestants: Record<string, () => unknown> = {
  'hand-written offsets': () => {
    if (isLines) return lineOffsets(chunks, span);
    const decoder = new Offsets(span);
    for (const chunk of chunks) decoder.push(chunk);
  },
  'hand-written views': () => {
    const decoder = new Views(each);
    for (const chunk of chunks) decoder.push(chunk);
  },
  'one exact copy': () => {
    // The least work of any decoder that delivers whole frames: allocate each, copy each byte once.
    const wire = 4 + payload;
    let at = 0;
    let frame = Buffer.allocUnsafe(wire);
    for (const chunk of chunks) {
      for (let from = 0; from < chunk.length;) {
        const copied = chunk.copy(frame, at, from);
        at += copied;
        from += copied;
        if (at < wire) continue;
        each(frame.subarray(4));
        at = 0;
        frame = Buffer.allocUnsafe(wire);
      }
    }
  },
  'ours scan': () => ours((isLines ? lines() : u32).decoder(), 'scan'),
  'ours push': () => ours((isLines ? lines() : u32).decoder(), 'push'),
  'ours decode': () => ours((isLines ? lines() : u32).decoder(), 'decode'),
  'ours varint push': () => ours(varints.decoder(), 'push'),
  'ours decodeText': () => {
    const decoder = lines().decoder();
    for (const chunk of chunks) for (const line of decoder.decodeText(chunk)) text(line);
  },
  'it-length-prefixed': itLengthPrefixed,
  'length-prefixed-stream': async () => {
    const { decode } = (await import('length-prefixed-stream')).default;
    await feed(decode({ limit: 1 << 24 }).on('data', each));
  },
  'frame-stream': async () => {
    const { decode } = (await import('frame-stream')).default;
    await feed(decode({ maxSize: 1 << 24 }).on('data', each));
  },
  split2: async () => {
    const { default: split } = await import('split2');
    await feed(split().on('data', text));
  },
};
const contestant = contestants[who];
if (contestant === undefined) throw new Error(`no contestant "${who}"`);

const times: number[] = [];
let spent = 0;
for (let pass = 0; spent < 700_000 || times.length < 3; pass++) {
  frames = sum = 0;
  const before = process.cpuUsage();
  await contestant();
  const { user, system } = process.cpuUsage(before);
  // The first passes warm up the compiler.
  if (pass >= 3 || (pass > 0 && user > 500_000)) times.push(user + system);
  spent += user + system;
}
times.sort((a, b) => a - b);
const median = times[times.length >> 1] ?? Number.NaN;
console.log(JSON.stringify({ frames, sum, nanoseconds: (median * 1000) / count }));
