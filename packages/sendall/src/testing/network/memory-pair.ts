/**
 * A byte stream in memory, for tests: two ends with back-pressure, like a socket's, and the requested faults between
 * them. Like TLS it knows the place of every byte: bytes that arrive twice or out of order end the stream with an error
 * and reach no reader.
 */
import { Duplex } from 'node:stream';
import { ProtocolError, UnreachableError } from '../../errors.js';
import type { ByteFault, DirectionFaults } from './faults.js';

/** Bytes that one end buffers before the other must wait. */
const BUFFER = 64 * 1024;
/** Bytes in transit at a time in one direction. */
const PIPE = 256 * 1024;
/** Milliseconds after which a frame that waits to swap places with the next one goes alone. */
const ALONE = 20;

interface Piece {
  /** Place of its first byte among all that were sent. */
  readonly offset: number;
  readonly bytes: Buffer;
  /** When it may arrive, on performance.now()'s clock. */
  readonly dueAt: number;
}

/** The two ends of one connection. */
export interface MemoryPair {
  readonly caller: Duplex;
  readonly host: Duplex;
  /** Ends both sides; bytes in transit are lost. */
  cut(): void;
  /** From now on nothing is delivered in either direction, and neither side learns of it. */
  stall(): void;
}

/** Counts bytes as they are sent. */
export interface Traffic {
  toHosts: number;
  toCallers: number;
}

/** Makes a connection, whose bytes are added to `traffic`. Without faults, bytes arrive as written, in a later turn of the event loop. */
export function memoryPair(
  faults?: { toHost: DirectionFaults; toCaller: DirectionFaults },
  traffic: Traffic = { toHosts: 0, toCallers: 0 },
): MemoryPair {
  const cut = (): void => {
    const error = new UnreachableError('the connection was cut');
    caller.lose(error);
    host.lose(error);
  };
  const toHost = new Direction(faults?.toHost, cut, (bytes) => (traffic.toHosts += bytes));
  const toCaller = new Direction(faults?.toCaller, cut, (bytes) => (traffic.toCallers += bytes));
  const caller = new End(toHost, toCaller);
  const host = new End(toCaller, toHost);
  return {
    caller,
    host,
    cut,
    stall() {
      toHost.stall();
      toCaller.stall();
    },
  };
}

class End extends Duplex {
  readonly #out: Direction;
  readonly #in: Direction;

  constructor(out: Direction, into: Direction) {
    super({ allowHalfOpen: true, readableHighWaterMark: BUFFER, writableHighWaterMark: BUFFER });
    this.#out = out;
    this.#in = into;
    into.reader = this;
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    // Copies, as a kernel does: the writer reuses its memory when it is done.
    this.#out.write(Buffer.from(chunk), done);
  }

  override _writev(chunks: { chunk: Buffer }[], done: () => void): void {
    this.#out.write(Buffer.concat(chunks.map(({ chunk }) => chunk)), done);
  }

  override _final(done: () => void): void {
    this.#out.end();
    done();
  }

  override _read(): void {
    this.#in.resume();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#in.close();
    this.#out.end();
    done(error);
  }

  lose(error: Error): void {
    this.#in.close();
    if (!this.destroyed) this.destroy(error);
  }
}

/** One direction of the wire. */
class Direction {
  reader!: Duplex;
  readonly #faults: DirectionFaults | undefined;
  readonly #cut: () => void;
  readonly #count: (bytes: number) => void;
  readonly #frames: Frames | undefined;
  /** Bytes put on the wire so far, and the next byte the reader expects. */
  #sent = 0;
  #expected = 0;
  #pieces: Piece[] = [];
  #waiting: (() => void)[] = [];
  #lastDue = 0;
  #scheduled = false;
  #state: 'open' | 'cut' | 'stalled' | 'ending' | 'closed' = 'open';

  constructor(faults: DirectionFaults | undefined, cut: () => void, count: (bytes: number) => void) {
    this.#faults = faults;
    this.#cut = cut;
    this.#count = count;
    if (faults?.framewise) this.#frames = new Frames(faults, (bytes) => this.#send(bytes));
  }

