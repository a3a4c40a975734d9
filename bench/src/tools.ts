/**
 * npm run bench -- tools [--only ROW,…] [--rounds N] [--mib N] [--files N]
 *
 * rsync, git, sftp, scp and ansible through sendall-ssh against the same tools through OpenSSH over a warm master, in
 * turns, both on loopback. Commands of both have the same shell, the same empty HOME and the same sftp-server, so neither
 * runs start-up files that the other lacks. A row is left out when its tool is not installed. `--mib`: size of the file
 * that sftp moves; `--files`: how many files rsync moves (scp: a quarter of them). `--only` takes beginnings of row names.
 */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { median, print, type Row } from './exec/figures.js';
import { openSite } from './exec/site.js';
import { openSshd } from './exec/sshd.js';
import { overMaster, overSendall, surroundingsOf, timed, type Carrier } from './tools/carriers.js';
import { jobsIn, missing } from './tools/jobs.js';

const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    rounds: { type: 'string' },
    mib: { type: 'string' },
    files: { type: 'string' },
  },
});
const wanted = (name: string) => !values.only || values.only.split(',').some((beginning) => name.startsWith(beginning));
const ROUNDS = Number(values.rounds ?? 5);

/** In memory where the system has a place for that: the disk is the same for both. */
const folder = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'sendall-bench-tools-'));
const jobs = jobsIn({ folder, mib: Number(values.mib ?? 1024), files: Number(values.files ?? 2000) });
const bars: Partial<Record<string, Pick<Row, 'want' | 'bar'>>> = {
  'rsync-push': { want: '<=', bar: 1.1 },
  'rsync-same': { want: '<=', bar: 1.1 },
  'git-clone': { want: '<=', bar: 1.1 },
  'git-push': { want: '<=', bar: 1.1 },
  'git-fetch': { want: '<=', bar: 1.1 },
  'sftp-put': { want: '>=', bar: 1 },
  'sftp-get': { want: '>=', bar: 1 },
  'ansible-ping': { want: '<=', bar: 1 },
};

const names = Object.keys(jobs);
const stray = values.only?.split(',').find((prefix) => !names.some((name) => name.startsWith(prefix)));
if (stray !== undefined) {
  console.error(`no row begins with "${stray}": there are ${names.join(', ')}`);
  process.exit(2);
}

const absent = missing(jobs);
if (absent.length) console.log(`without ${absent.join(', ')}: not installed`);
const endings: (() => unknown)[] = [() => rmSync(folder, { recursive: true, force: true })];

async function main() {
  const sshd = await openSshd({ sftp: 'program' });
  if ('missing' in sshd) {
    console.error(sshd.missing);
    process.exitCode = 1;
    return;
  }
  endings.push(sshd.close);
  const site = await openSite();
  endings.push(site.close);
  const carriers: Record<string, Carrier> = {
    ssh: overMaster(folder, sshd),
    sendall: overSendall(folder, site.near, sshd.home),
  };
  // The first command that needs the warm-links process starts it.
  const surroundings = Object.values(carriers).map(surroundingsOf);
  if (new Set(surroundings).size > 1) throw new Error(`the far sides differ: ${surroundings.join(' against ')}`);
  console.log(`commands of both have ${surroundings[0]}, sftp ${sshd.sftpServer}\n`);
  const rows: Row[] = [];
  for (const [name, { program, setUp, before, call, times = 1, bytes }] of Object.entries(jobs)) {
    if (!wanted(name) || absent.includes(program)) continue;
    setUp?.();
    const took: Record<string, number[]> = { ssh: [], sendall: [] };
    // The first round warms up and does not count.
    for (let round = 0; round <= ROUNDS; round++)
      for (const way of round % 2 ? ['ssh', 'sendall'] : ['sendall', 'ssh']) {
        const carrier = carriers[way];
        const target = `${folder}/to-${way}-${name}`;
        before?.(carrier, target);
        let ms = 0;
        for (let i = 0; i < times; i++) {
          const { words, env = process.env } = call(carrier, target);
          ms += await timed(words, env, folder);
        }
        if (round) took[way].push(bytes ? bytes / 1e3 / ms : ms / times);
      }
    for (const way of Object.keys(took)) rmSync(`${folder}/to-${way}-${name}`, { recursive: true, force: true });
    const ratios = took.sendall.map((value, i) => value / took.ssh[i]);
    const figures = { ratio: median(ratios), ratios, ours: median(took.sendall), peer: median(took.ssh) };
    const what = 'the same over a warm ssh master';
    rows.push({ name, what, want: '<=', ...bars[name], ...figures, unit: bytes ? 'MB/s' : 'ms' });
  }
  print(rows);
}

try {
  await main();
} finally {
  for (const end of endings.toReversed()) await end();
}
