/** Room that many share, so that none of them can take all of it. */

/**
 * A part of some room, and what is held of it. A holder of as much as is left for the others gets no more: a greedy one
 * takes a third to a half, and what no other wants is not kept from it. Parts of a part are shared out the same way.
 */
export class FairShare {
  readonly #of: FairShare | number;
  readonly #few: number;
  #held = 0;

  /** Of so many places, or of what another share has. `few` places it gets even where its neighbours left none. */
  constructor(of: FairShare | number, few = 0) {
    this.#of = of;
    this.#few = few;
  }

  get held(): number {
    return this.#held;
  }

  /** Takes places, all or none of them. False when others need what is left. */
  take(places = 1): boolean {
    const held = this.#held + places;
    if (held > this.#room && (held > this.#few || places > this.#unused)) return false;
    this.#add(places);
    return true;
  }

  /** Gives places back that were taken. */
  give(places = 1): void {
    this.#add(-places);
  }

  #add(places: number): void {
    this.#held += places;
    if (this.#of instanceof FairShare) this.#of.#add(places);
  }

  /** What is left for others. */
  get #left(): number {
    return this.#room - this.#held;
  }

  get #room(): number {
    return this.#of instanceof FairShare ? this.#of.#left : this.#of;
  }

  /** Places that are not taken at all. */
  get #unused(): number {
    return this.#of instanceof FairShare ? this.#of.#unused : this.#left;
  }
}
