/**
 * One page: its socket, its requests and its subscriptions. What it gets waits until it reads: above a limit of bytes
 * nothing more is made for it, so a page that does not read slows no one else and costs little memory.
 */
import type { WebSocket } from 'ws';
import { SendallError } from '../errors.js';
import type { Grant } from './access.js';
import type { Context } from './context.js';
import { Turns } from '../turns.js';
import { failureOf, readOnly, watchOnly } from './failures.js';
import { passedOn } from './garbage.js';
import { OPERATIONS, readPageMessage, type PageMessage, type Welcome } from './messages.js';
import type { Asker } from './operations/answer.js';
import { answers, readsOneRun } from './operations/operations.js';
import { feeds } from './subscriptions/subscriptions.js';
import { Subscription, type Opened, type Outlet } from './subscription.js';

type Named<T extends PageMessage['type']> = Extract<PageMessage, { type: T }>;

export class Page implements Outlet, Asker {
  readonly #socket: WebSocket;
  readonly #context: Context;
  readonly #grant: Grant;
  readonly #subscriptions = new Map<number, Subscription>();
  /** Attachments to runs among them, by number. */
  readonly #attached = new Set<number>();
  /** Attachments that have not ended, also those that the page has left: the places of a run on its host are for all. */
  readonly #turns: Turns;
  #requests = 0;
  /** Subscriptions whose feeds have not ended, also those that the page has left. */
  #unfinished = 0;
  /** Refusals that wait until the page reads. */
  #refusals = 0;
  readonly #over = new AbortController();
  /** Wakes those who wait for room. */
  readonly #waiting: (() => void)[] = [];

  constructor(socket: WebSocket, context: Context, grant: Grant) {
    this.#socket = socket;
    this.#context = context;
    this.#grant = grant;
    this.#turns = new Turns(this.#mostAttached);
  }

