/** The connections of one loop, from the raw socket to the end. */
import type { Socket } from 'node:net';
import type { TLSSocket, TlsOptions } from 'node:tls';
import type { Framing } from '@sendall/framing';
import type { Acceptor } from '../admission/acceptor.js';
import type { Clock } from '../connection/clock.js';
import type { Condition } from './condition.js';
import { Connection, type ConnectionHost } from '../connection/connection.js';
import { SocketServerError } from '../errors.js';
import { announce, isHeard } from '../events.js';
import type { ResolvedOptions } from '../options.js';
import type { Pipeline } from './pipeline.js';
import { readProxyHeader } from '../connection/proxy-reader.js';
import type { CloseReason } from '../reasons.js';
import type { ServerInside } from '../server-inside.js';
import type { StreamTransport } from '../transports/transport.js';
import { makeHandshaker } from '../transports/tls.js';
import { Established } from '../admission/established.js';
import { beginsUnestablished, isFailure, Unestablished } from '../admission/unestablished.js';

/**
 * The connections of this loop, from the raw socket to the end: socket options, PROXY header and TLS handshake before
 * the pipeline, one `connection` and one `close` event each.
 */
export class Connections implements ConnectionHost {
  readonly all = new Set<Connection>();
  readonly clock: Clock;
  readonly packets: boolean;
  readonly #server: ServerInside;
  readonly #acceptor: Acceptor;
  readonly #pipeline: Pipeline;
  readonly #counts: Condition;
  readonly #unestablished: Unestablished<Connection>;
  readonly #established = new Established<Connection>();

  constructor(server: ServerInside, acceptor: Acceptor, pipeline: Pipeline, counts: Condition) {
    this.#server = server;
    this.#acceptor = acceptor;
    this.#pipeline = pipeline;
    this.#counts = counts;
    this.#unestablished = new Unestablished(() => server.options);
    this.clock = server.clock;
    this.packets = server.transport.name === 'unix-seqpacket';
  }

  get options(): ResolvedOptions {
    return this.#server.options;
  }

  get framing(): Framing | undefined {
    return this.#server.framing;
  }

  get #transport(): StreamTransport {
    return this.#server.transport as StreamTransport;
  }

  open(raw: Socket, id?: number): void {
    const { options, serverAddress } = this.#server;
    const transport = this.#transport;
    if (options.noDelay !== (transport.noDelay ?? false) && !transport.name.startsWith('unix'))
      raw.setNoDelay(options.noDelay);
    if (options.keepAlive !== false) raw.setKeepAlive(true, options.keepAlive === true ? undefined : options.keepAlive);
    const connection = new Connection(this, raw, 'path' in serverAddress ? serverAddress.path : undefined, id);
    this.all.add(connection);
    if (beginsUnestablished(this.#server)) {
      connection.beginUnestablished();
      this.#unestablished.add(connection, connection.peer);
      this.#countUnestablished();
    }
    if (isHeard(this.#server, 'connection')) {
      const { id, peer, local } = connection;
      announce(this.#server, 'connection', { id, peer, local, connection });
    }
    // Behind a balancer all have its address until their headers have come.
    if (options.proxyProtocol === false) this.#unestablished.surplus(connection)?.displace();
    if (connection.established && !this.#mayStay(connection)) this.#tooMany(connection);
    else if (options.proxyProtocol === false && transport.handshake === undefined) this.#pipeline.dispatch(connection);
    else void this.#shakeHands(connection, transport);
  }

  async #shakeHands(connection: Connection, transport: StreamTransport): Promise<void> {
    const { proxyProtocol } = this.options;
    try {
      if (proxyProtocol !== false) {
        await readProxyHeader(connection, proxyProtocol);
        this.#unestablished.move(connection, connection.peer);
        this.#unestablished.surplus(connection)?.displace();
      }
      if (transport.handshake !== undefined) await connection.handshake();
    } catch (error) {
      this.#end(connection, error as Error, 'handshake-error');
      return;
    }
    if (connection.closed) return;
    if (this.options.establishedBy === 'server' && !connection.establish()) this.#tooMany(connection);
    else this.#pipeline.dispatch(connection);
  }

  /** Ends one that did not come as far as the handler. */
  #end(connection: Connection, error: Error, reason: CloseReason): void {
    connection.fail(error, reason);
    const { admission } = this.#acceptor;
    if (admission.permits !== Infinity && this.#pipeline.awaited) admission.permits++;
  }

  #mayStay(connection: Connection): boolean {
    return this.#established.add(connection, connection.peer, this.options.maxConnectionsPerSource);
  }

  #tooMany(connection: Connection): void {
    const { maxConnectionsPerSource } = this.options;
    const why = `its source has ${maxConnectionsPerSource} connections already (maxConnectionsPerSource)`;
    this.#end(connection, new SocketServerError('SOURCE_LIMIT', why), 'source-limit');
  }

  /** Frees a place for a newcomer, where a connection here is not established. */
  displace(): boolean {
    const connection = this.#unestablished.next;
    if (connection !== undefined) connection.displace();
    // Another thread may have a connection that can go.
    else this.#server.relay?.makeRoom?.();
    return connection !== undefined;
  }

  /** The same where the main server has chosen the connection, which stays if it is established by now. */
  displaceFed(id: number): void {
    for (const connection of this.all)
      if (connection.id === id && !connection.established) return connection.displace();
  }

  get unestablished(): number {
    return this.#unestablished.size;
  }

  #countUnestablished(): void {
    this.#acceptor.countUnestablished(this.#unestablished.size);
  }

  connectionEstablished(connection: Connection): boolean {
    if (!this.#mayStay(connection)) return false;
    this.#unestablished.delete(connection);
    this.#countUnestablished();
    if (this.#acceptor.fed) this.#server.relay!.established(connection);
    return true;
  }

  upgrade(raw: Socket, options: TlsOptions | undefined): Promise<TLSSocket> {
    const transport = this.#transport;
    if (options === undefined && transport.handshake !== undefined) return transport.handshake(raw);
    return makeHandshaker(options ?? this.options.tls, this.#server.serverAddress).handshake(raw);
  }

  connectionClosed(connection: Connection): void {
    this.all.delete(connection);
    this.#established.delete(connection);
    if (this.#unestablished.delete(connection, isFailure(connection.reason))) this.#countUnestablished();
    if (isHeard(this.#server, 'close')) {
      const { id, peer, local, failure } = connection;
      const { bytesRead, bytesWritten, durationMs } = connection.stats;
      announce(this.#server, 'close', {
        id,
        peer,
        local,
        connection,
        reason: connection.reason ?? 'end',
        ...(failure && { error: failure }),
        bytesRead,
        bytesWritten,
        durationMs,
      });
    }
    this.#server.relay?.closed(connection);
    this.#counts.changed();
  }

  placeFreed(connection: Connection): void {
    // One without a place has none to give away.
    if (this.#unestablished.delete(connection)) this.#countUnestablished();
    if (!this.#acceptor.fed) this.#acceptor.admission.release();
    else if (!connection.closed) this.#server.relay!.uncounted(connection);
    this.#counts.changed();
  }

  report(connection: Connection, error: unknown): void {
    this.#pipeline.report(connection, connection.peer, error);
  }
}
