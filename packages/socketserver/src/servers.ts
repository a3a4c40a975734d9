/** The server classes: one for each transport, and their threading and forking forms. */
import type { Address, BoundHost, BoundPath } from './address.js';
import type { HandlerClass } from './handler/handler.js';
import type { ServerOptions } from './options.js';
import { BaseServer } from './server/server.js';
import { TcpTransport } from './transports/tcp.js';
import { TlsTransport } from './transports/tls.js';
import type { TransportName } from './transports/transport.js';
import { UdpTransport } from './transports/udp.js';
import { UnixDatagramTransport } from './transports/unix-datagram.js';
import { UnixSeqpacketTransport } from './transports/unix-seqpacket.js';
import { UnixTransport } from './transports/unix.js';

/** Streams over TCP. Address: `{ host?, port }` or `{ fd }`. */
export class TCPServer extends BaseServer<BoundHost> {
  constructor(address: Address, RequestHandlerClass: HandlerClass, options: ServerOptions = {}) {
    super(address, RequestHandlerClass, options, new TcpTransport());
  }
}

/** Streams over TLS; its options are in `options.tls`. The handshake is a step of its own, under `handshakeTimeout`. */
export class TLSServer extends BaseServer<BoundHost> {
  constructor(address: Address, RequestHandlerClass: HandlerClass, options: ServerOptions = {}) {
    super(address, RequestHandlerClass, options, new TlsTransport());
  }
}

/** Streams over a Unix path or a name in Linux' abstract space. Address: `{ path, mode?, stale? }` or `{ fd }`. */
export class UnixStreamServer extends BaseServer<BoundPath> {
  constructor(address: Address, RequestHandlerClass: HandlerClass, options: ServerOptions = {}) {
    super(address, RequestHandlerClass, options, new UnixTransport());
  }
}

/** Datagrams over UDP: each is a request, handled by a `DatagramRequestHandler`. Address: `{ host?, port }`. */
export class UDPServer extends BaseServer<BoundHost> {
  constructor(address: Address, RequestHandlerClass: HandlerClass, options: ServerOptions = {}) {
    super(address, RequestHandlerClass, options, new UdpTransport());
  }

  /** Bytes of one datagram; more is cut off, and `truncated` set. */
  get maxPacketSize(): number {
    return this.options.maxPacketSize;
  }
}

/** Datagrams over a Unix path or abstract name. Needs Linux and the optional package koffi. */
export class UnixDatagramServer extends BaseServer<BoundPath> {
  constructor(address: Address, RequestHandlerClass: HandlerClass, options: ServerOptions = {}) {
    super(address, RequestHandlerClass, options, new UnixDatagramTransport());
  }
}

/**
 * Connections that keep message boundaries (SOCK_SEQPACKET): a chunk is a packet, a write sends one. Packets of more
 * than 64 KiB arrive cut off. Needs Linux and the optional package koffi.
 */
export class UnixSeqpacketServer extends BaseServer<BoundPath> {
  constructor(address: Address, RequestHandlerClass: HandlerClass, options: ServerOptions = {}) {
    super(address, RequestHandlerClass, options, new UnixSeqpacketTransport());
  }
}

type ServerConstructor = abstract new (
  // oxlint-disable-next-line typescript/no-explicit-any -- TypeScript asks exactly this of a mix-in's base (TS2545)
  ...args: any[]
) => BaseServer;

/** The same server with its handlers in worker threads: sets `concurrency` to `threads`, unless it is given. */
export function ThreadingMixIn<Base extends ServerConstructor>(base: Base): Base {
  return withConcurrency(base, 'threads');
}

/**
 * The same server with its handlers in child processes: sets `concurrency` to `processes`, unless it is given.
 * `{ mode: 'processes', requestsPerChild: 1 }` gives each request a process of its own.
 */
export function ForkingMixIn<Base extends ServerConstructor>(base: Base): Base {
  return withConcurrency(base, 'processes');
}

function withConcurrency<Base extends ServerConstructor>(base: Base, concurrency: 'threads' | 'processes'): Base {
  abstract class Concurrent extends base {
    // oxlint-disable-next-line typescript/no-explicit-any -- see ServerConstructor
    constructor(...args: any[]) {
      const [address, handler, options] = args as [Address, HandlerClass, ServerOptions | undefined];
      super(address, handler, { concurrency, ...options });
    }
  }
  return Concurrent;
}

export class ThreadingTCPServer extends ThreadingMixIn(TCPServer) {}
export class ThreadingTLSServer extends ThreadingMixIn(TLSServer) {}
export class ThreadingUDPServer extends ThreadingMixIn(UDPServer) {}
export class ThreadingUnixStreamServer extends ThreadingMixIn(UnixStreamServer) {}
export class ThreadingUnixDatagramServer extends ThreadingMixIn(UnixDatagramServer) {}

export class ForkingTCPServer extends ForkingMixIn(TCPServer) {}
export class ForkingTLSServer extends ForkingMixIn(TLSServer) {}
export class ForkingUDPServer extends ForkingMixIn(UDPServer) {}
export class ForkingUnixStreamServer extends ForkingMixIn(UnixStreamServer) {}
export class ForkingUnixDatagramServer extends ForkingMixIn(UnixDatagramServer) {}

/** What all server classes have in common. */
export type ServerClass = new (address: Address, handler: HandlerClass, options?: ServerOptions) => BaseServer;

const serverClasses: Record<TransportName, ServerClass> = {
  tcp: TCPServer,
  tls: TLSServer,
  udp: UDPServer,
  unix: UnixStreamServer,
  'unix-datagram': UnixDatagramServer,
  'unix-seqpacket': UnixSeqpacketServer,
};

/** The class over a transport. */
export function serverClassFor(transport: TransportName): ServerClass {
  return serverClasses[transport];
}
