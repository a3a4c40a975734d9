/** The console as its users have it: the real program, real agents, and a page made of a WebSocket. */
import { once } from 'node:events';
import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { WebSocket, type ClientOptions } from 'ws';
import { until, within } from '../../../../test/support/waits.js';
import {
  FEED_PATH,
  keyName,
  newNonce,
  proofOf,
  readEvent,
  readFrame,
  readOpened,
  readServerMessage,
  readValue,
  requestText,
  subscribeText,
  type Asked,
  type EventOf,
  type Kind,
  type Opened,
  type Operation,
  type ServerMessage,
  type Subscribed,
  type Value,
  type Welcome,
} from '../../src/console/messages.js';
import type { User } from '../cli/support.js';

/** `sendall console` of a user. */
export class RunningConsole implements AsyncDisposable {
  readonly process: ChildProcess;
  readonly origin: string;
  readonly token: string;

  private constructor(process: ChildProcess, url: string, token: string) {
    this.process = process;
    this.origin = new URL(url).origin;
    this.token = token;
  }

  static async start(user: User, words: readonly string[] = [], env?: NodeJS.ProcessEnv): Promise<RunningConsole> {
    const listen = words.includes('--listen') ? [] : ['--listen', '127.0.0.1:0'];
    const child = user.start(['console', ...listen, '--json', ...words], env);
    child.stderr!.on('data', (text: Buffer) => process.stderr.write(text));
    const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
    const first = await within(lines.next(), 'the console to listen');
    const { event, url, token } = JSON.parse(String(first.value)) as Record<string, string>;
    if (event !== 'listening' || url === undefined || token === undefined) throw new Error(String(first.value));
    return new RunningConsole(child, url, token);
  }

  get authority(): string {
    return new URL(this.origin).host;
  }

  /** A socket that has said nothing. */
  socket(options: ClientOptions = {}): WebSocket {
    const socket = new WebSocket(`ws://${this.authority}${FEED_PATH}`, { origin: this.origin, ...options });
    socket.on('error', () => undefined);
    return socket;
  }

  /** A page with the token, or another one. */
  async page(token = this.token): Promise<TestPage> {
    return await TestPage.open(this.socket(), token);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return;
    this.process.kill('SIGTERM');
    await within(once(this.process, 'exit'), 'the console to end');
  }
}

/** Why a request was refused. */
export class Refused extends Error {
  readonly code: string;
  constructor({ code, message }: { code: string; message: string }) {
    super(message);
    this.code = code;
  }
}

/** Rejects once the socket is closed. The keys take their time, and it may be closed at any moment of that. */
function unlessClosed(socket: WebSocket): Promise<never> {
  const over = new Promise<never>((_, reject) => {
    socket.once('close', (code: number, reason: Buffer) =>
      reject(new Refused({ code: String(code), message: reason.toString() })),
    );
  });
  over.catch(() => undefined);
  return over;
}

/** Shows the console that it has the key, up to the last message before the welcome. @throws Refused */
export async function greet(socket: WebSocket, key: string, proofs: { of?: string } = {}): Promise<void> {
  const nonce = newNonce();
  const over = unlessClosed(socket);
  const answer = new Promise<string>((resolve) => socket.once('message', (data: Buffer) => resolve(data.toString())));
  socket.send(JSON.stringify({ hello: { key: await keyName(key), nonce } }));
  const read = readServerMessage(await within(Promise.race([answer, over]), 'the challenge'));
  if (!('message' in read) || read.message.type !== 'challenge') throw new Error('no challenge');
  const nonces = { page: nonce, console: read.message.nonce };
  if (read.message.proof !== (await proofOf(key, 'console', nonces))) throw new Error('no proof');
  socket.send(JSON.stringify({ proof: await proofOf(proofs.of ?? key, 'page', nonces) }));
}

/** A page: asks, subscribes, and checks each message against the schema as the real one does. */
export class TestPage implements Disposable {
  readonly socket: WebSocket;
  welcome!: Welcome;
  #last = 0;
  readonly #waiting = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>();
  readonly #subscriptions = new Map<number, Watched<Kind>>();
  /** Errors that answer no request. */
  readonly stray: string[] = [];

  private constructor(socket: WebSocket) {
    this.socket = socket;
  }

  /** @param key the token, or a code */
  static async open(socket: WebSocket, key: string): Promise<TestPage> {
    const page = new TestPage(socket);
    const over = unlessClosed(socket);
    await within(once(socket, 'open'), 'the socket to open');
    await greet(socket, key);
    const welcomed = new Promise<void>((resolve) => {
      socket.on('message', (data: Buffer, isBinary: boolean) => {
        if (isBinary) page.#frame(data);
        else page.#message(data.toString(), resolve);
      });
    });
    await within(Promise.race([welcomed, over]), 'the welcome');
    return page;
  }

  async ask<O extends Operation>(op: O, asked: Asked<O>): Promise<Value<O>> {
    const id = ++this.#last;
    const answer = this.#answer(id);
    this.socket.send(requestText(id, op, asked));
    return readValue(op, await within(answer, `the answer to ${op}`));
  }

