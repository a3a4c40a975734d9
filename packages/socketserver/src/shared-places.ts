import type { PlaceCounter } from './admission.js';

/** Slots before the workers': the sum, those accepted, those dropped. */
const total = 0;
const accepted = 1;
const dropped = 2;
/** Two for each worker: the places it holds, and those it accepted that wait for one. */
const firstWorker = 3;
const perWorker = 2;

/** One count of connections for all threads that accept by themselves, in memory that they share. */
export class SharedPlaces implements PlaceCounter {
  readonly buffer: SharedArrayBuffer;
  readonly #slots: Int32Array;
  /** Undefined in the main thread. */
  readonly #mine: number | undefined;

  /** @param worker this thread's number; the main thread, which takes none, has -1. */
  constructor(from: SharedArrayBuffer | number, worker = -1) {
    this.buffer = typeof from === 'number' ? new SharedArrayBuffer((firstWorker + from * perWorker) * 4) : from;
    this.#slots = new Int32Array(this.buffer);
    this.#mine = worker < 0 ? undefined : firstWorker + worker * perWorker;
  }

  get taken(): number {
    return Atomics.load(this.#slots, total);
  }

  take(limit: number): boolean {
    // Checked and taken in one step: the count is never above the limit, and no free place is refused.
    for (let seen = this.taken; ;) {
      if (seen >= limit) return false;
      const found = Atomics.compareExchange(this.#slots, total, seen, seen + 1);
      if (found === seen) break;
      seen = found;
    }
    if (this.#mine !== undefined) Atomics.add(this.#slots, this.#mine, 1);
    this.#settled();
    return true;
  }

  give(): void {
    if (this.#mine !== undefined) Atomics.sub(this.#slots, this.#mine, 1);
    Atomics.sub(this.#slots, total, 1);
  }

  countAccepted(): void {
    Atomics.add(this.#slots, accepted, 1);
    if (this.#mine !== undefined) Atomics.add(this.#slots, this.#mine + 1, 1);
  }

  /** One that was accepted waits no longer: it has a place, or was turned away. */
  #settled(): void {
    if (this.#mine !== undefined) Atomics.sub(this.#slots, this.#mine + 1, 1);
  }

  countDropped(): void {
    Atomics.add(this.#slots, dropped, 1);
    this.#settled();
  }

  get accepted(): number {
    return Atomics.load(this.#slots, accepted);
  }

  get dropped(): number {
    return Atomics.load(this.#slots, dropped);
  }

  /** A worker died: its connections are gone, and those that waited in it. Returns how many there were of each. */
  clear(worker: number): { held: number; waiting: number } {
    const slot = firstWorker + worker * perWorker;
    const held = Atomics.exchange(this.#slots, slot, 0);
    const waiting = Atomics.exchange(this.#slots, slot + 1, 0);
    Atomics.sub(this.#slots, total, held);
    return { held, waiting };
  }
}
