/** Workers that are threads. */
import type { Socket } from 'node:net';
import { Worker } from 'node:worker_threads';
import type { WorkerKind, WorkerLink } from './concurrency.js';
import { descriptorOf } from '../node-internals.js';
import type { SystemCalls } from '../transports/system-calls.js';
import type { FromWorker, ToWorker } from './worker-messages.js';
import type { Holder } from './holder.js';

const entry = new URL('../worker.js', import.meta.url);

/** Worker threads. With system calls sockets are handed over: a duplicate of the descriptor goes, by number. */
export function threads(calls: SystemCalls | undefined): WorkerKind {
  return { start: () => new ThreadLink(calls) };
}

class ThreadLink implements WorkerLink {
  readonly threadId: number;
  readonly #worker: Worker;
  readonly #calls: SystemCalls | undefined;
  readonly #onTheWay = new Map<number, { socket: Socket; fd: number; back: () => void }>();
  /** Listening descriptors that the worker may not have taken over yet, with what to do when it has, or has ended. */
  readonly #shared = new Map<number, (ended: boolean) => void>();

  constructor(calls: SystemCalls | undefined) {
    this.#worker = new Worker(entry, { name: 'socketserver' });
    this.threadId = this.#worker.threadId;
    this.#calls = calls;
  }

  post(message: ToWorker): void {
    this.#worker.postMessage(message);
  }

  get usable(): boolean {
    return true;
  }

  handOver(id: number, socket: Socket, back: () => void): void {
    const from = descriptorOf(socket);
    if (from < 0) {
      setImmediate(back);
      return;
    }
    // All threads share the table of descriptors, but a number must have one owner: two closing it would end another.
    socket.on('error', () => {});
    let fd: number;
    try {
      fd = this.#calls!.dup(from);
    } catch {
      // No descriptor is left: as where accept(2) finds none, the client is turned away.
      socket.destroy();
      setImmediate(back);
      return;
    }
    this.#onTheWay.set(id, { socket, fd, back });
    this.post({ type: 'connection', id, fd });
  }

  got(id: number): void {
    this.#onTheWay.get(id)?.socket.destroy();
    this.#onTheWay.delete(id);
  }

  share(holder: Holder): { fd: number; own: boolean } {
    const calls = this.#calls;
    if (calls === undefined) {
      this.#shared.set(holder.fd, holder.lend());
      return { fd: holder.fd, own: false };
    }
    const fd = calls.dup(holder.fd);
    this.#shared.set(fd, (ended) => ended && calls.close(fd));
    return { fd, own: true };
  }

  took(fd: number): void {
    this.#shared.get(fd)?.(false);
    this.#shared.delete(fd);
  }

  onMessage(listener: (message: FromWorker) => void): void {
    this.#worker.on('message', listener);
  }

  onExit(listener: (exit: { code: number | null; signal: string | null; error?: Error }) => void): void {
    let error: Error | undefined;
    this.#worker.on('error', (thrown) => (error = thrown as Error));
    this.#worker.on('exit', (code) => {
      listener({ code, signal: null, ...(error && { error }) });
      for (const { fd, back } of this.#onTheWay.values()) {
        this.#calls!.close(fd);
        back();
      }
      for (const done of this.#shared.values()) done(true);
    });
  }

  kill(): void {
    void this.#worker.terminate();
  }

  unref(): void {
    this.#worker.unref();
  }
}
