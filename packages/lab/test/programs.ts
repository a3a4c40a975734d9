/** Starts programs for tests and waits for their output. */
import { spawn, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';
import { patience, within } from '../../../test/support/waits.js';

export const bin = fileURLToPath(new URL('../bin/wirelab.js', import.meta.url));
const peers = fileURLToPath(new URL('./python/peers.py', import.meta.url));

/** A program started by a test: its output, and a way to wait for it. Ends with its test. */
export class Program implements AsyncDisposable {
  readonly child: ChildProcess;
  stdout = '';
  stderr = '';
  readonly ended: Promise<number | null>;
  readonly #watchers = new Set<() => void>();

  constructor(command: string, words: string[], options: { uid?: number; env?: NodeJS.ProcessEnv } = {}) {
    this.child = spawn(command, words, { stdio: 'pipe', ...options });
    this.child.stdout!.setEncoding('utf8').on('data', (text: string) => this.#heard('stdout', text));
    this.child.stderr!.setEncoding('utf8').on('data', (text: string) => this.#heard('stderr', text));
    this.ended = new Promise((resolve) => {
      this.child.once('close', (code) => {
        resolve(code);
        for (const watch of this.#watchers) watch();
      });
    });
  }

  /** Resolves with a pattern's match in the output, as soon as it appears. */
  says(pattern: RegExp): Promise<RegExpExecArray> {
    const found = new Promise<RegExpExecArray>((resolve, reject) => {
      const watch = () => {
        const match = pattern.exec(this.stdout) ?? pattern.exec(this.stderr);
        if (!match && this.child.exitCode === null) return;
        this.#watchers.delete(watch);
        if (match) resolve(match);
        else reject(new Error(`ended without ${pattern}:\n${this.stdout}${this.stderr}`));
      };
      this.#watchers.add(watch);
      watch();
    });
    return within(found, () => `${pattern} in:\n${this.stdout}${this.stderr}`, 20_000);
  }

  write(text: string): void {
    this.child.stdin!.write(text);
  }

  end(): void {
    this.child.stdin!.end();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill('SIGKILL');
    await this.ended;
  }

  #heard(stream: 'stdout' | 'stderr', text: string): void {
    this[stream] += text;
    for (const watch of this.#watchers) watch();
  }
}

export function wirelab(...words: string[]): Program {
  return new Program(process.execPath, [bin, ...words]);
}

export function python(...words: string[]): Program {
  return new Program('python3', [peers, ...words]);
}

/** The port on which a server of ours or of Python's reports listening. */
export async function portOf(program: Program): Promise<string> {
  return (await program.says(/listening (?:127\.0\.0\.1:)?(\d+)/))[1]!;
}

/** Runs a client to its end; returns its code and output. */
export async function finished(program: Program): Promise<{ code: number | null; stdout: string; stderr: string }> {
  await using running = program;
  running.end();
  const code = await within(running.ended, () => `the end of a program that said:\n${running.stdout}${running.stderr}`);
  return { code, stdout: running.stdout, stderr: running.stderr };
}

/** Polls until a condition holds, long enough for a busy machine. */
export function soon<T>(read: () => T) {
  return expect.poll(read, { timeout: patience(30_000) });
}
