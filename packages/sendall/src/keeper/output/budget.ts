/** The room all runs' output may take on disk together. */

interface Waiting {
  update(): void;
}

export class SpoolBudget {
  readonly total: number;
  used = 0;
  readonly #waiting = new Set<Waiting>();
  /** Asked to free something when the room is used up, or at least one run's when the disk itself is full. */
  onFull: (which: 'share' | 'disk') => void = () => {};

  constructor(total: number) {
    this.total = total;
  }

  get full(): boolean {
    return this.used >= this.total;
  }

  add(bytes: number): void {
    this.used += bytes;
    if (this.full) this.onFull('share');
  }

  /** The disk has no room left. True when something was given back. */
  makeRoom(): boolean {
    const before = this.used;
    this.onFull('disk');
    return this.used < before;
  }

  free(bytes: number): void {
    if (bytes === 0) return;
    this.used -= bytes;
    if (this.full || this.#waiting.size === 0) return;
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const each of waiting) each.update();
  }

  /** Calls `update` once when there is room again. */
  wait(who: Waiting): void {
    this.#waiting.add(who);
  }

  leave(who: Waiting): void {
    this.#waiting.delete(who);
  }
}
