/** Shutdown: the order of its steps, and its deadline. */
import type { DrainReport } from '../reasons.js';
import { MAX_DELAY } from '../options.js';
import type { Connection } from '../connection/connection.js';

/** A connection this young may have a request on the way, though none of it has come. */
const YOUNG = 100;

/** Event loop turns without an accept after which the kernel's accept queue counts as empty. */
const QUIET_TURNS = 3;

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/**
 * Waits until the accept queue is empty, or as many were accepted as it could hold when this began: under a steady
 * stream of new clients it never gets empty, but it is first in, first out. libuv accepts one connection a turn, and
 * closing the socket would reset those that still wait in the kernel's queue.
 */
async function emptyAcceptQueue(accepted: () => number, queueSize = Infinity): Promise<void> {
  const began = accepted();
  let before = began;
  for (let quiet = 0; quiet < QUIET_TURNS && before - began <= queueSize; quiet++) {
    await turn();
    const now = accepted();
    if (now !== before) quiet = -1;
    before = now;
  }
}

/** Whether closing it now would lose nothing: no call of its handler is pending, and no request is on the way. */
function isIdle(connection: Connection): boolean {
  if (!connection.idle) return false;
  const { bytesRead, durationMs } = connection.stats;
  return bytesRead > 0 || durationMs >= YOUNG;
}

/**
 * Says goodbye to every connection, and closes each as soon as it is idle, until `over`.
 * Resolves with how many were closed so.
 */
async function closeIdle(
  connections: Iterable<Connection>,
  arrivals: () => number,
  over: () => Promise<unknown>,
): Promise<number> {
  let idle = 0;
  let isOver = false;
  for (const connection of connections) connection.sayGoodbye();
  const sweep = (): void => {
    if (isOver) return;
    for (const connection of connections) {
      // One that was in its handshake, or waited for a place, has its handler only now.
      connection.sayGoodbye();
      if (!isIdle(connection)) continue;
      idle++;
      connection.beginClose('drain');
    }
  };
  // What the clients sent before is read within a few turns: it is a request, not idleness.
  await emptyAcceptQueue(arrivals);
  sweep();
  // Behind the loop's reading: a request may have arrived while the loop stood still.
  const sweeper = setInterval(() => void setImmediate(sweep), 20);
  await over();
  isOver = true;
  clearInterval(sweeper);
  return idle;
}

/** A server, as its shutdown sees it. */
export interface Draining {
  /** Those of this loop. */
  readonly connections: Iterable<Connection>;
  readonly crew: { readonly accepts: boolean; drain(timeout: number): Promise<WorkersReport> } | undefined;
  /** How many clients the kernel's accept queue holds, where they are still served. */
  readonly queueSize: number | undefined;
  /** How many clients came so far. */
  arrivals(): number;
  /** How many requests are on their way. */
  running(): number;
  /** Resolves when none is left, and no connection either. */
  quiet(): Promise<void>;
  /** Drops what waits for a place. */
  turnAway(): void;
  /** Stops listening. */
  closeDoor(): Promise<void>;
  /** Lets go of the address, once the workers have ended. */
  letGo(): Promise<void>;
}

type WorkersReport = Omit<DrainReport, 'durationMs'>;

/** A shutdown under way: a promise of its report, and a deadline that later calls may bring forward. */
export class Drain {
  done!: Promise<DrainReport>;
  workers: Promise<WorkersReport> | undefined;
  readonly deadline: Promise<void>;
  hurried = false;
  #expire!: () => void;
  #timer: NodeJS.Timeout | undefined;
  #at = Infinity;

  constructor() {
    this.deadline = new Promise((resolve) => (this.#expire = resolve));
  }

  /** Milliseconds that are left. */
  get left(): number {
    return Math.max(0, this.#at - performance.now());
  }

  /**
   * Serves what is in the accept queue, closes idle connections as they become idle, waits for the others until the
   * deadline, and destroys the rest.
   */
  async run(server: Draining): Promise<DrainReport> {
    const started = performance.now();
    const { crew, connections, queueSize } = server;
    const arrivals = (): number => server.arrivals();
    if (crew?.accepts === true) this.workers = crew.drain(this.left);
    if (queueSize !== undefined && !this.hurried) await emptyAcceptQueue(arrivals, queueSize);
    await server.closeDoor();
    const report: DrainReport = { open: server.running(), idle: 0, finished: 0, destroyed: 0, durationMs: 0 };
    report.idle = await closeIdle(connections, arrivals, () => Promise.race([server.quiet(), this.deadline]));
    server.turnAway();
    if (crew !== undefined) {
      this.workers ??= crew.drain(this.left);
      const workers = await this.workers;
      report.open += workers.open;
      report.idle += workers.idle;
      report.destroyed += workers.destroyed;
      await server.letGo();
    }
    report.destroyed += server.running();
    for (const connection of connections) {
      connection.reason ??= 'drain';
      connection.destroy('drain');
    }
    report.finished = Math.max(0, report.open - report.idle - report.destroyed);
    report.durationMs = performance.now() - started;
    clearTimeout(this.#timer);
    return report;
  }

  within(ms: number): void {
    const at = performance.now() + ms;
    if (at >= this.#at) return;
    this.#at = at;
    clearTimeout(this.#timer);
    if (ms <= 0) {
      this.hurried = true;
      this.#expire();
    } else {
      this.#timer = setTimeout(this.#expire, Math.min(ms, MAX_DELAY));
    }
  }
}
