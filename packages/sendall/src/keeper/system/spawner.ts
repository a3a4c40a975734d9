/**
 * Starts commands on a thread of its own. posix_spawn holds its caller until the command's program is loaded, which among
 * many commands means until a processor is free; the keeper's main thread has better things to do meanwhile. For a
 * single command the way to the thread and back would cost more than it saves.
 */
import { constants } from 'node:os';
import { Worker } from 'node:worker_threads';
import type { SpawnCall } from './native.js';
import type { Seat } from './tree.js';

/** Number, call, and the descriptors of the group's and the keeper's own `cgroup.threads` (-1: none). */
export type SpawnOrder = readonly [no: number, call: SpawnCall, group: number, home: number];
/** Number, errno (0: it runs), pid. */
export type SpawnReport = readonly [no: number, errno: number, pid: number];
type Done = (errno: number, pid: number) => void;

export class Spawner {
  readonly #thread: Worker;
  readonly #waiting = new Map<number, Done>();
  #next = 1;
  /** It can be given work. */
  ready = false;

  /** Undefined when the system gives no thread now. */
  static begin(): Spawner | undefined {
    try {
      return new Spawner();
    } catch {
      return undefined;
    }
  }

  private constructor() {
    this.#thread = new Worker(new URL('./spawner-thread.js', import.meta.url), { execArgv: [] });
    this.#thread.once('online', () => (this.ready = true));
    this.#thread.on('message', ([no, errno, pid]: SpawnReport) => {
      const done = this.#waiting.get(no)!;
      this.#waiting.delete(no);
      done(errno, pid);
    });
    this.#thread.once('error', () => this.#fail());
    this.#thread.unref();
  }

  /** Commands under way: a child that is not known yet may be one of them. */
  get busy(): boolean {
    return this.#waiting.size > 0;
  }

  /** The thread is gone. Its commands count as not started. */
  #fail(): void {
    this.ready = false;
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const done of waiting) done(constants.errno.EAGAIN, 0);
  }

  /** What the call points at must stay where it is until `done` is called. */
  spawn(call: SpawnCall, seat: Seat | undefined, done: Done): void {
    const no = this.#next++;
    this.#waiting.set(no, done);
    const order: SpawnOrder = [no, call, seat?.group ?? -1, seat?.home ?? -1];
    this.#thread.postMessage(order);
  }
}
