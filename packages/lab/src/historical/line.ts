/** A stream that is read one read at a time, as the historical protocols read it. */
import type { Socket } from 'node:net';
import { reads } from '../wire/reads.js';

/** A stream as the historical protocols use it: one read after the other, and bytes given back for the next. */
export class Line {
  readonly #read: () => Promise<Buffer | null>;
  readonly #write: (bytes: Uint8Array) => Promise<void>;
  readonly #end: () => void;
  #pending: Promise<Buffer | null> | undefined;
  #returned: Buffer | undefined;

  constructor(
    read: () => Promise<Buffer | null>,
    write: (bytes: Uint8Array) => Promise<void>,
    end: () => void = () => {},
  ) {
    this.#read = read;
    this.#write = write;
    this.#end = end;
  }

  static over(socket: Socket): Line {
    const incoming = reads(socket);
    return new Line(
      async () => {
        const next = await incoming.next();
        return next.done ? null : next.value;
      },
      (bytes) => new Promise((resolve, reject) => socket.write(bytes, (error) => (error ? reject(error) : resolve()))),
      () => socket.end(),
    );
  }

  /** What one read returns; `null` at the end of the stream. */
  async read(): Promise<Buffer | null> {
    const returned = this.#returned;
    if (returned) {
      this.#returned = undefined;
      return returned;
    }
    const pending = this.#pending ?? this.#read();
    this.#pending = undefined;
    return pending;
  }

  /** As `read()`, but `'quiet'` when nothing came for this many milliseconds. The read goes on and is not lost. */
  async readWithin(milliseconds: number): Promise<Buffer | null | 'quiet'> {
    if (this.#returned) return this.read();
    this.#pending ??= this.#read();
    this.#pending.catch(() => {}); // the next read gets it
    let timer: NodeJS.Timeout | undefined;
    const quiet = new Promise<'quiet'>((resolve) => (timer = setTimeout(resolve, milliseconds, 'quiet')));
    const result = await Promise.race([this.#pending, quiet]);
    clearTimeout(timer);
    if (result !== 'quiet') this.#pending = undefined;
    return result;
  }

  /** Exactly this many bytes. @throws Error when the stream ends before */
  async readExactly(length: number): Promise<Buffer> {
    const parts: Buffer[] = [];
    for (let have = 0; have < length;) {
      const bytes = await this.read();
      if (bytes === null) throw new Error(`the stream ended after ${have} of ${length} bytes`);
      const wanted = bytes.subarray(0, length - have);
      if (wanted.length < bytes.length) this.unread(bytes.subarray(wanted.length));
      parts.push(wanted);
      have += wanted.length;
    }
    return Buffer.concat(parts);
  }

  /** Exactly this many bytes, as they come. @throws Error when the stream ends before */
  async *stream(length: number): AsyncGenerator<Buffer, void, void> {
    for (let left = length; left > 0;) {
      const bytes = await this.read();
      if (bytes === null) throw new Error(`the answer ended after ${length - left} of ${length} bytes`);
      const wanted = bytes.subarray(0, left);
      if (wanted.length < bytes.length) this.unread(bytes.subarray(wanted.length));
      left -= wanted.length;
      yield wanted;
    }
  }

  /** Gives bytes back: the next read returns them. */
  unread(bytes: Buffer): void {
    this.#returned = this.#returned ? Buffer.concat([bytes, this.#returned]) : bytes;
  }

  write(bytes: Uint8Array): Promise<void> {
    return this.#write(bytes);
  }

  /** Nothing more is written; reading goes on. */
  end(): void {
    this.#end();
  }
}
