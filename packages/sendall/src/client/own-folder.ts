/** The folder this process is in, as bytes: what a command on this machine starts in, and what a relative one counts from. */
import { readlinkSync, statSync } from 'node:fs';
import { UsageError } from '../errors.js';

const SLASH = 0x2f;

/** `cwd` seen from the present folder. @throws UsageError when that has no name (any more). */
export function fromOwnFolder(cwd: Uint8Array | undefined): Uint8Array {
  // An empty word is refused with the other options.
  if (cwd && (cwd.length === 0 || cwd[0] === SLASH)) return cwd;
  const own = ownFolder();
  // Not normalised: ".." behind a link is the kernel's to follow.
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
