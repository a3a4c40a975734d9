/**
 * Ends this process. Node's own exit waits for threads of its pool, and such a thread may wait in the kernel forever:
 * for a reader of our stdout, a device, or a DNS answer.
 */
import { constants } from 'node:fs';
import { createRequire } from 'node:module';
import { Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { isatty } from 'node:tty';

/** Milliseconds for pending work to finish by itself. */
const PATIENCE = 50;
/** Milliseconds between checks. */
const LOOK = 5;

/** Node's names for requests that occupy a thread: files, names. */
const ON_A_THREAD = /^(?:FSReq|FileHandle|GetAddrInfo|GetNameInfo)/;
const F_GETFL = 3;
const F_SETFL = 4;

const isThreadBusy = (): boolean => process.getActiveResourcesInfo().some((kind) => ON_A_THREAD.test(kind));

const terminals = [0, 1, 2].filter((fd) => isatty(fd));

/**
 * Ends the process with `code`. Node aborts when it cannot restore a terminal that is gone; we then end like any program
 * whose window was closed.
 */
export async function exit(code: number): Promise<void> {
  if (!terminals.every((fd) => isatty(fd))) {
    process.removeAllListeners('SIGHUP');
    process.kill(process.pid, 'SIGHUP');
  }
  for (let waited = 0; waited < PATIENCE && isThreadBusy(); waited += LOOK) await pause(LOOK);
  if (isThreadBusy()) exitAtOnce(code);
  process.exit(code);
}

/** Returns only if neither way is available. */
function exitAtOnce(code: number): void {
  process.emit('exit', code);
  try {
    // Not import(): a bundle compiled ahead of time does not support it.
    const libc = (createRequire(import.meta.url)('koffi') as typeof import('koffi')).default.load(null);
    // Node made a pipe on stdin non-blocking, and other processes may share it.
    if (process.stdin instanceof Socket) {
      const fcntl = libc.func('int fcntl(int fd, int command, long value)');
      fcntl(0, F_SETFL, Number(fcntl(0, F_GETFL, 0)) & ~constants.O_NONBLOCK);
    }
    libc.func('void _exit(int code)')(code);
  } catch {
    // koffi is optional. Node 22.15 can exec another program, which ends all threads.
    const { execve } = process as { execve?: (file: string, argv: readonly string[], env: object) => never };
    process.removeAllListeners('warning');
    execve?.('/bin/sh', ['sh', '-c', `exit ${code}`], {});
  }
}
