/**
 * A byte stream made of a broker's messages. Each message has the next number of its direction, so one that is lost,
 * repeated or moved ends the stream with an error; TLS inside notices changed bytes. The receiver grants windows, since
 * a broker has no flow control of its own.
 *
 * Beats tell the other side our last number after a short silence, so that a lost last message is noticed too.
 */
import { Duplex } from 'node:stream';
import { ProtocolError, SendallError, UnreachableError } from '../../errors.js';
import { printable } from '../../text/printable.js';
import type { Broker } from './broker.js';
import {
  HEADER,
  MAX_MESSAGE,
  OVERHEAD,
  readMessage,
  writeHeader,
  type CarrierMessage,
  type Kind,
} from './carrier-message.js';
import { RESERVED } from './window-pool.js';

/** Milliseconds of silence before the first beat, the next, and so on. */
const BEATS = [250, 1000, 4000, 15_000] as const;
/** The beat with which a link counts as idle. */
const IDLE = 2;
/** Milliseconds until a message must be known to have arrived. */
const UNANSWERED = 15_000;
/** Milliseconds without any message from the other side. */
const SILENCE = 45_000;
/** Milliseconds that a timer may be late before this process counts as stopped meanwhile. */
const STOPPED = 2000;
/** The largest window of a link. */
const MAX_WINDOW = 4 * 1024 * 1024;
/** A piece this small waits for more room, unless it is all there is. */
const SMALL = 4 * 1024;
/** Beats in a row without a receiver after which the other side is gone. */
const NO_RECEIVER = 2;
/** Milliseconds after a loss of the broker in which the other side may still be on its way back. */
const PATIENCE = 20_000;
const LONGEST_REASON = 200;

const now = (): number => performance.now();

export interface CarrierOptions {
  readonly broker: Broker;
  /** The subject of our direction. */
  readonly out: string;
  /** The link's name; it names the place in our inbox too. */
  readonly link: string;
  /** Completes "… is not connected to the broker any more". */
  readonly peer: string;
}

export class Carrier extends Duplex {
  readonly #broker: Broker;
  readonly #out: string;
  readonly #reply: string;
  readonly #peer: string;
  // -- our direction
  #sent = 0;
  #acknowledged = 0;
  /** Bytes sent, and bytes that may be sent. */
  #spent = 0;
  #limit = RESERVED;
  /** The limit that we have given back. A message with it was on its way meanwhile. */
  #returned: number | undefined;
  #waiting: Buffer[] = [];
  #waitingBytes = 0;
  #written: ((error?: Error | null) => void) | undefined;
  // -- the other direction
  #arrived = 0;
  #received = 0;
  #consumed = 0;
  #granted = RESERVED;
  #window = RESERVED;
  readonly #unread: Buffer[] = [];
  #wanted = false;
  // -- beats
  #timer: NodeJS.Timeout | undefined;
  #timerAt = 0;
  #step = 0;
  #sentAt = now();
  #heardAt = now();
  #unansweredSince: number | undefined;
  #noReceiver = 0;
  #patientUntil = 0;
  #released = false;
  /** The other side knows the link. */
  #started = false;
  /** The connection was lost, and the other side has not answered since. */
  #apart = false;
  #finish: (() => void) | undefined;

  /** The broker calls `receive` with the messages of the other direction. */
  constructor({ broker, out, link, peer }: CarrierOptions) {
    super({ allowHalfOpen: false, readableHighWaterMark: 64 * 1024, writableHighWaterMark: 64 * 1024 });
    this.#broker = broker;
    this.#out = out;
    this.#peer = peer;
    broker.windows.reserve();
    this.#reply = broker.watch(link, this);
  }

  /** Begins to send beats: the other side knows the link. */
  start(): this {
    this.#started = true;
    this.#heardAt = this.#sentAt = now();
    this.#arm();
    return this;
  }

  /** The broker's view: keeps the process alive while the link is in use. */
  ref(): this {
    this.#broker.hold(this);
    return this;
  }

  unref(): this {
    this.#broker.letGo(this);
    return this;
  }

  // -- what the broker tells

  /** A message of the other direction. */
  receive(bytes: Uint8Array): void {
    if (this.destroyed) return;
    try {
      this.#take(readMessage(bytes));
    } catch (error) {
      this.destroy(error as Error);
    }
  }

