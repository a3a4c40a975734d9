/** Decoding and encoding as TransformStreams of the web. */
import type { Buffer } from 'node:buffer';
import { ReadableStream, TransformStream, WritableStream } from 'node:stream/web';
import { FrameDecoder } from '../decoder.js';
import type { Bytes, DecoderOptions, Framing } from '../framing.js';

/**
 * A web stream that takes bytes and gives frames: one by one, or with `batch` all of a chunk in one list, which costs a
 * fraction. A fatal error comes behind the frames before it (an ordinary TransformStream would drop those).
 * @throws OptionError for an option that is not known or does not fit
 */
export function decodeWeb(
  framing: Framing,
  options: DecoderOptions & { batch: true },
): TransformStream<Bytes, Buffer[]>;
export function decodeWeb(
  framing: Framing,
  options?: DecoderOptions & { batch?: false },
): TransformStream<Bytes, Buffer>;
export function decodeWeb(
  framing: Framing,
  options: DecoderOptions & { batch?: boolean } = {},
): TransformStream<Bytes, Buffer | Buffer[]> {
  const { batch = false, ...decoding } = options;
  let frames: Buffer[] = [];
  let over: { error?: unknown } | undefined;
  const reader = new Bell();
  const writer = new Bell();
  const end = (ending: { error?: unknown }): void => {
    over ??= ending;
    reader.ring();
    writer.ring();
  };
  const decoder = framing.decoder({
    ...decoding,
    onError(error) {
      decoding.onError?.(error);
      if (error.fatal) end({ error });
    },
  });
  if (decoder instanceof FrameDecoder) decoder.keepFrames(true);
  const take = (frame: Buffer): void => {
    frames.push(frame);
  };

  const readable = new ReadableStream<Buffer | Buffer[]>(
    {
      async pull(controller) {
        await reader.until(() => frames.length > 0 || over !== undefined);
        const ready = frames;
        frames = [];
        if (ready.length === 0) {
          if (over !== undefined && 'error' in over) controller.error(over.error);
          else controller.close();
        } else if (batch) controller.enqueue(ready);
        else for (const frame of ready) controller.enqueue(frame);
        writer.ring();
      },
      cancel(reason) {
        end({ error: reason });
      },
    },
    { highWaterMark: 0 },
  );

  const writable = new WritableStream<Bytes>({
    async write(chunk) {
      if (over !== undefined) throw over.error;
      try {
        decoder.push(chunk, take);
      } catch (error) {
        end({ error });
        throw error;
      }
      reader.ring();
      await writer.until(() => frames.length === 0 || over !== undefined);
    },
    close() {
      try {
        decoder.end(take);
      } catch (error) {
        end({ error });
        throw error;
      }
      end({});
    },
    abort(reason) {
      end({ error: reason });
    },
  });

  return Object.create(TransformStream.prototype, {
    readable: { value: readable, enumerable: true },
    writable: { value: writable, enumerable: true },
  }) as TransformStream<Bytes, Buffer | Buffer[]>;
}

/**
 * A web stream that takes payloads (bytes or strings) and gives their frames as bytes. A payload that the framing cannot
 * carry is an error of the stream.
 */
export function encodeWeb(framing: Framing): TransformStream<Bytes | string, Buffer> {
  const encoder = framing.encoder();
  return new TransformStream({
    transform(payload, controller) {
      controller.enqueue(encoder.encode(payload));
    },
  });
}

/** Lets one side wait until the other has changed something. */
class Bell {
  #wake: (() => void) | undefined;

  ring(): void {
    this.#wake?.();
  }

  async until(done: () => boolean): Promise<void> {
    while (!done()) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}
