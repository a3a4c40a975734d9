/**
 * A folder held by a descriptor, so that what is opened in it lies in that very folder, whatever becomes of its path.
 *
 * On Linux `/proc/self/fd/N/NAME` names a thing inside of it: one component, looked up in the folder itself. Elsewhere,
 * or without /proc, the path is used, and the folder at its end is compared with the descriptor before each use: a
 * replaced folder is noticed, but not one that is replaced between the look and the use.
 */
import { closeSync, constants, existsSync, fstatSync, lstatSync, openSync, type Stats } from 'node:fs';
import { Problem } from './problem.js';

const { O_DIRECTORY, O_NOFOLLOW, O_RDONLY } = constants;
/** Linux: only the place in the tree, without the right to read. */
export const O_PATH = process.platform === 'linux' ? 0o10000000 : 0;

/** Whether things are named inside of descriptors. */
export const byDescriptor = process.platform === 'linux' && existsSync('/proc/self/fd');
const SLASH = Buffer.from('/');

export class HeldFolder {
  readonly fd: number;
  readonly #prefix: Buffer;
  readonly #path: Buffer | undefined;
  #holders = 1;

  private constructor(fd: number, path: Buffer) {
    this.fd = fd;
    this.#path = byDescriptor ? undefined : path;
    this.#prefix = byDescriptor ? Buffer.from(`/proc/self/fd/${fd}/`) : Buffer.concat([path, SLASH]);
  }

  /** Opens a folder by its path, in which links are followed. */
  static open(path: Buffer): HeldFolder {
    return new HeldFolder(openSync(path, O_PATH | O_DIRECTORY | O_RDONLY), path);
  }

  /** Opens a folder inside of this one. @throws ENOTDIR also for a link. */
  child(name: Buffer): HeldFolder {
    const path = this.at(name);
    return new HeldFolder(openSync(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_RDONLY), path);
  }

  /** The path of a thing inside, for one system call that does not follow its last component. */
  at(name: Buffer): Buffer {
    if (this.#path) this.#mustBeThere(this.#path);
    return Buffer.concat([this.#prefix, name]);
  }

  /** The path of the folder itself, for calls that follow links. */
  get self(): Buffer {
    return byDescriptor ? this.#prefix.subarray(0, -1) : this.#path!;
  }

  stat(): Stats {
    return fstatSync(this.fd);
  }

  #device: number | undefined;
  /** The device of its file system. */
  get device(): number {
    return (this.#device ??= this.stat().dev);
  }

  /** What is there under this name; undefined without anything. */
  look(name: Buffer): Stats | undefined {
    return lstatSync(this.at(name), { throwIfNoEntry: false });
  }

  /** For another user of it. Each calls `release` once. */
  hold(): this {
    this.#holders++;
    return this;
  }

  release(): void {
    if (--this.#holders === 0) closeSync(this.fd);
  }

  #mustBeThere(path: Buffer): void {
    const [there, held] = [lstatSync(path), fstatSync(this.fd)];
    if (there.ino !== held.ino || there.dev !== held.dev)
      throw new Problem('its folder was replaced by another one meanwhile', 'ESTALE');
  }
}
