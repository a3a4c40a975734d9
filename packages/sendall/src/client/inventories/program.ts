/** Runs an inventory program: without a shell, within limits, and only if no other user could have changed it. */
import { spawnSync } from 'node:child_process';
import { closeSync, openSync, readSync } from 'node:fs';
import { constants } from 'node:os';
import { dirname } from 'node:path';
import { UsageError } from '../../errors.js';
import { trustedPath } from '../../files/trusted-file.js';
import { printable } from '../../text/printable.js';
import { LIMIT_NAMES, type InventoryLimits } from './limits.js';
import { readListing, type Listing } from './listing.js';
import { treeOfJson } from '../../text/tree.js';

/** Most bytes of a program's stderr; its last line is shown if it fails. */
const MAX_STDERR = 64 * 1024;
/** The first bytes of ELF and Mach-O. */
const binaries = new Set(['7f454c46', 'feedface', 'feedfacf', 'cefaedfe', 'cffaedfe', 'cafebabe']);

/**
 * The hosts and groups that a program prints: `{"hosts": {…}, "groups": {…}}`, as in a file. It gets no words, an empty
 * stdin, no terminal, and its own folder as its current one.
 * @throws UsageError that names the program, when it fails or prints anything else.
 */
export function askProgram(path: string, limits: InventoryLimits): Listing {
  const text = run(path, limits);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    const begins = text.trim() ? `it begins with ${JSON.stringify(printable(text.trimStart(), 60))}` : 'it is empty';
    throw new UsageError(`the inventory program ${path} printed what is not JSON: ${begins}`, { cause });
  }
  return readListing(treeOfJson(value, path), path, limits.maxHosts);
}

function run(path: string, { timeout, maxBytes }: InventoryLimits): string {
  const program = trustedPath(path);
  if (!isProgram(program))
    throw new UsageError(
      `the inventory program ${path} is neither a binary nor a script whose first line begins with "#!": nothing says what runs it`,
    );
  const { pid, status, signal, stdout, stderr, error } = spawnSync(program, [], {
    cwd: dirname(program),
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout,
    maxBuffer: Math.max(maxBytes, MAX_STDERR),
    killSignal: 'SIGKILL',
    // A group of its own, so that all it started ends with it; and no terminal to ask a question on.
    detached: true,
  } as Parameters<typeof spawnSync>[2] & { detached: true }) as ReturnType<typeof spawnSync> & {
    stdout: Buffer | null;
    stderr: Buffer | null;
  };
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  if (code === 'ETIMEDOUT' || code === 'ENOBUFS') endGroup(pid);
  const fail = (what: string) =>
    new UsageError(`the inventory program ${path} ${what}${lastLine(stderr)}`, { cause: error });
  if (code === 'ETIMEDOUT') throw fail(`did not end within ${timeout / 1000} s (${LIMIT_NAMES.timeout})`);
  if (code === 'ENOBUFS' || (stdout?.length ?? 0) > maxBytes)
    throw fail(`printed more than ${maxBytes} bytes (${LIMIT_NAMES.maxBytes})`);
  if (code === 'ENOENT') throw fail('cannot be started: its interpreter, named in its first line, is not there');
  if (error) throw fail(`cannot be started (${code ?? error.message})`);
  if (signal) throw fail(`was killed by ${signal}`);
  if (status !== 0) throw fail(`exited with ${status}`);
  return (stdout ?? Buffer.alloc(0)).toString();
}

/**
 * Whether the kernel itself can run a file. The C library gives any other text to a shell, which would take a list of
 * hosts for commands.
 */
function isProgram(path: string): boolean {
  const head = Buffer.alloc(4);
  const fd = openSync(path, 'r');
  try {
    readSync(fd, head, 0, 4, 0);
  } finally {
    closeSync(fd);
  }
  return head.toString('latin1', 0, 2) === '#!' || binaries.has(head.toString('hex'));
}

function endGroup(pid: number): void {
  try {
    if (pid) process.kill(-pid, constants.signals.SIGKILL);
  } catch {
    // It has ended.
  }
}

function lastLine(stderr: Buffer | null): string {
  const line = stderr?.subarray(-MAX_STDERR).toString().trimEnd().split('\n').at(-1)?.trim();
  return line ? `: ${printable(line)}` : '';
}
