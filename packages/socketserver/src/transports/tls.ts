/** Streams over TLS: the handshake on sockets that are accepted already. */
import type { Socket } from 'node:net';
import { createServer, type Server, type TLSSocket, type TlsOptions } from 'node:tls';
import type { Address, BoundAddress } from '../address.js';
import { ListenError, SocketServerError } from '../errors.js';
import { rawSocketOf } from '../node-internals.js';
import type { TransportSink } from './transport.js';
import { TcpTransport } from './tcp.js';

interface Guest {
  resolve(socket: TLSSocket): void;
  reject(error: Error): void;
}

/**
 * Makes TLS handshakes on sockets that are accepted already.
 *
 * A `tls.Server` that never listens does the work: raw sockets are given to it as its connections. Its own handshake
 * timer is off: the connection's deadline counts, from the accept on.
 */
export class TlsHandshaker {
  readonly #server: Server;
  readonly #guests = new WeakMap<Socket, Guest>();

  constructor(options: TlsOptions) {
    this.#server = createServer({ ...options, handshakeTimeout: 0, pauseOnConnect: true });
    this.#server.on('secureConnection', (secure) => {
      secure.allowHalfOpen = true;
      this.#guestOf(secure)?.resolve(secure);
    });
    this.#server.on('tlsClientError', (error, secure) => {
      // With a listener here Node leaves the closing to us.
      this.#guestOf(secure)?.reject(error);
      secure.destroy();
    });
  }

  handshake(raw: Socket): Promise<TLSSocket> {
    return new Promise((resolve, reject) => {
      raw.on('error', reject);
      raw.once('close', () =>
        reject(new SocketServerError('HANDSHAKE_FAILED', 'the client left during the handshake')),
      );
      this.#guests.set(raw, { resolve, reject });
      // A client that ends during the handshake will not finish it: half-open is for afterwards.
      raw.allowHalfOpen = false;
      this.#server.emit('connection', raw);
    });
  }

  #guestOf(secure: TLSSocket): Guest | undefined {
    const raw = rawSocketOf(secure);
    return raw === undefined ? undefined : this.#guests.get(raw);
  }
}

/**
 * Checks that the options hold a certificate or its like, and that OpenSSL takes it.
 * @throws ListenError
 */
export function makeHandshaker(options: TlsOptions | undefined, address: unknown): TlsHandshaker {
  const { cert, key, pfx, SNICallback, pskCallback } = options ?? {};
  const fail = (reason: string, cause?: unknown): never => {
    throw new ListenError('TLS_CONFIGURATION', address, reason, { cause });
  };
  if (options === undefined || !((cert && key) || pfx || SNICallback || pskCallback))
    return fail('a TLS server needs the option tls with cert and key (or pfx, SNICallback or pskCallback)');
  try {
    return new TlsHandshaker(options);
  } catch (error) {
    return fail(`the TLS options are not usable: ${(error as Error).message}`, error);
  }
}

/** TCP with a TLS handshake as a second step, under the connection's own deadline. */
export class TlsTransport extends TcpTransport {
  override readonly name = 'tls';
  #handshaker: TlsHandshaker | undefined;

  override bind(address: Address, sink: TransportSink<Socket>): Promise<BoundAddress> {
    this.#handshaker ??= makeHandshaker(sink.options.tls, address);
    return super.bind(address, sink);
  }

  secure(options: TlsOptions): void {
    this.#handshaker = makeHandshaker(options, undefined);
  }

  handshake(raw: Socket): Promise<TLSSocket> {
    return this.#handshaker!.handshake(raw);
  }
}
