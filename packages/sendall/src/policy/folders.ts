/** Folders that users other than some could change: what a path leads through is theirs to choose. */
import { lstatSync, opendirSync } from 'node:fs';
import { printable } from '../text/printable.js';
import { bytesOfWord, type Word } from './patterns.js';

/** Entries looked at below one folder. */
const MAX_ENTRIES = 10_000;

/**
 * A folder on the way to `base`, or below it if `deep`, that others than `uids` can change; undefined: none was found.
 * What is not there, or may not be read, is passed over.
 */
export function changeableFolder(base: Word, deep: boolean, uids: ReadonlySet<number>): string | undefined {
  const parts = base.split('/').filter(Boolean);
  for (let i = 0; i <= parts.length; i++) {
    const why = whyChangeable(`/${parts.slice(0, i).join('/')}`, uids);
    if (why !== undefined) return why;
  }
  if (!deep) return undefined;
  const left = [base];
  let entries = 0;
  for (let folder = left.pop(); folder !== undefined; folder = left.pop()) {
    for (const name of foldersIn(folder)) {
      if (++entries > MAX_ENTRIES) return undefined;
      const path = `${folder === '/' ? '' : folder}/${name}`;
      const why = whyChangeable(path, uids);
      if (why !== undefined) return why;
      left.push(path);
    }
  }
  return undefined;
}

/** The first link on the way to a path, or at its end; undefined: there is none, or it may not be looked at. */
export function linkOn(path: Word): string | undefined {
  const parts = path.split('/').filter(Boolean);
  for (let i = 1; i <= parts.length; i++) {
    const bytes = bytesOfWord(`/${parts.slice(0, i).join('/')}`);
    try {
      if (lstatSync(bytes).isSymbolicLink()) return printable(bytes.toString(), 200);
    } catch {
      return undefined;
    }
  }
  return undefined;
}

function whyChangeable(path: Word, uids: ReadonlySet<number>): string | undefined {
  try {
    const { uid, mode } = lstatSync(bytesOfWord(path));
    const shown = printable(bytesOfWord(path).toString(), 200);
    if (!uids.has(uid)) return `${shown} belongs to user ${uid}`;
    return mode & 0o022 ? `${shown} has the mode ${(mode & 0o7777).toString(8)}` : undefined;
  } catch {
    return undefined;
  }
}

function foldersIn(folder: Word): Word[] {
  const found: Word[] = [];
  try {
    const open = opendirSync(bytesOfWord(folder), { encoding: 'latin1' });
    try {
      for (let entry = open.readSync(); entry && found.length < MAX_ENTRIES; entry = open.readSync())
        if (entry.isDirectory()) found.push(entry.name);
    } finally {
      open.closeSync();
    }
  } catch {
    // It may have gone, or be closed to us.
  }
  return found;
}
