/** Where the sources of a transfer land: in a folder that is there, or as the one that DST names. */
import { closeSync, constants, lstatSync, mkdirSync, openSync, readSync, realpathSync } from 'node:fs';
import { HeldFolder } from '../files/held-folder.js';
import { UNFINISHED } from '../files/names.js';
import { Problem, failedWith, problemOf } from '../files/problem.js';
import { walkBelow, type Roots } from '../files/roots.js';

const SLASH = 0x2f;
const HERE = Buffer.from('.');

/** What decides on where sources land. */
export interface LandingOptions {
  readonly sources: number;
  /** The name of the only source. */
  readonly name: Uint8Array | undefined;
  readonly cwd: string;
  readonly dryRun: boolean;
  readonly into: boolean | undefined;
  readonly partialAge: number;
  readonly roots?: Roots | undefined;
}

/** Where sources land. */
export interface Landing {
  /** Undefined in a dry run, when it would have been made. */
  readonly folder: HeldFolder | undefined;
  /** The name that the only source gets there; undefined when each keeps its own. */
  readonly name?: Buffer | undefined;
  /** It is an exact path, for callers who are no owners: only a file may land there. */
  readonly exact?: boolean;
}

/**
 * Opens the place for `sources` sources. As for cp: a single one gets the name of the destination, unless a folder is
 * there, or the destination ends in a slash: that makes it a folder. The owner's own path may contain links.
 * @throws Problem
 */
export function openLanding(destination: Buffer, options: LandingOptions): Landing {
  const { sources, cwd, roots } = options;
  const shown = JSON.stringify(destination.toString());
  try {
    if (roots) {
      if (sources !== 1) throw new Problem('a rule for files allows one source at a time', 'EACCES');
      return { ...walkBelow(roots, destination), exact: true };
    }
    if (destination.includes(0)) throw new Problem('a path with a zero byte');
    const path = destination[0] === SLASH ? destination : Buffer.concat([Buffer.from(`${cwd}/`), destination]);
    return landAt(path, options);
  } catch (error) {
    const { message, errno } = problemOf(error);
    throw new Problem(`${shown}: ${message}`, errno, { cause: error });
  }
}

function landAt(path: Buffer, { sources, name, dryRun, into, partialAge }: LandingOptions): Landing {
  const mustBeFolder = into ?? path.at(-1) === SLASH;
  try {
    const folder = HeldFolder.open(path);
    const unfinished = sources === 1 && !mustBeFolder && isUnfinished(folder, name, partialAge);
    if (into !== false && !unfinished) return { folder };
    // As the destination, which is there already.
    folder.release();
    return inParent(realpathSync(path, { encoding: 'buffer' }));
  } catch (error) {
    if (failedWith(error, 'ENOTDIR') && (mustBeFolder || sources > 1))
      throw new Problem(
        mustBeFolder ? 'it is no folder' : `it is no folder, and there are ${sources} sources`,
        'ENOTDIR',
      );
    if (!failedWith(error, 'ENOENT', 'ENOTDIR')) throw error;
    if (sources > 1 && !mustBeFolder) throw new Problem(`there is no such folder for ${sources} sources`, 'ENOENT');
  }
  if (mustBeFolder) {
    if (dryRun) return { folder: undefined };
    mkdirSync(path, 0o777);
    return { folder: HeldFolder.open(path) };
  }
  return inParent(realPath(path));
}

function inParent(path: Buffer): Landing {
  const at = path.lastIndexOf(SLASH);
  return { folder: HeldFolder.open(at === 0 ? Buffer.from('/') : path.subarray(0, at)), name: path.subarray(at + 1) };
}

/** Whether an earlier transfer made this folder for the source of this name, and did not complete it. */
function isUnfinished(folder: HeldFolder, name: Uint8Array | undefined, partialAge: number): boolean {
  const mark = folder.look(UNFINISHED);
  if (!name || !mark?.isFile() || mark.uid !== process.geteuid?.() || Date.now() - mark.mtimeMs > partialAge)
    return false;
  try {
    const fd = openSync(folder.at(UNFINISHED), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    try {
      const content = Buffer.alloc(name.length + 1);
      return readSync(fd, content) === name.length && content.subarray(0, -1).equals(name);
    } finally {
      closeSync(fd);
    }
  } catch {
    return false;
  }
}

/** The path itself, or of what a link there leads to. */
function realPath(path: Buffer): Buffer {
  if (!lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink()) return path;
  try {
    return realpathSync(path, { encoding: 'buffer' });
  } catch (cause) {
    throw new Problem('it is a link to nothing', 'ENOENT', { cause });
  }
}

/** A descriptor of a folder that can be synced; undefined when we may not read it. */
export function openToSync(folder: HeldFolder): number | undefined {
  try {
    return openSync(folder.at(HERE), constants.O_RDONLY | constants.O_DIRECTORY);
  } catch {
    return undefined;
  }
}
