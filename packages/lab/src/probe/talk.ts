/** One connection to the server under test. */
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises';
import type { Socket } from 'node:net';
import type { Address } from '../address.js';
import { reach } from '../wire/reach.js';
import { Tap } from '../messages/tap.js';

/** A server's answers. */
export interface Heard {
  /** Whole answers, split by the framing (raw: everything as one). */
  readonly answers: readonly Buffer[];
  readonly bytes: Buffer;
  /** Bytes after the last whole answer, or a framing error in them. */
  readonly unfinished?: string;
  /** How the server ended the connection. */
  readonly closed?: 'end' | 'reset';
  /** Milliseconds from the last write to the last byte. */
  readonly ms: number;
}

export interface Patience {
  /** Whether enough has arrived; after that, only bytes that follow immediately count. */
  enough: (answers: number, bytes: number) => boolean;
  /** Milliseconds without a byte until giving up. */
  timeoutMs: number;
  /** Milliseconds of silence that confirm the end of an answer. */
  settleMs: number;
}

/** Bytes of answers that are kept; a server that sends more is ignored from then on. */
const MOST_BYTES = 64 << 20;

/** One connection to the server under test. */
export class Talk {
  readonly #socket: Socket;
  readonly #framing: string;
  #tap: Tap;
  #answers: Buffer[] = [];
  #bytes: Buffer[] = [];
  #length = 0;
  #error: string | undefined;
  #partial = 0;
  #closed: 'end' | 'reset' | undefined;
  #lastWrite = performance.now();
  #lastByte = performance.now();
  #wake = () => {};

  private constructor(socket: Socket, framing: string) {
    this.#socket = socket;
    this.#framing = framing;
    this.#tap = new Tap(framing);
    socket.on('data', (chunk: Buffer) => this.#heard(chunk));
    socket.on('end', () => this.#ended('end'));
    socket.on('close', () => this.#ended('end'));
    socket.on('error', () => this.#ended('reset'));
  }

  /** @throws Error when the server cannot be reached */
  static async open(address: Address, framing: string): Promise<Talk> {
    return new Talk(await reach(address), framing);
  }

  /** Writes each piece separately, with a pause between them. Stops when the server closes the connection. */
  async send(pieces: readonly Buffer[], pauseMs: number): Promise<void> {
    for (const [index, piece] of pieces.entries()) {
      if (index > 0 && pauseMs > 0) {
        await sleep(pauseMs);
        // Behind the loop's reading: this process may have stood still, and the server may be a part of it.
        await turn();
      }
      if (this.#closed) return;
      await new Promise<void>((resolve) => this.#socket.write(piece, () => resolve()));
    }
    this.#lastWrite = this.#lastByte = performance.now();
  }

  /** Everything received since the last call, within the limits of patience. */
  async hear({ enough, timeoutMs, settleMs }: Patience): Promise<Heard> {
    const last = () => Math.max(this.#lastByte, this.#lastWrite);
    for (;;) {
      const wait = enough(this.#answers.length, this.#length) ? settleMs : timeoutMs;
      const left = last() + wait - performance.now();
      if (this.#closed || left <= 0 || this.#length > MOST_BYTES) break;
      let timer: NodeJS.Timeout | undefined;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        // Behind the loop's reading: bytes may have come while this process stood still.
        timer = setTimeout(() => void setImmediate(resolve), left);
      });
      clearTimeout(timer);
    }
    const bytes = Buffer.concat(this.#bytes);
    const unfinished =
      this.#error ?? (this.#partial > 0 ? `${this.#partial} bytes of an unfinished answer` : undefined);
    const heard: Heard = {
      answers: this.#framing === 'raw' ? (bytes.length > 0 ? [bytes] : []) : this.#answers,
      bytes,
      ms: Math.round(this.#lastByte - this.#lastWrite),
      ...(unfinished !== undefined && { unfinished }),
      ...(this.#closed && { closed: this.#closed }),
    };
    this.#answers = [];
    this.#bytes = [];
    this.#length = 0;
    return heard;
  }

  close(): void {
    this.#socket.destroy();
  }

  #heard(chunk: Buffer): void {
    this.#lastByte = performance.now();
    this.#bytes.push(Buffer.from(chunk));
    this.#length += chunk.length;
    const read = this.#tap.read(chunk);
    this.#answers.push(...read.messages.map((message) => message.payload));
    this.#partial = read.partial?.have ?? 0;
    if (read.error) this.#error ??= read.error.message;
    this.#wake();
  }

  #ended(how: 'end' | 'reset'): void {
    this.#closed ??= how;
    this.#wake();
  }
}
