import { unseen, waitedOn } from '../connection/clock.js';
import type { DropReason } from '../reasons.js';

/** Counts those being served and those who wait; one for the whole server, whatever the number of workers. */
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
  /** Sends away one that is not established, where there is one: its place is free at once, or soon. */
  displace(): void;
}

/** Those who wait displace one after this many milliseconds, where no newcomer does it for them. */
const patience = 250;

interface Waiting<T> {
  item: T;
  waited: number;
}

/**
 * Who may come in.
 *
 * Four situations. There is a place and the server serves: the item starts at once. There is none, but one that is not
 * established holds one: that one goes. There is none, or the server is not serving yet: it waits, in order, among at
 * most `pendingConnections`. That queue is full too: it is dropped. One that waited `pendingTimeout` while the server
 * served is dropped as well.
 */
export class Admission<T> {
  places: PlaceCounter;
  readonly #desk: AdmissionDesk<T>;
  #pending: Waiting<T>[] = [];
  #permits = 0;
  #pumping = false;
  /** How long those who wait have seen no place, in milliseconds. */
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
    // The place goes to whoever waits already, else to this one.
    if (this.#permits > 0 && places.taken >= maxConnections) this.#desk.displace();
    if (this.#permits > 0 && this.#pending.length === 0 && places.take(maxConnections)) {
      this.#permits--;
      this.#desk.start(item);
    } else if (places.queue(pendingConnections)) {
      this.#pending.push({ item, waited: unseen });
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

  /** Lets in as many of those who wait as there are places for. */
  pump(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    while (this.#pending.length > 0 && this.#permits > 0 && this.places.take(this.#desk.rules().maxConnections)) {
      this.#permits--;
      this.#desk.start(this.#shift());
    }
    this.#pumping = false;
  }

  /** One of those who wait has left by itself. */
  forget(item: T): boolean {
    const at = this.#pending.findIndex((waiting) => waiting.item === item);
    if (at < 0) return false;
    this.#pending.splice(at, 1);
    this.places.leave();
    return true;
  }

  /** Turns away everyone who waits. */
  clear(reason: DropReason): void {
    const waiting = this.#pending;
    this.#pending = [];
    for (const { item } of waiting) {
      this.places.leave();
      this.#desk.drop(item, reason);
    }
  }

  /** Time passed: those who waited too long are turned away; places freed by other workers are taken. */
  tick(elapsed: number): void {
    if (this.#pending.length === 0) return;
    this.pump();
    const { pendingTimeout, maxConnections } = this.#desk.rules();
    const full = this.#permits > 0 && this.#pending.length > 0 && this.places.taken >= maxConnections;
    this.#stuck = full ? this.#stuck + elapsed : 0;
    if (this.#stuck >= patience) {
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
