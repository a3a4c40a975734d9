/** What gets into a worker: handler classes by module and name, and options that can be copied. */
import { randomBytes } from 'node:crypto';
import { SocketServerError } from '../errors.js';
import type { HandlerClass } from '../handler/handler.js';
import { wrongOption, type ServerOptions } from '../options.js';
import type { Export } from './worker-messages.js';

/** Steps of the pipeline that run where the connection is. The others are asked of the main thread. */
const stepsInWorker = ['getRequest', 'processRequest', 'finishRequest', 'shutdownRequest', 'closeRequest'] as const;

/** Options that mean nothing in a worker. */
const notPassed = new Set(['concurrency', 'signal', 'postListen', 'requestQueueSize', 'isKnownSource']);

export function exportOf(code: { module?: string; name: string }): Export {
  return { module: code.module!, name: code.name };
}

/** Refuses, when the server is made, what could not get into a worker. */
export function checkForWorkers(options: ServerOptions, handler: HandlerClass, server: object, base: object): void {
  needModule(handler as { module?: string; name: string }, 'the request handler');
  const own = server.constructor as { module?: string; name: string };
  const overridden = stepsInWorker.find((step) => server[step as never] !== base[step as never]);
  if (own.module !== undefined) needModule(own, 'the server');
  else if (overridden !== undefined)
    throw new SocketServerError(
      'INVALID_HANDLER',
      `${own.name}.${overridden}() is overridden, and with threads or processes it runs in the worker: ` +
        `export the class and give it "static module = import.meta.url"`,
    );
  if (options.framing !== undefined && typeof options.framing !== 'string')
    throw wrongOption(
      'framing',
      'option "framing" has to reach threads or processes: give it as a spec such as "u32be", or as "static framing" of the handler',
    );
  for (const name of ['handlerOptions', 'tls'] as const) {
    try {
      structuredClone(options[name]);
    } catch (error) {
      const why = (error as Error).message;
      throw wrongOption(name, `option "${name}" has to be copied into threads or processes: ${why}`);
    }
  }
}

function needModule({ module, name }: { module?: string; name: string }, what: string): void {
  if (typeof module !== 'string' || !module.startsWith('file:') || name === '')
    throw new SocketServerError(
      'INVALID_HANDLER',
      `${what} ${name || '(without a name)'} runs in threads or processes, which load it from its module: ` +
        'export it under its name and give it "static module = import.meta.url"',
    );
}

/** One key for the session tickets of all workers, so that a client may resume with another one. */
const ticketKeys = randomBytes(48);

/** The options as they travel. */
export function forWorkers(options: ServerOptions): Record<string, unknown> {
  const passed = Object.fromEntries(
    Object.entries(options).filter(([name, value]) => !notPassed.has(name) && value !== undefined),
  );
  if (options.tls !== undefined) passed['tls'] = { ticketKeys, ...options.tls };
  return passed;
}
