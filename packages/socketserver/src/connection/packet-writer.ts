/** Writing where each write is one packet. */
import type { Socket } from 'node:net';
import { Writer } from './writer.js';

/** Writing where each write is one packet: never two together, and the next only when the one before has left. */
export class PacketWriter extends Writer {
  #queue: Uint8Array[] = [];
  #bytes = 0;
  #busy = false;
  #ending = false;
  readonly #drained: () => void;

  constructor(socket: Socket, drained: () => void) {
    super(socket);
    this.#drained = drained;
  }

  override get pending(): number {
    return this.#bytes;
  }

  override write(data: Uint8Array | string, encoding: BufferEncoding = 'utf8'): void {
    const bytes = typeof data === 'string' ? Buffer.from(data, encoding) : data;
    if (bytes.length === 0) return;
    this.#queue.push(bytes);
    this.#bytes += bytes.length;
    this.#next();
  }

  #next(): void {
    if (this.#busy) return;
    const packet = this.#queue.shift();
    if (packet === undefined) {
      if (this.#ending) this.socket.end();
      return;
    }
    this.#busy = true;
    this.socket.write(packet, () => {
      this.#busy = false;
      this.#bytes -= packet.length;
      this.#drained();
      this.#next();
    });
  }

  override end(): void {
    this.#ending = true;
    this.#next();
  }

  override whenSent(done: () => void): void {
    if (this.#bytes === 0 && this.socket.writableEnded) super.whenSent(done);
  }

  override reserve(): undefined {
    return undefined;
  }

  override flush(): void {}
}
