import { unseen, waitedOn } from './clock.js';
import type { DropReason } from './reasons.js';

/** Counts those being served; one for the whole server, whatever the number of workers. */
export interface PlaceCounter {
  readonly taken: number;
  /** Takes a place when fewer than `limit` are taken. */
  take(limit: number): boolean;
  give(): void;
}

/** The counter of a server on one loop. */
export class LocalPlaces implements PlaceCounter {
  taken = 0;
  take(limit: number): boolean {
    if (this.taken >= limit) return false;
    this.taken++;
    return true;
  }
  give(): void {
    this.taken--;
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
}

interface Waiting<T> {
  item: T;
  waited: number;
}

/**
 * Who may come in.
 *
 * Three situations. There is a place and the server serves: the item starts at once. There is none, or the server
 * is not serving yet: it waits, in order, among at most `pendingConnections`. That queue is full too: it is dropped.
 * One that waited `pendingTimeout` while the server served is dropped as well.
 */
export class Admission<T> {
  places: PlaceCounter;
  readonly #desk: AdmissionDesk<T>;
  #pending: Waiting<T>[] = [];
  #permits = 0;
  #pumping = false;

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
    if (this.#permits > 0 && this.#pending.length === 0 && this.places.take(maxConnections)) {
      this.#permits--;
      this.#desk.start(item);
    } else if (this.#pending.length < pendingConnections) {
      this.#pending.push({ item, waited: unseen });
    } else {
      this.#desk.drop(item, 'overload');
    }
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
      this.#desk.start(this.#pending.shift()!.item);
    }
    this.#pumping = false;
  }

  /** One of those who wait has left by itself. */
  forget(item: T): boolean {
    const at = this.#pending.findIndex((waiting) => waiting.item === item);
    if (at < 0) return false;
    this.#pending.splice(at, 1);
    return true;
  }

  /** Turns away everyone who waits. */
  clear(reason: DropReason): void {
    const waiting = this.#pending;
    this.#pending = [];
    for (const { item } of waiting) this.#desk.drop(item, reason);
  }

  /** Time passed: those who waited too long are turned away; places freed by other workers are taken. */
  tick(elapsed: number): void {
    if (this.#pending.length === 0) return;
    this.pump();
    const { pendingTimeout } = this.#desk.rules();
    if (this.#permits !== Infinity || pendingTimeout === 0) return;
    for (const waiting of this.#pending) waiting.waited = waitedOn(waiting.waited, elapsed);
    while (this.#pending.length > 0 && this.#pending[0]!.waited >= pendingTimeout) {
      this.#desk.drop(this.#pending.shift()!.item, 'pending-timeout');
    }
  }
}
