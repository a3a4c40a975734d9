/** The tests' agent: has a keeper of its own in a temp folder, and keeps all its messages. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import {
  ensureKeeper,
  spoolFolder,
  SpoolReader,
  type KeeperLink,
  type KeeperOptions,
} from '../../dist/keeper/door/door.js';
import { resolveHome, type Home } from '../../dist/home.js';
import { encodeSpec } from '../../dist/protocol/codec.js';
import type { Control, Exit, Message, MessageNamed, RunInfo, Spec } from '../../dist/protocol/messages.js';
import { newRunId } from '../../dist/protocol/run-id.js';
import { patience, within } from '../../../../test/support/waits.js';

export const bytes = (text: string): Buffer => Buffer.from(text);
export const PRINCIPAL = 'tester';

/** A message with DATA's bytes copied: they are valid inside the call only. */
type Kept = Message;

/** One attachment as the tests see it. */
export class Attached {
  readonly alias: number;
  readonly runId: Uint8Array;
  readonly messages: Kept[] = [];
  readonly #keeper: KeeperClient;
  readonly #folder: string;
  #wake: (() => void)[] = [];

  constructor(keeper: KeeperClient, alias: number, runId: Uint8Array) {
    this.#keeper = keeper;
    this.alias = alias;
    this.runId = runId;
    this.#folder = spoolFolder(keeper.home, PRINCIPAL, runId);
  }

