/**
 * npm run bench -- log [--rounds N] [--records N]
 *
 * What the log adds to a `true` through the keeper: the same journal entries with and without the log's lines, hashes,
 * head and files, in turns in one process, as a share of the `true`; the sync that both wait for is not counted. And the
 * verification of a log of a million records, against sha256sum over the same files.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { resolveHome } from '../../packages/sendall/dist/home.js';
import { Journal, journalFile } from '../../packages/sendall/dist/keeper/journal/journal.js';
import { KeeperLog } from '../../packages/sendall/dist/keeper/log/keeper-log.js';
import { EMPTY } from '../../packages/sendall/dist/log/hashes.js';
import { LogFiles } from '../../packages/sendall/dist/log/log-files.js';
import { lineOf, shownWords } from '../../packages/sendall/dist/log/records.js';
import { folderSource } from '../../packages/sendall/dist/log/source.js';
import { verifyLog } from '../../packages/sendall/dist/log/verification.js';
import { Client } from './keeper/client.js';

const { values } = parseArgs({
  options: { rounds: { type: 'string', default: '5' }, records: { type: 'string', default: '1000000' } },
});
const ROUNDS = Number(values.rounds);
const RECORDS = Number(values.records);
const RUNS = 500;

const now = () => performance.now();
const median = (list: readonly number[]) => list.toSorted((a, b) => a - b)[list.length >> 1] ?? NaN;
const folder = mkdtempSync(join(tmpdir(), 'bench-log-'));
const argv = [Buffer.from('true')];
const run = '01a22aab-f348-780f-8cba-71ccfaf16611';

/** A keeper's journal, with or without its log. */
class Side {
  readonly #journal: Journal;
  readonly #log: KeeperLog | undefined;
  #no = 0;

  constructor(name: string, withLog: boolean) {
    const home = resolveHome({ SENDALL_HOME: join(folder, name) });
    mkdirSync(join(home.state, 'spool'), { recursive: true, mode: 0o700 });
    const opened = Journal.open(journalFile(home), 'boot', { hasStrays: () => false, setAside: () => undefined });
    this.#journal = opened.journal;
    if (withLog)
      this.#log = new KeeperLog(
        home,
        this.#journal,
        { ...opened, bootId: 'boot' },
        { live: () => 1, keepBytes: () => 1e9 },
      );
  }

  /** Milliseconds for the entries of a run, and for the lines if there is a log. */
  async run(): Promise<number> {
    const no = ++this.#no;
    const [journal, log] = [this.#journal, this.#log];
    const common = { runId: Buffer.alloc(16, no), specHash: Buffer.alloc(32, no), principal: 'owner', argv, tags: [] };
    let begun = now();
    journal.append({ kind: 'intent', no, openedMs: no, notAfterMs: no, keepMs: 1, ...common });
    log?.append('allow', {
      run,
      principal: 'owner',
      caller: 'local',
      verb: 'exec',
      argv: shownWords(argv),
      cwd: '/root',
    });
    journal.flush();
    let took = now() - begun;
    journal.syncNow();
    begun = now();
    journal.append({ kind: 'started', no, pid: no, startMs: no, program: Buffer.from('/bin/true'), bootId: 'boot' });
    log?.append('start', { run, pid: no, program: '/usr/bin/true', cgroup: '/sys/fs/cgroup/unified/sendall/r0' });
    journal.flush();
    const upto = [1, 2].map((stream) => ({ stream, offset: 0, crc32: 0 }));
    const exit = { code: 0, upto, survivors: [], startMs: no, endMs: no + 1 };
    const logIndex = log?.append('exit', { run, code: 0, stdout: 0, stderr: 0, durationMs: 1 });
    journal.append({ kind: 'exit', no, exit, stored: true, logIndex });
    if (logIndex !== undefined) log?.place(logIndex);
    journal.append({ kind: 'treeEnd', no });
    journal.flush();
    took += now() - begun;
    // The lines that became durable go to the files meanwhile.
    begun = now();
    await new Promise((resolve) => setImmediate(resolve));
    return took + now() - begun;
  }
}

async function costs(): Promise<{ withLog: number; without: number }> {
  const sides = [new Side(`with-${Math.random()}`, true), new Side(`without-${Math.random()}`, false)] as const;
  const took: [number[], number[]] = [[], []];
  for (let i = 0; i < RUNS; i++) for (const which of [0, 1] as const) took[which].push(await sides[which].run());
  return { withLog: median(took[0]), without: median(took[1]) };
}

async function trueMs(client: Client): Promise<number> {
  const took = [];
  for (let i = 0; i < RUNS; i++) {
    const begun = now();
    await new Promise<void>((resolve) => {
      const { alias } = client.run({ argv }, (message) => {
        if (message.type !== 'EXIT') return;
        client.link.send({ type: 'EXIT_ACK', alias, received: [] });
        client.detach(alias);
        resolve();
      });
    });
    took.push(now() - begun);
  }
  return median(took);
}

const client = await Client.open(join(folder, 'keeper'));
await costs();
await trueMs(client);
const shares: number[] = [];
for (let round = 0; round < ROUNDS; round++) {
  const whole = await trueMs(client);
  const { withLog, without } = await costs();
  shares.push((withLog - without) / whole);
  console.log(
    `true ${whole.toFixed(3)} ms, of it the log ${((withLog - without) * 1000).toFixed(1)} us (${(shares.at(-1)! * 100).toFixed(1)} %)`,
  );
}
await client.end();

const log = join(folder, 'log');
const files = LogFiles.open(log, { size: 0, root: EMPTY, first: 0, bytes: 0 });
for (let n = 0; n < RECORDS;) {
  const lines = [];
  for (const end = Math.min(n + 1000, RECORDS); n < end; n++)
    lines.push(
      lineOf(n, n, n % 3 ? 'exit' : 'allow', { run, argv: ['/usr/bin/systemctl', 'status', `web${n}`], code: 0 }),
    );
  files.add(lines);
  files.save();
}
const { size, root } = files.sync();
files.close();
const ratios: number[] = [];
for (let round = 0; round < ROUNDS; round++) {
  let begun = now();
  const { ok } = await verifyLog(folderSource(log), [{ pin: 'kept', size, root }]);
  const ours = now() - begun;
  if (!ok) throw new Error('the log is not what was written');
  begun = now();
  execFileSync('sha256sum', readdirSync(log), { cwd: log, stdio: 'ignore' });
  ratios.push(ours / (now() - begun));
  console.log(`verify ${RECORDS} records: ${(ours / 1000).toFixed(2)} s, ${ratios.at(-1)!.toFixed(2)} times sha256sum`);
}
rmSync(folder, { recursive: true, force: true });

const result = (name: string, peer: string, ratio: number) =>
  console.log(`result: ${JSON.stringify({ name, peer, ratio: Number(ratio.toFixed(3)) })}`);
result('log-share', 'a true through the keeper', median(shares));
result('log-verify', 'sha256sum over the same files', median(ratios));
