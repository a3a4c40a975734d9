/** Ends keepers and removes their folders once nothing writes there. */
import { existsSync, readlinkSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { alive } from '../../../test/support/alive.js';
import { until } from '../../../test/support/waits.js';

/** The keeper named in the folder. */
function keeperOf(folder: string): number | undefined {
  try {
    return Number(readlinkSync(join(folder, 'keeper.owner')).split('.')[0]);
  } catch {
    return undefined;
  }
}

/** Waits for the folder's keeper to end, and ends it if it stays with commands or waits for agents. */
export async function endKeeper(folder: string, wait = 0): Promise<void> {
  const pid = keeperOf(folder);
  const gone = () => pid === undefined || !alive(pid);
  try {
    await until(gone, 'the keeper to end', wait);
  } catch {
    try {
      if (!gone()) process.kill(pid!, 'SIGKILL');
    } catch {
      // It has ended just now.
    }
    await until(gone, 'the keeper to end');
  }
}

/** Removes a state folder whose agent has ended; its keeper has `wait` milliseconds to end by itself. */
export async function removeHome(folder: string, wait = 5000): Promise<void> {
  await endKeeper(folder, wait);
  await removeFolder(folder);
}

/** Removes a folder in which programs may still be ending. */
export async function removeFolder(folder: string): Promise<void> {
  const removed = (): boolean => {
    try {
      rmSync(folder, { recursive: true, force: true });
      return true;
    } catch {
      // Another keeper was just starting, or a command is left.
      return false;
    }
  };
  await until(removed, `${folder} to be left alone`);
}

/** The same without a turn of the event loop. */
export function removeFolderNow(folder: string): void {
  for (let tries = 0; existsSync(folder); tries++)
    try {
      rmSync(folder, { recursive: true, force: true });
    } catch (error) {
      if (tries === 200) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100);
    }
}
