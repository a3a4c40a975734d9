import type { Address } from './address.js';
import type { Connection } from './connection.js';
import { BaseRequestHandler, type HandlerClass } from './handler.js';
import type { ServerOptions } from './options.js';
import type { Server } from './server-interface.js';
import { TCPServer, TLSServer, UnixStreamServer } from './servers.js';

/** Handles one connection; when it returns, what is written is sent and the connection closed. */
export type HandlerFunction = (connection: Connection, server: Server) => unknown;

/**
 * The short form: makes the server that fits the address (and `options.tls`), starts it, and resolves when it serves.
 * @throws ListenError
 */
export async function serve(
  address: Address,
  handler: HandlerClass | HandlerFunction,
  options: ServerOptions = {},
): Promise<Server> {
  const handlerClass = isHandlerClass(handler) ? handler : classFor(handler);
  const server = new (serverFor(address, options))(address, handlerClass, options);
  await server.listen();
  void server.serveForever();
  return server;
}

function serverFor(address: Address, options: ServerOptions): typeof TCPServer {
  if (options.tls !== undefined) return TLSServer;
  return 'path' in address ? UnixStreamServer : TCPServer;
}

function isHandlerClass(handler: HandlerClass | HandlerFunction): handler is HandlerClass {
  return handler.prototype instanceof BaseRequestHandler;
}

function classFor(handler: HandlerFunction): HandlerClass {
  if (typeof handler !== 'function') return handler;
  return class extends BaseRequestHandler<Connection> {
    override handle(): unknown {
      return handler(this.request, this.server);
    }
  };
}
