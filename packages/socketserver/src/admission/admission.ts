/** Places and the queue for them. */
import { UNSEEN, waitedOn } from '../connection/clock.js';
import type { DropReason } from '../reasons.js';

/** Counts what is served and what waits: one count for the whole server, whatever the number of workers. */
export interface PlaceCounter {
  readonly taken: number;
  readonly waiting: number;
  /** Takes a place when fewer than `limit` are taken. */
  take(limit: number): boolean;
  give(): void;
  /** Begins to wait when fewer than `limit` do. */
  queue(limit: number): boolean;
  /** Waits no longer. */
  leave(): void;
}

/** The counter of a server on one loop. */
export class LocalPlaces implements PlaceCounter {
  taken = 0;
  waiting = 0;
  take(limit: number): boolean {
    if (this.taken >= limit) return false;
    this.taken++;
    return true;
  }
  give(): void {
    this.taken--;
  }
  queue(limit: number): boolean {
    if (this.waiting >= limit) return false;
    this.waiting++;
    return true;
  }
  leave(): void {
    this.waiting--;
  }
}

export interface AdmissionRules {
  maxConnections: number;
  pendingConnections: number;
  pendingTimeout: number;
}

export interface AdmissionDesk<T> {
  rules(): AdmissionRules;
  /** There is a place: serve it. */
  start(item: T): void;
  /** There is none: turn it away. */
  drop(item: T, reason: DropReason): void;
  /** Closes a connection that is not established, if any: its place is free at once, or soon. */
  displace(): void;
}

/** Milliseconds after which the queue displaces a connection, where no newcomer does. */
const PATIENCE = 250;

interface Waiting<T> {
  item: T;
  waited: number;
}

/**
 * Decides which requests start, wait, or are dropped.
 *
 * There are four situations. A place is free and the server serves: the item starts at once. All places are taken, one of
 * them by a connection that is not established: that connection goes. All places are taken, or the server is not serving
 * yet: the item waits, in order, among at most `pendingConnections`. The queue is full as well: the item is dropped. An
 * item that waited `pendingTimeout` while the server served is dropped too.
 */
export class Admission<T> {
  places: PlaceCounter;
  readonly #desk: AdmissionDesk<T>;
  #pending: Waiting<T>[] = [];
  #permits = 0;
  #pumping = false;
  /** For how many milliseconds the queue has seen no free place. */
  #stuck = 0;

  constructor(desk: AdmissionDesk<T>, places: PlaceCounter = new LocalPlaces()) {
    this.#desk = desk;
    this.places = places;
  }

  get pending(): number {
    return this.#pending.length;
  }

  /** How many may still start: none before the server serves, one for each `handleRequest()`, then `Infinity`. */
  get permits(): number {
    return this.#permits;
  }

  set permits(n: number) {
    this.#permits = n;
    this.pump();
  }

  offer(item: T): void {
    const { maxConnections, pendingConnections } = this.#desk.rules();
    const { places } = this;
    // A free place goes to the first one in the queue, else to this one.
    if (this.#permits > 0 && places.taken >= maxConnections) this.#desk.displace();
    if (this.#permits > 0 && this.#pending.length === 0 && places.take(maxConnections)) {
      this.#permits--;
      this.#desk.start(item);
    } else if (places.queue(pendingConnections)) {
      this.#pending.push({ item, waited: UNSEEN });
    } else {
      this.#desk.drop(item, 'overload');
    }
  }

  #shift(): T {
    this.places.leave();
    return this.#pending.shift()!.item;
  }

  /** A place is free again. */
  release(): void {
    this.places.give();
    if (this.#pending.length > 0) this.pump();
  }

  /** Starts as many waiting items as there are places. */
  pump(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    while (this.#pending.length > 0 && this.#permits > 0 && this.places.take(this.#desk.rules().maxConnections)) {
      this.#permits--;
      this.#desk.start(this.#shift());
    }
    this.#pumping = false;
  }

  /** A waiting item has left by itself. */
  forget(item: T): boolean {
    const at = this.#pending.findIndex((waiting) => waiting.item === item);
    if (at < 0) return false;
    this.#pending.splice(at, 1);
    this.places.leave();
    return true;
  }

  /** Drops all that wait. */
  clear(reason: DropReason): void {
    const waiting = this.#pending;
    this.#pending = [];
    for (const { item } of waiting) {
      this.places.leave();
      this.#desk.drop(item, reason);
    }
  }

  /** Time passed: drops items that waited too long, and takes places that other workers freed. */
  tick(elapsed: number): void {
    if (this.#pending.length === 0) return;
    this.pump();
    const { pendingTimeout, maxConnections } = this.#desk.rules();
    const full = this.#permits > 0 && this.#pending.length > 0 && this.places.taken >= maxConnections;
    this.#stuck = full ? this.#stuck + elapsed : 0;
    if (this.#stuck >= PATIENCE) {
      this.#stuck = 0;
      this.#desk.displace();
    }
    if (this.#permits !== Infinity || pendingTimeout === 0) return;
    for (const waiting of this.#pending) waiting.waited = waitedOn(waiting.waited, elapsed);
    while (this.#pending.length > 0 && this.#pending[0]!.waited >= pendingTimeout) {
      this.#desk.drop(this.#shift(), 'pending-timeout');
    }
  }
}
