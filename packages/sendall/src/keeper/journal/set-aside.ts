/**
 * What a damaged journal no longer leads to is kept: its file and the output of runs that it does not know move to
 * `damaged/TIME` in the state folder. They stay there until a person removes them, and as long as they do, `status` and
 * `doctor` say so.
 */
import { constants, copyFileSync, existsSync, linkSync, mkdirSync, readdirSync, renameSync } from 'node:fs';
import { basename, join } from 'node:path';
import { SendallError } from '../../errors.js';
import type { Home } from '../../home.js';
import type { JournalEntry } from './entries.js';
import { journalFile, type Keeping } from './journal.js';
import { isSpoolName, spoolFolderName, spoolRoot } from '../output/spool.js';

const root = (home: Home): string => join(home.state, 'damaged');

/** Folders in which something was set aside, the oldest first. */
export function setAsideFolders(home: Home): string[] {
  try {
    return readdirSync(root(home))
      .sort()
      .map((name) => join(root(home), name));
  } catch {
    return [];
  }
}

/** A folder for what is set aside now. */
export const setAsideFolder = (home: Home): string => join(root(home), new Date().toISOString().replaceAll(':', '-'));

export class SetAside implements Keeping {
  readonly #home: Home;

  constructor(home: Home) {
    this.#home = home;
  }

  hasStrays(entries: readonly JournalEntry[]): boolean {
    return this.#strays(entries).length > 0;
  }

  setAside(entries: readonly JournalEntry[]): void {
    const folder = setAsideFolder(this.#home);
    const journal = journalFile(this.#home);
    try {
      mkdirSync(folder, { recursive: true, mode: 0o700 });
      if (existsSync(journal)) keep(journal, join(folder, basename(journal)));
      for (const name of this.#strays(entries)) {
        mkdirSync(join(folder, 'spool'), { recursive: true, mode: 0o700 });
        renameSync(join(spoolRoot(this.#home), name), join(folder, 'spool', name));
      }
    } catch (cause) {
      const { message } = cause as Error;
      throw new SendallError('JOURNAL', `${journal} is damaged and cannot be set aside in ${folder}: ${message}`, {
        cause,
      });
    }
  }

  /** Output of runs that no entry knows. */
  #strays(entries: readonly JournalEntry[]): string[] {
    const known = new Set<string>();
    for (const entry of entries) if (entry.kind === 'intent') known.add(spoolFolderName(entry.principal, entry.runId));
    return readdirSync(spoolRoot(this.#home)).filter((name) => isSpoolName(name) && !known.has(name));
  }
}

/** Gives a file a second name, which stays when the first one is given to another file. */
function keep(path: string, name: string): void {
  try {
    linkSync(path, name);
  } catch {
    // Some file systems have no second names.
    copyFileSync(path, name, constants.COPYFILE_EXCL);
  }
}
