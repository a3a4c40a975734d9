/** From the transport to a place: counts arrivals, and starts, queues or drops them. */
import type { Socket } from 'node:net';
import { isTransient } from './accept-failures.js';
import type { PeerAddress } from '../address.js';
import { Admission } from './admission.js';
import { Alarms } from './alarms.js';
import type { Datagram } from '../datagram.js';
import { announce, isHeard } from '../events.js';
import { FdBudget } from './fd-budget.js';
import type { Alarm, ResolvedOptions, ServerOptions } from '../options.js';
import type { DropReason } from '../reasons.js';
import type { ServerInside } from '../server-inside.js';
import type { SharedPlaces } from './shared-places.js';
import type { TransportSink } from '../transports/transport.js';

/**
 * Takes what the transport brings: counts it and, within the limits of connections and descriptors, starts it, queues it
 * or drops it. Emits the events of drops, alarms and failures of accept(2).
 */
export class Acceptor implements TransportSink<Socket | Datagram> {
  readonly admission: Admission<Socket | Datagram>;
  readonly alarms: Alarms;
  /** In a worker that does not accept by itself: the main server admits and counts. */
  fed = false;
  readonly #server: ServerInside;
  readonly #budget: FdBudget;
  #accepted = 0;
  #dropped = 0;
  #shared: SharedPlaces | undefined;

  /** Closes a connection that is not established; false: there is none here. */
  readonly #displace: () => boolean;

  constructor(server: ServerInside, start: (item: Socket | Datagram) => void, displace: () => boolean) {
    this.#server = server;
    this.#displace = displace;
    this.alarms = new Alarms(server.options.alarms);
    this.#budget = new FdBudget(server.options.fdReserve);
    this.admission = new Admission({
      rules: () => server.options,
      start: (item) => {
        this.#ring();
        start(item);
      },
      drop: (item, reason) => this.drop(item, reason),
      displace,
    });
  }

  /** Counts in memory that all threads share, from now on. */
  share(places: SharedPlaces): void {
    this.#shared = places;
    this.admission.places = places;
  }

  /** Whether other threads change the counts too. */
  get sharing(): boolean {
    return this.#shared !== undefined;
  }

  get accepted(): number {
    return this.#shared?.accepted ?? this.#accepted;
  }

  get dropped(): number {
    return this.#shared?.dropped ?? this.#dropped;
  }

  /** How many wait for a place, in all threads. */
  get pending(): number {
    return this.admission.places.waiting;
  }

  /** Descriptors that clients have in this process, as far as the server knows; its threads share them. */
  get #held(): number {
    const { taken, waiting } = this.admission.places;
    return Math.max(this.#server.connections.size + this.admission.pending, taken + waiting);
  }

  get options(): ResolvedOptions {
    return this.#server.options;
  }

  get requestQueueSize(): number {
    return this.#server.requestQueueSize;
  }

  get allowReuseAddress(): boolean {
    return this.#server.allowReuseAddress;
  }

  change({ alarms, fdReserve }: ServerOptions): void {
    // In a worker the cooldown counts in the main server, for all workers together.
    if (alarms !== undefined) this.alarms.set(this.#server.relay === undefined ? alarms : always(alarms));
    if (fdReserve !== undefined) this.#budget.reserve = fdReserve;
  }

  arrived(item: Socket | Datagram): void {
    const server = this.#server;
    server.relay?.catchUp?.();
    this.#accepted++;
    this.#shared?.countAccepted();
    if (server.status === 'closed') {
      this.drop(item, 'draining');
      return;
    }
    if (server.transport.kind === 'stream' && !this.#budget.allows(this.#held) && !this.#displace()) {
      if (this.#budget.exhausted() && isHeard(server, 'emfile')) announce(server, 'emfile', this.#budget.state());
      this.drop(item, 'fd-budget');
      return;
    }
    this.admission.offer(item);
  }

  /** A request arrived that the main server has admitted. */
  handedOver(): void {
    this.#accepted++;
  }

  drop(item: Socket | Datagram | undefined, reason: DropReason): void {
    const server = this.#server;
    this.#dropped++;
    this.#shared?.countDropped();
    if (reason === 'overload' && isHeard(server, 'overload'))
      announce(server, 'overload', {
        connections: this.admission.places.taken,
        pending: this.pending,
        limit: server.options.maxConnections,
      });
    if (isHeard(server, 'drop')) announce(server, 'drop', { reason, peer: item && peerOf(item) });
    if (item !== undefined && server.transport.kind === 'stream') {
      (item as Socket).on('error', () => {});
      (item as Socket).destroy();
    }
  }

  /** How many of this loop's connections are not established. */
  countUnestablished(count: number): void {
    if (this.#shared !== undefined) this.#shared.unestablished = count;
  }

  acceptFailed(error: NodeJS.ErrnoException): void {
    const code = error.code ?? 'UNKNOWN';
    announce(this.#server, 'accept-error', { error, code, transient: isTransient(code) });
  }

  #ring(): void {
    if (!this.alarms.any || !isHeard(this.#server, 'alarm')) return;
    const connections = this.admission.places.taken;
    for (const alarm of this.alarms.reached(connections)) announce(this.#server, 'alarm', { ...alarm, connections });
  }
}

/** The same alarms, without a cooldown. */
function always(alarms: Alarm[]): Alarm[] {
  return alarms.map((alarm) => ({ ...alarm, cooldown: 0 }));
}

function peerOf(item: Socket | Datagram): PeerAddress | undefined {
  if ('peer' in item) return item.peer;
  const { remoteAddress, remotePort } = item;
  return remoteAddress === undefined || remotePort === undefined
    ? undefined
    : { host: remoteAddress, port: remotePort };
}
