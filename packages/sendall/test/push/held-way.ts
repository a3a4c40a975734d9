/** A way to an agent on which everything stops in the middle of a transfer, until it may go on. */
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';

const PROGRAM = fileURLToPath(new URL('../dist/held-way.js', import.meta.url));

export class HeldWay implements AsyncDisposable {
  readonly url: string;
  readonly #thread: Worker;

  private constructor(thread: Worker, port: number) {
    this.#thread = thread;
    this.url = `tls://127.0.0.1:${port}`;
  }

  /** To an agent at this tls:// address. */
  static async to(url: string): Promise<HeldWay> {
    const thread = new Worker(PROGRAM, { workerData: Number(new URL(url).port) });
    const [port] = (await once(thread, 'message')) as [number];
    return new HeldWay(thread, port);
  }

  /** Lets about so many bytes pass in each direction, and no more. */
  async hold(bytes: number): Promise<void> {
    this.#thread.postMessage(bytes);
    await once(this.#thread, 'message');
  }

  async release(): Promise<void> {
    await this.hold(Infinity);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#thread.terminate();
  }
}
