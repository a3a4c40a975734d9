/** The steps that a request goes through. */
import type { Acceptor } from '../admission/acceptor.js';
import type { PeerAddress } from '../address.js';
import { MAX_DELAY } from '../options.js';
import type { Condition } from './condition.js';
import { Connection } from '../connection/connection.js';
import { TimeoutError } from '../errors.js';
import { reportError } from '../events.js';
import { ConnectionHandler, onlyPushes, type BaseRequestHandler } from '../handler/handler.js';
import type { Push } from '../connection/push.js';
import type { Request } from '../server-interface.js';
import type { ServerInside, Steps } from '../server-inside.js';

/** What the pipeline asks of the server's life cycle. */
export interface PipelineHost {
  /** `serveForever()` was called. */
  serving(): boolean;
  /** A request is over. */
  served(): void;
}

/** Takes requests through the steps of the server's class, and catches what they throw. */
export class Pipeline {
  /** Requests on their way. */
  running = 0;
  readonly #server: ServerInside;
  /** The steps as they are where they are not overridden. */
  readonly #base: Steps;
  readonly #acceptor: Acceptor;
  readonly #counts: Condition;
  readonly #host: PipelineHost;
  /** Requests that are ready for `getRequest()`, and calls of it that wait. */
  #ready: Request[] = [];
  #callers: ((request: Request) => void)[] = [];
  #direct: boolean | undefined;
  #pulling = false;

  constructor(server: ServerInside, base: Steps, acceptor: Acceptor, counts: Condition, host: PipelineHost) {
    this.#server = server;
    this.#base = base;
    this.#acceptor = acceptor;
    this.#counts = counts;
    this.#host = host;
  }

  // ---- the beginning

  dispatch(request: Request): void {
    const caller = this.#callers.shift();
    if (caller !== undefined) caller(request);
    else if (this.#isPulled || !this.#host.serving()) this.#ready.push(request);
    else if (this.#isDirect) this.#handleDirectly(request as Connection);
    else void this.#handle(request, request.peer);
  }

  /** Whether a call of `next()` waits. */
  get awaited(): boolean {
    return this.#callers.length > 0;
  }

  /** What `getRequest()` does. */
  next(): Promise<[Request, PeerAddress]> {
    const request = this.#ready.shift();
    if (request !== undefined) return Promise.resolve([request, request.peer]);
    return new Promise((resolve) => this.#callers.push((next) => resolve([next, next.peer])));
  }

  get #isPulled(): boolean {
    return this.#server.getRequest !== this.#base.getRequest;
  }

  /** The server serves from now on: one with a `getRequest()` of its own is asked again and again. */
  begin(): void {
    if (this.#isPulled) void this.#pull();
  }

  async #pull(): Promise<void> {
    // One that was suspended asks still.
    if (this.#pulling) return;
    this.#pulling = true;
    const server = this.#server;
    while (server.status === 'running' || server.status === 'suspended') {
      try {
        const [request, clientAddress] = await server.getRequest();
        void this.#handle(request, clientAddress);
      } catch (error) {
        reportError(server, error);
      }
    }
  }

  /** `handleRequest()` in this loop. */
  async handleOne(timeout: number): Promise<void> {
    const { admission } = this.#acceptor;
    admission.permits++;
    const others = this.#callers.length;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<undefined>((resolve) => {
      if (timeout > 0 && timeout <= MAX_DELAY) timer = setTimeout(resolve, timeout, undefined);
    });
    const getting = this.#server.getRequest();
    const own = this.#callers[others];
    const got = await Promise.race([getting, late]);
    clearTimeout(timer);
    if (got !== undefined) return this.#handle(...got);
    const at = own === undefined ? -1 : this.#callers.indexOf(own);
    // Its request has come: the server's own getRequest() has it.
    if (own !== undefined && at < 0) return this.#handle(...(await getting));
    admission.permits = Math.max(0, admission.permits - 1);
    if (at >= 0) this.#callers.splice(at, 1);
    else this.#callers.pop();
    void getting.catch(() => {});
    return this.#server.handleTimeout();
  }

  // ---- without promises

  /**
   * Whether requests may skip the promises of the pipeline: no step is overridden, and the handler only pushes. It
   * saves a third of the memory of an idle connection.
   */
  get #isDirect(): boolean {
    const server = this.#server;
    let direct = this.#direct;
    if (direct === undefined) {
      const steps = ['verifyRequest', 'processRequest', 'finishRequest', 'shutdownRequest', 'closeRequest'] as const;
      direct = steps.every((step) => server[step] === this.#base[step]) && onlyPushes(server.RequestHandlerClass);
      this.#direct = direct;
    }
    return direct && server.relay?.verify === undefined;
  }

  #handleDirectly(connection: Connection): void {
    this.running++;
    let push: Push | undefined;
    try {
      push = this.makeHandler(connection, connection.peer).push();
    } catch (error) {
      this.#endDirectly(connection, true, error);
      return;
    }
    if (push === undefined) this.#endDirectly(connection, false, undefined);
    else push.start(this.#endDirectly);
  }

  readonly #endDirectly = (connection: Connection, threw: boolean, error: unknown): void => {
    if (threw) {
      this.report(connection, connection.peer, error);
      connection.reason ??= 'handler-error';
    }
    connection.beginClose('server');
    this.running--;
    this.#counts.changed();
    this.#host.served();
  };

