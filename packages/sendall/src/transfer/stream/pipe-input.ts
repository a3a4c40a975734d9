/**
 * A pipe or socket of our own, read into memory that serves the next read once its bytes were used: no read allocates
 * memory, and most frames across several reads stand in one piece.
 */
import { Socket, type OnReadOpts, type SocketConstructorOpts } from 'node:net';

/** What is read at once, so that it is still in the processor's cache when it is hashed and written. */
const SLAB = 512 * 1024;
/** Less room than this is not read into: a read would bring little. */
const LEAST = 64 * 1024;

/** Takes the bytes of a read. Returns whether they end inside a frame. */
type Receive = (chunk: Buffer) => boolean;

class Memory {
  #slab: Buffer = Buffer.allocUnsafeSlow(SLAB);
  #other: Buffer | undefined;
  /** For the next read. */
  room: Buffer = this.#slab;
  receive: Receive = () => false;

  take(length: number): void {
    const isInside = this.receive(this.room.subarray(0, length));
    if (!isInside) this.room = this.#slab;
    else if (this.room.length - length >= LEAST) this.room = this.room.subarray(length);
    else this.room = this.#swap();
  }

  /** What the decoder holds of the one slab it copies at the next read, which goes to the other. */
  #swap(): Buffer {
    const next = this.#other ?? Buffer.allocUnsafeSlow(SLAB);
    this.#other = this.#slab;
    return (this.#slab = next);
  }
}

export class PipeInput extends Socket {
  readonly #memory: Memory;

  constructor(fd: number) {
    const memory = new Memory();
    const options: SocketConstructorOpts & { manualStart: boolean; onread: OnReadOpts } = {
      fd,
      readable: true,
      writable: false,
      manualStart: true,
      onread: {
        buffer: () => memory.room,
        callback(length) {
          memory.take(length);
          // Nothing is read until all of it was used.
          return false;
        },
      },
    };
    super(options);
    this.#memory = memory;
  }

  /** Calls `receive` with the bytes of each read, which stay as they are until `goOn`. */
  deliver(receive: Receive): void {
    this.#memory.receive = receive;
    this.resume();
  }

  /** The bytes of the last read were used. */
  goOn(): void {
    this.resume();
  }
}
