/** A caller that sends arbitrary messages, one by one, to an agent or the warm-links process. */
import { once } from 'node:events';
import { connect as dial, type Socket } from 'node:net';
import { decode, encode, encodeSpec } from '../../dist/protocol/codec.js';
import type { Control, Message, MessageNamed } from '../../dist/protocol/messages.js';
import { newRunId } from '../../dist/protocol/run-id.js';
import { VERSION } from '../../dist/protocol/version.js';

export class Rogue {
  readonly socket: Socket;
  readonly messages: Message[] = [];
  readonly closed: Promise<void>;
  #rest = Buffer.alloc(0);
  #waiting: (() => void) | undefined;

  constructor(socket: Socket) {
    this.socket = socket;
    this.closed = new Promise((resolve) => socket.once('close', () => resolve()));
    socket.on('error', () => undefined);
    // Each wait listens for the end too.
    socket.setMaxListeners(0);
    socket.on('data', (chunk: Buffer) => {
      this.#rest = Buffer.concat([this.#rest, chunk]);
      while (this.#rest.length >= 4 && this.#rest.length >= 4 + this.#rest.readUInt32BE(0)) {
        const end = 4 + this.#rest.readUInt32BE(0);
        this.messages.push(decode(Buffer.from(this.#rest.subarray(4, end))));
        this.#rest = this.#rest.subarray(end);
      }
      this.#waiting?.();
    });
  }

  static async connect(path: string): Promise<Rogue> {
    const socket = dial(path);
    await once(socket, 'connect');
    return new Rogue(socket);
  }

  /** An authenticated caller. */
  static async authenticated(
    path: string,
    auth: Partial<MessageNamed<'AUTH'>> = {},
    features: readonly string[] = [],
  ): Promise<Rogue> {
    const rogue = await Rogue.connect(path);
    const nonce = Buffer.alloc(16);
    const words = { protoMin: 1, protoMax: 1, name: 'rogue', nonce, features, clockMs: 0, version: VERSION };
    rogue.send({ type: 'HELLO', alias: 0, ...words });
    rogue.send({ type: 'AUTH', alias: 0, method: 'local', ...auth });
    await rogue.hears('AUTH_OK');
    return rogue;
  }

  raw(bytes: Uint8Array): void {
    this.socket.write(bytes);
  }

  frame(payload: Uint8Array): void {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(payload.length);
    this.raw(Buffer.concat([length, payload]));
  }

  send(message: Control): void {
    this.frame(encode(message));
  }

  /** Opens `cat` and waits until it takes stdin. */
  async openCat(alias: number): Promise<void> {
    this.open(alias, ['cat'], true);
    await this.hears('CREDIT');
  }

  open(alias: number, argv: readonly string[], stdin = false, more: Partial<MessageNamed<'OPEN'>> = {}): void {
    const spec = encodeSpec({
      verb: 'exec',
      argv: argv.map((word) => Buffer.from(word)),
      env: [],
      stdin,
      tags: [],
      secrets: [],
    });
    const attach = [1, 2].map((stream) => ({ stream, offset: 0, limit: 1 << 20 }));
    const words = { runId: newRunId(), spec, notAfterMs: Date.now() + 60_000, attach, secrets: [] };
    this.send({ type: 'OPEN', alias, ...words, ...more });
  }

  attach(alias: number, more: Partial<MessageNamed<'ATTACH'>>): void {
    this.send({ type: 'ATTACH', alias, runId: newRunId(), from: [], mode: 'observe', ...more });
  }

  async hears<N extends Message['type']>(type: N, count = 1): Promise<MessageNamed<N>[]> {
    for (;;) {
      const found = this.messages.filter((message) => message.type === type) as MessageNamed<N>[];
      if (found.length >= count) return found;
      if (this.socket.closed) throw new Error(`closed before ${type}`);
      await new Promise<void>((resolve) => {
        this.#waiting = resolve;
        this.socket.once('close', resolve);
      });
    }
  }

  /** The agent's messages before it hung up. */
  async lastWords(): Promise<string> {
    await this.closed;
    const error = this.messages.find((message) => message.type === 'LINK_ERROR');
    return error?.type === 'LINK_ERROR' ? error.message : 'no LINK_ERROR';
  }
}
