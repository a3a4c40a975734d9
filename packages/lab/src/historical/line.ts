/** A stream read one read at a time, like the historical protocols read it. */
import type { Socket } from 'node:net';
import { reads } from '../wire/reads.js';

/** A stream for the historical protocols: one read at a time, and bytes can be put back for the next. */
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

  /** The bytes of one read; `null` at the end of the stream. */
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

  /** Like `read()`, but `'quiet'` when nothing arrives for this many milliseconds. The pending read is not lost. */
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

  /** Exactly this many bytes. @throws Error when the stream ends early */
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

  /** Exactly this many bytes, as they arrive. @throws Error when the stream ends early */
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

  /** Puts bytes back: the next read returns them. */
  unread(bytes: Buffer): void {
    this.#returned = this.#returned ? Buffer.concat([bytes, this.#returned]) : bytes;
  }

  write(bytes: Uint8Array): Promise<void> {
    return this.#write(bytes);
  }

  /** Ends writing; reading continues. */
  end(): void {
    this.#end();
  }
}
