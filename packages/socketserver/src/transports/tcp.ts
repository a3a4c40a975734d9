/** Streams over TCP. */
import { createServer, type Server, type Socket } from 'node:net';
import type { Address, BoundAddress } from '../address.js';
import { listenOn } from './endpoint.js';
import { descriptorOf } from '../node-internals.js';
import type { StreamTransport, TransportName, TransportSink } from './transport.js';

/** Streams over TCP, and the base of everything else that accepts connections. */
export class TcpTransport implements StreamTransport {
  readonly name: TransportName = 'tcp';
  readonly kind = 'stream';
  socket: Server | undefined;
  arrivals = 0;
  noDelay = false;

  async bind(address: Address, sink: TransportSink<Socket>): Promise<BoundAddress> {
    // Paused, so that nothing is read before the connection is admitted; half-open, so that late answers arrive.
    const { noDelay } = sink.options;
    this.noDelay = noDelay;
    const server = createServer({ pauseOnConnect: true, allowHalfOpen: true, noDelay });
    const bound = await listenOn(server, address, sink.requestQueueSize);
    this.adopt(server, sink);
    return bound;
  }

  /** Takes what arrives at a server that listens already. */
  adopt(server: Server, sink: TransportSink<Socket>): void {
    server.on('connection', (socket: Socket) => {
      this.arrivals++;
      sink.arrived(socket);
    });
    server.on('error', (error: NodeJS.ErrnoException) => sink.acceptFailed(error));
    this.socket = server;
  }

  fileno(): number {
    return descriptorOf(this.socket);
  }

  get open(): boolean {
    return this.socket?.listening === true;
  }

  close(): Promise<void> {
    const server = this.socket;
    if (server === undefined || !server.listening) return Promise.resolve();
    // The callback would wait for every connection; the descriptor is closed with this turn of the loop.
    server.close();
    return new Promise((resolve) => setImmediate(resolve));
  }
}
