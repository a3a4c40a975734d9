/** The tutorial's chat: many clients and one operator, who answers one of them or all. */
import { StringDecoder } from 'node:string_decoder';
import { serve, type Connection } from '@sendall/socketserver';

/** Milliseconds in which a client that has ended its side may still get texts after the answer to its last message. */
const LINGER_MS = 500;

/** An event in a chat. */
export type ChatEvent =
  | { readonly type: 'joined' | 'left'; readonly name: string; readonly address: string }
  | { readonly type: 'said'; readonly name: string; readonly text: string };

/** The address and limits of a chat server. */
export interface ChatServerOptions {
  /** The port to listen on; the tutorial's by default. @default 6060 */
  port?: number;
  /** The address to listen on. @default '127.0.0.1' */
  host?: string;
  /** The framing that separates messages. @default undefined (raw UTF-8: a read is a message, as in the tutorial) */
  framing?: string | undefined;
  /** Clients at the same time. @default 256 */
  maxClients?: number;
  onEvent: (event: ChatEvent) => void;
}

interface Client {
  readonly name: string;
  readonly connection: Connection;
  /** Messages the operator has not answered. */
  waiting: number;
  ended: boolean;
}

/**
 * A chat between many clients and one operator. Each text is shown with its client's name; the operator answers one
 * client or all.
 */
export class ChatServer {
  readonly port: number;
  readonly #clients: Map<string, Client>;
  readonly #framed: boolean;
  readonly #stop: () => Promise<unknown>;
  #operator = true;

  private constructor(port: number, clients: Map<string, Client>, framed: boolean, stop: () => Promise<unknown>) {
    this.port = port;
    this.#clients = clients;
    this.#framed = framed;
    this.#stop = stop;
  }

  static async open(options: ChatServerOptions): Promise<ChatServer> {
    const { port = 6060, host = '127.0.0.1', framing, maxClients = 256, onEvent } = options;
    const clients = new Map<string, Client>();
    let count = 0;
    const handle = async (connection: Connection) => {
      const name = `c${++count}`;
      const peer = connection.peer as { host: string; port: number };
      const address = `${peer.host}:${peer.port}`;
      const client: Client = { name, connection, waiting: 0, ended: false };
      clients.set(name, client);
      onEvent({ type: 'joined', name, address });
      try {
        for await (const text of framing === undefined ? rawTexts(connection) : framedTexts(connection)) {
          client.waiting++;
          onEvent({ type: 'said', name, text });
        }
        client.ended = true;
        await chat.#answered(client);
      } finally {
        clients.delete(name);
        onEvent({ type: 'left', name, address });
      }
    };
    const server = await serve({ host, port }, handle, {
      maxConnections: maxClients,
      readTimeout: 0,
      ...(framing !== undefined && { framing }),
    });
    const bound = server.serverAddress;
    const chat = new ChatServer(bound.port, clients, framing !== undefined, () => server.shutdown({ timeout: 500 }));
    return chat;
  }

  /** The names of the clients, in order of joining. */
  get names(): string[] {
    return [...this.#clients.keys()];
  }

  /** The client that has waited longest for an answer. */
  get next(): string | undefined {
    return [...this.#clients.values()].find((client) => client.waiting > 0)?.name;
  }

  /** Sends a text to one client. False when no client has that name. */
  tell(name: string, text: string): boolean {
    const client = this.#clients.get(name);
    if (!client || client.connection.closed) return false;
    if (this.#framed) client.connection.send(text);
    else client.connection.write(text);
    client.waiting = Math.max(0, client.waiting - 1);
    this.#wake();
    return true;
  }

  /** Sends a text to all clients and returns their number. */
  tellAll(text: string): number {
    return this.names.filter((name) => this.tell(name, text)).length;
  }

  /** The operator is done: closes clients that have ended their side. */
  operatorLeft(): void {
    this.#operator = false;
    this.#wake();
  }

  async close(): Promise<void> {
    this.#operator = false;
    this.#wake();
    await this.#stop();
  }

  #wake = (): void => {};

  /** Resolves when a client that has ended its side will get no more texts. */
  async #answered(client: Client): Promise<void> {
    while (this.#operator && client.waiting > 0 && !client.connection.closed) {
      await new Promise<void>((resolve) => {
        const before = this.#wake;
        this.#wake = () => {
          before();
          resolve();
        };
        client.connection.signal.addEventListener('abort', () => resolve(), { once: true });
      });
    }
    if (this.#operator) await new Promise((resolve) => setTimeout(resolve, LINGER_MS));
  }
}

/** The text of each read; a character cut between two reads comes with the second. */
async function* rawTexts(connection: Connection): AsyncGenerator<string> {
  const decoder = new StringDecoder('utf8');
  for await (const chunk of connection) {
    const text = decoder.write(chunk);
    if (text !== '') yield text;
  }
  const rest = decoder.end();
  if (rest !== '') yield rest;
}

async function* framedTexts(connection: Connection): AsyncGenerator<string> {
  for await (const message of connection.messages) yield message.toString();
}