  // ---- step by step

  makeHandler(request: Request, clientAddress: PeerAddress): ConnectionHandler {
    const { RequestHandlerClass } = this.#server;
    const handler: BaseRequestHandler = new RequestHandlerClass(request as never, clientAddress, this.#server);
    if (handler instanceof ConnectionHandler) {
      handler.request.hooks = handler;
      if (handler.timeout !== undefined) handler.request.setReadTimeout(handler.timeout);
    }
    return handler as ConnectionHandler;
  }

  async #handle(request: Request, clientAddress: PeerAddress): Promise<void> {
    const server = this.#server;
    this.running++;
    try {
      if (await this.#verified(request, clientAddress)) await server.processRequest(request, clientAddress);
      else await this.#refuse(request);
    } catch (error) {
      this.report(request, clientAddress, error);
      await this.#shutdownAfterError(request, error);
    }
    this.running--;
    if (!(request instanceof Connection)) {
      if (this.#acceptor.fed) server.relay!.done(request);
      else this.#acceptor.admission.release();
    }
    this.#counts.changed();
    this.#host.served();
  }

  #verified(request: Request, clientAddress: PeerAddress): boolean | Promise<boolean> {
    const server = this.#server;
    if (server.relay?.verify !== undefined) return server.relay.verify(request, clientAddress);
    return server.verifyRequest === this.#base.verifyRequest || server.verifyRequest(request, clientAddress);
  }

  async #refuse(request: Request): Promise<void> {
    if (request instanceof Connection) request.reason ??= 'refused';
    await this.#server.shutdownRequest(request);
  }

  async #shutdownAfterError(request: Request, error: unknown): Promise<void> {
    if (request instanceof Connection)
      request.reason ??= error instanceof TimeoutError && request.failure === error ? 'read-timeout' : 'handler-error';
    try {
      await this.#server.shutdownRequest(request);
    } catch (error) {
      reportError(this.#server, error);
      if (request instanceof Connection) request.destroy();
    }
  }

  /** Tells `handleError()`. An end of the client that surfaced in the handler is an end, not an error. */
  report(request: Request, clientAddress: PeerAddress, error: unknown): void {
    if (request instanceof Connection && request.failure !== undefined && request.failure === error) return;
    try {
      this.#server.handleError(request, clientAddress, error);
    } catch (failure) {
      reportError(this.#server, failure);
    }
  }
}
