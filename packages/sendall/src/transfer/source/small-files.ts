/** Reads small files whole, each as it was at one moment. */
import { fstatSync, readSync, type BigIntStats } from 'node:fs';
import { CARRIED } from '../stream/limits.js';
import type { Reads } from './reads.js';
import { changedProblem, idOf } from './unsettled.js';

/** How often a file that changes under our hands is read again. */
const ATTEMPTS = 3;
const SLAB = 512 * 1024;

export class SmallFiles {
  readonly #shared: Reads | undefined;
  #slab = Buffer.alloc(0);

  /** `shared`: reads that others use too. */
  constructor(shared: Reads | undefined) {
    this.#shared = shared;
  }

  /** The content of a small file; undefined for one whose size says nothing, as those of /proc. */
  async read(fd: number, stat: BigIntStats): Promise<{ content: Buffer; changed?: BigIntStats } | undefined> {
    let now = stat;
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const size = Number(now.size);
      if (size > CARRIED) break;
      const into = this.#room(size + 1);
      let length = 0;
      for (let more = -1; more !== 0 && length <= size; length += more) {
        const rest = into.subarray(length);
        more = this.#shared
          ? await this.#shared.read(fd, idOf(now), length, rest)
          : readSync(fd, rest, 0, rest.length, length);
        if (length + more === size && size > 0) {
          length = size;
          break;
        }
      }
      if (size === 0 && length > 0 && now.blocks === 0n) return undefined;
      const then = fstatSync(fd, { bigint: true });
      if (length === size && then.size === now.size && then.mtimeNs === now.mtimeNs) {
        const content = into.subarray(0, length);
        return now === stat ? { content } : { content, changed: now };
      }
      now = then;
    }
    throw changedProblem();
  }

  /** Memory for a file, behind that of the last one. */
  #room(size: number): Buffer {
    if (this.#slab.length < size) this.#slab = Buffer.allocUnsafeSlow(SLAB);
    const room = this.#slab.subarray(0, size);
    this.#slab = this.#slab.subarray(size);
    return room;
  }
}
