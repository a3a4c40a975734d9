/**
 * npm run bench -- exec [--only ROW,…] [--rounds N] [--mib N]
 *
 * Remote commands against a local spawn, OpenSSH, npm ssh2 and a bare TLS socket. Contestants take turns within each
 * round, each in a process of its own. Ratios are taken within a round; the table shows the median of the rounds.
 * `--only` takes beginnings of row names.
 */
import { execFileSync, fork, spawn, type ChildProcess } from 'node:child_process';
import { createWriteStream, existsSync, readFileSync, rmSync, truncateSync } from 'node:fs';
import { randomFillSync } from 'node:crypto';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { setTimeout as pause } from 'node:timers/promises';
import { cpuOf, median, percentile, print, type Row } from './exec/figures.js';
import { envOf, openSite, SENDALL, sendall } from './exec/site.js';
import { openSshd } from './exec/sshd.js';
import { download, openPingPong, upload, type Program } from './exec/streams.js';

const { values } = parseArgs({
  options: { only: { type: 'string' }, rounds: { type: 'string' }, mib: { type: 'string' } },
});
const wanted = values.only?.split(',');
const ROUNDS = Number(values.rounds ?? 5);
const MIB = Number(values.mib ?? 1024);

/** The rows by name: the comparison and the required ratio. */
const table: Record<string, Omit<Row, 'name' | 'ratio' | 'ratios' | 'ours' | 'peer'>> = {
  'true-unix': { what: 'child_process.spawn', want: '<=', bar: 1.3, goal: 1, unit: 'ms p50' },
  'true-tls': { what: 'child_process.spawn', want: '<=', bar: 1.3, goal: 1, unit: 'ms p50' },
  'true-unix-p99': { what: 'child_process.spawn', want: '<=', unit: 'ms p99' },
  'true-tls-p99': { what: 'child_process.spawn', want: '<=', unit: 'ms p99' },
  'true-controlmaster': { what: 'ssh over a warm master', want: '<=', bar: 0.333, unit: 'ms p50' },
  'true-ssh2': { what: 'npm ssh2, default options', want: '<=', unit: 'ms p50' },
  'true-ssh2-nodelay': { what: 'npm ssh2, Nagle off', want: '<=', unit: 'ms p50' },
  'rate-unix': { what: 'child_process.spawn', want: '>=', bar: 1.7, goal: 2, unit: '/s, 20 at a time' },
  'rate-tls': { what: 'child_process.spawn', want: '>=', bar: 1.7, goal: 2, unit: '/s, 20 at a time' },
  'rate-controlmaster': { what: 'ssh over a warm master', want: '>=', bar: 5, unit: '/s, 20 at a time' },
  'rate-ssh2': { what: 'npm ssh2, default options', want: '>=', unit: '/s, 20 at a time' },
  'rate-ssh2-nodelay': { what: 'npm ssh2, Nagle off', want: '>=', unit: '/s, 20 at a time' },
  'output-tls-zeros': { what: 'a bare TLS socket', want: '>=', bar: 0.7, goal: 0.85, unit: 'MB/s' },
  'output-tls-text': { what: 'a bare TLS socket', want: '>=', bar: 0.7, goal: 0.85, unit: 'MB/s' },
  'output-ssh-zeros': { what: 'ssh, default options', want: '>=', bar: 1, unit: 'MB/s' },
  'output-ssh-text': { what: 'ssh, default options', want: '>=', bar: 1, unit: 'MB/s' },
  'output-gcm-zeros': { what: 'ssh, aes128-gcm', want: '>=', goal: 1, unit: 'MB/s' },
  'output-gcm-text': { what: 'ssh, aes128-gcm', want: '>=', goal: 1, unit: 'MB/s' },
  'output-cpu-tls-text': { what: 'a bare TLS socket', want: '<=', unit: 'CPU s, both ends' },
  'output-cpu-ssh-text': { what: 'ssh, default options', want: '<=', bar: 1, unit: 'CPU s, both ends' },
  'output-cpu-gcm-text': { what: 'ssh, aes128-gcm', want: '<=', goal: 1, unit: 'CPU s, both ends' },
  'output-unix-zeros': { what: 'a spawn pipe', want: '>=', bar: 0.8, unit: 'MB/s' },
  'output-unix-text': { what: 'a spawn pipe', want: '>=', bar: 0.8, unit: 'MB/s' },
  'cold-tls': { what: '25 ms', want: '<=', bar: 1, unit: 'ms p50' },
  'cold-ssh2': { what: 'npm ssh2', want: '<=', unit: 'ms p50' },
  'cold-ssh': { what: 'ssh without a master', want: '<=', unit: 'ms p50' },
  'process-local': { what: 'node -e 0', want: '<=', bar: 1.6, unit: 'ms p50' },
  'process-web1': { what: 'node -e 0', want: '<=', bar: 1.8, unit: 'ms p50' },
  'process-modules': { what: '25 modules', want: '<=', bar: 1, unit: 'files loaded' },
  'shell-echo': { what: 'a local PTY, same terminal code', want: '<=', bar: 1.2, unit: 'ms p50, TLS' },
  'shell-echo-host': { what: 'the same, keys shown when echoed', want: '<=', unit: 'ms p50, TLS' },
  'shell-echo-unix': { what: 'a local PTY, same terminal code', want: '<=', unit: 'ms p50' },
  'shell-echo-bare': { what: 'a local PTY, nothing between', want: '<=', unit: 'ms p50, TLS' },
  'ping-direct': { what: 'ssh over a warm master', want: '<=', bar: 2.5, goal: 1.5, unit: 'ms, 100 B' },
  'ping-warm': { what: 'ssh over a warm master', want: '<=', bar: 3, goal: 1.5, unit: 'ms, 100 B' },
  'ping-unix': { what: 'ssh over a warm master', want: '<=', unit: 'ms, 100 B' },
  'stdin-direct': { what: 'ssh over a warm master', want: '<=', bar: 1.1, goal: 0.8, unit: 's, 200 MiB' },
  'stdin-warm': { what: 'ssh over a warm master', want: '<=', bar: 1.1, goal: 0.8, unit: 's, 200 MiB' },
  'stdout-direct': { what: 'ssh over a warm master', want: '<=', bar: 1, goal: 0.7, unit: 's, 200 MiB' },
  'stdout-warm': { what: 'ssh over a warm master', want: '<=', bar: 1, goal: 0.7, unit: 's, 200 MiB' },
  'delay-100ms': { what: '1 Gbit/s', want: '>=', bar: 1, unit: 'Gbit/s' },
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

/** @param peer One figure for each round. */
function row(name: string, ours: readonly number[], peer: readonly number[]) {
  if (!table[name] || !isWanted(name) || !ours.length || !peer.length) return;
  const ratios = ours.map((value, i) => value / peer[i]);
  rows.push({ name, ...table[name], ratio: median(ratios), ratios, ours: median(ours), peer: median(peer) });
}

const nextMessage = <T>(child: ChildProcess) =>
  new Promise<T>((resolve, reject) => {
    const gone = () => reject(new Error('a contestant ended'));
    child.once('exit', gone);
    child.once('message', (message: T) => {
      child.off('exit', gone);
      resolve(message);
    });
  });

function helper(program: string, words: readonly string[], env: NodeJS.ProcessEnv = process.env) {
  const child = fork(fileURLToPath(new URL(`./exec/${program}`, import.meta.url)), words, { env, execArgv: [] });
  endings.push(() => child.connected && child.disconnect());
  return child;
}

/** A contestant. `far`: further processes whose CPU time counts. */
async function contestant(
  kind: string,
  options: object = {},
  { far = [], env = process.env }: { far?: number[]; env?: NodeJS.ProcessEnv } = {},
) {
  return await contest(kind, helper('contestant.js', [kind, JSON.stringify(options)], env), far);
}

/** A contestant's answer; each question uses its own fields. */
interface Answer {
  ms: number[];
  wall: number;
  bytes: number;
  secs: number;
}

async function contest(kind: string, child: ChildProcess, far: readonly number[] = []) {
  const ask = async (request: object): Promise<Answer> => {
    child.send(request);
    const answer = await nextMessage<Answer & { error?: string }>(child);
    if (answer.error) throw new Error(`${kind}: ${answer.error}`);
    return answer;
  };
  await ask({ ask: 'open' });
  return { ask, pids: [child.pid ?? 0, ...far] };
}

type Contestant = Awaited<ReturnType<typeof contestant>>;

/** All contestants, in a different order each time. */
function turns<T>(all: Record<string, T>, round: number) {
  const list = Object.entries(all);
  return [...list.slice(round % list.length), ...list.slice(0, round % list.length)];
}

/** Slow contestants do fewer runs. */
const slow = (name: string) => name === 'ssh2' || name === 'master';

/** Runs blocks of `true` in turn, until each contestant has run enough. */
async function latency(all: Record<string, Contestant>) {
  const p50: Record<string, number[]> = {};
  const every: Record<string, number[]> = {};
  for (const [name, { ask }] of Object.entries(all)) await ask({ ask: 'true', times: slow(name) ? 5 : 600, atOnce: 1 });
  for (let block = 0; block < ROUNDS * 4; block++)
    for (const [name, { ask }] of turns(all, block)) {
      const { ms } = await ask({ ask: 'true', times: slow(name) ? 9 : 25, atOnce: 1 });
      (p50[name] ??= []).push(median(ms));
      (every[name] ??= []).push(...ms);
    }
  const tails = (name: string) => (every[name] ? [percentile(every[name], 99)] : []);
  for (const link of ['unix', 'tls']) {
    row(`true-${link}`, p50[link], p50.spawn);
    row(`true-${link}-p99`, tails(link), tails('spawn'));
  }
  row('true-controlmaster', p50.tls, p50.master ?? []);
  row('true-ssh2', p50.tls, p50.ssh2);
  row('true-ssh2-nodelay', p50.tls, p50.nodelay);
}

async function rate(all: Record<string, Contestant>) {
  const rates: Record<string, number[]> = {};
  // Warms up until the compilers of all processes have optimised the hot code.
  for (const [name, { ask }] of Object.entries(all))
    await ask({ ask: 'true', times: slow(name) ? 60 : 3000, atOnce: 20 });
  for (let block = 0; block < ROUNDS * 2; block++)
    for (const [name, { ask }] of turns(all, block)) {
      const times = name === 'master' ? 100 : 300;
      const { wall } = await ask({ ask: 'true', times, atOnce: 20 });
      (rates[name] ??= []).push(times / wall);
    }
  row('rate-unix', rates.unix, rates.spawn);
  row('rate-tls', rates.tls, rates.spawn);
  row('rate-controlmaster', rates.tls, rates.master ?? []);
  row('rate-ssh2', rates.tls, rates.ssh2 ?? []);
  row('rate-ssh2-nodelay', rates.tls, rates.nodelay ?? []);
}

async function output(all: Record<string, Contestant>) {
  const text = await textFile(MIB);
  const size = MIB * 1024 * 1024;
  const commands: Record<string, string> = { zeros: `cat /dev/zero | head -c ${size}`, text: `cat ${text}` };
  for (const [kind, command] of Object.entries(commands)) {
    if (!names.some((name) => name.startsWith('output') && name.endsWith(kind) && isWanted(name))) continue;
    const speed: Record<string, number[]> = {};
    const cpu: Record<string, number[]> = {};
    for (const { ask } of Object.values(all)) await ask({ ask: 'output', command: `head -c 33554432 ${text}` });
    for (let round = 0; round < ROUNDS; round++)
      for (const [name, { ask, pids }] of turns(all, round)) {
        const before = cpuOf(pids);
        const { bytes, secs } = await ask({ ask: 'output', command });
        if (bytes !== size) throw new Error(`${name} brought ${bytes} bytes of ${size}`);
        // CPU time of ended processes counts only once they are waited for.
        await pause(200);
        (cpu[name] ??= []).push(cpuOf(pids) - before);
        (speed[name] ??= []).push(size / secs / 1e6);
      }
    const compare = (name: string, ours: string, peer: string) => {
      if (speed[peer]) row(`output-${name}-${kind}`, speed[ours], speed[peer]);
      const cpuRow = `output-cpu-${name}-${kind}`;
      if (cpu[peer] && table[cpuRow]) row(cpuRow, cpu[ours], cpu[peer]);
    };
    compare('tls', 'tls', 'bare');
    compare('ssh', 'tls', 'ssh');
    compare('gcm', 'tls', 'gcm');
    compare('unix', 'unix', 'spawn');
  }
}

/** Random text, 76 characters a line, in memory if the system has a place for that. */
async function textFile(mib: number) {
  const folder = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();
  const file = join(folder, `sendall-bench-text-${process.pid}`);
  endings.push(() => rmSync(file, { force: true }));
  const out = createWriteStream(file);
  const random = Buffer.alloc(57 * 16 * 1024);
  for (let written = 0; written < mib * 1024 * 1024;) {
    const lines = randomFillSync(random).toString('base64').replace(/.{76}/g, '$&\n');
    written += lines.length;
    if (!out.write(lines)) await once(out, 'drain');
  }
  await once(out.end(), 'finish');
  truncateSync(file, mib * 1024 * 1024);
  return file;
}

async function cold(all: Record<string, Contestant>) {
  const p50: Record<string, number[]> = {};
  for (const [name, { ask }] of Object.entries(all))
    await ask({ ask: name === 'ssh' ? 'true' : 'cold', times: 3, atOnce: 1 });
  for (let block = 0; block < ROUNDS * 2; block++)
    for (const [name, { ask }] of turns(all, block)) {
      const { ms } = await ask({ ask: name === 'ssh' ? 'true' : 'cold', times: name === 'tls' ? 15 : 4, atOnce: 1 });
      (p50[name] ??= []).push(median(ms));
    }
  row(
    'cold-tls',
    p50.tls,
    p50.tls.map(() => 25),
  );
  row('cold-ssh2', p50.tls, p50.ssh2 ?? []);
  row('cold-ssh', p50.tls, p50.ssh ?? []);
}

/** Milliseconds of one whole process. */
const wholeProcess = (words: readonly string[], env: NodeJS.ProcessEnv): Promise<number> =>
  new Promise((resolve, reject) => {
    const start = performance.now();
    const child = spawn(process.execPath, words, { env, stdio: 'ignore' });
    child.once('error', reject).once('close', (code) => {
      if (code === 0) resolve(performance.now() - start);
      else reject(new Error(`${words.join(' ')} ended with ${code}`));
    });
  });

async function processes(env: NodeJS.ProcessEnv, folder: string) {
  const programs: Record<string, string[]> = {
    node: ['-e', '0'],
    local: [SENDALL, 'run', 'local', '--', 'true'],
    web1: [SENDALL, 'run', 'web1', '--', 'true'],
  };
  const p50: Record<string, number[]> = {};
  for (let block = 0; block < ROUNDS * 4; block++)
    for (const [name, words] of Object.entries(programs)) {
      const ms: number[] = [];
      for (let i = 0; i < 5; i++) ms.push(await wholeProcess(words, env));
      (p50[name] ??= []).push(median(ms));
    }
  row('process-local', p50.local, p50.node);
  row('process-web1', p50.web1, p50.node);
  const list = join(folder, 'modules');
  const preload = new URL('./exec/count-modules.js', import.meta.url).href;
  await wholeProcess(['--import', preload, ...programs.local], { ...env, COUNT_MODULES: list });
  const modules = readFileSync(list, 'utf8')
    .split('\n')
    .filter((url) => url && url !== preload);
  if (process.env.BENCH_VERBOSE) console.log(modules.join('\n'));
  row('process-modules', [modules.length], [25]);
}

async function delayed(site: Awaited<ReturnType<typeof openSite>>) {
  const proxy = helper('delay.js', [/:(\d+)$/.exec(site.url)?.[1] ?? '', '50']);
  const port = await nextMessage<number>(proxy);
  await sendall(site.near, 'hosts', 'add', 'slow', `tls://127.0.0.1:${port}`, '--pin', site.fingerprint);
  const ours = await contestant('sendall', { target: 'slow' }, { env: envOf(site.near) });
  const size = MIB * 1024 * 1024;
  const speed: number[] = [];
  for (let round = 0; round < Math.min(ROUNDS, 3); round++) {
    const { bytes, secs } = await ours.ask({ ask: 'output', command: `cat /dev/zero | head -c ${size}` });
    if (bytes !== size) throw new Error(`${bytes} bytes of ${size}`);
    speed.push((size * 8) / secs / 1e9);
  }
  row(
    'delay-100ms',
    speed,
    speed.map(() => 1),
  );
}

/** The time from a key to its echo, one key at a time. */
async function echo(env: NodeJS.ProcessEnv, folder: string) {
  const typist = async (name: string, ...words: readonly string[]) =>
    await contest(name, helper('typist.js', words, { ...env, HOME: folder }));
  const shellOf = (...words: string[]) => [process.execPath, SENDALL, 'shell', ...words];
  const bash = ['/bin/bash', '--norc', '--noprofile'];
  const terminal = fileURLToPath(new URL('./exec/local-terminal.js', import.meta.url));
  const all: Record<string, Contestant> = {
    bare: await typist('a bare PTY', ...bash),
    same: await typist('the terminal code alone', process.execPath, terminal, ...bash),
    sameHost: await typist(
      'the same, without prediction',
      '/usr/bin/env',
      'NO_PREDICT=1',
      process.execPath,
      terminal,
      ...bash,
    ),
    tlsHost: await typist('sendall shell --no-predict web1', ...shellOf('--no-predict', 'web1')),
    unix: await typist('sendall shell local', ...shellOf('local')),
    tls: await typist('sendall shell web1', ...shellOf('web1')),
  };
  const p50: Record<string, number[]> = {};
  for (const { ask } of Object.values(all)) await ask({ ask: 'echo', times: 100 });
  for (let block = 0; block < ROUNDS * 4; block++)
    for (const [name, { ask }] of turns(all, block)) {
      const { ms } = await ask({ ask: 'echo', times: 50 });
      (p50[name] ??= []).push(median(ms));
    }
  row('shell-echo', p50.tls, p50.same);
  row('shell-echo-host', p50.tlsHost, p50.sameHost);
  row('shell-echo-unix', p50.unix, p50.same);
  row('shell-echo-bare', p50.tls, p50.bare);
}

/** Bytes of the large streams. */
const STREAM_MIB = 200;

/** @param near The caller's home. */
async function streams(near: string, folder: string, sshd: { shared: readonly string[] }) {
  const env = envOf(near);
  const program = (options: readonly string[], target: string) => ({
    words: [process.execPath, SENDALL, 'run', ...options, target, '--'],
    env,
  });
  const programs: Record<string, Program> = {
    ssh: { words: [...sshd.shared, 'bench'], env: process.env },
    direct: program(['--no-share'], 'web1'),
    warm: program([], 'web1'),
    unix: program([], 'local'),
  };
  const running = (name: string, ...command: readonly string[]) => ({
    words: [...programs[name].words, ...command],
    env: programs[name].env,
  });
  const times: Record<string, number[]> = {};
  const add = (name: string, time: number) => (times[name] ??= []).push(time);
  // The first command that needs the warm-links process starts it.
  await download(running('warm', 'echo'), 1);
  if (group('ping')) {
    const all: Record<string, ReturnType<typeof openPingPong>> = {};
    for (const name of Object.keys(programs)) all[name] = openPingPong(name, running(name, 'cat'), folder);
    for (const { ping } of Object.values(all)) ping(500, 100);
    for (let block = 0; block < ROUNDS * 4; block++)
      for (const [name, { ping }] of turns(all, block)) add(`ping-${name}`, ping(100, 100));
    for (const { close } of Object.values(all)) await close();
  }
  if (group('stdin') || group('stdout')) {
    const file = await textFile(STREAM_MIB);
    const names = ['ssh', 'direct', 'warm'];
    for (let round = 0; round < ROUNDS; round++)
      for (const name of [...names.slice(round % 3), ...names.slice(0, round % 3)]) {
        if (group('stdin'))
          add(`stdin-${name}`, await upload(running(name, 'dd', 'of=/dev/null', 'bs=256k', 'status=none'), file));
        if (group('stdout'))
          add(`stdout-${name}`, await download(running(name, 'cat', file), STREAM_MIB * 1024 * 1024));
      }
  }
  for (const kind of ['ping', 'stdin', 'stdout'])
    for (const name of ['direct', 'warm', 'unix'])
      row(`${kind}-${name}`, times[`${kind}-${name}`] ?? [], times[`${kind}-ssh`] ?? []);
}

async function main() {
  const site = await openSite();
  endings.push(site.close);
  const opened = ['true', 'rate', 'output', 'cold', 'ping', 'stdin', 'stdout'].some(group)
    ? await openSshd()
    : { missing: 'it was not needed' };
  const sshd = 'missing' in opened ? undefined : opened;
  if ('missing' in opened) console.log(`without OpenSSH: ${opened.missing}`);
  else endings.push(opened.close);
  const near = envOf(site.near);

  if (group('true') || group('rate')) {
    const all: Record<string, Contestant> = {
      spawn: await contestant('spawn'),
      unix: await contestant('sendall', { target: 'local' }, { env: near }),
      tls: await contestant('sendall', { target: 'web1' }, { env: near }),
    };
    if (sshd) {
      if (isWanted('true-controlmaster') || isWanted('rate-controlmaster'))
        all.master = await contestant('ssh', { words: sshd.shared });
      if (isWanted('true-ssh2') || isWanted('rate-ssh2')) all.ssh2 = await contestant('ssh2', sshd);
      if (isWanted('true-ssh2-nodelay') || isWanted('rate-ssh2-nodelay'))
        all.nodelay = await contestant('ssh2', { ...sshd, noDelay: true });
    }
    if (group('true')) await latency(all);
    if (group('rate')) await rate(all);
  }

  if (group('output')) {
    const [key, cert] = ['key', 'cert'].map((name) => join(site.folder, name));
    const subject = ['-subj', '/CN=bench', '-addext', 'subjectAltName=DNS:bench', '-days', '2', '-nodes'];
    const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1'];
    execFileSync('openssl', ['req', '-x509', ...curve, ...subject, '-keyout', key, '-out', cert], { stdio: 'ignore' });
    const server = helper('tls-server.js', [key, cert]);
    const port = await nextMessage<number>(server);
    const all: Record<string, Contestant> = {
      bare: await contestant('tls', { port, cert }, { far: [server.pid ?? 0] }),
      tls: await contestant('sendall', { target: 'web1' }, { far: site.farPids, env: near }),
      unix: await contestant('sendall', { target: 'local' }, { far: site.nearPids, env: near }),
      spawn: await contestant('spawn'),
    };
    if (sshd) {
      all.ssh = await contestant('ssh', { words: sshd.cold }, { far: [sshd.pid] });
      all.gcm = await contestant('ssh', { words: [...sshd.cold, '-c', 'aes128-gcm@openssh.com'] }, { far: [sshd.pid] });
    }
    await output(all);
  }

  if (group('cold')) {
    const all: Record<string, Contestant> = { tls: await contestant('sendall', { target: 'web1' }, { env: near }) };
    if (sshd) {
      all.ssh2 = await contestant('ssh2', sshd);
      all.ssh = await contestant('ssh', { words: sshd.cold });
    }
    await cold(all);
  }

  if (sshd && ['ping', 'stdin', 'stdout'].some(group)) await streams(site.near, site.folder, sshd);
  if (group('process')) await processes(near, site.folder);
  if (group('delay')) await delayed(site);
  if (group('shell')) await echo(near, site.folder);
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
