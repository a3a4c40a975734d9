/** The push side of a connection: one call of the handler at a time. */
import type { Connection } from './connection.js';
import type { TimeoutError } from '../errors.js';
import type { Hooks, Sink } from './sink.js';

/** How a push handler ended. A function of its own, so that none is made for each connection. */
export type Done = (connection: Connection, threw: boolean, error: unknown) => void;

/** What a handler's call may return to end the connection once everything written is sent. */
export const CLOSE = 'close';

/**
 * Gives a connection's bytes to a handler, one call at a time: while a call's promise is pending, further bytes wait
 * (and the client, once `highWaterMark` of them do). The order is always: data, then the end, then the close.
 */
export abstract class Push implements Sink {
  protected readonly connection: Connection;
  readonly #hooks: Hooks<Connection>;
  #queue: Buffer[] | undefined;
  #queued = 0;
  #busy = false;
  #inputEnded = false;
  #over = false;
  #closed = false;
  #errorTold = false;
  #done: Done | undefined;

  constructor(connection: Connection, hooks: Hooks<Connection>) {
    this.connection = connection;
    this.#hooks = hooks;
  }

  /** Whether `deliver()` keeps nothing of a chunk without copying it. */
  abstract readonly lends: boolean;

  /** Hands a chunk to the handler, or with undefined goes on with what was kept. What the handler returned. */
  protected abstract deliver(chunk: Buffer | undefined): unknown;

  /** At the client's end, before `onEnd`. Throws when the bytes ended too early. */
  protected atInputEnd(): void {}

  /** Calls `done` once: when the connection has nothing more to bring, or with what the handler threw. */
  start(done: Done): void {
    this.#done = done;
    this.connection.flowTo(this);
  }

  /** The same as a promise. */
  run(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.start((_connection, threw, error) => (threw ? reject(error) : resolve()));
    });
  }

  #settle(threw: boolean, error?: unknown): void {
    const done = this.#done;
    this.#done = undefined;
    done?.(this.connection, threw, error);
  }

  get waiting(): boolean {
    return !this.#busy && !this.#over;
  }

  /** No call of the handler is pending, and nothing waits to be given to it. */
  get idle(): boolean {
    return !this.#busy && !this.#over && this.#queued === 0;
  }

  chunk(chunk: Buffer, lent = false): void {
    if (this.#over) return;
    if (this.#busy || this.connection.paused) {
      (this.#queue ??= []).push(lent ? Buffer.from(chunk) : chunk);
      this.#queued += chunk.length;
      if (this.#queued >= this.connection.highWaterMark) this.connection.hold(true);
      return;
    }
    this.#call(chunk);
  }

  /** Calls the handler; true when it may be called again at once. */
  #call(chunk: Buffer | undefined): boolean {
    const { writer } = this.connection;
    let result: unknown;
    writer.hold();
    try {
      result = this.deliver(chunk);
    } catch (error) {
      writer.letGo();
      this.#fail(error);
      return false;
    }
    writer.letGo();
    if (result === undefined) return true;
    if (result === CLOSE) {
      this.#finish();
      return false;
    }
    if (typeof (result as PromiseLike<unknown> | null)?.then !== 'function') return true;
    this.#busy = true;
    (result as PromiseLike<unknown>).then(
      (value) => {
        this.#busy = false;
        if (this.#closed) this.#settle(false);
        else if (value === CLOSE) this.#finish();
        else this.#goOn();
      },
      (error: unknown) => {
        this.#busy = false;
        this.#fail(error);
      },
    );
    return false;
  }

  /** Delivers what waited. */
  #goOn(): void {
    if (this.#over || this.connection.paused || !this.#call(undefined)) return;
    while (this.#queue !== undefined && this.#queue.length > 0) {
      if (this.connection.paused) return;
      const chunk = this.#queue.shift()!;
      this.#queued -= chunk.length;
      if (!this.#call(chunk)) return;
    }
    if (this.#over) return;
    this.connection.hold(false);
    if (this.#inputEnded) this.#atEnd();
  }

  resumed(): void {
    if (!this.#busy) this.#goOn();
  }

  end(): void {
    this.#inputEnded = true;
    if (!this.#busy && !this.connection.paused) this.#atEnd();
  }

  #atEnd(): void {
    if (this.#over) return;
    try {
      this.atInputEnd();
    } catch (error) {
      this.broken(error as Error);
      return;
    }
    this.#last(() => this.#hooks.onEnd?.(this.connection), 'end');
  }

  timeout(_error: TimeoutError): void {
    this.connection.failure = undefined;
    this.#last(() => this.#hooks.onTimeout?.(this.connection), 'read-timeout');
  }

  /** The handler's last call for these bytes, then the close. */
  #last(call: () => unknown, reason: 'end' | 'read-timeout'): void {
    this.connection.reason ??= reason;
    const { writer } = this.connection;
    let result: unknown;
    writer.hold();
    try {
      result = call();
    } catch (error) {
      writer.letGo();
      this.#fail(error);
      return;
    }
    writer.letGo();
    if (typeof (result as PromiseLike<unknown> | null | undefined)?.then !== 'function') {
      this.#finish();
      return;
    }
    this.#busy = true;
    (result as PromiseLike<unknown>).then(
      () => {
        this.#busy = false;
        if (this.#closed) this.#settle(false);
        else this.#finish();
      },
      (error: unknown) => {
        this.#busy = false;
        this.#fail(error);
      },
    );
  }

  #finish(): void {
    if (this.#over) return;
    this.#over = true;
    this.#queue = undefined;
    this.connection.beginClose('server');
  }

  #fail(error: unknown): void {
    this.#over = true;
    this.#queue = undefined;
    this.#settle(true, error);
  }

  /** The client's bytes are no messages: the handler may say so, then the connection is closed. */
  broken(error: Error): void {
    if (this.#over) return;
    const connection = this.connection;
    connection.failure ??= error;
    connection.reason ??= 'framing';
    this.#tellError(error);
    this.#finish();
  }

  #tellError(error: Error): void {
    if (this.#errorTold) return;
    this.#errorTold = true;
    try {
      this.#hooks.onError?.(error, this.connection);
    } catch (failure) {
      this.#settle(true, failure);
    }
  }

  closed(error: Error | undefined): void {
    this.#over = this.#closed = true;
    if (error !== undefined && this.connection.reason !== 'reset') this.#tellError(error);
    if (!this.#busy) this.#settle(false);
  }
}
