/** The life cycle that all servers share. */
import { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';
import type { Framing } from '@sendall/framing';
import { Acceptor } from '../admission/acceptor.js';
import { checkAddress, showAddress, type Address, type BoundAddress, type PeerAddress } from '../address.js';
import type { Admission, PlaceCounter } from '../admission/admission.js';
import { Clock } from '../connection/clock.js';
import { choose, modeOf } from '../concurrency/choose.js';
import { Crew } from './crew.js';
import { checkForWorkers } from '../concurrency/passing.js';
import { comparisons, Condition } from './condition.js';
import { Connection } from '../connection/connection.js';
import { Connections } from './connections.js';
import type { Datagram } from '../datagram.js';
import type { DrainReport } from '../reasons.js';
import { Drain } from './drain.js';
import { SocketServerError } from '../errors.js';
import { announce, isHeard, reportError, type EventMap } from '../events.js';
import { checkHandlerClass, framingOf, runHandler, type HandlerClass } from '../handler/handler.js';
import {
  checkChange,
  MAX_DELAY,
  resolveOptions,
  wrongOption,
  type ResolvedOptions,
  type ServerOptions,
} from '../options.js';
import { Pipeline } from './pipeline.js';
import type { Relay } from '../relay.js';
import type { Comparison, Request, ServerInfo, ServerStatus } from '../server-interface.js';
import type { ServerInside } from '../server-inside.js';
import type { AnyTransport } from '../transports/transport.js';
import { WorkerSide } from './worker-side.js';
import { isLoading } from '../concurrency/worker-context.js';

const SERVICE_INTERVAL = 500;

/**
 * The life cycle that all servers share, and the steps of a request that a server's class may override.
 *
 * Its parts, on a request's way: the `Acceptor` admits it, `Connections` opens it, the `Pipeline` takes it through the
 * steps. With threads or processes the `Crew` gets it, or accepts it.
 *
 * For the caller: `listen()`, `serveForever()`, `handleRequest()`, `shutdown()`, `serverClose()`, `suspend()`,
 * `resume()`, `setOptions()`, `waitForConnections()`, `info()`, `fileno()`.
 *
 * May be overridden: `serverBind()`, `serverActivate()`, `getRequest()`, `verifyRequest()`, `processRequest()`,
 * `finishRequest()`, `shutdownRequest()`, `closeRequest()`, `handleError()`, `handleTimeout()`, `serviceActions()`.
 *
 * A request goes through them in this order: `getRequest` - `verifyRequest` - `processRequest`, which calls
 * `finishRequest` (makes the handler and runs it) and `shutdownRequest` (which calls `closeRequest`).
 */
export abstract class BaseServer<Bound extends BoundAddress = BoundAddress>
  extends EventEmitter<EventMap>
  implements ServerInside
{
  /** Node's server or socket below, once bound. */
  socket: unknown;
  /** The real host and port, or the path, once bound; what was asked for until then. */
  serverAddress: Bound;
  readonly RequestHandlerClass: HandlerClass;
  /** Connections the kernel may hold before they are accepted. */
  requestQueueSize: number;
  /** SO_REUSEADDR; TCP on Unix always has it. */
  allowReuseAddress: boolean;
  /** Milliseconds that `handleRequest()` waits before it calls `handleTimeout()`; 0: for ever. */
  timeout: number;
  /** Process ids of the children, in `processes`. */
  activeChildren: ReadonlySet<number> = new Set();
  /** Every connection of this loop. */
  readonly connections: ReadonlySet<Connection>;
  options: ResolvedOptions;
  /** @internal */ readonly clock: Clock;
  /** @internal The framing of the options. */
  framing: Framing | undefined;
  /** @internal */ readonly transport: AnyTransport;
  /** @internal The way to the main server, in a worker. */
  relay: Relay | undefined;

  #status: ServerStatus = 'new';
  readonly #counts = new Condition();
  readonly #acceptor: Acceptor;
  readonly #pipeline: Pipeline;
  readonly #connections: Connections;
  #crew: Crew | undefined;
  #binding: Promise<void> | undefined;
  #serving: { promise: Promise<void>; resolve: () => void } | undefined;
  #draining: Drain | undefined;
  readonly #whenDrained: ((report: DrainReport) => void)[] = [];
  #serviceTimer: NodeJS.Timeout | undefined;
  /** Suspended, and nothing listens. */
  #doorClosed = false;
  /** Resolves when the door was closed or opened. */
  #doorTurned: Promise<unknown> = Promise.resolve();

  /** @throws OptionError for a wrong option; SocketServerError for a wrong address or handler class */
  constructor(address: Address, RequestHandlerClass: HandlerClass, options: ServerOptions, transport: AnyTransport) {
    super();
    checkAddress(address);
    checkHandlerClass(RequestHandlerClass);
    this.options = resolveOptions(options);
    this.framing = framingOf(this.options.framing);
    this.serverAddress = address as Bound;
    this.RequestHandlerClass = RequestHandlerClass;
    this.requestQueueSize = this.options.requestQueueSize;
    this.allowReuseAddress = this.options.allowReuseAddress ?? transport.kind === 'stream';
    this.timeout = this.options.timeout;
    this.transport = transport;
    const { readTimeout, writeTimeout, handshakeTimeout, pendingTimeout, lingerTimeout } = this.options;
    const times = [readTimeout, writeTimeout, handshakeTimeout, pendingTimeout, lingerTimeout];
    this.clock = new Clock(Math.min(...times.filter((time) => time > 0), MAX_DELAY));
    this.#acceptor = new Acceptor(
      this,
      (item) => this.#start(item),
      () => (this.#crew ?? this.#connections).displace(),
    );
    this.#pipeline = new Pipeline(this, BaseServer.prototype, this.#acceptor, this.#counts, {
      serving: () => this.#serving !== undefined,
      served: () => {
        if (this.#status === 'running') this.#service();
      },
    });
    this.#connections = new Connections(this, this.#acceptor, this.#pipeline, this.#counts);
    this.connections = this.#connections.all;
    if (modeOf(this.options.concurrency) !== 'inline')
      checkForWorkers(this.options, RequestHandlerClass, this, BaseServer.prototype);
  }

  // ---- the life cycle

  get status(): ServerStatus {
    return this.#status;
  }

  info(): ServerInfo {
    return {
      status: this.#status,
      address: this.serverAddress,
      connections: this.#places.taken,
      pending: this.#acceptor.pending,
      unestablished: (this.#crew ?? this.#connections).unestablished,
      accepted: this.#acceptor.accepted,
      dropped: this.#acceptor.dropped,
      workers: this.#crew?.alive ?? 0,
    };
  }

  get #admission(): Admission<Socket | Datagram> {
    return this.#acceptor.admission;
  }

  get #places(): PlaceCounter {
    return this.#acceptor.admission.places;
  }

  /**
   * Binds and activates. From then on `serverAddress` is real, and clients may connect; they wait until
   * `serveForever()` or `handleRequest()` is called.
   * @throws ListenError where it cannot listen; SocketServerError where it is closed, or cannot be on this system
   */
  listen(): Promise<void> {
    this.#binding ??= this.#listen();
    return this.#binding;
  }

  async #listen(): Promise<void> {
    this.#refuseWhenOver();
    if (isLoading())
      throw new SocketServerError(
        'UNSUPPORTED',
        'a module that a worker loads starts a server when it is loaded, so it would start workers without end: ' +
          'start it only where `isWorker` is false',
      );
    const { signal, postListen, concurrency } = this.options;
    signal?.throwIfAborted();
    try {
      if (modeOf(concurrency) !== 'inline') await this.#hire();
      await this.serverBind();
      await this.serverActivate();
      await this.#crew?.start();
      await postListen?.(this.serverAddress);
    } catch (error) {
      this.#status = 'closed';
      this.#admission.clear('draining');
      await this.#closeEndpoint();
      await this.#crew?.drain(0);
      throw error;
    }
    if (this.#draining !== undefined) return;
    this.#status = 'listening';
    this.clock.add(this.#admission);
    signal?.addEventListener('abort', this.#onAbort, { once: true });
    if (isHeard(this, 'listening')) announce(this, 'listening', { address: this.serverAddress });
    this.#goOn();
  }

  readonly #onAbort = (): void => void this.shutdown();

  #refuseWhenOver(): void {
    if (this.#status === 'closed' || this.#draining !== undefined)
      throw new SocketServerError('SERVER_CLOSED', 'this server is closed: make a new one');
  }

  /** Binds the socket and sets `serverAddress`. */
  async serverBind(): Promise<void> {
    if (this.#crew?.accepts === true) {
      this.serverAddress = (await this.#crew.hold(this.serverAddress)) as Bound;
      return;
    }
    this.serverAddress = (await this.transport.bind(this.serverAddress, this.#acceptor as never)) as Bound;
    this.socket = this.transport.socket;
  }

  async #closeEndpoint(): Promise<void> {
    await this.transport.close();
    this.#crew?.letGo();
  }

  /** Finds out which workers the options ask for; `start()` makes them. */
  async #hire(): Promise<void> {
    const choice = await choose(this.options.concurrency, this.transport.name);
    this.#crew = new Crew(this, BaseServer.prototype, choice, this.#acceptor, this.#pipeline, this.#counts);
    this.activeChildren = this.#crew.pids;
  }

  // ---- in a worker

  /** @internal Makes this the server inside a worker: fed or accepting, and telling the main server. */
  becomeWorker(relay: Relay, address: BoundAddress, places: PlaceCounter | undefined): WorkerSide {
    this.relay = relay;
    this.serverAddress = address as Bound;
    const drain = (timeout: number) => this.#shutdownHere(timeout);
    const side = new WorkerSide(this, this.#acceptor, this.#connections, this.#pipeline, drain);
    side.begin(places);
    this.#binding = Promise.resolve();
    this.#status = 'listening';
    this.clock.add(this.#admission);
    if (this.#acceptor.fed) void this.serveForever();
    return side;
  }

  /** @internal Resolves when this server, in a worker, has drained. */
  get drained(): Promise<DrainReport> {
    return new Promise((resolve) => this.#whenDrained.push(resolve));
  }

  // ---- serving

  /** Called behind `serverBind()`. Node binds and listens in one step, so there is nothing left to do here. */
  serverActivate(): void | Promise<void> {}

  /**
   * Serves until `shutdown()`: listens first if that was not done, and resolves when the server is closed.
   * @throws ListenError where it cannot listen
   */
  async serveForever(): Promise<void> {
    if (this.#draining !== undefined) return this.#draining.done.then(() => undefined);
    if (this.#serving === undefined) {
      let resolve!: () => void;
      const promise = new Promise<void>((r) => (resolve = r));
      this.#serving = { promise, resolve };
      this.#goOn();
      try {
        await this.listen();
      } catch (error) {
        this.#serving = undefined;
        throw error;
      }
      this.#goOn();
    }
    return this.#serving.promise;
  }

  /** Serves, when it is asked for and possible. */
  #goOn(): void {
    if (this.#status !== 'listening' || this.#serving === undefined) return;
    this.#status = 'running';
    clearInterval(this.#serviceTimer);
    this.#serviceTimer = setInterval(() => this.#service(), SERVICE_INTERVAL).unref();
    this.#pipeline.begin();
    this.#crew?.serve();
    this.#admission.permits = Infinity;
  }

  #service(): void {
    this.#crew?.tellWanted();
    try {
      this.serviceActions();
    } catch (error) {
      reportError(this, error);
    }
  }

  /**
   * Serves exactly one request and resolves when that is done. Listens first if that was not done. With a timeout
   * (or the attribute `timeout`) and no client within it calls `handleTimeout()` instead.
   * @throws ListenError where it cannot listen; SocketServerError in `serveForever()`, or for threads that accept
   */
  async handleRequest(timeout = this.timeout): Promise<void> {
    this.#refuseWhenOver();
    if (this.#serving !== undefined)
      throw new SocketServerError('UNSUPPORTED', 'handleRequest() is for servers that are not in serveForever()');
    await this.listen();
    this.#refuseWhenOver();
    if (this.#crew?.accepts === true)
      throw new SocketServerError(
        'UNSUPPORTED',
        'handleRequest() with threads that accept by themselves: use serveForever(), or balance "round-robin"',
      );
    return (this.#crew ?? this.#pipeline).handleOne(timeout);
  }

  /**
   * Ends the server: no new connections, what waits in the accept queue is served, idle connections are closed,
   * handlers hear `onShutdown`, `timeout` (default: `drainTimeout`) is waited for, the rest is destroyed.
   *
   * May be called from a handler, before `serveForever()` and more than once; a later call with a shorter timeout
   * hurries the first. `timeout: 0` destroys at once, `Infinity` waits as long as it takes.
   */
  shutdown(options: { timeout?: number } = {}): Promise<DrainReport> {
    if (this.relay !== undefined) return this.relay.shutdown(options.timeout);
    const { drainTimeout } = this.options;
    return this.#shutdownHere(options.timeout ?? (drainTimeout === 0 ? Infinity : drainTimeout));
  }

  #shutdownHere(timeout: number): Promise<DrainReport> {
    const first = this.#draining === undefined;
    const drain = (this.#draining ??= new Drain());
    drain.within(timeout);
    if (first) drain.done = this.#drain(drain);
    else if (drain.workers !== undefined) void this.#crew?.drain(timeout);
    return drain.done;
  }

  async #drain(drain: Drain): Promise<DrainReport> {
    const wasServing = this.#serving !== undefined;
    await this.#binding?.catch(() => {});
    const isOpen = this.#status !== 'closed';
    const listening = this.#status === 'listening' || this.#status === 'running';
    this.#status = 'draining';
    if (isHeard(this, 'drain')) announce(this, 'drain', { phase: 'begin', connections: this.#places.taken });
    const report = await drain.run({
      connections: this.connections,
      crew: this.#crew,
      queueSize: listening && wasServing ? this.requestQueueSize : undefined,
      arrivals: () => this.transport.arrivals,
      running: () => this.#pipeline.running,
      quiet: () => this.#counts.until(() => this.#isQuiet),
      turnAway: () => this.#admission.clear('draining'),
      closeDoor: async () => {
        if (isOpen && this.transport.kind === 'stream') await this.#closeEndpoint();
        if (!wasServing) this.#admission.clear('draining');
      },
      letGo: () => this.#closeEndpoint(),
    });
    this.#status = 'closed';
    this.clock.delete(this.#admission);
    clearInterval(this.#serviceTimer);
    this.options.signal?.removeEventListener('abort', this.#onAbort);
    if (isHeard(this, 'drain')) announce(this, 'drain', { phase: 'end', report });
    await this.transport.close();
    this.#serving?.resolve();
    for (const resolve of this.#whenDrained) resolve(report);
    return report;
  }

  get #isQuiet(): boolean {
    return this.#pipeline.running === 0 && this.connections.size === 0 && this.#admission.pending === 0;
  }

  /** Closes the server. Unless `blockOnClose` is false this is `shutdown()`; then it only stops listening. */
  async serverClose(): Promise<void> {
    if (this.options.blockOnClose || this.#draining !== undefined) {
      await this.shutdown();
      return;
    }
    this.#draining = new Drain();
    const open = this.#pipeline.running;
    this.#draining.done = Promise.resolve({ open, idle: 0, finished: 0, destroyed: 0, durationMs: 0 });
    await this.#binding?.catch(() => {});
    this.#status = 'closed';
    this.#admission.clear('draining');
    await this.#closeEndpoint();
    this.#crew?.unref();
    void this.#crew?.drain(Infinity);
    clearInterval(this.#serviceTimer);
    this.clock.delete(this.#admission);
    this.#serving?.resolve();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.serverClose();
  }

  /** The number of the listening descriptor, or -1 before it is bound. */
  fileno(): number {
    return this.#crew?.fd ?? this.transport.fileno();
  }

  /**
   * Changes options of a running server. Limits and alarms count at once, the rest for new connections.
   * @throws OptionError for an option that is wrong, or fixed when the server is made
   */
  setOptions(options: ServerOptions): void {
    checkChange(options);
    if (options.tls !== undefined && 'secure' in this.transport) this.transport.secure?.(options.tls);
    const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
    this.options = { ...this.options, ...given };
    if (options.framing !== undefined) this.framing = framingOf(options.framing);
    this.#acceptor.change(options);
    if (options.timeout !== undefined) this.timeout = options.timeout;
    const { readTimeout = 0, writeTimeout = 0, handshakeTimeout = 0, pendingTimeout = 0, lingerTimeout = 0 } = options;
    for (const time of [readTimeout, writeTimeout, handshakeTimeout, pendingTimeout, lingerTimeout])
      this.clock.sharpen(time);
    this.#crew?.change(options);
    this.#admission.pump();
  }

  /**
   * Resolves when the number of connections compares so with `n`, at once if it does already.
   * @throws OptionError for an unknown comparison
   */
  waitForConnections(op: Comparison, n: number): Promise<void> {
    const test = comparisons[op];
    if (test === undefined) throw wrongOption('op', `"${op}" is not one of ${Object.keys(comparisons).join(' ')}`);
    const met = this.#counts.until(() => test(this.#places.taken, n));
    if (this.#acceptor.sharing) this.#counts.look();
    return met;
  }

  /**
   * Stops listening; connections go on. New clients are refused (with `queue: true` they wait, as many as
   * `pendingConnections`).
   * @throws SocketServerError `NOT_RUNNING` where the server is not listening
   */
  async suspend(options: { queue?: boolean } = {}): Promise<void> {
    if (this.#status !== 'running' && this.#status !== 'listening')
      throw new SocketServerError('NOT_RUNNING', `suspend(): the server is ${this.#status}`);
    this.#status = 'suspended';
    this.#admission.permits = 0;
    const close = options.queue !== true;
    await this.#turnDoor(async () => {
      this.#doorClosed = close;
      const closing = this.#crew?.suspend(!close);
      if (close) await this.#closeEndpoint();
      await closing;
    });
  }

  /**
   * Listens again after `suspend()`, on the same address.
   * @throws ListenError where it cannot listen; SocketServerError `NOT_RUNNING` where it is not suspended
   */
  async resume(): Promise<void> {
    this.#mustBeSuspended();
    await this.#turnDoor(async () => {
      this.#mustBeSuspended();
      if (this.relay === undefined) {
        const reopen = this.#doorClosed;
        if (reopen) await this.serverBind();
        this.#doorClosed = false;
        await this.#crew?.resume(reopen);
      }
      // A shutdown that came meanwhile has closed the door, and it stays closed.
      if (this.#draining !== undefined) await this.#closeEndpoint();
      this.#refuseWhenOver();
      this.#status = 'listening';
      this.#goOn();
    });
  }

  #mustBeSuspended(): void {
    if (this.#status !== 'suspended')
      throw new SocketServerError('NOT_RUNNING', `resume(): the server is ${this.#status}`);
  }

  /** The door is closed and opened in the order of the calls, each when the one before is done. */
  #turnDoor(turn: () => Promise<void>): Promise<void> {
    const turned = this.#doorTurned.then(turn);
    this.#doorTurned = turned.catch(() => {});
    return turned;
  }

  /** It has its place: a worker gets it, or this loop. */
  #start(item: Socket | Datagram): void {
    if (this.#crew !== undefined) this.#crew.take(item);
    else if (this.transport.kind === 'datagram') this.#pipeline.dispatch(item as Datagram);
    else this.#connections.open(item as Socket);
    this.#counts.changed();
  }

  // ---- the steps of a request, which a server's class may override

  /** The next request and its client's address, when there is one. */
  getRequest(): Promise<[Request, PeerAddress]> {
    return this.#pipeline.next();
  }

  /** Whether to go on with this request. */
  verifyRequest(_request: Request, _clientAddress: PeerAddress): boolean | Promise<boolean> {
    return true;
  }

  /** Calls `finishRequest()`, then `shutdownRequest()`. */
  async processRequest(request: Request, clientAddress: PeerAddress): Promise<void> {
    await this.finishRequest(request, clientAddress);
    await this.shutdownRequest(request);
  }

  /** Makes the handler and runs it to its end. */
  finishRequest(request: Request, clientAddress: PeerAddress): Promise<void> {
    return runHandler(this.#pipeline.makeHandler(request, clientAddress));
  }

  /** Sends our end, then `closeRequest()`. */
  async shutdownRequest(request: Request): Promise<void> {
    if (request instanceof Connection && request.state === 'open') request.sendEnd();
    await this.closeRequest(request);
  }

  /** Closes the connection: at once for us, with what is written still sent. */
  closeRequest(request: Request): void | Promise<void> {
    if (request instanceof Connection) request.beginClose('server');
  }

  /** Called with what a handler threw. Emits `error`. */
  handleError(request: Request, clientAddress: PeerAddress, error: unknown): void {
    reportError(this, error, { request, clientAddress });
  }

  /** Called when `handleRequest()` waited long enough. */
  handleTimeout(): void | Promise<void> {}

  /** Called about twice a second and after each request while the server serves. */
  serviceActions(): void {}

  override toString(): string {
    return `${this.constructor.name}(${showAddress(this.serverAddress)}, ${this.#status})`;
  }
}
