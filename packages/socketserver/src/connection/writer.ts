/** Batched writing: what one tick writes leaves as one write. */
import type { Socket } from 'node:net';

/** Bytes gathered in a tick go out as one write up to this size; larger pieces go as they are. */
const SLAB_SIZE = 65_536;
const PASS_THROUGH = 16_384;

/**
 * The write buffer of one event loop.
 *
 * Small writes of a tick are copied here one behind the other and leave as one write. When the kernel took them at
 * once (`writableLength` is 0 again) the same memory serves the next connection, so a busy server allocates nothing;
 * when it did not, those bytes stay where they are until it does, and the next connection writes behind them.
 */
class Slab {
  bytes = Buffer.allocUnsafeSlow(SLAB_SIZE);
  /** Where the owner's bytes begin and end. What is before belongs to writes under way. */
  start = 0;
  end = 0;
  owner: Writer | undefined;

  lend(writer: Writer): void {
    if (SLAB_SIZE - this.start < PASS_THROUGH) {
      this.bytes = Buffer.allocUnsafeSlow(SLAB_SIZE);
      this.start = 0;
    }
    this.owner = writer;
    this.end = this.start;
  }
}

const slab = new Slab();
const nothing = Buffer.alloc(0);
const dirty: Writer[] = [];
let scheduled = false;

function flushAll(): void {
  scheduled = false;
  for (let writer = dirty.pop(); writer !== undefined; writer = dirty.pop()) writer.flush();
}

/**
 * Batched writing to one socket: the first write of a tick schedules one flush at its end.
 * Inside a handler's call (`hold` to `letGo`) the flush comes when the call returns.
 */
export class Writer {
  socket: Socket;
  /** Pieces that wait for the flush, when the slab is another connection's. */
  #pieces: Uint8Array[] | undefined;
  #queued = 0;
  #holds = 0;
  #dirty = false;

  constructor(socket: Socket) {
    this.socket = socket;
  }

  /** Bytes written but not yet taken by the kernel. */
  get pending(): number {
    return this.#queued + this.socket.writableLength;
  }

  hold(): void {
    this.#holds++;
  }

  letGo(): void {
    if (--this.#holds === 0 && this.#queued > 0) this.flush();
  }

  write(data: Uint8Array | string, encoding: BufferEncoding = 'utf8'): void {
    if (typeof data === 'string') {
      // Three bytes a UTF-16 unit is the most that any encoding takes.
      if (data.length * 3 > PASS_THROUGH) return this.write(Buffer.from(data, encoding));
      const room = this.reserve(data.length * 3);
      if (room === undefined) return this.#keep(Buffer.from(data, encoding));
      return this.commit(room.write(data, slab.end, encoding));
    }
    const size = data.length;
    if (size === 0) return;
    if (size > PASS_THROUGH) {
      this.flush();
      this.socket.write(data);
      return;
    }
    const room = this.reserve(size);
    if (room === undefined) return this.#keep(data);
    room.set(data, slab.end);
    this.commit(size);
  }

  /** Room for `size` bytes (at most 16 KiB) in the slab from `position` on, or nothing when it is another's. */
  reserve(size: number): Buffer | undefined {
    if (slab.owner !== this) {
      // An owner without bytes reserved room and then had nothing to write.
      if ((slab.owner !== undefined && slab.end > slab.start) || this.#pieces !== undefined) return undefined;
      slab.lend(this);
    } else if (slab.end + size > SLAB_SIZE) {
      this.flush();
      slab.lend(this);
    }
    return slab.bytes;
  }

  get position(): number {
    return slab.end;
  }

  commit(size: number): void {
    slab.end += size;
    this.#queued += size;
    this.#schedule();
  }

  #keep(data: Uint8Array): void {
    (this.#pieces ??= []).push(data);
    this.#queued += data.length;
    if (this.#queued >= SLAB_SIZE) this.flush();
    else this.#schedule();
  }

  #schedule(): void {
    if (this.#holds > 0 || this.#dirty) return;
    this.#dirty = true;
    dirty.push(this);
    if (scheduled) return;
    scheduled = true;
    process.nextTick(flushAll);
  }

  /** Our end, behind everything written. */
  end(): void {
    this.flush();
    this.socket.end();
  }

  /** Calls back when the kernel has taken everything written so far. */
  whenSent(done: () => void): void {
    this.flush();
    // Behind everything else in the socket's queue. Its `drain` event would not do: it comes for full queues only.
    if (this.socket.writableEnded) this.socket.once('finish', done);
    else this.socket.write(nothing, done);
  }

  /** Hands everything to the socket now. */
  flush(): void {
    this.#dirty = false;
    const { socket } = this;
    if (slab.owner === this) {
      slab.owner = undefined;
      const { start, end } = slab;
      if (end > start) {
        this.#queued -= end - start;
        socket.write(slab.bytes.subarray(start, end));
        if (socket.writableLength > 0) slab.start = end;
      }
    }
    const pieces = this.#pieces;
    if (pieces === undefined) return;
    this.#pieces = undefined;
    this.#queued = 0;
    if (pieces.length === 1) socket.write(pieces[0]!);
    else socket.write(Buffer.concat(pieces));
  }
}
