/** The folder hosts.d: its YAML files are read, its programs are named. */
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { UsageError } from '../../errors.js';
import { readTrustedFile } from '../../files/trusted-file.js';
import { stampOf } from '../../files/stamp.js';
import { LIMIT_NAMES, type InventoryLimits } from './limits.js';
import { readListing, type Listing } from './listing.js';
import { readYaml } from '../../text/yaml.js';

/** Most files in the folder: each look-up costs a `stat` of each. */
const MAX_FILES = 1000;

/** The paths of the folder's files, in order. */
export interface FolderFiles {
  readonly yaml: readonly string[];
  readonly programs: readonly string[];
}

/** True for the name of a file that is read as YAML, and never run. */
export const isYamlName = (name: string): boolean => /\.ya?ml$/.test(name);

/** Files of editors and the system, which are left alone. */
const isLeftAlone = (name: string): boolean => name.startsWith('.') || /(?:~|\.bak|\.swp|\.tmp)$/.test(name);

/**
 * Lists the folder; undefined if there is none.
 * @throws UsageError when it holds something else than YAML files and programs.
 */
export function filesIn(folder: string): FolderFiles | undefined {
  let names: string[];
  try {
    names = readdirSync(folder).filter((name) => !isLeftAlone(name));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return undefined;
    throw new UsageError(`${folder} cannot be read (${code}): it must be a folder of yours`, { cause: error });
  }
  if (names.length > MAX_FILES)
    throw new UsageError(`${folder} holds more than ${MAX_FILES} files: write several inventories into one file`);
  const paths = names.sort().map((name) => join(folder, name));
  const yaml = paths.filter(isYamlName);
  const programs = paths.filter((path) => !isYamlName(path));
  for (const path of programs) {
    const info = statSync(path, { throwIfNoEntry: false });
    if (!info?.isFile() || !(info.mode & 0o111))
      throw new UsageError(
        `${path} is neither a file *.yaml nor a program: rename it, make it executable (chmod +x), or move it away`,
      );
  }
  return { yaml, programs };
}

/** One YAML file's hosts and groups. */
export function readInventoryFile(path: string, { maxBytes, maxHosts }: InventoryLimits): Listing {
  return readListing(readYaml(readTrustedFile(path, maxBytes, LIMIT_NAMES.maxBytes), path), path, maxHosts);
}

/** A text that changes when one of the files does. */
export const stampsOf = (paths: readonly string[]): string => paths.map((path) => stampOf(path) ?? '-').join('\n');
