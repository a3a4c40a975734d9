/**
 * One file on its way to its place: written under a temporary name beside it, then renamed over what is there, so that
 * the place has the old file or the new one at every moment.
 */
import {
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  ftruncateSync,
  lstatSync,
  openSync,
  renameSync,
  unlinkSync,
  writeSync,
  writev,
} from 'node:fs';
import type { Calls } from '../files/calls.js';
import type { HeldFolder } from '../files/held-folder.js';
import type { Temporaries } from '../files/names.js';
import { failedWith, Problem } from '../files/problem.js';

const { O_CREAT, O_EXCL, O_NOCTTY, O_NOFOLLOW, O_NONBLOCK, O_RDWR, O_WRONLY } = constants;
/** Until it is in its place, only its owner may read it. */
const OWN = 0o600;
const PERMISSIONS = 0o777;
/** Bytes on their way to the disk above which a writer waits. */
const IN_FLIGHT = 4 * 1024 * 1024;
/** Pieces of one write. */
const MOST_PARTS = 64;
/** Bytes after which the disk is asked to begin. */
const WRITE_BACK = 32 * 1024 * 1024;
/** Tries to find a temporary name that is free. */
const TRIES = 8;

/** What a placed file is to be like. */
export interface Properties {
  readonly mode: number;
  readonly seconds: number;
  readonly nanoseconds: number;
}

/** What all files of a transfer have in common. */
export interface PlacingContext {
  readonly calls: Calls;
  readonly temporaries: Temporaries;
  readonly atomic: boolean;
  /** With a rule's roots, files with other names that belong to others are not written. */
  readonly strict: boolean;
  /** Whether the disk is asked to begin early. */
  readonly writeBack: boolean;
  /** The memory of a piece serves the next one as soon as it was taken: pieces are written at once. */
  readonly lent: boolean;
}

export class Placing {
  readonly folder: HeldFolder;
  readonly name: Buffer;
  readonly #context: PlacingContext;
  readonly #properties: Properties;
  #fd: number;
  /** Its name until it is placed; undefined for a file that is written in place, or is placed. */
  #temporary: Buffer | undefined;
  #inode: { readonly ino: number; readonly dev: number } | undefined;
  #size = 0;
  readonly #queue: { readonly bytes: Buffer; readonly offset: number }[] = [];
  #writing = false;
  #inFlight = 0;
  #written = 0;
  #failure: Error | undefined;
  #waiters: (() => void)[] = [];

  private constructor(
    folder: HeldFolder,
    name: Buffer,
    properties: Properties,
    context: PlacingContext,
    fd: number,
    temporary: Buffer | undefined,
  ) {
    this.folder = folder.hold();
    this.name = name;
    this.#properties = properties;
    this.#context = context;
    this.#fd = fd;
    this.#temporary = temporary;
  }

  /** Opens a new temporary file, or with `atomic` false the file itself. `lasting`: a later transfer may resume it. */
  static open(
    folder: HeldFolder,
    name: Buffer,
    properties: Properties,
    context: PlacingContext,
    lasting: boolean,
  ): Placing {
    if (!context.atomic) return Placing.#inPlace(folder, name, properties, context);
    for (let tries = 1; ; tries++) {
      const temporary = context.temporaries.next(lasting ? name : undefined);
      try {
        const fd = openSync(folder.at(temporary), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, OWN);
        const placing = new Placing(folder, name, properties, context, fd, temporary);
        context.calls.lock?.(fd);
        return placing;
      } catch (error) {
        if (!failedWith(error, 'EEXIST') || tries === TRIES) throw error;
      }
    }
  }

  /** Goes on with a partial file: it gets a name of this transfer. Undefined when it is not there any more. */
  static adopt(
    folder: HeldFolder,
    name: Buffer,
    properties: Properties,
    context: PlacingContext,
    partial: { readonly name: Buffer; readonly fd: number; readonly size: number },
  ): Placing | undefined {
    const temporary = context.temporaries.next(name);
    renameSync(folder.at(partial.name), folder.at(temporary));
    const placing = new Placing(folder, name, properties, context, partial.fd, temporary);
    placing.#size = partial.size;
    const [there, ours] = [folder.look(temporary), fstatSync(partial.fd)];
    if (there?.ino === ours.ino && there.dev === ours.dev) return placing;
    placing.#temporary = undefined;
    placing.discard();
    return undefined;
  }

