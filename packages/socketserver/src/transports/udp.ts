/** Datagrams over UDP. */
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { lookup } from 'node:dns/promises';
import { isIPv6 } from 'node:net';
import type { Address, BoundAddress, PeerAddress } from '../address.js';
import { Datagram, type DatagramSocket } from '../datagram.js';
import { listenError, SocketServerError } from '../errors.js';
import type { DatagramTransport, TransportSink } from './transport.js';

/** Datagrams over UDP. */
export class UdpTransport implements DatagramTransport, DatagramSocket {
  readonly name = 'udp';
  readonly kind = 'datagram';
  socket: Socket | undefined;
  arrivals = 0;
  #open = false;

  async bind(address: Address, sink: TransportSink<Datagram>): Promise<BoundAddress> {
    if ('path' in address)
      throw new SocketServerError('INVALID_ADDRESS', 'a UDP server has a host and a port, not a path');
    const { options } = sink;
    const socket = createSocket({ type: await familyOf(address), reuseAddr: sink.allowReuseAddress });
    try {
      await new Promise<void>((resolve, reject) => {
        socket.once('error', reject);
        socket.once('listening', () => {
          socket.off('error', reject);
          resolve();
        });
        if ('fd' in address) socket.bind({ fd: address.fd });
        else socket.bind({ port: address.port, address: address.host, exclusive: true });
      });
    } catch (error) {
      socket.close();
      throw listenError(error, address);
    }
    socket.on('error', (error: NodeJS.ErrnoException) => sink.acceptFailed(error));
    socket.on('message', (data: Buffer, from: RemoteInfo) => {
      this.arrivals++;
      const truncated = data.length > options.maxPacketSize;
      const packet = truncated ? data.subarray(0, options.maxPacketSize) : data;
      sink.arrived(new Datagram(packet, { host: from.address, port: from.port }, truncated, this));
    });
    this.socket = socket;
    this.#open = true;
    const bound = socket.address();
    return { host: bound.address, port: bound.port };
  }

  send(data: Uint8Array, to: PeerAddress): Promise<void> {
    return new Promise((resolve, reject) => {
      if (!this.#open || !('host' in to)) {
        reject(new SocketServerError('CONNECTION_CLOSED', 'the server is closed: nothing can be sent any more'));
        return;
      }
      this.socket!.send(data, to.port, to.host, (error) => (error ? reject(error) : resolve()));
    });
  }

  /** Node shows no public descriptor of a UDP socket. */
  fileno(): number {
    return -1;
  }

  get open(): boolean {
    return this.#open;
  }

  close(): Promise<void> {
    if (!this.#open) return Promise.resolve();
    this.#open = false;
    return new Promise((resolve) => this.socket!.close(() => resolve()));
  }
}

async function familyOf(address: Address): Promise<'udp4' | 'udp6'> {
  if (!('host' in address) || address.host === undefined) return 'udp4';
  try {
    return isIPv6((await lookup(address.host)).address) ? 'udp6' : 'udp4';
  } catch (error) {
    throw listenError(error, address);
  }
}
