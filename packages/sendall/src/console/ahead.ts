/** The memory for output that has come ahead of its pages: all attachments share it. */

/** Bytes that one attachment gets in any case, for each of its two streams. */
const LEAST = 64 * 1024;
/** Bytes for each of its streams while there is room: as much as the page's credit. */
const USUAL = 1024 * 1024;

export class Ahead {
  #left: number;

  constructor(bytes: number) {
    this.#left = bytes;
  }

  /** Takes a share. `bytes`: for each stream; `give`: returns it. */
  take(): { readonly bytes: number; give(): void } {
    const bytes = this.#left >= 2 * USUAL ? USUAL : LEAST;
    this.#left -= 2 * bytes;
    let taken = true;
    return {
      bytes,
      give: () => {
        if (taken) this.#left += 2 * bytes;
        taken = false;
      },
    };
  }
}
