/**
 * The system calls Node lacks, through koffi: real pipes, posix_spawn, waiting for one child, readiness of a
 * descriptor. Loaded once, when the keeper starts; where it cannot be loaded `plain.ts` stands in. By subject they
 * stand in `calls/`.
 *
 * Sources: the Linux manual pages of each call; structure sizes of glibc 2.36 and musl 1.2 on x86-64 and arm64.
 */
import { fileCalls } from './calls/files.js';
import { Libc } from '../../libc/libc.js';
import { memoryFileCalls } from './calls/memory-files.js';
import { processCalls } from './calls/processes.js';
import { recordSocketCalls } from './calls/record-sockets.js';
import { spawnByCall, spawnCalls } from './calls/spawn.js';
import { terminalCalls } from './calls/terminals.js';
import { userCalls } from './calls/users.js';
import type { Starter } from '../../started.js';
import type { Native, SpawnCall } from './native.js';

/** Loads koffi and binds the calls. Undefined where that is not possible. */
export async function loadNative(starter: Starter): Promise<Native | undefined> {
  if (process.platform !== 'linux') return undefined;
  try {
    const libc = new Libc((await import('koffi')).default);
    return {
      subreaper: true,
      ...fileCalls(libc),
      ...memoryFileCalls(libc),
      ...spawnCalls(libc, starter),
      ...processCalls(libc),
      ...userCalls(libc),
      ...terminalCalls(libc),
      ...recordSocketCalls(libc),
      dispose() {},
    };
  } catch {
    // Not installed, or not for this machine: it is optional.
    return undefined;
  }
}

/** posix_spawn for a thread that is given its calls by another. Call only where `loadNative` has succeeded. */
export async function loadSpawnCall(): Promise<(call: SpawnCall) => { errno: number; pid: number }> {
  return spawnByCall(new Libc((await import('koffi')).default));
}
