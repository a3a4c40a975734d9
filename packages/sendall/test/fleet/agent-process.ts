/** An agent in a process of its own, which tests stop, kill, start again and remove. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { within } from '../../../../test/support/waits.js';
import { removeHome } from '../remove-home.js';

const PROGRAM = fileURLToPath(new URL('../dist/own-agent.js', import.meta.url));

export class AgentProcess {
  /** Its address, if it listens on a port. */
  url = '';
  /** A pairing code. */
  code = '';
  fingerprint = '';
  readonly #folder: string;
  readonly #name: string;
  readonly #inside: readonly string[];
  #process: ChildProcess | undefined;

  /** Its home is below `folder`. `inside`: words before its command line, such as those that enter a namespace. */
  constructor(folder: string, name: string, inside: readonly string[] = []) {
    this.#folder = join(folder, name);
    this.#name = name;
    this.#inside = inside;
  }

  /** A command learns its host's name from LANG, which it has from its keeper. */
  async start(listen: string): Promise<void> {
    const env = { ...process.env, SENDALL_HOME: this.#folder, LANG: this.#name };
    const [program, ...words] = [...this.#inside, process.execPath, PROGRAM, listen];
    const child = spawn(program!, words, { env, stdio: ['ignore', 'pipe', 'inherit'] });
    this.#process = child;
    const [line] = await within(once(createInterface({ input: child.stdout }), 'line'), `the agent of ${this.#name}`);
    Object.assign(this, JSON.parse(String(line)));
  }

  signal(signal: NodeJS.Signals): void {
    this.#process?.kill(signal);
  }

  async end(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    if (!child) return;
    child.kill('SIGCONT');
    child.kill(signal);
    if (child.exitCode === null && child.signalCode === null) await within(once(child, 'exit'), 'the end of an agent');
  }

  /** Ends it and its keeper, and removes its home. */
  async remove(): Promise<void> {
    await this.end();
    await removeHome(this.#folder, 0);
  }
}
