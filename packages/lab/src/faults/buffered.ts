/** A buffer between a source of pieces and a fault that delays them. */

/** Bytes that may wait in front of a delaying fault, in each direction. */
const MOST_BYTES = 1 << 20;

interface Item {
  readonly bytes: Buffer;
  readonly arrivedAt: number;
}

/**
 * Reads up to 1 MiB ahead of its consumer, and remembers when each piece arrived. Delays need this, because a piece's
 * time runs while earlier pieces still wait.
 */
export class Buffered {
  #items: Item[] = [];
  /** Items before this index are done; they are removed in batches. */
  #next = 0;
  #bytes = 0;
  #done = false;
  #error: unknown;
  #wakeReader = () => {};
  #wakeSource = () => {};

  constructor(pieces: AsyncIterable<Buffer>) {
    void this.#fill(pieces);
  }

  async #fill(pieces: AsyncIterable<Buffer>): Promise<void> {
    try {
      for await (const bytes of pieces) {
        this.#items.push({ bytes, arrivedAt: performance.now() });
        this.#bytes += bytes.length;
        this.#wakeReader();
        while (this.#bytes >= MOST_BYTES && !this.#done) await new Promise<void>((wake) => (this.#wakeSource = wake));
        if (this.#done) return;
      }
    } catch (error) {
      this.#error = error;
    }
    this.#done = true;
    this.#wakeReader();
  }

  /** The next piece; `undefined` at the end, or when none arrives within `patience` milliseconds. */
  async next(patience?: number): Promise<Item | undefined> {
    if (this.#next === this.#items.length && !this.#done) {
      let timer: NodeJS.Timeout | undefined;
      await new Promise<void>((wake) => {
        this.#wakeReader = wake;
        if (patience !== undefined) timer = setTimeout(wake, patience);
      });
      clearTimeout(timer);
    }
    const item = this.#items[this.#next];
    if (item) {
      if (++this.#next > this.#items.length / 2) {
        this.#items = this.#items.slice(this.#next);
        this.#next = 0;
      }
      this.#bytes -= item.bytes.length;
      this.#wakeSource();
    } else if (this.#error !== undefined) throw this.#error;
    return item;
  }

  get ended(): boolean {
    return this.#done && this.#next === this.#items.length;
  }

  /** The reader has stopped: ends the source at its next piece. */
  stop(): void {
    this.#done = true;
    this.#wakeSource();
  }
}
