import { EventEmitter } from 'node:events';
import { Socket as LostSocket, type Server as NetServer, type Socket } from 'node:net';
import type { TLSSocket, TlsOptions } from 'node:tls';
import type { Framing } from '@sendall/framing';
import { isTransient } from './accept-failures.js';
import { checkAddress, showAddress, type Address, type BoundAddress, type PeerAddress } from './address.js';
import { Admission, type AdmissionDesk, type PlaceCounter } from './admission.js';
import { Alarms } from './alarms.js';
import { Clock } from './clock.js';
import { choose, modeOf, type Choice } from './concurrency/choose.js';
import { Holder } from './concurrency/holder.js';
import { checkForWorkers, exportOf, forWorkers } from './concurrency/passing.js';
import { Pool, type PoolHost } from './concurrency/pool.js';
import { Connection, type ConnectionHost } from './connection.js';
import type { Datagram, DatagramSocket } from './datagram.js';
import { FdBudget } from './fd-budget.js';
import { Drain, emptyAcceptQueue, isIdle, type DrainReport } from './drain.js';
import { SocketServerError, TimeoutError } from './errors.js';
import { announce, isHeard, reportError, type ConnectionInfo, type EventMap, type ServerEvents } from './events.js';
import {
  checkHandlerClass,
  onlyPushes,
  ConnectionHandler,
  framingOf,
  runHandler,
  type BaseRequestHandler,
  type HandlerClass,
} from './handler.js';
import { checkChange, resolveOptions, type Alarm, type ResolvedOptions, type ServerOptions } from './options.js';
import { readProxyHeader } from './proxy-protocol.js';
import type { Push } from './push.js';
import type { Relay } from './relay.js';
import { SharedPlaces } from './shared-places.js';
import { isLoading } from './worker-context.js';
import type { DropReason } from './reasons.js';
import type { Comparison, Request, Server, ServerInfo, ServerStatus } from './server-interface.js';
import { makeHandshaker } from './transports/tls.js';
import type { AnyTransport, StreamTransport, TransportSink } from './transport.js';
import { errorFrom, type ErrorNote, type RequestNote } from './worker-messages.js';

const longest = 0x7fffffff;
const serviceInterval = 500;

