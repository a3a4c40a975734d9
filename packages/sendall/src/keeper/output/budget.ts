/** The room that output may take on disk: that of all runs together, or one principal's part of it. */

interface Waiting {
  update(): void;
}

export class SpoolBudget {
  /** Bytes that it may have. A part with a limit of its own never has more than it leaves to the other parts. */
  total: number;
  used = 0;
  /** What this is a part of. */
  readonly #of: SpoolBudget | undefined;
  readonly #waiting = new Set<Waiting>();
  /** Asked to free something when the room is used up, or at least one run's when the disk itself is full. */
  onFull: (which: 'share' | 'disk') => void = () => {};

  constructor(total: number, of?: SpoolBudget) {
    this.total = total;
    this.#of = of;
  }

  get full(): boolean {
    return this.isUsedUp || this.#of?.full === true;
  }

  /** It has all that it may have, though others may have more. */
  get isUsedUp(): boolean {
    if (!this.#of || this.total === Infinity) return this.used >= this.total;
    return this.used >= Math.min(this.total, this.#of.total - this.#of.used);
  }

  /** Changes how much there is in all. */
  resize(total: number): void {
    this.total = total;
    this.#wake();
    if (this.used >= total) this.onFull('share');
  }

  add(bytes: number): void {
    this.used += bytes;
    this.#of?.add(bytes);
    if (this.isUsedUp) this.onFull('share');
  }

  /** The disk has no room left. True when something was given back. */
  makeRoom(): boolean {
    if (this.#of) return this.#of.makeRoom();
    const before = this.used;
    this.onFull('disk');
    return this.used < before;
  }

  free(bytes: number): void {
    if (bytes === 0) return;
    this.used -= bytes;
    this.#of?.free(bytes);
    this.#wake();
  }

  /** Those that wait go on, when there is room. */
  #wake(): void {
    if (this.full || this.#waiting.size === 0) return;
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const each of waiting) each.update();
  }

  /** Calls `update` once when there is room again. */
  wait(who: Waiting): void {
    this.#waiting.add(who);
    this.#of?.wait(who);
  }

  leave(who: Waiting): void {
    this.#waiting.delete(who);
    this.#of?.leave(who);
  }
}