  get #mostAttached(): number {
    const { attachments, watchAttachments } = this.#context.limits;
    return this.onlyWatches ? watchAttachments : attachments;
  }

  /** Aborts when its socket has gone. */
  get signal(): AbortSignal {
    return this.#over.signal;
  }

  /** It came by an address for watching. */
  get onlyWatches(): boolean {
    return this.#grant.only !== undefined;
  }

  get #closed(): boolean {
    return this.#over.signal.aborted;
  }

  /** Its socket has gone. */
  end(): void {
    this.#over.abort();
    for (const subscription of this.#subscriptions.values()) subscription.end();
    this.#subscriptions.clear();
    this.#wake();
  }

  welcome(welcome: Welcome): void {
    void this.text({ welcome });
  }

  message(json: string): void {
    const read = readPageMessage(json);
    if ('problem' in read) {
      void this.#refuse(read.id, new SendallError('USAGE', read.problem));
      return;
    }
    const { message } = read;
    switch (message.type) {
      case 'request':
        void this.#request(message);
        break;
      case 'subscribe':
        void this.#subscribe(message);
        break;
      case 'unsubscribe':
        this.#subscriptions.get(message.sub)?.end();
        this.#forget(message.sub);
        break;
      case 'credit':
        this.#subscriptions.get(message.sub)?.allow(message.bytes);
        break;
      case 'hello':
      case 'proof':
        void this.#refuse(0, new SendallError('USAGE', 'this page has said hello already'));
    }
  }

  async text(message: object): Promise<void> {
    await this.#roomy();
    if (!this.#closed) this.#socket.send(JSON.stringify(message), this.#sent);
  }

  async frame(header: Uint8Array, bytes: Uint8Array): Promise<void> {
    await this.#roomy();
    if (this.#closed) return;
    // Two fragments of one message: nothing is copied.
    this.#socket.send(header, { binary: true, fin: false });
    this.#socket.send(bytes, { binary: true, fin: true }, this.#sent);
    passedOn(bytes.length);
  }

  async place(): Promise<() => void> {
    return await this.#turns.take();
  }

  async #request(request: Named<'request'>): Promise<void> {
    const { id, op, asked } = request;
    if (this.#requests >= this.#context.limits.requests) {
      await this.#refuse(id, new SendallError('LIMIT', `${this.#requests} requests are open already (requests)`));
      return;
    }
    this.#requests += 1;
    try {
      // A page that does not read its answers gets no new ones made.
      await this.#roomy();
      if (this.#closed) return;
      const { only } = this.#grant;
      if (only && !readsOneRun(op, asked, only)) throw watchOnly();
      if (this.#context.readOnly && 'changes' in OPERATIONS[op]) throw readOnly();
      const answer = answers[op] as (asked: unknown, context: Context, asker: Asker) => Promise<object>;
      await this.text({ id, value: await answer(asked, this.#context, this) });
    } catch (error) {
      await this.#refuse(id, error);
    } finally {
      this.#requests -= 1;
    }
  }

  async #subscribe({ id, kind, asked }: Named<'subscribe'>): Promise<void> {
    const { limits, readOnly: onlyReads } = this.#context;
    const attaches = kind === 'output' || kind === 'terminal';
    const subscription = new Subscription(id, this, limits.creditBytes, (sub) => this.#forget(sub));
    this.#unfinished += 1;
    try {
      // A page that leaves what it has just begun, again and again.
      if (this.#unfinished > limits.unfinished)
        throw new SendallError('LIMIT', `${limits.unfinished} subscriptions have not ended yet (unfinished)`);
      if (this.#subscriptions.has(id)) throw new SendallError('USAGE', `there is a subscription ${id} already`);
      if (this.#subscriptions.size >= limits.subscriptions)
        throw new SendallError('LIMIT', `${limits.subscriptions} subscriptions are open already (subscriptions)`);
      if (attaches && this.#attached.size >= this.#mostAttached) {
        const name = this.onlyWatches ? 'watchAttachments' : 'attachments';
        throw new SendallError('LIMIT', `${this.#mostAttached} runs are watched already (${name})`);
      }
      const { only } = this.#grant;
      if (only && !(attaches && asked.host === only.host && asked.runId === only.runId && asked.mode !== 'control'))
        throw watchOnly();
      if (onlyReads && attaches && asked.mode === 'control') throw readOnly();
      this.#subscriptions.set(id, subscription);
      if (attaches) {
        this.#attached.add(id);
        subscription.allow(asked.credit ?? 0);
      }
      const feed = feeds[kind] as (asked: unknown, sub: Subscription, context: Context) => Promise<Opened>;
      const { value, begin } = await feed(asked, subscription, this.#context);
      await this.text({ id, value });
      await begin().then(
        async () => await subscription.close(),
        async (error: unknown) => await subscription.close(error),
      );
    } catch (error) {
      // Another one with this number stays.
      if (this.#subscriptions.get(id) === subscription) {
        subscription.end();
        this.#forget(id);
      }
      await this.#refuse(id, error);
    } finally {
      this.#unfinished -= 1;
    }
  }

  /** The subscription with this number. */
  subscription(sub: number): Subscription | undefined {
    // A watching page holds no subscription in control, and may ask for no operation that needs one.
    return this.#subscriptions.get(sub);
  }

  #forget(sub: number): void {
    this.#subscriptions.delete(sub);
    this.#attached.delete(sub);
  }

  async #refuse(id: number, error: unknown): Promise<void> {
    // It sends without reading.
    if (this.#refusals >= this.#context.limits.requests) return this.#socket.terminate();
    this.#refusals += 1;
    await this.text({ id, error: failureOf(error) });
    this.#refusals -= 1;
  }

  /** Resolves when what waits for the page is little, or the page has gone. */
  async #roomy(): Promise<void> {
    while (!this.#closed && this.#socket.bufferedAmount > this.#context.limits.waitingBytes)
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  readonly #sent = (): void => {
    if (this.#waiting.length && this.#socket.bufferedAmount <= this.#context.limits.waitingBytes) this.#wake();
  };

  #wake(): void {
    for (const wake of this.#waiting.splice(0)) wake();
  }
}
