/** What is there already under a file's name, and whether it is the file that is to come. */
import { createHash } from 'node:crypto';
import { closeSync, constants, fchmodSync, lstatSync, openSync, readSync, type BigIntStats } from 'node:fs';
import type { HeldFolder } from '../files/held-folder.js';
import { Problem } from '../files/problem.js';
import { readAt } from '../files/read-at.js';
import { PIECE } from '../stream/limits.js';
import type { Level } from './level.js';
import type { Properties } from './placing.js';
import { isTimeOf } from './entry.js';

const { O_NOFOLLOW, O_NONBLOCK, O_RDONLY } = constants;
const LOOKING = O_RDONLY | O_NOFOLLOW | O_NONBLOCK;

/** @throws Problem when no file can take its place */
export function lookAt(level: Level, name: Buffer): BigIntStats | undefined {
  if (level.fresh || !level.folder) return undefined;
  const there = lstatSync(level.folder.at(name), { bigint: true, throwIfNoEntry: false });
  if (!there || there.isSymbolicLink()) return undefined;
  if (there.isDirectory()) throw new Problem('a folder is there', 'EISDIR');
  if (!there.isFile()) throw new Problem('a device, FIFO or socket is there', 'EEXIST');
  return there;
}

/** Whether a file is the same by its size and time. `exact`: its time is to be the same to the nanosecond. */
export const isLike = (there: BigIntStats, size: number | undefined, properties: Properties, exact: boolean): boolean =>
  size !== undefined && there.size === BigInt(size) && isTimeOf(there.mtimeNs, properties, exact);

/** Whether a file has these permissions, or gets them now. */
export const getsMode = (folder: HeldFolder, name: Buffer, there: BigIntStats, mode: number): boolean =>
  Number(there.mode & 0o777n) === mode || setMode(folder, name, mode);

/** Whether a file has just this content. */
export function hasContent(folder: HeldFolder, name: Buffer, content: Buffer): boolean {
  const fd = openSync(folder.at(name), LOOKING);
  try {
    const there = Buffer.allocUnsafe(content.length + 1);
    if (readSync(fd, there, 0, there.length, 0) !== content.length) return false;
    return there.compare(content, 0, content.length, 0, content.length) === 0;
  } finally {
    closeSync(fd);
  }
}

/** Whether a file of this size has this SHA-256. `stopped`: the answer is not wanted any more. */
export async function hasSum(
  folder: HeldFolder,
  name: Buffer,
  size: number,
  sha256: Buffer,
  stopped: () => boolean,
): Promise<boolean> {
  const fd = openSync(folder.at(name), LOOKING);
  try {
    const sum = createHash('sha256');
    const piece = Buffer.allocUnsafe(PIECE);
    for (let at = 0; !stopped();) {
      const length = await readAt(fd, piece, at);
      if (length === 0) break;
      sum.update(piece.subarray(0, length));
      at += length;
      if (at > size) return false;
    }
    return sum.digest().equals(sha256);
  } finally {
    closeSync(fd);
  }
}

/** Gives a file of ours these permissions. False when that is not possible. */
export function setMode(folder: HeldFolder, name: Buffer, mode: number): boolean {
  try {
    const fd = openSync(folder.at(name), LOOKING);
    try {
      fchmodSync(fd, mode);
      return true;
    } finally {
      closeSync(fd);
    }
  } catch {
    return false;
  }
}