/**
 * The life cycle and the request pipeline that all servers share.
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
export abstract class BaseServer extends EventEmitter<EventMap> implements Server {
  /** Node's server or socket below, once bound. */
  socket: unknown;
  /** What was asked for; the real host and port (or path) once bound. */
  serverAddress: BoundAddress;
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
  readonly connections: ReadonlySet<Connection> = new Set();
  options: ResolvedOptions;
  /** @internal */ readonly clock: Clock;
  /** @internal The framing of the options. */
  framing: Framing | undefined;
  /** @internal */ readonly transport: AnyTransport;
  /** @internal The way to the main server, in a worker. */
  relay: Relay | undefined;

  #status: ServerStatus = 'new';
  readonly #admission: Admission<Socket | Datagram>;
  readonly #alarms: Alarms;
  readonly #budget: FdBudget;
  readonly #sink: TransportSink<never>;
  #binding: Promise<void> | undefined;
  #serving: { promise: Promise<void>; resolve: () => void } | undefined;
  #draining: Drain | undefined;
  /** Requests that are ready for `getRequest()`, and calls of it that wait. */
  #ready: Request[] = [];
  #callers: ((request: Request) => void)[] = [];
  /** Calls of `handleRequest()` that wait for a request to hand over. */
  #starters: ((item: Socket | Datagram) => void)[] = [];
  #waiters: { test: () => boolean; resolve: () => void }[] = [];
  #running = 0;
  #accepted = 0;
  #dropped = 0;
  #serviceTimer: NodeJS.Timeout | undefined;
  #choice: Choice | undefined;
  #pool: Pool | undefined;
  #holder: Holder | undefined;
  #shared: SharedPlaces | undefined;
  #fed = false;
  /** Suspended, and nothing listens. */
  #doorClosed = false;

  constructor(address: Address, RequestHandlerClass: HandlerClass, options: ServerOptions, transport: AnyTransport) {
    super();
    checkAddress(address);
    checkHandlerClass(RequestHandlerClass);
    this.options = resolveOptions(options);
    this.framing = framingOf(this.options.framing);
    this.serverAddress = address;
    this.RequestHandlerClass = RequestHandlerClass;
    this.requestQueueSize = this.options.requestQueueSize;
    this.allowReuseAddress = this.options.allowReuseAddress ?? transport.kind === 'stream';
    this.timeout = this.options.timeout;
    this.transport = transport;
    const { readTimeout, writeTimeout, handshakeTimeout, pendingTimeout, lingerTimeout } = this.options;
    const times = [readTimeout, writeTimeout, handshakeTimeout, pendingTimeout, lingerTimeout];
    this.clock = new Clock(Math.min(...times.filter((time) => time > 0), longest));
    this.#alarms = new Alarms(this.options.alarms);
    this.#budget = new FdBudget(this.options.fdReserve);
    const desk: AdmissionDesk<Socket | Datagram> = {
      rules: () => this.options,
      start: (item) => this.#start(item),
      drop: (item, reason) => this.#drop(item, reason),
    };
    this.#admission = new Admission(desk);
    this.#sink = this.#makeSink();
    if (modeOf(this.options.concurrency) !== 'inline')
      checkForWorkers(this.options, RequestHandlerClass, this, BaseServer.prototype);
  }

  #makeSink(): TransportSink<Socket | Datagram> {
    // eslint-disable-next-line unicorn/no-this-assignment, typescript/no-this-alias -- getters of another object
    const server = this;
    return {
      get options() {
        return server.options;
      },
      get requestQueueSize() {
        return server.requestQueueSize;
      },
      get allowReuseAddress() {
        return server.allowReuseAddress;
      },
      arrived: (item) => this.#arrived(item),
      acceptFailed: (error) => this.#acceptFailed(error),
    };
  }

  // ---- the life cycle

  get status(): ServerStatus {
    return this.#status;
  }

  info(): ServerInfo {
    return {
      status: this.#status,
      address: this.serverAddress,
      connections: this.#admission.places.taken,
      pending: this.#admission.pending,
      accepted: this.#shared?.accepted ?? this.#accepted,
      dropped: this.#shared?.dropped ?? this.#dropped,
      workers: this.#pool?.alive ?? 0,
    };
  }

  /**
   * Binds and activates. From then on `serverAddress` is real, and clients may connect; they wait until
   * `serveForever()` or `handleRequest()` is called.
   * @throws ListenError
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
      if (modeOf(concurrency) !== 'inline') this.#choice = await choose(concurrency, this.transport.name);
      await this.serverBind();
      await this.serverActivate();
      if (this.#choice !== undefined) await this.#startWorkers(this.#choice);
      await postListen?.(this.serverAddress);
    } catch (error) {
      this.#status = 'closed';
      this.#admission.clear('draining');
      await this.#closeEndpoint();
      await this.#pool?.drain(0);
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
    const feeding = this.#choice?.feeding;
    if (feeding === 'kernel' || feeding === 'reuse-port') {
      if (this.transport.kind === 'stream') this.transport.secure?.(this.options.tls);
      this.#holder = await Holder.bind(this.serverAddress, feeding === 'reuse-port');
      this.serverAddress = this.#holder.address;
      return;
    }
    this.serverAddress = await this.transport.bind(this.serverAddress, this.#sink as never);
    this.socket = this.transport.socket;
  }

  async #closeEndpoint(): Promise<void> {
    await this.transport.close();
    this.#holder?.close();
    this.#holder = undefined;
  }

  /** Workers that accept by themselves tell of each connection only while somebody listens. */
  #tellWanted(): void {
    this.#pool?.wantEvents(isHeard(this, 'connection') || isHeard(this, 'close'));
  }

  async #startWorkers(choice: Choice): Promise<void> {
    const { feeding, kind, rules } = choice;
    if (feeding !== 'hand-over') {
      // Many more slots than workers: one that is replaced may overlap with its successor.
      this.#shared = new SharedPlaces(rules.most * 2 + 8);
      this.#admission.places = this.#shared;
      kind.acceptance = (address, link) => {
        if (this.#doorClosed) return { by: 'feed' };
        const backlog = this.requestQueueSize;
        if (feeding !== 'kernel') return { by: 'reuse-port', address, backlog };
        return { by: 'descriptor', ...link.share!(this.#holder!), address, backlog };
      };
    }
    this.#pool = new Pool(kind, rules, this.#poolHost(), this.#shared);
    this.activeChildren = this.#pool.pids;
    (this as EventEmitter).on('newListener', () => setImmediate(() => this.#tellWanted()));
    await this.#pool.start(this.serverAddress);
  }

  #poolHost(): PoolHost {
    const handler = exportOf(this.RequestHandlerClass);
    const own = this.constructor as { module?: string; name: string };
    const server = own.module === undefined ? undefined : exportOf(own);
    const verify = server === undefined && this.verifyRequest !== BaseServer.prototype.verifyRequest;
    return {
      workerStart: (worker, address, link) => ({
        worker,
        transport: this.transport.name,
        handler,
        ...(server && { server }),
        address,
        options: forWorkers(this.options),
        acceptance: this.#choice!.kind.acceptance?.(address, link) ?? { by: 'feed' },
        ...(this.#shared && { places: this.#shared.buffer }),
        verify,
      }),
      event: (event, info) => {
        if (isHeard(this, event)) announce(this, event, info);
      },
      forwarded: (worker, event, info) => this.#forwarded(worker, event as keyof ServerEvents, info),
      opened: (worker, request) => {
        if (isHeard(this, 'connection')) announce(this, 'connection', { ...noteInfo(request), worker });
      },
      closed: (worker, request, note) => {
        if (note !== undefined && isHeard(this, 'close')) {
          const { reason, bytesRead, bytesWritten, durationMs, error } = note;
          const failure = error && { error: errorFrom(error) };
          announce(this, 'close', {
            ...noteInfo(request),
            worker,
            reason,
            bytesRead,
            bytesWritten,
            durationMs,
            ...failure,
          });
        }
        this.#countChanged();
      },
      placeFreed: () => {
        if (this.#shared === undefined) this.#admission.release();
        this.#countChanged();
      },
      dropped: (item, reason) => this.#drop(item, reason),
      failed: (error, request) => {
        if (request === undefined) reportError(this, error);
        else this.#report(request as unknown as Request, request.peer, error);
      },
      verify: async (request) => {
        try {
          return await this.verifyRequest(request as unknown as Request, request.peer);
        } catch (error) {
          this.#report(request as unknown as Request, request.peer, error);
          return false;
        }
      },
      send: (data, to) => (this.transport as unknown as DatagramSocket).send(data, to),
      shutdown: (timeout) => void this.shutdown(timeout === undefined ? {} : { timeout }),
    };
  }

  /** An event of a worker that accepts by itself. */
  #forwarded(worker: number, event: keyof ServerEvents, info: Record<string, unknown>): void {
    if (event === 'alarm' && !this.#alarms.mayRing(info['name'] as string)) return;
    if (!isHeard(this, event)) return;
    const error = info['error'] === undefined ? {} : { error: errorFrom(info['error'] as ErrorNote) };
    announce(this, event, { ...info, ...error, worker } as never);
  }

  // ---- in a worker

  /** @internal Makes this the server inside a worker: fed or accepting, and telling the main server. */
  becomeWorker(relay: Relay, address: BoundAddress, places: PlaceCounter | undefined): void {
    this.relay = relay;
    this.serverAddress = address;
    this.#fed = places === undefined;
    // Its cooldown counts in the main server, for all workers together.
    this.#alarms.set(always(this.options.alarms));
    if (places instanceof SharedPlaces) {
      this.#shared = places;
      this.#admission.places = places;
      // A place that another thread frees is noticed by looking.
      this.clock.sharpen(80);
    }
    if (this.options.tls !== undefined && this.transport.kind === 'stream') this.transport.secure?.(this.options.tls);
    this.#binding = Promise.resolve();
    this.#status = 'listening';
    this.clock.add(this.#admission);
    if (this.#fed) void this.serveForever();
  }

  /** @internal */
  acceptFrom(listener: NetServer): void {
    (this.transport as StreamTransport).adopt!(listener, this.#sink);
    this.socket = listener;
  }

  /** @internal A connection that was handed over; without a socket it was lost on the way. */
  feedConnection(id: number, raw: Socket | undefined): void {
    this.#accepted++;
    this.#startConnection(raw ?? new LostSocket().destroy(), this.transport as StreamTransport, id);
  }

  /** @internal */
  feedDatagram(datagram: Datagram): void {
    this.#accepted++;
    this.#dispatch(datagram);
  }

  /** @internal Resolves when this server, in a worker, has drained. */
  get drained(): Promise<DrainReport> {
    return new Promise((resolve) => this.#whenDrained.push(resolve));
  }

  /** @internal `shutdown()` of this worker alone. */
  drainHere(timeout: number): Promise<DrainReport> {
    return this.#shutdownHere(timeout);
  }

  readonly #whenDrained: ((report: DrainReport) => void)[] = [];

  // ---- serving

  /** Called behind `serverBind()`. Node binds and listens in one step, so there is nothing left to do here. */
  serverActivate(): void | Promise<void> {}

  /** Serves until `shutdown()`: listens first if that was not done, and resolves when the server is closed. */
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
    this.#serviceTimer = setInterval(() => this.#service(), serviceInterval).unref();
    if (this.getRequest !== BaseServer.prototype.getRequest) void this.#serveByGetRequest();
    this.#tellWanted();
    this.#pool?.serve();
    this.#admission.permits = Infinity;
  }

  async #serveByGetRequest(): Promise<void> {
    while (this.#status === 'running' || this.#status === 'suspended') {
      try {
        const [request, clientAddress] = await this.getRequest();
        void this.#handle(request, clientAddress);
      } catch (error) {
        reportError(this, error);
      }
    }
  }

  #service(): void {
    this.#tellWanted();
    try {
      this.serviceActions();
    } catch (error) {
      reportError(this, error);
    }
  }

  /**
   * Serves exactly one request and resolves when that is done. Listens first if that was not done. With a timeout
   * (or the attribute `timeout`) and no client within it calls `handleTimeout()` instead.
   */
  async handleRequest(timeout = this.timeout): Promise<void> {
    this.#refuseWhenOver();
    if (this.#serving !== undefined)
      throw new SocketServerError('UNSUPPORTED', 'handleRequest() is for servers that are not in serveForever()');
    await this.listen();
    this.#refuseWhenOver();
    if (this.#pool?.accept === true)
      throw new SocketServerError(
        'UNSUPPORTED',
        'handleRequest() with threads that accept by themselves: use serveForever(), or balance "round-robin"',
      );
    if (this.#pool !== undefined) return this.#handleInWorker(this.#pool, timeout);
    this.#admission.permits++;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<undefined>((resolve) => {
      if (timeout > 0 && timeout <= longest) timer = setTimeout(resolve, timeout, undefined);
    });
    const getting = this.getRequest();
    const got = await Promise.race([getting, late]);
    clearTimeout(timer);
    if (got !== undefined) return this.#handle(...got);
    this.#admission.permits = Math.max(0, this.#admission.permits - 1);
    const next = this.#callers.pop();
    if (next !== undefined) void getting.catch(() => {});
    return this.handleTimeout();
  }

  /** `handleRequest()` where the request is handed over. */
  async #handleInWorker(pool: Pool, timeout: number): Promise<void> {
    let begin!: () => void;
    const done = new Promise<void>((resolve) => {
      const starting = (item: Socket | Datagram): void => {
        begin();
        pool.take(item, resolve);
      };
      this.#starters.push(starting);
      const waiting = new Promise<boolean>((started) => {
        begin = () => started(true);
        if (timeout > 0 && timeout <= longest) setTimeout(started, timeout, false);
      });
      void waiting.then((started) => {
        if (started) return undefined;
        this.#starters = this.#starters.filter((each) => each !== starting);
        this.#admission.permits = Math.max(0, this.#admission.permits - 1);
        return Promise.resolve(this.handleTimeout()).then(resolve);
      });
    });
    this.#admission.permits++;
    await done;
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
    else if (this.#pool !== undefined && drain.workers !== undefined) void this.#pool.drain(timeout);
    return drain.done;
  }

  async #drain(drain: Drain): Promise<DrainReport> {
    const started = performance.now();
    const wasServing = this.#serving !== undefined;
    await this.#binding?.catch(() => {});
    const listening = this.#status === 'listening' || this.#status === 'running';
    const alreadyClosed = this.#status === 'closed';
    this.#status = 'draining';
    if (isHeard(this, 'drain')) announce(this, 'drain', { phase: 'begin', connections: this.#admission.places.taken });
    if (this.#pool?.accept === true) drain.workers = this.#pool.drain(drain.left);
    if (listening && wasServing && !drain.hurried)
      await emptyAcceptQueue(() => this.transport.arrivals, this.requestQueueSize);
    if (!alreadyClosed && this.transport.kind === 'stream') await this.#closeEndpoint();
    if (!wasServing) this.#admission.clear('draining');
    const report: DrainReport = { open: this.#running, idle: 0, finished: 0, destroyed: 0, durationMs: 0 };
    for (const connection of this.connections) connection.sayGoodbye();
    const sweep = (): void => {
      for (const connection of this.connections) {
        if (!isIdle(connection)) continue;
        report.idle++;
        connection.beginClose('drain');
      }
    };
    // What the clients sent before is read within a few turns: it is a request, not idleness.
    await emptyAcceptQueue(() => this.transport.arrivals);
    sweep();
    const sweeper = setInterval(sweep, 20);
    await Promise.race([this.#whenIdle(), drain.deadline]);
    clearInterval(sweeper);
    this.#admission.clear('draining');
    if (this.#pool !== undefined) {
      drain.workers ??= this.#pool.drain(drain.left);
      const workers = await drain.workers;
      report.open += workers.open;
      report.idle += workers.idle;
      report.destroyed += workers.destroyed;
      await this.#closeEndpoint();
    }
    report.destroyed += this.#running;
    for (const connection of this.connections) {
      connection.reason ??= 'drain';
      connection.destroy('drain');
    }
    report.finished = Math.max(0, report.open - report.idle - report.destroyed);
    report.durationMs = performance.now() - started;
    drain.stop();
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

  #whenIdle(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#isQuiet()) resolve();
      else this.#waiters.push({ test: () => this.#isQuiet(), resolve });
    });
  }

  #isQuiet(): boolean {
    return this.#running === 0 && this.connections.size === 0 && this.#admission.pending === 0;
  }

  /** Closes the server. Unless `blockOnClose` is false this is `shutdown()`; then it only stops listening. */
  async serverClose(): Promise<void> {
    if (this.options.blockOnClose || this.#draining !== undefined) {
      await this.shutdown();
      return;
    }
    this.#draining = new Drain();
    this.#draining.done = Promise.resolve({ open: this.#running, idle: 0, finished: 0, destroyed: 0, durationMs: 0 });
    await this.#binding?.catch(() => {});
    this.#status = 'closed';
    this.#admission.clear('draining');
    await this.#closeEndpoint();
    if (this.#pool !== undefined) {
      this.#pool.unref();
      void this.#pool.drain(Infinity);
    }
    clearInterval(this.#serviceTimer);
    this.clock.delete(this.#admission);
    this.#serving?.resolve();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.serverClose();
  }

  /** The number of the listening descriptor, or -1 before it is bound. */
  fileno(): number {
    return this.#holder?.fd ?? this.transport.fileno();
  }

  /** Changes options of a running server. Limits and alarms count at once, the rest for new connections. */
  setOptions(options: ServerOptions): void {
    checkChange(options);
    if (options.tls !== undefined && 'secure' in this.transport) this.transport.secure?.(options.tls);
    const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
    this.options = { ...this.options, ...given };
    if (options.framing !== undefined) this.framing = framingOf(options.framing);
    if (options.alarms !== undefined)
      this.#alarms.set(this.relay === undefined ? options.alarms : always(options.alarms));
    if (options.fdReserve !== undefined) this.#budget.reserve = options.fdReserve;
    if (options.timeout !== undefined) this.timeout = options.timeout;
    const { readTimeout = 0, writeTimeout = 0, handshakeTimeout = 0, pendingTimeout = 0, lingerTimeout = 0 } = options;
    for (const time of [readTimeout, writeTimeout, handshakeTimeout, pendingTimeout, lingerTimeout])
      this.clock.sharpen(time);
    this.#pool?.change(forWorkers(options));
    this.#admission.pump();
  }

  /** Resolves when the number of connections compares so with `n`, at once if it does already. */
  waitForConnections(op: Comparison, n: number): Promise<void> {
    const test = comparisons[op];
    if (test === undefined)
      throw new SocketServerError('INVALID_OPTION', `"${op}" is not one of ${Object.keys(comparisons).join(' ')}`);
    return new Promise((resolve) => {
      if (test(this.#admission.places.taken, n)) resolve();
      else this.#waiters.push({ test: () => test(this.#admission.places.taken, n), resolve });
      if (this.#shared !== undefined) this.#watchCount();
    });
  }

  /** Other threads change the count without a word: look while somebody waits. */
  #watchCount(): void {
    const timer = setInterval(() => {
      this.#countChanged();
      if (this.#waiters.length === 0) clearInterval(timer);
    }, 10);
  }

  #countChanged(): void {
    if (this.#waiters.length === 0) return;
    const met = this.#waiters.filter((waiter) => waiter.test());
    if (met.length === 0) return;
    this.#waiters = this.#waiters.filter((waiter) => !met.includes(waiter));
    for (const { resolve } of met) resolve();
  }

  /**
   * Stops listening; connections go on. New clients are refused (with `queue: true` they wait, as many as
   * `pendingConnections`).
   */
  async suspend(options: { queue?: boolean } = {}): Promise<void> {
    if (this.#status !== 'running' && this.#status !== 'listening')
      throw new SocketServerError('NOT_RUNNING', `suspend(): the server is ${this.#status}`);
    this.#status = 'suspended';
    this.#admission.permits = 0;
    this.#doorClosed = options.queue !== true;
    const closing = this.#pool?.suspend(!this.#doorClosed);
    if (this.#doorClosed) await this.#closeEndpoint();
    await closing;
  }

  /** Listens again after `suspend()`, on the same address. */
  async resume(): Promise<void> {
    if (this.#status !== 'suspended')
      throw new SocketServerError('NOT_RUNNING', `resume(): the server is ${this.#status}`);
    if (this.relay === undefined) {
      const reopen = this.#doorClosed;
      if (reopen) await this.serverBind();
      this.#doorClosed = false;
      await this.#pool?.resume(this.serverAddress, reopen);
    }
    this.#status = 'listening';
    this.#goOn();
  }

  // ---- what arrives

  #arrived(item: Socket | Datagram): void {
    this.#accepted++;
    this.#shared?.countAccepted();
    if (this.#status === 'closed') {
      this.#drop(item, 'draining');
      return;
    }
    if (this.transport.kind === 'stream' && !this.#budget.allows(this.connections.size + this.#admission.pending)) {
      if (this.#budget.exhausted() && isHeard(this, 'emfile')) announce(this, 'emfile', this.#budget.state());
      this.#drop(item, 'fd-budget');
      return;
    }
    this.#admission.offer(item);
  }

  #drop(item: Socket | Datagram | undefined, reason: DropReason): void {
    this.#dropped++;
    this.#shared?.countDropped();
    if (reason === 'overload' && isHeard(this, 'overload'))
      announce(this, 'overload', {
        connections: this.#admission.places.taken,
        pending: this.#admission.pending,
        limit: this.options.maxConnections,
      });
    if (isHeard(this, 'drop')) announce(this, 'drop', { reason, peer: item && peerOf(item) });
    if (item !== undefined && this.transport.kind === 'stream') {
      (item as Socket).on('error', () => {});
      (item as Socket).destroy();
    }
  }

  #acceptFailed(error: NodeJS.ErrnoException): void {
    const code = error.code ?? 'UNKNOWN';
    announce(this, 'accept-error', { error, code, transient: isTransient(code) });
  }

  #start(item: Socket | Datagram): void {
    if (this.#alarms.any && isHeard(this, 'alarm')) {
      const connections = this.#admission.places.taken;
      for (const alarm of this.#alarms.reached(connections)) announce(this, 'alarm', { ...alarm, connections });
    }
    if (this.#pool !== undefined) {
      const starting = this.#starters.shift();
      if (starting === undefined) this.#pool.take(item);
      else starting(item);
    } else if (this.transport.kind === 'datagram') this.#dispatch(item as Datagram);
    else this.#startConnection(item as Socket, this.transport);
    this.#countChanged();
  }

  #startConnection(raw: Socket, transport: StreamTransport, id?: number): void {
    const { options, serverAddress } = this;
    if (options.noDelay !== (transport.noDelay ?? false) && !transport.name.startsWith('unix'))
      raw.setNoDelay(options.noDelay);
    if (options.keepAlive !== false) raw.setKeepAlive(true, options.keepAlive === true ? undefined : options.keepAlive);
    const connection = new Connection(this.#host(), raw, 'path' in serverAddress ? serverAddress.path : undefined, id);
    (this.connections as Set<Connection>).add(connection);
    if (isHeard(this, 'connection')) {
      const { id, peer, local } = connection;
      announce(this, 'connection', { id, peer, local, connection });
    }
    if (options.proxyProtocol === false && transport.handshake === undefined) this.#dispatch(connection);
    else void this.#shakeHands(connection, transport);
  }

  async #shakeHands(connection: Connection, transport: StreamTransport): Promise<void> {
    const { proxyProtocol } = this.options;
    try {
      if (proxyProtocol !== false) await readProxyHeader(connection, proxyProtocol);
      if (transport.handshake !== undefined) await connection.handshake();
    } catch (error) {
      connection.fail(error as Error, 'handshake-error');
      if (this.#admission.permits !== Infinity && this.#callers.length > 0) this.#admission.permits++;
      return;
    }
    if (!connection.closed) this.#dispatch(connection);
  }

  #hostOfConnections: ConnectionHost | undefined;

  #host(): ConnectionHost {
    if (this.#hostOfConnections === undefined) {
      // eslint-disable-next-line unicorn/no-this-assignment, typescript/no-this-alias -- getters of another object
      const server = this;
      this.#hostOfConnections = {
        get options() {
          return server.options;
        },
        get framing() {
          return server.framing;
        },
        clock: this.clock,
        packets: this.transport.name === 'unix-seqpacket',
        upgrade: (raw, options) => this.#upgrade(raw, options),
        connectionClosed: (connection) => this.#connectionClosed(connection),
        report: (connection, error) => this.#report(connection, connection.peer, error),
        placeFreed: (connection) => {
          if (!this.#fed) this.#admission.release();
          else if (!connection.closed) this.relay!.uncounted(connection);
          this.#countChanged();
        },
      };
    }
    return this.#hostOfConnections;
  }

  #upgrade(raw: Socket, options: TlsOptions | undefined): Promise<TLSSocket> {
    const transport = this.transport as StreamTransport;
    if (options === undefined && transport.handshake !== undefined) return transport.handshake(raw);
    return makeHandshaker(options ?? this.options.tls, this.serverAddress).handshake(raw);
  }

  #connectionClosed(connection: Connection): void {
    (this.connections as Set<Connection>).delete(connection);
    if (isHeard(this, 'close')) {
      const { id, peer, local, failure } = connection;
      const { bytesRead, bytesWritten, durationMs } = connection.stats;
      announce(this, 'close', {
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
    this.relay?.closed(connection);
    this.#countChanged();
  }

  // ---- the pipeline

  #dispatch(request: Request): void {
    const caller = this.#callers.shift();
    if (caller !== undefined) caller(request);
    else if (this.getRequest !== BaseServer.prototype.getRequest || this.#serving === undefined)
      this.#ready.push(request);
    else if (this.#isDirect) this.#handleDirectly(request as Connection);
    else void this.#handle(request, request.peer);
  }

  /** The next request and its client's address, when there is one. */
  getRequest(): Promise<[Request, PeerAddress]> {
    const request = this.#ready.shift();
    if (request !== undefined) return Promise.resolve([request, request.peer]);
    return new Promise((resolve) => this.#callers.push((next) => resolve([next, next.peer])));
  }

  /**
   * Whether requests may skip the promises of the pipeline: no step is overridden, and the handler only pushes. It
   * saves a third of the memory of an idle connection.
   */
  get #isDirect(): boolean {
    let direct = this.#direct;
    if (direct === undefined) {
      const base = BaseServer.prototype;
      const steps = ['verifyRequest', 'processRequest', 'finishRequest', 'shutdownRequest', 'closeRequest'] as const;
      direct = this.#direct = steps.every((step) => this[step] === base[step]) && onlyPushes(this.RequestHandlerClass);
    }
    return direct && this.relay?.verify === undefined;
  }

  #direct: boolean | undefined;

  #handleDirectly(connection: Connection): void {
    this.#running++;
    let push: Push | undefined;
    try {
      push = this.#makeHandler(connection, connection.peer).push();
    } catch (error) {
      this.#endDirectly(connection, true, error);
      return;
    }
    if (push === undefined) this.#endDirectly(connection, false, undefined);
    else push.start(this.#endDirectly);
  }

  readonly #endDirectly = (connection: Connection, threw: boolean, error: unknown): void => {
    if (threw) {
      this.#report(connection, connection.peer, error);
      connection.reason ??= 'handler-error';
    }
    connection.beginClose('server');
    this.#running--;
    this.#countChanged();
    if (this.#status === 'running') this.#service();
  };

  #makeHandler(request: Request, clientAddress: PeerAddress): ConnectionHandler {
    const handler: BaseRequestHandler = new this.RequestHandlerClass(request as never, clientAddress, this);
    if (handler instanceof ConnectionHandler) {
      handler.request.hooks = handler;
      if (handler.timeout !== undefined) handler.request.setReadTimeout(handler.timeout);
    }
    return handler as ConnectionHandler;
  }

  async #handle(request: Request, clientAddress: PeerAddress): Promise<void> {
    this.#running++;
    try {
      if (await this.#verified(request, clientAddress)) await this.processRequest(request, clientAddress);
      else await this.#refuse(request);
    } catch (error) {
      this.#report(request, clientAddress, error);
      await this.#shutdownAfterError(request, error);
    }
    this.#running--;
    if (!(request instanceof Connection)) {
      if (this.#fed) this.relay!.done(request);
      else this.#admission.release();
    }
    this.#countChanged();
    if (this.#status === 'running') this.#service();
  }

  #verified(request: Request, clientAddress: PeerAddress): boolean | Promise<boolean> {
    if (this.relay?.verify !== undefined) return this.relay.verify(request, clientAddress);
    return this.verifyRequest === BaseServer.prototype.verifyRequest || this.verifyRequest(request, clientAddress);
  }

  async #refuse(request: Request): Promise<void> {
    if (request instanceof Connection) request.reason ??= 'refused';
    await this.shutdownRequest(request);
  }

  async #shutdownAfterError(request: Request, error: unknown): Promise<void> {
    if (request instanceof Connection)
      request.reason ??= error instanceof TimeoutError && request.failure === error ? 'read-timeout' : 'handler-error';
    try {
      await this.shutdownRequest(request);
    } catch (error) {
      reportError(this, error);
      if (request instanceof Connection) request.destroy();
    }
  }

  /** An end of the client that surfaced in the handler is an end, not an error. */
  #report(request: Request, clientAddress: PeerAddress, error: unknown): void {
    if (request instanceof Connection && request.failure !== undefined && request.failure === error) return;
    try {
      this.handleError(request, clientAddress, error);
    } catch (failure) {
      reportError(this, failure);
    }
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
    return runHandler(this.#makeHandler(request, clientAddress));
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

/** The same alarms, without a cooldown. */
function always(alarms: Alarm[]): Alarm[] {
  return alarms.map((alarm) => ({ ...alarm, cooldown: 0 }));
}

const comparisons: Record<Comparison, (a: number, b: number) => boolean> = {
  '<': (a, b) => a < b,
  '<=': (a, b) => a <= b,
  '==': (a, b) => a === b,
  '>=': (a, b) => a >= b,
  '>': (a, b) => a > b,
};

function peerOf(item: Socket | Datagram): PeerAddress | undefined {
  if ('peer' in item) return item.peer;
  const { remoteAddress, remotePort } = item;
  return remoteAddress === undefined || remotePort === undefined
    ? undefined
    : { host: remoteAddress, port: remotePort };
}

/** A request's addresses for events, where the request itself is in a worker. */
function noteInfo({ id, peer, local = { host: '', port: 0 } }: RequestNote): ConnectionInfo {
  return { id, peer, local };
}
