/**
 * Where a keeper goes on with the log. The journal holds each line until the log's files are durable with it, so the files
 * count up to the journal's last mark only, and the lines behind it come from the journal. If these do not fit together,
 * or the journal itself was damaged, a new log begins, and its first line names the head of the old one.
 */
import { randomBytes } from 'node:crypto';
import { lstatSync, mkdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { SendallError } from '../../errors.js';
import type { Home } from '../../home.js';
import { EMPTY, hashBase64, hashFrom } from '../../log/hashes.js';
import { logFolder } from '../../log/layout.js';
import { holdsLog, LogFiles, openHashes, type LogStep, type Mark } from '../../log/log-files.js';
import { rootAt, sizeOfStored } from '../../log/stored-hashes.js';
import type { EntryOf, JournalEntry } from '../journal/entries.js';
import { setAsideFolder, setAsideFolders } from '../journal/set-aside.js';

/** What stands in the first line of a log that follows another one. */
export interface Before {
  readonly size: number;
  /** Base64; undefined if nothing is left that would tell. */
  readonly root: string | undefined;
  readonly reason: string;
  /** Where its files are, if there are any. */
  readonly folder: string | undefined;
}

/** A log to go on with. */
export interface Recovered {
  readonly id: Buffer;
  readonly files: LogFiles;
  /** Lines behind those in the files. */
  readonly lines: Buffer[];
  /** The log is new: its first line is to be written. */
  readonly isNew: boolean;
  readonly before: Before | undefined;
}

const NOTHING: Mark = { size: 0, root: EMPTY, first: 0, bytes: 0 };
const ID_SIZE = 8;

/** What the journal has of the log. */
interface Noted {
  readonly mark: EntryOf<'logged'> | undefined;
  readonly lines: Buffer[];
  /** A line is missing between others, or stands there in two forms. */
  readonly broken: boolean;
}

function notedIn(entries: readonly JournalEntry[]): Noted {
  let mark: EntryOf<'logged'> | undefined;
  let byIndex = new Map<number, Buffer>();
  let broken = false;
  for (const entry of entries) {
    if (entry.kind === 'logged') {
      if (!mark || !same(mark.id, entry.id)) byIndex = new Map();
      mark = entry;
    } else if (entry.kind === 'line') {
      const known = byIndex.get(entry.index);
      if (known && !same(known, entry.line)) broken = true;
      byIndex.set(entry.index, Buffer.from(entry.line));
    }
  }
  const lines: Buffer[] = [];
  for (let index = mark?.size ?? 0; byIndex.has(index); index++) lines.push(byIndex.get(index)!);
  const last = Math.max(-1, ...byIndex.keys());
  return { mark, lines, broken: broken || last >= (mark?.size ?? 0) + lines.length };
}

/**
 * Opens the log of `home` as the journal's entries say. `damaged`: the journal was.
 * @throws the file system's errors.
 */
export function recoverLog(
  home: Home,
  entries: readonly JournalEntry[],
  damaged: boolean,
  step: (step: LogStep) => void,
): Recovered {
  const place = { home, damaged, step };
  const folder = logFolder(home);
  const { mark, lines, broken } = notedIn(entries);
  if (!mark) {
    const reason = holdsLog(folder) ? 'its journal is gone' : lines.length ? 'its beginning is gone' : undefined;
    return beginLog(place, reason === undefined ? undefined : { ...headIn(folder), reason });
  }
  let files: LogFiles;
  try {
    files = LogFiles.open(folder, { ...mark, root: hashFrom(mark.root) }, step);
  } catch (error) {
    if (!(error instanceof SendallError)) throw error;
    const old = { size: mark.size, root: hashBase64(hashFrom(mark.root)) };
    return beginLog(place, { ...old, reason: error.message });
  }
  if (!damaged && !broken) return { id: Buffer.from(mark.id), files, lines, isNew: false, before: undefined };
  files.add(lines);
  const old = { size: files.size, root: hashBase64(files.root) };
  try {
    // For those who look into the old log.
    files.save();
  } catch {
    // The disk is full: its last lines are in the journal, which was set aside.
  }
  files.close();
  return beginLog(place, { ...old, reason: broken ? 'lines are missing' : 'its journal was damaged' });
}

/** The head of a log that no journal knows, as far as its hashes can be read. */
function headIn(folder: string): { size: number; root: string | undefined } {
  const unknown = { size: 0, root: undefined };
  if (!holdsLog(folder)) return unknown;
  try {
    const hashes = openHashes(folder);
    try {
      const size = sizeOfStored(hashes.count);
      return { size, root: hashBase64(rootAt(size, (place) => hashes.read(place))) };
    } finally {
      hashes.close();
    }
  } catch {
    // Such as a folder in its place.
    return unknown;
  }
}

/** Begins a log, and sets an old one aside. */
function beginLog(
  { home, damaged, step }: { home: Home; damaged: boolean; step: (step: LogStep) => void },
  old?: Omit<Before, 'folder'>,
): Recovered {
  const folder = logFolder(home);
  let aside: string | undefined;
  if (old && lstatSync(folder, { throwIfNoEntry: false })) {
    // Beside the journal, if that was set aside just now.
    aside = join((damaged && setAsideFolders(home).at(-1)) || setAsideFolder(home), 'log');
    mkdirSync(join(aside, '..'), { recursive: true, mode: 0o700 });
    renameSync(folder, aside);
  }
  const before = old && { ...old, folder: aside };
  return { id: randomBytes(ID_SIZE), files: LogFiles.open(folder, NOTHING, step), lines: [], isNew: true, before };
}

const same = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;
