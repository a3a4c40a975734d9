/**
 * A relay on a Unix socket or a TLS port between callers and an agent. It reads every message both ways, and can hold the agent's answers,
 * change or drop a message, answer itself, cut its connections and lead to another agent.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer as createTlsServer } from 'node:tls';
import { onTestFinished } from 'vitest';
import type { Identity } from '../../dist/keys/identity.js';
import { serverTls } from '../../dist/link/tls.js';
import { decode, encode, encodeData } from '../../dist/protocol/codec.js';
import type { Message, MessageNamed } from '../../dist/protocol/messages.js';

/** What becomes of a message: another one, or nothing. */
type Change = (message: Message, connection: Relayed) => Message | undefined;

/** One caller's connection. */
export interface Relayed {
  /** What the caller has sent so far. */
  readonly sent: readonly Message[];
  /** Tells the caller something in the agent's place. */
  answer(message: Message): void;
  cut(): void;
}

export class Relay {
  readonly url: string;
  readonly connections: Relayed[] = [];
  /** The socket of the agent that the next caller reaches. */
  agent: string;
  fromCaller: Change = (message) => message;
  fromAgent: Change = (message) => message;
  #held: (() => void)[] | undefined;
  /** How many callers had come when the answers were held last. */
  #before = 0;

  private constructor(url: string, agent: string) {
    this.url = url;
    this.agent = agent;
  }

  /** A relay to the agent at this socket, until the test ends. */
  static async to(agent: string): Promise<Relay> {
    const folder = mkdtempSync(join(tmpdir(), 'sendall-relay-'));
    const path = join(folder, 'relay.sock');
    const relay = new Relay(`unix:${path}`, agent);
    const server = createServer((caller) => relay.#serve(caller));
    await new Promise<void>((resolve) => server.listen(path, resolve));
    onTestFinished(async () => {
      relay.cut();
      await new Promise((resolve) => server.close(resolve));
      rmSync(folder, { recursive: true, force: true });
    });
    return relay;
  }

  /** The same on a TLS port, where it shows this identity. To the agent, its callers are local ones. */
  static async overTls(agent: string, identity: Identity): Promise<Relay> {
    const server = createTlsServer(serverTls(identity), (caller) => relay.#serve(caller));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const relay = new Relay(`tls://127.0.0.1:${(server.address() as AddressInfo).port}`, agent);
    relay.fromCaller = asLocal;
    onTestFinished(async () => {
      relay.cut();
      await new Promise((resolve) => server.close(resolve));
    });
    return relay;
  }

  /** The newest connection. */
  get last(): Relayed | undefined {
    return this.connections.at(-1);
  }

  /** The types of what the newest caller has sent; none until one has come since the answers are held. */
  get types(): string[] {
    const caller = this.connections.length > this.#before ? this.last : undefined;
    return caller?.sent.map(({ type }) => type) ?? [];
  }

  /** The OPENs that all callers have sent. */
  get opens(): MessageNamed<'OPEN'>[] {
    return this.connections.flatMap(({ sent }) => sent.filter((message) => message.type === 'OPEN'));
  }

  /** From now on callers wait for the agent's answers. */
  hold(): void {
    this.#held ??= [];
    this.#before = this.connections.length;
  }

  /** Lets the answers go. */
  release(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const pass of held) pass();
  }

  cut(): void {
    this.#held &&= [];
    for (const connection of this.connections) connection.cut();
  }

  #serve(caller: Socket): void {
    const agent = connect(this.agent);
    const sent: Message[] = [];
    const connection: Relayed = {
      sent,
      answer: (message) => caller.write(framed(message)),
      cut() {
        caller.destroy();
        agent.destroy();
      },
    };
    this.connections.push(connection);
    for (const socket of [caller, agent]) socket.on('error', () => undefined);
    caller.once('close', () => agent.end());
    agent.once('close', () => (this.#held ? this.#held.push(() => caller.end()) : caller.end()));
    caller.on(
      'data',
      reader((message) => {
        sent.push(message);
        const passed = this.fromCaller(message, connection);
        if (passed) agent.write(framed(passed));
      }),
    );
    agent.on(
      'data',
      reader((message) => {
        const pass = (): void => {
          const passed = this.fromAgent(message, connection);
          if (passed) caller.write(framed(passed));
        };
        if (this.#held) this.#held.push(pass);
        else pass();
      }),
    );
  }
}

/** A caller's message as the agent's own socket expects it. */
export const asLocal: Change = (message) => (message.type === 'AUTH' ? { ...message, method: 'local' } : message);

function framed(message: Message): Buffer {
  const payload =
    message.type === 'DATA'
      ? encodeData(message.alias, message.stream, message.gseq, message.offset, message.bytes)
      : encode(message);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(payload.length);
  return Buffer.concat([length, payload]);
}

function reader(take: (message: Message) => void): (chunk: Buffer) => void {
  let rest: Buffer = Buffer.alloc(0);
  return (chunk) => {
    rest = Buffer.concat([rest, chunk]);
    while (rest.length >= 4 && rest.length >= 4 + rest.readUInt32BE(0)) {
      const end = 4 + rest.readUInt32BE(0);
      const frame = Buffer.from(rest.subarray(4, end));
      rest = rest.subarray(end);
      take(decode(frame));
    }
  };
}
