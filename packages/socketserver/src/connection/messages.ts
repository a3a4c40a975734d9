/** Messages of a connection, by its framing. */
import type { Encoder, Framing } from '@sendall/framing';
import type { CloseReason } from '../reasons.js';
import type { Writer } from './writer.js';

/** What messages need of their connection. */
export interface MessageEnds {
  readonly writable: boolean;
  readonly writer: Writer;
  readonly highWaterMark: number;
  failure: Error | undefined;
  reason: CloseReason | undefined;
  messageCount: number;
  read(): Promise<Buffer | null>;
  write(data: Uint8Array): boolean;
}

/** Frames up to this size are encoded straight into the loop's write buffer. */
const ENCODE_IN_PLACE = 8_192;

const encoders = new WeakMap<Framing, Encoder>();

/** An encoder keeps nothing between two calls: one for each framing will do. */
function encoderOf(framing: Framing): Encoder {
  let encoder = encoders.get(framing);
  if (encoder === undefined) encoders.set(framing, (encoder = framing.encoder()));
  return encoder;
}

/** Writes messages to a connection by a framing. */
export class MessageWriter {
  readonly #connection: MessageEnds;
  readonly #encoder: Encoder;

  constructor(connection: MessageEnds, framing: Framing) {
    this.#connection = connection;
    this.#encoder = encoderOf(framing);
  }

  /** False: more than `highWaterMark` is waiting to be sent. */
  send(payload: Uint8Array | string): boolean {
    const connection = this.#connection;
    if (!connection.writable) return connection.write(this.#encoder.encode(payload));
    const { writer } = connection;
    // A text takes at most three bytes a UTF-16 unit; a header is small beside what is left of the 16 KiB.
    const most = typeof payload === 'string' ? payload.length * 3 : payload.length;
    const room = most <= ENCODE_IN_PLACE ? writer.reserve(2 * most + 64) : undefined;
    if (room === undefined) return connection.write(this.#encoder.encode(payload));
    writer.commit(this.#encoder.encodeInto(payload, room, writer.position));
    return writer.pending < connection.highWaterMark;
  }
}

/** The messages of a connection, pulled: iterate for what comes, `send()` for what goes. */
export class Messages implements AsyncIterable<Buffer> {
  readonly #connection: MessageEnds;
  readonly #framing: Framing;
  #writer: MessageWriter | undefined;
  #iterator: AsyncGenerator<Buffer, void, void> | undefined;

  constructor(connection: MessageEnds, framing: Framing) {
    this.#connection = connection;
    this.#framing = framing;
  }

  send(payload: Uint8Array | string): boolean {
    this.#writer ??= new MessageWriter(this.#connection, this.#framing);
    return this.#writer.send(payload);
  }

  /** One iteration for the life of the connection: a second one goes on where the first stopped. */
  [Symbol.asyncIterator](): AsyncIterator<Buffer> {
    const iterator = (this.#iterator ??= this.#decode());
    return { next: () => iterator.next() };
  }

  async *#decode(): AsyncGenerator<Buffer, void, void> {
    const connection = this.#connection;
    const decoder = this.#framing.decoder();
    const frames: Buffer[] = [];
    const take = (frame: Buffer): void => void frames.push(frame);
    for (let ended = false; !ended;) {
      const chunk = await connection.read();
      let failure: Error | undefined;
      try {
        if (chunk === null) decoder.end(take);
        else decoder.push(chunk, take);
      } catch (error) {
        failure = error as Error;
      }
      ended = chunk === null;
      for (const frame of frames.splice(0)) {
        connection.messageCount++;
        yield frame;
      }
      if (failure !== undefined) {
        connection.failure ??= failure;
        connection.reason ??= 'framing';
        throw failure;
      }
    }
  }
}
