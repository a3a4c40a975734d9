/** How many established connections each source has. */
import type { PeerAddress } from '../address.js';
import { sourceOf } from './sources.js';

/** Counts established connections by source; a client of a Unix socket has none. */
export class Established<T> {
  readonly #counts = new Map<string, number>();
  readonly #sources = new Map<T, string>();

  /** Counts it. False: its source has `most` already. */
  add(item: T, peer: PeerAddress, most: number): boolean {
    if (most === Infinity || !('host' in peer)) return true;
    const source = sourceOf(peer.host);
    const count = this.#counts.get(source) ?? 0;
    if (count >= most) return false;
    this.#counts.set(source, count + 1);
    this.#sources.set(item, source);
    return true;
  }

  delete(item: T): void {
    const source = this.#sources.get(item);
    if (source === undefined) return;
    this.#sources.delete(item);
    const count = this.#counts.get(source)! - 1;
    if (count > 0) this.#counts.set(source, count);
    else this.#counts.delete(source);
  }
}
