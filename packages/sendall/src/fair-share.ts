/** Shares limited room among many, so that none can take all of it. */

/**
 * A share of some room, and how much of it is taken. A share that holds as much as is left for the others gets no more:
 * a greedy one takes a third to a half, but nothing is withheld for shares that do not want it. Shares can be divided
 * in the same way.
 */
export class FairShare {
  #of: FairShare | number;
  readonly #few: number;
  readonly #most: number;
  #held = 0;

  /**
   * Shares a number of places, or another share. It always gets at least `few` places, however much the others hold, and
   * never more than `most`.
   */
  constructor(of: FairShare | number, few = 0, most = Infinity) {
    this.#of = of;
    this.#few = few;
    this.#most = most;
  }

  get held(): number {
    return this.#held;
  }

  /** Changes the number of places. What is taken stays taken. */
  resize(places: number): void {
    this.#of = places;
  }

  /** Takes all of the places, or none of them. False when the others need the rest. */
  take(places = 1): boolean {
    const held = this.#held + places;
    if (held > this.#room && (held > this.#few || places > this.#unused)) return false;
    this.#add(places);
    return true;
  }

  /** Gives places back. */
  give(places = 1): void {
    this.#add(-places);
  }

  #add(places: number): void {
    this.#held += places;
    if (this.#of instanceof FairShare) this.#of.#add(places);
  }

  /** The room left for others. */
  get #left(): number {
    return this.#room - this.#held;
  }

  get #room(): number {
    return this.#of instanceof FairShare ? Math.min(this.#of.#left, this.#most) : this.#of;
  }

  /** The unused places. */
  get #unused(): number {
    return this.#of instanceof FairShare ? Math.min(this.#of.#unused, this.#most - this.#held) : this.#left;
  }
}
