/** Places counted in memory that threads share. */
import type { PlaceCounter } from './admission.js';

/** The first slots: places taken, clients that wait for one, clients accepted, clients dropped. */
const TOTAL = 0;
const QUEUED = 1;
const ACCEPTED = 2;
const DROPPED = 3;
/** Then three for each worker: places it holds, clients that wait in it, its connections that are not established. */
const FIRST_WORKER = 4;
const PER_WORKER = 3;

/** One count of connections for all threads that accept by themselves, in memory that they share. */
export class SharedPlaces implements PlaceCounter {
  readonly buffer: SharedArrayBuffer;
  readonly #slots: Int32Array;
  /** Undefined in the main thread. */
  readonly #mine: number | undefined;

  /** @param worker this thread's number; the main thread, which takes none, has -1. */
  constructor(from: SharedArrayBuffer | number, worker = -1) {
    this.buffer = typeof from === 'number' ? new SharedArrayBuffer((FIRST_WORKER + from * PER_WORKER) * 4) : from;
    this.#slots = new Int32Array(this.buffer);
    this.#mine = worker < 0 ? undefined : FIRST_WORKER + worker * PER_WORKER;
  }

  get taken(): number {
    return Atomics.load(this.#slots, TOTAL);
  }

  get waiting(): number {
    return Atomics.load(this.#slots, QUEUED);
  }

  take(limit: number): boolean {
    return this.#addBelow(TOTAL, limit, 0);
  }

  give(): void {
    this.#subtract(TOTAL, 0);
  }

  queue(limit: number): boolean {
    return this.#addBelow(QUEUED, limit, 1);
  }

  leave(): void {
    this.#subtract(QUEUED, 1);
  }

  /** Checked and added in one step: the count is never above the limit, and no free place is refused. */
  #addBelow(slot: number, limit: number, own: number): boolean {
    for (let seen = Atomics.load(this.#slots, slot); seen < limit;) {
      const found = Atomics.compareExchange(this.#slots, slot, seen, seen + 1);
      if (found === seen) {
        if (this.#mine !== undefined) Atomics.add(this.#slots, this.#mine + own, 1);
        return true;
      }
      seen = found;
    }
    return false;
  }

  #subtract(slot: number, own: number): void {
    if (this.#mine !== undefined) Atomics.sub(this.#slots, this.#mine + own, 1);
    Atomics.sub(this.#slots, slot, 1);
  }

  /** How many are not established; a thread sets its own number. */
  get unestablished(): number {
    let sum = 0;
    for (let slot = FIRST_WORKER + 2; slot < this.#slots.length; slot += PER_WORKER)
      sum += Atomics.load(this.#slots, slot);
    return sum;
  }

  set unestablished(count: number) {
    if (this.#mine !== undefined) Atomics.store(this.#slots, this.#mine + 2, count);
  }

  /** The worker that has most of those. */
  get mostUnestablished(): number | undefined {
    let most = 0;
    let worker: number | undefined;
    for (let slot = FIRST_WORKER + 2; slot < this.#slots.length; slot += PER_WORKER) {
      const count = Atomics.load(this.#slots, slot);
      if (count > most) [most, worker] = [count, (slot - 2 - FIRST_WORKER) / PER_WORKER];
    }
    return worker;
  }

  countAccepted(): void {
    Atomics.add(this.#slots, ACCEPTED, 1);
  }

  countDropped(): void {
    Atomics.add(this.#slots, DROPPED, 1);
  }

  get accepted(): number {
    return Atomics.load(this.#slots, ACCEPTED);
  }

  get dropped(): number {
    return Atomics.load(this.#slots, DROPPED);
  }

  /** A worker died: its connections are gone, and those that waited in it. Returns how many there were of each. */
  clear(worker: number): { held: number; waiting: number } {
    const slot = FIRST_WORKER + worker * PER_WORKER;
    const held = Atomics.exchange(this.#slots, slot, 0);
    const waiting = Atomics.exchange(this.#slots, slot + 1, 0);
    Atomics.store(this.#slots, slot + 2, 0);
    Atomics.sub(this.#slots, TOTAL, held);
    Atomics.sub(this.#slots, QUEUED, waiting);
    return { held, waiting };
  }
}
