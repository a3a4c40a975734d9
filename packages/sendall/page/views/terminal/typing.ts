/** What is typed, on its way to the host: in order, some requests ahead of their answers, the rest in one piece behind. */

/** Requests without an answer. A key waits for no answer unless the host reads slowly. */
const AHEAD = 8;
/** Bytes of one request. */
const LARGEST = 32 * 1024;

export class Typing {
  readonly #send: (bytes: Uint8Array) => Promise<unknown>;
  #waiting: Uint8Array[] = [];
  #open = 0;

  /** `send` resolves when the host has taken the bytes. What it rejects with is for its own caller to show. */
  constructor(send: (bytes: Uint8Array) => Promise<unknown>) {
    this.#send = send;
  }

  type(bytes: Uint8Array): void {
    this.#waiting.push(bytes);
    this.#flush();
  }

  /** Drops what was not sent: the terminal may not speak any more. */
  drop(): void {
    this.#waiting = [];
  }

  #flush(): void {
    while (this.#open < AHEAD && this.#waiting.length > 0) {
      const piece = this.#take();
      this.#open += 1;
      const done = () => {
        this.#open -= 1;
        this.#flush();
      };
      this.#send(piece).then(done, done);
    }
  }

  #take(): Uint8Array {
    const piece = new Uint8Array(
      Math.min(
        LARGEST,
        this.#waiting.reduce((sum, { length }) => sum + length, 0),
      ),
    );
    let at = 0;
    while (at < piece.length) {
      const [first] = this.#waiting as [Uint8Array];
      const part = first.subarray(0, piece.length - at);
      piece.set(part, at);
      at += part.length;
      if (part.length === first.length) this.#waiting.shift();
      else this.#waiting[0] = first.subarray(part.length);
    }
    return piece;
  }
}
