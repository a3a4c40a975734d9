/**
 * One reading of a source for many hosts: blocks that one host has read are kept for the others, within a bound. A host
 * that comes later than the bound allows reads the source again, so a slow host costs reading and no memory.
 */
import { read } from 'node:fs';
import type { Reads } from '../transfer/source/reads.js';

/** Sums of whole files that are kept. */
const MOST_SUMS = 100_000;

interface Block {
  readonly bytes: Promise<Buffer>;
  readonly size: number;
}

export class SharedReads implements Reads {
  readonly #limit: number;
  /** The one that was used last is the last one. */
  readonly #blocks = new Map<string, Block>();
  readonly #sums = new Map<string, Buffer>();
  #size = 0;
  /** Bytes that were read from files. */
  readBytes = 0;

  /** `limit`: bytes that are kept. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  async read(fd: number, id: string, position: number, into: Buffer): Promise<number> {
    const key = `${id} ${position} ${into.length}`;
    const known = this.#blocks.get(key);
    if (known) {
      this.#blocks.delete(key);
      this.#blocks.set(key, known);
      // If another host's reading fails, ours may still succeed.
      const bytes = await known.bytes.catch(() => undefined);
      if (bytes) return bytes.copy(into);
    }
    return (await this.#keep(key, fd, position, into.length)).copy(into);
  }

  sum(id: string): Buffer | undefined {
    return this.#sums.get(id);
  }

  keepSum(id: string, sha256: Buffer): void {
    this.#sums.set(id, sha256);
    if (this.#sums.size > MOST_SUMS) this.#sums.delete(this.#sums.keys().next().value!);
  }

  #keep(key: string, fd: number, position: number, size: number): Promise<Buffer> {
    const block = { bytes: this.#readBlock(fd, position, size), size };
    this.#blocks.set(key, block);
    this.#size += size;
    // What was not read is not kept.
    block.bytes.catch(() => this.#drop(key, block));
    for (const [oldest, each] of this.#blocks) {
      if (this.#size <= this.#limit || each === block) break;
      this.#drop(oldest, each);
    }
    return block.bytes;
  }

  #drop(key: string, block: Block): void {
    if (this.#blocks.get(key) !== block) return;
    this.#blocks.delete(key);
    this.#size -= block.size;
  }

  #readBlock(fd: number, position: number, size: number): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      read(fd, Buffer.allocUnsafeSlow(size), 0, size, position, (error, count, bytes) => {
        if (error) return reject(error);
        this.readBytes += count;
        resolve(bytes.subarray(0, count));
      });
    });
  }
}
