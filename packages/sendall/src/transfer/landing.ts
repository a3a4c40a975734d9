/** Where the sources of a transfer land: in a folder that is there, or as the one that DST names. */
import { constants, lstatSync, mkdirSync, openSync, realpathSync } from 'node:fs';
import { HeldFolder } from './held-folder.js';
import { Problem, failedWith, problemOf } from './problem.js';
import { walkBelow, type Roots } from './roots.js';

const SLASH = 0x2f;
const HERE = Buffer.from('.');

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
export function openLanding(
  destination: Buffer,
  sources: number,
  cwd: string,
  dryRun: boolean,
  roots?: Roots,
): Landing {
  const shown = JSON.stringify(destination.toString());
  try {
    if (roots) {
      if (sources !== 1) throw new Problem('a rule for files allows one source at a time', 'EACCES');
      return { ...walkBelow(roots, destination), exact: true };
    }
    if (destination.includes(0)) throw new Problem('a path with a zero byte');
    const path = destination[0] === SLASH ? destination : Buffer.concat([Buffer.from(`${cwd}/`), destination]);
    return landAt(path, sources, dryRun);
  } catch (error) {
    const { message, errno } = problemOf(error);
    throw new Problem(`${shown}: ${message}`, errno, { cause: error });
  }
}

function landAt(path: Buffer, sources: number, dryRun: boolean): Landing {
  const mustBeFolder = path.at(-1) === SLASH;
  try {
    return { folder: HeldFolder.open(path) };
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
  const real = realPath(path);
  const at = real.lastIndexOf(SLASH);
  return { folder: HeldFolder.open(at === 0 ? Buffer.from('/') : real.subarray(0, at)), name: real.subarray(at + 1) };
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
