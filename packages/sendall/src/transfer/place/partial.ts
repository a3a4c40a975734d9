/** Partial files that earlier transfers left: found again by the name of the file that they were to become. */
import { closeSync, constants, fstatSync, lstatSync, openSync, opendirSync, unlinkSync } from 'node:fs';
import type { Calls } from '../files/calls.js';
import type { HeldFolder } from '../files/held-folder.js';
import { isMarked, isTemporary, markOf } from '../files/names.js';

const { O_NOFOLLOW, O_NONBLOCK, O_RDWR } = constants;
const OWN = 0o600;
const PERMISSIONS = 0o777;
const NAMES = 256;

/** A partial file, open and locked. */
export interface PartialFile {
  readonly name: Buffer;
  readonly fd: number;
  readonly size: number;
}

/** Milliseconds after which a temporary file without a mark is taken for left over, if no transfer has it. */
const SMALL_AGE = 60_000;

/**
 * The temporary files in a folder that may be resumed. What is left over of ours is removed: those older than
 * `partialAge` milliseconds, and of small files, which nothing resumes, sooner.
 */
export function temporariesIn(folder: HeldFolder, calls: Calls, partialAge: number): Buffer[] {
  const found: Buffer[] = [];
  const dir = opendirSync(folder.self as unknown as string, {
    encoding: 'buffer' as BufferEncoding,
    bufferSize: NAMES,
  });
  try {
    for (let entry = dir.readSync(); entry; entry = dir.readSync()) {
      const name = entry.name as unknown as Buffer;
      if (!isTemporary(name)) continue;
      const stat = folder.look(name);
      if (!stat?.isFile() || stat.uid !== process.geteuid?.()) continue;
      const age = Date.now() - stat.mtimeMs;
      if (isMarked(name)) {
        if (age < partialAge) found.push(name);
        else removeDead(folder, name, calls);
      } else if (age > (calls.lock ? SMALL_AGE : partialAge)) removeDead(folder, name, calls);
    }
  } finally {
    dir.closeSync();
  }
  return found;
}

function removeDead(folder: HeldFolder, name: Buffer, calls: Calls): void {
  try {
    const fd = openSync(folder.at(name), O_RDWR | O_NOFOLLOW | O_NONBLOCK);
    try {
      if (calls.lock?.(fd) ?? true) unlinkSync(folder.at(name));
    } finally {
      closeSync(fd);
    }
  } catch {
    // Another transfer was faster, or it is not ours to remove.
  }
}

/**
 * The longest partial file for `name`, opened and locked; shorter ones are removed. One that another transfer is writing is left to it; so nothing
 * is resumed where locks are missing.
 */
export function findPartial(
  folder: HeldFolder,
  name: Buffer,
  candidates: readonly Buffer[],
  size: number,
  calls: Calls,
): PartialFile | undefined {
  const { lock } = calls;
  if (!lock) return undefined;
  const mark = Buffer.from(markOf(name));
  let best: PartialFile | undefined;
  for (const candidate of candidates) {
    if (candidate.length < mark.length || candidate.compare(mark, 0, mark.length, candidate.length - mark.length) !== 0)
      continue;
    const fd = openOwn(folder, candidate);
    if (fd === undefined) continue;
    if (!lock(fd) || !isStillThere(folder, candidate, fd)) {
      closeSync(fd);
      continue;
    }
    const { size: length, mode } = fstatSync(fd);
    // With other permissions it was complete, and others may have opened it.
    const isPrivate = (mode & PERMISSIONS) === OWN;
    const isBetter = isPrivate && length > (best?.size ?? 0) && length <= size;
    const worse = isBetter ? best : { name: candidate, fd };
    if (isBetter) best = { name: candidate, fd, size: length };
    if (!worse) continue;
    unlinkSync(folder.at(worse.name));
    closeSync(worse.fd);
  }
  return best;
}

/** Opens a file only if it is ours and has no other name. */
function openOwn(folder: HeldFolder, name: Buffer): number | undefined {
  try {
    const fd = openSync(folder.at(name), O_RDWR | O_NOFOLLOW | O_NONBLOCK);
    const stat = fstatSync(fd);
    if (stat.isFile() && stat.nlink === 1 && stat.uid === process.geteuid?.()) return fd;
    closeSync(fd);
  } catch {
    // It is gone, or not ours.
  }
  return undefined;
}

function isStillThere(folder: HeldFolder, name: Buffer, fd: number): boolean {
  const there = lstatSync(folder.at(name), { throwIfNoEntry: false });
  const ours = fstatSync(fd);
  return there?.ino === ours.ino && there.dev === ours.dev;
}