  take(message: Message): void {
    this.messages.push(message.type === 'DATA' ? { ...message, bytes: Buffer.from(message.bytes) } : message);
    for (const wake of this.#wake.splice(0)) wake();
  }

  get types(): string[] {
    return this.messages.map((message) => message.type);
  }

  find<T extends Message['type']>(type: T, accept: (message: MessageNamed<T>) => boolean = () => true) {
    return this.messages.find(
      (message): message is MessageNamed<T> => message.type === type && accept(message as MessageNamed<T>),
    );
  }

  /** Waits for a message, including earlier ones. */
  async wait<T extends Message['type']>(
    type: T,
    accept?: (message: MessageNamed<T>) => boolean,
  ): Promise<MessageNamed<T>> {
    for (;;) {
      const found = this.find(type, accept);
      if (found) return found;
      await new Promise<void>((resolve) => this.#wake.push(resolve));
    }
  }

  /** Waits until a stream has reached `next`. */
  async reaches(stream: number, next: number): Promise<void> {
    while (this.next(stream) < next) await new Promise<void>((resolve) => this.#wake.push(resolve));
  }

  next(stream: number): number {
    let next = 0;
    for (const message of this.messages) {
      if (message.type === 'DATA' && message.stream === stream)
        next = Math.max(next, message.offset + message.bytes.length);
      else if (message.type === 'SPOOLED' && message.stream === stream) next = Math.max(next, message.next);
    }
    return next;
  }

  /** As EXIT tells it, or ATTACHED to one who comes after the end. */
  get exit(): Promise<Exit> {
    return this.#untilExit();
  }

  async #untilExit(): Promise<Exit> {
    for (;;) {
      const exit = this.find('EXIT') ?? this.find('ATTACHED')?.exit;
      if (exit) return exit;
      await new Promise<void>((resolve) => this.#wake.push(resolve));
    }
  }

  send(message: { type: Control['type'] } & Record<string, unknown>): void {
    this.#keeper.link.send({ ...message, alias: this.alias } as unknown as Control);
  }

  /** Performs an operation and waits for its answer. */
  async operate(message: { type: 'SIGNAL' | 'CANCEL' | 'RESIZE' } & Record<string, unknown>) {
    const opId = this.#keeper.nextOp++;
    this.send({ ...message, opId });
    return await this.wait('OP_OK', (answer) => answer.opId === opId);
  }

  input(offset: number, piece: Uint8Array): void {
    this.#keeper.link.sendData(this.alias, 0, 0, offset, piece);
  }

  /** Bytes of a stream, from the spool. */
  async read(stream: number, from: number, to: number): Promise<Buffer> {
    const reader = new SpoolReader(this.#folder, stream);
    const pieces: Buffer[] = [];
    for (let at = from; at < to;) {
      const piece = await reader.read(at, Math.min(to - at, 256 * 1024));
      if (piece.length === 0) throw new Error(`stream ${stream} ends at ${at}, not at ${to}`);
      pieces.push(piece);
      at += piece.length;
    }
    await reader.close();
    return Buffer.concat(pieces);
  }

  /** A stream up to its offset in EXIT, checked against EXIT's sum and the bytes received. */
  async output(stream: number): Promise<Buffer> {
    const exit = await this.exit;
    const upto = exit.upto.find((each) => each.stream === stream);
    if (!upto) throw new Error(`EXIT says nothing of stream ${stream}`);
    const whole = await this.read(stream, 0, upto.offset);
    if (crc32(whole) !== upto.crc32) throw new Error(`the checksum of stream ${stream} differs`);
    for (const message of this.messages) {
      if (message.type !== 'DATA' || message.stream !== stream) continue;
      const stored = whole.subarray(message.offset, message.offset + message.bytes.length);
      if (message.offset < upto.offset && !stored.equals(message.bytes.subarray(0, stored.length)))
        throw new Error(`stream ${stream} came otherwise than it was stored at ${message.offset}`);
    }
    return whole;
  }

  async text(stream = 1): Promise<string> {
    return (await this.output(stream)).toString();
  }
}

export class KeeperClient implements AsyncDisposable {
  readonly home: Home;
  link!: KeeperLink;
  nextOp = 1;
  #nextAlias = 1;
  readonly #attached = new Map<number, Attached>();
  readonly #owns: boolean;

  private constructor(home: Home, owns: boolean) {
    this.home = home;
    this.#owns = owns;
  }

  /** A keeper in a folder of its own, ended with its commands when the client is disposed. */
  static async start(options: KeeperOptions = {}, folder?: string): Promise<KeeperClient> {
    const owns = folder === undefined;
    const home = resolveHome({ SENDALL_HOME: folder ?? mkdtempSync(join(tmpdir(), 'keeper-')) });
    const client = new KeeperClient(home, owns);
    await client.connect(options);
    return client;
  }

  /** Connects, again if needed. */
  async connect(options: KeeperOptions = {}): Promise<void> {
    this.#attached.clear();
    this.link = await ensureKeeper(this.home, {
      timeoutMs: patience(60_000),
      ...options,
      onMessage: (message) => this.#attached.get(message.alias)?.take(message),
    });
  }

  /** Kills the keeper, like a crash, and connects to its successor. */
  async crash(options: KeeperOptions = {}): Promise<void> {
    process.kill(this.link.pid, 'SIGKILL');
    await this.link.closed;
    await this.connect(options);
  }

  open(spec: Partial<Spec>, more: Partial<MessageNamed<'OPEN'>> = {}): Attached {
    const alias = this.#nextAlias++;
    const runId = more.runId ?? newRunId();
    const attached = new Attached(this, alias, runId);
    this.#attached.set(alias, attached);
    this.link.send({
      type: 'OPEN',
      alias,
      runId,
      spec: encodeSpec({ verb: 'exec', argv: [], env: [], tags: [], secrets: [], stdin: false, ...spec }),
      notAfterMs: Date.now() + 60_000,
      attach: [],
      secrets: [],
      principal: PRINCIPAL,
      ...more,
    });
    return attached;
  }

  exec(...argv: (string | Uint8Array)[]): Attached {
    return this.open({ argv: argv.map((word) => Buffer.from(word)) });
  }

  sh(script: string, spec: Partial<Spec> = {}, more: Partial<MessageNamed<'OPEN'>> = {}): Attached {
    return this.open({ verb: 'sh', script: bytes(script), ...spec }, more);
  }

  attach(runId: Uint8Array, mode: 'observe' | 'control' = 'observe', more: object = {}): Attached {
    const alias = this.#nextAlias++;
    const attached = new Attached(this, alias, runId);
    this.#attached.set(alias, attached);
    this.link.send({ type: 'ATTACH', alias, runId, principal: PRINCIPAL, from: [], mode, ...more });
    return attached;
  }

  /** Asks the keeper about itself, or about a run, without attaching. */
  async ask(message: { type: Control['type'] } & Record<string, unknown>): Promise<Attached> {
    const alias = this.#nextAlias++;
    const answers = new Attached(this, alias, new Uint8Array(16));
    this.#attached.set(alias, answers);
    answers.send({ opId: this.nextOp++, ...message });
    return answers;
  }

  async status(): Promise<Record<string, number | string | boolean>> {
    const answer = await (await this.ask({ type: 'ASK', what: 'status' })).wait('ANSWER');
    return JSON.parse(answer.body ?? '{}') as Record<string, number | string | boolean>;
  }

  async list(all = true): Promise<RunInfo[]> {
    const answers = await this.ask({ type: 'LIST', all, principal: PRINCIPAL });
    await answers.wait('RUNS', ({ last }) => last);
    return answers.messages.flatMap((message) => (message.type === 'RUNS' ? message.runs : []));
  }

  async forget(runId: Uint8Array): Promise<string> {
    const answers = await this.ask({ type: 'FORGET', runId, principal: PRINCIPAL });
    return (await answers.wait('OP_OK')).result;
  }

  /** Ends the keeper and all its commands. */
  async end(): Promise<void> {
    await this.ask({ type: 'ASK', what: 'end-runs' });
    await this.ask({ type: 'ASK', what: 'drain' });
    try {
      await within(this.link.closed, 'the end of the keeper', 10_000);
    } catch (error) {
      process.kill(this.link.pid, 'SIGKILL');
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end();
    if (this.#owns) rmSync(this.home.state, { recursive: true, force: true });
  }
}
