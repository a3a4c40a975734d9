/** Streams over a Unix path or abstract name. */
import type { Socket } from 'node:net';
import type { Address, BoundAddress } from '../address.js';
import { OwnedPath } from './endpoint.js';
import type { TransportSink } from './transport.js';
import { TcpTransport } from './tcp.js';

/** Streams over a Unix path or abstract name. */
export class UnixTransport extends TcpTransport {
  override readonly name = 'unix';
  #path: OwnedPath | undefined;

  override async bind(address: Address, sink: TransportSink<Socket>): Promise<BoundAddress> {
    const bound = await super.bind(address, sink);
    if ('path' in bound) this.#path = new OwnedPath(bound.path);
    return bound;
  }

  override close(): Promise<void> {
    let closed = Promise.resolve();
    const close = (): void => {
      closed = super.close();
    };
    if (this.#path === undefined) close();
    else this.#path.closeWith(close);
    return closed;
  }
}
