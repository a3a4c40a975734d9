/**
 * The way between the caller and the host: it counts the bytes in both directions, and lets no more pass than a test
 * allows. So a program cannot be over before the test has done what it does in its middle, however slow the test is.
 */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { heldPort } from '../dist/held-port.js';

export class Way implements Disposable {
  /** Where the agent has to listen. */
  readonly agentUrl: string;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #passed = 0;
  #most = Infinity;

  private constructor(port: number) {
    this.agentUrl = `tls://127.0.0.1:${port}`;
    this.#server = createServer((near) => {
      const far = connect(port, '127.0.0.1');
      this.#carry(near, far);
      this.#carry(far, near);
    });
  }

  static async open(): Promise<Way> {
    const way = new Way(await heldPort());
    await once(way.#server.listen(0, '127.0.0.1'), 'listening');
    return way;
  }

  get url(): string {
    return `tls://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Bytes that have passed so far. */
  get passed(): number {
    return this.#passed;
  }

  /** True when all that may pass has passed. */
  get isShut(): boolean {
    return this.#passed >= this.#most;
  }

  /** Shuts the way once so many bytes have passed, up to a piece of 64 KiB. */
  shutAt(bytes: number): void {
    this.#most = bytes;
    if (this.isShut) for (const socket of this.#sockets) socket.pause();
  }

  /** Opens it for new connections. Those of before are lost, as with an agent that was killed. */
  reopen(): void {
    this.#most = Infinity;
    for (const socket of this.#sockets) socket.destroy();
  }

  [Symbol.dispose](): void {
    this.#server.close();
    this.reopen();
  }

  #carry(from: Socket, to: Socket): void {
    this.#sockets.add(from);
    from.on('error', () => undefined);
    from.on('close', () => {
      this.#sockets.delete(from);
      to.destroy();
    });
    from.on('end', () => to.end());
    from.on('data', (bytes: Buffer) => {
      this.#passed += bytes.length;
      if (!to.write(bytes)) from.pause();
      if (this.isShut) for (const socket of this.#sockets) socket.pause();
    });
    to.on('drain', () => {
      if (!this.isShut) from.resume();
    });
    if (this.isShut) from.pause();
  }
}
