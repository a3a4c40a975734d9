/** Frames from any async iterable of bytes. */
import type { Buffer } from 'node:buffer';
import { FrameDecoder } from '../decoder.js';
import type { FramingError } from '../errors.js';
import type { Bytes, Decoder, DecoderOptions, Framing } from '../framing.js';

/** What {@link decodeAsync} returns: frames one by one, or all of a chunk at a time. Either can be iterated once. */
export interface DecodedFrames extends AsyncIterable<Buffer> {
  batches(): AsyncIterable<Buffer[]>;
}

/**
 * Decodes any async iterable of bytes: a socket, a file stream, a `fetch` body, a generator.
 *
 * The iteration throws a fatal error after the frames before it, and ends the source when it is left early.
 * @throws FramingError in the iteration
 */
export function decodeAsync(source: AsyncIterable<Bytes>, framing: Framing, options?: DecoderOptions): DecodedFrames {
  const chunks = source[Symbol.asyncIterator]();
  const overdue = new Overdue();
  const decoder = framing.decoder({
    ...options,
    onError: (error) => {
      options?.onError?.(error);
      if (error.fatal) overdue.report(error);
    },
  });
  if (decoder instanceof FrameDecoder) decoder.keepFrames(true);
  const read = (options?.frameTimeout ?? 0) > 0 ? () => overdue.race(chunks.next()) : () => chunks.next();
  const batches = decodeBatches(read, chunks, decoder);
  return {
    [Symbol.asyncIterator]: () => oneByOne(batches),
    batches: () => batches,
  };
}

async function* decodeBatches(
  read: () => Promise<IteratorResult<Bytes>>,
  chunks: AsyncIterator<Bytes>,
  decoder: Decoder,
): AsyncGenerator<Buffer[], void> {
  let open = true;
  try {
    for (;;) {
      if (decoder instanceof FrameDecoder) decoder.resumeTimeout();
      const { done, value } = await read();
      if (decoder instanceof FrameDecoder) decoder.pauseTimeout();
      if (done === true) break;
      const frames: Buffer[] = [];
      let failure: unknown;
      try {
        decoder.push(value, (frame) => {
          frames.push(frame);
        });
      } catch (error) {
        failure = error;
      }
      if (frames.length > 0) yield frames;
      if (failure !== undefined) throw failure as FramingError;
    }
    open = false;
    const frames: Buffer[] = [];
    let failure: unknown;
    try {
      decoder.end((frame) => {
        frames.push(frame);
      });
    } catch (error) {
      failure = error;
    }
    if (frames.length > 0) yield frames;
    if (failure !== undefined) throw failure as FramingError;
  } finally {
    // Not awaited: a generator that hangs in its own read would hang us too.
    if (open) void Promise.resolve(chunks.return?.()).catch(() => {});
  }
}

/** The frames of all batches, without a generator's overhead for each. */
function oneByOne(batches: AsyncGenerator<Buffer[], void>): AsyncIterator<Buffer> {
  let frames: Buffer[] = [];
  let index = 0;
  let fetching: Promise<unknown> | undefined;
  const next = (): Promise<IteratorResult<Buffer>> => {
    if (fetching !== undefined) return fetching.then(next, next);
    if (index < frames.length) return Promise.resolve({ done: false, value: frames[index++] as Buffer });
    const fetch = batches.next().then((batch): IteratorResult<Buffer> => {
      fetching = undefined;
      if (batch.done === true) return { done: true, value: undefined };
      frames = batch.value;
      index = 1;
      return { done: false, value: frames[0] as Buffer };
    });
    fetching = fetch.catch(() => {
      fetching = undefined;
    });
    return fetch;
  };
  return {
    next,
    async return(): Promise<IteratorResult<Buffer>> {
      index = frames.length;
      await batches.return();
      return { done: true, value: undefined };
    },
  };
}

/** Lets a frame's timeout end a read that hangs. */
class Overdue {
  #error: FramingError | undefined;
  #reject: ((error: FramingError) => void) | undefined;

  report(error: FramingError): void {
    this.#error = error;
    this.#reject?.(error);
  }

  race<T>(read: Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#error !== undefined) reject(this.#error);
      this.#reject = reject;
      read.then(resolve, reject);
    });
  }
}
