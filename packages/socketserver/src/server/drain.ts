import type { DrainReport } from '../reasons.js';
import { longest } from '../connection/clock.js';
import type { Connection } from '../connection/connection.js';

/** A connection this young may have a request on the way, though none of it has come. */
const young = 100;

/** Event loop turns without an accept after which the kernel's accept queue counts as empty. */
const quietTurns = 3;

export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/**
 * Waits until the accept queue is empty, or as many were accepted as it could hold when this began: under a steady
 * stream of new clients it never gets empty, but it is first in, first out. libuv accepts one connection a turn, and
 * closing the socket would reset those that still wait in the kernel's queue.
 */
export async function emptyAcceptQueue(accepted: () => number, queueSize = Infinity): Promise<void> {
  const began = accepted();
  let before = began;
  for (let quiet = 0; quiet < quietTurns && before - began <= queueSize; quiet++) {
    await turn();
    const now = accepted();
    if (now !== before) quiet = -1;
    before = now;
  }
}

/** Whether nothing would be lost by closing it now: nobody's call is pending, and no request is on the way. */
function isIdle(connection: Connection): boolean {
  if (!connection.idle) return false;
  const { bytesRead, durationMs } = connection.stats;
  return bytesRead > 0 || durationMs >= young;
}

/**
 * Says goodbye to every connection, and closes each as soon as it is idle, until `over`.
 * Resolves with how many were closed so.
 */
export async function closeIdle(
  connections: Iterable<Connection>,
  arrivals: () => number,
  over: () => Promise<unknown>,
): Promise<number> {
  let idle = 0;
  for (const connection of connections) connection.sayGoodbye();
  const sweep = (): void => {
    for (const connection of connections) {
      if (!isIdle(connection)) continue;
      idle++;
      connection.beginClose('drain');
    }
  };
  // What the clients sent before is read within a few turns: it is a request, not idleness.
  await emptyAcceptQueue(arrivals);
  sweep();
  const sweeper = setInterval(sweep, 20);
  await over();
  clearInterval(sweeper);
  return idle;
}

/** A shutdown under way: a promise of its report, and a deadline that later calls may bring forward. */
export class Drain {
  done!: Promise<DrainReport>;
  workers: Promise<Omit<DrainReport, 'durationMs'>> | undefined;
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

  within(ms: number): void {
    const at = performance.now() + ms;
    if (at >= this.#at) return;
    this.#at = at;
    clearTimeout(this.#timer);
    if (ms <= 0) {
      this.hurried = true;
      this.#expire();
    } else {
      this.#timer = setTimeout(this.#expire, Math.min(ms, longest));
    }
  }

  stop(): void {
    clearTimeout(this.#timer);
  }
}
