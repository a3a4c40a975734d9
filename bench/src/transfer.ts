/**
 * npm run bench -- transfer [--only ROW,…] [--rounds N] [--mib N] [--files N] [--slow-mib N]
 *
 * push and pull against scp with its fastest cipher and rsync over ssh, on loopback, as whole processes that take turns
 * within each round. Ratios are taken within a round; the table shows the median of the rounds. Then what a resumed file
 * sends, the memory of both sides, and a link of 50 ms that loses one packet of a hundred, against one TCP stream.
 * `--only` takes beginnings of row names.
 */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { setTimeout as pause } from 'node:timers/promises';
import { median, print, type Row } from './exec/figures.js';
import { envOf, openSite, SENDALL, sendall } from './exec/site.js';
import { openSshd } from './exec/sshd.js';
import { watchPeaks } from './transfer/peak-memory.js';
import { noNetworks, openSlowNetwork } from './transfer/slow-network.js';

const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    rounds: { type: 'string' },
    mib: { type: 'string' },
    files: { type: 'string' },
    'slow-mib': { type: 'string' },
  },
});
const wanted = values.only?.split(',');
const ROUNDS = Number(values.rounds ?? 5);
const MIB = Number(values.mib ?? 1024);
const FILES = Number(values.files ?? 10_000);
const SLOW_MIB = Number(values['slow-mib'] ?? 8);
const SMALL = 4096;
const CIPHERS = ['aes128-gcm@openssh.com', 'aes256-gcm@openssh.com', 'chacha20-poly1305@openssh.com', 'aes128-ctr'];

/** The rows by name: the comparison and the required ratio. */
const table: Record<string, Omit<Row, 'name' | 'ratio' | 'ratios' | 'ours' | 'peer'>> = {
  'push-large': { what: 'scp, fastest cipher', want: '>=', bar: 0.7, unit: 'MB/s' },
  'push-large-rsync': { what: 'rsync -e ssh', want: '>=', bar: 1, unit: 'MB/s' },
  'push-large-unsynced': { what: 'scp; ours with --fsync none', want: '>=', unit: 'MB/s' },
  'pull-large': { what: 'scp, fastest cipher', want: '>=', bar: 0.7, unit: 'MB/s' },
  'pull-large-rsync': { what: 'rsync -e ssh', want: '>=', bar: 1, unit: 'MB/s' },
  'push-small': { what: 'scp -r', want: '>=', bar: 5, unit: 'files/s' },
  'push-small-rsync': { what: 'rsync -e ssh', want: '>=', unit: 'files/s' },
  'push-small-unsynced': { what: 'scp -r; ours with --fsync none', want: '>=', unit: 'files/s' },
  'pull-small': { what: 'scp -r', want: '>=', bar: 5, unit: 'files/s' },
  'resume-push': { what: 'the whole file', want: '<=', bar: 0.11, unit: 'MiB sent' },
  'resume-pull': { what: 'the whole file', want: '<=', bar: 0.11, unit: 'MiB sent' },
  'memory-push-caller': { what: '64 MiB', want: '<=', bar: 1, unit: 'MiB, peak' },
  'memory-push-host': { what: '64 MiB', want: '<=', bar: 1, unit: 'MiB, peak' },
  'memory-pull-caller': { what: '64 MiB', want: '<=', bar: 1, unit: 'MiB, peak' },
  'memory-pull-host': { what: '64 MiB', want: '<=', bar: 1, unit: 'MiB, peak' },
  'slow-push': { what: 'one TCP stream, 50 ms, 1 % loss', want: '>=', bar: 0.9, unit: 'kB/s' },
};
const names = Object.keys(table);
const isWanted = (name: string) => !wanted || wanted.some((prefix) => name.startsWith(prefix));
const stray = wanted?.find((prefix) => !names.some((name) => name.startsWith(prefix)));
if (stray !== undefined) {
  console.error(`no row begins with "${stray}": there are ${names.join(', ')}`);
  process.exit(2);
}
const group = (prefix: string) => names.some((name) => name.startsWith(prefix) && isWanted(name));

const endings: (() => unknown)[] = [];
const rows: Row[] = [];

