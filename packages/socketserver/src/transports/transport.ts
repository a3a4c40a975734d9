/** The interface of transports. */
import type { Server, Socket } from 'node:net';
import type { TLSSocket, TlsOptions } from 'node:tls';
import type { Address, BoundAddress } from '../address.js';
import type { Datagram } from '../datagram.js';
import type { ResolvedOptions } from '../options.js';

/** What a transport tells its server. */
export interface TransportSink<T> {
  readonly options: ResolvedOptions;
  readonly requestQueueSize: number;
  readonly allowReuseAddress: boolean;
  /** A request arrived: a raw socket, before any handshake, or one datagram. */
  arrived(item: T): void;
  /** accept(2) or recv(2) failed. */
  acceptFailed(error: NodeJS.ErrnoException): void;
}

/** A way of getting requests: binds, listens, and hands over what arrives. */
export interface Transport<T> {
  readonly name: TransportName;
  readonly kind: 'stream' | 'datagram';
  /** Node's object below, once open: what `server.socket` shows. */
  readonly socket: unknown;
  /** Binds. @throws ListenError */
  bind(address: Address, sink: TransportSink<T>): Promise<BoundAddress>;
  /** The number of the descriptor, or -1. */
  fileno(): number;
  /** Whether it is bound. */
  readonly open: boolean;
  /** How many arrived so far. */
  readonly arrivals: number;
  /** Stops taking new ones. Those that arrived are not touched. */
  close(): Promise<void>;
}

export interface StreamTransport extends Transport<Socket> {
  readonly kind: 'stream';
  /** Whether sockets arrive with TCP_NODELAY set already. */
  readonly noDelay?: boolean;
  /** Takes what arrives at a server that listens already. */
  adopt?(server: Server, sink: TransportSink<Socket>): void;
  /** Checks and takes over TLS options; at the start, and when they change. @throws ListenError */
  secure?(options: TlsOptions | undefined): void;
  /** The second step after accept, where there is one. */
  handshake?(raw: Socket): Promise<TLSSocket>;
}

export interface DatagramTransport extends Transport<Datagram> {
  readonly kind: 'datagram';
}

export type AnyTransport = StreamTransport | DatagramTransport;

export type TransportName = 'tcp' | 'tls' | 'udp' | 'unix' | 'unix-datagram' | 'unix-seqpacket';
