/**
 * Reads of a socket into one stretch of memory that is used again and again: Node otherwise makes a buffer and an event
 * for each read, which under TLS is one for every 16 KiB.
 */
import type { OnReadOpts } from 'node:net';

/** More than a TLS record; a Unix socket fills it at once. */
const SIZE = 256 * 1024;

export class SharedReads {
  /** For the socket's options. */
  readonly onread: OnReadOpts;
  #early: Buffer[] = [];
  #receive: ((chunk: Buffer) => void) | undefined;

  constructor() {
    this.onread = {
      buffer: Buffer.allocUnsafeSlow(SIZE),
      callback: (length, buffer) => {
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
