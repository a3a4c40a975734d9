/** Where a command's output comes from: a pipe, a terminal, or a socket that keeps the order of single writes. */
import { STREAM } from '../protocol/messages.js';
import type { Native, Watch } from './native.js';

/** Most that is read at once. The buffer is shared: bytes are valid until the next read of any source. */
export const CHUNK = 256 * 1024;
const chunk = Buffer.allocUnsafeSlow(CHUNK);
/** A pipe that was this full is made bigger. */
const FULL = 64 * 1024;
const BIG_PIPE = 1024 * 1024;
/** More than a terminal's buffers hold. */
const TERMINAL_ROOM = 256 * 1024;

/** Reads of one descriptor, which it owns. */
export interface Source {
  /** Bytes, or that there are none now, or none any more. Reads at most `most` where it can choose. */
  read(most: number): Buffer | 'none' | 'end';
  /** How many bytes it can hold at this moment: reading so many takes all that was written before. */
  available(): number;
  watch(ready: () => void): Watch;
  close(): void;
}

class Descriptor {
  protected readonly native: Native;
  protected readonly fd: number;

  constructor(native: Native, fd: number) {
    this.native = native;
    this.fd = fd;
  }

  watch(ready: () => void): Watch {
    return this.native.watch(this.fd, 'read', ready);
  }

  close(): void {
    this.native.close(this.fd);
  }
}

export class PipeSource extends Descriptor implements Source {
  #big = false;

  read(most: number): Buffer | 'none' | 'end' {
    const n = this.native.read(this.fd, most < CHUNK ? chunk.subarray(0, most) : chunk);
    if (n <= 0) return n === 0 ? 'end' : 'none';
    if (n >= FULL && !this.#big) {
      this.#big = true;
      this.native.enlarge(this.fd, BIG_PIPE);
    }
    return chunk.subarray(0, n);
  }

  available(): number {
    return this.native.available(this.fd);
  }
}

export class TerminalSource extends Descriptor implements Source {
  read(most: number): Buffer | 'none' | 'end' {
    let n: number;
    try {
      n = this.native.read(this.fd, most < CHUNK ? chunk.subarray(0, most) : chunk);
    } catch {
      // EIO: the last process that had the terminal has gone.
      return 'end';
    }
    if (n <= 0) return n === 0 ? 'end' : 'none';
    return chunk.subarray(0, n);
  }

  available(): number {
    // What the kernel still moves from one end to the other is not counted by FIONREAD.
    return TERMINAL_ROOM;
  }
}

/** u32be length of what follows, stream:u8, microseconds since the start:u48be. */
const RECORD_HEADER = 4 + 1 + 6;
/** Datagrams a receiver's queue may hold: far more than net.unix.max_dgram_qlen usually says. */
const QUEUE = 4096;

/**
 * Exact capture: stdout and stderr are datagram sockets connected to this one, so every write is one record and the
 * order of all is the true one. A socket has no end of file: the end comes when the tree has ended.
 */
export class RecordSource extends Descriptor implements Source {
  readonly #streams: ReadonlyMap<string, number>;
  readonly #buffer: Buffer;
  readonly #begun = process.hrtime.bigint();

  /** `streams` tells the senders' addresses apart; `longest` is the biggest write they can make. */
  constructor(native: Native, fd: number, streams: ReadonlyMap<string, number>, longest: number) {
    super(native, fd);
    this.#streams = streams;
    this.#buffer = recordBuffer(RECORD_HEADER + longest);
  }

  read(): Buffer | 'none' | 'end' {
    const record = this.#buffer;
    const received = this.native.receive(this.fd, record.subarray(RECORD_HEADER));
    if (received === undefined) return 'none';
    const stream = this.#streams.get(received.from) ?? STREAM.stdout;
    record.writeUInt32BE(7 + received.length, 0);
    record[4] = stream;
    record.writeUIntBE(Number((process.hrtime.bigint() - this.#begun) / 1000n), 5, 6);
    return record.subarray(0, RECORD_HEADER + received.length);
  }

  available(): number {
    return QUEUE * RECORD_HEADER;
  }
}

let shared = Buffer.alloc(0);
/** One buffer for all runs with exact capture, made when the first of them starts. */
function recordBuffer(size: number): Buffer {
  if (shared.length < size) shared = Buffer.allocUnsafeSlow(size);
  return shared;
}
