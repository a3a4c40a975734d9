import type { Address } from './address.js';
import type { HandlerClass } from './handler.js';
import type { ServerOptions } from './options.js';
import { BaseServer } from './server.js';
import { TcpTransport } from './transports/tcp.js';
import { TlsTransport } from './transports/tls.js';
import { UnixTransport } from './transports/unix.js';

/** Streams over TCP. Address: `{ host?, port }` or `{ fd }`. */
export class TCPServer extends BaseServer {
  constructor(address: Address, RequestHandlerClass: HandlerClass, options: ServerOptions = {}) {
    super(address, RequestHandlerClass, options, new TcpTransport());
  }
}

/** Streams over TLS; its options are in `options.tls`. The handshake is a step of its own, under `handshakeTimeout`. */
export class TLSServer extends BaseServer {
  constructor(address: Address, RequestHandlerClass: HandlerClass, options: ServerOptions = {}) {
    super(address, RequestHandlerClass, options, new TlsTransport());
  }
}

/** Streams over a Unix path or a name in Linux' abstract space. Address: `{ path, mode?, stale? }` or `{ fd }`. */
export class UnixStreamServer extends BaseServer {
  constructor(address: Address, RequestHandlerClass: HandlerClass, options: ServerOptions = {}) {
    super(address, RequestHandlerClass, options, new UnixTransport());
  }
}
