/** Where a command's output comes from: a pipe or a terminal. records.ts tells single writes apart. */
import type { Native, Watch } from './native.js';

/** Most that is read at once. The buffer is shared: bytes are valid until the next read of any source. */
export const CHUNK = 256 * 1024;
const chunk = Buffer.allocUnsafeSlow(CHUNK);
/** A pipe that was this full is made bigger. */
const FULL = 64 * 1024;
const BIG_PIPE = 1024 * 1024;
/** More than a terminal's buffers hold. */
const TERMINAL_ROOM = 256 * 1024;

/** Reads of one descriptor, which it owns. */
export interface Source {
  /** Returns bytes, "none" when the source is empty, or the end. Reads at most `most` where it can choose. */
  read(most: number): Buffer | 'none' | 'end';
  /** How many bytes it can hold at this moment: reading so many takes all that was written before. */
  available(): number;
  watch(ready: () => void): Watch;
  close(): void;
  /** The reader of this stream has gone; false when no other is left. Only where one source brings several streams. */
  stop?(stream: number): boolean;
  /** Its end cannot be read: it has ended when the tree of the command has. */
  readonly endless?: boolean;
}

export class Descriptor {
  protected readonly native: Native;
  protected readonly fd: number;

  constructor(native: Native, fd: number) {
    this.native = native;
    this.fd = fd;
  }

  watch(ready: () => void): Watch {
    return this.native.watch(this.fd, 'read', ready);
  }

  close(): void {
    this.native.close(this.fd);
  }
}

export class PipeSource extends Descriptor implements Source {
  #big = false;

  read(most: number): Buffer | 'none' | 'end' {
    const n = this.native.read(this.fd, most < CHUNK ? chunk.subarray(0, most) : chunk);
    if (n <= 0) return n === 0 ? 'end' : 'none';
    if (n >= FULL && !this.#big) {
      this.#big = true;
      this.native.enlarge(this.fd, BIG_PIPE);
    }
    return chunk.subarray(0, n);
  }

  available(): number {
    return this.native.available(this.fd);
  }
}

export class TerminalSource extends Descriptor implements Source {
  read(most: number): Buffer | 'none' | 'end' {
    let n: number;
    try {
      n = this.native.read(this.fd, most < CHUNK ? chunk.subarray(0, most) : chunk);
    } catch {
      // EIO: the last process that had the terminal has gone.
      return 'end';
    }
    if (n <= 0) return n === 0 ? 'end' : 'none';
    return chunk.subarray(0, n);
  }

  available(): number {
    // What the kernel still moves from one end to the other is not counted by FIONREAD.
    return TERMINAL_ROOM;
  }
}
