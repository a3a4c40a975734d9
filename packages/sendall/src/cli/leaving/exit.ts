/**
 * The end of this process. Node's own exit waits for threads of its pool, and such a thread may wait in the kernel for
 * ever: for a reader of our stdout, for a device, for an answer of DNS.
 */
import { constants } from 'node:fs';
import { createRequire } from 'node:module';
import { Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';

/** Milliseconds in which what is under way may end by itself. */
const PATIENCE = 50;
/** Milliseconds between looks. */
const LOOK = 5;

/** What Node calls a request that a thread works on: files, names. */
const ON_A_THREAD = /^(?:FSReq|FileHandle|GetAddrInfo|GetNameInfo)/;
const F_GETFL = 3;
const F_SETFL = 4;

const isThreadBusy = (): boolean => process.getActiveResourcesInfo().some((kind) => ON_A_THREAD.test(kind));

/** Ends the process with `code`. */
export async function exit(code: number): Promise<void> {
  for (let waited = 0; waited < PATIENCE && isThreadBusy(); waited += LOOK) await pause(LOOK);
  if (isThreadBusy()) exitAtOnce(code);
  process.exit(code);
}

/** Returns only where neither way is there. */
function exitAtOnce(code: number): void {
  process.emit('exit', code);
  try {
    // Not import(): a bundle that was compiled beforehand cannot.
    const libc = (createRequire(import.meta.url)('koffi') as typeof import('koffi')).default.load(null);
    // A pipe on stdin was made non-blocking for us, and others may share it.
    if (process.stdin instanceof Socket) {
      const fcntl = libc.func('int fcntl(int fd, int command, long value)');
      fcntl(0, F_SETFL, Number(fcntl(0, F_GETFL, 0)) & ~constants.O_NONBLOCK);
    }
    libc.func('void _exit(int code)')(code);
  } catch {
    // koffi is optional. Node 22.15 can become another program, which ends all threads.
    const { execve } = process as { execve?: (file: string, argv: readonly string[], env: object) => never };
    process.removeAllListeners('warning');
    execve?.('/bin/sh', ['sh', '-c', `exit ${code}`], {});
  }
}
