/**
 * stream.js HOW SIZE: receives framed messages over loopback for a while and prints gigabytes a second. A separate
 * sender process writes the same bytes for every receiver.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { framed, lengthPrefixed } from '@sendall/framing';
import { Views } from './hand-written.js';

const [how = '', size = '64', port] = process.argv.slice(2);
const payload = Number(size);
const seconds = 0.7;

if (how === 'send') {
  const one = lengthPrefixed({ maxFrameLength: 1 << 24 })
    .encoder()
    .encode(Buffer.alloc(payload, 65));
  const many = Buffer.concat(Array.from({ length: Math.max(1, Math.floor(262_144 / one.length)) }, () => one));
  const socket = connect(Number(port), '127.0.0.1');
  socket.on('error', () => process.exit());
  const go = () => {
    while (socket.write(many));
    socket.once('drain', go);
  };
  socket.once('connect', go);
} else {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port: own } = server.address() as AddressInfo;
  const sender = fork(fileURLToPath(import.meta.url), ['send', size, String(own)]);
  const [socket] = await once(server, 'connection');
  let bytes = 0;
  let messages = 0;
  let received: () => number = () => bytes;
  if (how === 'net') {
    socket.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
    });
  } else if (how === 'hand-written views') {
    const decoder = new Views((frame) => {
      messages += frame.length === payload ? 1 : 0;
    });
    socket.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      decoder.push(chunk);
    });
  } else {
    const link = framed(socket, lengthPrefixed({ maxFrameLength: 1 << 24 }));
    received = () => link.stats.bytes;
    if (how === 'onFrame') {
      link.onFrame((frame) => {
        messages += frame.length === payload ? 1 : 0;
      });
    } else {
      void (async () => {
        for await (const batch of link.batches()) messages += batch.length;
      })().catch(() => {});
    }
  }
  // Wall time, which users see, and this process's CPU time, which other processes do not disturb.
  const measure = async () => {
    const [before, cpu, began] = [received(), process.cpuUsage(), performance.now()];
    await new Promise((resolve) => void setTimeout(resolve, seconds * 1000));
    const { user, system } = process.cpuUsage(cpu);
    const bytes = received() - before;
    return { wall: bytes / (performance.now() - began) / 1e6, processor: bytes / (user + system) / 1000 };
  };
  await measure();
  const rate = await measure();
  if (how !== 'net' && messages === 0) throw new Error('no message came');
  console.log(JSON.stringify(rate));
  sender.kill('SIGKILL');
  process.exit(0);
}
