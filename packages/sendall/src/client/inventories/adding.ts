/** Adds a file or a program to hosts.d, after checking it against what is there. */
import { lstatSync, mkdirSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { UsageError } from '../../errors.js';
import { placePrivateFile, replacePrivateFile } from '../../files/private-file.js';
import { trustedPath } from '../../files/trusted-file.js';
import { ensurePrivateFolder, type Home } from '../../home.js';
import { KnownHosts } from '../known-hosts.js';
import { twoPins } from './all-hosts.js';
import { filesIn, isYamlName, readInventoryFile } from './folder.js';
import type { InventoryLimits } from './limits.js';
import { joinListings, type Listing } from './listing.js';
import { askProgram } from './program.js';

/** What is added. */
export interface Addition {
  /** The file's name in hosts.d; for a YAML file without its end. */
  readonly name: string;
  /** Replace a file of this name. */
  readonly replace: boolean;
}

/**
 * Writes `text`, whose content is `listing`, as a file. Resolves to its path.
 * @throws UsageError if it contradicts another file or hosts.json, or if there is such a file; then nothing is written.
 */
export function addInventoryFile(
  home: Home,
  { name, replace, text, listing }: Addition & { readonly text: string; readonly listing: Listing },
  limits: InventoryLimits,
): string {
  const path = join(home.hostsFolder, `${checkFileName(name)}.yaml`);
  checkBeside(home, path, listing, limits);
  makeFolder(home);
  if (replace) replacePrivateFile(path, text);
  else if (!placePrivateFile(path, text)) throw isThere(path);
  return path;
}

/**
 * Links to a program, which is asked once to see that it works.
 * @throws UsageError if it fails or its answer contradicts a file; then no link is left.
 */
export function addInventoryProgram(
  home: Home,
  { name, replace, program }: Addition & { readonly program: string },
  limits: InventoryLimits,
): { readonly path: string; readonly listing: Listing } {
  if (isYamlName(checkFileName(name)))
    throw new UsageError(
      `a program cannot be called ${name}, as it would be read as YAML: give it another name (--as)`,
    );
  const path = join(home.hostsFolder, name);
  if (!replace && lstatSync(path, { throwIfNoEntry: false })) throw isThere(path);
  const real = trustedPath(program);
  const listing = askProgram(real, limits);
  checkBeside(home, path, listing, limits);
  makeFolder(home);
  if (replace) rmSync(path, { force: true });
  symlinkSync(real, path);
  return { path, listing };
}

function checkFileName(name: string): string {
  if (/^[\p{L}\p{N}][\p{L}\p{N}._-]{0,99}$/u.test(name)) return name;
  throw new UsageError(
    `${JSON.stringify(name.slice(0, 120))} cannot name a file in hosts.d: choose a name of letters, digits and . _ - (--as)`,
  );
}

/** Checks a listing against the other files and hosts.json. */
function checkBeside(home: Home, path: string, listing: Listing, limits: InventoryLimits): void {
  const others = (filesIn(home.hostsFolder)?.yaml ?? []).filter((each) => each !== path);
  joinListings([...others.map((each) => readInventoryFile(each, limits)), listing], limits.maxHosts);
  const { entries } = KnownHosts.of(home);
  for (const [name, entry] of listing.hosts) {
    const known = entries.get(name);
    if (known && entry.pin !== undefined && entry.pin !== known.pin) throw twoPins(name, known, entry);
  }
}

function makeFolder({ config, hostsFolder }: Home): void {
  ensurePrivateFolder(config);
  mkdirSync(hostsFolder, { recursive: true, mode: 0o700 });
}

const isThere = (path: string) =>
  new UsageError(`${path} is there already: add --replace to replace it, or choose another name (--as)`);
