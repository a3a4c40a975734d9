/**
 * Bytes that the other ends of one broker connection may send us at once. A broker cuts off a client that reads too
 * slowly, and its own limit counts all links together, so their windows share this pool.
 */

/** What every link may have, whatever the others take. */
export const RESERVED = 16 * 1024;
/** Bytes of all links together: half of what a broker keeps for a client. */
const WHOLE = 32 * 1024 * 1024;
/** Most links of one connection: they reserve half of the pool. */
export const MAX_LINKS = WHOLE / 2 / RESERVED;
/** One link takes at most this part of what is free, so that the next ones grow too. */
const PART = 4;

export class WindowPool {
  #free = WHOLE;

  get free(): number {
    return this.#free;
  }

  /** Takes what a link reserves. */
  reserve(): void {
    this.#free -= RESERVED;
  }

  /** Takes up to `bytes`; returns how many. */
  take(bytes: number): number {
    const spare = Math.max(0, this.#free - WHOLE / 2);
    const taken = Math.min(bytes, Math.floor(spare / PART));
    this.#free -= taken;
    return taken;
  }

  give(bytes: number): void {
    this.#free += bytes;
  }
}
