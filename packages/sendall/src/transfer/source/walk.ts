/** The walk over what is to be sent: operands, and folders below them with all they have, one thing at a time. */
import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  opendirSync,
  openSync,
  readlinkSync,
  realpathSync,
  statSync,
  type BigIntStats,
  type Dir,
  type Dirent,
} from 'node:fs';
import { basename } from 'node:path';
import type { Readable } from 'node:stream';
import type { Exclusion } from '../files/exclusion.js';
import { byDescriptor, HeldFolder, O_PATH } from '../files/held-folder.js';
import { isTemporary, joined } from '../files/names.js';
import { Problem, problemOf } from '../files/problem.js';
import { openBelow, type Roots } from '../files/roots.js';

const { O_NOCTTY, O_NOFOLLOW, O_NONBLOCK, O_RDONLY } = constants;
/** No terminal becomes ours, and no FIFO keeps us waiting. */
const READING = O_RDONLY | O_NONBLOCK | O_NOCTTY;
const SLASH = Buffer.from('/');
/** Names that are read from a folder at once. */
const NAMES = 256;

/** A file, folder or link by its path, or bytes from a stream with the name that they get. */
export type Source =
  | string
  | Uint8Array
  | { readonly name: string | Uint8Array; readonly stream: Readable; readonly mode?: number };

/** What a walk finds. */
export type Found =
  | {
      readonly kind: 'file';
      readonly name: Buffer;
      readonly path: Buffer;
      readonly fd: number;
      readonly stat: BigIntStats;
    }
  | {
      readonly kind: 'stream';
      readonly name: Buffer;
      readonly path: Buffer;
      readonly stream: Readable;
      readonly mode: number;
    }
  | {
      readonly kind: 'folder';
      readonly name: Buffer;
      readonly path: Buffer;
      readonly stat: BigIntStats;
      readonly walked: WalkedFolder;
      /** What it has is meant, not the folder. */ readonly contents: boolean;
    }
  | {
      readonly kind: 'link';
      readonly name: Buffer;
      readonly path: Buffer;
      readonly stat: BigIntStats;
      readonly target: Buffer;
    }
  /** The folder entered last is over. */
  | { readonly kind: 'leave'; readonly complete: boolean }
  | { readonly kind: 'special'; readonly path: Buffer; readonly reason: string }
  | { readonly kind: 'problem'; readonly path: Buffer; readonly problem: Problem };

/** A folder that is being walked. */
export class WalkedFolder {
  /** The receiver does not want what it has. */
  unwanted = false;
  /** Whether all that it has was found. */
  complete = true;
  readonly held: HeldFolder;
  readonly path: Buffer;
  /** Below the source's top folder; empty for that one. */
  readonly below: Buffer;
  readonly dir: Dir;

  constructor(held: HeldFolder, path: Buffer, below: Buffer) {
    this.held = held;
    this.path = path;
    this.below = below;
    try {
      this.dir = opendirSync(held.self as unknown as string, {
        encoding: 'buffer' as BufferEncoding,
        bufferSize: NAMES,
      });
    } catch (error) {
      held.release();
      throw error;
    }
  }

  close(): void {
    this.dir.closeSync();
    this.held.release();
  }
}

export interface WalkOptions {
  readonly exclusion: Exclusion;
  readonly maxDepth: number;
  readonly roots?: Roots | undefined;
  /** Folder that relative operands count from; the process's own when absent. */
  readonly cwd?: string | undefined;
}

export class Walk {
  readonly #sources: readonly Source[];
  readonly #options: WalkOptions;
  readonly #names = new Set<string>();
  readonly #stack: WalkedFolder[] = [];
  #next = 0;

  constructor(sources: readonly Source[], options: WalkOptions) {
    this.#sources = sources;
    this.#options = options;
  }

  /** The next thing; undefined when all was found. */
  next(): Found | undefined {
    for (;;) {
      const folder = this.#stack.at(-1);
      if (!folder) {
        const source = this.#sources[this.#next++];
        if (source === undefined) return undefined;
        return this.#operand(source);
      }
      const entry = folder.unwanted ? undefined : readEntry(folder);
      if (entry instanceof Problem) return { kind: 'problem', path: folder.path, problem: entry };
      if (!entry) {
        this.#stack.pop();
        folder.close();
        return { kind: 'leave', complete: folder.complete && !folder.unwanted };
      }
      const found = this.#look(folder, entry);
      if (found) return found;
    }
  }

