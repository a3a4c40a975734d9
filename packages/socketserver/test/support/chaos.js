// @ts-check
// Random trouble for a server, for a bounded time; then what must be true afterwards. Every actor uses real sockets.
import { readdirSync } from 'node:fs';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { ForkingTCPServer, MessageRequestHandler, TCPServer, ThreadingTCPServer } from '@sendall/socketserver';

/** Echoes messages; one that says "exit" ends whatever serves it, unless that is the main process. */
export class Victim extends MessageRequestHandler {
  static module = import.meta.url;
  /** @override */
  static framing = 'u32be';
  /**
   * @override
   * @param {Buffer} message
   */
  onMessage(message) {
    if (String(message) === 'exit' && this.server.options.handlerOptions === 'mortal') process.exit(1);
    if (String(message) === 'throw') throw new Error('as asked');
    this.send(message);
  }
}

/** @param {Buffer} payload */
function frame(payload) {
  const header = Buffer.alloc(4);
  header.writeUInt32BE(payload.length);
  return Buffer.concat([header, payload]);
}

/**
 * A generator of numbers that a seed repeats (mulberry32).
 * @param {number} seed
 */
function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t ^= t + Math.imul(t ^ (t >>> 7), 61 | t);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const descriptors = () => readdirSync('/proc/self/fd').length;

/** @param {import('node:net').Socket} socket */
const ended = (socket) => new Promise((resolve) => socket.once('close', resolve));

/**
 * @param {{ mode: 'inline' | 'threads' | 'threads on one socket' | 'processes', ms: number, seed: number,
 *   actors?: number }} options
 * @returns {Promise<{ echoed: number, wrong: string[], opened: number, closed: number, accepted: number,
 *   dropped: number, descriptorsBefore: number, descriptorsAfter: number, connections: number, deaths: number,
 *   answers: boolean }>}
 */
export async function chaos({ mode, ms, seed, actors = 24 }) {
  const Server = mode === 'inline' ? TCPServer : mode === 'processes' ? ForkingTCPServer : ThreadingTCPServer;
  const server = new Server({ host: '127.0.0.1', port: 0 }, Victim, {
    handlerOptions: mode === 'inline' ? 'immortal' : 'mortal',
    maxConnections: 64,
    pendingConnections: 32,
    pendingTimeout: 1_000,
    readTimeout: 2_000,
    lingerTimeout: 200,
    ...(mode === 'threads on one socket' && { concurrency: { mode: 'threads', balance: 'kernel' } }),
  });
  let [opened, closed, deaths, echoed] = [0, 0, 0, 0];
  /** @type {string[]} */
  const wrong = [];
  server.on('connection', () => opened++);
  server.on('close', () => closed++);
  server.on('error', () => {});
  server.on('worker', ({ state }) => state === 'exit' && deaths++);
  await server.listen();
  void server.serveForever();
  const { port } = /** @type {{ port: number }} */ (server.serverAddress);
  const dial = () => connect(port, '127.0.0.1').on('error', () => {});
  await exchange(dial(), [Buffer.from('warm')]);
  const descriptorsBefore = descriptors();
  const end = performance.now() + ms;
  /**
   * Sends messages, reads them back and compares; a connection that breaks is no fault, a wrong byte is.
   * @param {import('node:net').Socket} socket
   * @param {Buffer[]} payloads
   */
  async function exchange(socket, payloads) {
    const expected = Buffer.concat(payloads.map(frame));
    let at = 0;
    socket.on('data', (chunk) => {
      if (!chunk.equals(expected.subarray(at, at + chunk.length))) wrong.push(`other bytes at ${at}`);
      at += chunk.length;
      if (at >= expected.length) socket.end();
    });
    socket.setTimeout(5_000, () => socket.destroy());
    socket.write(expected);
    await ended(socket);
    const whole = at === expected.length;
    if (whole) echoed += payloads.length;
    return whole;
  }

  /** @type {((roll: () => number) => Promise<unknown>)[]} */
  const deeds = [
    (roll) =>
      exchange(
        dial(),
        Array.from({ length: 1 + roll() * 20 }, () => Buffer.alloc(roll() * 3000, roll() * 256)),
      ),
    async (roll) => {
      const socket = dial();
      socket.write(frame(Buffer.alloc(100)).subarray(0, roll() * 104));
      await sleep(roll() * 20);
      if (socket.connecting) socket.destroy();
      else socket.resetAndDestroy();
    },
    async (roll) => {
      const socket = dial();
      socket.write(Buffer.from(Array.from({ length: 200 }, () => roll() * 256)));
      socket.setTimeout(1_000, () => socket.destroy()).resume();
      await ended(socket);
    },
    async (roll) => {
      const socket = dial();
      await sleep(roll() * 100);
      socket.destroy();
    },
    async () => {
      const socket = dial();
      socket.end(frame(Buffer.from('half')));
      socket.setTimeout(3_000, () => socket.destroy()).resume();
      await ended(socket);
    },
    async (roll) => {
      const socket = dial();
      socket.write(frame(Buffer.from(roll() < 0.2 ? 'exit' : 'throw')));
      socket.setTimeout(1_000, () => socket.destroy()).resume();
      await ended(socket);
      await sleep(300);
    },
    async (roll) => {
      const [pid] = server.activeChildren;
      if (pid !== undefined && roll() < 0.1) process.kill(pid, 'SIGKILL');
      await sleep(300);
    },
    async (roll) => {
      if (roll() < 0.5) server.setOptions({ maxConnections: Math.ceil(8 + roll() * 100) });
      await sleep(50);
    },
  ];

  /** @param {number} number */
  async function actor(number) {
    const roll = random(seed * 1000 + number);
    while (performance.now() < end) {
      const deed = roll() < 0.5 ? deeds[0] : deeds[Math.floor(roll() * deeds.length)];
      await deed?.(roll);
    }
  }
  await Promise.all(Array.from({ length: actors }, (_, number) => actor(number)));

  server.setOptions({ maxConnections: 1_000 });
  await server.waitForConnections('==', 0);
  let answers = false;
  for (let i = 0; i < 100 && !answers; i++) {
    answers = await exchange(dial(), [Buffer.from('still there?')]);
    // After many deaths workers are replaced slowly.
    if (!answers) await sleep(200);
  }
  await server.waitForConnections('==', 0);
  await sleep(300);
  const { accepted, dropped, connections } = server.info();
  const result = { echoed, wrong, opened, closed, accepted, dropped, connections, deaths, answers };
  // A worker that was replaced last may still be on its way up or down.
  for (let i = 0; i < 100 && descriptors() > descriptorsBefore + 8; i++) await sleep(50);
  const descriptorsAfter = descriptors();
  await server.shutdown({ timeout: 1_000 });
  return { ...result, descriptorsBefore, descriptorsAfter };
}
