/** An agent in a process of its own, as on a real machine: it can be stopped, killed and started again. */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, mkdtempSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';
import { connect, resolveHome, type AgentStatus, type ConnectOptions, type Home, type Host } from 'sendall';
import { ensureKeeper } from '../../dist/keeper/door/door.js';
import { alive } from '../../../../test/support/alive.js';
import { until } from '../../../../test/support/waits.js';
import { removeHome } from '../remove-home.js';

export const cli = fileURLToPath(new URL('../../bin/sendall.js', import.meta.url));

export class Machine {
  readonly home: Home;
  readonly env: NodeJS.ProcessEnv;
  #agent!: ChildProcess;
  #mounted: string | undefined;
  #inherit: number | undefined;
  #program = cli;

  private constructor(env: NodeJS.ProcessEnv) {
    const folder = mkdtempSync(join(tmpdir(), 'sendall-machine-'));
    this.home = resolveHome({ SENDALL_HOME: folder });
    // Some tests create files there before the agent starts.
    writeFileSync(join(folder, '.sendall'), '');
    this.env = { ...process.env, ...env, SENDALL_HOME: folder };
  }

  /** A machine with a running agent; removed when the test ends. */
  static async start(
    options: {
      env?: NodeJS.ProcessEnv;
      keeperEnv?: NodeJS.ProcessEnv;
      program?: string;
      spoolBytes?: number;
      inherit?: number;
    } = {},
  ): Promise<Machine> {
    const machine = new Machine(options.env ?? {});
    machine.#inherit = options.inherit;
    machine.#program = options.program ?? cli;
    onTestFinished(() => machine.remove());
    if (options.spoolBytes) machine.#limitDisk(options.spoolBytes);
    if (options.keeperEnv) {
      // The agent does not pass its environment on to its keeper.
      const keeper = await ensureKeeper(machine.home, { env: options.keeperEnv, onMessage: () => undefined });
      keeper.close();
    }
    await machine.startAgent();
    return machine;
  }

  async startAgent(): Promise<void> {
    const words = [process.execPath, this.#program, 'agent'];
    // Node's own descriptors close on exec: only a shell hands one down by mistake.
    if (this.#inherit !== undefined)
      words.unshift('bash', '-c', `exec ${this.#inherit}> "$0.inherited"; exec "$@"`, this.home.state);
    const agent = spawn(words[0]!, words.slice(1), { env: this.env, stdio: ['ignore', 'ignore', 'pipe'] });
    this.#agent = agent;
    const lines = createInterface(agent.stderr);
    await Promise.race([
      once(lines, 'line').then(([line]: string[]) => {
        if (!line?.startsWith('listening ')) throw new Error(`the agent said: ${line}`);
      }),
      once(agent, 'exit').then(([code]) => {
        throw new Error(`the agent ended with ${code}`);
      }),
    ]);
  }

  /** Kills the agent, like a crash. */
  async killAgent(): Promise<void> {
    const agent = this.#agent;
    const gone = once(agent, 'exit');
    agent.kill('SIGKILL');
    await gone;
  }

  get agentPid(): number {
    return this.#agent.pid!;
  }

  async connect(options: ConnectOptions = {}): Promise<Host> {
    const host = await connect('local', { home: this.home, ...options });
    onTestFinished(() => host.close());
    return host;
  }

  async ask<T>(what: string, body?: unknown): Promise<T> {
    const host = await connect('local', { home: this.home });
    try {
      return await host.ask<T>(what, body);
    } finally {
      await host.close();
    }
  }

  async status(): Promise<AgentStatus> {
    return await this.ask<AgentStatus>('status');
  }

  /** A command of the CLI in a process of its own. */
  spawn(...words: string[]): ChildProcess {
    return spawn(process.execPath, [cli, ...words], { env: this.env, stdio: ['pipe', 'pipe', 'pipe'] });
  }

  /** Puts the spool on a small disk of its own. */
  #limitDisk(bytes: number): void {
    const spool = join(this.home.state, 'spool');
    mkdirSync(spool, { mode: 0o700 });
    // The folder is no longer empty: without its mark it would pass for another program's.
    writeFileSync(join(this.home.state, '.sendall'), '', { mode: 0o600 });
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${bytes},mode=0700`, 'tmpfs', spool]);
    this.#mounted = spool;
  }

  /** Changes the size of that disk. */
  resizeDisk(bytes: number): void {
    execFileSync('mount', ['-o', `remount,size=${bytes}`, this.#mounted!]);
  }

  async remove(): Promise<void> {
    let keeper: number | undefined;
    try {
      const status = await this.status();
      keeper = status.keeperPid;
      await this.ask('stop', { runs: true });
    } catch {
      // The test has ended it.
    }
    this.#agent.kill('SIGKILL');
    if (keeper !== undefined) {
      await until(async () => !hasChildren(keeper!), 'the commands to end', 10_000).catch(() => undefined);
      if (alive(keeper)) process.kill(keeper, 'SIGKILL');
      await until(() => !alive(keeper!), 'the keeper to end');
    }
    if (this.#mounted && existsSync(this.#mounted)) execFileSync('umount', ['-l', this.#mounted]);
    // The keeper's successor may still write here; without an agent it ends.
    await removeHome(this.home.state);
  }
}

function hasChildren(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').trim() !== '';
  } catch {
    return false;
  }
}

/** Makes a copy of this package with another version. Returns its program. */
export function otherVersion(version: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'sendall-other-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const here = fileURLToPath(new URL('../../', import.meta.url));
  for (const part of ['bin', 'dist']) cpSync(join(here, part), join(folder, part), { recursive: true });
  const about = JSON.parse(readFileSync(join(here, 'package.json'), 'utf8')) as object;
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ ...about, version }));
  symlinkSync(join(here, '../../node_modules'), join(folder, 'node_modules'));
  return join(folder, 'bin/sendall.js');
}

/** Collects a process's output, until it ends. */
export async function output(child: ChildProcess): Promise<{ stdout: Buffer; stderr: string; code: number | null }> {
  const stdout: Buffer[] = [];
  let stderr = '';
  child.stdout!.on('data', (chunk: Buffer) => stdout.push(chunk));
  child.stderr!.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const [code] = (await once(child, 'close')) as [number | null];
  return { stdout: Buffer.concat(stdout), stderr, code };
}
