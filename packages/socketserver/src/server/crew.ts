/** The server's side of its workers. */
import type { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';
import type { Acceptor } from '../admission/acceptor.js';
import type { BoundAddress, PeerAddress } from '../address.js';
import { MAX_DELAY, wrongOption, type ResolvedOptions, type ServerOptions } from '../options.js';
import type { WorkerLink } from '../concurrency/concurrency.js';
import type { Condition } from './condition.js';
import type { Datagram, DatagramSocket } from '../datagram.js';
import type { DrainReport } from '../reasons.js';
import { announce, isHeard, reportError, type ConnectionInfo, type ServerEvents } from '../events.js';
import type { Pipeline } from './pipeline.js';
import type { DropReason } from '../reasons.js';
import type { Request } from '../server-interface.js';
import type { ServerInside, Steps } from '../server-inside.js';
import { SharedPlaces } from '../admission/shared-places.js';
import { beginsUnestablished } from '../admission/unestablished.js';
import {
  errorFrom,
  type Acceptance,
  type ClosedNote,
  type ErrorNote,
  type Export,
  type RequestNote,
  type WorkerStart,
} from '../concurrency/worker-messages.js';
import type { Choice } from '../concurrency/choose.js';
import { Holder } from '../concurrency/holder.js';
import { exportOf, forWorkers } from '../concurrency/passing.js';
import { Pool, type PoolHost } from '../concurrency/pool.js';

/**
 * A server's threads or processes, seen from the server: their pool, the address held for workers that accept by
 * themselves, and the pool's reports and questions.
 */
export class Crew implements PoolHost {
  readonly #server: ServerInside;
  readonly #base: Steps;
  readonly #choice: Choice;
  readonly #acceptor: Acceptor;
  readonly #pipeline: Pipeline;
  readonly #counts: Condition;
  readonly #pool: Pool;
  /** The one count of connections, where workers accept by themselves. */
  readonly #places: SharedPlaces | undefined;
  #holder: Holder | undefined;
  /** Suspended, and nothing listens. */
  #doorClosed = false;
  /** Calls of `handleRequest()` that wait for a request to hand over. */
  #starters: ((item: Socket | Datagram) => void)[] = [];

  constructor(
    server: ServerInside,
    base: Steps,
    choice: Choice,
    acceptor: Acceptor,
    pipeline: Pipeline,
    counts: Condition,
  ) {
    this.#server = server;
    this.#base = base;
    this.#choice = choice;
    this.#acceptor = acceptor;
    this.#pipeline = pipeline;
    this.#counts = counts;
    const { feeding, kind, rules } = choice;
    if (feeding !== 'hand-over') {
      if (server.options.isKnownSource !== undefined)
        throw wrongOption(
          'isKnownSource',
          'option "isKnownSource" is asked in the main thread, so not where threads accept by themselves: ' +
            'use balance "round-robin", processes or inline',
        );
      // Many more slots than workers: a worker may overlap with its successor.
      this.#places = new SharedPlaces(rules.most * 2 + 8);
      acceptor.share(this.#places);
      kind.acceptance = (address, link) => this.#acceptance(address, link);
    }
    this.#pool = new Pool(kind, rules, this, this.#places);
  }

  // ---- the address

  /** Whether they accept by themselves; then the address is held here and not by the transport. */
  get accepts(): boolean {
    return this.#pool.accept;
  }

  async hold(address: BoundAddress): Promise<BoundAddress> {
    const { transport, options } = this.#server;
    if (transport.kind === 'stream') transport.secure?.(options.tls);
    this.#holder = await Holder.bind(address, this.#choice.feeding === 'reuse-port');
    return this.#holder.address;
  }

  letGo(): void {
    this.#holder?.close();
    this.#holder = undefined;
  }

  /** The descriptor of the held socket, where one is held. */
  get fd(): number | undefined {
    return this.#holder?.fd;
  }

  #acceptance(address: BoundAddress, link: WorkerLink): Acceptance {
    if (this.#doorClosed) return { by: 'feed' };
    const backlog = this.#server.requestQueueSize;
    if (this.#choice.feeding === 'reuse-port' && 'host' in address) return { by: 'reuse-port', address, backlog };
    return { by: 'descriptor', ...link.share!(this.#holder!), address, backlog };
  }

  // ---- what the server wants

  get alive(): number {
    return this.#pool.alive;
  }

  get unestablished(): number {
    return this.#pool.unestablished;
  }

  displace(): boolean {
    return this.#pool.displace();
  }

  get pids(): ReadonlySet<number> {
    return this.#pool.pids;
  }

  async start(): Promise<void> {
    (this.#server as EventEmitter).on('newListener', (event) => {
      if (event === 'connection' || event === 'close') this.#pool.wantEvents(true);
    });
    await this.#pool.start(this.#server.serverAddress);
  }

  /** Workers that accept by themselves report connections only while those events have listeners. */
  tellWanted(): void {
    this.#pool.wantEvents(isHeard(this.#server, 'connection') || isHeard(this.#server, 'close'));
  }

  serve(): void {
    this.tellWanted();
    this.#pool.serve();
  }

  take(item: Socket | Datagram): void {
    const starting = this.#starters.shift();
    if (starting === undefined) this.#pool.take(item);
    else starting(item);
  }

  /** `handleRequest()` where the request is handed over. */
  async handleOne(timeout: number): Promise<void> {
    const { admission } = this.#acceptor;
    let begin!: () => void;
    const done = new Promise<void>((resolve) => {
      const starting = (item: Socket | Datagram): void => {
        begin();
        this.#pool.take(item, resolve);
      };
      this.#starters.push(starting);
      const waiting = new Promise<boolean>((started) => {
        begin = () => started(true);
        if (timeout > 0 && timeout <= MAX_DELAY) setTimeout(started, timeout, false);
      });
      void waiting.then((started) => {
        if (started) return undefined;
        this.#starters = this.#starters.filter((each) => each !== starting);
        admission.permits = Math.max(0, admission.permits - 1);
        return Promise.resolve(this.#server.handleTimeout()).then(resolve);
      });
    });
    admission.permits++;
    await done;
  }

  suspend(queue: boolean): Promise<void> {
    this.#doorClosed = !queue;
    return this.#pool.suspend(queue);
  }

  resume(reopen: boolean): Promise<void> {
    this.#doorClosed = false;
    return this.#pool.resume(this.#server.serverAddress, reopen);
  }

  change(options: ServerOptions): void {
    this.#pool.change(forWorkers(options));
  }

  drain(timeout: number): Promise<Omit<DrainReport, 'durationMs'>> {
    return this.#pool.drain(timeout);
  }

  unref(): void {
    this.#pool.unref();
  }

  // ---- what the pool tells and asks

  workerStart(worker: number, address: BoundAddress, link: WorkerLink): WorkerStart {
    const { transport, options, RequestHandlerClass } = this.#server;
    const server = this.#serverExport;
    return {
      worker,
      transport: transport.name,
      handler: exportOf(RequestHandlerClass),
      ...(server && { server }),
      address,
      options: forWorkers(options),
      acceptance: this.#choice.kind.acceptance?.(address, link) ?? { by: 'feed' },
      ...(this.#places && { places: this.#places.buffer }),
      verify: server === undefined && this.#server.verifyRequest !== this.#base.verifyRequest,
    };
  }

  get #serverExport(): Export | undefined {
    const own = this.#server.constructor as { module?: string; name: string };
    return own.module === undefined ? undefined : exportOf(own);
  }

  event<E extends keyof ServerEvents>(event: E, info: ServerEvents[E]): void {
    if (isHeard(this.#server, event)) announce(this.#server, event, info);
  }

  /** An event of a worker that accepts by itself. */
  forwarded(worker: number, name: string, info: Record<string, unknown>): void {
    const event = name as keyof ServerEvents;
    if (event === 'alarm' && !this.#acceptor.alarms.mayRing(info['name'] as string)) return;
    if (!isHeard(this.#server, event)) return;
    const error = info['error'] === undefined ? {} : { error: errorFrom(info['error'] as ErrorNote) };
    announce(this.#server, event, { ...info, ...error, worker } as never);
  }

  opened(worker: number, request: RequestNote): void {
    if (isHeard(this.#server, 'connection')) announce(this.#server, 'connection', { ...noteInfo(request), worker });
  }

  closed(worker: number, request: RequestNote, note: ClosedNote | undefined): void {
    if (note !== undefined && isHeard(this.#server, 'close')) {
      const { reason, bytesRead, bytesWritten, durationMs, error } = note;
      announce(this.#server, 'close', {
        ...noteInfo(request),
        worker,
        reason,
        bytesRead,
        bytesWritten,
        durationMs,
        ...(error && { error: errorFrom(error) }),
      });
    }
    this.#counts.changed();
  }

  placeFreed(): void {
    if (!this.#acceptor.sharing) this.#acceptor.admission.release();
    this.#counts.changed();
  }

  get options(): ResolvedOptions {
    return this.#server.options;
  }

  get beginsUnestablished(): boolean {
    return beginsUnestablished(this.#server);
  }

  dropped(item: Socket | Datagram | undefined, reason: DropReason): void {
    this.#acceptor.drop(item, reason);
  }

  failed(error: Error, request: RequestNote | undefined): void {
    if (request === undefined) reportError(this.#server, error);
    else this.#pipeline.report(request as unknown as Request, request.peer, error);
  }

  async verify(note: RequestNote): Promise<boolean> {
    const request = note as unknown as Request;
    try {
      return await this.#server.verifyRequest(request, note.peer);
    } catch (error) {
      this.#pipeline.report(request, note.peer, error);
      return false;
    }
  }

  send(data: Uint8Array, to: PeerAddress): Promise<void> {
    return (this.#server.transport as unknown as DatagramSocket).send(data, to);
  }

  shutdown(timeout: number | undefined): void {
    void this.#server.shutdown(timeout === undefined ? {} : { timeout });
  }
}

/** A request's addresses for events, where the request itself is in a worker. */
function noteInfo({ id, peer, local = { host: '', port: 0 } }: RequestNote): ConnectionInfo {
  return { id, peer, local };
}
