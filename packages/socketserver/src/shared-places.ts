import type { PlaceCounter } from './admission.js';

/** Slots before the workers': the sum, those accepted, those dropped. */
const total = 0;
const accepted = 1;
const dropped = 2;
const firstWorker = 3;

/** One count of connections for all threads that accept by themselves, in memory that they share. */
export class SharedPlaces implements PlaceCounter {
  readonly buffer: SharedArrayBuffer;
  readonly #slots: Int32Array;
  readonly #mine: number;

  /** @param worker this thread's number; the main thread, which takes none, has -1. */
  constructor(from: SharedArrayBuffer | number, worker = -1) {
    this.buffer = typeof from === 'number' ? new SharedArrayBuffer((firstWorker + from) * 4) : from;
    this.#slots = new Int32Array(this.buffer);
    this.#mine = firstWorker + worker;
  }

  get taken(): number {
    return Atomics.load(this.#slots, total);
  }

  take(limit: number): boolean {
    if (Atomics.add(this.#slots, total, 1) >= limit) {
      Atomics.sub(this.#slots, total, 1);
      return false;
    }
    Atomics.add(this.#slots, this.#mine, 1);
    return true;
  }

  give(): void {
    Atomics.sub(this.#slots, this.#mine, 1);
    Atomics.sub(this.#slots, total, 1);
  }

  countAccepted(): void {
    Atomics.add(this.#slots, accepted, 1);
  }

  countDropped(): void {
    Atomics.add(this.#slots, dropped, 1);
  }

  get accepted(): number {
    return Atomics.load(this.#slots, accepted);
  }

  get dropped(): number {
    return Atomics.load(this.#slots, dropped);
  }

  /** A worker died: its connections are gone. Returns how many there were. */
  clear(worker: number): number {
    const held = Atomics.exchange(this.#slots, firstWorker + worker, 0);
    Atomics.sub(this.#slots, total, held);
    return held;
  }
}
