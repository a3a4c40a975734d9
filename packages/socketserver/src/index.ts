export { Connection, type ConnectionStats } from './connection.js';
export { Datagram, type DatagramSocket } from './datagram.js';
export type { DrainReport } from './drain.js';
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
} from './handler.js';
export type { Alarm, Concurrency, ProcessOptions, ProxyProtocol, ServerOptions, ThreadOptions } from './options.js';
export type { Address, BoundAddress, PeerAddress } from './address.js';
export { serve, type HandlerFunction } from './serve.js';
export { BaseServer } from './server.js';
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
export { isWorker } from './worker-context.js';
