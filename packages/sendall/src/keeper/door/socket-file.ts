/** Where agents find the keeper: a Unix socket for this user alone. */
import { chmodSync, lstatSync, unlinkSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';

export class SocketFile {
  readonly #path: string;
  readonly #accept: (socket: Socket) => void;
  #server: Server | undefined;
  /** The file that we made. */
  #ino = -1n;

  constructor(path: string, accept: (socket: Socket) => void) {
    this.#path = path;
    this.#accept = accept;
  }

  /**
   * Makes the file, in place of one that was left. Again, when it was removed.
   * @throws when there is another file.
   */
  async listen(): Promise<void> {
    this.#remove();
    this.#server?.close();
    const server = createServer(this.#accept);
    this.#server = server;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(this.#path, resolve);
    });
    chmodSync(this.#path, 0o600);
    this.#ino = lstatSync(this.#path, { bigint: true }).ino;
  }

  #remove(): void {
    const file = lstatSync(this.#path, { throwIfNoEntry: false });
    if (!file) return;
    if (!file.isSocket()) throw new Error(`${this.#path} is not a socket: move it away`);
    unlinkSync(this.#path);
  }

  close(): void {
    const file = lstatSync(this.#path, { throwIfNoEntry: false, bigint: true });
    // Closing removes any file of that name, also another keeper's.
    if (!file || file.ino === this.#ino) this.#server?.close();
  }
}
