/** Workers that are child processes. */
import { fork, type ChildProcess } from 'node:child_process';
import type { Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import type { WorkerKind, WorkerLink } from './concurrency.js';
import type { FromWorker, ToWorker } from './worker-messages.js';

const entry = fileURLToPath(new URL('../worker.js', import.meta.url));

/** Child processes. Sockets go over the channel to them. */
export const processes: WorkerKind = { start: () => new ProcessLink() };

class ProcessLink implements WorkerLink {
  readonly #child: ChildProcess;
  readonly #onTheWay = new Map<number, { socket: Socket; back: () => void }>();

  constructor() {
    this.#child = fork(entry, [], { serialization: 'advanced' });
    this.#child.on('error', () => {});
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  get usable(): boolean {
    return this.#child.connected;
  }

  post(message: ToWorker): void {
    if (this.#child.connected) this.#child.send(message, () => {});
  }

  /**
   * Our own descriptor stays open until the child says that it has its one: when it ends before, the connection goes
   * to another child, and nothing was lost.
   */
  handOver(id: number, socket: Socket, back: () => void): void {
    socket.on('error', () => {});
    this.#onTheWay.set(id, { socket, back });
    this.#child.send({ type: 'connection', id } satisfies ToWorker, socket, { keepOpen: true }, () => {});
  }

  got(id: number): void {
    this.#onTheWay.get(id)?.socket.destroy();
    this.#onTheWay.delete(id);
  }

  onMessage(listener: (message: FromWorker) => void): void {
    this.#child.on('message', listener as (message: unknown) => void);
  }

  onExit(listener: (exit: { code: number | null; signal: string | null; error?: Error }) => void): void {
    let told = false;
    this.#child.once('exit', (code, signal) => {
      told = true;
      listener({ code, signal });
      for (const { back } of this.#onTheWay.values()) back();
    });
    // A child that could not be started has no exit.
    this.#child.once('error', (error) => {
      if (!told && this.#child.pid === undefined) listener({ code: null, signal: null, error });
    });
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }

  unref(): void {
    this.#child.unref();
    this.#child.channel?.unref();
  }
}