  /** Nothing receives our beats. The host may be on its way from one server of the broker to another. */
  noReceiver(): void {
    if (now() < this.#patientUntil) return;
    this.#noReceiver += 1;
    if (this.#noReceiver >= NO_RECEIVER)
      this.destroy(new UnreachableError(`${this.#peer} is not connected to the broker any more`));
    else if (this.#step > 1) this.#rouse(1);
  }

  /** The broker is there again. The other side may not be: nothing is sent before it answers. */
  reconnected(): void {
    // Nothing was sent that could be lost; what does not know the link would end it.
    if (!this.#started) return;
    this.#heardAt = now();
    if (this.#unansweredSince !== undefined) this.#unansweredSince = this.#heardAt;
    this.#patientUntil = this.#heardAt + PATIENCE;
    this.#apart = true;
    this.#publish('probe');
    this.#rouse(0);
  }

  /** Both sides are there, and have lost nothing. */
  #together(): void {
    if (!this.#apart) return;
    this.#apart = false;
    this.#publish('beat');
    this.#rouse(0);
    this.#pump();
    this.#finish?.();
  }

  /** The broker can take more. */
  roomy(): void {
    this.#pump();
  }

  // -- the stream

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: (error?: Error | null) => void): void {
    this.#waiting.push(chunk);
    this.#waitingBytes += chunk.length;
    this.#written = callback;
    this.#pump();
  }

  override _writev(chunks: { chunk: Buffer }[], callback: (error?: Error | null) => void): void {
    for (const { chunk } of chunks) {
      this.#waiting.push(chunk);
      this.#waitingBytes += chunk.length;
    }
    this.#written = callback;
    this.#pump();
  }

  override _final(callback: (error?: Error | null) => void): void {
    const finish = (): void => {
      this.#finish = undefined;
      this.#publish('end');
      callback();
    };
    if (this.#broker.connected && !this.#apart) finish();
    else this.#finish = finish;
  }

  override _read(): void {
    this.#wanted = true;
    this.#deliver();
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    if (!this.#released) {
      this.#released = true;
      clearTimeout(this.#timer);
      if (error || !this.writableFinished) this.#publish('reset', Buffer.from(reasonOf(error)));
      this.#broker.windows.give(Math.max(RESERVED, this.#window));
      this.#broker.forget(this);
    }
    this.#waiting = [];
    const written = this.#written;
    this.#written = undefined;
    written?.(error ?? new Error('the link was closed'));
    callback(error);
  }

  // -- sending

  #pump(): void {
    const { maxMessage } = this.#broker;
    while (this.#waitingBytes && this.#broker.roomy && !this.#apart && !this.destroyed) {
      const room = Math.min(maxMessage, MAX_MESSAGE, this.#limit - this.#spent - OVERHEAD) - HEADER;
      const size = Math.min(room, this.#waitingBytes);
      if (size <= 0 || (size < SMALL && size < this.#waitingBytes)) return;
      const message = Buffer.allocUnsafe(HEADER + size);
      for (let at = HEADER; at < message.length;) at += this.#fill(message, at);
      this.#waitingBytes -= size;
      this.#spent += message.length + OVERHEAD;
      this.#publish('data', message);
      this.#rouse(0);
    }
    if (this.#waitingBytes || !this.#written) return;
    const written = this.#written;
    this.#written = undefined;
    written();
  }

  /** Moves waiting bytes into the message; returns how many. */
  #fill(message: Buffer, at: number): number {
    const [first] = this.#waiting;
    const count = first!.copy(message, at);
    if (count === first!.length) this.#waiting.shift();
    else this.#waiting[0] = first!.subarray(count);
    return count;
  }

  /** Sends a message. `data` comes with room for its header. */
  #publish(kind: Kind, bytes?: Buffer): void {
    const isNumbered = kind !== 'probe' && kind !== 'here';
    // What is sent before the other side is there would be lost, and the link with it.
    if (!this.#broker.connected || (this.#apart && isNumbered)) return;
    const message = kind === 'data' ? bytes! : Buffer.concat([Buffer.alloc(HEADER), bytes ?? Buffer.alloc(0)]);
    this.#sentAt = now();
    if (isNumbered) {
      this.#sent += 1;
      this.#unansweredSince ??= this.#sentAt;
    }
    writeHeader(message, kind, this.#sent, this.#arrived, this.#granted);
    this.#broker.publish(this.#out, message, kind === 'beat' || kind === 'probe' ? this.#reply : undefined);
  }

  #beat(): void {
    if (this.#apart) return this.#publish('probe');
    const kept = this.#spent + RESERVED;
    if (this.#step < IDLE || this.#limit <= kept) return this.#publish('beat');
    // An idle link gives its window back to the receiver's other links.
    const back = Buffer.alloc(12);
    back.writeUIntBE(this.#limit, 0, 6);
    back.writeUIntBE(kept, 6, 6);
    if (this.#broker.connected) {
      this.#returned = this.#limit;
      this.#limit = kept;
    }
    this.#publish('beat', back);
  }

  // -- receiving

  #take({ kind, number, arrived, grant, body }: CarrierMessage): void {
    if (kind === 'reset')
      throw new UnreachableError(`the other side ended the link: ${printable(body.toString(), LONGEST_REASON)}`);
    const isNumbered = kind !== 'probe' && kind !== 'here';
    if (number !== this.#arrived + (isNumbered ? 1 : 0) || arrived > this.#sent || arrived < this.#acknowledged)
      throw new UnreachableError('the broker lost, repeated or moved a message of the link');
    this.#arrived = number;
    this.#heardAt = now();
    this.#noReceiver = 0;
    if (grant !== this.#returned) {
      this.#limit = grant;
      this.#returned = undefined;
    }
    if (arrived > this.#acknowledged) {
      this.#acknowledged = arrived;
      this.#unansweredSince = arrived < this.#sent ? this.#heardAt : undefined;
    }
    if (kind === 'data') {
      this.#received += HEADER + body.length + OVERHEAD;
      if (this.#received > this.#granted) throw new ProtocolError('the other side sent more than it may');
      this.#unread.push(body);
      this.#rouse(0);
      this.#deliver();
    } else if (kind === 'end') {
      this.#unread.push(Buffer.alloc(0));
      this.#deliver();
    } else if (kind === 'probe' || kind === 'here') {
      if (kind === 'probe') this.#publish('here');
      this.#together();
    } else if (body.length === 12) this.#takeBack(body.readUIntBE(0, 6), body.readUIntBE(6, 6));
    this.#pump();
  }

  #deliver(): void {
    while (this.#wanted && this.#unread.length) {
      const body = this.#unread.shift()!;
      if (!body.length) {
        this.#wanted = false;
        this.push(null);
        return;
      }
      this.#consumed += HEADER + body.length + OVERHEAD;
      this.#wanted = this.push(body);
    }
    this.#grant();
  }

  /** Grants more once half of the window was read, and then lets the window grow. */
  #grant(): void {
    if (this.#consumed + this.#window - this.#granted < this.#window / 2 || this.destroyed) return;
    const more = Math.min(this.#window, MAX_WINDOW - this.#window);
    if (more > 0) this.#window += this.#broker.windows.take(more);
    this.#granted = this.#consumed + this.#window;
    this.#publish('acknowledgement');
  }

  /** The other side is idle. A grant that was made since, it has not seen: then nothing changes. */
  #takeBack(from: number, to: number): void {
    if (from !== this.#granted || to < this.#received || to > from) return;
    this.#granted = to;
    const window = Math.max(RESERVED, to - this.#consumed);
    this.#broker.windows.give(this.#window - window);
    this.#window = window;
  }

  // -- beats

  /** Goes back to short pauses. */
  #rouse(step: number): void {
    if (this.#step <= step && this.#timerAt - now() <= BEATS[step]!) return;
    this.#step = step;
    this.#arm();
  }

  #arm(): void {
    clearTimeout(this.#timer);
    if (this.destroyed) return;
    const wait = Math.max(1, this.#sentAt + BEATS[this.#step]! - now());
    this.#timerAt = now() + wait;
    this.#timer = setTimeout(() => this.#tick(), wait).unref();
  }

  #tick(): void {
    const at = now();
    if (at - this.#timerAt > STOPPED || !this.#broker.connected) {
      // This process was stopped, or heard nothing of the broker: the other side is not to blame.
      this.#heardAt = at;
      if (this.#unansweredSince !== undefined) this.#unansweredSince = at;
    }
    if (at - this.#heardAt > SILENCE || at - (this.#unansweredSince ?? at) > UNANSWERED) {
      this.destroy(new UnreachableError('messages of the link do not arrive through the broker'));
      return;
    }
    if (at - this.#sentAt >= BEATS[this.#step]! - 1) {
      this.#beat();
      this.#sentAt = at;
      this.#step = Math.min(this.#step + 1, BEATS.length - 1);
    }
    this.#arm();
  }
}

/** What the other side may know of an error. */
function reasonOf(error: Error | null): string {
  return error instanceof SendallError ? error.message.slice(0, LONGEST_REASON) : 'closed';
}
