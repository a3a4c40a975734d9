/** The current folder of this process, as bytes: where a command on this machine starts and relative paths begin. */
import { readlinkSync, statSync } from 'node:fs';
import { UsageError } from '../errors.js';

const SLASH = 0x2f;

/**
 * `cwd` made absolute from the current folder.
 * @throws UsageError when that folder has no name (any more).
 */
export function fromOwnFolder(cwd: Uint8Array | undefined): Uint8Array {
  // An empty word is refused with the other options.
  if (cwd && (cwd.length === 0 || cwd[0] === SLASH)) return cwd;
  const own = ownFolder();
  // Not normalised: resolving ".." behind a link is the kernel's job.
  return cwd ? Buffer.concat([own, Buffer.from('/'), cwd]) : own;
}

function ownFolder(): Buffer {
  let name: string;
  try {
    name = process.cwd();
  } catch (error) {
    throw gone(error);
  }
  // Only a replacement character can hide bytes that were lost.
  return name.includes('\ufffd') ? ownFolderAsBytes(name) : Buffer.from(name);
}

function ownFolderAsBytes(name: string): Buffer {
  let bytes: Buffer;
  try {
    bytes = readlinkSync('/proc/self/cwd', 'buffer');
    const [here, there] = [statSync('.'), statSync(bytes)];
    if (here.dev !== there.dev || here.ino !== there.ino) throw new Error('its name is of another folder');
  } catch (error) {
    throw gone(error, name);
  }
  return bytes;
}

function gone(cause: unknown, name?: string): UsageError {
  const folder = name === undefined ? 'the present folder' : `the present folder ${JSON.stringify(name)}`;
  return new UsageError(
    `${folder} was removed, or cannot be seen from here: go to one that is there, or name one (--cwd, option cwd)`,
    { cause },
  );
}
