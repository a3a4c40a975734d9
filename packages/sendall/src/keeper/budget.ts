/** The room all runs' output may take on disk together. */

interface Waiting {
  update(): void;
}

export class SpoolBudget {
  readonly total: number;
  used = 0;
  readonly #waiting = new Set<Waiting>();
  /** Asked to free something when the room is used up. */
  onFull: () => void = () => {};

  constructor(total: number) {
    this.total = total;
  }

  get full(): boolean {
    return this.used >= this.total;
  }

  add(bytes: number): void {
    this.used += bytes;
    if (this.full) this.onFull();
  }

  free(bytes: number): void {
    if (bytes === 0) return;
    this.used -= bytes;
    if (this.full || this.#waiting.size === 0) return;
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const each of waiting) each.update();
  }

  /** Remembers who waits for room, or that it does no longer. */
  wait(who: Waiting, waits: boolean): void {
    if (waits) this.#waiting.add(who);
    else this.#waiting.delete(who);
  }
}
