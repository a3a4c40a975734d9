/** Where producers of values meet the one reader of them. */
import { Fifo } from './fifo.js';

/** Passes values from many producers to one reader, one at a time: a producer waits until its value is taken. */
export class Meeting<T> {
  readonly #offers = new Fifo<{ value: T; taken: () => void }>();
  #wake: () => void = () => undefined;
  #abandoned = false;
  closed = false;

  offer(value: T): Promise<void> {
    if (this.#abandoned) return Promise.resolve();
    return new Promise((taken) => {
      this.#offers.push({ value, taken });
      this.#wake();
    });
  }

  close(): void {
    this.closed = true;
    this.#wake();
  }

  /** The reader has gone. */
  abandon(): void {
    this.#abandoned = true;
    for (let offer = this.#offers.shift(); offer; offer = this.#offers.shift()) offer.taken();
  }

  async *taken(): AsyncGenerator<T, void, undefined> {
    for (;;) {
      const offer = this.#offers.shift();
      if (offer) {
        yield offer.value;
        offer.taken();
      } else if (this.closed) return;
      else await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }
}