/** One figure for each round. */
function row(name: string, ours: readonly number[], peer: readonly number[]) {
  if (!isWanted(name) || !ours.length || !peer.length) return;
  const ratios = ours.map((value, i) => value / peer[i]!);
  rows.push({ name, ...table[name]!, ratio: median(ratios), ratios, ours: median(ours), peer: median(peer) });
}

/** Seconds of a command line. */
async function seconds(words: readonly string[], env = process.env): Promise<number> {
  const [program, ...rest] = words;
  const before = performance.now();
  const child = spawn(program!, rest, { env, stdio: ['ignore', 'ignore', 'inherit'] });
  const [code] = await once(child, 'exit');
  if (code !== 0) throw new Error(`${words.slice(0, 4).join(' ')} … ended with ${code}`);
  return (performance.now() - before) / 1000;
}

function largeFile(path: string, mib: number) {
  const fd = openSync(path, 'w');
  const block = randomBytes(1024 * 1024);
  for (let i = 0; i < mib; i++) {
    block.writeUInt32LE(i);
    writeSync(fd, block);
  }
  closeSync(fd);
}

function smallFiles(folder: string) {
  for (let i = 0; i < FILES; i++) {
    const sub = join(folder, `d${i % 100}`);
    if (i < 100) mkdirSync(sub, { recursive: true });
    writeFileSync(join(sub, `f${i}`), randomBytes(SMALL));
  }
}

/** The result of a command line with --json. */
async function resultOf(home: string, ...words: readonly string[]): Promise<{ sent: number; files: number }> {
  const lines = (await sendall(home, ...words, '--json')).trim().split('\n');
  return JSON.parse(lines.at(-1)!);
}

interface Peers {
  readonly ssh: string;
  readonly config: string;
}

const site = await openSite();
endings.push(site.close);
const env = envOf(site.near);
const ours = (...words: readonly string[]) => [process.execPath, SENDALL, ...words];
const source = join(site.folder, 'source');
const target = join(site.folder, 'target');
mkdirSync(source);

/** The cipher with which scp is fastest here. */
async function fastest({ config }: Peers): Promise<string> {
  const probe = join(source, 'probe');
  largeFile(probe, 128);
  const times: [number, string][] = [];
  for (const cipher of CIPHERS) {
    const words = ['scp', '-q', '-F', config, '-c', cipher, probe, `bench:${target}-probe`];
    await seconds(words);
    times.push([await seconds(words), cipher]);
  }
  rmSync(probe);
  rmSync(`${target}-probe`);
  return times.sort(([a], [b]) => a - b)[0]![1];
}

/**
 * Each contestant in turn, in a different order each round; the target is new each time. The old ones stay until the end:
 * ext4 looks at every inode that was freed in the last minute before it gives out another one, which costs a transfer of
 * small files more than all else.
 */
async function inTurns(all: Readonly<Record<string, readonly string[]>>, amount: number) {
  const speeds: Record<string, number[]> = {};
  const list = Object.entries(all);
  const old = join(site.folder, 'old');
  mkdirSync(old, { recursive: true });
  let count = 0;
  for (let round = 0; round <= ROUNDS; round++)
    for (const [name, words] of [...list.slice(round % list.length), ...list.slice(0, round % list.length)]) {
      if (existsSync(target)) {
        if (statSync(target).isDirectory()) renameSync(target, join(old, `${count++}`));
        else rmSync(target);
      }
      const took = await seconds(words, env);
      if (!existsSync(target)) throw new Error(`${name} has left nothing`);
      // The first round warms up.
      if (round) (speeds[name] ??= []).push(amount / took);
    }
  for (const each of [target, old]) rmSync(each, { recursive: true, force: true });
  return (name: string) => speeds[name] ?? [];
}

