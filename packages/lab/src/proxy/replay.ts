/** Sends a record's bytes to a server again, cut and timed as they were. */
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Socket } from 'node:net';
import type { Address } from '../address.js';
import { reach } from '../wire/reach.js';
import type { ProxyEvent } from './proxy.js';
import { reads } from '../wire/reads.js';

/** Milliseconds of silence after the last recorded byte after which a client without a recorded end counts as ended. */
const LAST_ANSWERS_MS = 2000;
/** Bytes that may wait for a slow server before the record waits too. */
const MOST_WAITING = 8 << 20;

export interface ReplayOptions {
  /** 2 is twice as fast as recorded. @default 1 */
  readonly speed?: number;
  /** Milliseconds without a byte to or from the server, or its end, before giving up. @default 10000 */
  readonly patienceMs?: number;
  readonly onEvent: (event: ProxyEvent, atMs: number) => void;
}

/**
 * Sends a record's client bytes to a server again, cut and timed as recorded. The server's new answers are reported
 * beside it. Each connection continues until the server has taken everything and ended.
 *
 * Bytes that a capture lacks are not sent, nor any behind them: a server would take them for others.
 *
 * @returns a sentence for each connection that did not deliver everything or whose end was not seen
 * @throws Error when the server cannot be reached
 */
export async function replayTo(
  address: Address,
  events: AsyncIterable<{ readonly event: ProxyEvent; readonly atMs: number }>,
  { speed = 1, patienceMs = 10_000, onEvent }: ReplayOptions,
): Promise<string[]> {
  const begun = performance.now();
  const now = () => performance.now() - begun;
  const flows = new Map<number, Flow>();
  const datagrams = new Set<number>();
  try {
    for await (const { event, atMs } of events) {
      if (!('connection' in event)) continue;
      if (event.type !== 'open' && !('direction' in event && event.direction === 'up')) continue;
      if (event.type === 'open' && event.protocol === 'udp') {
        datagrams.add(event.connection);
        continue;
      }
      if (datagrams.has(event.connection)) continue;
      if (event.type === 'wire') {
        if (event.what === 'gap') flows.get(event.connection)?.lack(event.offset, event.length);
        continue;
      }
      const wait = atMs / speed - now();
      if (wait > 0) await sleep(wait);
      const { connection } = event;
      if (event.type === 'open') {
        const socket = await reach(address);
        flows.get(connection)?.destroy();
        onEvent(event, now());
        flows.set(connection, new Flow(connection, socket, (told) => onEvent(told, now())));
        if (event.midway) flows.get(connection)!.lack(0);
        continue;
      }
      const flow = flows.get(connection);
      if (flow === undefined) throw new Error(`the record has bytes of connection ${connection} before it opened`);
      if (event.type === 'read') await flow.send(event.bytes, patienceMs);
      else flow.end();
      onEvent(event, now());
    }
    const troubles = await Promise.all([...flows.values()].map((flow) => flow.finish(patienceMs)));
    const udp = datagrams.size === 0 ? undefined : `${datagrams.size} flows of datagrams were not sent: only TCP is`;
    return [...troubles, udp].filter((trouble) => trouble !== undefined);
  } finally {
    for (const flow of flows.values()) flow.destroy();
  }
}

/** One connection that is played again. */
class Flow {
  readonly #connection: number;
  readonly #socket: Socket;
  /** Bytes to send, and those the kernel has taken, which it does as the server makes room. */
  #sent = 0;
  #taken = 0;
  #back = 0;
  #ended = false;
  #heardEnd = false;
  #failure: string | undefined;
  /** Why nothing more is sent. */
  #lacking: string | undefined;
  #lastMoved = performance.now();
  #moved = () => {};
  readonly #listening: Promise<void>;

  constructor(connection: number, socket: Socket, onEvent: (event: ProxyEvent) => void) {
    this.#connection = connection;
    this.#socket = socket;
    socket.on('error', (error: NodeJS.ErrnoException) => this.#fail(error.code ?? error.message));
    socket.on('drain', () => this.#move());
    this.#listening = this.#listen(onEvent);
  }

  /** Writes one recorded read; waits while too many written bytes wait for the server. */
  async send(bytes: Buffer, patienceMs: number): Promise<void> {
    if (this.#lacking !== undefined) return;
    this.#sent += bytes.length;
    if (this.#failure !== undefined || this.#socket.destroyed) return;
    if (this.#socket.writableLength === 0) this.#lastMoved = performance.now();
    this.#socket.write(bytes, (error) => {
      if (error) return;
      this.#taken += bytes.length;
      this.#move();
    });
    await this.#until(() => this.#socket.writableLength < MOST_WAITING, patienceMs);
  }

  /** The client sent bytes that are not known: nothing behind them is sent. */
  lack(offset: number, length?: number): void {
    const what = length === undefined ? 'its beginning is' : `bytes ${offset} to ${offset + length} of the client are`;
    this.#lacking ??= `${what} not in the capture`;
  }

  end(): void {
    this.#ended = true;
    if (!this.#socket.destroyed) this.#socket.end();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  /** Waits until the server has everything and ends; otherwise returns what went wrong. */
  async finish(patienceMs: number): Promise<string | undefined> {
    this.#lastMoved = performance.now();
    const all = await this.#until(() => this.#taken === this.#sent, patienceMs);
    if (all && !this.#ended && !this.#heardEnd) {
      await this.#until(() => this.#heardEnd, LAST_ANSWERS_MS);
      this.end();
    }
    if (!(await this.#until(() => this.#heardEnd, patienceMs))) {
      const what = this.#taken < this.#sent ? 'took nothing more' : 'did not end';
      this.#failure ??= `the server ${what} for ${patienceMs / 1000} s`;
    }
    this.#socket.destroy();
    await this.#listening;
    const why = this.#lacking ?? this.#failure ?? (this.#taken < this.#sent ? 'the server ended before' : undefined);
    if (why === undefined) return undefined;
    return `connection ${this.#connection}: ${this.#taken} of ${this.#sent} bytes were taken: ${why}`;
  }

  /** Waits for a condition. False when nothing moved for `ms`, or the connection broke. */
  async #until(reached: () => boolean, ms: number): Promise<boolean> {
    for (;;) {
      if (reached()) return true;
      const left = this.#lastMoved + ms - performance.now();
      if (left <= 0 || this.#failure !== undefined || this.#socket.destroyed) return false;
      let timer: NodeJS.Timeout | undefined;
      await new Promise<void>((resolve) => {
        this.#moved = resolve;
        // What came in time is read first, even if this process stood still meanwhile.
        timer = setTimeout(() => setImmediate(resolve), left);
      });
      clearTimeout(timer);
    }
  }

  async #listen(onEvent: (event: ProxyEvent) => void): Promise<void> {
    const connection = this.#connection;
    try {
      for await (const bytes of reads(this.#socket)) {
        this.#back += bytes.length;
        this.#move();
        onEvent({ type: 'read', connection, direction: 'down', bytes });
      }
      this.#heardEnd = !this.#socket.destroyed || this.#socket.readableEnded;
    } catch (error) {
      this.#fail((error as NodeJS.ErrnoException).code ?? String(error));
    }
    this.#move();
    if (!this.#socket.closed) await once(this.#socket, 'close').catch(() => {});
    const error = this.#failure;
    onEvent({ type: 'close', connection, up: this.#taken, down: this.#back, ...(error !== undefined && { error }) });
  }

  #fail(why: string): void {
    this.#failure ??= why;
    this.#move();
  }

  #move(): void {
    this.#lastMoved = performance.now();
    this.#moved();
  }
}
