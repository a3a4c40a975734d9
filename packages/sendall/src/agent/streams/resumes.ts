/** How often callers came back to a run on another link, and what was sent to them again. */

/** Holds that are remembered after their link has gone: a caller that comes back does so soon. */
const MOST = 4096;

export class Resumes {
  /** Since the agent started. */
  count = 0;
  replayedBytes = 0;
  /** By hold: how far each stream had been sent when the link was lost. */
  readonly #left = new Map<string, ReadonlyMap<number, number>>();

  /** A link was lost under this hold. */
  left(holder: Uint8Array, sent: ReadonlyMap<number, number>): void {
    if (this.#left.size >= MOST) this.#left.delete(this.#left.keys().next().value!);
    this.#left.set(keyOf(holder), sent);
  }

  /** The same hold asks for a stream from `offset`. */
  back(holder: Uint8Array, stream: number, offset: number): void {
    const sent = this.#left.get(keyOf(holder))?.get(stream) ?? offset;
    this.replayedBytes += Math.max(0, sent - offset);
  }
}

const keyOf = (holder: Uint8Array): string => Buffer.from(holder).toString('latin1');
