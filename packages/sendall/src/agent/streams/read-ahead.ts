/** Memory for output that was read from the spool and waits for a link to take it. One for each link. */
export class ReadAhead {
  #left: number;
  readonly #waiting = new Set<() => void>();

  constructor(bytes: number) {
    this.#left = bytes;
  }

  /** True when that many bytes may be read; else `again` is called once when there is room. */
  take(bytes: number, again: () => void): boolean {
    if (bytes > this.#left) {
      this.#waiting.add(again);
      return false;
    }
    this.#left -= bytes;
    return true;
  }

  give(bytes: number): void {
    this.#left += bytes;
    if (!bytes || !this.#waiting.size) return;
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const again of waiting) again();
  }
}
