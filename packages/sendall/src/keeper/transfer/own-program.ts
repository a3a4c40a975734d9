/**
 * Our own program for put, get and forward, as a run's user can start it. The keeper opens it and Node at its own start, so
 * an upgrade of the package changes neither for its runs. A user who cannot reach one of them by its path, such as below
 * /root, gets it as a descriptor.
 */
import { closeSync, fstatSync, openSync, readSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { trustedPath } from '../../files/trusted-file.js';
import type { Native } from '../system/native.js';
import { StartFailure } from '../system/program.js';

const dist = fileURLToPath(new URL('../../', import.meta.url));
/** All of it in one file. */
const BUNDLE = `${dist}transfer/helper.cjs`;
/** In a checkout, modules may have been built after the bundle. */
const MODULE = `${dist}transfer/helper.js`;
const BUILT = `${dist}.tsbuildinfo`;
/** AT_FDCWD. */
const HERE = -100;

/** How a user starts it. */
export interface OwnStart {
  /** Node, NUL-terminated. */
  readonly path: Buffer;
  /** The words before the verb. */
  readonly words: readonly Uint8Array[];
}

export class OwnProgram {
  /** Its file, for people. */
  readonly file = isNewer(BUNDLE, BUILT) ? BUNDLE : MODULE;
  readonly #file: Opened | undefined = open(this.file);
  readonly #node: Opened | undefined = open(process.execPath);
  #text: Buffer | undefined;
  /** Why it cannot be started; undefined: it can. */
  readonly problem = this.#whyNot();

  #whyNot(): string | undefined {
    if (!this.#file || !this.#node) return `this host's sendall lacks ${this.file}: install it again`;
    if (process.geteuid?.() !== 0) return undefined;
    try {
      // What root starts for others, and for itself, must be root's alone.
      trustedPath(this.file);
      trustedPath(process.execPath);
      return undefined;
    } catch (error) {
      return (error as Error).message;
    }
  }

  /**
   * Says how the user whose effective ids this thread has now starts it. `pass` takes descriptors that the program needs for
   * that, and says which number each has there.
   * @throws StartFailure
   */
  start(native: Native, pass: (fd: number) => number): OwnStart {
    if (this.problem !== undefined) throw new StartFailure('policy', this.problem);
    const { file, node } = { file: this.#file!, node: this.#node! };
    const script =
      !native.subreaper || canRead(file)
        ? [file.path]
        : ['--preserve-symlinks-main', `/proc/self/fd/${pass(this.#inMemory(native))}`];
    const path =
      !native.subreaper || canExecute(native, node) ? node.path : `/proc/self/fd/${pass(native.duplicate(node.fd))}`;
    return { path: Buffer.from(`${path}\0`), words: [path, ...script].map((word) => Buffer.from(word)) };
  }

  /** Readable for the user, whatever the mode of the file is. */
  #inMemory(native: Native): number {
    if (this.file !== BUNDLE)
      throw new StartFailure('policy', `the run's user cannot read ${this.file}, and it is no bundle: npm run build`);
    this.#text ??= contentOf(this.#file!.fd);
    return native.sealed(this.#text);
  }

  close(): void {
    for (const each of [this.#file, this.#node]) if (each) closeSync(each.fd);
  }
}

interface Opened {
  readonly path: string;
  readonly fd: number;
}

function open(path: string): Opened | undefined {
  try {
    return { path, fd: openSync(path, 'r') };
  } catch {
    return undefined;
  }
}

/** By the descriptor alone: the user may not read the file. */
function contentOf(fd: number): Buffer {
  const text = Buffer.alloc(fstatSync(fd).size);
  for (let at = 0, read = 1; at < text.length && read > 0; at += read)
    read = readSync(fd, text, at, text.length - at, at);
  return text;
}

function isNewer(path: string, other: string): boolean {
  const [ours = -1, theirs = 0] = [path, other].map((each) => statSync(each, { throwIfNoEntry: false })?.mtimeMs);
  return ours >= theirs;
}

/** Whether a path leads to the file that was opened, and may be read. */
function canRead({ path, fd }: Opened): boolean {
  const again = open(path);
  if (!again) return false;
  try {
    return isSame(fstatSync(again.fd), fstatSync(fd));
  } finally {
    closeSync(again.fd);
  }
}

function canExecute(native: Native, { path, fd }: Opened): boolean {
  if (native.executable(HERE, Buffer.from(`${path}\0`)) !== 0) return false;
  const there = statSync(path, { throwIfNoEntry: false });
  return there !== undefined && isSame(there, fstatSync(fd));
}

const isSame = (a: { dev: number; ino: number }, b: { dev: number; ino: number }): boolean =>
  a.dev === b.dev && a.ino === b.ino;
