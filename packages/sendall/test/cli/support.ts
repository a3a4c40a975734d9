/** The command line as users run it: the real program, a real agent, a home for each side. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { patience } from '../../../../test/support/waits.js';
import { heldPort } from '../dist/held-port.js';
import { endKeeper, removeFolderNow } from '../remove-home.js';

export const SENDALL = fileURLToPath(new URL('../../bin/sendall.js', import.meta.url));
/** Drives a program in a new terminal; reads a script of steps as JSON. */
const TERMINAL = fileURLToPath(new URL('../fixtures/terminal.py', import.meta.url));
/** Milliseconds after which a command line counts as stuck, on a quiet machine. */
const DEADLINE = 60_000;

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CallOptions {
  /** The content of stdin; empty by default. */
  readonly input?: string | Uint8Array;
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
}

/**
 * One step of a terminal's user: wait for this text, send these keys, send the keys that make a program ask and answer its
 * question, change the size, create a file, or close the window.
 */
export type Step =
  | { expect: string }
  | { send: string }
  | { ask: string; question: string; answer: string }
  | { resize: [cols: number, rows: number] }
  | { touch: string }
  | { exists: string }
  | { hangup: true };

/** A user's home. */
export class User implements Disposable {
  readonly home = mkdtempSync(join(tmpdir(), 'sendall-cli-'));

  env(more: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
    return { ...process.env, SENDALL_HOME: this.home, ...more };
  }

  /** Runs a command line to its end. */
  call(words: readonly string[], { input = '', env, cwd }: CallOptions = {}): Ended {
    const { status, stdout, stderr, error } = spawnSync(process.execPath, [SENDALL, ...words], {
      env: this.env(env),
      input,
      timeout: patience(DEADLINE),
      maxBuffer: 256 * 1024 * 1024,
      ...(cwd === undefined ? {} : { cwd }),
    });
    if (error)
      throw new Error(`sendall ${words.join(' ')}: ${error.message}\n${stdout.toString()}${stderr.toString()}`);
    return { code: status, stdout: stdout.toString(), stderr: stderr.toString() };
  }

  /** The JSON objects it prints. */
  events(words: readonly string[], options?: CallOptions): Record<string, unknown>[] {
    return this.call(words, options)
      .stdout.split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  }

  /** Shell text in which `sendall` is our program. */
  bash(text: string, { input = '', env }: CallOptions = {}): Ended {
    const script = `sendall() { "$NODE" "$SENDALL" "$@"; }\n${text}`;
    const { status, stdout, stderr, error } = spawnSync('bash', ['-c', script], {
      env: this.env({ NODE: process.execPath, SENDALL, ...env }),
      input,
      timeout: patience(DEADLINE),
    });
    if (error) throw new Error(`${text}: ${error.message}\n${stdout.toString()}${stderr.toString()}`);
    return { code: status, stdout: stdout.toString(), stderr: stderr.toString() };
  }

  /** Starts a command line and leaves it running. */
  start(words: readonly string[], env?: NodeJS.ProcessEnv): ChildProcess {
    return spawn(process.execPath, [SENDALL, ...words], { env: this.env(env), stdio: ['pipe', 'pipe', 'pipe'] });
  }

  /** Runs a command line in a terminal, whose user does these steps; `screen` is all its output. */
  atTerminal(words: readonly string[], steps: readonly Step[]) {
    return this.#terminal([process.execPath, SENDALL, ...this.#withHome(words)], steps);
  }

