// @ts-check
// Every way to pull a cable, during every kind of command: real agents, keepers, callers and links, through `sendall`.
import { execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as rest } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const cli = fileURLToPath(new URL('../packages/sendall/bin/sendall.js', import.meta.url));

/** A path that can be cut, and that can go silent without closing. */
async function cable(/** @type {number} */ port) {
  /** @type {Set<import('node:net').Socket>} */
  const sockets = new Set();
  let silent = false;
  const server = createServer((near) => {
    const far = connect(port, '127.0.0.1');
    for (const [from, to] of /** @type {const} */ ([
      [near, far],
      [far, near],
    ])) {
      sockets.add(from);
      from.on('data', (bytes) => {
        if (silent) return;
        if (!to.write(bytes)) from.pause();
      });
      to.on('drain', () => from.resume());
      from
        .on('error', () => undefined)
        .on('close', () => {
          sockets.delete(from);
          to.destroy();
        });
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const cut = () => {
    silent = false;
    for (const socket of sockets) socket.destroy();
  };
  return {
    port: /** @type {import('node:net').AddressInfo} */ (server.address()).port,
    cut,
    async stall() {
      silent = true;
      await rest(2000);
      cut();
    },
    close() {
      server.close();
      cut();
    },
  };
}

/** An agent, and a caller that is paired with it, each with a home of its own. */
async function machine() {
  const folders = [0, 1].map(() => mkdtempSync(join(tmpdir(), 'sendall-matrix-')));
  const [there, here] = folders.map((folder) => ({ ...process.env, SENDALL_HOME: folder }));
  let url = 'tls://127.0.0.1:0';
  /** @type {import('node:child_process').ChildProcess} */
  let agent;
  const start = async () => {
    agent = spawn(process.execPath, [cli, 'agent', '--listen', url], {
      env: there,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let said = '';
    const words = /** @type {import('node:stream').Readable} */ (agent.stderr).setEncoding('utf8');
    words.on('data', (text) => (said += text));
    while (!/tls:\S+/.test(said)) await once(words, 'data');
    url = /** @type {RegExpExecArray} */ (/tls:\S+/.exec(said))[0];
  };
  await start();
  const path = await cable(Number(url.split(':').at(-1)));
  /** @param {NodeJS.ProcessEnv | undefined} env @param {string[]} words */
  const say = async (env, words) => (await promisify(execFile)(process.execPath, [cli, ...words], { env })).stdout;
  const { code } = JSON.parse(await say(there, ['pair', '--new', '--json']));
  await say(here, ['pair', `tls://127.0.0.1:${path.port}`, '--code', code, '--name', 'web1']);
  return {
    path,
    /** @param {string[]} words */
    sendall: (...words) => spawn(process.execPath, [cli, ...words], { env: here, stdio: ['ignore', 'pipe', 'pipe'] }),
    agent: () => /** @type {number} */ (agent.pid),
    keeper: async () => JSON.parse(await say(there, ['agent', 'status', '--json'])).keeperPid,
    holder: async () => JSON.parse((await say(here, ['links', '--json'])).split('\n')[0] || '{}').pid,
    start,
    async close() {
      await say(here, ['links', 'stop']).catch(() => undefined);
      await say(there, ['agent', 'stop', '--runs']);
      path.close();
      for (const folder of folders) rmSync(folder, { recursive: true, force: true, maxRetries: 50, retryDelay: 100 });
    },
  };
}
/** @typedef {Awaited<ReturnType<typeof machine>>} Machine */

/** @param {number} pid @param {number} ms */
async function sleepFor(pid, ms) {
  process.kill(pid, 'SIGSTOP');
  await rest(ms);
  process.kill(pid, 'SIGCONT');
}

/** @type {Record<string, (machine: Machine, caller: import('node:child_process').ChildProcess) => Promise<void>>} */
const faults = {
  cuts: async ({ path }) => {
    for (let i = 0; i < 10; i++) {
      path.cut();
      await rest(80);
    }
  },
  stall: ({ path }) => path.stall(),
  'agent SIGKILL': async ({ agent, start }) => {
    process.kill(agent(), 'SIGKILL');
    await rest(50);
    await start();
  },
  'agent SIGSTOP': ({ agent }) => sleepFor(agent(), 1000),
  'keeper SIGSTOP': async ({ keeper }) => sleepFor(await keeper(), 1000),
  'caller SIGSTOP': (_, caller) => sleepFor(/** @type {number} */ (caller.pid), 1000),
  'holder SIGSTOP': async ({ holder }) => sleepFor(await holder(), 1000),
  'holder SIGKILL': async ({ holder }) => void process.kill(await holder(), 'SIGKILL'),
  'caller SIGKILL': async (_, caller) => void caller.kill('SIGKILL'),
  'keeper SIGKILL': async ({ keeper }) => void process.kill(await keeper(), 'SIGKILL'),
};

/**
 * What a process writes, at most its first `most` bytes.
 * @param {import('node:child_process').ChildProcess} child @param {boolean} slow
 */
async function take(child, slow, most = Infinity) {
  const sum = createHash('sha256');
  let [length, said] = [0, ''];
  child.stderr?.setEncoding('utf8').on('data', (text) => (said += text));
  const stdout = /** @type {import('node:stream').Readable} */ (child.stdout);
  const ended = once(child, 'close');
  for await (const chunk of stdout) {
    const bytes = chunk.subarray(0, most - length);
    sum.update(bytes);
    length += bytes.length;
    if (slow) await rest(20);
  }
  const [code] = await ended;
  return { code, said, length, sum: sum.digest('hex') };
}

/** @param {number} lines */
export async function matrix(lines) {
  const seq = ['seq', String(lines)];
  const tar = ['tar', '-c', '--sort=name', '-C', fileURLToPath(new URL('..', import.meta.url)), 'node_modules'];
  const few = ['seq', String(Math.ceil(lines / 20))];
  /** @type {Record<string, { words: string[], slow?: boolean, detached?: boolean }>} */
  const jobs = {
    seq: { words: seq },
    tar: { words: tar },
    'slow reader': { words: few, slow: true },
    detached: { words: seq, detached: true },
  };
  let cells = 0;
  for (const [job, { words, slow = false, detached = false }] of Object.entries(jobs)) {
    const local = () => spawn(/** @type {string} */ (words[0]), words.slice(1), { stdio: ['ignore', 'pipe', 'pipe'] });
    const want = await take(local(), false);
    for (const [fault, strike] of Object.entries(faults)) {
      const place = await machine();
      // The link that is held for the next command: the one that the fault is about.
      await take(place.sendall('run', 'web1', '-n', '--', 'true'), false);
      for (let tries = 0; tries < 100 && (await place.holder()) === undefined; tries++) await rest(50);
      let id = '';
      if (detached) id = await text(place.sendall('run', '-d', '--json', 'web1', '-n', '--', ...words));
      const caller = detached
        ? place.sendall('attach', id)
        : place.sendall('run', 'web1', '-n', '--id', (id = newId()), '--', ...words);
      const ended = take(caller, slow);
      await once(/** @type {import('node:stream').Readable} */ (caller.stdout), 'readable');
      let over = false;
      void ended.then(() => (over = true));
      await rest(100);
      const early = over;
      await strike(place, caller);
      let got = await ended;
      // Another caller reads it from the first byte.
      if (fault === 'caller SIGKILL') got = await take(place.sendall('attach', id), slow);
      const lost = fault === 'keeper SIGKILL' && got.code === 205;
      // What a run that was lost has written came as it was written.
      const due = lost ? await take(local(), false, got.length) : want;
      const right = (got.code === 0 || lost) && got.sum === due.sum;
      console.log(
        `${right ? 'ok   ' : 'WRONG'} ${job}, ${fault}: code ${got.code}, ${got.length} of ${want.length} bytes${early ? ', over before' : ''}`,
      );
      await place.close();
      if (!right) {
        console.error(got.said);
        process.exit(1);
      }
      if (!early) cells++;
    }
  }
  console.log(`result: ${JSON.stringify({ name: 'matrix', cells, lines, wrong: 0 })}`);
}

/** A run id of the caller's own. */
function newId() {
  const hex = createHash('sha256').update(String(Math.random())).digest('hex');
  const time = Date.now().toString(16).padStart(12, '0');
  return `${time.slice(0, 8)}-${time.slice(8)}-7${hex.slice(0, 3)}-9${hex.slice(3, 6)}-${hex.slice(6, 18)}`;
}

/** @param {import('node:child_process').ChildProcess} child */
async function text(child) {
  let said = '';
  for await (const piece of /** @type {import('node:stream').Readable} */ (child.stdout)) said += piece;
  return /[0-9a-f]{8}-[0-9a-f-]{27}/.exec(said)?.[0] ?? said.trim();
}
