/** A buffer between a source of pieces and a fault that holds them back. */

/** Bytes that may wait between a fault that holds them back and its source, for each direction. */
const MOST_BYTES = 1 << 20;

interface Item {
  readonly bytes: Buffer;
  readonly arrivedAt: number;
}

/**
 * Reads ahead of its consumer, up to 1 MiB, and remembers when each piece arrived: what a delay needs, because time runs
 * for a piece while the one before it still waits.
 */
export class Buffered {
  #items: Item[] = [];
  /** Items before this index are done; they are removed many at a time. */
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

  /** The next piece; `undefined` at the end, or when none came within `patience` milliseconds. */
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

  /** The reader has stopped: the source is let go at its next piece. */
  stop(): void {
    this.#done = true;
    this.#wakeSource();
  }
}
