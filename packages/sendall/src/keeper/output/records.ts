/**
 * The record log of `capture: "exact"` and `"ordered"`: what each single write of a command wrote, labelled. Two ways to
 * get it: pipes in packet mode, which every program can write to, and datagram sockets, which also keep the order of
 * writes to both streams.
 */
import { STREAM } from '../../protocol/messages.js';
import type { Native, Watch } from '../system/native.js';
import { CHUNK, Descriptor, type Source } from '../system/source.js';

/** u32be length of what follows, stream:u8, microseconds since the start:u48be. */
const RECORD_HEADER = 4 + 1 + 6;
/** Set in the byte that names the stream: the order between the streams is the one in which they were read. */
export const AS_READ = 0x80;
/** Datagrams a receiver's queue may hold: far more than net.unix.max_dgram_qlen usually says. */
const QUEUE = 4096;
/** Room of a packet pipe: each write takes a page of it, however short it is. Not more than what one read takes. */
const PACKET_ROOM = CHUNK;

/** When a command began, for the times of its records. */
class Log {
  readonly #begun = process.hrtime.bigint();

  /** Writes the header of a record whose `length` bytes follow at `at + RECORD_HEADER`. */
  head(log: Buffer, at: number, stream: number, length: number): void {
    log.writeUInt32BE(RECORD_HEADER - 4 + length, at);
    log[at + 4] = stream;
    log.writeUIntBE(Number((process.hrtime.bigint() - this.#begun) / 1000n), at + 5, 6);
  }
}

/** Bytes of both streams that stand in records. */
export interface Recorded {
  stdout: number;
  stderr: number;
}

/** How many bytes of a piece of the log are whole records with at most `most` bytes of output, and how many those are. */
export function fitRecords(log: Buffer, most: number): Recorded & { length: number } {
  const fit = { length: 0, stdout: 0, stderr: 0 };
  while (fit.length < log.length) {
    const size = 4 + log.readUInt32BE(fit.length);
    const output = size - RECORD_HEADER;
    if (fit.stdout + fit.stderr + output > most) break;
    fit[(log[fit.length + 4]! & ~AS_READ) === STREAM.stderr ? 'stderr' : 'stdout'] += output;
    fit.length += size;
  }
  return fit;
}

interface End {
  readonly stream: number;
  readonly fd: number;
  watch: Watch | undefined;
}

/**
 * Exact capture: stdout and stderr are pipes in packet mode, from which a read takes what one write wrote (4,096 bytes at
 * most; the kernel cuts longer ones). A program that opens /dev/stdout anew writes without packets: its bytes come as from
 * any pipe. Which of the two streams was written to first is not known. Source: pipe(2), O_DIRECT.
 */
export class PacketSource implements Source {
  readonly #native: Native;
  readonly #log = new Log();
  #ends: End[];

  constructor(native: Native, ends: readonly { readonly stream: number; readonly fd: number }[]) {
    this.#native = native;
    this.#ends = ends.map(({ stream, fd }) => ({ stream, fd, watch: undefined }));
    for (const { fd } of ends) native.enlarge(fd, PACKET_ROOM);
  }

  /** Whole records, of both streams in turn. */
  read(most: number): Buffer | 'none' | 'end' {
    let length = 0;
    for (let came = true; came && length < most;) {
      came = false;
      for (const end of this.#ends) {
        const size = this.#take(end, length);
        // An end behind other bytes is read again: when the last pipe is closed nothing would wake us any more.
        if (size === 'full' || (size === 'end' && length > 0)) return packets.subarray(0, length);
        if (size === 'end') this.#close(end);
        else if (size > 0) came = true;
        length += size === 'end' ? 0 : size;
      }
    }
    if (length > 0) return packets.subarray(0, length);
    return this.#ends.length === 0 ? 'end' : 'none';
  }

  /** Puts one record at `at`, and says how long it is; "full" when there is no room for it behind what is there. */
  #take({ stream, fd }: End, at: number): number | 'end' | 'full' {
    // A read throws away what is left of a packet. One of just as many bytes as there are ends where a packet ends.
    const there = this.#native.available(fd);
    const start = at + RECORD_HEADER;
    if (there > packets.length - start) {
      if (at > 0) return 'full';
      // Its program has made the pipe bigger.
      packets = Buffer.allocUnsafeSlow(start + there);
    }
    const room = there > 0 ? there : Math.min(packets.length - start, CHUNK);
    if (there === 0 && room < CHUNK) return at > 0 ? 'full' : 0;
    const n = this.#native.read(fd, packets.subarray(start, start + room));
    if (n < 0) return 0;
    if (n === 0) return 'end';
    this.#log.head(packets, at, stream | AS_READ, n);
    return RECORD_HEADER + n;
  }

  available(): number {
    // Each byte may be a record of its own.
    return this.#ends.reduce((sum, { fd }) => sum + this.#native.available(fd), 0) * (1 + RECORD_HEADER);
  }

  watch(ready: () => void): Watch {
    for (const end of this.#ends) end.watch = this.#native.watch(end.fd, 'read', ready);
    const each = (act: (watch: Watch) => void) => (): void => {
      for (const { watch } of this.#ends) if (watch) act(watch);
    };
    return {
      stop: each((watch) => watch.stop()),
      start: each((watch) => watch.start()),
      close: each((watch) => watch.close()),
    };
  }

  /** As in a shell's pipe, the command gets SIGPIPE when it writes there again. */
  stop(stream: number): boolean {
    for (const end of this.#ends) if (end.stream === stream) this.#close(end);
    return this.#ends.length > 0;
  }

  #close(end: End, watched = true): void {
    if (watched) end.watch?.close();
    this.#native.close(end.fd);
    this.#ends = this.#ends.filter((other) => other !== end);
  }

  close(): void {
    // The watches were closed before, through what `watch` returned.
    for (const end of this.#ends) this.#close(end, false);
  }
}

/** One buffer for all runs. */
let packets = Buffer.allocUnsafeSlow(2 * CHUNK + 64 * 1024);

/**
 * Ordered capture: stdout and stderr are datagram sockets connected to this one, so every write is one record and the
 * order of all is the true one. A socket has no end of file: the end comes when the tree has ended.
 */
export class RecordSource extends Descriptor implements Source {
  readonly endless = true;
  readonly #streams: ReadonlyMap<string, number>;
  readonly #buffer: Buffer;
  readonly #stopped = new Set<number>();
  readonly #log = new Log();

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
    this.#log.head(record, 0, this.#streams.get(received.from) ?? STREAM.stdout, received.length);
    return record.subarray(0, RECORD_HEADER + received.length);
  }

  available(): number {
    return QUEUE * RECORD_HEADER;
  }

  /** The writer of one stream alone cannot be stopped: both write to one socket. */
  stop(stream: number): boolean {
    this.#stopped.add(stream);
    return this.#stopped.size < 2;
  }
}

let shared = Buffer.alloc(0);
/** One buffer for all runs with ordered capture, made when the first of them starts. */
function recordBuffer(size: number): Buffer {
  if (shared.length < size) shared = Buffer.allocUnsafeSlow(size);
  return shared;
}
