/**
 * Reads of a socket into one stretch of memory that is used again and again: Node otherwise makes a buffer and an event
 * for each read, which under TLS is one for every 16 KiB.
 */
import type { OnReadOpts } from 'node:net';

/** More than a TLS record; a Unix socket fills it at once. */
const SIZE = 256 * 1024;

/** Bytes that a process must have read before it is worth to have its memory kept. */
const MUCH = 32 * 1024 * 1024;
const BIG_BLOCK = 24 * 1024 * 1024;
let read = 0;

/**
 * Chunks of output live for a moment, and glibc gives the memory of each lot that was collected back to the system, which
 * has to clear it for the next: a fifth of a reader's time. A big block that is never touched and at once let go of
 * makes glibc keep twice its size (mallopt(3), the dynamic threshold). Elsewhere it does nothing.
 */
function keepMemory(length: number): void {
  read += length;
  if (read >= MUCH && read - length < MUCH) Buffer.allocUnsafeSlow(BIG_BLOCK);
}

export class SharedReads {
  /** For the socket's options. */
  readonly onread: OnReadOpts;
  #early: Buffer[] = [];
  #receive: ((chunk: Buffer) => void) | undefined;

  constructor() {
    this.onread = {
      buffer: Buffer.allocUnsafeSlow(SIZE),
      callback: (length, buffer) => {
        keepMemory(length);
        const chunk = (buffer as Buffer).subarray(0, length);
        if (this.#receive) this.#receive(chunk);
        else this.#early.push(Buffer.from(chunk));
        return true;
      },
    };
  }

  /** From now on calls `receive` for each read; the bytes are valid inside the call only. */
  deliver(receive: (chunk: Buffer) => void): void {
    this.#receive = receive;
    for (const chunk of this.#early.splice(0)) receive(chunk);
  }
}
