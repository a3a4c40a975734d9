/** Room that many share, so that none of them can take all of it. */

/**
 * A part of some room, and what is held of it. Who holds as much as is left for others gets no more: one greedy holder
 * takes a third to a half, a thousand of them leave something too, and what nobody else wants is not kept from them.
 */
export class Share {
  readonly #of: Share | number;
  #held = 0;

  /** Of so many places, or of what another share has. */
  constructor(of: Share | number) {
    this.#of = of;
  }

  get held(): number {
    return this.#held;
  }

  /** Takes a place. False when others need what is left. */
  take(): boolean {
    if (this.#held >= this.#roomOf) return false;
    for (let share: Share | number = this; share instanceof Share; share = share.#of) share.#held++;
    return true;
  }

  /** Gives places back that were taken. */
  give(places = 1): void {
    for (let share: Share | number = this; share instanceof Share; share = share.#of) share.#held -= places;
  }

  /** What is left for others. */
  get left(): number {
    return this.#roomOf - this.#held;
  }

  get #roomOf(): number {
    return this.#of instanceof Share ? this.#of.left : this.#of;
  }
}
