/** The thread that starts commands: steps into a command's cgroup, starts it there, steps back. See spawner.ts. */
import { writeSync } from 'node:fs';
import { parentPort } from 'node:worker_threads';
import { SELF } from './cgroup.js';
import type { SpawnOrder, SpawnReport } from './spawner.js';
import { loadSpawnCall } from './syscalls.js';

const EIO = 5;
const port = parentPort!;
const spawn = await loadSpawnCall();

function start([, call, group, home]: SpawnOrder): { errno: number; pid: number } {
  if (group < 0) return spawn(call);
  try {
    writeSync(group, SELF);
    try {
      return spawn(call);
    } finally {
      writeSync(home, SELF);
    }
  } catch (error) {
    return { errno: Math.abs((error as NodeJS.ErrnoException).errno ?? EIO), pid: 0 };
  }
}

port.on('message', (order: SpawnOrder) => {
  const { errno, pid } = start(order);
  const report: SpawnReport = [order[0], errno, pid];
  port.postMessage(report);
});
