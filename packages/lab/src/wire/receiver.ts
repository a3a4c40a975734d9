/** Reads a connection like `recv(size)`. */
import { Socket } from 'node:net';

/** The handle of a socket. Node has no public way to give an accepted connection its own read buffer. */
interface Handled {
  _handle: object | null;
}

/**
 * An accepted connection read like `recv(size)`: each `recv()` makes one system call, which returns at most the
 * requested number of bytes and leaves the rest in the kernel.
 *
 * A Node socket reads by itself, 64 KiB at a time, which hides the tutorial's phenomena. With its `onread` option,
 * `net.Socket` reads into a buffer of the user's; an accepted socket gets that by moving its handle into a new one.
 */
export class Receiver {
  readonly socket: Socket;
  #waiting: { resolve: (bytes: Buffer) => void; reject: (error: Error) => void } | undefined;
  #ended = false;
  #error: Error | undefined;

  /** @param readSizes most bytes each read may return; the last one holds for all further reads */
  constructor(accepted: Socket, readSizes: readonly number[]) {
    let index = 0;
    const nextSize = () => readSizes[Math.min(index++, readSizes.length - 1)] ?? 1024;
    const owner = accepted as unknown as Handled;
    const handle = owner['_handle'];
    owner['_handle'] = null;
    this.socket = new Socket({
      handle,
      allowHalfOpen: true,
      onread: {
        buffer: () => Buffer.alloc(nextSize()),
        callback: (length: number, buffer: Uint8Array) => {
          const waiting = this.#waiting;
          this.#waiting = undefined;
          waiting?.resolve(Buffer.from(buffer.subarray(0, length)));
          return false; // stop: the next read waits for the next recv()
        },
      },
    } as ConstructorParameters<typeof Socket>[0]);
    this.socket.on('end', () => {
      this.#ended = true;
      this.#waiting?.resolve(Buffer.alloc(0));
    });
    this.socket.on('error', (error) => {
      this.#error = error;
      this.#waiting?.reject(error);
    });
    this.socket.on('close', () => {
      this.#ended = true;
      this.#waiting?.resolve(Buffer.alloc(0));
    });
  }

  /** One read; empty at the end of the stream. One at a time. */
  recv(): Promise<Buffer> {
    if (this.#error) return Promise.reject(this.#error);
    if (this.#ended) return Promise.resolve(Buffer.alloc(0));
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      this.socket.resume();
    });
  }
}
