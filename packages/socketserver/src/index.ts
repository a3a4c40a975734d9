/**
 * Socket servers with request handlers.
 *
 * Three choices make a server, and none depends on the others:
 *
 * ```text
 *   transport                    x  concurrency                x  handler
 *   how requests arrive             where handlers run            what is done with one
 *
 *   TCPServer                       inline     this loop,         StreamRequestHandler    bytes, pull or push
 *   TLSServer                                  many at once       MessageRequestHandler   messages, by a framing
 *   UnixStreamServer                threads    worker threads     DatagramRequestHandler  one packet
 *   UnixSeqpacketServer             processes  a pool of          an async function       the connection
 *   UDPServer                                  children
 *   UnixDatagramServer
 * ```
 *
 * The smallest program:
 *
 * ```ts
 * import { serve } from '@sendall/socketserver';
 *
 * await serve({ port: 7000 }, async (connection) => {
 *   for await (const chunk of connection) connection.write(chunk);
 * });
 * ```
 *
 * A request goes through a pipeline whose steps a server class may override, named as in Python's module:
 * `getRequest`, `verifyRequest`, `processRequest`, `finishRequest` (makes the handler and runs its `setup`, `handle`
 * and `finish`), `shutdownRequest`, `closeRequest`. What a handler throws goes to `handleError`, once, and costs its
 * own connection.
 *
 * Which concurrency? On Node one loop serves thousands of connections, so `inline` is right for everything that waits:
 * for clients, files, databases. `threads` are for handlers that need the CPU. `processes` are for handlers that may
 * take their process down. Neither shares memory with the program that started them: a handler that answers from a
 * Map of that program belongs inline. And where a hundred lines would do, a framework is no help at all.
 *
 * @module @sendall/socketserver
 */
export { Connection, type ConnectionStats } from './connection/connection.js';
export { Datagram, type DatagramSocket } from './datagram.js';
export type { DrainReport } from './reasons.js';
export {
  ConnectionClosedError,
  LineTooLongError,
  ListenError,
  OptionError,
  ProxyHeaderError,
  SocketServerError,
  TimeoutError,
  type ErrorCode,
} from './errors.js';
export type { ConnectionInfo, ErrorContext, ServerEvents, WorkerEvent } from './events.js';
export type { CloseReason, DropReason } from './reasons.js';
export {
  BaseRequestHandler,
  DatagramRequestHandler,
  MessageRequestHandler,
  StreamRequestHandler,
  type HandlerClass,
} from './handler/handler.js';
export type { Alarm, Concurrency, ProcessOptions, ProxyProtocol, ServerOptions, ThreadOptions } from './options.js';
export type { Address, BoundAddress, BoundHost, BoundPath, PeerAddress } from './address.js';
export { readInto } from './node-internals.js';
export { parseProxyHeader, parseProxyTlvs, type ProxyHeader, type ProxyTlv } from './connection/proxy-protocol.js';
export { serve, type HandlerFunction } from './serve.js';
export { BaseServer } from './server/server.js';
export type { Comparison, Request, Server, ServerInfo, ServerStatus } from './server-interface.js';
export {
  ForkingMixIn,
  ForkingTCPServer,
  ForkingTLSServer,
  ForkingUDPServer,
  ForkingUnixDatagramServer,
  ForkingUnixStreamServer,
  TCPServer,
  ThreadingMixIn,
  ThreadingTCPServer,
  ThreadingTLSServer,
  ThreadingUDPServer,
  ThreadingUnixDatagramServer,
  ThreadingUnixStreamServer,
  TLSServer,
  UDPServer,
  UnixDatagramServer,
  UnixSeqpacketServer,
  UnixStreamServer,
} from './servers.js';
export { sourceOf } from './admission/sources.js';
export { isWorker } from './concurrency/worker-context.js';
