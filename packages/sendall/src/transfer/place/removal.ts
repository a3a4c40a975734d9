/** Removing what the source does not have: names in a folder, and folders with all they have. */
import { opendirSync, rmdirSync, unlinkSync, type Dirent } from 'node:fs';
import type { EntryKind } from '../stream/events.js';
import type { HeldFolder } from '../files/held-folder.js';
import { isTemporary } from '../files/names.js';
import { Problem, problemOf } from '../files/problem.js';

const NAMES = 256;
/** Removals in a row before others get a turn. */
const IN_A_ROW = 64;

/** What became of something that is to be removed. */
export interface Removal {
  readonly name: Buffer;
  readonly kind: EntryKind;
  readonly problem?: Problem;
}

/** Removes from a folder all that `keeps` does not keep, and tells each. Our own temporary files stay. */
export async function* removeOthers(
  folder: HeldFolder,
  keeps: (name: Buffer, isFolder: boolean) => boolean,
  dryRun: boolean,
  maxDepth: number,
): AsyncGenerator<Removal> {
  let count = 0;
  for (const entry of entriesOf(folder)) {
    const { name } = entry;
    if (isTemporary(name) || keeps(name, entry.isDirectory())) continue;
    const kind = entry.isDirectory() ? 'folder' : entry.isSymbolicLink() ? 'link' : 'file';
    try {
      if (!dryRun) await remove(folder, entry, maxDepth);
      yield { name, kind };
    } catch (error) {
      yield { name, kind, problem: problemOf(error) };
    }
    if (++count % IN_A_ROW === 0) await new Promise(setImmediate);
  }
}

async function remove(folder: HeldFolder, entry: Dirent<Buffer>, depth: number): Promise<void> {
  const { name } = entry;
  if (!entry.isDirectory()) return unlinkSync(folder.at(name));
  if (depth === 0) throw new Problem('too many folders below each other (maxDepth)');
  const inner = folder.child(name);
  try {
    let count = 0;
    for (const below of entriesOf(inner)) {
      await remove(inner, below, depth - 1);
      if (++count % IN_A_ROW === 0) await new Promise(setImmediate);
    }
  } finally {
    inner.release();
  }
  rmdirSync(folder.at(name));
}

function* entriesOf(folder: HeldFolder): Generator<Dirent<Buffer>> {
  const dir = opendirSync(folder.self as unknown as string, {
    encoding: 'buffer' as BufferEncoding,
    bufferSize: NAMES,
  });
  try {
    for (let entry = dir.readSync(); entry; entry = dir.readSync()) yield entry as unknown as Dirent<Buffer>;
  } finally {
    dir.closeSync();
  }
}
