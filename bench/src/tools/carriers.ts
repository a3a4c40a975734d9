/** What carries a tool to the far side: OpenSSH over a warm master, and sendall-ssh over the warm link. */
import { execFileSync, spawn } from 'node:child_process';
import { chmodSync, openSync, closeSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { envOf } from '../exec/site.js';

/** One way to the far side. */
export interface Carrier {
  /** A program that takes ssh's arguments: for tools that take one word. */
  readonly program: string;
  /** The far side's name. */
  readonly host: string;
  readonly env: NodeJS.ProcessEnv;
}

const DOOR =
  process.env.BENCH_DOOR ?? fileURLToPath(new URL('../../../packages/sendall/bin/sendall-ssh.js', import.meta.url));

/** `ssh` with the options of the benchmark's own sshd, as one word. */
export function overMaster(folder: string, { config, control }: { config: string; control: string }): Carrier {
  const program = `${folder}/ssh`;
  // Tools set options of their own, such as scp's ControlMaster=no: the first one counts.
  writeFileSync(program, `#!/bin/sh\nexec ssh -F ${config} -S ${control} "$@"\n`);
  chmodSync(program, 0o755);
  return { program, host: 'bench', env: process.env };
}

/**
 * `near`: the caller's home. `home`: HOME of the far commands, so that the account's shell reads the start-up files that it
 * reads behind sshd, which are none.
 */
export function overSendall(folder: string, near: string, home: string): Carrier {
  const program = `${folder}/sendall-ssh`;
  writeFileSync(program, `#!/bin/sh\nexec ${DOOR} -o SetEnv=HOME=${home} "$@"\n`);
  chmodSync(program, 0o755);
  return { program, host: 'web1', env: envOf(near) };
}

/** What decides how long the far shell takes to start: which one it is, and the files that it reads. */
export const surroundingsOf = ({ program, host, env }: Carrier): string =>
  execFileSync(program, [host, 'echo "shell $0, home $HOME with $(ls -A "$HOME" | wc -l) files"'], {
    env,
    encoding: 'utf8',
  }).trim();

/** Milliseconds of one run of a tool, which must end with 0. */
export function timed(words: readonly string[], env: NodeJS.ProcessEnv, folder: string): Promise<number> {
  const errors = `${folder}/errors`;
  const stderr = openSync(errors, 'w');
  const start = performance.now();
  const child = spawn(words[0], words.slice(1), { env, cwd: folder, stdio: ['ignore', 'ignore', stderr] });
  closeSync(stderr);
  return new Promise((resolve, reject) => {
    child.once('error', reject).once('exit', (code, signal) => {
      if (code === 0) resolve(performance.now() - start);
      else reject(new Error(`${words.join(' ')} ended with ${signal ?? code}:\n${readFileSync(errors, 'utf8')}`));
    });
  });
}

/** Runs a command that is not timed. */
export const prepare = (cwd: string, ...words: readonly string[]) =>
  execFileSync(words[0], words.slice(1), { cwd, stdio: ['ignore', 'ignore', 'inherit'] });

export function hasProgram(name: string): boolean {
  try {
    execFileSync('which', [name], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}
