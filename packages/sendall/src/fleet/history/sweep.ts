/** Keeps the history small: removes what is old, and the oldest when it takes too much room. */
import { lstatSync, readdirSync, rmSync, utimesSync, writeFileSync, type Stats } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import type { Home } from '../../home.js';
import { LockFile, lockFile } from '../../files/lock-file.js';
import { RecordLog } from '../../files/record-log.js';
import { BESIDE, BLOB, historyFolder, RUN_FILE, type HistoryFolder } from './folder.js';
import { indexRecord, type Begun } from './records.js';

/** How much of the past is kept. */
export interface HistoryLimits {
  /**
   * Milliseconds since the last use.
   * @default 2_592_000_000
   */
  maxAge?: number;
  /**
   * Bytes on the disk, each file rounded up to blocks.
   * @default 2_147_483_648
   */
  maxBytes?: number;
  /**
   * Runs on many hosts.
   * @default 20_000
   */
  maxSets?: number;
  /**
   * Runs on one host.
   * @default 2000
   */
  maxSingles?: number;
  /**
   * Milliseconds between sweeps.
   * @default 60_000
   */
  every?: number;
}

const DEFAULTS: Required<HistoryLimits> = {
  maxAge: 30 * 24 * 60 * 60 * 1000,
  maxBytes: 2 * 1024 ** 3,
  maxSets: 20_000,
  maxSingles: 2000,
  every: 60_000,
};

const BLOCK = 4096;
/** Files that are looked at before other work has a turn. */
const AT_ONCE = 500;
/** Milliseconds after which a file that was to become another was left by a process that died. */
const ABANDONED = 60 * 60 * 1000;

/** A file of the history that may be removed. */
interface Found {
  readonly path: string;
  readonly usedMs: number;
  readonly bytes: number;
}

/**
 * Removes what exceeds the limits, at most once a minute; other work has its turn meanwhile. It removes only files with
 * names that the history gives, and follows no link.
 * @throws the file system's errors; what was not removed is removed the next time.
 */
export async function sweep(home: Home, limits: HistoryLimits = {}, now = Date.now()): Promise<void> {
  const { maxAge, maxBytes, maxSets, maxSingles, every } = { ...DEFAULTS, ...limits };
  const folder = historyFolder(home);
  if (!isDue(folder, now, every)) return;
  const files = [...(await list(folder.path, RUN_FILE, now)), ...(await list(folder.blobs, BLOB, now))];
  files.sort((a, b) => b.usedMs - a.usedMs);
  let bytes = lstatSync(folder.index, { throwIfNoEntry: false })?.size ?? 0;
  let oldest = now - maxAge;
  for (const file of files) {
    bytes += file.bytes;
    if (bytes <= maxBytes) continue;
    // What is not older than this one goes too: there is no room for it.
    oldest = Math.max(oldest, file.usedMs + 1);
    break;
  }
  const kept = new Set<string>();
  for (const [i, { path, usedMs }] of files.entries()) {
    // A run may have used it since it was listed.
    if (usedMs >= oldest || (lstatSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0) !== usedMs) kept.add(path);
    else rmSync(path, { force: true });
    if (i % AT_ONCE === AT_ONCE - 1) await turn();
  }
  const isKept = ({ run, at }: Begun) => at >= oldest || kept.has(join(folder.path, `${run}.jsonl`));
  await shorten(folder, { isKept, maxSets, maxSingles });
}

function isDue({ swept }: HistoryFolder, now: number, every: number): boolean {
  const last = lstatSync(swept, { throwIfNoEntry: false });
  if (last && Math.abs(now - last.mtimeMs) < every) return false;
  try {
    writeFileSync(swept, '', { mode: 0o600 });
    utimesSync(swept, now / 1000, now / 1000);
  } catch {
    // A full disk is a reason to sweep.
  }
  return true;
}

/** The files in a folder whose names fit. */
async function list(path: string, names: RegExp, now: number): Promise<Found[]> {
  const found: Found[] = [];
  let looked = 0;
  for (const name of namesIn(path)) {
    const file = join(path, name);
    const isWanted = names.test(name);
    if (!isWanted && !BESIDE.test(name)) continue;
    if (++looked % AT_ONCE === 0) await turn();
    const info: Stats | undefined = lstatSync(file, { throwIfNoEntry: false });
    if (!info?.isFile()) continue;
    if (isWanted) found.push({ path: file, usedMs: info.mtimeMs, bytes: Math.ceil(info.size / BLOCK) * BLOCK });
    else if (now - info.mtimeMs > ABANDONED) rmSync(file, { force: true });
  }
  return found;
}

function namesIn(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    // There is no such folder yet.
    return [];
  }
}

interface Kept {
  readonly isKept: (begun: Begun) => boolean;
  readonly maxSets: number;
  readonly maxSingles: number;
}

/** Drops old runs from the index, one process at a time, when they are a tenth of it. */
async function shorten({ index }: HistoryFolder, kept: Kept): Promise<void> {
  const log = new RecordLog(index);
  const { records } = log.read();
  if (10 * (records.length - select(records, kept).length) < Math.max(records.length, 1)) return;
  const lock = await lockFile(`${index}.lock`, { patience: 0, stale: 60_000 });
  if (!(lock instanceof LockFile)) return;
  try {
    log.replace((all) => select(all, kept));
  } finally {
    lock.release();
  }
}

/** The records of the runs that are kept, without those that cannot be read. */
function select(values: readonly unknown[], { isKept, maxSets, maxSingles }: Kept): object[] {
  const records = values.map(indexRecord).filter((record) => record !== undefined);
  const forgotten = new Set(records.filter((record) => 'forgotten' in record).map(({ run }) => run));
  const left = { sets: maxSets, singles: maxSingles };
  const runs = new Set<string>();
  for (const record of records.toReversed()) {
    if (!('hosts' in record) || runs.has(record.run) || !isKept(record)) continue;
    if (left[record.set && !forgotten.has(record.run) ? 'sets' : 'singles']-- > 0) runs.add(record.run);
  }
  return records
    .filter(({ run }) => runs.has(run))
    .map((record) => {
      if (!('hosts' in record) || !forgotten.has(record.run)) return record;
      const { set: _set, ...place } = record;
      return place;
    });
}