  /** Subscribes; `credit` is given again for each byte that comes, unless `holds`. */
  async subscribe<K extends Kind>(kind: K, asked: Subscribed<K>, holds = false): Promise<Watched<K>> {
    const id = ++this.#last;
    const watched = new Watched<K>(this, id, kind, holds);
    this.#subscriptions.set(id, watched as unknown as Watched<Kind>);
    const answer = this.#answer(id);
    this.socket.send(subscribeText(id, kind, asked));
    watched.opened = readOpened(kind, await within(answer, `the answer to ${kind}`));
    return watched;
  }

  /** Sends any text. */
  send(text: string): void {
    this.socket.send(text);
  }

  [Symbol.dispose](): void {
    this.socket.terminate();
  }

  async #answer(id: number): Promise<unknown> {
    return await new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
  }

  #message(json: string, welcomed: () => void): void {
    const read = readServerMessage(json);
    if ('problem' in read) throw new Error(`${read.problem}: ${json.slice(0, 500)}`);
    const { message } = read;
    if (message.type === 'welcome') {
      this.welcome = message.welcome;
      welcomed();
    } else if (message.type === 'value' || message.type === 'error') this.#settle(message);
    else if (message.type === 'challenge') throw new Error('a second challenge');
    else if (message.type === 'event') this.#subscriptions.get(message.sub)?.take(message.event);
    else this.#subscriptions.get(message.sub)?.end(message.error);
  }

  #settle(message: Extract<ServerMessage, { type: 'value' | 'error' }>): void {
    const waiting = this.#waiting.get(message.id);
    this.#waiting.delete(message.id);
    if (message.type === 'value') waiting?.resolve(message.value);
    else if (waiting) waiting.reject(new Refused(message.error));
    else this.stray.push(message.error.message);
  }

  #frame(data: Buffer): void {
    const frame = readFrame(data);
    if (!frame) throw new Error('no frame');
    this.#subscriptions.get(frame.sub)?.bytes(frame.stream, frame.offset, Buffer.from(frame.bytes), frame.timeMs);
  }
}

/** A subscription, with all that has come. */
export class Watched<K extends Kind> {
  readonly id: number;
  opened!: Opened<K>;
  readonly events: EventOf<K>[] = [];
  /** Pieces by stream; they are checked to follow each other. */
  readonly output = { stdout: [] as Buffer[], stderr: [] as Buffer[], terminal: [] as Buffer[] };
  readonly times: (number | undefined)[] = [];
  /** Offsets behind the last piece. */
  readonly next: Record<string, number> = {};
  closed: { readonly error: { code: string; message: string } | undefined } | undefined;
  received = 0;
  /** Keeps the bytes; otherwise only counts them. */
  keeps = true;
  readonly #page: TestPage;
  readonly #kind: K;
  readonly #holds: boolean;

  constructor(page: TestPage, id: number, kind: K, holds: boolean) {
    this.#page = page;
    this.id = id;
    this.#kind = kind;
    this.#holds = holds;
  }

  take(event: unknown): void {
    const read = readEvent(this.#kind, event);
    this.events.push(read);
    // The next byte lies behind it.
    const gap = read as { event: string; stream?: string; to?: number };
    if (gap.event === 'gap') this.next[gap.stream!] = gap.to!;
  }

  bytes(stream: 'stdout' | 'stderr' | 'terminal', offset: number, bytes: Buffer, timeMs: number | undefined): void {
    const expected = this.next[stream];
    if (expected !== undefined && expected !== offset) throw new Error(`${stream}: ${offset} came, not ${expected}`);
    this.next[stream] = offset + bytes.length;
    if (this.keeps) this.output[stream].push(bytes);
    this.times.push(timeMs);
    this.received += bytes.length;
    if (!this.#holds) this.credit(bytes.length);
  }

  credit(bytes: number): void {
    this.#page.send(JSON.stringify({ credit: { sub: this.id, bytes } }));
  }

  end(error: { code: string; message: string } | undefined): void {
    this.closed = { error };
  }

  unsubscribe(): void {
    this.#page.send(JSON.stringify({ unsubscribe: this.id }));
  }

  text(stream: 'stdout' | 'stderr' | 'terminal' = 'stdout'): string {
    return Buffer.concat(this.output[stream]).toString();
  }

  /** The first event that fits, once it has come. */
  async event<E extends EventOf<K>>(fits: (event: EventOf<K>) => event is E): Promise<E>;
  async event(fits: (event: EventOf<K>) => boolean): Promise<EventOf<K>>;
  async event(fits: (event: EventOf<K>) => boolean): Promise<EventOf<K>> {
    return (await until(
      () => {
        const found = this.events.find(fits);
        if (!found && this.closed)
          throw new Error(`closed: ${JSON.stringify(this.closed)} ${JSON.stringify(this.events)}`);
        return found;
      },
      () => `an event of ${this.#kind}; so far ${JSON.stringify(this.events).slice(0, 1000)}`,
    ))!;
  }

  /** Everything has come. */
  async over(): Promise<void> {
    await until(
      () => this.closed,
      () => `the end of ${this.#kind}; so far ${JSON.stringify(this.events).slice(0, 1000)}`,
    );
  }
}
