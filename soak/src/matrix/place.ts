/**
 * Two machines in one: an agent with its keeper, and callers paired with it, each side with its own home.
 */
import { execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { resolveHome } from 'sendall';
import { ensureKeeper } from '../../../packages/sendall/dist/keeper/door/door.js';
import { cable } from './cable.js';

const cli = fileURLToPath(new URL('../../../packages/sendall/bin/sendall.js', import.meta.url));
const jumpy = new URL('../../../packages/sendall/test/dist/jumpy-clock.js', import.meta.url).href;
const MiB = 1024 * 1024;
/** Size of the small disk: a spool of the default size, the segment being written, the journal. */
const DISK = 320 * MiB;
/** Most milliseconds for an answer of the agent or the warm-links process. */
const PATIENCE = 60_000;

/** Special features of the host: a small disk for all of its state, a wall clock that can be moved. */
export type Special = { disk?: boolean; clock?: boolean };

export class Place {
  #there = mkdtempSync(join(tmpdir(), 'sendall-matrix-'));
  #here = mkdtempSync(join(tmpdir(), 'sendall-matrix-'));
  #special;
  #mounted = false;
  #url = 'tls://127.0.0.1:0';
  #agentPid = 0;
  #cable: Awaited<ReturnType<typeof cable>> | undefined;
  keeper = 0;
  /** The pid of the warm-links process. */
  warmLinks = 0;

  constructor(special: Special) {
    this.#special = special;
  }

  get #host(): NodeJS.ProcessEnv {
    const { clock } = this.#special;
    return { ...process.env, SENDALL_HOME: this.#there, ...(clock ? this.#clockEnv : {}) };
  }

  get #caller(): NodeJS.ProcessEnv {
    return { ...process.env, SENDALL_HOME: this.#here };
  }

  get #clockEnv() {
    return { NODE_OPTIONS: `--import=${jumpy}`, JUMP_FILE: join(this.#there, 'jump') };
  }

  /** Starts everything, including a warm link for the next command. */
  async open() {
    if (this.#special.disk) {
      mountSmallDisk(this.#there);
      this.#mounted = true;
    }
    if (this.#special.clock) {
      this.moveClock(0);
      // An agent does not pass its environment on to its keeper.
      const home = resolveHome({ SENDALL_HOME: this.#there });
      (await ensureKeeper(home, { env: this.#clockEnv, onMessage: () => undefined })).close();
    }
    await this.startAgent();
    this.#cable = await cable(Number(this.#url.split(':').at(-1)));
    const { code } = JSON.parse(await ask(this.#host, 'pair', '--new', '--json'));
    await ask(this.#caller, 'pair', `tls://127.0.0.1:${this.path.port}`, '--code', code, '--name', 'web1');
    await ask(this.#caller, 'run', 'web1', '-n', '--', 'true');
    this.keeper = JSON.parse(await ask(this.#host, 'agent', 'status', '--json')).keeperPid;
    while (!this.warmLinks) this.warmLinks = JSON.parse(await ask(this.#caller, 'links', '--json')).pid ?? 0;
  }

  async startAgent() {
    const agent = spawn(process.execPath, [cli, 'agent', '--listen', this.#url], {
      env: this.#host,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.#agentPid = agent.pid ?? 0;
    let said = '';
    const words = agent.stderr.setEncoding('utf8').on('data', (text) => (said += text));
    const ended = once(agent, 'close').then(() => Promise.reject(new Error(`the agent ended: ${said.trim()}`)));
    ended.catch(() => undefined);
    while (!/tls:\S+/.test(said)) await Promise.race([once(words, 'data'), ended]);
    this.#url = /tls:\S+/.exec(said)?.[0] ?? '';
  }

  get agent() {
    return this.#agentPid;
  }

  get path() {
    if (!this.#cable) throw new Error('the place is not open');
    return this.#cable;
  }

  /** Starts a command of the caller's. */
  sendall(...words: string[]) {
    return spawn(process.execPath, [cli, ...words], { env: this.#caller, stdio: ['ignore', 'pipe', 'pipe'] });
  }

  /** The part of a run that waits for room: "stdout", or undefined; "over" when it has ended. */
  async waits(id: string) {
    const rows = (await ask(this.#caller, 'ps', 'web1', '--json')).split('\n').filter(Boolean);
    const run = rows.map((row) => JSON.parse(row)).find(({ runId }) => runId === id);
    return run && run.endMs === undefined ? run.blocked : 'over';
  }

  /** Sets the host's wall clock off by this much. */
  moveClock(ms: number) {
    writeFileSync(this.#clockEnv.JUMP_FILE, String(ms));
  }

  /** Fills the small disk up to this many free bytes. */
  ballast(room: number) {
    const fd = openSync(this.#ballast, 'w');
    for (let left = this.roomOnDisk - room; left > 0; left -= MiB) writeSync(fd, Buffer.alloc(Math.min(left, MiB)));
    closeSync(fd);
  }

  get #ballast() {
    return join(this.#there, 'ballast');
  }

  dropBallast() {
    rmSync(this.#ballast);
  }

  get roomOnDisk() {
    const { bavail, bsize } = statfsSync(this.#there);
    return bavail * bsize;
  }

  /** Ends everything as a user would, then makes sure of it. */
  async close() {
    await ask(this.#caller, 'links', 'stop').catch(() => undefined);
    await ask(this.#host, 'agent', 'stop', '--runs');
    this.end();
  }

  /** Ends every process that still uses our folders, and removes them. */
  end() {
    this.#cable?.close();
    for (const pid of this.#processes()) kill(pid);
    if (this.#mounted) execFileSync('umount', ['--lazy', this.#there]);
    for (const folder of [this.#there, this.#here])
      rmSync(folder, { recursive: true, force: true, maxRetries: 50, retryDelay: 100 });
  }

  /** A keeper has its folder among its arguments, the others in their environment. */
  #processes() {
    const names = (pid: string) => ['cmdline', 'environ'].map((file) => read(`/proc/${pid}/${file}`));
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
      .filter((pid) => names(pid).some((text) => text.includes(this.#there) || text.includes(this.#here)))
      .map(Number);
  }
}

/** Whether this user may mount a small disk. */
export function canMount() {
  const folder = mkdtempSync(join(tmpdir(), 'sendall-matrix-'));
  try {
    mountSmallDisk(folder);
    execFileSync('umount', [folder]);
    return true;
  } catch {
    return false;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function mountSmallDisk(folder: string) {
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${DISK},mode=0700`, 'tmpfs', folder], { stdio: 'pipe' });
}

async function ask(env: NodeJS.ProcessEnv, ...words: string[]) {
  const options = { env, timeout: PATIENCE, killSignal: 'SIGKILL' as const };
  return (await promisify(execFile)(process.execPath, [cli, ...words], options)).stdout;
}

function kill(pid: number) {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // The process has ended meanwhile.
  }
}

function read(file: string) {
  try {
    return readFileSync(file, 'latin1');
  } catch {
    return '';
  }
}
