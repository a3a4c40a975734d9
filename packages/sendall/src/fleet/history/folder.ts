/** The folder of the history: `fleet/` in the state folder, with the names of its files. */
import { lstatSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { UsageError } from '../../errors.js';
import type { Home } from '../../home.js';

/** The files of a history. */
export interface HistoryFolder {
  readonly path: string;
  /** A record for the begin and the end of each run. */
  readonly index: string;
  /** Outputs, each named by its SHA-256. */
  readonly blobs: string;
  /** Its time is that of the last sweep. */
  readonly swept: string;
}

export const RUN_ID = /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/;
export const RUN_FILE = /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\.jsonl$/;
export const BLOB = /^[0-9a-f]{64}$/;
/** A file that was to become the index. */
export const BESIDE = /^index\.jsonl\.\d+\.[0-9a-f]{12}$/;

export function historyFolder({ state }: Pick<Home, 'state'>): HistoryFolder {
  const path = join(state, 'fleet');
  return { path, index: join(path, 'index.jsonl'), blobs: join(path, 'blobs'), swept: join(path, 'swept') };
}

/** The file with a record for each host of a run. */
export function runFile({ path }: HistoryFolder, runId: string): string {
  return join(path, `${runId}.jsonl`);
}

/**
 * Makes a folder of the history, for this user alone, or checks the one that is there. True when it made it.
 * @throws UsageError when it is a link, another user's, or open to others; the file system's errors.
 */
export function ensureFolder(path: string): boolean {
  const info = lstatSync(path, { throwIfNoEntry: false });
  if (!info) {
    mkdirSync(path, { recursive: true, mode: 0o700 });
    return true;
  }
  const uid = process.getuid?.() ?? info.uid;
  if (!info.isDirectory()) throw new UsageError(`${path} is not a folder: move it away`);
  if (info.uid !== uid) throw new UsageError(`${path} belongs to user ${info.uid}, not to you (${uid}): move it away`);
  if (info.mode & 0o077)
    throw new UsageError(`${path} is open to other users (mode ${(info.mode & 0o777).toString(8)}): chmod 700 it`);
  return false;
}