async function large(file: string, { config, ssh }: Peers, cipher: string) {
  const scp = ['scp', '-q', '-F', config, '-c', cipher];
  const rsync = ['rsync', '-W', '-e', `${ssh} -F ${config} -c ${cipher}`];
  const amount = (MIB * 1024 * 1024) / 1e6;
  if (group('push-large')) {
    const speed = await inTurns(
      {
        ours: ours('push', file, `web1:${target}`),
        unsynced: ours('push', '--fsync', 'none', file, `web1:${target}`),
        scp: [...scp, file, `bench:${target}`],
        rsync: [...rsync, file, `bench:${target}`],
      },
      amount,
    );
    row('push-large', speed('ours'), speed('scp'));
    row('push-large-rsync', speed('ours'), speed('rsync'));
    row('push-large-unsynced', speed('unsynced'), speed('scp'));
  }
  if (group('pull-large')) {
    const speed = await inTurns(
      {
        ours: ours('pull', `web1:${file}`, target),
        scp: [...scp, `bench:${file}`, target],
        rsync: [...rsync, `bench:${file}`, target],
      },
      amount,
    );
    row('pull-large', speed('ours'), speed('scp'));
    row('pull-large-rsync', speed('ours'), speed('rsync'));
  }
}

async function small({ config, ssh }: Peers, cipher: string) {
  const folder = join(source, 'small');
  smallFiles(folder);
  const scp = ['scp', '-q', '-r', '-F', config, '-c', cipher];
  if (group('push-small')) {
    const speed = await inTurns(
      {
        ours: ours('push', folder, `web1:${target}`),
        unsynced: ours('push', '--fsync', 'none', folder, `web1:${target}`),
        scp: [...scp, folder, `bench:${target}`],
        rsync: ['rsync', '-r', '-e', `${ssh} -F ${config} -c ${cipher}`, `${folder}/`, `bench:${target}`],
      },
      FILES,
    );
    row('push-small', speed('ours'), speed('scp'));
    row('push-small-rsync', speed('ours'), speed('rsync'));
    row('push-small-unsynced', speed('unsynced'), speed('scp'));
  }
  if (group('pull-small')) {
    const speed = await inTurns(
      { ours: ours('pull', `web1:${folder}`, target), scp: [...scp, `bench:${folder}`, target] },
      FILES,
    );
    row('pull-small', speed('ours'), speed('scp'));
  }
}

/** Bytes that travel for a file of which nine tenths are there: a transfer is ended when it has come so far. */
async function resume(file: string) {
  const size = statSync(file).size;
  const far = join(site.folder, 'resumed');
  for (const [name, from, to] of [
    ['resume-push', file, `web1:${far}/file`],
    ['resume-pull', `web1:${file}`, `${far}/file`],
  ] as const) {
    if (!isWanted(name)) continue;
    const sent: number[] = [];
    for (let round = 0; round < Math.min(ROUNDS, 3); round++) {
      rmSync(far, { recursive: true, force: true });
      mkdirSync(far);
      const child = spawn(process.execPath, [SENDALL, name.slice(7), from, to], { env, stdio: 'ignore' });
      const ended = once(child, 'exit');
      while (partOf(far) < 0.9 * size && child.exitCode === null) await pause(1);
      child.kill('SIGINT');
      await ended;
      if (existsSync(`${far}/file`)) throw new Error('the transfer was over before it was ended');
      // What came after that moment would make the figure too good.
      const part = readdirSync(far)[0]!;
      truncateSync(join(far, part), Math.floor(0.9 * size));
      sent.push((await resultOf(site.near, name.slice(7), from, to)).sent / 2 ** 20);
      execFileSync('cmp', [file, `${far}/file`]);
    }
    row(
      name,
      sent,
      sent.map(() => size / 2 ** 20),
    );
  }
  rmSync(far, { recursive: true, force: true });
}

const partOf = (folder: string) =>
  readdirSync(folder).reduce(
    (sum, name) => sum + (statSync(join(folder, name), { throwIfNoEntry: false })?.size ?? 0),
    0,
  );

async function memory(file: string) {
  for (const direction of ['push', 'pull']) {
    if (!group(`memory-${direction}`)) continue;
    const peaks: Record<string, number[]> = { caller: [], host: [] };
    for (let round = 0; round < Math.min(ROUNDS, 3); round++) {
      rmSync(target, { force: true });
      const stop = watchPeaks({
        caller: (cmdline) =>
          cmdline.includes(`\0${direction}\0`) && cmdline.includes(target) && !cmdline.includes('helper'),
        host: (cmdline) =>
          /transfer\/helper|\0(?:put|get)\0/.test(cmdline) && cmdline.includes(direction === 'push' ? target : file),
      });
      await seconds(
        direction === 'push' ? ours('push', file, `web1:${target}`) : ours('pull', `web1:${file}`, target),
        env,
      );
      const seen = stop();
      for (const side of ['caller', 'host']) peaks[side]!.push(seen[side]!);
    }
    for (const side of ['caller', 'host'])
      row(
        `memory-${direction}-${side}`,
        peaks[side]!,
        peaks[side]!.map(() => 64),
      );
  }
  rmSync(target, { force: true });
}

