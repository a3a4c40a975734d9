/** The short form: an address and a function make a server that serves. */
import type { Address, BoundHost, BoundPath, PathAddress, TcpAddress } from './address.js';
import type { Connection } from './connection/connection.js';
import { BaseRequestHandler, DatagramRequestHandler, type HandlerClass } from './handler/handler.js';
import type { ServerOptions } from './options.js';
import type { Server } from './server-interface.js';
import { TCPServer, TLSServer, UDPServer, UnixDatagramServer, UnixStreamServer, type ServerClass } from './servers.js';

/** Handles one connection; when it returns, what is written is sent and the connection closed. */
export interface HandlerFunction {
  (connection: Connection, server: Server): unknown;
  /** `import.meta.url` of the module that exports this function under its own name; for threads and processes. */
  readonly module?: string;
}

type Handler = HandlerClass | HandlerFunction;

/**
 * The short form: makes the server that fits the address (and `options.tls`), starts it, and resolves when it serves.
 * @throws OptionError, SocketServerError where an argument is wrong
 * @throws ListenError where it cannot listen
 */
export function serve(address: TcpAddress, handler: Handler, options?: ServerOptions): Promise<Server<BoundHost>>;
export function serve(address: PathAddress, handler: Handler, options?: ServerOptions): Promise<Server<BoundPath>>;
export function serve(address: Address, handler: Handler, options?: ServerOptions): Promise<Server>;
export async function serve(address: Address, handler: Handler, options: ServerOptions = {}): Promise<Server> {
  const handlerClass = handlerClassOf(handler);
  const server = new (serverFor(address, handlerClass, options))(address, handlerClass, options);
  await server.listen();
  void server.serveForever();
  return server;
}

function serverFor(address: Address, handler: HandlerClass, options: ServerOptions): ServerClass {
  const unix = 'path' in address;
  if (handler.prototype instanceof DatagramRequestHandler) return unix ? UnixDatagramServer : UDPServer;
  if (options.tls !== undefined) return TLSServer;
  return unix ? UnixStreamServer : TCPServer;
}

/** A class as it is; a function in a class of the same name (and module, for threads and processes). */
export function handlerClassOf(handler: HandlerClass | HandlerFunction): HandlerClass {
  if (typeof handler !== 'function' || handler.prototype instanceof BaseRequestHandler) return handler as HandlerClass;
  const call = handler as HandlerFunction;
  const handlerClass = class extends BaseRequestHandler<Connection> {
    static readonly module = call.module;
    override handle(): unknown {
      return call(this.request, this.server);
    }
  };
  Object.defineProperty(handlerClass, 'name', { value: call.name });
  return handlerClass as HandlerClass;
}
