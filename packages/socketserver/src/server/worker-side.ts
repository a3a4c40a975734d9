/** A server inside a thread or process: it gets its requests from outside, or accepts them with a descriptor of its own. */
import { Socket, type Server as NetServer } from 'node:net';
import type { Acceptor } from '../admission/acceptor.js';
import type { PlaceCounter } from '../admission/admission.js';
import { SharedPlaces } from '../admission/shared-places.js';
import type { Datagram } from '../datagram.js';
import type { DrainReport } from '../reasons.js';
import type { ServerInside } from '../server-inside.js';
import type { StreamTransport } from '../transports/transport.js';
import type { Connections } from './connections.js';
import type { Pipeline } from './pipeline.js';

/** A place that another thread frees is noticed by looking, an eighth of so many milliseconds apart. */
const PLACES_SEEN = 80;

export class WorkerSide {
  readonly #server: ServerInside;
  readonly #acceptor: Acceptor;
  readonly #connections: Connections;
  readonly #pipeline: Pipeline;
  readonly #drain: (timeout: number) => Promise<DrainReport>;

  constructor(
    server: ServerInside,
    acceptor: Acceptor,
    connections: Connections,
    pipeline: Pipeline,
    drain: (timeout: number) => Promise<DrainReport>,
  ) {
    this.#server = server;
    this.#acceptor = acceptor;
    this.#connections = connections;
    this.#pipeline = pipeline;
    this.#drain = drain;
  }

  /** Without places the main server admits and counts. */
  begin(places: PlaceCounter | undefined): void {
    const { options, transport, clock } = this.#server;
    this.#acceptor.fed = places === undefined;
    this.#acceptor.change({ alarms: options.alarms });
    if (places instanceof SharedPlaces) {
      this.#acceptor.share(places);
      clock.sharpen(PLACES_SEEN);
    }
    if (options.tls !== undefined && transport.kind === 'stream') transport.secure?.(options.tls);
  }

  acceptFrom(listener: NetServer): void {
    (this.#server.transport as StreamTransport).adopt!(listener, this.#acceptor);
    this.#server.socket = listener;
  }

  /** A connection that was handed over; without a socket it was lost on the way. */
  feedConnection(id: number, raw: Socket | undefined): void {
    this.#acceptor.handedOver();
    this.#connections.open(raw ?? new Socket().destroy(), id);
  }

  feedDatagram(datagram: Datagram): void {
    this.#acceptor.handedOver();
    this.#pipeline.dispatch(datagram);
  }

  /** Sends away a connection that is not established: that one, where it was handed over. */
  displace(id?: number): void {
    const { taken, waiting } = this.#acceptor.admission.places;
    if (id !== undefined) this.#connections.displaceFed(id);
    // The one it was asked for may have its place by now.
    else if (waiting > 0 && taken >= this.#server.options.maxConnections) this.#connections.displace();
  }

  /** `shutdown()` of this worker alone. */
  drain(timeout: number): Promise<DrainReport> {
    return this.#drain(timeout);
  }
}