  /** Lets go of what it holds. */
  close(): void {
    for (const folder of this.#stack.splice(0)) folder.close();
  }

  #operand(source: Source): Found {
    if (typeof source === 'object' && 'stream' in source) {
      const name = bytesOf(source.name);
      return { kind: 'stream', name, path: name, stream: source.stream, mode: source.mode ?? 0o644 };
    }
    const given = bytesOf(source);
    const { roots } = this.#options;
    try {
      const path = roots ? given : absolute(given, this.#options.cwd);
      const { name, contents } = nameOf(path);
      const key = name.toString('latin1');
      if (this.#names.has(key)) throw new Problem('another source has the same name');
      this.#names.add(key);
      if (roots) {
        const { fd, stat } = openBelow(roots, path);
        return { kind: 'file', name, path: name, fd, stat };
      }
      return this.#open(path, name, contents);
    } catch (error) {
      return { kind: 'problem', path: given, problem: problemOf(error) };
    }
  }

  /** An operand of the owner's: links in it are followed. */
  #open(path: Buffer, name: Buffer, contents: boolean): Found {
    const place = byDescriptor ? openSync(path, O_PATH) : undefined;
    try {
      const stat = place === undefined ? statSync(path, { bigint: true }) : fstatSync(place, { bigint: true });
      const way = place === undefined ? path : Buffer.from(`/proc/self/fd/${place}`);
      if (stat.isDirectory()) return this.#enter(HeldFolder.open(way), name, name, Buffer.alloc(0), stat, contents);
      if (!stat.isFile()) throw new Problem(`it is ${kindOf(stat)}, and only files, folders and links travel`);
      return this.#file(openSync(way, READING), name, name);
    } finally {
      if (place !== undefined) closeSync(place);
    }
  }

  #file(fd: number, name: Buffer, path: Buffer): Found {
    try {
      const stat = fstatSync(fd, { bigint: true });
      if (stat.isFile()) return { kind: 'file', name, path, fd, stat };
      throw new Problem(`it is ${kindOf(stat)}, and only files, folders and links travel`);
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  }

  #enter(held: HeldFolder, name: Buffer, path: Buffer, below: Buffer, stat: BigIntStats, contents = false): Found {
    const walked = new WalkedFolder(held, path, below);
    this.#stack.push(walked);
    return { kind: 'folder', name, path, stat, walked, contents };
  }

  #look(folder: WalkedFolder, entry: Dirent<Buffer>): Found | undefined {
    const { name } = entry;
    if (isTemporary(name)) return undefined;
    const path = joined(folder.path, name);
    const below = folder.below.length ? joined(folder.below, name) : name;
    const { exclusion, maxDepth } = this.#options;
    try {
      if (!exclusion.isEmpty && exclusion.has(below, name, entry.isDirectory())) return undefined;
      if (entry.isFile()) return this.#file(openSync(folder.held.at(name), READING | O_NOFOLLOW), name, path);
      if (entry.isDirectory()) {
        if (this.#stack.length >= maxDepth)
          throw new Problem(`more than ${maxDepth} folders below each other (maxDepth)`);
        const held = folder.held.child(name);
        return this.#enter(held, name, path, below, fstatSync(held.fd, { bigint: true }));
      }
      const at = folder.held.at(name);
      if (entry.isSymbolicLink())
        return {
          kind: 'link',
          name,
          path,
          stat: lstatSync(at, { bigint: true }),
          target: readlinkSync(at, { encoding: 'buffer' }),
        };
      return { kind: 'special', path, reason: `it is ${kindOf(entry)}, and only files, folders and links travel` };
    } catch (error) {
      folder.complete = false;
      return { kind: 'problem', path, problem: problemOf(error) };
    }
  }
}

function readEntry(folder: WalkedFolder): Dirent<Buffer> | Problem | undefined {
  try {
    return (folder.dir.readSync() as unknown as Dirent<Buffer> | null) ?? undefined;
  } catch (error) {
    folder.unwanted = true;
    return problemOf(error);
  }
}

const bytesOf = (text: string | Uint8Array): Buffer =>
  typeof text === 'string' ? Buffer.from(text) : Buffer.from(text.buffer, text.byteOffset, text.length);

const DOT = 0x2e;
const SLASH_BYTE = 0x2f;

function absolute(path: Buffer, cwd = process.cwd()): Buffer {
  if (path.includes(0)) throw new Problem('a path with a zero byte');
  return path[0] === SLASH_BYTE ? path : Buffer.concat([Buffer.from(cwd), SLASH, path]);
}

/** The last component. A path that ends in "." or ".." means what is in the folder, as for cp; so does "/". */
function nameOf(path: Buffer): { name: Buffer; contents: boolean } {
  const name = lastName(path);
  if (name) return { name, contents: false };
  return {
    name: Buffer.from(basename(realpathSync(path, 'buffer').toString('latin1')) || 'root', 'latin1'),
    contents: true,
  };
}

/** The name of a source by its path; undefined for one of which the contents are meant. */
export function lastName(source: string | Uint8Array): Buffer | undefined {
  const path = bytesOf(source);
  let end = path.length;
  while (end > 0 && path[end - 1] === SLASH_BYTE) end--;
  const name = path.subarray(path.lastIndexOf(SLASH_BYTE, end - 1) + 1, end);
  return name.every((byte) => byte === DOT) && name.length <= 2 ? undefined : name;
}

type Kinds = Pick<
  BigIntStats,
  'isFIFO' | 'isSocket' | 'isCharacterDevice' | 'isBlockDevice' | 'isDirectory' | 'isSymbolicLink'
>;
function kindOf(stat: Kinds): string {
  if (stat.isFIFO()) return 'a FIFO';
  if (stat.isSocket()) return 'a socket';
  if (stat.isCharacterDevice() || stat.isBlockDevice()) return 'a device';
  if (stat.isDirectory()) return 'a folder';
  return stat.isSymbolicLink() ? 'a link' : 'none of these kinds';
}
