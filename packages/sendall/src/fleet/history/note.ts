/** Notes in the history that a run begins, so that `attach` and other commands find it and its hosts later. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Home } from '../../home.js';
import { RecordLog } from '../../files/record-log.js';
import { ensureFolder, historyFolder } from './folder.js';
import type { Begun } from './records.js';

/** Bytes of the index above which it may need a sweep. */
const LARGE = 1024 * 1024;
/** A large index is looked at once for so many bytes of new records. */
const LOOK_EVERY = 64 * 1024;

/** A run on one host. */
export interface SingleRun {
  readonly runId: string;
  readonly host: string;
  readonly name?: string | undefined;
}

/**
 * Notes a run on one host: one short write. A full disk must not stop a command, so a failure is ignored; then only the
 * lookup by a beginning of the id, or by the name, suffers.
 */
export function noteRun(home: Home, { runId, host, name }: SingleRun): void {
  try {
    const isLarge = noteBegin(home, {
      run: runId,
      at: Date.now(),
      hosts: [host],
      ...(name === undefined ? {} : { name }),
    });
    if (isLarge) void import('./sweep.js').then(async ({ sweep }) => await sweep(home)).catch(() => undefined);
  } catch {
    // See above.
  }
}

/**
 * Notes the begin of any run. True when the index has grown so much that it may need a sweep.
 * @throws UsageError for an unsafe folder; the file system's errors.
 */
export function noteBegin(home: Home, begun: Begun): boolean {
  const folder = historyFolder(home);
  // Before there was a history, a list of runs was kept there.
  if (ensureFolder(folder.path)) rmSync(join(home.state, 'started.jsonl'), { force: true });
  const index = new RecordLog(folder.index);
  try {
    const { size, added } = index.append(begun);
    return size > LARGE && Math.floor(size / LOOK_EVERY) > Math.floor((size - added) / LOOK_EVERY);
  } finally {
    index.close();
  }
}
