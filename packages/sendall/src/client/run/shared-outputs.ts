/**
 * Equal outputs of many runs, each received once. Runs name their outputs by digest when their commands have ended; for
 * each digest one run fetches the bytes and the others wait for them.
 */
import type { SharedOutput } from '../result/shared-output.js';

/**
 * Milliseconds until a second run fetches the same bytes, because the first may have a slow or silent host; until a
 * third does, twice as many, and so on.
 */
const HEDGE = 2000;

/** One stream of a run whose command has ended. */
export interface Claimant {
  /** Its host has a link. */
  readonly linked: boolean;
  /** It is this run that has to receive the bytes. */
  fetch(): void;
  /** They have arrived, here or elsewhere. */
  take(output: SharedOutput): void;
}

export class SharedOutputs {
  readonly #entries = new Map<string, Entry>();

  /** The output of this name, once it was received. */
  find(name: string): SharedOutput | undefined {
    return this.#entries.get(name)?.output;
  }

  /**
   * Wants an output that was not received: the claimant fetches it or waits for it. Called again when a link of the
   * claimant was lost or made.
   */
  claim(name: string, claimant: Claimant): void {
    this.#entryOf(name).claim(claimant);
  }

  /** An output was received and its digest compared. */
  receive(name: string, output: SharedOutput): void {
    this.#entryOf(name).receive(output);
  }

  /** The claimant's run is over, or its bytes do not match. If it was to fetch them, another one does. */
  leave(name: string, claimant: Claimant): void {
    const entry = this.#entries.get(name);
    entry?.leave(claimant);
    if (entry?.isIdle) this.#entries.delete(name);
  }

  #entryOf(name: string): Entry {
    let entry = this.#entries.get(name);
    if (!entry) this.#entries.set(name, (entry = new Entry()));
    return entry;
  }
}

/** One output and those that want it. */
class Entry {
  output: SharedOutput | undefined;
  /** In order of their ends. */
  readonly #claimants = new Set<Claimant>();
  readonly #fetching = new Set<Claimant>();
  #patience = HEDGE;
  #timer: NodeJS.Timeout | undefined;

  /** It was not received, and no run wants it any more. */
  get isIdle(): boolean {
    return !this.output && this.#claimants.size === 0;
  }

  claim(claimant: Claimant): void {
    this.#claimants.add(claimant);
    this.#ensure();
  }

  receive(output: SharedOutput): void {
    this.output = output;
    const waiting = [...this.#claimants];
    this.#claimants.clear();
    this.#fetching.clear();
    clearTimeout(this.#timer);
    for (const claimant of waiting) claimant.take(output);
  }

  leave(claimant: Claimant): void {
    this.#fetching.delete(claimant);
    if (!this.#claimants.delete(claimant)) return;
    if (this.#claimants.size) this.#ensure();
    else clearTimeout(this.#timer);
  }

  /** Sees to it that a run with a link fetches. */
  #ensure(): void {
    if (![...this.#fetching].some(({ linked }) => linked)) this.#appoint();
    if (this.#fetching.size < this.#claimants.size) this.#timer ??= this.#hedge();
  }

  #appoint(): void {
    for (const claimant of this.#claimants) {
      if (this.#fetching.has(claimant) || !claimant.linked) continue;
      this.#fetching.add(claimant);
      claimant.fetch();
      return;
    }
  }

  #hedge(): NodeJS.Timeout {
    const timer = setTimeout(() => {
      this.#timer = undefined;
      this.#patience *= 2;
      this.#appoint();
      this.#ensure();
    }, this.#patience);
    return timer.unref();
  }
}
