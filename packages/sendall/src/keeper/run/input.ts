/** A command's stdin: bytes in the order the caller counts them, end-of-file only after the last of them. */
import { ProtocolError } from '../../errors.js';
import type { InputWindow } from './input-window.js';
import { SystemError } from '../../libc/system-error.js';
import type { Native, Watch } from '../system/native.js';

/** What stdin tells its run. */
export interface InputEvents {
  /** Bytes were accepted or written: acknowledge and grant. */
  moved(): void;
  /** The command reads no more. */
  refused(): void;
}

/** A pipe that was filled once is made this big: every time it is full costs a wake-up. */
const BIG_PIPE = 1024 * 1024;
/** Pieces that wait are put together up to this many bytes. */
const SMALL = 1024;
/**
 * Ends the input of a terminal when it is typed at the beginning of a line. Anywhere else it passes the line on as it is,
 * and what follows is a beginning.
 */
const CTRL_D = 4;
const ENDS_OF_LINE: readonly (number | undefined)[] = [undefined, 0x0a, 0x0d, CTRL_D];

export class Input {
  readonly #native: Native;
  readonly #events: InputEvents;
  readonly #window: InputWindow;
  #fd = -1;
  #watch: Watch | undefined;
  #queue: Buffer[] = [];
  /** Accepted from the caller. */
  next = 0;
  /** Written to the command, or thrown away because it reads no more. */
  #written = 0;
  #limit = 0;
  #final: number | undefined;
  /** The command has closed its end. */
  #broken = false;
  #started = false;
  #endsWithKey = false;
  #big = false;
  /** Written last. */
  #lastByte: number | undefined;

  constructor(native: Native, window: InputWindow, events: InputEvents) {
    this.#native = native;
    this.#window = window;
    this.#events = events;
  }

  /** The write end, once the command has started; `toTerminal`: only a key tells the command that its input ends. */
  start(fd: number, toTerminal = false): void {
    this.#fd = fd;
    this.#endsWithKey = toTerminal;
    this.#big = toTerminal;
    this.#started = true;
    this.#flush();
  }

  /** There is no stdin, or no command any more: what comes is accepted and goes nowhere. */
  discard(): void {
    this.#close();
    this.#broken = true;
    this.#written = this.next;
    this.#queue = [];
  }

  /** The caller may send the bytes below it. It never shrinks. */
  get limit(): number {
    this.#limit = Math.max(this.#limit, this.#written + this.#window.size);
    return this.#limit;
  }

  get final(): number | undefined {
    return this.#final;
  }

  get open(): boolean {
    return this.#final === undefined && !this.#broken;
  }

  get broken(): boolean {
    return this.#broken;
  }

  /**
   * Takes a piece at its place in the stream. What was accepted before is skipped.
   * @throws ProtocolError for a hole.
   */
  take(offset: number, bytes: Uint8Array): void {
    if (offset > this.next)
      throw new ProtocolError(`stdin at ${offset} where ${this.next} is expected: bytes are missing`);
    const fresh = bytes.subarray(this.next - offset);
    if (fresh.length === 0) return;
    if (this.#final !== undefined && this.next + fresh.length > this.#final)
      throw new ProtocolError(`stdin goes on after its end at ${this.#final}`);
    if (this.next + fresh.length > this.limit)
      throw new ProtocolError(`stdin beyond the credit of ${this.limit} bytes`);
    this.next += fresh.length;
    if (this.#broken) this.#written = this.next;
    else this.#offer(fresh);
    this.#closeAtEnd();
    this.#events.moved();
  }

  #offer(bytes: Uint8Array): void {
    let rest = bytes;
    if (this.#started && this.#queue.length === 0) {
      rest = bytes.subarray(this.#write(bytes));
      if (rest.length === 0 && !this.#broken) this.#window.keptUp(this.#written);
    }
    if (rest.length > 0 && !this.#broken) {
      // Keys that wait for a reader: one piece each would be moved whenever the first one goes.
      const last = this.#queue.at(-1);
      if (last && last.length + rest.length <= SMALL) this.#queue[this.#queue.length - 1] = Buffer.concat([last, rest]);
      else this.#queue.push(Buffer.from(rest));
      if (this.#started) this.#awaitRoom();
    }
  }

  /** Writes what fits and returns how much that was. */
  #write(bytes: Uint8Array): number {
    try {
      const n = Math.max(this.#native.write(this.#fd, bytes), 0);
      this.#written += n;
      if (n > 0) this.#lastByte = bytes[n - 1];
      return n;
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      this.discard();
      this.#events.refused();
      return bytes.length;
    }
  }

  #awaitRoom(): void {
    if (!this.#big) this.#native.enlarge(this.#fd, BIG_PIPE);
    this.#big = true;
    this.#watch ??= this.#native.watch(this.#fd, 'write', () => this.#flush());
  }

  #flush(): void {
    for (;;) {
      const head = this.#queue[0];
      if (!head) break;
      const n = this.#write(head);
      if (this.#broken) break;
      if (n < head.length) {
        this.#queue[0] = head.subarray(n);
        this.#awaitRoom();
        this.#events.moved();
        return;
      }
      this.#queue.shift();
    }
    this.#watch?.close();
    this.#watch = undefined;
    if (!this.#broken) this.#window.keptUp(this.#written);
    this.#closeAtEnd();
    this.#events.moved();
  }

  /** The stream ends at `final`; the command sees it when every byte before has been written. */
  end(final: number): void {
    if (this.#final !== undefined && this.#final !== final)
      throw new ProtocolError(`stdin ended at ${this.#final} and again at ${final}`);
    if (final < this.next) throw new ProtocolError(`stdin ends at ${final}, but ${this.next} bytes have come`);
    this.#final = final;
    this.#closeAtEnd();
    this.#events.moved();
  }

  #closeAtEnd(): void {
    if (this.#final === undefined || this.#fd < 0 || this.#written < this.#final) return;
    if (this.#endsWithKey) {
      this.#endsWithKey = false;
      this.#offer(Buffer.alloc(ENDS_OF_LINE.includes(this.#lastByte) ? 1 : 2, CTRL_D));
    }
    if (this.#queue.length === 0) this.#close();
  }

  #close(): void {
    this.#window.release();
    if (this.#fd < 0) return;
    this.#watch?.close();
    this.#watch = undefined;
    this.#native.close(this.#fd);
    this.#fd = -1;
  }
}
