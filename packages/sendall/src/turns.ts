/** Limits how many act at a time. Those that are urgent go before the others that wait. */

export class Turns {
  readonly #most: number;
  #taken = 0;
  readonly #urgent: (() => void)[] = [];
  readonly #others: (() => void)[] = [];

  constructor(most: number) {
    this.#most = most;
  }

  /** Resolves when it is our turn, with the function that ends it. */
  async take(urgent = false): Promise<() => void> {
    if (this.#taken >= this.#most)
      await new Promise<void>((resolve) => (urgent ? this.#urgent : this.#others).push(resolve));
    else this.#taken += 1;
    let over = false;
    return () => {
      if (over) return;
      over = true;
      // The place passes on.
      const next = this.#urgent.shift() ?? this.#others.shift();
      if (next) next();
      else this.#taken -= 1;
    };
  }
}
