/** The interfaces between a server and its threads or processes. */
import type { Socket } from 'node:net';
import type { BoundAddress } from '../address.js';
import type { Holder } from './holder.js';
import type { Datagram } from '../datagram.js';
import type { DrainReport } from '../reasons.js';
import type { Acceptance, FromWorker, ToWorker } from './worker-messages.js';

/** Where requests run, when that is not this event loop. */
export interface Workers {
  /** They accept connections by themselves; the main thread only holds the address. */
  readonly accept: boolean;
  readonly alive: number;
  readonly pids: ReadonlySet<number>;
  /** Starts them all and resolves when they are ready. Rejects when the first ones cannot be started. */
  start(address: BoundAddress): Promise<void>;
  /** Hands a request over; `done` is called when it is over, however it ended. */
  take(item: Socket | Datagram, done?: () => void): void;
  serve(): void;
  /** Workers that accept by themselves stop it; with `queue` they let clients in but not further. */
  suspend(queue: boolean): Promise<void>;
  /** With `reopen` they have closed their sockets, and get others. */
  resume(address: BoundAddress, reopen: boolean): Promise<void>;
  change(options: Record<string, unknown>): void;
  /** Lets them finish; resolves when all have ended. A second call with a shorter timeout hurries the first. */
  drain(timeout: number): Promise<Omit<DrainReport, 'durationMs'>>;
  /** Lets go of them: they do not keep this process alive any longer. */
  unref(): void;
}

/** One thread or process. */
export interface WorkerLink {
  readonly pid?: number;
  readonly threadId?: number;
  post(message: ToWorker): void;
  /** Whether it may be given anything: a process whose channel is closed has not ended yet, but is about to. */
  readonly usable: boolean;
  /** Gives a socket away. `back` is called when the worker ended before it had it. */
  handOver(id: number, socket: Socket, back: () => void): void;
  /** The worker has it. */
  got(id: number): void;
  /** Gives the worker a listening socket to accept from; only threads can. */
  share?(holder: Holder): { fd: number; own: boolean };
  /** The worker has its own descriptor for it. */
  took?(fd: number): void;
  onMessage(listener: (message: FromWorker) => void): void;
  /** `code` and `signal` of a process, `code` and `error` of a thread. */
  onExit(listener: (exit: { code: number | null; signal: string | null; error?: Error }) => void): void;
  /** Ends it at once. */
  kill(): void;
  unref(): void;
}

/** How workers of one kind are made. */
export interface WorkerKind {
  start(): WorkerLink;
  /** How this worker, which is to accept by itself, gets its socket; absent for those that are fed. */
  acceptance?(address: BoundAddress, link: WorkerLink): Acceptance;
}