  static #inPlace(folder: HeldFolder, name: Buffer, properties: Properties, context: PlacingContext): Placing {
    const flags = O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
    const fd = openSync(folder.at(name), flags, OWN);
    try {
      const stat = fstatSync(fd);
      if (!stat.isFile()) throw new Problem('what is there is no regular file', 'EACCES');
      if (context.strict && stat.nlink > 1 && stat.uid !== process.geteuid?.())
        throw new Problem('what is there has another name too and belongs to another user', 'EACCES');
      ftruncateSync(fd, 0);
    } catch (error) {
      closeSync(fd);
      throw error;
    }
    return new Placing(folder, name, properties, context, fd, undefined);
  }

  get fd(): number {
    return this.#fd;
  }

  /** Writes all of a small file. */
  writeAll(content: Buffer): void {
    this.#writeNow(content, 0);
    this.#size = content.length;
  }

  #writeNow(bytes: Buffer, offset: number): void {
    for (let at = 0; at < bytes.length;) at += writeSync(this.#fd, bytes, at, bytes.length - at, offset + at);
  }

  /**
   * Writes a piece, whose memory must stay as it is until then.
   * @returns a promise when the disk is behind
   * @throws what an earlier piece failed with
   */
  write(bytes: Buffer, offset: number): Promise<void> | undefined {
    if (this.#failure) throw this.#failure;
    this.#size = Math.max(this.#size, offset + bytes.length);
    if (this.#context.lent) this.#writeNow(bytes, offset);
    else {
      this.#inFlight += bytes.length;
      this.#queue.push({ bytes, offset });
      if (!this.#writing) this.#writeNext();
    }
    this.#written += bytes.length;
    if (this.#context.writeBack && this.#written >= WRITE_BACK) {
      this.#written = 0;
      this.#context.calls.startWriting?.(this.#fd);
    }
    return this.#inFlight > IN_FLIGHT ? this.#below(IN_FLIGHT / 2) : undefined;
  }

  /** Writes what waits, one stretch after the other: so what is there after a kill is the content's beginning. */
  #writeNext(): void {
    const first = this.#queue[0];
    if (!first || this.#failure) return this.#writeOver();
    const parts = [first.bytes];
    let end = first.offset + first.bytes.length;
    for (const { bytes, offset } of this.#queue.slice(1, MOST_PARTS)) {
      if (offset !== end) break;
      parts.push(bytes);
      end += bytes.length;
    }
    this.#writing = true;
    writev(this.#fd, parts, first.offset, (error, length) => {
      if (error) this.#failure ??= error;
      else this.#wrote(length);
      for (const waiter of this.#waiters.splice(0)) waiter();
      this.#writeNext();
    });
  }

  #wrote(length: number): void {
    this.#inFlight -= length;
    for (let left = length; left > 0;) {
      const { bytes, offset } = this.#queue[0]!;
      if (bytes.length <= left) this.#queue.shift();
      else this.#queue[0] = { bytes: bytes.subarray(left), offset: offset + left };
      left -= Math.min(left, bytes.length);
    }
  }

  #writeOver(): void {
    this.#writing = false;
    if (this.#failure) {
      this.#queue.length = 0;
      this.#inFlight = 0;
    }
    for (const waiter of this.#waiters.splice(0)) waiter();
  }

  async #below(most: number): Promise<void> {
    while (this.#inFlight > most) await this.#change();
  }

  #change(): Promise<void> {
    return new Promise((resolve) => this.#waiters.push(resolve));
  }

  /** Resolves when all pieces are written. @throws what one failed with. */
  async written(): Promise<void> {
    while (this.#writing) await this.#change();
    if (this.#failure) throw this.#failure;
  }

  /** Begins again: what was kept is not the source's. */
  restart(): void {
    ftruncateSync(this.#fd, 0);
    this.#size = 0;
  }

  /** Gives the file its size, permissions and time, and looks whether it is what we made. */
  finish(size: number): void {
    const { mode, seconds, nanoseconds } = this.#properties;
    if (this.#size < size) ftruncateSync(this.#fd, size);
    if (!this.#temporary) fchmodSync(this.#fd, mode & PERMISSIONS);
    this.#context.calls.setTime(this.#fd, seconds, nanoseconds);
    if (!this.#temporary) return;
    const { ino, dev, nlink } = fstatSync(this.#fd);
    if (nlink !== 1) throw new Problem('another process meddled with its temporary file', 'EACCES');
    this.#inode = { ino, dev };
  }

  /** Renames it to its place, and looks whether it is what arrived there. */
  place(): void {
    const temporary = this.#temporary;
    if (!temporary) return;
    const at = this.folder.at(this.name);
    // Until then it is private. A private file that a kill has left may be incomplete.
    fchmodSync(this.#fd, this.#properties.mode & PERMISSIONS);
    renameSync(this.folder.at(temporary), at);
    this.#temporary = undefined;
    const { ino, dev } = lstatSync(at);
    if (ino !== this.#inode!.ino || dev !== this.#inode!.dev)
      throw new Problem('another process put another file in its place', 'EACCES');
  }

  /** Lets go of it after it was placed. */
  close(): void {
    if (this.#fd < 0) return;
    closeSync(this.#fd);
    this.#fd = -1;
    this.folder.release();
  }

  /** Gives it up. `keep`: its first bytes stay for a later transfer. Pieces that are being written must be over. */
  discard(keep = false): void {
    if (this.#fd < 0) return;
    try {
      if (this.#temporary && (!keep || this.#size === 0)) unlinkSync(this.folder.at(this.#temporary));
    } catch {
      // It is gone already, or the disk lets nothing go.
    }
    this.close();
  }

  /** Bytes that are there. */
  get size(): number {
    return this.#size;
  }
}
