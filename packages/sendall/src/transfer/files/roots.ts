/**
 * The way to a single file for callers who are no owners: only below the folders that a rule allows them, component by
 * component from /, through no link and across no mount.
 */
import { closeSync, constants, fstatSync, openSync, type BigIntStats } from 'node:fs';
import { byDescriptor, HeldFolder, O_PATH } from './held-folder.js';
import { Problem } from './problem.js';

const { O_NOFOLLOW, O_NONBLOCK, O_RDONLY } = constants;
const SLASH = 0x2f;

/** What a rule allows: itself and all below it. Absolute, without a slash at the end. */
export interface Roots {
  readonly paths: readonly Buffer[];
  /** Bytes of the largest file. */
  readonly maxBytes?: number | undefined;
}

/** The folder of an allowed file, and the file's name in it. The caller releases the folder. */
export interface Place {
  readonly folder: HeldFolder;
  readonly name: Buffer;
}

/**
 * Walks to the folder of `path`.
 * @throws Problem for a path that is not allowed, or that leads through a link or another mount.
 */
export function walkBelow(roots: Roots, path: Buffer): Place {
  if (!byDescriptor) throw new Problem('a rule for files needs Linux with /proc');
  const root = roots.paths.find((allowed) => isBelow(path, allowed));
  const parts = split(path);
  if (
    !root ||
    parts.some((part) => part.length === 0 || part.equals(Buffer.from('.')) || part.equals(Buffer.from('..')))
  )
    throw new Problem('no rule allows this path', 'EACCES');
  const rootDepth = root.length === 1 ? 0 : split(root).length;
  let folder = HeldFolder.open(Buffer.from('/'));
  try {
    let device = rootDepth === 0 ? folder.stat().dev : undefined;
    for (let depth = 1; depth < parts.length; depth++) {
      const next = folder.child(parts[depth - 1]!);
      folder.release();
      folder = next;
      const { dev } = folder.stat();
      if (depth === rootDepth) device = dev;
      else if (device !== undefined && dev !== device) throw new Problem('it lies on another mount', 'EXDEV');
    }
    const name = parts.at(-1)!;
    const there = folder.look(name);
    if (there && device !== undefined && there.dev !== device) throw new Problem('it lies on another mount', 'EXDEV');
    if (there && !there.isFile()) throw new Problem('it is no regular file', there.isDirectory() ? 'EISDIR' : 'EACCES');
    return { folder, name };
  } catch (error) {
    folder.release();
    throw error;
  }
}

/**
 * Opens an allowed file for reading. It is looked at before it is opened, by a descriptor that opens nothing, so that no
 * device or FIFO is.
 * @throws Problem
 */
export function openBelow(roots: Roots, path: Buffer): { fd: number; stat: BigIntStats } {
  const { folder, name } = walkBelow(roots, path);
  try {
    const device = folder.stat().dev;
    const place = openSync(folder.at(name), O_PATH | O_NOFOLLOW);
    try {
      const stat = fstatSync(place, { bigint: true });
      if (!stat.isFile()) throw new Problem('it is no regular file', 'EACCES');
      if (Number(stat.dev) !== device && split(path).length > 1) throw new Problem('it lies on another mount', 'EXDEV');
      if (stat.nlink > 1n && Number(stat.uid) !== process.geteuid?.())
        throw new Problem('it has another name too and belongs to another user', 'EACCES');
      if (roots.maxBytes !== undefined && stat.size > BigInt(roots.maxBytes))
        throw new Problem(`its ${stat.size} bytes are more than the rule's ${roots.maxBytes}`, 'EFBIG');
      return { fd: openSync(`/proc/self/fd/${place}`, O_RDONLY | O_NONBLOCK), stat };
    } finally {
      closeSync(place);
    }
  } finally {
    folder.release();
  }
}

/** The components of an absolute path, without the empty one before its first slash. */
function split(path: Buffer): Buffer[] {
  const parts: Buffer[] = [];
  for (let from = 1; ;) {
    const end = path.indexOf(SLASH, from);
    parts.push(path.subarray(from, end < 0 ? path.length : end));
    if (end < 0) return parts;
    from = end + 1;
  }
}

function isBelow(path: Buffer, root: Buffer): boolean {
  if (root.length === 1) return path.length > 1 && path[0] === SLASH;
  if (path.length < root.length || path.compare(root, 0, root.length, 0, root.length) !== 0) return false;
  return path.length === root.length || path[root.length] === SLASH;
}