const TCP = fileURLToPath(new URL('./transfer/tcp-stream.js', import.meta.url));

/** Kilobytes a second over a slow link that loses packets. */
async function slow() {
  const why = noNetworks();
  if (why !== undefined) {
    console.log(`without the slow link: ${why}`);
    return;
  }
  const network = await openSlowNetwork(25, 1, 7);
  endings.push(() => network.close());
  const home = join(site.folder, 'slow');
  const children: ChildProcess[] = [];
  const start = (words: readonly string[], more: NodeJS.ProcessEnv = {}) => {
    const child = spawn(words[0]!, words.slice(1), {
      env: { ...process.env, ...more },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    children.push(child);
    return child;
  };
  endings.push(() => children.forEach((child) => child.kill()));
  const agent = start([...network.far, process.execPath, SENDALL, 'agent', '--listen', `tls://${network.address}:0`], {
    SENDALL_HOME: home,
  });
  let url = '';
  for await (const line of createInterface({ input: agent.stderr! })) {
    url = /^listening (tls:\S+)/.exec(line)?.[1] ?? url;
    if (url) break;
  }
  agent.stderr!.resume();
  const { code } = JSON.parse(await sendall(home, 'pair', '--new', '--json'));
  const inside = [...network.near, process.execPath, SENDALL];
  // The warm links of another home would be outside of the network.
  const caller = envOf(join(site.folder, 'slow-caller'));
  await seconds([...inside, 'pair', url, '--code', code, '--name', 'slow'], caller);
  const server = start([...network.far, process.execPath, TCP, 'serve', network.address]);
  const [port] = await once(createInterface({ input: server.stdout! }), 'line');
  const file = join(source, 'slow');
  largeFile(file, SLOW_MIB);
  const amount = (SLOW_MIB * 1024 * 1024) / 1000;
  const speeds: Record<string, number[]> = { ours: [], tcp: [] };
  for (let round = 0; round < ROUNDS; round++) {
    rmSync(target, { force: true });
    speeds.tcp!.push(
      amount / (await seconds([...network.near, process.execPath, TCP, 'send', network.address, port, file])),
    );
    speeds.ours!.push(amount / (await seconds([...inside, 'push', file, `slow:${target}`], caller)));
    if (!readFileSync(target).equals(readFileSync(file))) throw new Error('the file differs');
  }
  row('slow-push', speeds.ours!, speeds.tcp!);
  await sendall(join(site.folder, 'slow-caller'), 'links', 'stop');
  await sendall(home, 'agent', 'stop', '--runs');
}

async function main() {
  const file = join(source, 'large');
  if (['push-large', 'pull-large', 'resume', 'memory'].some(group)) largeFile(file, MIB);
  if (['push-large', 'pull-large', 'push-small', 'pull-small'].some(group)) {
    const sshd = await openSshd();
    if ('missing' in sshd) console.log(`without OpenSSH: ${sshd.missing}`);
    else {
      endings.push(sshd.close);
      const peers: Peers = { ssh: sshd.cold[0]!, config: sshd.config };
      const cipher = await fastest(peers);
      console.log(`scp is fastest with ${cipher}`);
      if (group('push-large') || group('pull-large')) await large(file, peers, cipher);
      if (group('push-small') || group('pull-small')) await small(peers, cipher);
    }
  }
  if (group('resume')) await resume(file);
  if (group('memory')) await memory(file);
  if (group('slow')) await slow().catch((error: unknown) => console.log(`without the slow link: ${String(error)}`));
  print(rows);
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void finish(130));

async function finish(code: number) {
  for (const end of endings.splice(0).toReversed()) await end();
  process.exit(code);
}

try {
  await main();
  await finish(0);
} catch (error) {
  console.error(error);
  await finish(1);
}