  /** Like `atTerminal`, but concurrently. */
  async alsoAtTerminal(words: readonly string[], steps: readonly Step[]): Promise<{ code: number; screen: string }> {
    const env = this.env({ TERM: 'xterm-256color', DEADLINE: String(patience(DEADLINE) / 1000) });
    const child = spawn('python3', [TERMINAL, process.execPath, SENDALL, ...this.#withHome(words)], { env });
    child.stdin.end(JSON.stringify(steps));
    const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
    if (!stdout) throw new Error(`the terminal: ${stderr}`);
    return JSON.parse(stdout) as { code: number; screen: string };
  }

  /** Shell text in a terminal. */
  bashAtTerminal(text: string, steps: readonly Step[]) {
    return this.#terminal(['/bin/bash', '-c', `sendall() { "$NODE" "$SENDALL" "$@"; }\n${text}`], steps);
  }

  /** Shells use the tests' home: they read no profile of the user, and their prompt is always the same. */
  #withHome([command = '', ...words]: readonly string[]): string[] {
    const home = `HOME=${process.env.HOME}`;
    const given: Record<string, string[]> = { shell: ['--env', home], ssh: ['-o', `SetEnv=${home}`] };
    return [command, ...(given[command] ?? []), ...words];
  }

  #terminal(argv: readonly string[], steps: readonly Step[]) {
    const deadline = patience(DEADLINE);
    const { status, stdout, stderr } = spawnSync('python3', [TERMINAL, ...argv], {
      env: this.env({ TERM: 'xterm-256color', NODE: process.execPath, SENDALL, DEADLINE: String(deadline / 1000) }),
      input: JSON.stringify(steps),
      timeout: 2 * deadline,
      maxBuffer: 256 * 1024 * 1024,
    });
    if (status !== 0) throw new Error(`the terminal: ${stderr.toString()}`);
    return JSON.parse(stdout.toString()) as { code: number; screen: string; sane: boolean };
  }

  [Symbol.dispose](): void {
    // Without a host there was no link that could be warm.
    const files = ['hosts.json', 'hosts.d', 'links.sock'];
    if (files.some((name) => existsSync(join(this.home, name)))) this.call(['links', 'stop']);
    removeFolderNow(this.home);
  }
}

/** A machine: its user and the agent that serves it. */
export class Machine implements AsyncDisposable {
  readonly user = new User();
  url = '';
  #agent: ChildProcess | undefined;

  static async start(...options: string[]): Promise<Machine> {
    const machine = new Machine();
    // Some tests start it again there.
    await machine.startAgent('--listen', `tls://127.0.0.1:${await heldPort()}`, ...options);
    return machine;
  }

  get agentPid(): number | undefined {
    return this.#agent?.pid;
  }

  /** Kills the agent; the keeper and its commands go on. */
  async killAgent(): Promise<void> {
    const agent = this.#agent!;
    agent.kill('SIGKILL');
    if (agent.exitCode === null && agent.signalCode === null) await once(agent, 'exit');
  }

  /** Resolves when the agent has ended: it answers before, and then signs the log's last head. */
  async stopAgent(...options: string[]): Promise<void> {
    this.user.call(['agent', 'stop', ...options]);
    const agent = this.#agent!;
    if (agent.exitCode === null && agent.signalCode === null) await once(agent, 'exit');
  }

  async startAgent(...options: string[]): Promise<void> {
    const agent = this.user.start(['agent', ...options]);
    this.#agent = agent;
    const wanted = 1 + options.filter((word) => word === '--listen').length;
    let heard = 0;
    for await (const line of createInterface({ input: agent.stderr! })) {
      const url = /^listening (.*)$/.exec(line)?.[1];
      if (url === undefined) throw new Error(`the agent said: ${line}`);
      if (url.startsWith('tls:')) this.url = url;
      if (++heard === wanted) break;
    }
    agent.stderr!.resume();
  }

  /** A user elsewhere who is paired with this machine under these names. */
  pairedUser(...names: string[]): User {
    const user = new User();
    for (const name of names) {
      const [made] = this.user.events(['pair', '--new', '--json']);
      const paired = user.call(['pair', this.url, '--code', String(made!.code), '--name', name]);
      if (paired.code !== 0) throw new Error(paired.stderr);
    }
    return user;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.user.call(['agent', 'stop', '--runs']);
    if (this.#agent && this.#agent.exitCode === null) {
      this.#agent.kill('SIGTERM');
      await once(this.#agent, 'exit');
    }
    await endKeeper(this.user.home);
    this.user[Symbol.dispose]();
  }
}

/** Resolves when the child's stdout contains `text`; rejects when it ends first. */
export async function said(child: ChildProcess, text: string): Promise<void> {
  let seen = '';
  for await (const chunk of child.stdout!.setEncoding('utf8').iterator({ destroyOnReturn: false })) {
    seen += String(chunk);
    if (seen.includes(text)) return;
  }
  throw new Error(`it ended after ${JSON.stringify(seen)}`);
}