  write(chunk: Buffer, done: () => void): void {
    if (this.#state === 'stalled') {
      // A silent network accepts nothing more, so the writer's own buffer fills.
      this.#waiting.push(done);
    } else if (this.#state === 'open') {
      this.#count(chunk.length);
      this.#waiting.push(done);
      if (this.#frames) this.#frames.write(chunk);
      else this.#send(chunk);
      // Bytes in transit do not delay later ones until the pipe is full.
      if (this.#state === 'open' && this.#sent - this.#expected < PIPE) queueMicrotask(() => this.#release());
      this.#schedule();
    } else done();
  }

  end(): void {
    this.#frames?.flush();
    if (this.#state !== 'open') return;
    this.#state = 'ending';
    this.#schedule();
  }

  stall(): void {
    if (this.#state === 'open') this.#state = 'stalled';
    this.#pieces = [];
  }

  /** The reader has gone. */
  close(): void {
    this.#state = 'closed';
    this.#pieces = [];
    this.#release();
  }

  /** The reader has room again. */
  resume(): void {
    if (this.#pieces.length || this.#waiting.length || this.#state !== 'open') this.#schedule();
  }

  /** Puts bytes on the wire, with their faults. */
  #send(chunk: Buffer): void {
    let rest = chunk;
    while (this.#state === 'open') {
      const next = this.#faults?.next();
      if (!next || next.at >= this.#sent + rest.length) break;
      const before = Math.max(0, next.at - this.#sent);
      this.#put(rest.subarray(0, before));
      rest = this.#suffer(next.fault, rest.subarray(before));
    }
    if (this.#state === 'open') this.#put(rest);
    this.#schedule();
  }

  /** Applies a fault at the first byte of `rest`; returns the bytes left to send. */
  #suffer(fault: ByteFault, rest: Buffer): Buffer {
    const faults = this.#faults!;
    faults.done(fault);
    if (fault === 'cut' || fault === 'stall') {
      this.#state = fault === 'cut' ? 'cut' : 'stalled';
      return rest;
    }
    const length = faults.chance.between(1, Math.min(rest.length, 512));
    const first = rest.subarray(0, length);
    const offset = this.#sent;
    if (fault === 'duplicate') {
      this.#put(first);
      this.#pieces.push({ offset, bytes: first, dueAt: this.#lastDue });
      return rest.subarray(length);
    }
    const second = rest.subarray(length, length + faults.chance.between(1, Math.max(1, rest.length - length)));
    this.#sent += first.length;
    this.#put(second);
    this.#pieces.push({ offset, bytes: first, dueAt: this.#lastDue });
    return rest.subarray(first.length + second.length);
  }

  #put(bytes: Buffer): void {
    const faults = this.#faults;
    if (faults) this.#lastDue = Math.max(this.#lastDue, performance.now() + faults.delay());
    const slice = faults?.slice ?? Infinity;
    for (let at = 0; at < bytes.length;) {
      const piece = slice === Infinity ? bytes : bytes.subarray(at, at + faults!.chance.between(1, slice));
      this.#pieces.push({ offset: this.#sent, bytes: piece, dueAt: this.#lastDue });
      this.#sent += piece.length;
      at += piece.length;
    }
  }

  #schedule(): void {
    if (this.#scheduled || this.#state === 'closed') return;
    this.#scheduled = true;
    const run = (): void => {
      this.#scheduled = false;
      this.#run();
    };
    const wait = (this.#pieces[0]?.dueAt ?? 0) - performance.now();
    if (wait > 0) setTimeout(run, wait);
    else setImmediate(run);
  }

  #run(): void {
    if (this.#state === 'closed') return;
    const now = this.#faults ? performance.now() : 0;
    for (let piece = this.#pieces[0]; piece && piece.dueAt <= now; piece = this.#pieces[0]) {
      this.#pieces.shift();
      if (piece.offset !== this.#expected) {
        const what = piece.offset < this.#expected ? 'came twice' : 'came too early';
        this.reader.destroy(new ProtocolError(`the network is broken: the bytes from ${piece.offset} on ${what}`));
        return;
      }
      this.#expected += piece.bytes.length;
      if (!this.reader.push(piece.bytes)) return;
    }
    if (this.#pieces.length) this.#schedule();
    else this.#idle();
  }

  /** Everything written has arrived. */
  #idle(): void {
    if (this.#state === 'cut') this.#cut();
    if (this.#state === 'open' || this.#state === 'ending') this.#release();
    if (this.#state === 'ending') {
      this.#state = 'closed';
      this.reader.push(null);
    }
  }

  #release(): void {
    for (const done of this.#waiting.splice(0)) done();
  }
}

/** Splits bytes into frames, so that they can arrive twice or out of order. */
class Frames {
  readonly #faults: DirectionFaults;
  readonly #send: (frame: Buffer) => void;
  #partial: Buffer = Buffer.alloc(0);
  #held: Buffer | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(faults: DirectionFaults, send: (frame: Buffer) => void) {
    this.#faults = faults;
    this.#send = send;
  }

  write(chunk: Buffer): void {
    let rest = this.#partial.length ? Buffer.concat([this.#partial, chunk]) : chunk;
    while (rest.length >= 4 && rest.length >= 4 + rest.readUInt32BE(0)) {
      const end = 4 + rest.readUInt32BE(0);
      this.#frame(rest.subarray(0, end));
      rest = rest.subarray(end);
    }
    this.#partial = rest;
  }

  flush(): void {
    clearTimeout(this.#timer);
    const held = this.#held;
    this.#held = undefined;
    if (held) this.#send(held);
  }

  #frame(frame: Buffer): void {
    const fault = this.#faults.frame();
    if (fault === 'reorder' && !this.#held) {
      this.#held = frame;
      this.#timer = setTimeout(() => this.flush(), ALONE);
      return;
    }
    this.#send(frame);
    if (fault === 'duplicate') this.#send(frame);
    this.flush();
  }
}
